//! Damaged parity objects: one lost run leaves a good copy of the head; what is left of them still mends; and they are made again to the
//! same bytes.

use super::{Scene, changed, runs, touched};
use sheaf::format::parity::Layout;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::repo::parity::{
    Condition, ParityCondition, ParityError, covered_by, inspect, inspect_parity, mend, rebuild,
};
use std::ops::Range;

fn parity(name: ObjectName) -> ObjectName {
    name.parity().expect("its parity")
}

/// Ranges of a parity object: its head, its table, its sectors, and runs over the bounds between them.
fn places(layout: &Layout) -> Vec<Range<u64>> {
    let (copy, all) = (layout.copy_length(), layout.object_length());
    let middle = copy + layout.parity_length() / 2;
    vec![
        0..1,
        5..6,
        52..53,
        60..61,
        0..128,
        100..copy,
        copy - 1..copy + 1,
        0..middle,
        middle..middle + 1,
        copy..all - copy,
        middle..all,
        all - copy..all - copy + 1,
        all - 1..all,
    ]
}

#[test]
fn parity_that_was_written_is_whole_and_is_made_again_alike() {
    let scene = Scene::new(2);
    for (name, _, layout) in scene.covered() {
        let stored = &scene.objects[&parity(name)];
        assert_eq!(stored.len() as u64, layout.object_length(), "{name}");
        assert_eq!(inspect_parity(&scene.medium, name).unwrap(), ParityCondition::Whole, "{name}");
        assert_eq!(covered_by(&scene.medium, parity(name)).unwrap(), Some(name));
        assert!(rebuild(&scene.medium, name).unwrap() == *stored, "{name}");
        scene.medium.remove(parity(name));
        assert_eq!(inspect_parity(&scene.medium, name).unwrap(), ParityCondition::Missing, "{name}");
        assert!(rebuild(&scene.medium, name).unwrap() == *stored, "{name}");
        scene.undo(name);
    }
}

#[test]
fn a_run_lost_in_a_parity_object_is_noticed_and_what_is_left_mends() {
    let scene = Scene::new(2);
    for (name, bytes, layout) in scene.covered() {
        let stored = &scene.objects[&parity(name)];
        for place in places(&layout) {
            for how in ["changed", "unreadable", "cut off", "grown"] {
                match how {
                    "changed" => scene.medium.overwrite(parity(name), changed(stored, place.clone())),
                    "unreadable" => scene.medium.fail_reads_within(parity(name), place.clone()),
                    "cut off" => scene.medium.overwrite(parity(name), stored[..place.start as usize].to_vec()),
                    _ => scene.medium.overwrite(parity(name), [stored.as_slice(), &[0; 77]].concat()),
                }
                let case = format!("{name}, {layout:?}, {place:?} {how}");
                let condition = inspect_parity(&scene.medium, name).expect(&case);
                assert!(matches!(condition, ParityCondition::Damaged { .. }), "{case}: {condition:?}");
                // The object is whole: nothing is lost.
                assert_eq!(inspect(&scene.medium, name).expect(&case), Condition::Whole, "{case}");
                assert!(rebuild(&scene.medium, name).expect(&case) == *stored, "{case}");
                // One sector of the object as well: as long as one parity sector of its codeword can be read.
                let run = 0..1;
                scene.medium.overwrite(name, changed(bytes, run.clone()));
                let sector = u64::from(layout.sector_length());
                let (copy, words) = (layout.copy_length(), u64::from(layout.codewords()));
                let has_head = how == "grown"
                    || place.start >= copy
                    || how != "cut off" && place.end <= layout.object_length() - copy;
                let left = (0..layout.all_parity_sectors()).step_by(words as usize).filter(|index| {
                    let range = copy + index * sector..copy + (index + 1) * sector;
                    match how {
                        "grown" => true,
                        "cut off" => range.end <= place.start,
                        "changed" => range.end <= place.start || range.start >= place.end,
                        _ => {
                            let end = place.end.next_multiple_of(4096);
                            range.end <= place.start / 4096 * 4096 || range.start >= end
                        }
                    }
                });
                let left = left.count();
                let is_mended = mend(&scene.medium, name).is_ok_and(|mended| mended == *bytes);
                if how == "unreadable" {
                    // Which copies are left depends on where they lie in the medium's sectors; what is mended is right.
                    assert!(is_mended || left == 0 || inspect(&scene.medium, name).is_ok(), "{case}");
                } else {
                    assert_eq!(is_mended, has_head && left > 0, "{case}");
                }
                scene.undo(name);
            }
        }
    }
}

