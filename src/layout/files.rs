//! A file system as something to look into: folders, files, and a file's content as a disk of its own.
//!
//! Always true here:
//! - Names, links and sizes are what the volume says, and nothing of them is safe to use as a path of the machine: a name may be
//!   `..`, have slashes or NULs, and stand twice in a folder. Who writes files makes names safe first.
//! - A folder may lead back to one above it. Who goes down keeps count of how deep it is, or of where it was.
//! - The memory of one answer is bounded: a folder has at most [`MOST_ENTRIES`] entries that are told, and of what is wrong with it
//!   [`MOST_PROBLEMS`] things are.

use super::LayoutError;
use crate::disk::{ReadAt, ReadError};
use std::sync::Arc;

/// The most entries of one folder that are told.
pub const MOST_ENTRIES: usize = 4 << 20;
/// The most problems of one folder that are told.
pub const MOST_PROBLEMS: usize = 100;

/// A file or folder of one file system. It means nothing in another one, and stays the same as long as the volume does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A moment in UTC, as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment {
    /// Whole seconds since 1970-01-01 00:00:00 UTC; negative before that.
    pub seconds: i64,
    /// The rest in nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Moment {
    /// From units of 100 ns since 1601-01-01 ([MS-DTYP] §2.3.3, `FILETIME`).
    pub const fn from_filetime(units: u64) -> Self {
        const PER_SECOND: u64 = 10_000_000;
        const FROM_1601_TO_1970: i64 = 11_644_473_600;
        let nanoseconds = (units % PER_SECOND) as u32 * 100;
        Self { seconds: (units / PER_SECOND) as i64 - FROM_1601_TO_1970, nanoseconds }
    }
}

/// A link that a file or folder stands for ([MS-FSCC] §2.1.2.4 and §2.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, as the volume has it: with `\` between names, and for a full path with a drive letter or a volume's name in
    /// front, as in `\??\C:\Users`.
    pub target: String,
    /// Whether the target is meant from the folder that the link is in.
    pub is_relative: bool,
    /// Whether it is a junction: a link to a folder of the machine.
    pub is_junction: bool,
}

/// What may stand before a full path: names for the same root of the object manager ([MS-FSCC] §2.1.2.4 has `\??\`).
const ROOTS: [&str; 4] = ["\\??\\", "\\\\?\\", "\\GLOBAL??\\", "\\DosDevices\\"];

impl Link {
    /// The part of the target that lies on a volume, and whether it begins at the top of it instead of at the link's folder. Drive
    /// letters and names of volumes are left out: a path on another drive becomes one on this volume, as most sticks have but one.
    pub fn on_volume(&self) -> (&str, bool) {
        let is_relative = self.is_relative && !self.is_junction;
        let without = ROOTS.iter().find_map(|root| self.target.strip_prefix(root));
        let path = without.unwrap_or(&self.target);
        let (first, rest) = path.split_once(['\\', '/']).unwrap_or((path, ""));
        let is_drive = matches!(first.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
        let is_volume = without.is_some() && first.starts_with("Volume{");
        match is_drive || is_volume {
            true => (rest, true),
            // A path that is said to be relative and begins with a separator means the top of its own drive.
            false => (path, !is_relative || without.is_some() || path.starts_with(['\\', '/'])),
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link to either.
    Link(Link),
}

/// What a file system says of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of its content, as a program reads it; 0 for folders and links.
    pub size: u64,
    /// Bytes that the content takes on the volume; less than `size` where it is sparse, compressed or in the record of the file.
    pub allocated: u64,
    /// When it was made; `None` where the file system does not say, or says nonsense.
    pub created: Option<Moment>,
    /// When its content was last written.
    pub modified: Option<Moment>,
    /// When it was last read.
    pub accessed: Option<Moment>,
    /// When anything of it was last changed, its names included.
    pub changed: Option<Moment>,
    /// The attributes of Windows ([MS-FSCC] §2.6): 0x01 read-only, 0x02 hidden, 0x04 system, 0x10 folder, 0x20 archive …
    pub attributes: u32,
    /// How many names it has in folders, those for old programs not counted; at least 1.
    pub links: u32,
    /// The tag of its reparse point ([MS-FSCC] §2.1.2.1), where it has one.
    pub reparse_tag: Option<u32>,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name. What is no text becomes U+FFFD.
    pub name: String,
    /// What it names.
    pub node: NodeId,
    /// Whether that is a folder, as the folder that names it says. A link to a folder counts as one here.
    pub is_folder: bool,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// The names, in the order of the file system, without `.` and `..`, names for old programs, and the file system's own files.
    pub entries: Vec<Entry>,
    /// What could not be read or believed; entries may be missing because of it.
    pub problems: Vec<LayoutError>,
}

impl Listing {
    /// Tells of a problem; behind the last one that is told in full, that there are more.
    ///
    /// # Errors
    /// The problem, where nothing more can be read: the disk is gone, or is not what it was.
    pub(super) fn tell(&mut self, problem: LayoutError) -> Result<(), LayoutError> {
        if let LayoutError::Read { source: ReadError::Gone { .. } | ReadError::BeyondEnd { .. }, .. } = problem {
            return Err(problem);
        }
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        } else if self.problems.len() == MOST_PROBLEMS {
            self.problems.push(LayoutError::TooMany { what: "problems of a folder", limit: MOST_PROBLEMS as u64 });
        }
        Ok(())
    }
}

/// A stream of a file beside its content ([MS-FSCC] §2.4.49).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStream {
    /// Its name.
    pub name: String,
    /// Bytes, as a program reads it.
    pub size: u64,
}

/// A volume's files. All methods may be called by several threads at once.
pub trait FileSystem: Send + Sync {
    /// The folder at the top.
    fn root(&self) -> NodeId;

    /// What is said of a node.
    ///
    /// # Errors
    /// [`LayoutError`]: there is no such node, or its records are damaged or cannot be read.
    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError>;

    /// What is in a folder.
    ///
    /// # Errors
    /// [`LayoutError`]: it is no folder, or nothing of it can be read. Damage to a part is told in the listing.
    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError>;

    /// The streams of a node beside its content, those that the file system keeps for itself left out.
    ///
    /// # Errors
    /// As [`FileSystem::facts`].
    fn streams(&self, _node: NodeId) -> Result<Vec<NamedStream>, LayoutError> {
        Ok(Vec::new())
    }

    /// A file's content, or that of a named stream of it, as a program reads it: decompressed, with zeros in holes and behind the
    /// valid length. It stands on its own.
    ///
    /// # Errors
    /// As [`FileSystem::facts`]; [`LayoutError::Unsupported`] where the content cannot be read without something that is not on the
    /// volume, as with encrypted files. A damaged part of the content is found when it is read.
    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_1601() {
        let at = |units| (Moment::from_filetime(units).seconds, Moment::from_filetime(units).nanoseconds);
        assert_eq!(at(116_444_736_000_000_001), (0, 100));
        assert_eq!(at(0), (-11_644_473_600, 0));
        assert_eq!(at(116_444_735_999_999_999), (-1, 999_999_900));
        assert_eq!(at(u64::MAX).1, 955_161_500);
    }
}
