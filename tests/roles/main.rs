//! What a key of each role can and cannot do, with the library and the whole repository in hand.
//!
//! Always true here: a role that may not read is given every way to read that the library has, not only those that a command takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod audit;
#[path = "../common/mod.rs"]
mod common;
mod rotation;
mod signatures;

use common::sources::noise;
use common::{CHEAP, Fixture, chain};
use sheaf::crypto::password::Password;
use sheaf::crypto::{Secret, printed, recipient};
use sheaf::format::certificate::{Certificate, Role};
use sheaf::format::snapshot::OperatorRecord;
use sheaf::format::tree::{TreeEntry, TreeRoot};
use sheaf::ids::{ChunkKey, KeyId, ObjectId, RecipientId, RepositoryId};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::Depth;
use sheaf::ops::monitor::Silent;
use sheaf::ops::{Cancel, OpsError, stats};
use sheaf::repo::bundles::{self, Credential, Lock, Revocation};
use sheaf::repo::keyring::{Action, Domain, NewKey};
use sheaf::repo::open::Repository;
use sheaf::repo::snapshots::{self, Snapshot};
use sheaf::repo::tree::TreeCursor;
use sheaf::repo::view::SnapshotDisk;
use sheaf::repo::{RepoError, packer, segments};
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

fn word(role: Role) -> Password {
    Password::new(format!("the {role}'s").into_bytes())
}

/// A repository with a key of each role, each with a password of its own; the owner's is called `owner`.
fn with_all_roles() -> (SimStorage, Fixture) {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let admin = machine.repository().expect("the admin's");
    for role in Role::ALL {
        add(&admin, role, role.name(), None, &word(role));
    }
    (medium, machine)
}

fn add(
    admin: &Repository,
    role: Role,
    label: &str,
    owner: Option<RecipientId>,
    password: &Password,
) -> bundles::Bundle {
    let new = NewKey { role, label: label.to_owned(), created_ms: 1, owner };
    bundles::add(admin, &new, Lock::Password(password, CHEAP)).expect("a new key")
}

fn open(medium: &SimStorage, password: &Password) -> Arc<Repository> {
    let locked = Repository::open(Arc::new(medium.clone())).expect("there");
    Arc::new(locked.unlock(password).expect("unlocked"))
}

fn is_refused(error: &RepoError, role: Role, action: Action) -> bool {
    matches!(error, RepoError::KeyLacks { role: found, action: tried } if *found == role && *tried == action)
}

#[test]
fn each_role_can_do_what_the_table_says_and_nothing_else() {
    let (medium, _) = with_all_roles();
    let all = [Action::Store, Action::ReadSnapshots, Action::ListSnapshots, Action::KeepRepository, Action::ManageKeys];
    for role in Role::ALL {
        let repository = open(&medium, &word(role));
        assert_eq!(repository.keys().role(), role);
        for action in all {
            let found = repository.keys().require(action);
            assert_eq!(found.is_ok(), action.roles().contains(&role), "{role} {action}");
            if let Err(error) = found {
                assert!(is_refused(&error, role, action), "{}", chain(&error));
                assert!(error.to_string().contains(&action.could()), "{error}");
            }
        }
    }
}

