//! The matrix: each kind of object × each kind of damage, with what is then found, what still restores, and what a further backup of
//! the same disk mends.
//!
//! Always true here:
//! - The table is complete: a test fails when a cell is missing or stands there twice.
//! - A cell in which a check finds nothing says why nothing can be found.

use super::{Fixture, Object, Scene, assert_names_an_object, chain, flipped, name_for};
use crate::common::binary::Program;
use Deed::{Delete, Double, Empty, Flip, Foreign, Forge, Grow, Swap, Truncate, Unreadable};
use Object::{Config, DataPack, Index, MetaPack, OtherKey, OwnKey, Snapshot};
use sheaf::names::ObjectName;
use sheaf::ops::check::Depth;
use sheaf::storage::sim::SimStorage;

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Delete,
    /// Its second half is gone.
    Truncate,
    Empty,
    /// A byte is appended.
    Grow,
    /// A bit in the middle is flipped.
    Flip,
    /// It and another object of its kind have changed places.
    Swap,
    /// Another object's bytes stand under its name as well.
    Double,
    /// A bit is flipped, and the object has the name, or checksum, that goes with its new bytes.
    Forge,
    /// An object of its kind from another repository stands in its place, under that one's own name.
    Foreign,
    /// The medium does not give its bytes.
    Unreadable,
}

impl Deed {
    const ALL: [Self; 10] = [Delete, Truncate, Empty, Grow, Flip, Swap, Double, Forge, Foreign, Unreadable];
}

/// What a cell expects.
struct Cell {
    object: Object,
    deeds: &'static [Deed],
    /// The repository does not open, and the error says this; nothing else is then looked at. Empty: it opens.
    refused: &'static str,
    /// What a check of structure finds.
    structure: &'static [&'static str],
    /// What a check that reads all data finds; empty where that is the same.
    data: &'static [&'static str],
    /// The sticks that restore.
    restores: &'static str,
    /// The snapshots that restore after the stick `red` was backed up again; `new` is the new one.
    mended: &'static str,
    /// Where nothing is found: why.
    unnoticed: &'static str,
}

/// Sound: what most fields of most cells are.
const SOUND: Cell = Cell {
    object: Config,
    deeds: &[],
    refused: "",
    structure: &[],
    data: &[],
    restores: "red blue",
    mended: "new red blue",
    unnoticed: "",
};

