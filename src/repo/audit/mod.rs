//! The audit log: appending to it, and reading it (format-spec/audit.md).
//!
//! Always true here:
//! - An entry follows all that nobody followed when it was made. Two that are made at once follow the same; the next follows both.
//! - What a machine has seen it remembers, by ids: an entry that is gone since is told, whoever took it away.
//! - Whoever can store can append, and nobody can change what is there but by taking it away.
//! - What a reader decides by are an entry's facts, which every key of the repository opens, and who signed it.

mod history;
mod memory;
mod order;
mod pins;

pub use history::{KeyHistory, Standing};
pub use order::Order;
pub use pins::{Forgotten, Pins};

use super::RepoError;
use super::keyring::Action;
use super::open::Repository;
use super::sealing::{Purpose, open_with, seal_to};
use super::signing::{self, Signed};
use crate::crypto::aead;
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::Purpose as SignaturePurpose;
use crate::format::audit::{self, AuditFacts, AuditObject, AuditRecord, EntryKind, MAX_PREVIOUS, MAX_SUBJECTS};
use crate::format::certificate::{Certificate, Role};
use crate::format::object::Header;
use crate::ids::{KeyId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use memory::Links;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: ObjectId,
    /// The entries that it follows.
    pub previous: Vec<ObjectId>,
    /// The key whose signature it carries.
    pub key: KeyId,
    /// What the authority says of that key; `None` for those who cannot see that.
    pub maker: Option<Certificate>,
    /// What kind of thing was done.
    pub kind: EntryKind,
    /// When, in milliseconds since 1970-01-01 UTC, by the clock of whoever did it.
    pub time_ms: i64,
    /// Snapshots that it is about.
    pub subjects: Vec<ObjectId>,
    /// What was done, for people; `None` for those who cannot read that.
    pub record: Option<AuditRecord>,
}

impl Entry {
    /// True for an entry of an operator or admin: of those who let snapshots go. Only who keeps the repository can tell.
    pub fn is_keepers(&self) -> bool {
        self.maker.as_ref().is_some_and(|maker| matches!(maker.role, Role::Operator | Role::Admin))
    }
}

/// The log as it is.
#[derive(Debug, Default)]
pub struct Log {
    /// Entries, each behind those that it follows, and else by time.
    pub entries: Vec<Entry>,
    /// Entries that could not be read.
    pub damaged: Vec<(ObjectName, RepoError)>,
    /// Entries that others follow, or that this machine has seen, and that are not there.
    pub missing: BTreeSet<ObjectId>,
    /// Of those that are missing or damaged the ones that this machine has seen, or that an entry of an operator or admin follows: they
    /// were there. A depositor's entry can name whatever it likes.
    pub lost: BTreeSet<ObjectId>,
}

/// Reads one entry, as far as this key can.
///
/// # Errors
/// [`RepoError`] naming the entry.
pub fn read(repository: &Repository, id: ObjectId) -> Result<Entry, RepoError> {
    let name = ObjectName::new(ObjectKind::Audit, id);
    let malformed = |source| RepoError::Malformed { name, source };
    let bytes = repository.get_named(name, audit::MAX_LENGTH as u64)?;
    let signed = Signed::verify(repository, SignaturePurpose::AuditEntry, name, bytes)?;
    let object = AuditObject::decode(signed.bytes()).map_err(malformed)?;
    repository.check_owner(name, object.header.repository)?;
    let keys = repository.keys();
    let maker = match keys.require(Action::KeepRepository) {
        Ok(()) => Some(signed.maker(repository, name, Action::Log)?),
        Err(_) => None,
    };
    let facts = keys
        .open_record(RecordKind::AuditFacts, derive::object_id(object.chain).as_bytes(), object.facts)
        .map_err(|source| RepoError::Sealed { name, part: "facts", source })?;
    let AuditFacts { kind, time_ms, subjects } = AuditFacts::decode(&facts, object.subjects).map_err(malformed)?;
    let record = match keys.require(Action::ReadLog) {
        Ok(()) => {
            let bound = derive::object_id(object.bound);
            let plain = open_with(keys.audit_keys(), Purpose::AuditEntry, bound.as_bytes(), &object.body)
                .map_err(|source| RepoError::Sealed { name, part: "record", source })?;
            Some(AuditRecord::decode(&plain).map_err(malformed)?)
        }
        Err(_) => None,
    };
    Ok(Entry { id, previous: object.previous, key: signed.key, maker, kind, time_ms, subjects, record })
}

/// Reads the whole log, as far as this key can, and compares it with what this machine remembers of it in the cache folder.
///
/// # Errors
/// [`RepoError::Storage`] when the listing fails or storage cannot be read at all.
pub fn read_all(repository: &Repository, cache: Option<&Path>) -> Result<Log, RepoError> {
    let mut log = Log::default();
    let mut by_id = BTreeMap::new();
    // Before the listing: what another process appends meanwhile is remembered behind that.
    let remembered = cache.map(|cache| memory::load(&memory::path(cache, repository.id()))).unwrap_or_default();
    let listed: BTreeSet<ObjectId> =
        repository.storage().list(ObjectKind::Audit)?.iter().filter_map(|listed| listed.name.id()).collect();
    let mut asked: BTreeSet<ObjectId> = listed.iter().chain(remembered.keys()).copied().collect();
    let mut waiting: Vec<ObjectId> = asked.iter().copied().collect();
    // A listing is of no one moment: an entry that came meanwhile can be left out, and one that follows it be in. What is known to have
    // been there, or is followed, is asked for by its name before it counts as gone.
    while let Some(id) = waiting.pop() {
        match read(repository, id) {
            Ok(entry) => {
                waiting.extend(entry.previous.iter().copied().filter(|id| asked.insert(*id)));
                by_id.insert(id, entry);
            }
            Err(RepoError::Storage(error)) if error.is_not_found() && !listed.contains(&id) => {}
            Err(error) if error.is_damage() => log.damaged.push((ObjectName::new(ObjectKind::Audit, id), error)),
            Err(error) => return Err(error),
        }
    }
    // As they are in the listing, whatever was asked for behind it.
    log.damaged.sort_by_key(|(name, _)| name.id());
    let damaged: BTreeSet<ObjectId> = log.damaged.iter().filter_map(|(name, _)| name.id()).collect();
    let is_gone = |id: &ObjectId| !by_id.contains_key(id);
    let of_keepers = by_id.values().filter(|entry: &&Entry| entry.is_keepers()).flat_map(|entry| &entry.previous);
    log.lost = of_keepers.chain(remembered.keys()).copied().filter(is_gone).collect();
    let followed = by_id.values().flat_map(|entry: &Entry| entry.previous.iter().copied());
    let needed = followed.chain(remembered.into_keys());
    log.missing = needed.filter(|id| !by_id.contains_key(id) && !damaged.contains(id)).collect();
    log.entries = in_order(by_id);
    Ok(log)
}

