//! From an error to an exit status, a message and a hint.
//!
//! Always true here: the library says what is wrong; what a person can do about it is said here and nowhere else.

use sheaf::image::ImageError;
use sheaf::image::vhd::VhdError;
use sheaf::image::vhdx::VhdxError;
use sheaf::ops::OpsError;
use sheaf::ops::browse::BrowseError;
use sheaf::repo::{RepoError, chain};
use sheaf::storage::StorageError;
use std::io::ErrorKind;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed; nothing was committed.
pub(crate) const FAILED: u8 = 1;
/// What was typed makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Done, with warnings: some source bytes could not be read, or some files not be listed or extracted.
pub(crate) const WARNINGS: u8 = 3;
/// The check found damage.
pub(crate) const DAMAGE: u8 = 4;
/// Wrong password or key.
pub(crate) const WRONG_KEY: u8 = 5;
/// No such snapshot or repository.
pub(crate) const NOT_FOUND: u8 = 6;
/// Somebody pressed Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// A command that did not work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: u8,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    /// A wrong use that the parser cannot see.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into(), hint: None }
    }

    /// A failure of the machine that no other error covers.
    pub(crate) fn io(action: &str, error: &std::io::Error) -> Self {
        Self { status: FAILED, message: format!("{action}: {error}"), hint: None }
    }
}

impl From<OpsError> for Failure {
    fn from(error: OpsError) -> Self {
        let message = chain(&error);
        let (status, hint) = match &error {
            OpsError::Repo(RepoError::Storage(StorageError::Stopped { .. }))
            | OpsError::Storage(StorageError::Stopped { .. }) => (INTERRUPTED, None),
            OpsError::Repo(error) => repo(error),
            OpsError::Storage(error) => (FAILED, storage(error)),
            OpsError::Browse(error) => (FAILED, browse(error)),
            OpsError::Interrupted => (INTERRUPTED, None),
            OpsError::ForgetLast { .. } => (FAILED, Some("--allow-last lets the last snapshot of a stick go")),
            OpsError::ForgetPinned { .. } => {
                (FAILED, Some("--allow-pinned forgets them all the same; `sheaf pin --remove` takes the pin away"))
            }
            OpsError::ForgetDamaged { .. } => {
                (FAILED, Some("what cannot be read cannot be shown: be sure that it is meant"))
            }
            OpsError::ForgetClock { .. } => {
                (FAILED, Some("set the clock of this machine; snapshots can be forgotten by their ids"))
            }
            OpsError::ForgetLog { .. } => {
                (FAILED, Some("`sheaf check` says more; --allow-gaps forgets by what is left of the log"))
            }
            OpsError::Source { .. } => {
                (FAILED, Some("no snapshot was made; what was read is stored, and the next backup goes on from there"))
            }
            OpsError::CopyIntoItself { .. } => (USAGE, Some("--to names another repository")),
            OpsError::TargetTooSmall { .. } => (FAILED, Some("choose a larger target")),
            OpsError::TargetFolderMissing { .. } => (FAILED, Some("make the folder first, or check the name")),
            OpsError::TargetMounted { .. } => (FAILED, Some("unmount it first")),
            OpsError::TargetInUse { .. } => (FAILED, Some("--force overwrites it; check the name twice")),
            OpsError::Verify { .. } => {
                (FAILED, Some("the target does not keep what is written to it: use another one"))
            }
            OpsError::Io { source, .. } => (FAILED, io_hint(source.kind())),
            OpsError::Image(ImageError::Open { source, .. }) => (FAILED, io_hint(source.kind())),
            OpsError::Image(ImageError::Vhd { source, .. }) if vhd_lacks_parent(source) => (FAILED, Some(PARENT_HINT)),
            OpsError::Image(ImageError::Vhdx { source, .. }) if vhdx_lacks_parent(source) => {
                (FAILED, Some(PARENT_HINT))
            }
            OpsError::Image(ImageError::Vhd { .. } | ImageError::Vhdx { .. }) => (
                FAILED,
                Some("nothing was stored; --source-format raw backs the file up as it stands, without a look into it"),
            ),
            OpsError::RepositoryChanged { .. } => {
                (FAILED, Some("nothing is lost; run the same command again, which makes a new plan"))
            }
            OpsError::Container { .. } => {
                (FAILED, Some("nothing was written; --format vhdx holds up to 64 TiB, and --format raw any size"))
            }
            OpsError::ContainerOnDevice { .. } => (FAILED, Some("leave --format away, or name a file")),
            OpsError::VerifyContainer { .. } => {
                (FAILED, Some("the target does not keep what is written to it: use another one"))
            }
            _ => (FAILED, None),
        };
        Self { status, message, hint: hint.map(str::to_owned) }
    }
}

const PARENT_HINT: &str = "nothing was stored; put the parent into the same folder, or name it with --parent, as it was when the child was made";

fn vhd_lacks_parent(error: &VhdError) -> bool {
    match error {
        VhdError::NoParent { .. } | VhdError::WrongParent { .. } => true,
        VhdError::InParent { source, .. } => vhd_lacks_parent(source),
        _ => false,
    }
}

