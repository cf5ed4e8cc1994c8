//! `sheaf stats`

use super::backup::{Kept, LeftOut, shares};
use crate::cli::args::Stats as StatsArgs;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, NOT_FOUND};
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::ops::stats::{Stats, StickStats, stats, stick_stats};
use sheaf::repo::keyring::Action;

#[derive(Serialize)]
struct Document {
    snapshots: usize,
    sticks: usize,
    bytes_logical: u64,
    bytes_unique: u64,
    bytes_stored: u64,
    chunks: u64,
    packs: usize,
    kept: Kept,
    left_out: LeftOut,
    objects: Vec<Kind>,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    count: usize,
    bytes: u64,
}

/// What `--json` prints of one stick.
#[derive(Serialize)]
struct OneStick<'a> {
    stick: &'a str,
    snapshots: usize,
    bytes_logical: u64,
    chunks: u64,
    bytes_alone: u64,
    bytes_own: u64,
    bytes_shared: u64,
}

fn one_stick(context: &Context, stick: &str) -> Result<u8, Failure> {
    let StickStats { snapshots, bytes_logical, chunks, bytes_alone, bytes_own } =
        stick_stats(&context.store(Action::KeepRepository, "stats")?, stick, &context.cancel)?;
    if snapshots == 0 {
        return Err(Failure {
            status: NOT_FOUND,
            message: format!("there is no snapshot of a stick {stick}"),
            hint: Some("`sheaf snapshots` lists what there is".to_owned()),
        });
    }
    let bytes_shared = bytes_alone - bytes_own;
    if context.global.json {
        output::json(&OneStick { stick, snapshots, bytes_logical, chunks, bytes_alone, bytes_own, bytes_shared });
        return Ok(DONE);
    }
    context.progress_end();
    output::line(&format!("{} of {stick}", count(snapshots as u64, "snapshot")));
    output::line(&format!("{:>11} on its disks, as they come back", bytes(bytes_logical)));
    output::line(&format!("{:>11} on storage for it, in {}", bytes(bytes_alone), count(chunks, "chunk")));
    output::line(&format!("{:>11} of that other sticks need as well", bytes(bytes_shared)));
    output::line(&format!("{:>11} of that nobody else needs", bytes(bytes_own)));
    Ok(DONE)
}

pub(crate) fn run(context: &Context, args: &StatsArgs) -> Result<u8, Failure> {
    if let Some(stick) = &args.stick {
        return one_stick(context, stick);
    }
    let Stats { snapshots, sticks, bytes_logical, bytes_unique, bytes_stored, chunks, packs, objects, counts } =
        stats(&context.store(Action::KeepRepository, "stats")?)?;
    if context.global.json {
        let objects =
            objects.iter().map(|(kind, count, bytes)| Kind { kind: kind.folder(), count: *count, bytes: *bytes });
        let objects = objects.collect();
        output::json(&Document {
            snapshots,
            sticks,
            bytes_logical,
            bytes_unique,
            bytes_stored,
            chunks,
            packs,
            kept: Kept::of(&counts),
            left_out: LeftOut::of(&counts),
            objects,
        });
        return Ok(DONE);
    }
    context.progress_end();
    output::line(&format!("{} of {}", count(snapshots as u64, "snapshot"), count(sticks as u64, "stick")));
    output::line(&format!("{:>11} on all disks, as they come back", bytes(bytes_logical)));
    output::line(&format!("{:>11} of distinct data in {}", bytes(bytes_unique), count(chunks, "chunk")));
    output::line(&format!("{:>11} on storage, everything counted", bytes(bytes_stored)));
    shares(&counts).iter().for_each(|shares| output::line(shares));
    let rows = objects
        .iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(kind, count, size)| vec![kind.folder().to_owned(), count.to_string(), bytes(*size)]);
    output::line(&output::table(&["Objects", "Count", "Size"], &[1, 2], rows));
    Ok(DONE)
}
