//! `sheaf backup`

use super::init::TOOL;
use crate::cli::args::{self, Backup};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::ledger::host;
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::disk::ReadAt;
use sheaf::format::audit::AuditRecord;
use sheaf::format::snapshot::{Counts, DiskFacts};
use sheaf::image::{Source, SourceFacts, SourceFormat};
use sheaf::layout::{Identity, Keep, identify};
use sheaf::ops::OpsError;
use sheaf::ops::backup::{BackupPlan, BackupReport, BackupRequest, WallTime, backup};
use sheaf::ops::container::facts_to_keep;
use sheaf::ops::monitor::Monitor;
use sheaf::repo::keyring::Action;
use std::path::Path;
use std::sync::Arc;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    snapshot: String,
    stick: String,
    source_format: String,
    bytes_source: u64,
    bytes_read: u64,
    bytes_kept: u64,
    kept: Kept,
    left_out: LeftOut,
    bytes_new: u64,
    bytes_stored: u64,
    chunks: u64,
    chunks_new: u64,
    packs_written: u64,
    packs_recovered: usize,
    unreadable: u64,
    unreadable_ranges: Vec<Range>,
    seconds: f64,
}

/// Kept bytes by what they are.
#[derive(Serialize)]
pub(crate) struct Kept {
    files: u64,
    records: u64,
    slack: u64,
    other: u64,
}

/// Bytes that are not kept, by the reason.
#[derive(Serialize)]
pub(crate) struct LeftOut {
    zeros: u64,
    free: u64,
    scratch: u64,
}

impl Kept {
    pub(crate) const fn of(counts: &Counts) -> Self {
        Self {
            files: counts.bytes_files,
            records: counts.bytes_records,
            slack: counts.bytes_slack,
            other: counts.bytes_other,
        }
    }
}

impl LeftOut {
    pub(crate) const fn of(counts: &Counts) -> Self {
        Self { zeros: counts.bytes_zero, free: counts.bytes_free, scratch: counts.bytes_scratch }
    }
}

/// What went where, for people; nothing where the disk was not cut along files.
pub(crate) fn shares(counts: &Counts) -> Option<String> {
    let parts = |parts: &[(&str, u64)]| {
        let parts = parts.iter().filter(|(_, count)| *count > 0);
        parts.map(|(name, count)| format!("{name} {}", bytes(*count))).collect::<Vec<_>>().join(", ")
    };
    let kept = parts(&[
        ("files", counts.bytes_files),
        ("records", counts.bytes_records),
        ("slack", counts.bytes_slack),
        ("other", counts.bytes_other),
    ]);
    let left_out =
        parts(&[("zeros", counts.bytes_zero), ("free", counts.bytes_free), ("scratch", counts.bytes_scratch)]);
    let by_files = counts.bytes_files + counts.bytes_records + counts.bytes_free + counts.bytes_scratch > 0;
    by_files.then(|| format!("Kept {kept}; left out {left_out}."))
}

/// A run of the disk, in bytes.
#[derive(Serialize)]
pub(crate) struct Range {
    pub start: u64,
    pub length: u64,
}

pub(crate) fn run(context: &Context, args: Backup) -> Result<u8, Failure> {
    // The source first: a wrong name should not cost a password.
    let format = args.source_format.map(|format| match format {
        args::SourceFormat::Raw => SourceFormat::Raw,
        args::SourceFormat::Vhd => SourceFormat::Vhd,
        args::SourceFormat::Vhdx => SourceFormat::Vhdx,
    });
    let source = Arc::new(Source::open(&args.source, format, &args.parents)?);
    for warning in source.warnings() {
        context.progress.warn(&format!("{}: {warning}", args.source.display()));
    }
    let facts = source.file().source_facts();
    if !facts.mounted.is_empty() {
        let places: Vec<_> = facts.mounted.iter().map(|place| place.display().to_string()).collect();
        context.progress.warn(&format!(
            "{} is mounted at {}: files that change now may be torn in the snapshot",
            args.source.display(),
            places.join(", ")
        ));
    }
    let identity = match identify(&*source) {
        Ok(Identity::None) => None,
        Ok(identity) => Some(identity.to_string()),
        Err(error) => {
            context.progress.warn(&format!("the partition table cannot be read, so the disk has no identity: {error}"));
            None
        }
    };
    let stick = match args.stick {
        Some(stick) if stick.trim().is_empty() || stick.contains(unfit) => {
            return Err(Failure::usage("a stick's name must not be empty, and has no `:` and no control characters"));
        }
        Some(stick) => stick,
        None => default_name(identity.as_deref(), &facts, &args.source),
    };
    context.remove_stale_temporaries();
    if args.tags.iter().any(|tag| tag.trim().is_empty() || tag.contains(char::is_control)) {
        return Err(Failure::usage("a tag must not be empty, and has no control characters"));
    }
    let store = context.store(Action::Store, "backup")?;
    context.begin(&store.repository, AuditRecord::BACKUP);
    context.note(|entry| entry.detail(stick.clone()));
    let plan = match args.layout {
        args::Layout::None => BackupPlan::none(&*source),
        args::Layout::Files => {
            let disk: Arc<dyn ReadAt> = Arc::clone(&source) as _;
            let keep = Keep { free: args.include_free, scratch: args.include_scratch };
            BackupPlan::make(&disk, keep)
                .map_err(|error| OpsError::Source { source_name: args.source.display().to_string(), source: error })?
        }
    };
    plan.notes.iter().for_each(|note| context.progress.warn(note));
    let now = jiff::Zoned::now();
    let request = BackupRequest {
        stick: stick.clone(),
        tags: args.tags,
        host: host(),
        time: WallTime {
            unix_ms: now.timestamp().as_millisecond(),
            utc_offset_s: now.offset().seconds(),
            zone: now.time_zone().iana_name().map(str::to_owned),
        },
        disk: DiskFacts {
            sector_size: source.sector_size(),
            source: args.source.display().to_string(),
            table_id: identity,
            serial: facts.serial,
            model: facts.model,
            label: args.label,
            container: source.container().as_ref().map(facts_to_keep),
            volumes: None,
        },
        tool: TOOL.to_owned(),
    };
    let size = source.size();
    let report = backup(&store, &*source, &plan, request, &context.progress, &context.cancel)?;
    context.note(|entry| entry.snapshot(report.snapshot));
    if args.pin {
        // The log tells of the snapshot first.
        context.log(&Ok(DONE));
        context.begin(&store.repository, AuditRecord::PIN);
        context.note(|entry| entry.snapshot(report.snapshot));
    }
    show(context, &report, &source, stick, size);
    Ok(if report.counts.unreadable > 0 { WARNINGS } else { DONE })
}