const MATRIX: &[Cell] = &[
    // ---- The config: without it nothing opens, and it says so ----
    Cell { object: Config, deeds: &[Delete], refused: "lost its config object", ..SOUND },
    Cell {
        object: Config,
        deeds: &[Truncate, Grow, Flip],
        refused: "config is damaged: config: the checksum",
        ..SOUND
    },
    Cell { object: Config, deeds: &[Empty], refused: "config is damaged: config: `magic` at offset 0", ..SOUND },
    Cell { object: Config, deeds: &[Forge, Foreign], refused: "the config is not the one", ..SOUND },
    Cell { object: Config, deeds: &[Unreadable], refused: "reading memory:config failed", ..SOUND },
    // ---- Key bundles ----
    Cell { object: OwnKey, deeds: &[Delete], refused: "opens no key bundle (1 tried)", ..SOUND },
    Cell {
        object: OwnKey,
        deeds: &[Truncate, Empty, Grow, Flip, Double, Foreign, Unreadable],
        refused: "opens no key bundle (1 tried); not tried: ",
        ..SOUND
    },
    Cell { object: OwnKey, deeds: &[Forge], refused: "opens no key bundle (2 tried)", ..SOUND },
    Cell { object: OwnKey, deeds: &[Swap], refused: "no usable key bundle at memory: keys/", ..SOUND },
    Cell {
        object: OtherKey,
        deeds: &[Truncate, Empty, Grow, Flip, Double, Unreadable],
        structure: &["key-damaged of other key []"],
        ..SOUND
    },
    Cell { object: OtherKey, deeds: &[Swap], refused: "no usable key bundle at memory: keys/", ..SOUND },
    Cell {
        object: OtherKey,
        deeds: &[Delete],
        unnoticed: "revoking a key deletes its bundle; nothing lists the bundles that there should be",
        ..SOUND
    },
    Cell {
        object: OtherKey,
        deeds: &[Forge],
        unnoticed: "only its own password could tell a forged bundle from an intact one",
        ..SOUND
    },
    Cell {
        object: OtherKey,
        deeds: &[Foreign],
        unnoticed: "it is a deletion, and a whole bundle of another repository opens nothing here",
        ..SOUND
    },
    // ---- Packs of data ----
    Cell {
        object: DataPack,
        deeds: &[Delete, Foreign],
        structure: &["pack-missing of red data [red]"],
        restores: "blue",
        ..SOUND
    },
    Cell {
        object: DataPack,
        deeds: &[Forge],
        structure: &["pack-missing of red data [red]"],
        restores: "blue",
        // The forged pack lists itself as the original did, and a backup reads no data.
        mended: "blue",
        ..SOUND
    },
    Cell {
        object: DataPack,
        deeds: &[Truncate, Empty, Double],
        structure: &["pack-size of red data [red]"],
        restores: "blue",
        ..SOUND
    },
    // What is behind its footer takes nothing from a pack.
    Cell { object: DataPack, deeds: &[Grow], structure: &["pack-size of red data [red]"], ..SOUND },
    Cell {
        object: DataPack,
        deeds: &[Flip],
        data: &["pack-damaged of red data [red]"],
        restores: "blue",
        // A backup trusts its index and reads no pack: a chunk that is there counts as stored.
        mended: "blue",
        unnoticed: "a check of structure reads no data",
        ..SOUND
    },
    Cell {
        object: DataPack,
        deeds: &[Swap],
        // A pack lists itself, so that its chunks are found under the wrong name as well.
        structure: &["pack-size of red data [red]", "pack-size of blue data [blue]"],
        ..SOUND
    },
    Cell {
        object: DataPack,
        deeds: &[Unreadable],
        structure: &["pack-listing of red data [red]"],
        restores: "blue",
        mended: "blue",
        ..SOUND
    },
    // ---- Packs of metadata ----
    Cell {
        object: MetaPack,
        deeds: &[Delete, Foreign],
        structure: &[
            "pack-missing of red meta [red]",
            "references-damaged of red snapshot [red]",
            "manifest-damaged of red snapshot [red]",
        ],
        restores: "blue",
        ..SOUND
    },
    Cell {
        object: MetaPack,
        deeds: &[Forge],
        structure: &[
            "pack-missing of red meta [red]",
            "references-damaged of red snapshot [red]",
            "manifest-damaged of red snapshot [red]",
        ],
        restores: "blue",
        mended: "blue",
        ..SOUND
    },
    Cell {
        object: MetaPack,
        deeds: &[Truncate, Empty, Double],
        structure: &[
            "pack-size of red meta [red]",
            "references-damaged of red snapshot [red]",
            "manifest-damaged of red snapshot [red]",
        ],
        restores: "blue",
        ..SOUND
    },
    Cell { object: MetaPack, deeds: &[Grow], structure: &["pack-size of red meta [red]"], ..SOUND },
    Cell {
        object: MetaPack,
        deeds: &[Flip],
        structure: &["manifest-damaged of red snapshot [red]"],
        data: &["pack-damaged of red meta [red]", "manifest-damaged of red snapshot [red]"],
        restores: "blue",
        mended: "blue",
        ..SOUND
    },
    Cell {
        object: MetaPack,
        deeds: &[Swap],
        structure: &[
            "pack-size of red meta [red]",
            "pack-size of blue meta [blue]",
            "references-damaged of red snapshot [red]",
            "references-damaged of blue snapshot [blue]",
            "manifest-damaged of red snapshot [red]",
            "manifest-damaged of blue snapshot [blue]",
        ],
        ..SOUND
    },
    Cell {
        object: MetaPack,
        deeds: &[Unreadable],
        structure: &[
            "pack-listing of red meta [red]",
            "references-damaged of red snapshot [red]",
            "manifest-damaged of red snapshot [red]",
        ],
        restores: "blue",
        mended: "blue",
        ..SOUND
    },
    // ---- Index segments: everything in them stands in the packs as well ----
    Cell {
        object: Index,
        deeds: &[Delete],
        structure: &["index-incomplete of red data [red]", "index-incomplete of red meta [red]"],
        ..SOUND
    },
    Cell {
        object: Index,
        deeds: &[Truncate, Empty, Grow, Flip, Double, Unreadable],
        structure: &[
            "index-damaged of red index []",
            "index-incomplete of red data [red]",
            "index-incomplete of red meta [red]",
        ],
        ..SOUND
    },
    Cell {
        object: Index,
        deeds: &[Swap],
        structure: &[
            "index-damaged of red index []",
            "index-damaged of blue index []",
            "index-incomplete of red data [red]",
            "index-incomplete of red meta [red]",
            "index-incomplete of blue data [blue]",
            "index-incomplete of blue meta [blue]",
        ],
        ..SOUND
    },
    Cell {
        object: Index,
        deeds: &[Forge, Foreign],
        structure: &[
            "index-damaged of stranger []",
            "index-incomplete of red data [red]",
            "index-incomplete of red meta [red]",
        ],
        ..SOUND
    },
    // ---- Snapshots ----
    Cell {
        object: Snapshot,
        deeds: &[Delete],
        restores: "blue",
        mended: "new blue",
        unnoticed: "forgetting a snapshot deletes its object; nothing lists the snapshots that there should be",
        ..SOUND
    },
    Cell {
        object: Snapshot,
        deeds: &[Truncate, Empty, Grow, Flip, Double, Unreadable],
        structure: &["snapshot-damaged of red snapshot []"],
        restores: "blue",
        mended: "new blue",
        ..SOUND
    },
    Cell {
        object: Snapshot,
        deeds: &[Swap],
        structure: &["snapshot-damaged of red snapshot []", "snapshot-damaged of blue snapshot []"],
        restores: "",
        mended: "new",
        ..SOUND
    },
    Cell {
        object: Snapshot,
        deeds: &[Forge],
        structure: &["snapshot-damaged of stranger []"],
        restores: "blue",
        mended: "new blue",
        ..SOUND
    },
    Cell {
        object: Snapshot,
        deeds: &[Foreign],
        structure: &["snapshot-damaged of stranger []"],
        restores: "blue",
        mended: "new blue",
        ..SOUND
    },
];

