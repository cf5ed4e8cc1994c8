//! What can be typed.

use super::copy_args::Copy;
use super::forget_args::{Forget, Pin, Prune};
use super::key_args::{Key, KeyAction};
use super::repair_args::Repair;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Back up whole disks into one encrypted, deduplicating repository, and get them back.
#[derive(Debug, Parser)]
#[command(name = "sheaf", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command. A heading of their own keeps them apart from those of one.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The repository: a folder
    #[arg(short, long, global = true, env = "SHEAF_REPOSITORY", value_name = "REPO")]
    pub repo: Option<PathBuf>,
    /// Read the password from the first line of this file (or set SHEAF_PASSWORD)
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Run this command and take the first line that it prints as the password
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "password_file")]
    pub password_command: Option<String>,
    /// Open the repository with the key in this file in place of a password
    #[arg(long, global = true, env = "SHEAF_KEY_FILE", value_name = "FILE", conflicts_with_all = ["password_file", "password_command"])]
    pub key_file: Option<PathBuf>,
    /// Where the local index lies; it can be deleted at any time
    #[arg(long, global = true, env = "SHEAF_CACHE", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Write to the repository at most this fast: KiB a second, or with a suffix as in 500K or 2M
    #[arg(long, global = true, value_name = "RATE", value_parser = rate)]
    pub limit_upload: Option<NonZeroU64>,
    /// Read from the repository at most this fast
    #[arg(long, global = true, value_name = "RATE", value_parser = rate)]
    pub limit_download: Option<NonZeroU64>,
    /// Print one JSON document; progress goes to standard error as JSON lines
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress, and of results only what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new repository
    Init(Init),
    /// Back up a disk or a disk image
    Backup(Backup),
    /// List snapshots, oldest first
    Snapshots(Snapshots),
    /// Write a snapshot to a new file or to a drive
    Restore(Restore),
    /// List what is in a snapshot
    Ls(Ls),
    /// Find files by name, in all snapshots
    Find(Find),
    /// Write one file of a snapshot to standard output
    Dump(Dump),
    /// Copy files and folders out of a snapshot
    Extract(Extract),
    /// Say what differs between two snapshots
    Diff(Diff),
    /// Show snapshots as a folder: their disks as images, and the files on them
    #[cfg(target_os = "linux")]
    Mount(Mount),
    /// Serve snapshots as disks over the network block protocol
    ServeNbd(ServeNbd),
    /// Copy snapshots into another repository
    Copy(Copy),
    /// Prove that the repository is sound
    Check(Check),
    /// Let snapshots go, by name or by a policy
    Forget(Forget),
    /// Keep snapshots whatever a policy says
    Pin(Pin),
    /// Give back the space of what no snapshot needs
    Prune(Prune),
    /// Mend what is damaged, and show what stays lost
    ///
    /// What is damaged is mended from what is left of it, and from disks that still have it; nothing is deleted, and what is damaged
    /// is moved aside. To be run while no backup runs.
    Repair(Repair),
    /// Show who did what
    Audit(Audit),
    /// Show, make, protect and take away keys
    Key(Key),
    /// Show what the repository holds and what it costs
    Stats(Stats),
    /// Show, rebuild or remove the local index
    Cache(Cache),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Try everything once on a small stick image that is made for it
    Demo {
        /// Work in this folder and leave everything there (default: a temporary folder that is removed)
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

impl Command {
    /// True when a plan is asked for, and nothing else.
    pub(crate) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Copy(args) => args.dry_run,
            Self::Forget(args) => args.dry_run,
            Self::Prune(args) => args.dry_run,
            Self::Repair(args) => args.dry_run,
            Self::Key(args) => {
                matches!(args.action, KeyAction::Revoke { dry_run: true, .. } | KeyAction::Rotate { dry_run: true })
            }
            _ => false,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// What the first key is called
    #[arg(long, default_value = "admin", value_name = "NAME")]
    pub label: String,
    /// The zstd level for new chunks, 1 (fast) to 22 (small)
    #[arg(long, default_value_t = 6, value_name = "LEVEL", value_parser = clap::value_parser!(i8).range(1..=22))]
    pub compression: i8,
    /// The average size of chunks, in KiB, where nothing is known of the data; those of files are eight times as large. Smaller
    /// ones find more that is the same and compress less
    #[arg(long, default_value_t = 64, value_name = "KIB", value_parser = clap::value_parser!(u32).range(4..=2048))]
    pub chunk_size: u32,
    /// Cut as this repository does, so that `copy` between the two need not cut anew, and both find the same chunks
    #[arg(long, value_name = "REPO", conflicts_with = "chunk_size")]
    pub like: Option<PathBuf>,
    /// The size at which a pack is closed, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub pack_size: u32,
    /// Parity stored beside each object, in percent of it, 0 for none; 1 is rounded up to what can be made. It mends bad sectors and
    /// lost runs of up to about this share of a pack, and small objects even when they are gone; not the loss of the whole storage
    #[arg(long, default_value_t = 3, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=50))]
    pub parity: u8,
    /// Memory that each guess of the password costs, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..=1024))]
    pub password_memory: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Backup {
    /// A disk image, a VHD or VHDX file, or a block device
    pub source: PathBuf,
    /// What the source is (default: what its content says)
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<SourceFormat>,
    /// A file that is a parent of a differencing VHD or VHDX, or a folder to look for parents in; may be given several
    /// times. The source's own folder is looked into anyway
    #[arg(long = "parent", value_name = "PATH")]
    pub parents: Vec<PathBuf>,
    /// The stick's name (default: the identity of its partition table, its serial number, or the file's name)
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// How the disk is cut: along its files, or in its own order without a look at what is on it
    #[arg(long, value_name = "LAYOUT", default_value = "files")]
    pub layout: Layout,
    /// Keep free clusters as well, so that every byte of the disk comes back
    #[arg(long)]
    pub include_free: bool,
    /// Keep the content of pagefile.sys, swapfile.sys and hiberfil.sys
    #[arg(long)]
    pub include_scratch: bool,
    /// A label for the disk, such as what is written on it
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Pin the snapshot: no policy drops it
    #[arg(long)]
    pub pin: bool,
}

/// How a disk is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// Along the files of its file systems; free clusters and scratch files are left out
    Files,
    /// In disk order; everything but zeros is kept
    None,
}

/// What a source is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceFormat {
    /// The file's bytes are the disk's
    Raw,
    /// A VHD: fixed, dynamic or differencing
    Vhd,
    /// A VHDX: fixed, dynamic or differencing
    Vhdx,
}

