//! `sheaf snapshots`

use super::backup::{Kept, LeftOut, shares};
use crate::cli::args::Snapshots;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use serde::Serialize;
use sheaf::format::snapshot::{ContainerFacts, VolumeRecord};
use sheaf::image::vhd::Geometry;
use sheaf::image::vhdx::Guid;
use sheaf::ops::monitor::Monitor;
use sheaf::repo::audit::{Order, Pins, read_all};
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::snapshots::{self, Snapshot};

#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    stick: String,
    size: u64,
    tags: Vec<String>,
    host: String,
    pinned: Option<bool>,
    made_by: Maker,
    copied_from: Option<CopiedFrom>,
    time_zone: Option<String>,
    tool: String,
    bytes_read: u64,
    bytes_kept: u64,
    bytes_new: u64,
    bytes_stored: u64,
    chunks: u64,
    chunks_new: u64,
    kept: Kept,
    left_out: LeftOut,
    unreadable: u64,
    seconds: f64,
    disk: Option<Disk>,
}

/// The key that made a snapshot, as the authority knows it.
#[derive(Serialize)]
struct Maker {
    key: String,
    label: String,
    role: &'static str,
}

/// What a copy is of, as the one who copied it says.
#[derive(Serialize)]
struct CopiedFrom {
    repository: String,
    snapshot: String,
    key: String,
    label: String,
}

#[derive(Serialize)]
struct Disk {
    source: String,
    sector_size: u32,
    table_id: Option<String>,
    serial: Option<String>,
    model: Option<String>,
    label: Option<String>,
    container: Option<Container>,
    volumes: Vec<Volume>,
}

/// A volume that was found on the disk, or on a disk in a file on it.
#[derive(Serialize)]
struct Volume {
    partition: Option<u32>,
    start: u64,
    size: u64,
    purpose: Option<String>,
    name: Option<String>,
    file_system: String,
    label: Option<String>,
    serial: Option<String>,
    by_files: bool,
    depth: u32,
    windows: Option<String>,
}

/// The virtual disk that a disk came in. Identifiers of a VHD are its bytes in order; those of a VHDX are in their usual form.
#[derive(Serialize)]
struct Container {
    format: String,
    kind: String,
    disk_id: String,
    creator: String,
    creator_version: Option<u32>,
    creator_system: Option<String>,
    block_size: Option<u32>,
    time_stamp: Option<u32>,
    geometry: Option<Chs>,
    logical_sector_size: Option<u32>,
    physical_sector_size: Option<u32>,
    content_id: Option<String>,
    parent_id: Option<String>,
}

#[derive(Serialize)]
struct Chs {
    cylinders: u16,
    heads: u8,
    sectors_per_track: u8,
}

pub(crate) fn run(context: &Context, args: &Snapshots) -> Result<u8, Failure> {
    let repository = context.open(Action::ListSnapshots)?;
    let list = snapshots::list(&repository)?;
    for (name, error) in &list.damaged {
        context.progress.warn(&format!("{name} cannot be shown: {}", chain(error)));
    }
    let pins = pins(&repository, &list.snapshots)?;
    let pinned = |snapshot: &Snapshot| pins.as_ref().map(|pins| pins.holds(&snapshot.id, &snapshot.maker.key));
    if let Some(name) = &args.snapshot {
        let snapshot = snapshots::resolve(&repository, name)?;
        let disk = snapshots::open_private(&repository, snapshot.id).ok().map(|private| private.disk);
        details(context, &row(&snapshot, disk, pinned(&snapshot)), shares(&snapshot.record.counts));
        return Ok(if list.damaged.is_empty() { DONE } else { WARNINGS });
    }
    let matches = |snapshot: &Snapshot| {
        args.stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick)
            && args.tags.iter().all(|tag| snapshot.record.tags.contains(tag))
    };
    let chosen: Vec<&Snapshot> = list.snapshots.iter().filter(|snapshot| matches(snapshot)).collect();
    if context.global.json {
        let rows = chosen.iter().map(|snapshot| {
            let disk = snapshots::open_private(&repository, snapshot.id).ok().map(|private| private.disk);
            row(snapshot, disk, pinned(snapshot))
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
                marks(pinned(snapshot) == Some(true), record.counts.unreadable),
            ]
        });
        output::line(&output::table(&["Id", "Time", "Stick", "Size", "Added", "Host", "Tags", ""], &[3, 4], rows));
    }
    Ok(if list.damaged.is_empty() { DONE } else { WARNINGS })
}