/// There is only one config.
const IMPOSSIBLE: [(Object, Deed); 2] = [(Config, Swap), (Config, Double)];

fn do_it(scene: &Scene, foreign: &Scene, object: Object, deed: Deed) -> SimStorage {
    let medium = scene.medium();
    let (name, other) = scene.pair(object);
    let bytes = medium.peek(name).expect("there");
    let others = medium.peek(other).expect("there");
    let (middle, last) = (bytes.len() * 4, bytes.len() * 8 - 1);
    match deed {
        Delete => drop(medium.remove(name)),
        Truncate => medium.overwrite(name, bytes[..bytes.len() / 2].to_vec()),
        Empty => medium.overwrite(name, Vec::new()),
        Grow => medium.overwrite(name, [&bytes[..], &[0]].concat()),
        Flip => medium.overwrite(name, flipped(&bytes, middle)),
        Swap => {
            medium.overwrite(name, others);
            medium.overwrite(other, bytes);
        }
        Double => medium.overwrite(name, others),
        Forge if object == Config => {
            let mut config = sheaf::format::config::Config::decode(&bytes).expect("sound");
            config.record.created_ms += 1;
            medium.overwrite(name, config.encode());
        }
        Forge => {
            let changed = flipped(&bytes, if object == Snapshot { last } else { middle });
            medium.remove(name);
            medium.overwrite(name_for(name.kind(), &changed), changed);
        }
        Foreign => {
            let (name_there, _) = foreign.pair(object);
            medium.remove(name);
            medium.overwrite(name_there, foreign.objects[&name_there].clone());
        }
        Unreadable => medium.fail_reads(name),
    }
    medium
}

/// Calls for every cell, on a fresh copy of the scene with the damage done.
fn for_each_cell(mut call: impl FnMut(&Scene, &Cell, Deed, SimStorage)) {
    let (scene, foreign) = (Scene::new(), Scene::new());
    for cell in MATRIX {
        for deed in cell.deeds {
            call(&scene, cell, *deed, do_it(&scene, &foreign, cell.object, *deed));
        }
    }
}

fn sorted(mut findings: Vec<String>) -> Vec<String> {
    findings.sort_unstable();
    findings
}

fn kinds(findings: Vec<String>) -> Vec<String> {
    let mut kinds = sorted(findings);
    kinds.dedup();
    kinds
}

#[test]
fn the_matrix_is_complete() {
    let mut cells: Vec<_> = MATRIX.iter().flat_map(|cell| cell.deeds.iter().map(|deed| (cell.object, *deed))).collect();
    cells.extend(IMPOSSIBLE);
    cells.sort_unstable();
    let expected = Object::ALL.iter().flat_map(|object| Deed::ALL.map(|deed| (*object, deed)));
    assert!(cells.iter().copied().eq(expected), "{cells:?}");
    for cell in MATRIX {
        let is_noticed = !(cell.refused.is_empty() && cell.structure.is_empty());
        assert_eq!(is_noticed, cell.unnoticed.is_empty(), "{:?} {:?}", cell.object, cell.deeds);
    }
}

