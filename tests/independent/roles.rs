//! What the other reader opens with the keys of each role, and what it reads in the log.
//!
//! Always true here: what the other reader refuses is refused for the reason that the test is about.

use super::{PASSWORD, World, assert_same, noise};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;

const ADMIN: &[(&str, &str)] = &[("SHEAF_PASSWORD", PASSWORD)];
const ANA: &[(&str, &str)] = &[("SHEAF_PASSWORD", "ana's own words")];
const KEY_FILE: &[(&str, &str)] = &[("SHEAF_KEY_FILE", "paper.key")];

/// A repository with an owner, and one snapshot each of the admin and of the owner.
struct Shared {
    world: World,
    of_admin: String,
    of_ana: String,
}

impl Shared {
    fn new() -> Option<Self> {
        let world = World::new(&[])?;
        fs::write(world.path("admin.img"), noise(50_000, 1)).unwrap();
        fs::write(world.path("ana.img"), noise(60_000, 2)).unwrap();
        let of_admin = world.backup("admin.img", &["--layout", "none"]);
        let secrets = [ADMIN, &[("SHEAF_NEW_PASSWORD", ANA[0].1)]].concat();
        world.sheaf_as(&secrets, &["key", "add", "--role", "owner", "--label", "ana", "--password-memory", "8"]);
        let of_ana = backup_of_ana(&world);
        Some(Self { world, of_admin, of_ana })
    }

    /// Makes a key file, and a key of a role that is sealed to it.
    fn add_key_file(&self, role: &str) {
        let public = self.world.sheaf(&["key", "generate", "paper.key"])["public_key"].as_str().unwrap().to_owned();
        self.world.sheaf(&["key", "add", "--role", role, "--label", "paper", "--to-key", &public]);
    }

    fn log(&self, secrets: &[(&str, &str)]) -> Result<String, String> {
        self.world.ask_another(secrets, &[OsStr::new("--audit")])
    }
}

fn backup_of_ana(world: &World) -> String {
    let document = world.sheaf_as(ANA, &["backup", "ana.img", "--layout", "none"]);
    document["snapshot"].as_str().unwrap().to_owned()
}

#[test]
fn another_reader_restores_for_an_owner_what_is_the_owners() {
    let Some(shared) = Shared::new() else { return };
    let Shared { world, of_admin, of_ana } = &shared;
    let disk = noise(60_000, 2);
    assert_same(&world.read_as(ANA, of_ana).unwrap(), &disk, "the owner's, with the owner's password");
    assert_same(&world.read_as(ADMIN, of_ana).unwrap(), &disk, "the owner's, with the admin's password");
    assert_same(&world.read_as(ADMIN, of_admin).unwrap(), &noise(50_000, 1), "the admin's");
    let error = world.read_as(ANA, of_admin).unwrap_err();
    assert!(error.contains(of_admin) && error.contains("was not made for this key"), "{error}");
    let error = shared.log(ANA).unwrap_err();
    assert!(error.contains("the log of 4 entries is whole; this key does not read it"), "{error}");
}

#[test]
fn another_reader_opens_a_bundle_with_a_key_file_and_a_printed_key() {
    let Some(shared) = Shared::new() else { return };
    let Shared { world, of_ana, .. } = &shared;
    shared.add_key_file("admin");
    let disk = noise(60_000, 2);
    assert_same(&world.read_as(KEY_FILE, of_ana).unwrap(), &disk, "with a key file");
    let file = fs::read_to_string(world.path("paper.key")).unwrap();
    let printed = file.lines().find(|line| line.starts_with("SHEAF-KEY-")).unwrap();
    let typed = printed.to_lowercase().replace('-', " ");
    assert_same(&world.read_as(&[("SHEAF_PASSWORD", printed)], of_ana).unwrap(), &disk, "with the key in it");
    assert_same(&world.read_as(&[("SHEAF_PASSWORD", &typed)], of_ana).unwrap(), &disk, "as somebody types it");

    let (rest, last) = printed.split_at(printed.len() - 1);
    let other = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    let error = world.read_as(&[("SHEAF_PASSWORD", &other)], of_ana).unwrap_err();
    assert!(error.contains("group 8 is not what was printed"), "{error}");
    fs::remove_file(world.path("paper.key")).unwrap();
    world.sheaf(&["key", "generate", "paper.key"]);
    let error = world.read_as(KEY_FILE, of_ana).unwrap_err();
    assert!(error.contains("there is no bundle for this key"), "{error}");
}