/// Entries behind those that they follow, and else by time and id.
fn in_order(mut entries: BTreeMap<ObjectId, Entry>) -> Vec<Entry> {
    let mut waiting: BTreeMap<ObjectId, usize> = BTreeMap::new();
    let mut followers: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
    for (id, entry) in &entries {
        let there: BTreeSet<ObjectId> = entry.previous.iter().copied().filter(|id| entries.contains_key(id)).collect();
        waiting.insert(*id, there.len());
        there.into_iter().for_each(|previous| followers.entry(previous).or_default().push(*id));
    }
    let place = |entry: &Entry| (entry.time_ms, entry.id);
    let mut ready: BTreeSet<(i64, ObjectId)> =
        entries.values().filter(|entry| waiting.get(&entry.id) == Some(&0)).map(place).collect();
    let mut order = Vec::with_capacity(entries.len());
    // An id is a hash over the ids that it follows, so that there is no way around in a circle.
    while let Some((_, id)) = ready.pop_first() {
        for follower in followers.remove(&id).unwrap_or_default() {
            let Some(count) = waiting.get_mut(&follower) else { continue };
            *count -= 1;
            if *count == 0 {
                ready.extend(entries.get(&follower).map(place));
            }
        }
        order.extend(entries.remove(&id));
    }
    order
}

/// What appending found.
#[derive(Debug)]
pub struct Appended {
    /// The new entry.
    pub id: ObjectId,
    /// Entries that this machine has seen, and that are gone.
    pub missing: BTreeSet<ObjectId>,
}

/// Appends an entry. Of the entries that are there, those are read that this machine has not seen. What is about more snapshots than
/// an entry can name becomes several, of which the last is given.
///
/// # Errors
/// [`RepoError::Storage`], [`RepoError::Crypto`].
pub fn append(
    repository: &Repository,
    cache: &Path,
    facts: &AuditFacts,
    record: &AuditRecord,
) -> Result<Appended, RepoError> {
    let path = memory::path(cache, repository.id());
    let mut links: Links = memory::load(&path);
    let mut there = BTreeSet::new();
    for listed in repository.storage().list(ObjectKind::Audit)? {
        let Some(id) = listed.name.id() else { continue };
        if let std::collections::btree_map::Entry::Vacant(unseen) = links.entry(id) {
            // One that is damaged is found by a check; a follower of it would say that it was in order.
            let Ok(entry) = read(repository, id) else { continue };
            unseen.insert(entry.previous);
        }
        there.insert(id);
    }
    let missing: BTreeSet<ObjectId> = links.keys().copied().filter(|id| !there.contains(id)).collect();
    let followed: BTreeSet<ObjectId> = links.values().flatten().copied().collect();
    let mut heads = there.into_iter().filter(|id| !followed.contains(id)).take(MAX_PREVIOUS.into()).collect::<Vec<_>>();
    let mut parts = facts.subjects.chunks(MAX_SUBJECTS.into());
    let mut part = parts.next().unwrap_or_default();
    loop {
        let facts = AuditFacts { subjects: part.to_vec(), ..*facts };
        let id = put(repository, &heads, &facts, record)?;
        links.insert(id, heads);
        if let Some(next) = parts.next() {
            (part, heads) = (next, vec![id]);
            continue;
        }
        // A machine that cannot remember logs all the same.
        _ = memory::save(&path, &links);
        return Ok(Appended { id, missing });
    }
}

/// Seals, signs and stores one entry behind others.
fn put(
    repository: &Repository,
    previous: &[ObjectId],
    facts: &AuditFacts,
    record: &AuditRecord,
) -> Result<ObjectId, RepoError> {
    let keys = repository.keys();
    let subjects = u16::try_from(facts.subjects.len()).unwrap_or(MAX_SUBJECTS);
    let chain = audit::encode_chain(&Header::new(repository.id()), previous, subjects);
    let associated = derive::object_id(&chain);
    let key = keys.record_key(RecordKind::AuditFacts);
    let sealed = aead::seal(key.expose(), associated.as_bytes(), &facts.encode())?;
    let bound = [chain, sealed].concat();
    let associated = derive::object_id(&bound);
    let body = seal_to(keys.audit(), Purpose::AuditEntry, associated.as_bytes(), &record.encode())?;
    let block = signing::sign(keys, SignaturePurpose::AuditEntry, &[&bound, &body])?;
    let id = derive::object_id_of_parts(&[&bound, &body, &block]);
    repository.storage().put(ObjectName::new(ObjectKind::Audit, id), &[&bound, &body, &block])?;
    Ok(id)
}
