//! `sheaf repair`

use super::check::{Row, row, show_findings};
use super::losses;
use crate::cli::context::Context;
use crate::cli::failure::{DAMAGE, DONE, Failure};
use crate::cli::output::{self, bytes, count};
use crate::cli::repair_args::Repair;
use serde::Serialize;
use sheaf::disk::ReadAt;
use sheaf::image::Source;
use sheaf::names::ObjectName;
use sheaf::ops::check::{Finding, FindingKind};
use sheaf::ops::monitor::Monitor;
use sheaf::ops::repair::{BrokenSnapshot, RepairPlan, RepairReport, RepairSource, Step, Why, mend_entrance};
use sheaf::repo::RepoError;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Serialize, Default)]
struct Document {
    /// Nothing was damaged, or all of it is mended.
    ok: bool,
    applied: bool,
    steps: Vec<StepRow>,
    chunks_wanted: usize,
    chunks_found: usize,
    chunks_missing: usize,
    findings: Vec<Row>,
    remaining: Vec<Row>,
    broken: Vec<BrokenRow>,
    aside: Vec<String>,
    packs_written: u64,
    bytes_written: u64,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct StepRow {
    step: &'static str,
    object: Option<String>,
    source: Option<String>,
    chunks: Option<usize>,
    text: String,
}

#[derive(Serialize)]
struct BrokenRow {
    snapshot: String,
    stick: String,
    time_ms: i64,
    /// What of it is lost; nothing where this key does not read it.
    lost: Option<losses::Document>,
}

pub(crate) fn run(context: &Context, args: &Repair) -> Result<u8, Failure> {
    // The disks first: a wrong name should not cost a password.
    let mut sources = Vec::new();
    for path in &args.from {
        let source = Source::open(path, None, &[])?;
        for warning in source.warnings() {
            context.progress.warn(&format!("{}: {warning}", path.display()));
        }
        let disk: Arc<dyn ReadAt> = Arc::new(source);
        sources.push(RepairSource { name: path.display().to_string(), disk });
    }
    let (repository, mended) = open(context, args.dry_run)?;
    if !args.dry_run {
        context.begin(&repository, "repair");
    }
    let done: Vec<Step> = mended.into_iter().map(|object| Step::FromParity { object }).collect();
    let mut document = Document { steps: done.iter().map(step_row).collect(), ..Document::default() };
    let mut report = RepairReport { done, ..RepairReport::default() };
    let (mut round, mut told) = (0, BTreeSet::new());
    loop {
        let scratch = context.cache().join(format!("repair-{}-{}", repository.id().short(), std::process::id()));
        let (progress, cancel) = (&context.progress, &context.cancel);
        let folders = (scratch.as_path(), context.cache());
        let plan = RepairPlan::make(
            &repository,
            (folders.0, &folders.1),
            sources.clone(),
            args.delete_damaged,
            progress,
            cancel,
        )?;
        // What stays is found in each round.
        let is_new = |finding: &&Finding| told.insert((finding.kind, finding.object));
        let findings: Vec<Finding> = plan.findings.iter().filter(is_new).cloned().collect();
        let notes: Vec<String> = plan.notes.iter().filter(|note| !document.notes.contains(note)).cloned().collect();
        show_plan(context, &plan, (&findings, &notes), !report.done.is_empty());
        document.add(&plan, &findings, notes);
        if args.dry_run {
            let broken = plan.broken(cancel)?;
            document.broken = broken.iter().map(broken_row).collect();
            document.ok = plan.findings.is_empty();
            if context.global.json {
                output::json(&document);
            } else {
                show_broken(context, &broken);
                context.say("Nothing was changed.");
            }
            return Ok(if document.ok { DONE } else { DAMAGE });
        }
        let goes_on = plan.goes_on();
        report = report.followed_by(plan.apply(progress, cancel)?);
        // What was mended may show what else is needed; a medium that takes nothing must not keep us for ever.
        if goes_on && round < MOST_ROUNDS {
            round += 1;
            continue;
        }
        for broken in &report.broken {
            context.note(|entry| entry.snapshot(broken.snapshot.id));
        }
        if !report.broken.is_empty() {
            let text = format!("snapshots that stay broken: {}", report.broken.len());
            context.note(|entry| entry.detail(text));
        }
        document.ok = report.remaining.is_empty();
        finish(context, document, &report);
        return Ok(if report.remaining.is_empty() { DONE } else { DAMAGE });
    }
}

/// How often parity may show that there is more to mend.
const MOST_ROUNDS: usize = 8;

/// Opens the repository, also one whose config is gone or damaged: each key bundle holds it. With what had to be mended for that.
fn open(context: &Context, dry_run: bool) -> Result<(Arc<Repository>, Vec<ObjectName>), Failure> {
    let storage = context.storage()?;
    let credential = context.credential()?;
    let unlock =
        || Repository::open(Arc::clone(&storage)).and_then(|locked| locked.unlock_for(&credential, Action::Repair));
    let (mut opened, mut mended) = (unlock(), Vec::new());
    if !dry_run && opened.as_ref().is_err_and(|error| concerns_config(error) || concerns_keys(error)) {
        // Parity needs no key, and may give back what the keys need.
        mended = mend_entrance(&*storage)?;
        for object in &mended {
            context.say(&format!("Mended {object} from its parity."));
        }
        if !mended.is_empty() {
            opened = unlock();
        }
    }
    let repository = match opened {
        Err(error) if concerns_config(&error) => Repository::recover(storage, &credential, Action::Repair)?,
        opened => opened?,
    };
    repository.keys().require(Action::Repair)?;
    Ok((Arc::new(repository), mended))
}

/// True where a key bundle that is damaged or gone may be why.
const fn concerns_keys(error: &RepoError) -> bool {
    matches!(error, RepoError::NoUsableKey { .. } | RepoError::WrongPassword { .. } | RepoError::WrongKey { .. })
}

fn concerns_config(error: &RepoError) -> bool {
    match error {
        RepoError::ConfigMissing { .. } | RepoError::ConfigChanged => true,
        // Bundles are told apart from the config by an error of their own.
        error => error.is_damage(),
    }
}

impl Document {
    /// Adds a plan, behind those that were applied, and what it finds and notes that they did not.
    fn add(&mut self, plan: &RepairPlan, findings: &[Finding], notes: Vec<String>) {
        self.steps.extend(plan.steps().iter().map(step_row));
        self.chunks_found += plan.found();
        self.chunks_missing = plan.missing();
        self.chunks_wanted = self.chunks_found + self.chunks_missing;
        self.findings.extend(findings.iter().map(row));
        self.notes.extend(notes);
    }
}

/// Says what was found that is new, and what is to be done; behind what was done already, that there is nothing more goes without saying.
fn show_plan(context: &Context, plan: &RepairPlan, (findings, notes): (&[Finding], &[String]), is_further: bool) {
    if context.global.json {
        return;
    }
    context.progress_end();
    show_findings(findings);
    if plan.wanted > 0 {
        context.say(&format!(
            "{} that snapshots need {} in no sound pack: {} found, {} missing.",
            count(plan.wanted as u64, "chunk"),
            if plan.wanted == 1 { "is" } else { "are" },
            plan.found(),
            plan.missing()
        ));
    }
    for step in plan.steps() {
        context.say(&format!("  {}", text(step)));
    }
    for note in notes {
        context.progress.warn(note);
    }
    if plan.is_empty() && !(is_further && plan.findings.is_empty()) {
        let nothing = if plan.findings.is_empty() {
            "No damage: nothing to repair."
        } else {
            "Nothing of this can be repaired here."
        };
        context.say(nothing);
    }
}

fn finish(context: &Context, document: Document, report: &RepairReport) {
    if context.global.json {
        output::json(&Document {
            applied: true,
            remaining: report.remaining.iter().map(row).collect(),
            broken: report.broken.iter().map(broken_row).collect(),
            aside: report.aside.iter().map(ToString::to_string).collect(),
            packs_written: report.packs_written,
            bytes_written: report.bytes_written,
            ..document
        });
        return;
    }
    context.progress_end();
    if report.packs_written > 0 {
        let packs = count(report.packs_written, "pack");
        context.say(&format!("Stored {} of chunks in {packs}.", bytes(report.bytes_written)));
    }
    if !report.aside.is_empty() {
        context.say(&format!(
            "Moved {} aside, into the folder `damaged` of the repository.",
            count(report.aside.len() as u64, "object")
        ));
    }
    show_broken(context, &report.broken);
    if report.remaining.is_empty() {
        if !report.done.is_empty() {
            context.say("All damage is mended.");
        }
        return;
    }
    context.say("What stays:");
    show_findings(&report.remaining);
    let lost = [FindingKind::ChunkMissing, FindingKind::ManifestDamaged, FindingKind::ReferencesDamaged];
    if report.remaining.iter().any(|finding| lost.contains(&finding.kind)) {
        context.say(
            "A disk that still has what is missing brings it back: `sheaf repair --from DISK`. Another backup of the stick does not \
             depend on it, and `sheaf restore --allow-damaged` restores the rest.",
        );
    }
}

fn show_broken(context: &Context, broken: &[BrokenSnapshot]) {
    for BrokenSnapshot { snapshot, losses } in broken {
        context.say(&format!("Snapshot {} of {} stays broken:", snapshot.id.short(), snapshot.record.stick));
        match losses {
            Some(losses) if losses.is_empty() => {
                context.say("    all of its disk can be read; what is missing is of the list that checks go by");
            }
            Some(losses) => losses::show(context, losses, "cannot be had"),
            None => context.say("    a key that reads it tells which parts of its disk are lost"),
        }
    }
}

fn broken_row(broken: &BrokenSnapshot) -> BrokenRow {
    let record = &broken.snapshot.record;
    BrokenRow {
        snapshot: broken.snapshot.id.to_string(),
        stick: record.stick.clone(),
        time_ms: record.time_ms,
        lost: broken.losses.as_ref().map(losses::document),
    }
}

fn step_row(step: &Step) -> StepRow {
    let (name, object, source, chunks) = match step {
        Step::PutConfig { .. } => ("put-config", Some("config".to_owned()), None, None),
        Step::RemakeParity { object } => ("remake-parity", Some(object.to_string()), None, None),
        Step::FromParity { object } => ("from-parity", Some(object.to_string()), None, None),
        Step::Salvage { pack, chunks, .. } => ("salvage", Some(pack.to_string()), None, Some(*chunks)),
        Step::FromSource { source, chunks } => ("from-source", None, Some(source.clone()), Some(*chunks)),
        Step::ListPacks { .. } => ("list-packs", None, None, None),
        Step::SetAside { object, .. } => ("set-aside", Some(object.to_string()), None, None),
        Step::DeleteAside { name, .. } => ("delete-aside", Some(name.to_string()), None, None),
        _ => ("other", None, None, None),
    };
    StepRow { step: name, object, source, chunks, text: text(step) }
}

/// A step in a sentence.
fn text(step: &Step) -> String {
    let chunks = |number: usize| count(number as u64, "chunk");
    match step {
        Step::PutConfig { replaces: true } => "move the config aside and put that of a key bundle there".to_owned(),
        Step::PutConfig { replaces: false } => "put the config of a key bundle there".to_owned(),
        Step::RemakeParity { object } => format!("make the parity of {object} anew"),
        Step::FromParity { object } => format!("mend {object} with its parity"),
        Step::Salvage { pack, chunks: good, lost: 0 } => format!("store {} of {pack} anew", chunks(*good)),
        Step::Salvage { pack, chunks: good, lost } => {
            format!("store {} of {pack} anew, which are good; {lost} that are needed are not", chunks(*good))
        }
        Step::FromSource { source, chunks: number } => format!("store {} that {source} still has", chunks(*number)),
        Step::ListPacks { packs, supersedes } => format!(
            "list {} in a new index segment{}",
            count(*packs as u64, "pack"),
            if supersedes.is_empty() {
                String::new()
            } else {
                format!(" in place of {}", count(supersedes.len() as u64, "segment"))
            }
        ),
        Step::SetAside { object, why } => format!(
            "move {object} aside: {}",
            match why {
                Why::Damaged => "its bytes are damaged",
                Why::Unusable => "it cannot be used as it was written",
                Why::Superseded => "it lists packs that are gone",
                Why::Orphan => "the object that it is the parity of is gone, and does not come back by it",
                _ => "it is of no use",
            }
        ),
        Step::DeleteAside { name, size } => format!("delete {name}, {}, for good", bytes(*size)),
        _ => "do what this program has no words for".to_owned(),
    }
}
