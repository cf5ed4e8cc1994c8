//! What goes into the audit log of the repository: begun when a command has opened it, written when it has ended, however it did.
//!
//! Always true here: a log that cannot be written keeps nobody from getting data back; it is told as a warning.

use super::failure::{DAMAGE, DONE, Failure, WARNINGS};
use sheaf::format::audit::AuditRecord;
use sheaf::ids::{KeyId, ObjectId};
use sheaf::repo::open::Repository;
use sheaf::repo::{RepoError, audit};
use std::path::Path;
use std::sync::Arc;

/// An entry that is being made.
pub(crate) struct Ledger {
    repository: Arc<Repository>,
    action: &'static str,
    snapshots: Vec<ObjectId>,
    key: Option<KeyId>,
    detail: Option<String>,
}

impl Ledger {
    pub(crate) const fn new(repository: Arc<Repository>, action: &'static str) -> Self {
        Self { repository, action, snapshots: Vec::new(), key: None, detail: None }
    }

    /// A snapshot that it is about.
    pub(crate) fn snapshot(&mut self, id: ObjectId) {
        if !self.snapshots.contains(&id) {
            self.snapshots.push(id);
        }
    }

    /// The key that it is about.
    pub(crate) const fn key(&mut self, key: KeyId) {
        self.key = Some(key);
    }

    /// More, for people.
    pub(crate) fn detail(&mut self, text: String) {
        self.detail = Some(text);
    }

    /// Writes the entry. Gives what is to be told of the log itself.
    pub(crate) fn write(self, cache: &Path, result: &str) -> Result<Option<String>, RepoError> {
        let record = AuditRecord {
            time_ms: jiff::Timestamp::now().as_millisecond(),
            action: self.action.to_owned(),
            result: result.to_owned(),
            host: host(),
            snapshots: self.snapshots.iter().map(|id| (*id.as_bytes()).into()).collect(),
            key: self.key.map(|key| (*key.as_bytes()).into()),
            detail: self.detail,
        };
        let appended = audit::append(&self.repository, cache, &record)?;
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