/// The pins; `None` for a key that sees its own snapshots alone, since it cannot tell whose word in the log counts.
fn pins(repository: &Repository, snapshots: &[Snapshot]) -> Result<Option<Pins>, Failure> {
    if snapshots.is_empty() || repository.keys().require(Action::KeepRepository).is_err() {
        return Ok(None);
    }
    let log = read_all(repository, None)?;
    Ok(Some(Pins::of(&log, &Order::of(&log))))
}

/// What is to be said of a snapshot in the list.
fn marks(pinned: bool, unreadable: u64) -> String {
    let pinned = pinned.then(|| "pinned".to_owned());
    let unreadable = (unreadable > 0).then(|| format!("{} unreadable", bytes(unreadable)));
    pinned.into_iter().chain(unreadable).collect::<Vec<_>>().join(", ")
}

fn row(snapshot: &Snapshot, disk: Option<sheaf::format::snapshot::DiskFacts>, pinned: Option<bool>) -> Row {
    let record = snapshot.record.clone();
    let counts = record.counts;
    Row {
        id: snapshot.id.to_string(),
        time: local_time(record.time_ms, record.utc_offset_s, true),
        stick: record.stick,
        size: record.size,
        tags: record.tags,
        host: record.host,
        pinned,
        made_by: Maker {
            key: snapshot.maker.key.to_string(),
            label: snapshot.maker.label.clone(),
            role: snapshot.maker.role.name(),
        },
        copied_from: record.origin.map(|origin| CopiedFrom {
            repository: sheaf::ids::to_hex(&*origin.repository),
            snapshot: sheaf::ids::to_hex(&*origin.snapshot),
            key: sheaf::ids::to_hex(&*origin.key),
            label: origin.label,
        }),
        time_zone: record.time_zone,
        tool: record.tool,
        bytes_read: counts.bytes_read,
        bytes_kept: counts.bytes_kept,
        bytes_new: counts.bytes_new,
        bytes_stored: counts.bytes_stored,
        chunks: counts.chunks,
        chunks_new: counts.chunks_new,
        kept: Kept::of(&counts),
        left_out: LeftOut::of(&counts),
        unreadable: counts.unreadable,
        seconds: counts.duration_ms as f64 / 1000.0,
        disk: disk.map(|disk| Disk {
            source: disk.source,
            sector_size: disk.sector_size,
            table_id: disk.table_id,
            serial: disk.serial,
            model: disk.model,
            label: disk.label,
            container: disk.container.map(container),
            volumes: disk.volumes.unwrap_or_default().into_iter().map(volume).collect(),
        }),
    }
}

fn volume(record: VolumeRecord) -> Volume {
    Volume {
        partition: record.number,
        start: record.start,
        size: record.length,
        purpose: record.purpose,
        name: record.name,
        file_system: record.file_system,
        label: record.label,
        serial: record.serial,
        by_files: record.by_files,
        depth: record.depth,
        windows: record.windows,
    }
}

/// A volume in one line.
fn describe(volume: &Volume) -> String {
    let label =
        volume.label.as_ref().or(volume.name.as_ref()).map_or_else(String::new, |label| format!(" \"{label}\""));
    let inside = if volume.depth > 0 { ", on a disk in a file" } else { "" };
    let whole = if volume.by_files { "" } else { ", kept whole" };
    let windows = volume.windows.as_ref().map_or_else(String::new, |windows| format!(", {windows}"));
    format!("{}{label}, {}{windows}{inside}{whole}", volume.file_system, bytes(volume.size))
}

fn container(facts: ContainerFacts) -> Container {
    let is_vhdx = facts.format == ContainerFacts::VHDX;
    let identifier = |id: &[u8; 16]| match is_vhdx {
        true => Guid(*id).to_string(),
        false => sheaf::ids::to_hex(id),
    };
    Container {
        format: facts.format,
        kind: facts.kind,
        disk_id: identifier(&facts.disk_id),
        creator: facts.creator,
        creator_version: facts.creator_version,
        creator_system: facts.creator_system,
        block_size: facts.block_size,
        time_stamp: facts.time_stamp,
        geometry: facts.geometry.map(|field| {
            let Geometry { cylinders, heads, sectors_per_track } = Geometry::from_field(field);
            Chs { cylinders, heads, sectors_per_track }
        }),
        logical_sector_size: facts.logical_sector_size,
        physical_sector_size: facts.physical_sector_size,
        content_id: facts.content_id.map(|id| identifier(&id)),
        parent_id: facts.parent_id.map(|id| identifier(&id)),
    }
}