fn vhdx_lacks_parent(error: &VhdxError) -> bool {
    match error {
        VhdxError::ParentMissing { .. } | VhdxError::ParentChanged { .. } => true,
        VhdxError::Parent(source) => vhdx_lacks_parent(source),
        _ => false,
    }
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Self {
        OpsError::from(error).into()
    }
}

impl From<BrowseError> for Failure {
    fn from(error: BrowseError) -> Self {
        OpsError::from(error).into()
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        OpsError::from(error).into()
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        OpsError::from(error).into()
    }
}

fn repo(error: &RepoError) -> (u8, Option<&'static str>) {
    match error {
        RepoError::NoRepository { .. } => {
            (NOT_FOUND, Some("is its drive mounted, and the name right? `sheaf init -r REPO` makes a new one"))
        }
        RepoError::NoSuchSnapshot { .. } => (NOT_FOUND, Some("`sheaf snapshots` lists what there is")),
        RepoError::AmbiguousSnapshot { .. } => (FAILED, Some("give more digits of the id")),
        RepoError::WrongPassword { .. } | RepoError::WrongKey { .. } | RepoError::KeyLacks { .. } => (WRONG_KEY, None),
        RepoError::NotARecipient { .. } => (WRONG_KEY, Some("its owner's key opens it, or an admin's")),
        RepoError::NoSuchKey { .. } => (NOT_FOUND, Some("`sheaf key list` lists what there is")),
        RepoError::AmbiguousKey { .. } => (FAILED, Some("give more digits of the id")),
        RepoError::KeyLabelTaken { .. } => (FAILED, Some("choose another label")),
        RepoError::LastAdmin { .. } => (FAILED, Some("make another key of role admin first")),
        RepoError::AlreadyExists { .. } => (FAILED, Some("choose another folder, or use the repository that is there")),
        RepoError::ConfigMissing { .. } | RepoError::ConfigChanged => {
            (FAILED, Some("`sheaf repair` puts it back from a key bundle; everything else is still there"))
        }
        RepoError::NoUsableKey { .. } => (
            FAILED,
            Some(
                "`sheaf repair` mends one that has parity; else put the folder `keys` back from a copy of the repository: without a \
                 key bundle nobody can read it",
            ),
        ),
        RepoError::Storage(error) => (FAILED, storage(error)),
        RepoError::Cache { .. } => (
            FAILED,
            Some(
                "--cache-dir puts it where there is room and it can be written to; `sheaf cache remove` removes a broken one",
            ),
        ),
        error if error.is_damage() => (
            FAILED,
            Some(
                "`sheaf check --read-data` says what else is damaged, and what is not; `sheaf repair` mends what can be, and \
                     `restore --allow-damaged` restores the rest",
            ),
        ),
        _ => (FAILED, None),
    }
}

/// What to do about a repository's place.
fn storage(error: &StorageError) -> Option<&'static str> {
    match error.io_kind()? {
        _ if error.is_place_gone() => Some(
            "the repository's disk or share is no longer there: connect or mount it again, and run the same command again; what is stored \
             there is used",
        ),
        ErrorKind::ReadOnlyFilesystem => Some(
            "the place cannot be written to: mount it for writing. Where it was writable before, the system has found errors on the disk and \
             its log says more",
        ),
        ErrorKind::PermissionDenied => Some(
            "this user may not read or write there: use the one who made the repository, or give this one the right to",
        ),
        ErrorKind::QuotaExceeded => Some(
            "your quota there is used up; nothing is damaged: make room or have it raised, and run the same command again",
        ),
        ErrorKind::InvalidData => Some("`sheaf check --read-data` says what is damaged, and what is not"),
        _ if error.is_passing() => Some(
            "it was tried several times: look at the cable, the network and the server, and run the same command again; what is stored is used",
        ),
        _ if error.is_failing_medium() => Some(
            "the disk, or what connects it, fails: try another cable or port; if that does not help, copy the repository to another disk \
             before you use it again",
        ),
        kind => io_hint(kind),
    }
}

const fn browse(error: &BrowseError) -> Option<&'static str> {
    match error {
        BrowseError::NoSuchName { .. } | BrowseError::NoSuchPartition { .. } | BrowseError::NotAFolder { .. } => {
            Some("`sheaf ls SNAPSHOT:PATH` shows what there is, and `sheaf find NAME` where a file is")
        }
        BrowseError::AmbiguousName { .. } => Some("type the name with its own upper and lower case letters"),
        BrowseError::NotAFile { .. } => Some("`sheaf extract` copies folders"),
        BrowseError::Read { .. } => Some("`sheaf check --read-data` says what else is damaged, and what is not"),
        _ => None,
    }
}

const fn io_hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied => Some("a drive can be read and written by root alone: try again with sudo"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("the disk is full; nothing is damaged: make room and run the same command again")
        }
        ErrorKind::ReadOnlyFilesystem => Some("the place cannot be written to"),
        _ => None,
    }
}