#[test]
fn another_reader_restores_nothing_for_an_operator() {
    let Some(shared) = Shared::new() else { return };
    shared.add_key_file("operator");
    let error = shared.world.read_as(KEY_FILE, &shared.of_ana).unwrap_err();
    assert!(error.contains("this key opens no snapshots"), "{error}");
}

#[test]
fn another_reader_reads_the_same_log() {
    let Some(shared) = Shared::new() else { return };
    shared.add_key_file("auditor");
    let document = shared.world.sheaf(&["audit"]);
    let entries = document["entries"].as_array().unwrap();
    let picked = |entry: &Value| {
        let time: jiff::Timestamp = entry["time"].as_str().unwrap().parse().unwrap();
        (time, ["label", "action", "result", "snapshots"].map(|field| entry[field].clone()))
    };
    let ours: Vec<_> = entries.iter().map(picked).collect();
    for secrets in [ADMIN, KEY_FILE] {
        let printed = shared.log(secrets).unwrap();
        let theirs: Vec<_> = printed.lines().map(|line| picked(&serde_json::from_str(line).unwrap())).collect();
        assert_eq!(theirs, ours);
    }
    let what = |entry: &Value| [entry["label"].clone(), entry["action"].clone(), entry["snapshots"].clone()];
    let expected = [
        json!(["admin", "init", []]),
        json!(["admin", "backup", [shared.of_admin]]),
        json!(["admin", "key add", []]),
        json!(["ana", "backup", [shared.of_ana]]),
        json!(["admin", "key add", []]),
    ];
    assert_eq!(json!(entries.iter().map(what).collect::<Vec<_>>()), json!(expected));

    // A link that is taken out, and a snapshot.
    let repo = shared.world.path("repo");
    for (name, says) in [
        (format!("audit/{}", entries[1]["id"].as_str().unwrap()), "follows it"),
        (format!("snapshots/{}", shared.of_ana), "says that it was made"),
    ] {
        fs::rename(repo.join(&name), shared.world.path("taken")).unwrap();
        let error = shared.log(ADMIN).unwrap_err();
        assert!(error.contains(&format!("{name}: is not there, though")) && error.contains(says), "{error}");
        fs::rename(shared.world.path("taken"), repo.join(&name)).unwrap();
    }
    assert!(shared.log(ADMIN).is_ok());
}

#[test]
fn another_reader_believes_nothing_new_of_a_revoked_key() {
    let Some(shared) = Shared::new() else { return };
    let Shared { world, of_ana, .. } = &shared;
    let keys = world.sheaf(&["key", "list"]);
    let is_ana = |key: &&Value| key["label"] == "ana";
    let bundle = keys["keys"].as_array().unwrap().iter().find(is_ana).unwrap()["bundle"].as_str().unwrap();
    let bundle = world.path("repo").join(bundle);
    let bytes = fs::read(&bundle).unwrap();
    world.sheaf(&["key", "revoke", "ana"]);
    assert!(!bundle.exists());
    let disk = noise(60_000, 2);
    assert_same(&world.read_by_another(of_ana).unwrap(), &disk, "what was made before");
    assert!(shared.log(ADMIN).is_ok());

    // Somebody has a copy of the bundle.
    fs::write(&bundle, bytes).unwrap();
    let later = backup_of_ana(world);
    assert_ne!(later, *of_ana);
    let refused = |result: Result<_, String>| result.unwrap_err().contains(&format!("{later}: was made with a key"));
    assert!(refused(world.read_by_another(&later).map(drop)));
    assert!(refused(shared.log(ADMIN).map(drop)));
    assert_same(&world.read_by_another(of_ana).unwrap(), &disk, "what was made before, later");
}

/// Secrets that were replaced still open what they sealed.
#[test]
fn another_reader_restores_across_a_rotation() {
    let Some(shared) = Shared::new() else { return };
    let Shared { world, of_admin, of_ana } = &shared;
    world.sheaf(&["key", "rotate"]);
    let later = backup_of_ana(world);
    world.sheaf(&["key", "rotate"]);
    let latest = world.backup("admin.img", &["--layout", "none"]);
    let disk = noise(60_000, 2);
    for secrets in [ANA, ADMIN] {
        assert_same(&world.read_as(secrets, of_ana).unwrap(), &disk, "from before");
        assert_same(&world.read_as(secrets, &later).unwrap(), &disk, "from between");
    }
    for snapshot in [of_admin, &latest] {
        assert_same(&world.read_as(ADMIN, snapshot).unwrap(), &noise(50_000, 1), "the admin's");
        assert!(world.read_as(ANA, snapshot).is_err(), "the owner sees her own alone");
    }
    assert!(shared.log(ADMIN).unwrap().contains("key rotate"));
}
