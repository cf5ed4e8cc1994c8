//! What every command needs: options, progress, the wish to stop, and the way to the repository.

use super::args::Global;
use super::failure::{self, Failure};
use super::key_file;
use super::ledger::{self, Ledger};
use super::output;
use super::password;
use super::progress::Progress;
use sheaf::crypto::password::Password;
use sheaf::format::session::SessionKind;
use sheaf::ops::monitor::Monitor;
use sheaf::ops::{Cancel, session};
use sheaf::repo::RepoError;
use sheaf::repo::bundles::Credential;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::parity::{MendingStorage, Teller};
use sheaf::repo::reader::ChunkStore;
use sheaf::storage::Storage;
use sheaf::storage::clock::{Pauses, SystemClock};
use sheaf::storage::limited::{Limited, Limits};
use sheaf::storage::local::LocalStorage;
use sheaf::storage::patient::{Listener, Patience, Patient};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The surroundings of one command.
pub(crate) struct Context {
    pub global: Global,
    pub progress: Arc<Progress>,
    pub cancel: Cancel,
    ledger: Mutex<Option<Ledger>>,
}

impl Context {
    /// With `is_dry_run` the plan is what was asked for: then `--quiet` hides the progress alone.
    pub(crate) fn new(mut global: Global, is_dry_run: bool) -> Self {
        let progress = Arc::new(Progress::new(global.json, global.quiet));
        global.quiet &= !is_dry_run;
        let cancel = Cancel::default();
        let asked = cancel.clone();
        // Without a handler Ctrl-C ends the process at once, which the repository survives as well.
        _ = ctrlc::set_handler(move || {
            if asked.is_cancelled() {
                // Asked twice: the person does not want to wait.
                std::process::exit(failure::INTERRUPTED.into());
            }
            asked.cancel();
            output::message("stopping; what is stored stays usable (press again to stop at once)");
        });
        Self { global, progress, cancel, ledger: Mutex::default() }
    }

    /// Says how it went and gives the exit status.
    pub(crate) fn conclude(&self, result: Result<u8, Failure>) -> u8 {
        self.progress.end();
        let failure = match result {
            Ok(status) => return status,
            Err(failure) => failure,
        };
        if self.global.json {
            output::failure(&failure);
        }
        output::message(&format!("sheaf: {}", failure.message));
        if let Some(hint) = failure.hint {
            output::message(&format!("hint: {hint}"));
        }
        failure.status
    }

    /// Prints a line of a result, unless it is to be quiet or JSON.
    pub(crate) fn say(&self, text: &str) {
        if !self.global.quiet && !self.global.json {
            self.progress.end();
            output::line(text);
        }
    }

    /// Removes the progress bar before a result is printed.
    pub(crate) fn progress_end(&self) {
        self.progress.end();
    }

    pub(crate) fn repo(&self) -> Result<PathBuf, Failure> {
        self.global
            .repo
            .clone()
            .ok_or_else(|| Failure::usage("no repository: name one with -r REPO, or set SHEAF_REPOSITORY"))
    }

    pub(crate) fn password(&self, new: bool) -> Result<Password, Failure> {
        password::get(&self.global, new, &|text| self.progress.warn(text))
    }

    /// What opens the repository: a key file, or a password. A printed key may be typed in place of a password.
    pub(crate) fn credential(&self) -> Result<Credential, Failure> {
        if let Some(path) = &self.global.key_file {
            return key_file::read(path, &|text| self.progress.warn(text)).map(Credential::Key);
        }
        key_file::or_printed(self.password(false)?)
    }

    /// Where local indexes lie.
    pub(crate) fn cache(&self) -> PathBuf {
        if let Some(folder) = &self.global.cache_dir {
            return folder.clone();
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else {
            variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
        };
        base.unwrap_or_else(std::env::temp_dir).join("sheaf")
    }

    /// The same storage, but what fails in passing is tried again and told, and bytes flow as fast as was said.
    pub(crate) fn careful(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        let (cancel, progress) = (self.cancel.clone(), Arc::clone(&self.progress));
        let pauses = Pauses::new(Arc::new(SystemClock::default()), Arc::new(move || cancel.is_cancelled()));
        let listener: Listener = Arc::new(move |delay| progress.warn(&delay.to_string()));
        let patient = Arc::new(Patient::new(storage, Patience::default(), pauses.clone(), listener));
        let limits = Limits { upload: self.global.limit_upload, download: self.global.limit_download };
        if limits == Limits::default() { patient } else { Arc::new(Limited::new(patient, limits, pauses)) }
    }

    /// Opens the repository's folder; one that is not there is a repository that is not there.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>, Failure> {
        self.storage_at(&self.repo()?)
    }

