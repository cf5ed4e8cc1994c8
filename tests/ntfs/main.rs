//! NTFS volumes.
//!
//! | file | what it holds |
//! |---|---|
//! | `build` | small volumes in memory, written here, independent of the reader |
//! | `folders` | indexes of names, and a volume with folders and files of all kinds |
//! | `shapes` | those whose files, or whose MFT, are spread over several records |
//! | `judge` | what holds for the claims on any volume, and what a stream holds |
//! | `plain` | content, slack, free space, sizes of clusters and records, split files, a fragmented MFT |
//! | `scratch` | page files and hibernation files |
//! | `doubt` | dirty volumes, logs that were not closed, the copy of the boot sector |
//! | `hostile` | contradictions, flipped bytes, absurd sizes |
//! | `interop` | volumes of mkntfs and ntfscp, held against what was put in |
//! | `look` | how the tests look into volumes |
//! | `names`, `contents` | folders, facts and files of volumes that were built here, sound and hostile |
//! | `packed` | content that ntfs-3g and wimlib compressed |
//! | `tools` | the programs for that |
//! | `browse` | folders and files of volumes that ntfs-3g made, held against its mount |
//! | `sums` | the files of an image that is named from outside, held against a list of sums |
//! | `scale` | many files: time and memory; and claims on an image that is named from outside |
//!
//! Where a tool is missing, its tests say so and pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]
// A list of one range is just that here.
#![allow(clippy::single_range_in_vec_init)]

#[cfg(unix)]
mod browse;
mod build;
mod contents;
#[path = "../common/counting.rs"]
mod counting;
mod doubt;
mod folders;
mod hostile;
mod interop;
mod judge;
mod look;
mod names;
#[cfg(unix)]
mod packed;
mod plain;
mod scale;
mod scratch;
mod shapes;
#[cfg(feature = "aws-lc")]
mod sums;
mod tools;