/// A depositor with the whole repository: everything that reads gives ids, counts and sizes, or nothing.
#[test]
fn a_depositor_reads_nothing_not_even_its_own() {
    let (medium, machine) = with_all_roles();
    let secret = noise(7, 300_000);
    let others = machine.backup("ana's secret stick", &secret).expect("a backup").snapshot;
    let depositor = machine.with_password(word(Role::Depositor));
    let own = depositor.backup("depositor's stick", &noise(8, 200_000)).expect("a depositor backs up").snapshot;

    let repository = depositor.repository().expect("opens");
    let store = depositor.store().expect("an index");
    let role = Role::Depositor;
    let refused = |error: RepoError, action| assert!(is_refused(&error, role, action), "{}", chain(&error));
    refused(snapshots::list(&repository).expect_err("list"), Action::ListSnapshots);
    refused(snapshots::resolve(&repository, "latest").expect_err("resolve"), Action::ListSnapshots);
    refused(bundles::list(&repository).expect_err("keys"), Action::KeepRepository);
    for listed in medium.list(ObjectKind::Key).expect("a listing") {
        refused(bundles::inspect(&repository, listed.name).expect_err("card"), Action::KeepRepository);
    }
    let scratch = depositor.path("scratch");
    let checked = sheaf::ops::check::check(&repository, &scratch, None, Depth::Data(100), &Silent, &Cancel::default());
    assert!(matches!(checked, Err(OpsError::Repo(RepoError::KeyLacks { .. }))));
    assert!(matches!(stats::stats(&store), Err(OpsError::Repo(RepoError::KeyLacks { .. }))));
    let by_stick = stats::stick_stats(&store, "ana's secret stick", &Cancel::default());
    assert!(matches!(by_stick, Err(OpsError::Repo(RepoError::KeyLacks { .. }))));

    // What the admin sees of both, in the hands of the depositor: even with the operator's record nothing of the disk opens.
    let admin = machine.repository().expect("the admin's");
    for id in [own, others] {
        refused(snapshots::read(&repository, id).expect_err("operator part"), Action::ListSnapshots);
        refused(snapshots::open_private(&repository, id).expect_err("private part"), Action::ReadSnapshots);
        let snapshot = snapshots::read(&admin, id).expect("the admin reads");
        refused(SnapshotDisk::open(store.clone(), snapshot).expect_err("disk"), Action::ReadSnapshots);
    }

    // Every chunk, by everything that is known of it: its id, and keys made of what lies about.
    let mut session = store.session().expect("a session");
    let mut chunks = 0;
    for listed in medium.list(ObjectKind::Index).expect("a listing") {
        let segment =
            segments::read(&repository, listed.name.id().expect("an id")).expect("the index is a depositor's");
        for pack in &segment.packs {
            let bytes = medium.peek(ObjectName::pack(pack.id)).expect("there");
            assert!(!contains(&bytes, &secret[1000..1064]), "the content lies open in a pack");
            for entry in &pack.entries {
                chunks += 1;
                assert_eq!(session.locate(&entry.id).expect("located").entry.plain_length, entry.plain_length);
                for key in [*entry.id.as_bytes(), *pack.id.as_bytes(), [0; 32]] {
                    for domain in [Domain::Data, Domain::Reference] {
                        assert!(session.read(domain, &ChunkKey::new(key)).is_err(), "a chunk opens with {key:?}");
                    }
                    let root = TreeRoot::new(1, &TreeEntry { key: ChunkKey::new(key), span: 64 });
                    let mut cursor = TreeCursor::new(store.nodes(Domain::Reference).expect("nodes"), root);
                    let leaf = cursor.leaf_at_with(0, &mut |_| Ok(()));
                    let opened = leaf.ok().flatten().map(|leaf| session.read(Domain::Reference, &leaf.entry.key));
                    assert!(!matches!(opened, Some(Ok(_))), "a tree opens with {key:?}");
                }
            }
        }
    }
    assert!(chunks > 50, "{chunks} chunks");
    for listed in medium.list(ObjectKind::Pack).expect("a listing") {
        packer::read_listing(&medium, repository.keys(), repository.id(), listed.name).expect("lengths and ids");
    }
    // Nothing of what was stored names a stick in the clear.
    for (name, bytes) in medium.objects() {
        assert!(!contains(&bytes, b"secret stick"), "{name} names a stick");
    }
    // What it stored is there all the same, for those who may read it.
    machine.assert_sound(&[(others, &secret), (own, &noise(8, 200_000))], "after a depositor");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn two_owners_share_what_is_the_same_and_see_their_own_alone() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("the admin's");
    let ben_word = Password::new(b"ben's".to_vec());
    add(&admin, Role::Owner, "ben", None, &ben_word);
    let [ana, ben] = [machine.with_password(word(Role::Owner)), machine.with_password(ben_word)];
    let disk = noise(9, 400_000);
    let first = ana.backup("ana", &disk).expect("a backup");
    let second = ben.backup("ben", &disk).expect("a backup");
    assert_eq!((second.counts.chunks_new, second.counts.bytes_kept), (0, disk.len() as u64), "stored once");
    for (owner, other, own, foreign) in
        [(&ana, "ben", first.snapshot, second.snapshot), (&ben, "ana", second.snapshot, first.snapshot)]
    {
        assert!(owner.restore(own).expect("restores") == disk);
        let seen: Vec<ObjectId> = owner.snapshots().iter().map(|snapshot| snapshot.id).collect();
        assert_eq!(seen, [own]);
        let repository = owner.repository().expect("opens");
        for error in [
            snapshots::read(&repository, foreign).expect_err("read"),
            snapshots::open_private(&repository, foreign).expect_err("private part"),
            SnapshotDisk::open(owner.store().expect("an index"), stand_in(foreign)).expect_err("disk"),
        ] {
            assert!(matches!(error, RepoError::NotARecipient { .. }), "{}", chain(&error));
            assert!(!error.is_damage());
        }
        let named = snapshots::resolve(&repository, &format!("{other}:latest")).expect_err("not seen");
        assert!(matches!(named, RepoError::NoSuchSnapshot { .. }));
        let named = snapshots::resolve(&repository, &foreign.to_string()).expect_err("not seen");
        assert!(matches!(named, RepoError::NoSuchSnapshot { .. }));
    }
    assert_eq!(medium.list(ObjectKind::Snapshot).expect("a listing").len(), 2);
    machine.assert_sound(&[(first.snapshot, &disk), (second.snapshot, &disk)], "of two owners");
}

