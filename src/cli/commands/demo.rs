//! `sheaf demo`: everything once, on an image that is made for it.

use super::init::TOOL;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, FAILED, Failure};
use crate::cli::output::{self, bytes};
use sheaf::crypto::password::{Password, PasswordCost};
use sheaf::disk::ReadAt;
use sheaf::format::config::{Chunking, Config, ConfigRecord};
use sheaf::format::session::SessionKind;
use sheaf::format::snapshot::DiskFacts;
use sheaf::image::RawDisk;
use sheaf::layout::Keep;
use sheaf::ops::backup::{BackupPlan, BackupReport, BackupRequest, WallTime, backup};
use sheaf::ops::browse::{Browser, DiskPath, Target, copy_content, resolve};
use sheaf::ops::check::{Depth, check};
use sheaf::ops::container::TargetFormat;
use sheaf::ops::demo::{DOCUMENT, make_stick, use_stick};
use sheaf::ops::monitor::Silent;
use sheaf::ops::restore::{RestorePlan, RestoreRequest};
use sheaf::ops::{OpsError, session};
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::snapshots;
use sheaf::repo::view::SnapshotDisk;
use sheaf::storage::local::LocalStorage;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn run(context: &Context, folder: Option<PathBuf>) -> Result<u8, Failure> {
    let keep = folder.is_some();
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("sheaf-demo-{}", std::process::id())));
    let made = std::fs::create_dir(&folder);
    made.map_err(|error| Failure::io(&format!("making the folder {}", folder.display()), &error))?;
    let result = demo(context, &folder);
    if !keep {
        _ = std::fs::remove_dir_all(&folder);
    }
    result?;
    context.say("");
    context.say("With a real stick (its drive is /dev/sdX; `lsblk` shows which):");
    context.say("  sudo sheaf init -r /mnt/backups/sticks");
    context.say("  sudo sheaf backup -r /mnt/backups/sticks /dev/sdX --stick ana");
    context.say("  sudo sheaf restore -r /mnt/backups/sticks ana:latest --to /dev/sdY --verify");
    if keep {
        context.say(&format!("Everything is in {}; the password is `demo`.", folder.display()));
    }
    Ok(DONE)
}

fn demo(context: &Context, folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::io(&format!("writing to {}", folder.display()), &error);
    let stick = folder.join("stick.img");
    let repo = folder.join("repo");
    let cache = folder.join("cache");
    make_stick(&stick, 0x0a0a_5ea5).map_err(failed)?;
    context.say(&format!("Made a stick image of {}: {}", bytes(sheaf::ops::demo::SIZE), stick.display()));

    let password = Password::new(b"demo".to_vec());
    let options = InitOptions {
        config: ConfigRecord {
            created_ms: jiff::Timestamp::now().as_millisecond(),
            chunking: Chunking::DEFAULT,
            pack_size: Config::DEFAULT_PACK_SIZE,
            compression_level: 3,
            parity: 0,
            tool: TOOL.to_owned(),
        },
        label: "demo".to_owned(),
        cost: PasswordCost::default(),
    };
    let repository = Arc::new(Repository::init(Arc::new(LocalStorage::create(&repo)?), options, &password)?);
    context.say(&format!("Made an encrypted repository: {}", repo.display()));

    let (store, _) = session::prepare(Arc::clone(&repository), SessionKind::Writes, "demo", &cache, &Silent)?;
    let first = back_up(context, &store, &stick, "first backup: ")?;
    std::fs::copy(&stick, folder.join("stick-before.img")).map_err(failed)?;
    use_stick(&stick).map_err(failed)?;
    let second = back_up(context, &store, &stick, "after a day of use: ")?;

    let report = check(&repository, &folder.join("check"), None, Depth::Data(100), &Silent, &context.cancel)?;
    if !report.is_ok() {
        return Err(defect("the check found damage"));
    }
    context.say(&format!("Checked all: {} chunks read, opened and proven.", report.chunks_opened));

    for (report, original, name) in
        [(&first, "stick-before.img", "restored-1.img"), (&second, "stick.img", "restored-2.img")]
    {
        let target = folder.join(name);
        let snapshot = snapshots::read(&repository, report.snapshot)?;
        let disk = SnapshotDisk::open(store.clone(), snapshot)?;
        let request = RestoreRequest {
            target: target.clone(),
            format: TargetFormat::Raw,
            block_size: None,
            force: false,
            verify: true,
            allow_damaged: false,
        };
        RestorePlan::make(&disk, request)?.apply(&disk, &Silent, &context.cancel)?;
        if !same(&target, &folder.join(original)).map_err(failed)? {
            return Err(defect("a restored image differs"));
        }
        context.say(&format!("Restored snapshot {}: the same, byte for byte.", report.snapshot.short()));
    }
    let bytes_of_file = take_out(context, &store, &first, &folder.join("stick-before.img"))?;
    context.say(&format!(
        "Took {DOCUMENT} out of snapshot {}: {}, the same.",
        first.snapshot.short(),
        bytes(bytes_of_file)
    ));
    if context.global.json {
        output::json(&serde_json::json!({
            "ok": true,
            "bytes_of_file": bytes_of_file,
            "snapshots": [first.snapshot.to_string(), second.snapshot.to_string()],
            "bytes_new": [first.counts.bytes_new, second.counts.bytes_new],
            "bytes_stored": [first.counts.bytes_stored, second.counts.bytes_stored],
        }));
    }
    Ok(())
}

