//! NTFS: what of a volume is content, what is slack, and what is free; and its files.
//!
//! Always true here:
//! - Any bytes give an answer, in time and memory that are bounded: for claims the MFT is walked once, and a file's clusters are never
//!   read.
//! - A structure is believed whole or not at all, and what is not believed claims nothing and is noted. Free space is claimed from
//!   the volume's own map and doubted whenever anything suggests that the map may not be up to date.
//!
//! Sources of the format: the documentation of the Linux-NTFS project, [MS-FSCC] §2.4 (attributes as programs see them), and the
//! documentation of libfsntfs. Each file names the chapter.
//!
//! | file | what it knows |
//! |---|---|
//! | `boot`, `opening` | the boot sector, and by which of both a volume is opened |
//! | `fixup`, `record`, `attribute`, `runs`, `list` | the structures of a record |
//! | `value` | one attribute put together, as something to read |
//! | `mft` | where the MFT is |
//! | `role` | which files are special |
//! | `walk`, `waiting`, `sink` | all files, those in several records, and their claims |
//! | `bitmap`, `log` | free clusters, and whether they are in doubt |
//! | `files` | folders and files, as something to look into |

mod attribute;
mod bitmap;
mod boot;
mod field;
mod files;
mod fixup;
mod list;
mod log;
mod mft;
mod opening;
mod record;
mod role;
mod runs;
mod sink;
mod value;
mod volume;
mod waiting;
mod walk;

pub use files::NtfsFiles;
pub use volume::{NtfsFacts, NtfsOptions, NtfsVolume};
