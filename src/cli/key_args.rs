//! What can be typed behind `sheaf key`.

use clap::{Args as ClapArgs, Subcommand};
use sheaf::format::certificate::Role;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub action: KeyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key of a role; asks for its password, unless another protection is chosen
    Add(KeyAdd),
    /// List the keys of the repository
    List,
    /// Show the key that is used, or another one
    Show {
        /// A label, or a unique prefix of an id
        key: Option<String>,
    },
    /// Protect the key that is used with another password or key
    Passwd(Protect),
    /// Take a key away
    Revoke {
        /// A label, or a unique prefix of an id
        key: String,
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Have new secrets for what is stored from now on. What is stored stays readable by those who may; the next backups store their
    /// data anew
    Rotate {
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write a key bundle to a file, still sealed, to be kept elsewhere
    Export {
        /// A label, or a unique prefix of an id
        key: String,
        /// A new file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a key bundle that was exported back into the repository
    Import {
        /// The file
        file: PathBuf,
    },
    /// Make a key file, and print the public key that belongs to it. Needs no repository
    Generate {
        /// A new file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KeyAdd {
    /// depositor: adds snapshots and reads nothing, for a key that lies on a stick; owner: adds snapshots and reads its own;
    /// operator: checks and counts, reads no data; auditor: checks; admin: everything
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Role,
    /// What the key is called
    #[arg(long, value_name = "NAME")]
    pub label: String,
    /// For a depositor: the owner who may read what it adds, beside the admins
    #[arg(long, value_name = "KEY")]
    pub owner: Option<String>,
    #[command(flatten)]
    pub protect: Protect,
}

/// With what a bundle is protected.
#[derive(Debug, ClapArgs)]
pub(crate) struct Protect {
    /// Read the new password from the first line of this file (or set SHEAF_NEW_PASSWORD)
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
    /// Seal it to this public key, which `sheaf key generate` prints, in place of a password
    #[arg(long, value_name = "PUBLIC-KEY", conflicts_with = "new_password_file")]
    pub to_key: Option<String>,
    /// Print a new key to be kept on paper, and seal it to that
    #[arg(long, conflicts_with_all = ["new_password_file", "to_key"])]
    pub print: bool,
    /// Memory that each guess of the new password costs, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..=1024))]
    pub password_memory: u32,
}

fn role(text: &str) -> Result<Role, String> {
    let names = Role::ALL.map(Role::name).join(", ");
    Role::parse(text).ok_or_else(|| format!("one of {names} was expected"))
}
