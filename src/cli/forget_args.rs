//! What can be typed of what is kept and what is let go.

use super::commands::prune::{max_unused, size};
use clap::{Args as ClapArgs, ValueEnum};
use sheaf::ops::forget::policy::Duration;
use sheaf::ops::prune::MaxUnused;

#[derive(Debug, ClapArgs)]
pub(crate) struct Forget {
    /// Snapshots: unique prefixes of ids. A damaged one by its whole id
    #[arg(value_name = "SNAPSHOT", conflicts_with_all = ["keep", "stick", "tags", "group_by", "allow_gaps"])]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Only this stick's
    #[arg(long, value_name = "NAME")]
    pub stick: Option<String>,
    /// Only those with this tag; may be given several times, and then all must be there
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// What snapshots that count against each other have in common, beside the key that made them
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub group_by: Vec<By>,
    /// Show what would be forgotten and what would not, and why
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Also the last snapshot of a stick
    #[arg(long)]
    pub allow_last: bool,
    /// Also pinned snapshots, where they are named
    #[arg(long, requires = "snapshots")]
    pub allow_pinned: bool,
    /// Also where entries of the audit log are missing or damaged, which may have told of pins
    #[arg(long)]
    pub allow_gaps: bool,
}

/// The rules of a policy.
#[derive(Debug, ClapArgs)]
#[group(id = "keep", multiple = true)]
pub(crate) struct KeepArgs {
    /// Keep so many of the newest
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_last: Option<u32>,
    /// Keep the newest of each hour, for the last N hours with snapshots
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_hourly: Option<u32>,
    /// Keep the newest of each day, for the last N days with snapshots
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_daily: Option<u32>,
    /// Keep the newest of each week, from Monday on, for the last N weeks with snapshots
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_weekly: Option<u32>,
    /// Keep the newest of each month, for the last N months with snapshots
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_monthly: Option<u32>,
    /// Keep the newest of each year, for the last N years with snapshots
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub keep_yearly: Option<u32>,
    /// Keep all of this time before the newest one, as in 30d or 2y5m7d3h
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<Duration>,
    /// Keep all with this tag; may be given several times
    #[arg(long = "keep-tag", value_name = "TAG")]
    pub keep_tags: Vec<String>,
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// What snapshots are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The stick
    Stick,
    /// The machine that made them
    Host,
    /// All their tags
    Tags,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Pin {
    /// Snapshots: unique prefixes of ids, `latest`, or `STICK:latest`
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Take the pin away
    #[arg(long)]
    pub remove: bool,
}

/// Options of `prune`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Prune {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What may stay unused in packs that stay: a share of what is used (5%), bytes (2G), or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "2%", value_parser = max_unused)]
    pub max_unused: MaxUnused,
    /// Write at most this much anew, as in 10G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_repack: Option<u64>,
}
