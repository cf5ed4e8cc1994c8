//! `sheaf stats`

use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::ops::stats::{Stats, stats};

#[derive(Serialize)]
struct Document {
    snapshots: usize,
    sticks: usize,
    bytes_logical: u64,
    bytes_unique: u64,
    bytes_stored: u64,
    chunks: u64,
    packs: usize,
    objects: Vec<Kind>,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    count: usize,
    bytes: u64,
}

pub(crate) fn run(context: &Context) -> Result<u8, Failure> {
    let Stats { snapshots, sticks, bytes_logical, bytes_unique, bytes_stored, chunks, packs, objects } =
        stats(&context.store()?)?;
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
            objects,
        });
        return Ok(DONE);
    }
    context.progress_end();
    output::line(&format!("{} of {}", count(snapshots as u64, "snapshot"), count(sticks as u64, "stick")));
    output::line(&format!("{:>11} on all disks, as they come back", bytes(bytes_logical)));
    output::line(&format!("{:>11} of distinct data in {}", bytes(bytes_unique), count(chunks, "chunk")));
    output::line(&format!("{:>11} on storage, everything counted", bytes(bytes_stored)));
    let rows = objects
        .iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(kind, count, size)| vec![kind.folder().to_owned(), count.to_string(), bytes(*size)]);
    output::line(&output::table(&["Objects", "Count", "Size"], &[1, 2], rows));
    Ok(DONE)
}
