//! What can be typed of repairing.

use clap::Args as ClapArgs;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub(crate) struct Repair {
    /// A disk, a disk image or a VHD or VHDX file that may still have what is missing, such as the stick itself; may be given several
    /// times
    #[arg(long = "from", value_name = "DISK")]
    pub from: Vec<PathBuf>,
    /// Only show what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Delete for good what an earlier repair moved aside
    #[arg(long)]
    pub delete_damaged: bool,
}
