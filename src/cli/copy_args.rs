//! What can be typed of copying to another repository.

use clap::Args as ClapArgs;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub(crate) struct Copy {
    /// Unique prefixes of ids, `latest`, or `STICK:latest` (default: all that the key can read)
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// The repository to copy into. `sheaf init --like` makes one that cuts in the same way
    #[arg(long, value_name = "REPO")]
    pub to: PathBuf,
    /// Only this stick's
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots")]
    pub stick: Option<String>,
    /// Only those with this tag; may be given several times, and then all must be there
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "snapshots")]
    pub tags: Vec<String>,
    /// Read the target's password from the first line of this file (or set SHEAF_TO_PASSWORD)
    #[arg(long, value_name = "FILE")]
    pub to_password_file: Option<PathBuf>,
    /// Run this command and take the first line that it prints as the target's password
    #[arg(long, value_name = "COMMAND", conflicts_with = "to_password_file")]
    pub to_password_command: Option<String>,
    /// Open the target with the key in this file in place of a password
    #[arg(long, env = "SHEAF_TO_KEY_FILE", value_name = "FILE", conflicts_with_all = ["to_password_file", "to_password_command"])]
    pub to_key_file: Option<PathBuf>,
    /// Say what would be copied, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
