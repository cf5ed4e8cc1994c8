//! `sheaf copy`

use super::snapshots::local_time;
use crate::cli::context::Context;
use crate::cli::copy_args::Copy;
use crate::cli::failure::{DONE, FAILED, Failure, WARNINGS};
use crate::cli::key_file;
use crate::cli::ledger::{self, Ledger};
use crate::cli::output::{self, bytes, count};
use crate::cli::password;
use serde::Serialize;
use sheaf::format::audit::AuditRecord;
use sheaf::format::session::SessionKind;
use sheaf::ids::ObjectId;
use sheaf::ops::copy::{Copied, CopyPlan, CopyReport, copy};
use sheaf::ops::monitor::Monitor;
use sheaf::ops::session;
use sheaf::repo::bundles::Credential;
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::snapshots::{self, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    dry_run: bool,
    from: String,
    to: String,
    cuts_anew: bool,
    planned: Vec<String>,
    copied: Vec<Row>,
    already_there: Vec<There>,
    failed: Vec<Failed>,
    packs_recovered: usize,
}

/// A snapshot that was copied.
#[derive(Serialize)]
struct Row {
    source: String,
    snapshot: String,
    stick: String,
    bytes_kept: u64,
    bytes_new: u64,
    bytes_stored: u64,
    chunks: u64,
    chunks_new: u64,
    packs_written: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct There {
    source: String,
    snapshot: String,
}

#[derive(Serialize)]
struct Failed {
    source: String,
    stick: String,
    error: String,
}

pub(crate) fn run(context: &Context, args: &Copy) -> Result<u8, Failure> {
    let from = context.open(Action::ReadSnapshots)?;
    let to = open_target(context, args)?;
    let plan = CopyPlan::make(&from, &to, choose(context, args, &from)?)?;
    if plan.cuts_anew {
        context.progress.warn("the target cuts differently: chunks are cut anew");
    }
    if plan.is_blind {
        context
            .progress
            .warn("the target's key cannot see what is there: snapshots that were copied before are copied again");
    }
    if args.dry_run {
        return Ok(show_plan(context, &plan, &from, &to));
    }
    context.begin(&from, "copy");
    context.note(|entry| entry.detail(format!("to repository {}", to.id())));
    let mut told = Ledger::new(Arc::clone(&to), AuditRecord::BACKUP);
    told.detail(format!("copied from repository {}", from.id()));
    let mut made = 0;
    let copied = stores(context, &from, &to).and_then(|(source, target)| {
        let (cuts_anew, there) = (plan.cuts_anew, plan.there.clone());
        let report = copy(&source, &target, plan, &context.progress, &context.cancel, &mut |copied| {
            made += 1;
            told.snapshot(copied.snapshot);
            context.note(|entry| entry.snapshot(copied.source));
        })?;
        Ok(show(context, &report, there, cuts_anew, (&from, &to)))
    });
    // A target in which nothing was made has nothing to tell, unless it was tried.
    if made > 0 || copied.is_err() {
        log_target(context, told, &copied);
    }
    copied
}

/// The snapshots that were named, or those that the filters leave of all that this key can read.
fn choose(context: &Context, args: &Copy, from: &Repository) -> Result<Vec<Snapshot>, Failure> {
    if !args.snapshots.is_empty() {
        let mut ids = BTreeSet::new();
        let named = args.snapshots.iter().map(|name| snapshots::resolve(from, name)).collect::<Result<Vec<_>, _>>()?;
        return Ok(named.into_iter().filter(|snapshot| ids.insert(snapshot.id)).collect());
    }
    let list = snapshots::list(from)?;
    for (name, error) in &list.damaged {
        context.progress.warn(&format!("{name} cannot be copied: {}", chain(error)));
    }
    let matches = |snapshot: &Snapshot| {
        args.stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick)
            && args.tags.iter().all(|tag| snapshot.record.tags.contains(tag))
    };
    Ok(list.snapshots.into_iter().filter(matches).collect())
}

fn open_target(context: &Context, args: &Copy) -> Result<Arc<Repository>, Failure> {
    let locked = Repository::open(context.storage_at(&args.to)?)?;
    let warn = |text: &str| context.progress.warn(text);
    let credential = match &args.to_key_file {
        Some(path) => Credential::Key(key_file::read(path, &warn)?),
        None => key_file::or_printed(password::get_of_target(
            args.to_password_file.as_deref(),
            args.to_password_command.as_deref(),
            &warn,
        )?)?,
    };
    let repository = locked.unlock_for(&credential, Action::Store)?;
    repository.keys().require(Action::Store)?;
    Ok(Arc::new(repository))
}

