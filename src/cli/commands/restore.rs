//! `sheaf restore`

use super::backup::{ranges, unreadable};
use super::losses;
use crate::cli::args::{self, Restore};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use sheaf::ops::container::TargetFormat;
use sheaf::ops::losses::Losses;
use sheaf::ops::monitor::Monitor;
use sheaf::ops::restore::{RestorePlan, RestoreRequest};
use sheaf::repo::keyring::Action;
use sheaf::repo::snapshots;
use sheaf::repo::view::SnapshotDisk;
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn run(context: &Context, args: &Restore) -> Result<u8, Failure> {
    let began = Instant::now();
    let store = context.store(Action::ReadSnapshots, "restore")?;
    context.begin(&store.repository, "restore");
    context.note(|entry| entry.detail(args.to.display().to_string()));
    let snapshot = snapshots::resolve(&store.repository, &args.snapshot)?;
    context.note(|entry| entry.snapshot(snapshot.id));
    let disk = Arc::new(SnapshotDisk::open(store, snapshot)?);
    let format = format(args);
    if args.block_size.is_some() && !format.has_blocks() {
        return Err(Failure::usage(format!("--block-size is for a VHD or VHDX with blocks; the target is {format}")));
    }
    let request = RestoreRequest {
        target: args.to.clone(),
        format,
        block_size: args.block_size,
        force: args.force,
        verify: args.verify,
        allow_damaged: args.allow_damaged,
    };
    let plan = RestorePlan::make(&disk, request)?;
    if plan.left_over > 0 {
        context.progress.warn(&format!(
            "{} is larger than the disk: its last {} stay as they are",
            args.to.display(),
            bytes(plan.left_over)
        ));
    }
    let report = plan.apply(&disk, &context.progress, &context.cancel)?;
    let losses = Losses::of(&disk, report.lost.clone(), &context.cancel)?;
    if let Some(path) = &args.lost_list {
        losses::write_list(path, &report.lost)?;
    }
    let lost: u64 = report.unreadable.iter().map(|extent| extent.length).sum();
    let record = &disk.snapshot().record;
    let seconds = began.elapsed().as_secs_f64();
    if context.global.json {
        output::json(&serde_json::json!({
            "snapshot": disk.snapshot().id.to_string(),
            "stick": record.stick,
            "target": args.to,
            "format": format.to_string(),
            "bytes_file": report.file_size,
            "bytes": report.size,
            "bytes_written": report.kept,
            "verified": report.verified,
            "unreadable": lost,
            "unreadable_ranges": ranges(&report.unreadable),
            "lost": losses::document(&losses),
            "seconds": seconds,
        }));
    }
    context.say(&format!(
        "Restored {} of {} to {}: {}, {} of it data{}, in {seconds:.1} s{}.",
        disk.snapshot().id.short(),
        record.stick,
        args.to.display(),
        bytes(report.size),
        bytes(report.kept),
        match format {
            TargetFormat::Raw => String::new(),
            format => format!(", as {format} in {}", bytes(report.file_size)),
        },
        match (report.verified, losses.is_empty()) {
            (true, true) => "; read back and the same",
            (true, false) => "; read back and the same but for what is lost",
            (false, _) => "",
        }
    ));
    unreadable(context, lost, &report.unreadable);
    losses::show(context, &losses, "is zeros in what was restored");
    Ok(if lost > 0 || !losses.is_empty() { WARNINGS } else { DONE })
}

/// What was asked for, or what the target's name says; a drive has no name that says anything.
fn format(args: &Restore) -> TargetFormat {
    match args.format {
        Some(args::TargetFormat::Raw) => TargetFormat::Raw,
        Some(args::TargetFormat::Vhd) => TargetFormat::Vhd,
        Some(args::TargetFormat::VhdFixed) => TargetFormat::VhdFixed,
        Some(args::TargetFormat::Vhdx) => TargetFormat::Vhdx,
        Some(args::TargetFormat::VhdxFixed) => TargetFormat::VhdxFixed,
        None => TargetFormat::of_name(&args.to),
    }
}