#[test]
fn each_damage_is_found_as_what_it_is_and_touches_nothing_else() {
    let mut wrong = Vec::new();
    for_each_cell(|scene, cell, deed, medium| {
        let when = format!("{:?} {deed:?}", cell.object);
        let machine = Fixture::open(medium.clone());
        let mut compare = |what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
            let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
            if found != expected {
                wrong.push(format!("{when}, {what}:\n      found {found}\n   expected {expected}"));
            }
        };
        match machine.repository() {
            Err(error) if cell.refused.is_empty() => return compare("opening", &chain(&error), &"it opens"),
            Err(error) => {
                let text = chain(&error);
                return compare("opening", &text.contains(cell.refused).then_some(&text), &Some(&text));
            }
            Ok(_) if !cell.refused.is_empty() => return compare("opening", &"it opens", &cell.refused),
            Ok(_) => {}
        }
        let expected = |findings: &[&str]| sorted(findings.iter().map(|text| (*text).to_owned()).collect());
        let data = if cell.data.is_empty() { cell.structure } else { cell.data };
        let before = medium.objects();
        compare("structure", &scene.findings(&machine, Depth::Structure), &Ok::<_, ()>(expected(cell.structure)));
        compare("data", &scene.findings(&machine, Depth::Data(100)), &Ok::<_, ()>(expected(data)));
        compare("restores", &scene.restores(&machine, &when), &cell.restores);
        assert!(medium.objects() == before, "{when}: looking changes nothing");
        // Another machine, so that nothing is known from before; and the same one again.
        for machine in [Fixture::open(medium.another_process()), machine] {
            let (_, _, red) = &scene.disks[0];
            let made = machine.backup("red", red).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
            let mut mended = Vec::new();
            match machine.restore(made.snapshot) {
                Ok(bytes) => {
                    assert!(bytes == *red, "{when}: wrong bytes");
                    mended.push("new".to_owned());
                }
                Err(error) => assert_names_an_object(&chain(&error), &when),
            }
            mended.push(scene.restores(&machine, &when));
            compare("mended", &mended.join(" ").trim(), &cell.mended);
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_program_finds_the_same_and_exits_with_4() {
    let folder = crate::common::folder();
    let mut number = 0;
    for_each_cell(|scene, cell, deed, medium| {
        if deed == Unreadable {
            // No file of an ordinary folder is that.
            return;
        }
        number += 1;
        let when = format!("{:?} {deed:?}", cell.object);
        let repo = folder.path().join(format!("repo-{number}"));
        crate::common::write_to(&medium, &repo);
        // Each cell is another repository with the same id; what this machine has seen of one is not missing in the next.
        let cache = folder.path().join("cache");
        _ = std::fs::remove_dir_all(cache.join("audit"));
        let ended = Program { repo, cache }.check();
        let document = ended.json();
        let status = match (cell.object, deed) {
            // What opens no bundle that could be tried is a wrong password first of all.
            (OwnKey, Swap) => 4,
            (OwnKey, _) => 5,
            _ if cell.refused.is_empty() && cell.structure.is_empty() && cell.data.is_empty() => 0,
            _ => 4,
        };
        let ended = ended.expect(status, &when);
        if status == 5 {
            assert!(ended.stderr.contains(cell.refused), "{when}: {ended:#?}");
            return;
        }
        let rows = document["findings"].as_array().expect("findings");
        let found: Vec<_> = rows.iter().map(|row| row["kind"].as_str().expect("a kind").to_owned()).collect();
        let data = if cell.data.is_empty() { cell.structure } else { cell.data };
        let mut expected: Vec<_> =
            data.iter().map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect();
        if !cell.refused.is_empty() {
            let is_config = cell.object == Config;
            expected = vec![if is_config { "config-damaged" } else { "key-damaged" }.to_owned()];
            let detail = rows[0]["detail"].as_str().expect("a detail");
            let text = cell.refused.split(" at memory").next().unwrap_or_default();
            assert!(detail.contains(text), "{when}: {detail}");
        }
        assert_eq!(kinds(found), kinds(expected), "{when}: {document:#}");
        for row in rows.iter().filter(|_| cell.refused.is_empty()) {
            let role = scene.roles.iter().find(|(name, _)| name.path() == row["object"].as_str().unwrap_or_default());
            assert!(role.is_some() || matches!(deed, Forge | Foreign), "{when}: {row}");
        }
        assert!(ObjectName::parse(rows.first().map_or("config", |row| row["object"].as_str().unwrap_or(""))).is_some());
    });
    assert!(number > 50, "{number} cells");
}
