//! `sheaf check`

use crate::cli::args::Check;
use crate::cli::context::Context;
use crate::cli::failure::{DAMAGE, DONE, Failure};
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{CheckReport, Depth, Finding, FindingKind, check, mendable};
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::{RepoError, chain};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Serialize)]
struct Document {
    ok: bool,
    findings: Vec<Row>,
    snapshots: usize,
    packs: usize,
    chunks: u64,
    unlisted_packs: usize,
    stale_packs: usize,
    packs_read: usize,
    bytes_read: u64,
    chunks_opened: u64,
    audit_entries: usize,
    without_parity: usize,
    parity_read: usize,
}

#[derive(Serialize)]
pub(super) struct Row {
    kind: &'static str,
    object: String,
    detail: String,
    snapshots: Vec<String>,
    sticks: Vec<String>,
    mendable: Option<bool>,
}

pub(crate) fn run(context: &Context, args: &Check) -> Result<u8, Failure> {
    let report = match open(context)? {
        Ok(repository) => {
            let scratch = context.cache().join(format!("check-{}-{}", repository.id().short(), std::process::id()));
            let depth = args.read_data.map_or(Depth::Structure, Depth::Data);
            context.begin(&repository, "check");
            check(&repository, &scratch, Some(&context.cache()), depth, &context.progress, &context.cancel)?
        }
        Err(finding) => CheckReport { findings: vec![finding], ..CheckReport::default() },
    };
    show(context, &report, args.read_data);
    Ok(if report.is_ok() { DONE } else { DAMAGE })
}

/// Opens the repository; what keeps it from being opened because it is damaged is a finding.
fn open(context: &Context) -> Result<Result<Arc<Repository>, Finding>, Failure> {
    let storage = context.storage()?;
    let finding = |kind, object, error: &RepoError| -> Result<Finding, Failure> {
        let (snapshots, sticks) = (BTreeSet::new(), BTreeSet::new());
        let mut finding = Finding { kind, object, detail: chain(error), snapshots, sticks, mendable: None };
        // Whether the repository makes parity stands in what cannot be read: it makes some where there is some.
        if !storage.list(ObjectKind::Parity)?.is_empty() {
            finding.mendable = mendable(&*storage, &finding)?;
        }
        Ok(finding)
    };
    let locked = match Repository::open(Arc::clone(&storage)) {
        Ok(locked) => locked,
        Err(error) if error.is_damage() => {
            return Ok(Err(finding(FindingKind::ConfigDamaged, ObjectName::CONFIG, &error)?));
        }
        Err(error) => return Err(error.into()),
    };
    match locked.unlock_for(&context.credential()?, Action::KeepRepository) {
        Ok(repository) => {
            repository.keys().require(Action::KeepRepository)?;
            Ok(Ok(Arc::new(repository)))
        }
        Err(error @ RepoError::ConfigChanged) => {
            Ok(Err(finding(FindingKind::ConfigDamaged, ObjectName::CONFIG, &error)?))
        }
        Err(error @ RepoError::NoUsableKey { .. }) => {
            let keys = storage.list(ObjectKind::Key)?;
            Ok(Err(match keys.first() {
                Some(key) => finding(FindingKind::KeyDamaged, key.name, &error)?,
                None => {
                    finding(FindingKind::KeyMissing, ObjectName::new(ObjectKind::Key, ObjectId::new([0; 32])), &error)?
                }
            }))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(context: &Context, report: &CheckReport, read_data: Option<u8>) {
    if context.global.json {
        output::json(&Document {
            ok: report.is_ok(),
            findings: report.findings.iter().map(row).collect(),
            snapshots: report.snapshots,
            packs: report.packs,
            chunks: report.chunks,
            unlisted_packs: report.unlisted_packs,
            stale_packs: report.stale_packs,
            packs_read: report.packs_read,
            bytes_read: report.bytes_read,
            chunks_opened: report.chunks_opened,
            audit_entries: report.audit_entries,
            without_parity: report.without_parity,
            parity_read: report.parity_read,
        });
        return;
    }
    context.progress_end();
    show_findings(&report.findings);
    context.say(&format!(
        "Checked {}, {}, {}.",
        count(report.snapshots as u64, "snapshot"),
        count(report.packs as u64, "pack"),
        count(report.chunks, "chunk")
    ));
    if read_data.is_some() {
        context.say(&format!(
            "Read {} in {}; opened {}.",
            bytes(report.bytes_read),
            count(report.packs_read as u64, "pack"),
            count(report.chunks_opened, "chunk")
        ));
    }
    if report.unlisted_packs > 0 {
        context.say(&format!(
            "{} left by an interrupted backup; the next backup uses what is good in them.",
            count(report.unlisted_packs as u64, "pack")
        ));
    }
    if report.without_parity > 0 {
        context.say(&format!(
            "{} without parity, as an interrupted writer leaves them: nothing mends them until `sheaf repair` gives them some.",
            count(report.without_parity as u64, "object")
        ));
    }
    context.say(if report.is_ok() {
        "No damage."
    } else {
        "DAMAGE: see above. What is not named there still restores."
    });
}

/// Prints findings, with the snapshots that each touches.
pub(super) fn show_findings(findings: &[Finding]) {
    for finding in findings {
        output::line(&format!("{}: {}: {}", finding.kind.name(), finding.object, finding.detail));
        if !finding.snapshots.is_empty() {
            let ids: Vec<_> = finding.snapshots.iter().map(ObjectId::short).collect();
            let sticks: Vec<_> = finding.sticks.iter().map(String::as_str).collect();
            output::line(&format!("    touches snapshots {} of {}", ids.join(", "), sticks.join(", ")));
        }
        match finding.mendable {
            Some(true) => output::line("    parity can mend it"),
            Some(false) => output::line("    parity cannot mend it"),
            None => {}
        }
    }
}

pub(super) fn row(finding: &Finding) -> Row {
    Row {
        kind: finding.kind.name(),
        object: finding.object.to_string(),
        detail: finding.detail.clone(),
        snapshots: finding.snapshots.iter().map(ToString::to_string).collect(),
        sticks: finding.sticks.iter().cloned().collect(),
        mendable: finding.mendable,
    }
}
