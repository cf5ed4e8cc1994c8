//! What goes into the audit log of the repository: begun when a command has opened it, written when it has ended, however it did.
//!
//! Always true here: a log that cannot be written keeps nobody from getting data back; it is told as a warning.

use super::failure::{DAMAGE, DONE, Failure, WARNINGS};
use sheaf::format::audit::{AuditFacts, AuditRecord, EntryKind};
use sheaf::ids::{KeyId, ObjectId};
use sheaf::names::ObjectName;
use sheaf::repo::open::Repository;
use sheaf::repo::{RepoError, audit};
use std::path::Path;
use std::sync::Arc;

/// An entry that is being made.
pub(crate) struct Ledger {
    repository: Arc<Repository>,
    action: &'static str,
    kind: EntryKind,
    snapshots: Vec<ObjectId>,
    key: Option<KeyId>,
    detail: Option<String>,
    bundle: Option<ObjectId>,
}

impl Ledger {
    pub(crate) fn new(repository: Arc<Repository>, action: &'static str) -> Self {
        let kind = EntryKind::of_action(action);
        Self { repository, action, kind, snapshots: Vec::new(), key: None, detail: None, bundle: None }
    }

    /// A snapshot that it is about.
    pub(crate) fn snapshot(&mut self, id: ObjectId) {
        if !self.snapshots.contains(&id) {
            self.snapshots.push(id);
        }
    }

    /// An entry about these, whose kind the action alone does not say.
    pub(crate) fn of_kind(
        repository: Arc<Repository>,
        action: &'static str,
        kind: EntryKind,
        ids: &[ObjectId],
    ) -> Self {
        Self { kind, snapshots: ids.to_vec(), ..Self::new(repository, action) }
    }

    /// How it ended, as far as the kind says.
    pub(crate) const fn result(&self) -> &'static str {
        if matches!(self.kind, EntryKind::Forget) { AuditRecord::BEGUN } else { AuditRecord::DONE }
    }

    /// The key that it is about.
    pub(crate) const fn key(&mut self, key: KeyId) {
        self.key = Some(key);
    }

    /// The key that it is about, and the bundle that it is in from now on.
    pub(crate) const fn bundle(&mut self, key: KeyId, bundle: ObjectName) {
        self.key = Some(key);
        self.bundle = bundle.id();
    }

    /// More, for people.
    pub(crate) fn detail(&mut self, text: String) {
        self.detail = Some(text);
    }

    /// Writes the entry. Gives what is to be told of the log itself.
    pub(crate) fn write(self, cache: &Path, result: &str) -> Result<Option<String>, RepoError> {
        let facts =
            AuditFacts { kind: self.kind, time_ms: jiff::Timestamp::now().as_millisecond(), subjects: self.snapshots };
        let record = AuditRecord {
            action: self.action.to_owned(),
            result: result.to_owned(),
            host: host(),
            key: self.key.map(|key| (*key.as_bytes()).into()),
            detail: self.detail,
            bundle: self.bundle.map(|id| (*id.as_bytes()).into()),
        };
        let appended = audit::append(&self.repository, cache, &facts, &record)?;
        let missing = appended.missing.len();
        Ok(appended.missing.first().map(|first| {
            format!(
                "{missing} entries of the audit log that this machine has seen are gone, {} among them: the repository is older than it was, \
                 or somebody took them away; `sheaf check` says more",
                first.short()
            )
        }))
    }
}

/// This machine's name.
pub(crate) fn host() -> String {
    hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// How a command ended, in the words of the log.
pub(crate) fn outcome(result: &Result<u8, Failure>) -> String {
    match result {
        Ok(DONE) => AuditRecord::DONE.to_owned(),
        Ok(WARNINGS) => "done, with warnings".to_owned(),
        Ok(DAMAGE) => "damage found".to_owned(),
        Ok(status) => format!("status {status}"),
        Err(failure) => format!("failed: {}", failure.message),
    }
}