/// Both with their indexes.
fn stores(
    context: &Context,
    from: &Arc<Repository>,
    to: &Arc<Repository>,
) -> Result<(ChunkStore, ChunkStore), Failure> {
    let (source, _) =
        session::prepare(Arc::clone(from), SessionKind::Reads, "copy", &context.cache(), &context.progress)?;
    let (target, _) =
        session::prepare(Arc::clone(to), SessionKind::Writes, "copy", &context.cache(), &context.progress)?;
    Ok((context.mending(source), target))
}

/// Writes to the target's log what was made there.
fn log_target(context: &Context, told: Ledger, result: &Result<u8, Failure>) {
    match told.write(&context.cache(), &ledger::outcome(result)) {
        Ok(warning) => warning.iter().for_each(|text| context.progress.warn(text)),
        Err(error) => {
            context.progress.warn(&format!("the target's audit log could not be written: {}", chain(&error)));
        }
    }
}

fn there(pairs: Vec<(ObjectId, ObjectId)>) -> Vec<There> {
    let row =
        |(source, snapshot): (ObjectId, ObjectId)| There { source: source.to_string(), snapshot: snapshot.to_string() };
    pairs.into_iter().map(row).collect()
}

fn show_plan(context: &Context, plan: &CopyPlan, from: &Repository, to: &Repository) -> u8 {
    if context.global.json {
        output::json(&Document {
            dry_run: true,
            from: from.id().to_string(),
            to: to.id().to_string(),
            cuts_anew: plan.cuts_anew,
            planned: plan.snapshots.iter().map(|snapshot| snapshot.id.to_string()).collect(),
            copied: Vec::new(),
            already_there: there(plan.there.clone()),
            failed: Vec::new(),
            packs_recovered: 0,
        });
    }
    for Snapshot { id, record, .. } in &plan.snapshots {
        let time = local_time(record.time_ms, record.utc_offset_s, false);
        context.say(&format!("Would copy {} of {}, {time}, {}.", id.short(), record.stick, bytes(record.size)));
    }
    context.say(&format!(
        "{} to copy; {} there already.",
        count(plan.snapshots.len() as u64, "snapshot"),
        plan.there.len()
    ));
    DONE
}

fn row(copied: &Copied) -> Row {
    let Copied { source, snapshot, stick, counts, packs_written } = copied;
    Row {
        source: source.to_string(),
        snapshot: snapshot.to_string(),
        stick: stick.clone(),
        bytes_kept: counts.bytes_kept,
        bytes_new: counts.bytes_new,
        bytes_stored: counts.bytes_stored,
        chunks: counts.chunks,
        chunks_new: counts.chunks_new,
        packs_written: *packs_written,
        seconds: counts.duration_ms as f64 / 1000.0,
    }
}

fn show(
    context: &Context,
    report: &CopyReport,
    already: Vec<(ObjectId, ObjectId)>,
    cuts_anew: bool,
    (from, to): (&Repository, &Repository),
) -> u8 {
    let CopyReport { copied, failed, packs_adopted } = report;
    if context.global.json {
        let lost = failed.iter().map(|(snapshot, error)| Failed {
            source: snapshot.id.to_string(),
            stick: snapshot.record.stick.clone(),
            error: chain(error),
        });
        output::json(&Document {
            dry_run: false,
            from: from.id().to_string(),
            to: to.id().to_string(),
            cuts_anew,
            planned: Vec::new(),
            copied: copied.iter().map(row).collect(),
            already_there: there(already),
            failed: lost.collect(),
            packs_recovered: *packs_adopted,
        });
    } else {
        for Copied { source, snapshot, stick, counts, .. } in copied {
            context.say(&format!(
                "Copied {} of {stick} as {}: {} of {} new: {} became {}.",
                source.short(),
                snapshot.short(),
                counts.chunks_new,
                count(counts.chunks, "chunk"),
                bytes(counts.bytes_new),
                bytes(counts.bytes_stored),
            ));
        }
        let lost = if failed.is_empty() { String::new() } else { format!(", {} not copied", failed.len()) };
        context.say(&format!(
            "{} copied, {} there already{lost}.",
            count(copied.len() as u64, "snapshot"),
            already.len()
        ));
    }
    match (copied.len(), failed.len()) {
        (_, 0) => DONE,
        (0, _) => FAILED,
        _ => WARNINGS,
    }
}