/// What a stick's name must not have: `:` stands before `latest`, and the rest would garble a terminal.
fn unfit(character: char) -> bool {
    character == ':' || character.is_control()
}

fn default_name(identity: Option<&str>, facts: &SourceFacts, source: &Path) -> String {
    let clean = |text: &str| text.replace(unfit, "-");
    if let Some(identity) = identity {
        return identity.to_owned();
    }
    match (&facts.serial, facts.is_block_device) {
        (Some(serial), _) => format!("serial-{}", clean(serial)),
        _ => format!("file-{}", clean(&source.file_name().unwrap_or_default().to_string_lossy())),
    }
}

fn show(context: &Context, report: &BackupReport, source: &Source, stick: String, size: u64) {
    let counts = &report.counts;
    let seconds = counts.duration_ms as f64 / 1000.0;
    if context.global.json {
        output::json(&Document {
            snapshot: report.snapshot.to_string(),
            stick,
            source_format: source.format().to_string().to_lowercase(),
            bytes_source: size,
            bytes_read: counts.bytes_read,
            bytes_kept: counts.bytes_kept,
            kept: Kept::of(counts),
            left_out: LeftOut::of(counts),
            bytes_new: counts.bytes_new,
            bytes_stored: counts.bytes_stored,
            chunks: counts.chunks,
            chunks_new: counts.chunks_new,
            packs_written: report.packs_written,
            packs_recovered: report.packs_adopted,
            unreadable: counts.unreadable,
            unreadable_ranges: ranges(&report.unreadable),
            seconds,
        });
        return;
    }
    let inside = match source.format() {
        SourceFormat::Raw => String::new(),
        format => format!(" from a {format}"),
    };
    context.say(&format!(
        "Snapshot {} of {stick}: {}{inside} in {seconds:.1} s.",
        report.snapshot.short(),
        bytes(size)
    ));
    context.say(&match counts.chunks_new {
        0 => format!("Read {}; {}, none of them new.", bytes(counts.bytes_read), count(counts.chunks, "chunk")),
        new => format!(
            "Read {}; {new} of {} new: {} became {} in {}.",
            bytes(counts.bytes_read),
            count(counts.chunks, "chunk"),
            bytes(counts.bytes_new),
            bytes(counts.bytes_stored),
            count(report.packs_written, "pack"),
        ),
    });
    shares(counts).iter().for_each(|shares| context.say(shares));
    if report.packs_adopted > 0 {
        context.say(&format!("Used {} of an interrupted backup.", count(report.packs_adopted as u64, "pack")));
    }
    unreadable(context, counts.unreadable, &report.unreadable);
}

/// JSON of runs.
pub(crate) fn ranges(extents: &[sheaf::disk::Extent]) -> Vec<Range> {
    extents.iter().map(|extent| Range { start: extent.start.0, length: extent.length }).collect()
}

/// Says what of a disk is lost.
pub(crate) fn unreadable(context: &Context, total: u64, extents: &[sheaf::disk::Extent]) {
    if total == 0 {
        return;
    }
    context.progress.warn(&format!("{} of the disk could not be read and are zeros in the snapshot:", bytes(total)));
    for extent in extents.iter().take(20) {
        context.progress.warn(&format!("  {} bytes at offset {}", extent.length, extent.start));
    }
    if extents.len() > 20 {
        context.progress.warn(&format!("  and {} more runs; --json lists them", extents.len() - 20));
    }
}
