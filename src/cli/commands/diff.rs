//! `sheaf diff`

use super::look::{self, Item, Looked, clean};
use crate::cli::args::Diff;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::layout::files::NodeKind;
use sheaf::ops::browse::{ChangeKind, DiskDifference, FileChange, Found, Target, diff_disks, diff_files};
use sheaf::repo::keyring::Action;

#[derive(Serialize)]
struct Change {
    change: &'static str,
    path: String,
    old: Option<Item>,
    new: Option<Item>,
}

#[derive(Serialize)]
struct Run {
    offset: u64,
    length: u64,
}

#[derive(Serialize)]
struct Bytes {
    sizes: [u64; 2],
    differing: u64,
    runs: u64,
    compared: u64,
    first_runs: Vec<Run>,
}

#[derive(Serialize)]
struct Difference {
    old: String,
    new: String,
    files: Vec<Change>,
    bytes: Option<Bytes>,
    problems: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Diff) -> Result<u8, Failure> {
    let store = context.store(Action::ReadSnapshots, "diff")?;
    let (old, new) = (look::open(&store, &args.old)?, look::open(&store, &args.new)?);
    let mut problems = Vec::new();
    let mut changes = Vec::new();
    let trust_times = !args.content && old.snapshot.record.stick == new.snapshot.record.stick;
    let are_whole = old.path.is_none() && new.path.is_none();
    for (one, other) in pairs(&old, &new, &mut problems)? {
        let prefix = if are_whole { one.path.trim_end_matches('/').to_owned() } else { String::new() };
        problems.extend(diff_files(&one, &other, trust_times, &context.cancel, &mut |change| {
            changes.push(FileChange { path: format!("{prefix}{}", change.path), ..change });
        })?);
    }
    let disks = if are_whole { Some(diff_disks(&old.disk, &new.disk, &context.cancel)?) } else { None };
    context.progress_end();
    look::tell(context, &problems);
    let status = if problems.is_empty() { DONE } else { WARNINGS };
    if context.global.json {
        let files = changes.iter().map(|change| Change {
            change: word(change.kind),
            path: change.path.clone(),
            old: change.old.as_ref().map(|facts| Item::new(&old, &change.path, facts)),
            new: change.new.as_ref().map(|facts| Item::new(&new, &change.path, facts)),
        });
        let (old, new) = (old.snapshot.id.to_string(), new.snapshot.id.to_string());
        output::json(&Difference { old, new, files: files.collect(), bytes: disks.as_ref().map(document), problems });
        return Ok(status);
    }
    for change in &changes {
        show(change);
    }
    let of = |kind| changes.iter().filter(|change| change.kind == kind).count() as u64;
    context.say(&format!(
        "{} added, {} removed, {} changed, {} with other times or attributes alone.",
        count(of(ChangeKind::Added), "file"),
        of(ChangeKind::Removed),
        of(ChangeKind::Modified),
        of(ChangeKind::Metadata),
    ));
    if let Some(difference) = disks {
        context.say(&described(&difference));
    }
    Ok(status)
}

/// What is compared with what: two files or folders, or the volumes of two disks by their numbers.
fn pairs(old: &Looked, new: &Looked, problems: &mut Vec<String>) -> Result<Vec<(Found, Found)>, Failure> {
    match (old.target(false)?.0, new.target(false)?.0) {
        (Target::Node(one), Target::Node(other)) => Ok(vec![(*one, *other)]),
        (Target::Disk(one, prefix), Target::Disk(other, other_prefix)) => {
            let mut pairs = Vec::new();
            for volume in one.volumes() {
                let same = other.volumes().iter().find(|other| other.number == volume.number);
                match same {
                    Some(same) if volume.files.is_ok() && same.files.is_ok() => {
                        pairs.push((Found::top_of(volume, &prefix)?, Found::top_of(same, &other_prefix)?));
                    }
                    Some(_) if volume.files.is_err() => {}
                    _ => problems.push(format!("volume {} is in one of them alone", volume.prefix())),
                }
            }
            Ok(pairs)
        }
        _ => Err(Failure::usage("two snapshots, or a path in each, can be compared")),
    }
}

const fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Modified => "modified",
        ChangeKind::Metadata => "metadata",
        ChangeKind::Unknown => "unknown",
    }
}

fn show(change: &FileChange) {
    let mark = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Modified => 'M',
        ChangeKind::Metadata => 't',
        ChangeKind::Unknown => '?',
    };
    let facts = change.new.as_ref().or(change.old.as_ref());
    let is_folder = facts.is_some_and(|facts| facts.kind == NodeKind::Folder);
    let size = match (&change.old, &change.new) {
        _ if is_folder => String::new(),
        (Some(old), Some(new)) if old.size != new.size => format!("  {} -> {}", bytes(old.size), bytes(new.size)),
        (Some(facts), _) | (_, Some(facts)) => format!("  {}", bytes(facts.size)),
        (None, None) => String::new(),
    };
    output::line(&format!("{mark} {}{}{size}", clean(&change.path), if is_folder { "/" } else { "" }));
}

fn described(difference: &DiskDifference) -> String {
    let (old, new) = difference.sizes;
    let sizes = if old == new { String::new() } else { format!(" They have {} and {}.", bytes(old), bytes(new)) };
    match difference.differing {
        0 if old == new => "The disks are the same, byte for byte.".to_owned(),
        0 => format!("The disks are the same up to the end of the shorter one.{sizes}"),
        differing => {
            format!("On the disks {} differ, in {}.{sizes}", bytes(differing), count(difference.run_count, "run"))
        }
    }
}

fn document(difference: &DiskDifference) -> Bytes {
    let runs = difference.runs.iter().map(|run| Run { offset: run.start.0, length: run.length });
    Bytes {
        sizes: [difference.sizes.0, difference.sizes.1],
        differing: difference.differing,
        runs: difference.run_count,
        compared: difference.compared,
        first_runs: runs.collect(),
    }
}