/// A snapshot of which nothing is known but its id.
fn stand_in(id: ObjectId) -> Snapshot {
    let record = OperatorRecord {
        stick: String::new(),
        time_ms: 0,
        utc_offset_s: 0,
        time_zone: None,
        host: String::new(),
        tags: Vec::new(),
        size: 0,
        references: TreeRoot::EMPTY,
        tool: String::new(),
        counts: sheaf::format::snapshot::Counts::default(),
        origin: None,
    };
    let maker = Certificate {
        key: KeyId::new([0; 32]),
        role: Role::Admin,
        label: String::new(),
        created_ms: 0,
        owner: None,
        repository: RepositoryId::new([0; 16]),
    };
    Snapshot { id, record, maker }
}

#[test]
fn what_a_depositor_adds_for_an_owner_the_owner_reads() {
    let (_, machine) = with_all_roles();
    let admin = machine.repository().expect("the admin's");
    let owner = bundles::resolve(&admin, "owner").expect("by its label").certificate.owner.expect("a key of its own");
    let on_the_stick = Password::new(b"on the stick".to_vec());
    add(&admin, Role::Depositor, "ana's stick", Some(owner), &on_the_stick);
    let disk = noise(10, 100_000);
    let snapshot = machine.with_password(on_the_stick).backup("ana", &disk).expect("a backup").snapshot;
    assert!(machine.with_password(word(Role::Owner)).restore(snapshot).expect("the owner restores") == disk);
    assert!(machine.restore(snapshot).expect("the admin restores") == disk);
}

#[test]
fn operators_and_auditors_check_without_reading() {
    let (medium, machine) = with_all_roles();
    let disk = noise(11, 300_000);
    let snapshot = machine.backup("ana", &disk).expect("a backup").snapshot;
    for role in [Role::Operator, Role::Auditor] {
        let keeper = machine.with_password(word(role));
        let report = keeper.check(Depth::Data(100)).expect("checks");
        assert!(report.is_ok() && report.packs_read == report.packs, "{role}: {:?}", report.findings);
        assert_eq!(keeper.snapshots().len(), 1);
        assert_eq!(stats::stats(&keeper.store().expect("an index")).expect("counts").snapshots, 1);
        let error = keeper.restore(snapshot).expect_err("restore");
        let OpsError::Repo(error) = error else { panic!("{}", chain(&error)) };
        assert!(is_refused(&error, role, Action::ReadSnapshots), "{}", chain(&error));
        let error = keeper.backup("ana", &disk).expect_err("backup");
        let OpsError::Repo(error) = error else { panic!("{}", chain(&error)) };
        assert!(is_refused(&error, role, Action::Store), "{}", chain(&error));
        // The reference list is all that opens, and it has ids alone.
        let store = keeper.store().expect("an index");
        let seen = snapshots::read(&store.repository, snapshot).expect("the operator's part");
        let mut session = store.session().expect("a session");
        let mut cursor = TreeCursor::new(store.nodes(Domain::Reference).expect("nodes"), seen.record.references);
        let leaf = cursor.leaf_at_with(0, &mut |_| Ok(())).expect("walks").expect("not empty");
        assert!(session.read(Domain::Reference, &leaf.entry.key).expect("ids").len().is_multiple_of(32));
    }
    // A pack whose bytes are not those of its name is found without any key to its chunks.
    let pack = medium.names(ObjectKind::Pack)[0];
    let mut bytes = medium.peek(pack).expect("there");
    bytes[100] ^= 1;
    medium.overwrite(pack, bytes);
    let report = machine.with_password(word(Role::Auditor)).check(Depth::Data(100)).expect("checks");
    assert!(report.findings.iter().any(|finding| finding.object == pack), "{:?}", report.findings);
}

