//! `sheaf prune`

use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::forget_args::Prune as Arguments;
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::ops::monitor::Monitor;
use sheaf::ops::prune::{MaxUnused, Prune, PruneOptions, PrunePlan, PruneReport, Sum, Surroundings};
use sheaf::ops::session::now_ms;
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;
use sheaf::repo::sessions::{self, Listed};

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    dry_run: bool,
    plan: Planned,
    done: Option<Done>,
}

#[derive(Serialize)]
struct Total {
    packs: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Planned {
    snapshots: usize,
    packs: Total,
    bytes_used: u64,
    delete: Total,
    repack: Total,
    repack_used: u64,
    unused_after: u64,
    waiting: Total,
    unreadable: Total,
    writers: Total,
    missing_chunks: u64,
    gain: u64,
}

#[derive(Serialize)]
struct Done {
    deleted: Total,
    repacked: Total,
    written: Total,
    rescued: usize,
    waiting: Total,
    waiting_for: Vec<Waiting>,
    segments_merged: usize,
    segments_written: usize,
    segments_deleted: usize,
    damaged: Vec<String>,
    stopped: Option<String>,
}

#[derive(Serialize)]
struct Waiting {
    session: String,
    command: Option<String>,
    host: Option<String>,
    process: Option<u32>,
    began_ms: Option<i64>,
}

impl From<Sum> for Total {
    fn from(sum: Sum) -> Self {
        Self { packs: sum.packs, bytes: sum.bytes }
    }
}

pub(crate) fn run(context: &Context, args: &Arguments) -> Result<u8, Failure> {
    let options = PruneOptions { max_unused: args.max_unused, max_repack: args.max_repack };
    let store = context.store(Action::Prune, "prune")?;
    let sessions = sessions::folder(&context.cache(), store.repository.id());
    let surroundings = Surroundings { sessions: Some(sessions), now_ms };
    let prune = Prune::plan(&store, options, surroundings, &context.progress, &context.cancel)?;
    let planned = prune.planned().clone();
    context.progress_end();
    say_plan(context, &planned);
    if args.dry_run {
        if context.global.json {
            output::json(&Document { dry_run: true, plan: planned_document(&planned), done: None });
        }
        context.say("Nothing was changed (--dry-run).");
        return Ok(DONE);
    }
    context.remove_stale_temporaries();
    context.begin(&store.repository, "prune");
    let report = prune.apply()?;
    context.note(|entry| {
        let Sum { packs, bytes } = report.deleted;
        entry.detail(format!("{} deleted, {}", count(packs as u64, "pack"), output::bytes(bytes)));
    });
    say_report(context, &report);
    if context.global.json {
        output::json(&Document { dry_run: false, plan: planned_document(&planned), done: Some(done(&report)) });
    }
    let is_whole = report.stopped.is_none() && report.damaged.is_empty() && planned.missing_chunks == 0;
    Ok(if is_whole { DONE } else { WARNINGS })
}

fn say_plan(context: &Context, plan: &PrunePlan) {
    let sum = |sum: Sum| format!("{}, {}", count(sum.packs as u64, "pack"), bytes(sum.bytes));
    context.say(&format!(
        "{} in {}; {} {} {}.",
        bytes(plan.total.bytes),
        count(plan.total.packs as u64, "pack"),
        count(plan.snapshots as u64, "snapshot"),
        if plan.snapshots == 1 { "needs" } else { "need" },
        bytes(plan.used)
    ));
    if plan.missing_chunks > 0 {
        context.progress.warn(&format!(
            "{} that snapshots need are missing; `sheaf check` says more",
            count(plan.missing_chunks, "chunk")
        ));
    }
    for (what, packs) in [
        ("condemned before:", plan.waiting),
        ("to delete:       ", plan.delete),
        ("left half written:", plan.unreadable),
        ("of who writes now:", plan.writers),
    ] {
        if packs.packs > 0 {
            context.say(&format!("  {what} {}", sum(packs)));
        }
    }
    if plan.repack.packs > 0 {
        context.say(&format!(
            "  to write anew:    {}, of which {} are needed",
            sum(plan.repack),
            bytes(plan.repack_used)
        ));
    }
    context.say(&format!("  gives back {}; {} stay unused", bytes(plan.gain()), bytes(plan.unused_after)));
}

fn say_report(context: &Context, report: &PruneReport) {
    context.progress_end();
    let sum = |sum: Sum| format!("{}, {}", count(sum.packs as u64, "pack"), bytes(sum.bytes));
    context.say(&format!("Deleted {}; wrote {}.", sum(report.deleted), sum(report.written)));
    if report.segments_merged > 0 {
        context.say(&format!(
            "Index: {} put into {}.",
            count(report.segments_merged as u64, "segment"),
            report.segments_written
        ));
    }
    if report.rescued > 0 {
        context.say(&format!(
            "{} were needed after all: what is needed in them was written anew.",
            count(report.rescued as u64, "condemned pack")
        ));
    }
    for (name, error) in &report.damaged {
        context.progress.warn(&format!("{name} is left as it is: {}; see `sheaf check --read-data`", chain(error)));
    }
    if let Some(error) = &report.stopped {
        context.progress.warn(&format!(
            "there was no room to write the rest anew: {}; run `sheaf prune` again when there is more",
            chain(error)
        ));
    }
    if !report.waiting_for.is_empty() {
        context.say(&format!(
            "{} are condemned; they go with the first `sheaf prune` behind the end of:",
            sum(report.waiting)
        ));
        for session in &report.waiting_for {
            context.say(&format!("  {}", describe(session)));
        }
    }
}

/// A session, for a person.
fn describe(session: &Listed) -> String {
    match &session.holder {
        Some(holder) => {
            let began = jiff::Timestamp::from_millisecond(holder.began_ms)
                .map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string());
            format!("{} on {} (process {}), since {began}", holder.command, holder.host, holder.process)
        }
        None => format!("{}, which cannot be read", session.name),
    }
}

