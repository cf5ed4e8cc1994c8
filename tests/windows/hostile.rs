//! Hives and programs that lie: nothing that they say makes a look at them stop, go round in circles, or cost much.

use crate::hive::{Hive, seal, text};
use crate::{KEPT, pe, told};

#[test]
fn a_hive_may_end_anywhere() {
    for (name, hive, expected) in KEPT {
        let said: Vec<_> = (0..=hive.len()).map(|length| told(Some(&hive[..length]), None)).collect();
        assert!(said[..4096].iter().all(Option::is_none), "{name}: without the base block it is no hive");
        let enough = said.iter().position(|text| text.as_deref() == Some(expected)).unwrap();
        assert!(said[enough..].iter().all(|text| text.as_deref() == Some(expected)), "{name}: from {enough} bytes on");
    }
}

#[test]
fn any_byte_of_a_hive_may_be_another() {
    let (_, hive, expected) = KEPT[1];
    let (mut whole, mut part, mut nothing) = (0, 0, 0);
    for at in 0..hive.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = hive.to_vec();
            bytes[at] ^= flip;
            if at < 512 {
                assert_eq!(told(Some(&bytes), None), None, "byte {at}: the checksum is wrong");
                seal(&mut bytes);
            }
            match told(Some(&bytes), None) {
                Some(text) if text == expected => whole += 1,
                Some(_) => part += 1,
                None => nothing += 1,
            }
        }
    }
    // Most bytes are none that matter, and those that do matter are not believed.
    assert!(whole > 40_000 && part > 100 && nothing > 300, "{whole} {part} {nothing}");
}

#[test]
fn a_list_that_leads_to_itself_ends() {
    let kinds: [&[u8; 2]; 4] = [b"ri", b"li", b"lf", b"lh"];
    for kind in kinds {
        let mut hive = Hive::new();
        let keys = vec![(0, "Microsoft"); 60_000];
        let list = hive.list(kind, &keys);
        let element = if matches!(kind, b"ri" | b"li") { 4 } else { 8 };
        (0..keys.len()).for_each(|index| hive.put(list, 4 + index * element, &list.to_le_bytes()));
        let root = hive.key_over("ROOT", list, 60_000, &[]);
        assert_eq!(told(Some(&hive.finish(root)), None), None);
    }
    // A key that is its own subkey, under each of the names.
    let mut hive = Hive::new();
    let key = hive.key_over("Microsoft", 0, 1, &[]);
    let list = hive.list(b"li", &[(key, "Microsoft")]);
    hive.put(key, 28, &list.to_le_bytes());
    assert_eq!(told(Some(&hive.finish(key)), None), None);
}

#[test]
fn many_large_lists_are_read_up_to_a_bound() {
    // Sixty thousand times the same list of sixty thousand: 15 GiB for who believes it.
    let mut hive = Hive::new();
    let far = hive.list(b"li", &vec![(8, ""); 60_000]);
    let list = hive.list(b"ri", &vec![(far, ""); 60_000]);
    let root = hive.key_over("ROOT", list, u32::MAX, &[]);
    assert_eq!(told(Some(&hive.finish(root)), None), None);
}

#[test]
fn many_values_are_looked_at_up_to_a_bound() {
    let mut hive = Hive::new();
    let (other, product) = (hive.value("x", 1, &text("y")), hive.value("ProductName", 1, &text("Windows 8")));
    let mut values = vec![other; 20_000];
    values[4095] = product;
    values[4096] = hive.value("CurrentBuild", 1, &text("9200"));
    assert_eq!(told(Some(&hive.with(&values)), None).as_deref(), Some("Windows 8"));
    // As many as there may be, of which none are there.
    let mut hive = Hive::new();
    let version = hive.key("CurrentVersion", &[], &[other]);
    hive.put(version, 36, &u32::MAX.to_le_bytes());
    let system = hive.key("Windows NT", &[(version, "CurrentVersion")], &[]);
    let vendor = hive.key("Microsoft", &[(system, "Windows NT")], &[]);
    let root = hive.key("ROOT", &[(vendor, "Microsoft")], &[]);
    assert_eq!(told(Some(&hive.finish(root)), None), None);
}

#[test]
fn the_first_of_two_values_of_one_name_counts() {
    let mut hive = Hive::new();
    let values = ["Windows 8", "Windows 9"].map(|product| hive.value("ProductName", 1, &text(product)));
    assert_eq!(told(Some(&hive.with(&values)), None).as_deref(), Some("Windows 8"));
}