#[test]
fn a_key_file_and_a_printed_key_open_and_others_do_not() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("the admin's");
    let (private, public) = recipient::generate().expect("random");
    let new = NewKey { role: Role::Admin, label: "paper".to_owned(), created_ms: 2, owner: None };
    bundles::add(&admin, &new, Lock::Recipient(public)).expect("a new key");
    let typed = printed::read_secret(&printed::secret(&private)).expect("as it was printed");
    let unlock = |secret: Secret| {
        Repository::open(Arc::new(medium.clone())).expect("there").unlock_with(&Credential::Key(secret))
    };
    assert_eq!(unlock(typed).expect("opens").keys().certificate().label, "paper");
    let (other, _) = recipient::generate().expect("random");
    assert!(matches!(unlock(other), Err(RepoError::WrongKey { .. })));
    // A label is one key's.
    let taken = bundles::add(&admin, &new, Lock::Recipient(public)).expect_err("taken");
    assert!(matches!(taken, RepoError::KeyLabelTaken { .. }));
}

#[test]
fn a_new_password_replaces_the_old_one_and_a_revoked_key_opens_nothing() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("the admin's");
    let auditor = open(&medium, &word(Role::Auditor));
    let changed = Password::new(b"changed".to_vec());
    let credential = Credential::Password(word(Role::Auditor));
    let bundle = bundles::protect(&auditor, &credential, Lock::Password(&changed, CHEAP), &mut |_| Ok(()))
        .expect("protected anew");
    assert_eq!(bundle.certificate, *auditor.keys().certificate());
    let unlock = |password: &Password| Repository::open(Arc::new(medium.clone())).expect("there").unlock(password);
    assert!(matches!(unlock(&word(Role::Auditor)), Err(RepoError::WrongPassword { .. })));
    assert_eq!(open(&medium, &changed).keys().role(), Role::Auditor);

    let plan = Revocation::plan(&admin, &bundle.certificate).expect("a plan");
    assert_eq!(plan.bundles, [bundle.name]);
    assert_eq!(open(&medium, &changed).keys().role(), Role::Auditor, "a plan changes nothing");
    plan.apply(&admin).expect("applied");
    assert!(matches!(unlock(&changed), Err(RepoError::WrongPassword { .. })));

    // Only an admin, and never the last one.
    let operator = open(&medium, &word(Role::Operator));
    let refused = Revocation::plan(&operator, operator.keys().certificate()).expect_err("not an operator's to do");
    assert!(is_refused(&refused, Role::Operator, Action::ManageKeys));
    let other = open(&medium, &word(Role::Admin));
    let other = other.keys().certificate();
    Revocation::plan(&admin, other).expect("there is another admin").apply(&admin).expect("applied");
    let last = Revocation::plan(&admin, admin.keys().certificate()).expect_err("the last one");
    assert!(matches!(last, RepoError::LastAdmin { .. }));
}

#[test]
fn a_bundle_that_was_exported_comes_back_and_a_strange_one_does_not() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("the admin's");
    let bundle = bundles::resolve(&admin, "auditor").expect("by its label");
    let bytes = bundles::export(&admin, bundle.name).expect("exported");
    Revocation::plan(&admin, &bundle.certificate).expect("a plan").apply(&admin).expect("applied");
    let import = |bytes: &[u8]| bundles::import(&medium, admin.id(), bytes);
    assert_eq!(import(&bytes).expect("imported"), bundle.name);
    assert_eq!(open(&medium, &word(Role::Auditor)).keys().role(), Role::Auditor);
    assert!(matches!(import(&bytes[..40]), Err(RepoError::Malformed { .. })));
    let foreign = SimStorage::new();
    Fixture::make(foreign.clone());
    let foreign = foreign.peek(foreign.names(ObjectKind::Key)[0]).expect("there");
    assert!(matches!(import(&foreign), Err(RepoError::ForeignObject { .. })));
    // A card that was swapped for another key's is damage.
    let other = medium.names(ObjectKind::Key);
    let mut spliced = medium.peek(other[0]).expect("there");
    let at = spliced.len() - 1;
    spliced[at] ^= 1;
    let name = import(&spliced).expect("whole as far as can be seen");
    let all: Vec<_> = Role::ALL.into_iter().map(word).chain([common::password()]).collect();
    let opened =
        |password: &Password| bundles::open_bundle(&medium, name, admin.id(), &Credential::Password(password.clone()));
    assert!(all.iter().all(|password| opened(password).is_err()), "a changed record opens");
}