/// Reads one file out of a snapshot, and out of the image that it was made of; returns its bytes.
fn take_out(context: &Context, store: &ChunkStore, report: &BackupReport, original: &Path) -> Result<u64, Failure> {
    let snapshot = snapshots::read(&store.repository, report.snapshot)?;
    let disks: [Arc<dyn ReadAt>; 2] =
        [Arc::new(SnapshotDisk::open(store.clone(), snapshot)?), Arc::new(RawDisk::open(original)?)];
    let mut contents = Vec::new();
    for disk in disks {
        let Target::Node(found) = resolve(&Browser::open(disk)?, &DiskPath::parse(DOCUMENT)?, false, false)? else {
            return Err(defect("a file is a disk"));
        };
        let mut content = Vec::new();
        copy_content(&*found.open(None)?, DOCUMENT, &mut content, &context.cancel)?;
        contents.push(content);
    }
    match contents.as_slice() {
        [one, other] if one == other => Ok(one.len() as u64),
        _ => Err(defect("a file that was taken out differs")),
    }
}

fn defect(message: &str) -> Failure {
    Failure { status: FAILED, message: format!("{message}: this is a defect of sheaf, please report it"), hint: None }
}

fn back_up(context: &Context, store: &ChunkStore, stick: &Path, title: &str) -> Result<BackupReport, Failure> {
    let source: Arc<dyn ReadAt> = Arc::new(RawDisk::open(stick)?);
    let gone = |source| OpsError::Source { source_name: stick.display().to_string(), source };
    let plan = BackupPlan::make(&source, Keep::default()).map_err(gone)?;
    let now = jiff::Zoned::now();
    let request = BackupRequest {
        stick: "demo".to_owned(),
        tags: Vec::new(),
        host: "demo".to_owned(),
        time: WallTime {
            unix_ms: now.timestamp().as_millisecond(),
            utc_offset_s: now.offset().seconds(),
            zone: now.time_zone().iana_name().map(str::to_owned),
        },
        disk: DiskFacts { sector_size: 512, source: stick.display().to_string(), ..DiskFacts::default() },
        tool: TOOL.to_owned(),
    };
    let report = backup(store, &*source, &plan, request, &Silent, &context.cancel)?;
    context.say(&format!(
        "Snapshot {}, {title}{} new, stored in {}.",
        report.snapshot.short(),
        bytes(report.counts.bytes_new),
        bytes(report.counts.bytes_stored)
    ));
    Ok(report)
}

fn same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let open = |path| std::fs::File::open(path).map(std::io::BufReader::new);
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