#[test]
fn without_either_head_parity_is_of_no_use_and_is_made_again_from_a_whole_object() {
    let scene = Scene::new(2);
    for (name, bytes, layout) in scene.covered() {
        let stored = &scene.objects[&parity(name)];
        let both = changed(&changed(stored, 40..41), layout.object_length() - 1..layout.object_length());
        scene.medium.overwrite(parity(name), both);
        assert!(matches!(inspect_parity(&scene.medium, name).unwrap(), ParityCondition::Damaged { .. }));
        assert_eq!(inspect(&scene.medium, name).unwrap(), Condition::Whole);
        assert!(rebuild(&scene.medium, name).unwrap() == *stored);
        scene.medium.overwrite(name, changed(bytes, 7..8));
        assert!(matches!(inspect(&scene.medium, name).unwrap(), Condition::ParityUseless { .. }));
        assert!(matches!(mend(&scene.medium, name), Err(ParityError::Useless { .. })));
        assert!(rebuild(&scene.medium, name).is_err());
        scene.medium.remove(parity(name));
        assert_eq!(inspect(&scene.medium, name).unwrap(), Condition::NoParity);
        assert!(matches!(mend(&scene.medium, name), Err(ParityError::Missing { .. })));
        scene.undo(name);
    }
}

#[test]
fn the_parity_of_another_object_is_not_used() {
    let scene = Scene::new(2);
    let covered = scene.covered();
    for (name, bytes, _) in &covered {
        for (other, ..) in covered.iter().filter(|(other, ..)| other != name) {
            scene.medium.overwrite(parity(*name), scene.objects[&parity(*other)].clone());
            scene.medium.overwrite(*name, changed(bytes, 7..8));
            let condition = inspect(&scene.medium, *name).unwrap();
            assert!(matches!(condition, Condition::ParityUseless { .. }), "{other} for {name}: {condition:?}");
        }
        scene.undo(*name);
    }
}

#[test]
fn object_and_parity_lose_a_sector_of_each_codeword_and_both_come_back() {
    let scene = Scene::new(2);
    for (name, bytes, layout) in scene.covered() {
        let rows = u64::from(layout.parity_sectors());
        let words = u64::from(layout.codewords());
        let sector = u64::from(layout.sector_length());
        // Of n parity sectors of each codeword some are lost, and as many data sectors as the others can mend.
        for lost_rows in 0..=rows {
            let mended = (rows - lost_rows) * words;
            let run = 0..(mended * sector).min(layout.length());
            scene.medium.overwrite(name, changed(bytes, run.clone()));
            let copy = layout.copy_length();
            let stored = &scene.objects[&parity(name)];
            scene.medium.overwrite(parity(name), changed(stored, copy..copy + lost_rows * words * sector));
            let case = format!("{name}, {layout:?}, {lost_rows} rows");
            let sectors = touched(&layout, &run);
            if run.is_empty() {
                assert_eq!(inspect(&scene.medium, name).unwrap(), Condition::Whole, "{case}");
            } else {
                let expected = Condition::Mendable { sectors: sectors.end, runs: runs(&layout, sectors) };
                assert_eq!(inspect(&scene.medium, name).unwrap(), expected, "{case}");
            }
            assert!(mend(&scene.medium, name).expect(&case) == *bytes, "{case}");
            assert!(rebuild(&scene.medium, name).expect(&case) == *stored, "{case}");
            scene.undo(name);
        }
    }
}

#[test]
fn without_a_config_what_is_left_of_the_parity_says_how_it_is_made() {
    let scene = Scene::new(2);
    scene.medium.remove(ObjectName::CONFIG);
    scene.medium.remove(parity(ObjectName::CONFIG));
    for (name, _, layout) in scene.covered().into_iter().filter(|(name, ..)| name.kind() != ObjectKind::Config) {
        let stored = &scene.objects[&parity(name)];
        scene.medium.overwrite(parity(name), changed(stored, 0..layout.copy_length() + 5));
        assert!(rebuild(&scene.medium, name).unwrap() == *stored);
        scene.medium.remove(parity(name));
        assert!(matches!(rebuild(&scene.medium, name), Err(ParityError::NotMade { .. })));
    }
}
