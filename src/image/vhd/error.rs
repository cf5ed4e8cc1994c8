//! What can be wrong with a VHD: errors that stop, and warnings that do not.
//!
//! Always true here: an error about bytes names their offset in the file, what was expected there, and what was found.

use super::super::ImageError;
use super::super::container::FileOffset;
use super::footer::MAX_SIZE;
use crate::disk::ReadError;

/// Why a file cannot be read as a VHD, or a disk cannot be laid out as one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhdError {
    /// The file's bytes cannot be read.
    #[error("the {structure} at file offset {} cannot be read", offset.0)]
    Read {
        /// What lies there.
        structure: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The file ends before a structure does.
    #[error("the {structure} at file offset {} needs {needed} bytes, but the file ends at {size}", offset.0)]
    Truncated {
        /// What should lie there.
        structure: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// Bytes that it has.
        needed: u64,
        /// Bytes of the file that may hold it.
        size: u64,
    },
    /// A field has a value that it may not have.
    #[error("the {field} at file offset {} is {found}; {expected} was expected", offset.0)]
    Field {
        /// Which field.
        field: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A structure does not have the checksum that it names ("Checksum Calculation" in the specification's appendix).
    #[error(
        "the checksum of the {structure}, at file offset {}, is {found:#010x}; its bytes give {expected:#010x}",
        offset.0
    )]
    Checksum {
        /// Which structure.
        structure: &'static str,
        /// Where the checksum lies.
        offset: FileOffset,
        /// The checksum of the bytes.
        expected: u32,
        /// The checksum that is there.
        found: u32,
    },
    /// Neither the footer nor its copy can be used.
    #[error("there is no usable footer: at the end of the file, {end}; at its start, {start}")]
    NoFooter {
        /// What is wrong with the footer.
        end: Box<VhdError>,
        /// What is wrong with the copy.
        start: Box<VhdError>,
    },
    /// Two structures claim the same bytes.
    #[error("the {one} at file offset {} reaches to {end}, into the {other} at {}", start.0, other_start.0)]
    Overlap {
        /// The one that comes first.
        one: Structure,
        /// Where it begins.
        start: FileOffset,
        /// The first byte behind it.
        end: u64,
        /// The one that it reaches into.
        other: Structure,
        /// Where that begins.
        other_start: FileOffset,
    },
    /// A disk is larger than the format allows.
    #[error("a VHD holds at most {} bytes (2040 GiB), and this disk has {size}: a VHDX holds up to 64 TiB", MAX_SIZE)]
    TooLarge {
        /// Bytes of the disk.
        size: u64,
    },
    /// What was asked for cannot be laid out as a VHD.
    #[error("a VHD cannot be composed: {what} is {found}; {expected} was expected")]
    Compose {
        /// Which argument.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What it is.
        found: u64,
    },
    /// A parent's file cannot be opened.
    #[error("the parent of this differencing disk cannot be opened")]
    Find(#[source] Box<ImageError>),
    /// A parent is nowhere to be found.
    #[error(
        "the parent of this differencing disk, with the identifier {}, was not found; the disk knows it as {}",
        hex(identifier),
        names(paths)
    )]
    NoParent {
        /// The identifier of the parent.
        identifier: [u8; 16],
        /// The names that the child has.
        paths: Vec<String>,
    },
    /// A file was found and is not the parent.
    #[error("the file that was found as the parent has the identifier {}; {} was expected", hex(found), hex(expected))]
    WrongParent {
        /// The identifier that the child names.
        expected: [u8; 16],
        /// The identifier of the file.
        found: [u8; 16],
    },
    /// A parent has another size than its child.
    #[error("the parent has {found} bytes; {expected} were expected, which is the size of the differencing disk")]
    ParentSize {
        /// Bytes of the child.
        expected: u64,
        /// Bytes of the parent.
        found: u64,
    },
    /// A disk is its own ancestor.
    #[error("the chain of parents is a loop: the identifier {} comes again", hex(identifier))]
    Loop {
        /// The identifier.
        identifier: [u8; 16],
    },
    /// There are more parents behind one another than are followed.
    #[error("the chain of parents is longer than {limit} disks")]
    ChainTooLong {
        /// The limit, the first child included.
        limit: usize,
    },
    /// A parent is the right file and is not sound.
    #[error("the parent with the identifier {} is not sound", hex(identifier))]
    InParent {
        /// The identifier.
        identifier: [u8; 16],
        /// What is wrong with it.
        #[source]
        source: Box<VhdError>,
    },
}

/// A structure in a VHD file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// The copy of the footer at the start.
    FooterCopy,
    /// The dynamic disk header.
    Header,
    /// The block allocation table.
    Table,
    /// The text of a parent locator.
    Locator,
    /// The bitmap and the sectors of the block with this number.
    Block(u64),
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FooterCopy => f.write_str("footer copy"),
            Self::Header => f.write_str("dynamic disk header"),
            Self::Table => f.write_str("block allocation table"),
            Self::Locator => f.write_str("parent locator"),
            Self::Block(number) => write!(f, "block {number}"),
        }
    }
}

/// What is not as it should be, and does not keep the disk from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VhdWarning {
    /// The footer is damaged or missing; its copy at the start of the file was used.
    FooterDamaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The footer's copy at the start of the file is damaged; the footer was used.
    CopyDamaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The footer and its copy are both sound and differ; the footer was used, as "Hard Disk Footer Format" has it.
    CopyDiffers,
    /// The parent's footer has another time stamp than the child recorded: the parent may have been changed since.
    ParentTimeStamp {
        /// What the child recorded, in seconds since 2000-01-01 UTC.
        expected: u32,
        /// What the parent has.
        found: u32,
    },
    /// A warning about a parent.
    InParent {
        /// The parent's identifier.
        identifier: [u8; 16],
        /// The warning.
        warning: Box<VhdWarning>,
    },
}

impl std::fmt::Display for VhdWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FooterDamaged { reason } => {
                write!(f, "the VHD footer is not usable, and its copy at the start of the file was used: {reason}")
            }
            Self::CopyDamaged { reason } => {
                write!(f, "the copy of the VHD footer at the start of the file is not usable: {reason}")
            }
            Self::CopyDiffers => f.write_str(
                "the copy of the VHD footer at the start of the file differs from the footer, which was used",
            ),
            Self::ParentTimeStamp { expected, found } => write!(
                f,
                "the parent disk has the time stamp {found}, and {expected} was expected: it may have been changed since \
                 the differencing disk was made"
            ),
            Self::InParent { identifier, warning } => {
                write!(f, "in the parent disk with the identifier {}: {warning}", hex(identifier))
            }
        }
    }
}

fn hex(identifier: &[u8; 16]) -> String {
    crate::ids::to_hex(identifier)
}

fn names(paths: &[String]) -> String {
    if paths.is_empty() {
        "nothing at all".into()
    } else {
        paths.iter().map(|path| format!("{path:?}")).collect::<Vec<_>>().join(", ")
    }
}