/// The origin of a copy in one line.
fn origin(from: &CopiedFrom) -> String {
    let CopiedFrom { repository, snapshot, label, .. } = from;
    format!("snapshot {snapshot} of repository {repository}, signed by {label}")
}

/// Everything that is known of one snapshot, a line each.
fn details(context: &Context, row: &Row, shares: Option<String>) {
    if context.global.json {
        output::json(row);
        return;
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut lines = vec![
        ("Snapshot", row.id.clone()),
        ("Stick", row.stick.clone()),
        ("Time", row.time.clone()),
        ("Host", row.host.clone()),
        ("Signed by", format!("{}, {}", row.made_by.label, row.made_by.role)),
        ("Copied from", row.copied_from.as_ref().map_or_else(String::new, origin)),
        ("Tags", row.tags.join(", ")),
        ("Pinned", if row.pinned == Some(true) { "yes".to_owned() } else { String::new() }),
        ("Size", format!("{} bytes ({})", row.size, bytes(row.size))),
        ("Kept", format!("{} in {} chunks", bytes(row.bytes_kept), row.chunks)),
        ("Of that", shares.unwrap_or_default()),
        ("Added", format!("{} for {} new chunks", bytes(row.bytes_stored), row.chunks_new)),
        ("Unreadable", if row.unreadable > 0 { bytes(row.unreadable) } else { String::new() }),
        ("Made by", row.tool.clone()),
    ];
    match &row.disk {
        None => lines.push(("Disk", "this key cannot read it".to_owned())),
        Some(disk) => {
            lines.extend([
                ("Source", disk.source.clone()),
                ("Sector size", format!("{} bytes", disk.sector_size)),
                ("Partition table", text(&disk.table_id)),
                ("Serial", text(&disk.serial)),
                ("Model", text(&disk.model)),
                ("Label", text(&disk.label)),
            ]);
            for volume in &disk.volumes {
                lines.push((if volume.partition.is_some() { "Partition" } else { "Volume" }, {
                    let number = volume.partition.map_or_else(String::new, |number| format!("{number}: "));
                    format!("{number}{}", describe(volume))
                }));
            }
            if let Some(container) = &disk.container {
                let size = |size: Option<u32>| size.map(|size| bytes(size.into())).unwrap_or_default();
                let by = [Some(container.creator.clone()), container.creator_system.clone()];
                let chs = container.geometry.as_ref();
                lines.extend([
                    ("Container", format!("{} {}", container.kind, container.format.to_uppercase())),
                    ("Disk id", container.disk_id.clone()),
                    ("Content id", text(&container.content_id)),
                    ("Parent id", text(&container.parent_id)),
                    ("Creator", by.into_iter().flatten().collect::<Vec<_>>().join(", on ")),
                    ("Block size", size(container.block_size)),
                    ("Logical sector", size(container.logical_sector_size)),
                    ("Physical sector", size(container.physical_sector_size)),
                    (
                        "Geometry",
                        chs.map_or_else(String::new, |chs| {
                            format!(
                                "{} cylinders, {} heads, {} sectors",
                                chs.cylinders, chs.heads, chs.sectors_per_track
                            )
                        }),
                    ),
                ]);
            }
        }
    }
    // What a source says of itself may hold anything; a terminal must not be steered by it.
    let clean = |text: &str| text.replace(char::is_control, "\u{fffd}");
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(&format!("{:<16} {}", format!("{name}:"), clean(value)));
    }
}

/// A moment in the local time of the machine that recorded it; in full per RFC 3339, or to the minute.
pub(crate) fn local_time(unix_ms: i64, utc_offset_s: i32, full: bool) -> String {
    let Ok(moment) = jiff::Timestamp::from_millisecond(unix_ms) else { return format!("{unix_ms} ms") };
    let offset = jiff::tz::Offset::from_seconds(utc_offset_s).unwrap_or(jiff::tz::Offset::UTC);
    let local = offset.to_datetime(moment);
    if full { moment.display_with_offset(offset).to_string() } else { local.strftime("%Y-%m-%d %H:%M").to_string() }
}