fn planned_document(plan: &PrunePlan) -> Planned {
    Planned {
        snapshots: plan.snapshots,
        packs: plan.total.into(),
        bytes_used: plan.used,
        delete: plan.delete.into(),
        repack: plan.repack.into(),
        repack_used: plan.repack_used,
        unused_after: plan.unused_after,
        waiting: plan.waiting.into(),
        unreadable: plan.unreadable.into(),
        writers: plan.writers.into(),
        missing_chunks: plan.missing_chunks,
        gain: plan.gain(),
    }
}

fn done(report: &PruneReport) -> Done {
    let waiting = |session: &Listed| Waiting {
        session: session.name.to_string(),
        command: session.holder.as_ref().map(|holder| holder.command.clone()),
        host: session.holder.as_ref().map(|holder| holder.host.clone()),
        process: session.holder.as_ref().map(|holder| holder.process),
        began_ms: session.holder.as_ref().map(|holder| holder.began_ms),
    };
    Done {
        deleted: report.deleted.into(),
        repacked: report.repacked.into(),
        written: report.written.into(),
        rescued: report.rescued,
        waiting: report.waiting.into(),
        waiting_for: report.waiting_for.iter().map(waiting).collect(),
        segments_merged: report.segments_merged,
        segments_written: report.segments_written,
        segments_deleted: report.segments_deleted,
        damaged: report.damaged.iter().map(|(name, error)| format!("{name}: {}", chain(error))).collect(),
        stopped: report.stopped.as_ref().map(|error| chain(error)),
    }
}

/// Reads `--max-unused`: a percentage, bytes with a suffix, or `unlimited`.
pub(crate) fn max_unused(text: &str) -> Result<MaxUnused, String> {
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    if let Some(share) = text.strip_suffix('%') {
        let share: f64 = share.trim().parse().map_err(|_| "a percentage is a number and `%`".to_owned())?;
        if !(0.0..=100.0).contains(&share) {
            return Err("a percentage is from 0 to 100".to_owned());
        }
        // Hundredths of a percent: at most 10,000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        return Ok(MaxUnused::Share((share * 100.0).round() as u32));
    }
    size(text).map(MaxUnused::Bytes)
}

/// Reads a number of bytes, with a suffix K, M, G or T for powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&text[..at], 1_u64 << 40),
        _ => (text, 1),
    };
    let number: u64 =
        number.trim().parse().map_err(|_| "a size is a number, with K, M, G or T behind it".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "the size is too large".to_owned())
}