    /// Opens the folder of any repository, as [`Self::storage`].
    pub(crate) fn storage_at(&self, path: &Path) -> Result<Arc<dyn Storage>, Failure> {
        self.opened(path, false)
    }

    fn opened(&self, path: &Path, makes_room: bool) -> Result<Arc<dyn Storage>, Failure> {
        match LocalStorage::open(path) {
            Ok(storage) if makes_room => Ok(self.careful(Arc::new(storage.drawing_on_reserve()))),
            Ok(storage) => Ok(self.careful(Arc::new(storage))),
            Err(error) if matches!(error.io_kind(), Some(ErrorKind::NotFound | ErrorKind::NotADirectory)) => {
                Err(RepoError::NoRepository { place: path.display().to_string() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Finds and unlocks the repository, for something that the key must be able to do.
    pub(crate) fn open(&self, action: Action) -> Result<Arc<Repository>, Failure> {
        // What makes room gets the last of it.
        let makes_room = matches!(action, Action::Prune | Action::ForgetSnapshots);
        let mut storage = self.opened(&self.repo()?, makes_room)?;
        if matches!(action, Action::ReadSnapshots | Action::ListSnapshots) {
            storage = Arc::new(MendingStorage::new(storage, self.teller()));
        }
        let locked = Repository::open(storage)?;
        let repository = locked.unlock_for(&self.credential()?, action)?;
        repository.keys().require(action)?;
        Ok(Arc::new(repository))
    }

    fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the command is one that the audit log tells of.
    pub(crate) fn begin(&self, repository: &Arc<Repository>, action: &'static str) {
        *self.ledger() = Some(Ledger::new(Arc::clone(repository), action));
    }

    /// Adds to what the log will say.
    pub(crate) fn note(&self, add: impl FnOnce(&mut Ledger)) {
        if let Some(ledger) = self.ledger().as_mut() {
            add(ledger);
        }
    }

    /// Writes to the log now what was begun.
    pub(crate) fn log_now(&self, result: &str) -> Result<(), RepoError> {
        let Some(ledger) = self.ledger().take() else { return Ok(()) };
        if let Some(warning) = ledger.write(&self.cache(), result)? {
            self.progress.warn(&warning);
        }
        Ok(())
    }

    /// Writes an entry to the log as it is.
    pub(crate) fn write(&self, ledger: Ledger) -> Result<(), RepoError> {
        let result = ledger.result();
        if let Some(warning) = ledger.write(&self.cache(), result)? {
            self.progress.warn(&warning);
        }
        Ok(())
    }

    /// Writes to the log how the command ended, if it is one that the log tells of, and has not been told.
    pub(crate) fn log(&self, result: &Result<u8, Failure>) {
        if let Err(error) = self.log_now(&ledger::outcome(result)) {
            self.progress.warn(&format!("the audit log could not be written: {}", sheaf::repo::chain(&error)));
        }
    }

    /// Removes what killed writers left behind; what cannot be removed takes room and harms nothing.
    pub(crate) fn remove_stale_temporaries(&self) {
        let Ok(path) = self.repo() else { return };
        let removed = LocalStorage::open(&path).and_then(|storage| storage.remove_stale_temporaries());
        // Where there is no repository, whoever opens it says so.
        if let Err(error) = removed
            && error.io_kind() != Some(ErrorKind::NotFound)
        {
            self.progress.warn(&format!("left-over temporary files cannot be removed: {}", sheaf::repo::chain(&error)));
        }
    }

    /// Keeps a little room in reserve for the next command that has to make some, behind one that may have taken it.
    pub(crate) fn keep_reserve(&self) {
        // Without room for it there is none: that is no fault of the command's.
        _ = self.repo().map(|path| LocalStorage::open(&path).map(|storage| storage.keep_reserve()));
    }

    /// Opens the repository with its index and a session, for something that the key must be able to do.
    pub(crate) fn store(&self, action: Action, command: &str) -> Result<ChunkStore, Failure> {
        let repository = self.open(action)?;
        let kind = match action {
            Action::Store => SessionKind::Writes,
            Action::Prune => SessionKind::Prunes,
            _ => SessionKind::Reads,
        };
        let (store, _) = session::prepare(repository, kind, command, &self.cache(), &self.progress)?;
        Ok(if kind == SessionKind::Reads { self.mending(store) } else { store })
    }

    /// The same store, whose readers mend in memory what parity can mend, and tell it.
    pub(crate) fn mending(&self, store: ChunkStore) -> ChunkStore {
        store.mending(self.teller())
    }

    fn teller(&self) -> Teller {
        let progress = Arc::clone(&self.progress);
        Arc::new(move |line| progress.warn(line))
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.status)
    }
}
