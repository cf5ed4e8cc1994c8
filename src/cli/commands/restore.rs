//! `sheaf restore`

use super::backup::{ranges, unreadable};
use crate::cli::args::Restore;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use sheaf::ops::monitor::Monitor;
use sheaf::ops::restore::{RestorePlan, RestoreRequest};
use sheaf::repo::snapshots;
use sheaf::repo::view::SnapshotDisk;
use std::time::Instant;

pub(crate) fn run(context: &Context, args: &Restore) -> Result<u8, Failure> {
    let began = Instant::now();
    let store = context.store()?;
    let snapshot = snapshots::resolve(&store.repository, &args.snapshot)?;
    let disk = SnapshotDisk::open(store, snapshot)?;
    let request = RestoreRequest { target: args.to.clone(), force: args.force, verify: args.verify };
    let plan = RestorePlan::make(&disk, request)?;
    if plan.left_over > 0 {
        context.progress.warn(&format!(
            "{} is larger than the disk: its last {} stay as they are",
            args.to.display(),
            bytes(plan.left_over)
        ));
    }
    let report = plan.apply(&disk, &context.progress, &context.cancel)?;
    let lost: u64 = report.unreadable.iter().map(|extent| extent.length).sum();
    let record = &disk.snapshot().record;
    let seconds = began.elapsed().as_secs_f64();
    if context.global.json {
        output::json(&serde_json::json!({
            "snapshot": disk.snapshot().id.to_string(),
            "stick": record.stick,
            "target": args.to,
            "bytes": report.size,
            "bytes_written": report.kept,
            "verified": report.verified,
            "unreadable": lost,
            "unreadable_ranges": ranges(&report.unreadable),
            "seconds": seconds,
        }));
    }
    context.say(&format!(
        "Restored {} of {} to {}: {}, {} of it data, in {seconds:.1} s{}.",
        disk.snapshot().id.short(),
        record.stick,
        args.to.display(),
        bytes(report.size),
        bytes(report.kept),
        if report.verified { "; read back and the same" } else { "" }
    ));
    unreadable(context, lost, &report.unreadable);
    Ok(if lost > 0 { WARNINGS } else { DONE })
}
