//! `sheaf snapshots`

use crate::cli::args::Snapshots;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use serde::Serialize;
use sheaf::ops::monitor::Monitor;
use sheaf::repo::chain;
use sheaf::repo::snapshots::{self, Snapshot};

#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    stick: String,
    size: u64,
    tags: Vec<String>,
    host: String,
    time_zone: Option<String>,
    tool: String,
    bytes_read: u64,
    bytes_kept: u64,
    bytes_new: u64,
    bytes_stored: u64,
    chunks: u64,
    chunks_new: u64,
    unreadable: u64,
    seconds: f64,
    disk: Option<Disk>,
}

#[derive(Serialize)]
struct Disk {
    source: String,
    sector_size: u32,
    table_id: Option<String>,
    serial: Option<String>,
    model: Option<String>,
    label: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Snapshots) -> Result<u8, Failure> {
    let repository = context.open()?;
    let list = snapshots::list(&repository)?;
    for (name, error) in &list.damaged {
        context.progress.warn(&format!("{name} cannot be shown: {}", chain(error)));
    }
    let matches = |snapshot: &Snapshot| {
        args.stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick)
            && args.tags.iter().all(|tag| snapshot.record.tags.contains(tag))
    };
    let chosen: Vec<&Snapshot> = list.snapshots.iter().filter(|snapshot| matches(snapshot)).collect();
    if context.global.json {
        let rows = chosen.iter().map(|snapshot| {
            let disk = snapshots::open_private(&repository, snapshot.id).ok().map(|private| private.disk);
            row(snapshot, disk)
        });
        output::json(&rows.collect::<Vec<_>>());
    } else if chosen.is_empty() {
        context.say("No snapshots.");
    } else {
        let rows = chosen.iter().map(|snapshot| {
            let record = &snapshot.record;
            vec![
                snapshot.id.short(),
                local_time(record.time_ms, record.utc_offset_s, false),
                record.stick.clone(),
                bytes(record.size),
                bytes(record.counts.bytes_stored),
                record.host.clone(),
                record.tags.join(", "),
                if record.counts.unreadable > 0 {
                    format!("{} unreadable", bytes(record.counts.unreadable))
                } else {
                    String::new()
                },
            ]
        });
        output::line(&output::table(&["Id", "Time", "Stick", "Size", "Added", "Host", "Tags", ""], &[3, 4], rows));
    }
    Ok(if list.damaged.is_empty() { DONE } else { WARNINGS })
}

fn row(snapshot: &Snapshot, disk: Option<sheaf::format::snapshot::DiskFacts>) -> Row {
    let record = snapshot.record.clone();
    let counts = record.counts;
    Row {
        id: snapshot.id.to_string(),
        time: local_time(record.time_ms, record.utc_offset_s, true),
        stick: record.stick,
        size: record.size,
        tags: record.tags,
        host: record.host,
        time_zone: record.time_zone,
        tool: record.tool,
        bytes_read: counts.bytes_read,
        bytes_kept: counts.bytes_kept,
        bytes_new: counts.bytes_new,
        bytes_stored: counts.bytes_stored,
        chunks: counts.chunks,
        chunks_new: counts.chunks_new,
        unreadable: counts.unreadable,
        seconds: counts.duration_ms as f64 / 1000.0,
        disk: disk.map(|disk| Disk {
            source: disk.source,
            sector_size: disk.sector_size,
            table_id: disk.table_id,
            serial: disk.serial,
            model: disk.model,
            label: disk.label,
        }),
    }
}

/// A moment in the local time of the machine that recorded it; in full per RFC 3339, or to the minute.
pub(crate) fn local_time(unix_ms: i64, utc_offset_s: i32, full: bool) -> String {
    let Ok(moment) = jiff::Timestamp::from_millisecond(unix_ms) else { return format!("{unix_ms} ms") };
    let offset = jiff::tz::Offset::from_seconds(utc_offset_s).unwrap_or(jiff::tz::Offset::UTC);
    let local = offset.to_datetime(moment);
    if full { moment.display_with_offset(offset).to_string() } else { local.strftime("%Y-%m-%d %H:%M").to_string() }
}
