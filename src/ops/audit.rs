//! The audit log: verified against what there is, for those who may read it.
//!
//! Always true here:
//! - Nothing is changed. What is wrong is a finding, as in a check.
//! - Without the audit's key the chain and the facts are verified, and not the records: what is missing is seen by all who keep the
//!   repository, and what became of keys by those who read the log.

use super::OpsError;
use super::check::{Finding, FindingKind};
use crate::format::audit::EntryKind;
use crate::format::certificate::Certificate;
use crate::ids::{KeyId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::repo::audit::{self, Entry, Forgotten, KeyHistory, Log, Standing};
use crate::repo::bundles::{self, Bundle};
use crate::repo::keyring::Action;
use crate::repo::open::Repository;
use crate::repo::snapshots::Snapshot;
use crate::repo::{RepoError, chain};
use std::collections::BTreeSet;
use std::path::Path;

/// What the log says, and what is wrong with it.
#[derive(Debug, Default)]
pub struct AuditReport {
    /// The log.
    pub log: Log,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Reads the log and verifies it: every entry, that none is missing, and that what was committed is there. `cache` is the folder that
/// remembers what this machine has seen.
///
/// # Errors
/// [`OpsError::Repo`] for a key that may not keep the repository, or storage that cannot be read. Damage is in the report.
pub fn verify(repository: &Repository, cache: Option<&Path>, snapshots: &[Snapshot]) -> Result<AuditReport, OpsError> {
    repository.keys().require(Action::KeepRepository)?;
    let (log, mut findings) = compare(repository, cache)?;
    for (name, error) in &log.damaged {
        findings.push(finding(FindingKind::AuditDamaged, *name, chain(error)));
    }
    for id in &log.missing {
        let followers: Vec<String> =
            log.entries.iter().filter(|entry| entry.previous.contains(id)).map(|entry| entry.id.short()).collect();
        let detail = match followers.split_first() {
            Some((first, _)) => format!("entry {first} follows it, and it is not there"),
            None => "this machine has seen it, and it is not there: the repository is older than it was, or it was taken away".to_owned(),
        };
        findings.push(finding(FindingKind::AuditMissing, ObjectName::new(ObjectKind::Audit, *id), detail));
    }
    let history = KeyHistory::of(&log);
    findings.extend(after_revocation(&history, snapshots));
    findings.extend(replaced_bundles(&history, &bundles::list(repository)?.bundles));
    Ok(AuditReport { log, findings })
}

/// The log, and where it does not fit with the snapshots that are there, while others make and forget some.
fn compare(repository: &Repository, cache: Option<&Path>) -> Result<(Log, Vec<Finding>), OpsError> {
    let (log, first) = look(repository, cache)?;
    if first.is_empty() {
        return Ok((log, first));
    }
    // Forgetting is logged before it is done: what was forgotten behind the first reading of the log, the second one tells of.
    let (log, mut again) = look(repository, cache)?;
    let place = |finding: &Finding| (finding.kind, finding.object);
    again.retain(|finding| first.iter().any(|before| place(before) == place(finding)));
    Ok((log, again))
}

/// One look at the snapshots, and then at the log.
fn look(repository: &Repository, cache: Option<&Path>) -> Result<(Log, Vec<Finding>), OpsError> {
    let storage = repository.storage();
    // Snapshots that cannot be read are a finding of their own; here it counts that they are there.
    let listed = storage.list(ObjectKind::Snapshot).map_err(RepoError::from)?;
    let there: BTreeSet<ObjectId> = listed.iter().filter_map(|listed| listed.name.id()).collect();
    let log = audit::read_all(repository, cache)?;
    // The listing is older than the log: what was made or forgotten between the two is as the log says.
    let mut confirmed = Vec::new();
    for finding in gone_and_back(&log, &there) {
        let is_there = match storage.size(finding.object) {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(RepoError::from(error).into()),
        };
        if is_there == (finding.kind == FindingKind::SnapshotReturned) {
            confirmed.push(finding);
        }
    }
    Ok((log, confirmed))
}

fn finding(kind: FindingKind, object: ObjectName, detail: String) -> Finding {
    Finding { kind, object, detail, snapshots: BTreeSet::new(), sticks: BTreeSet::new(), mendable: None }
}

/// Snapshots that were made and are gone, though nobody let them go, and those that were let go and are back. Only an operator's or
/// admin's word lets one go.
fn gone_and_back(log: &Log, there: &BTreeSet<ObjectId>) -> Vec<Finding> {
    let of = |kind: EntryKind| log.entries.iter().filter(move |entry| entry.kind == kind);
    let snapshot = |id: &ObjectId| ObjectName::new(ObjectKind::Snapshot, *id);
    let by = |entry: &Entry| entry.maker.as_ref().map_or_else(String::new, |maker| format!(" by `{}`", maker.label));
    let forgotten = Forgotten::of(log);
    let mut findings = Vec::new();
    for entry in of(EntryKind::Backup) {
        for id in entry.subjects.iter().filter(|id| !there.contains(id) && !forgotten.may_be_gone(id)) {
            let by = by(entry);
            let detail = format!("it was made{by}, as entry {} says, and nobody forgot it", entry.id.short());
            findings.push(finding(FindingKind::SnapshotMissing, snapshot(id), detail));
        }
    }
    for entry in of(EntryKind::Forgotten).filter(|entry| entry.is_keepers()) {
        for id in entry.subjects.iter().filter(|id| there.contains(id)) {
            let by = by(entry);
            let detail = format!("it was forgotten{by}, as entry {} says, and somebody put it back", entry.id.short());
            findings.push(finding(FindingKind::SnapshotReturned, snapshot(id), detail));
        }
    }
    findings
}

/// Bundles of keys that the log says are in another bundle since, or nowhere: an old one that was put back opens with an old password.
/// And bundles that it tells of, and that are gone.
fn replaced_bundles(history: &KeyHistory, bundles: &[Bundle]) -> Vec<Finding> {
    let wrong = bundles.iter().filter_map(|bundle| {
        let Certificate { key, label, .. } = &bundle.certificate;
        let detail = match history.standing(key, bundle.name.id()) {
            Standing::Current => return None,
            Standing::Revoked => format!("the key `{label}` was taken away, and its bundle is back"),
            Standing::Replaced(id) => {
                format!("the key `{label}` is in bundle {} since, and another one is there", id.short())
            }
        };
        Some(finding(FindingKind::KeyReplaced, bundle.name, detail))
    });
    let mut findings: Vec<Finding> = wrong.collect();
    let there: BTreeSet<KeyId> = bundles.iter().map(|bundle| bundle.certificate.key).collect();
    let gone = |key: &KeyId| !there.contains(key) && !history.revoked.contains_key(key);
    for (key, bundle) in history.current.iter().filter(|(key, _)| gone(key)) {
        let detail = format!("the key {} was in it, as the log says, and nobody took that away", key.short());
        findings.push(finding(FindingKind::KeyMissing, ObjectName::new(ObjectKind::Key, *bundle), detail));
    }
    findings
}

/// Snapshots that carry the signature of a key that was taken away before they were made: no clock is asked, an admin has listed those
/// that were there.
fn after_revocation(history: &KeyHistory, snapshots: &[Snapshot]) -> Vec<Finding> {
    let late = |snapshot: &&Snapshot| {
        history.revoked.get(&snapshot.maker.key).is_some_and(|known| !known.contains(&snapshot.id))
    };
    let late = snapshots.iter().filter(late).map(|snapshot| {
        let detail = format!("it was made with the key `{}` after that was taken away", snapshot.maker.label);
        let name = ObjectName::new(ObjectKind::Snapshot, snapshot.id);
        Finding {
            snapshots: BTreeSet::from([snapshot.id]),
            sticks: BTreeSet::from([snapshot.record.stick.clone()]),
            ..finding(FindingKind::SnapshotRevoked, name, detail)
        }
    });
    late.collect()
}
