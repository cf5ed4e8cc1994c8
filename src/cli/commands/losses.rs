//! What of a snapshot is lost, in words and as JSON. Several commands tell it.

use super::backup::{Range, ranges};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::disk::Extent;
use sheaf::ops::losses::{Losses, LostInVolume};
use std::fmt::Write;
use std::path::Path;

/// Runs and files that are printed for a person; JSON has all of them.
const SHOWN: usize = 20;

#[derive(Serialize)]
pub(crate) struct Document {
    /// Why nothing can be had; then there are no ranges.
    whole: Option<String>,
    bytes: u64,
    ranges: Vec<Range>,
    volumes: Vec<VolumeRow>,
    files: Vec<FileRow>,
    more_files: u64,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct VolumeRow {
    partition: Option<u32>,
    file_system: String,
    label: Option<String>,
    start: u64,
    length: u64,
    lost: u64,
}

#[derive(Serialize)]
struct FileRow {
    path: String,
    bytes: u64,
    lost: u64,
}

pub(crate) fn document(losses: &Losses) -> Document {
    Document {
        whole: losses.whole.clone(),
        bytes: losses.bytes(),
        ranges: ranges(&losses.ranges),
        volumes: losses
            .volumes
            .iter()
            .map(|volume| VolumeRow {
                partition: volume.number,
                file_system: volume.file_system.clone(),
                label: volume.label.clone(),
                start: volume.extent.start.0,
                length: volume.extent.length,
                lost: volume.bytes,
            })
            .collect(),
        files: losses
            .files
            .iter()
            .map(|file| FileRow { path: file.path.clone(), bytes: file.size, lost: file.bytes })
            .collect(),
        more_files: losses.more_files,
        problems: losses.problems.clone(),
    }
}

/// Prints what is lost; `is` says what became of it, as in "is zeros".
pub(crate) fn show(context: &Context, losses: &Losses, is: &str) {
    if losses.is_empty() || context.global.json {
        return;
    }
    context.progress_end();
    if let Some(why) = &losses.whole {
        output::line(&format!("    nothing of it can be restored: {why}"));
        return;
    }
    let runs = count(losses.ranges.len() as u64, "run");
    output::line(&format!("    LOST: {} in {runs} of the disk {is}:", bytes(losses.bytes())));
    for run in losses.ranges.iter().take(SHOWN) {
        output::line(&format!("      {} bytes at offset {}", run.length, run.start));
    }
    if losses.ranges.len() > SHOWN {
        output::line(&format!("      and {} more runs; --json lists them", losses.ranges.len() - SHOWN));
    }
    for volume in &losses.volumes {
        output::line(&format!("    {}: {} lost", volume_name(volume), bytes(volume.bytes)));
    }
    for file in losses.files.iter().take(SHOWN) {
        output::line(&format!("      {}: {} of {} lost", file.path, bytes(file.bytes), bytes(file.size)));
    }
    let more = losses.files.len().saturating_sub(SHOWN) as u64 + losses.more_files;
    if more > 0 {
        output::line(&format!("      and {}; --json lists more", count(more, "more file")));
    }
    for problem in losses.problems.iter().take(SHOWN) {
        output::line(&format!("      {problem}"));
    }
}

fn volume_name(volume: &LostInVolume) -> String {
    let mut name = match volume.number {
        Some(number) => format!("partition {number}, {}", volume.file_system),
        None => format!("the volume, {}", volume.file_system),
    };
    if let Some(label) = &volume.label {
        _ = write!(name, " `{label}`");
    }
    name
}

/// Writes a list of runs: a line each, offset and length in bytes.
pub(crate) fn write_list(path: &Path, runs: &[Extent]) -> Result<(), Failure> {
    let mut text = String::new();
    for run in runs {
        _ = writeln!(text, "{} {}", run.start, run.length);
    }
    std::fs::write(path, text).map_err(|error| Failure::io(&format!("writing {}", path.display()), &error))
}