/// What a snapshot is restored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetFormat {
    /// The disk's bytes and nothing else
    Raw,
    /// A dynamic VHD, up to 2040 GiB
    Vhd,
    /// A fixed VHD: the disk's bytes and a footer
    VhdFixed,
    /// A dynamic VHDX, up to 64 TiB
    Vhdx,
    /// A fixed VHDX
    VhdxFixed,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Snapshots {
    /// Show everything that is known of this one: a unique prefix of an id, `latest`, or `STICK:latest`
    pub snapshot: Option<String>,
    /// Only this stick's
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
    /// Only those with this tag; may be given several times, and then all must be there
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Restore {
    /// A unique prefix of an id, `latest`, or `STICK:latest`
    pub snapshot: String,
    /// A new file, or a block device
    #[arg(long, value_name = "TARGET")]
    pub to: PathBuf,
    /// What to write (default: by the target's name, .vhd or .vhdx, or else raw)
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<TargetFormat>,
    /// Bytes of a block of a VHD or VHDX, such as 512K or 32M (default: as in the container that was backed up, or else 2M,
    /// and more for disks beyond 2 TiB)
    #[arg(long, value_name = "SIZE", value_parser = block_size)]
    pub block_size: Option<u32>,
    /// Overwrite an existing file, or a drive that holds something
    #[arg(long)]
    pub force: bool,
    /// Read the target back and compare
    #[arg(long)]
    pub verify: bool,
    /// Go on where the repository has lost something: zeros stand in its place, and what is lost is listed
    #[arg(long)]
    pub allow_damaged: bool,
    /// Write what is lost to this file, a run of the disk a line: where it begins and how long it is, in bytes
    #[arg(long, value_name = "FILE", requires = "allow_damaged")]
    pub lost_list: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Ls {
    /// A snapshot and a path in it, as in `latest`, `ana:latest:\\Users` or `ana:latest:3:/Users`; the number is that of the partition.
    /// Without a path the volumes are listed
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub target: String,
    /// Attributes, size and time of each
    #[arg(short, long)]
    pub long: bool,
    /// All that is below
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Find {
    /// A name with `*` and `?`, or a whole path if it has a separator (`**` stands for any folders); upper and lower case are the same
    pub pattern: String,
    /// Only in this stick's snapshots
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Dump {
    /// A snapshot and a file in it, or a named stream of one, as in `latest:\\notes.txt:stream`
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub target: String,
    /// Write a new file instead
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Extract {
    /// A snapshot and a file or folder in it; `SNAPSHOT:/` is all of its largest volume
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub target: String,
    /// The folder to extract into; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Replace files that are there already
    #[arg(long)]
    pub force: bool,
    /// Write the named streams of files too, as NAME:STREAM
    #[arg(long)]
    pub streams: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// A snapshot, or a path in one
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub old: String,
    /// Another one
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub new: String,
    /// Compare the content of all files of one size, also where it is the same stick and no time differs
    #[arg(long)]
    pub content: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, ClapArgs)]
pub(crate) struct Mount {
    /// An empty folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Only this stick's snapshots
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
    /// Let all users of the machine in
    #[arg(long)]
    pub allow_other: bool,
    /// Memory for opened chunks, in MiB
    #[arg(long, default_value_t = 128, value_name = "MIB", value_parser = memory)]
    pub memory: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeNbd {
    /// Snapshots: unique prefixes of ids, `latest`, or `STICK:latest`
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Where to listen: tcp:ADDRESS:PORT, which any user of this machine can connect to, or unix:PATH, a socket of yours alone. What
    /// other machines can reach needs TLS
    #[arg(long, default_value = "tcp:127.0.0.1:10809", value_name = "PLACE")]
    pub listen: String,
    /// Let clients write: what they write goes to this file, and the repository is not touched
    #[arg(long, value_name = "FILE")]
    pub writable_overlay: Option<PathBuf>,
    /// The certificate chain for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of this authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// The most clients at once
    #[arg(long, default_value_t = 16, value_name = "NUMBER", value_parser = clients)]
    pub clients: usize,
    /// Memory for opened chunks, in MiB
    #[arg(long, default_value_t = 128, value_name = "MIB", value_parser = memory)]
    pub memory: usize,
}

fn clients(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|clients| (1..=1024).contains(clients)).ok_or_else(|| "1 to 1024 was expected".to_owned())
}

fn memory(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|mib| (8..=65536).contains(mib)).ok_or_else(|| "8 to 65536 was expected".to_owned())
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// Also read packs and open every chunk; with N% only that share, chosen anew each time
    #[arg(long, value_name = "N%", num_args = 0..=1, require_equals = true, default_missing_value = "100%", value_parser = percent)]
    pub read_data: Option<u8>,
}

/// Reads bytes with an optional K or M.
fn block_size(text: &str) -> Result<u32, String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_suffix("IB").or(upper.strip_suffix('B')).unwrap_or(&upper);
    let (number, unit) = match (bare.strip_suffix('K'), bare.strip_suffix('M')) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        _ => (bare, 1),
    };
    let size = number.trim().parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| size.is_power_of_two())
        .ok_or_else(|| "a power of two such as 512K or 32M was expected".to_owned())
}

