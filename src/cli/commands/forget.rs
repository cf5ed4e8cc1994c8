//! `sheaf forget`

use super::look::clean;
use super::snapshots::local_time;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::forget_args::{By, Forget, KeepArgs};
use crate::cli::ledger::Ledger;
use crate::cli::output::{self, count};
use serde::Serialize;
use sheaf::format::audit::AuditRecord;
use sheaf::ops::forget::policy::Policy;
use sheaf::ops::forget::{ForgetPlan, ForgetRequest, Group, GroupBy, Judged, Seen};
use sheaf::ops::monitor::Monitor;
use sheaf::repo::keyring::Action;
use sheaf::repo::snapshots::Snapshot;
use std::sync::Arc;

#[derive(Serialize)]
struct Document {
    dry_run: bool,
    groups: Vec<GroupRow>,
    named: Vec<Row>,
    damaged: Vec<String>,
    kept: usize,
    removed: usize,
}

#[derive(Serialize)]
struct GroupRow {
    stick: Option<String>,
    host: Option<String>,
    tags: Option<Vec<String>>,
    key: String,
    label: String,
    keep: Vec<Row>,
    remove: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    stick: String,
    host: String,
    tags: Vec<String>,
    reasons: Vec<String>,
}

pub(crate) fn run(context: &Context, args: Forget) -> Result<u8, Failure> {
    let policy = policy(args.keep);
    if args.snapshots.is_empty() && policy.is_empty() {
        return Err(Failure::usage("what is to be kept? Name a rule, such as --keep-daily 7, or snapshots to forget"));
    }
    let repository = context.open(Action::ForgetSnapshots)?;
    let seen = Seen::gather(&repository, Some(&context.cache()))?;
    for name in &seen.damaged {
        context.progress.warn(&format!("{name} is damaged, and is kept; its whole id as SNAPSHOT forgets it"));
    }
    let request = if args.snapshots.is_empty() {
        let by = |by| args.group_by.contains(&by) || (args.group_by.is_empty() && by == By::Stick);
        ForgetRequest::Policy {
            policy,
            stick: args.stick,
            tags: args.tags,
            group_by: GroupBy { stick: by(By::Stick), host: by(By::Host), tags: by(By::Tags) },
            now_ms: jiff::Timestamp::now().as_millisecond(),
            allow_gaps: args.allow_gaps,
        }
    } else {
        ForgetRequest::Named { names: args.snapshots, allow_pinned: args.allow_pinned }
    };
    let plan = ForgetPlan::make(&seen, &request)?;
    show(context, &plan);
    if args.dry_run {
        plan.allow(args.allow_last)?;
    } else {
        plan.apply(&repository, args.allow_last, &context.cancel, &mut |kind, ids| {
            context.write(Ledger::of_kind(Arc::clone(&repository), AuditRecord::FORGET, kind, ids))
        })?;
    }
    let removed = plan.objects().len();
    if context.global.json {
        let rows = |plan: &[Snapshot]| plan.iter().map(|snapshot| row(snapshot, Vec::new())).collect();
        output::json(&Document {
            dry_run: args.dry_run,
            groups: plan.groups.iter().map(group).collect(),
            named: rows(&plan.named),
            damaged: plan.damaged.iter().map(ToString::to_string).collect(),
            kept: seen.snapshots.len() + seen.damaged.len() - removed,
            removed,
        });
    }
    context.say(&match (args.dry_run, removed) {
        (_, 0) => "Nothing to forget.".to_owned(),
        (true, removed) => format!("Would forget {}.", count(removed as u64, "snapshot")),
        (false, removed) => {
            format!(
                "Forgot {}. The room that they took is given back by `sheaf prune`.",
                count(removed as u64, "snapshot")
            )
        }
    });
    Ok(DONE)
}

fn policy(keep: KeepArgs) -> Policy {
    Policy {
        last: keep.keep_last.unwrap_or_default(),
        hourly: keep.keep_hourly.unwrap_or_default(),
        daily: keep.keep_daily.unwrap_or_default(),
        weekly: keep.keep_weekly.unwrap_or_default(),
        monthly: keep.keep_monthly.unwrap_or_default(),
        yearly: keep.keep_yearly.unwrap_or_default(),
        within: keep.keep_within,
        tags: keep.keep_tags,
    }
}

/// The plan for people, a table a group.
fn show(context: &Context, plan: &ForgetPlan) {
    if context.global.json || context.global.quiet {
        return;
    }
    context.progress_end();
    for group in &plan.groups {
        let named = [
            group.stick.as_ref().map(|stick| format!("stick {stick}")),
            group.host.as_ref().map(|host| format!("host {host}")),
            group.tags.as_ref().map(|tags| format!("tags [{}]", tags.join(", "))),
            Some(format!("key `{}`", group.maker.label)),
        ];
        let named: Vec<String> = named.into_iter().flatten().collect();
        let keep = group.snapshots.iter().filter(|judged| !judged.keep.is_empty()).count();
        let remove = group.snapshots.len() - keep;
        output::line(&clean(&format!("{}: keep {keep}, remove {remove}", named.join(", "))));
        let rows = group.snapshots.iter().map(|judged| {
            let verb = if judged.keep.is_empty() { "remove" } else { "keep" };
            cells(&judged.snapshot, verb, reasons(judged).join("; "))
        });
        output::line(&output::table(&HEADING, &[], rows));
        output::line("");
    }
    if !plan.named.is_empty() {
        output::line(&output::table(
            &HEADING,
            &[],
            plan.named.iter().map(|one| cells(one, "remove", "named".to_owned())),
        ));
    }
    plan.damaged.iter().for_each(|name| output::line(&format!("{name}: remove, damaged and named")));
}

const HEADING: [&str; 7] = ["Id", "Time", "Stick", "Host", "Tags", "", "Reasons"];

fn cells(snapshot: &Snapshot, verb: &str, reasons: String) -> Vec<String> {
    let record = &snapshot.record;
    let time = local_time(record.time_ms, record.utc_offset_s, false);
    let cells = [
        snapshot.id.short(),
        time,
        record.stick.clone(),
        record.host.clone(),
        record.tags.join(", "),
        verb.to_owned(),
        reasons,
    ];
    cells.map(|cell| clean(&cell)).to_vec()
}

fn reasons(judged: &Judged) -> Vec<String> {
    if judged.keep.is_empty() {
        return vec!["no rule keeps it".to_owned()];
    }
    judged.keep.iter().map(ToString::to_string).collect()
}

fn group(group: &Group) -> GroupRow {
    let rows = |kept: bool| {
        let chosen = group.snapshots.iter().filter(|judged| judged.keep.is_empty() != kept);
        chosen.map(|judged| row(&judged.snapshot, reasons(judged))).collect()
    };
    GroupRow {
        stick: group.stick.clone(),
        host: group.host.clone(),
        tags: group.tags.clone(),
        key: group.maker.key.to_string(),
        label: group.maker.label.clone(),
        keep: rows(true),
        remove: rows(false),
    }
}

fn row(snapshot: &Snapshot, reasons: Vec<String>) -> Row {
    let record = &snapshot.record;
    Row {
        id: snapshot.id.to_string(),
        time: local_time(record.time_ms, record.utc_offset_s, true),
        stick: record.stick.clone(),
        host: record.host.clone(),
        tags: record.tags.clone(),
        reasons,
    }
}
