//! `sheaf audit`: who did what with the repository.

use super::check::show_findings;
use super::look::clean;
use super::snapshots::local_time;
use crate::cli::args::Audit;
use crate::cli::context::Context;
use crate::cli::failure::{DAMAGE, DONE, Failure};
use crate::cli::output;
use serde::Serialize;
use sheaf::ids::{ObjectId, to_hex};
use sheaf::ops::audit::{AuditReport, verify};
use sheaf::ops::monitor::Monitor;
use sheaf::repo::audit::{Entry, read_all};
use sheaf::repo::keyring::Action;
use sheaf::repo::{chain, snapshots};

#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    key: String,
    label: String,
    role: String,
    host: String,
    action: String,
    result: String,
    snapshots: Vec<String>,
    about_key: Option<String>,
    detail: Option<String>,
    previous: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Audit) -> Result<u8, Failure> {
    let repository = context.open(Action::ReadLog)?;
    let cache = context.cache();
    let report = if args.verify {
        let snapshots = snapshots::list(&repository)?.snapshots;
        verify(&repository, Some(&cache), &snapshots)?
    } else {
        let log = read_all(&repository, Some(&cache))?;
        for (name, error) in &log.damaged {
            context.progress.warn(&format!("{name} cannot be read: {}", chain(error)));
        }
        if !log.missing.is_empty() {
            context.progress.warn(&format!("{} entries are missing; --verify says which", log.missing.len()));
        }
        AuditReport { log, findings: Vec::new() }
    };
    let skip = args.last.map_or(0, |last| report.log.entries.len().saturating_sub(last));
    let rows: Vec<Row> = report.log.entries.iter().skip(skip).map(row).collect();
    if context.global.json {
        output::json(
            &serde_json::json!({ "entries": rows, "findings": report.findings.iter().map(super::check::row).collect::<Vec<_>>() }),
        );
    } else {
        context.progress_end();
        let cells = rows.iter().map(|row| {
            let about = row.snapshots.first().map(|id| match row.snapshots.len() {
                1 => id[..8].to_owned(),
                more => format!("{} and {} more", &id[..8], more - 1),
            });
            let detail = row.detail.clone().unwrap_or_default();
            let time = row.time.get(..16).unwrap_or_default().replace('T', " ");
            let cells = [
                time,
                row.label.clone(),
                row.host.clone(),
                row.action.clone(),
                about.unwrap_or_default(),
                detail,
                row.result.clone(),
            ];
            cells.map(|cell| clean(&cell)).to_vec()
        });
        output::line(&output::table(&["Time", "Key", "Host", "What", "Snapshot", "", "Result"], &[], cells));
        show_findings(&report.findings);
    }
    if args.verify && report.findings.is_empty() {
        let count = report.log.entries.len();
        context.say(&format!("Verified the log, {count} long: nothing is missing or changed."));
    }
    Ok(if report.findings.is_empty() { DONE } else { DAMAGE })
}

fn row(entry: &Entry) -> Row {
    let maker = entry.maker.as_ref();
    let record = entry.record.as_ref();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Row {
        id: entry.id.to_string(),
        time: local_time(entry.time_ms, 0, true),
        key: entry.key.to_string(),
        label: text(maker.map(|maker| maker.label.as_str())),
        role: text(maker.map(|maker| maker.role.name())),
        host: text(record.map(|record| record.host.as_str())),
        action: text(record.map(|record| record.action.as_str())),
        result: text(record.map(|record| record.result.as_str())),
        snapshots: entry.subjects.iter().map(ObjectId::to_string).collect(),
        about_key: record.and_then(|record| record.key.as_ref()).map(|key| to_hex(&**key)),
        detail: record.and_then(|record| record.detail.clone()),
        previous: entry.previous.iter().map(ObjectId::to_string).collect(),
    }
}