/// Reads a rate in bytes a second: KiB, or what the suffix says.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_suffix("/S").unwrap_or(&upper);
    let bare = bare.strip_suffix("IB").or(bare.strip_suffix('B')).unwrap_or(bare);
    let suffixes = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let suffixed = suffixes.iter().find_map(|(suffix, unit)| Some((bare.strip_suffix(*suffix)?, *unit)));
    let (number, unit) = suffixed.unwrap_or((bare, 1 << 10));
    let rate = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    rate.and_then(NonZeroU64::new)
        .ok_or_else(|| "a rate such as 500 or 500K (KiB a second) or 2M was expected".to_owned())
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err("a share from 1% to 100% was expected".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Stats {
    /// What this stick costs alone, and what of it others need as well
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Audit {
    /// Also prove that no entry is missing or changed, and that what the log says was made is there
    #[arg(long)]
    pub verify: bool,
    /// Only the last ones
    #[arg(long, value_name = "NUMBER")]
    pub last: Option<usize>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub action: CacheAction,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum CacheAction {
    /// Show where local indexes lie and what they take
    Show,
    /// Make this repository's local index anew
    Rebuild,
    /// Remove this repository's local index, or all of them when no repository is named
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn block_sizes_are_read() {
        assert_eq!(
            (block_size("512K"), block_size("2m"), block_size("32MiB")),
            (Ok(512 << 10), Ok(2 << 20), Ok(32 << 20))
        );
        assert_eq!(block_size("1048576"), Ok(1 << 20));
        for wrong in ["", "M", "3M", "-1", "4096M", "1G", "x"] {
            assert!(block_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_read() {
        let read = |text| rate(text).map(NonZeroU64::get).ok();
        assert_eq!([read("500"), read("500k"), read("500 KiB/s")], [Some(500 << 10); 3]);
        assert_eq!((read("2M"), read("1g"), read("1")), (Some(2 << 20), Some(1 << 30), Some(1 << 10)));
        for wrong in ["", "0", "K", "-1", "1.5M", "2T", "99999999999999999G"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_are_read() {
        assert_eq!(percent("5%"), Ok(5));
        assert_eq!(percent("100"), Ok(100));
        assert!(percent("0%").is_err() && percent("101%").is_err() && percent("x").is_err());
    }
}