#[test]
fn a_base_block_that_is_none_is_none() {
    let (_, hive, expected) = KEPT[0];
    // Signature, versions, type and format; bins of no bytes; a root outside, in no cell, and in one that is no key.
    let wrong: [(usize, u32); 9] =
        [(0, 0), (20, 2), (24, 2), (24, 7), (28, 1), (32, 0), (40, 0), (36, u32::MAX), (36, 0x24)];
    for (at, number) in wrong {
        let mut bytes = hive.to_vec();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        seal(&mut bytes);
        assert_eq!(told(Some(&bytes), None), None, "{number} at {at}");
    }
    // In use when it was pulled: the two sequence numbers differ.
    let mut bytes = hive.to_vec();
    bytes[4] ^= 0xff;
    seal(&mut bytes);
    assert_eq!(told(Some(&bytes), None).as_deref(), Some(expected));
    // More bins than the file has.
    bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    seal(&mut bytes);
    assert_eq!(told(Some(&bytes), None).as_deref(), Some(expected));
}

#[test]
fn a_program_may_end_anywhere_and_any_byte_may_be_another() {
    let program = pe::program([10, 0, 19041, 1]);
    let expected = Some("Windows, build 10.0.19041.1");
    for length in 0..program.len() {
        let said = told(None, Some(&program[..length]));
        let needed = pe::RESOURCES + pe::VERSION + 92;
        assert_eq!(said.as_deref(), expected.filter(|_| length >= needed), "{length} bytes");
    }
    let (mut whole, mut another) = (0, 0);
    for at in 0..program.len() {
        for flip in 1..=255 {
            let mut bytes = program.clone();
            bytes[at] ^= flip;
            match told(None, Some(&bytes)) {
                said if said.as_deref() == expected => whole += 1,
                _ => another += 1,
            }
        }
    }
    assert!(whole > 400_000 && another > 20_000, "{whole} {another}");
}

#[test]
fn what_is_wrong_in_a_program_makes_it_none() {
    let directories = pe::OPTIONAL + 112;
    let section = directories + 128 + 40;
    let leaf = pe::RESOURCES + 0x80;
    let wrong: [(&str, usize, u32); 12] = [
        ("no mark of DOS", 0, 0),
        ("a signature beyond the end", 0x3c, u32::MAX),
        ("no signature", pe::SIGNATURE, 0),
        ("no magic", pe::OPTIONAL, 0),
        ("two data directories", directories - 4, 2),
        ("resources in no section", directories + 16, 0x9000),
        ("a section beyond the end", section + 20, u32::MAX),
        ("no version among the resources", pe::RESOURCES + 32, 17),
        ("a version that is no folder", pe::RESOURCES + 36, 0x40),
        ("a folder in place of data", pe::RESOURCES + 0x60 + 20, 0x8000_0040),
        ("data in no section", leaf, 5),
        ("another mark of the fixed part", pe::RESOURCES + pe::VERSION + 40, 0xfeef_04be),
    ];
    for (what, at, number) in wrong {
        let mut bytes = pe::program([10, 0, 19041, 1]);
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        assert_eq!(told(None, Some(&bytes)), None, "{what}");
    }
    // A folder that is its own: three levels down there must be data.
    let mut bytes = pe::program([10, 0, 19041, 1]);
    bytes[pe::RESOURCES + 36..][..4].copy_from_slice(&0x8000_0000_u32.to_le_bytes());
    bytes[pe::RESOURCES + 20..][..4].copy_from_slice(&0x8000_0000_u32.to_le_bytes());
    assert_eq!(told(None, Some(&bytes)), None);
    // More sections than a program may have, and more entries than are looked at.
    let mut bytes = pe::program([10, 0, 19041, 1]);
    bytes.resize(1 << 20, 0);
    bytes[pe::SIGNATURE + 6] = 97;
    assert_eq!(told(None, Some(&bytes)), None);
    bytes[pe::SIGNATURE + 6] = 2;
    assert!(told(None, Some(&bytes)).is_some());
    bytes[pe::RESOURCES + 12..][..4].copy_from_slice(&[0xff; 4]);
    assert!(told(None, Some(&bytes)).is_some(), "it is among the first");
}
