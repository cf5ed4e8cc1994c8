//! `sheaf key`: who may do what with the repository.
//!
//! Always true here: a key or password is printed by nothing but `--print`, which asks for exactly that.

use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::key_args::{KeyAction, KeyAdd, Protect};
use crate::cli::{key_file, output, password};
use serde::Serialize;
use sheaf::crypto::password::{Password, PasswordCost};
use sheaf::crypto::{printed, recipient};
use sheaf::format::audit::AuditRecord;
use sheaf::format::certificate::{Certificate, Role};
use sheaf::format::keys::Protection;
use sheaf::ids::RecipientId;
use sheaf::names::ObjectName;
use sheaf::ops::monitor::Monitor;
use sheaf::repo::bundles::{self, Bundle, Lock, Revocation};
use sheaf::repo::chain;
use sheaf::repo::keyring::{Action, NewKey};
use sheaf::repo::open::Repository;
use sheaf::repo::rotation::Rotation;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

#[derive(Serialize)]
struct Row {
    id: String,
    label: String,
    role: &'static str,
    created: String,
    protection: &'static str,
    bundle: String,
    used: bool,
}

pub(crate) fn run(context: &Context, action: KeyAction) -> Result<u8, Failure> {
    match action {
        KeyAction::Add(args) => add(context, &args),
        KeyAction::List => list(context),
        KeyAction::Show { key } => show(context, key.as_deref()),
        KeyAction::Passwd(args) => passwd(context, &args),
        KeyAction::Revoke { key, dry_run } => revoke(context, &key, dry_run),
        KeyAction::Rotate { dry_run } => rotate(context, dry_run),
        KeyAction::Export { key, to } => export(context, &key, &to),
        KeyAction::Import { file } => import(context, &file),
        KeyAction::Generate { file } => generate(context, &file),
    }
}

/// What a new bundle is protected with, while it is made.
enum Chosen {
    Password(Password, PasswordCost),
    Key(RecipientId, Option<Zeroizing<String>>),
}

impl Chosen {
    fn ask(context: &Context, protect: &Protect) -> Result<Self, Failure> {
        if protect.print {
            if context.global.json {
                return Err(Failure::usage("--print writes a key for a person to keep; it does not go with --json"));
            }
            let (private, public) = recipient::generate().map_err(|error| Failure::usage(error.to_string()))?;
            return Ok(Self::Key(public, Some(printed::secret(&private))));
        }
        if let Some(text) = &protect.to_key {
            let key = printed::read_public(text).map_err(|error| Failure::usage(error.to_string()))?;
            return Ok(Self::Key(key, None));
        }
        let warn = |text: &str| context.progress.warn(text);
        let password = password::get_new(protect.new_password_file.as_deref(), &warn)?;
        let cost = PasswordCost { memory_kib: protect.password_memory << 10, ..PasswordCost::default() };
        Ok(Self::Password(password, cost))
    }

    const fn lock(&self) -> Lock<'_> {
        match self {
            Self::Password(password, cost) => Lock::Password(password, *cost),
            Self::Key(key, _) => Lock::Recipient(*key),
        }
    }

    /// Prints the key that was asked for, once its bundle is stored.
    fn print(&self, context: &Context) {
        if let Self::Key(_, Some(text)) = self {
            context.say("Keep this key on paper. It is typed where the password is asked for, and is shown only now:");
            output::line(text);
        }
    }
}

fn add(context: &Context, args: &KeyAdd) -> Result<u8, Failure> {
    if args.owner.is_some() && args.role != Role::Depositor {
        return Err(Failure::usage("--owner is for a depositor: whoever else may read has a key of its own"));
    }
    let repository = context.open(Action::ManageKeys)?;
    let owner = args.owner.as_deref().map(|name| owner_key(&repository, name)).transpose()?;
    let chosen = Chosen::ask(context, &args.protect)?;
    context.begin(&repository, "key add");
    context.note(|entry| entry.detail(format!("{}, {}", args.label, args.role)));
    let created_ms = jiff::Timestamp::now().as_millisecond();
    let new = NewKey { role: args.role, label: args.label.clone(), created_ms, owner };
    let bundle = bundles::add(&repository, &new, chosen.lock())?;
    context.note(|entry| entry.bundle(bundle.certificate.key, bundle.name));
    if context.global.json {
        output::json(&row(&repository, &bundle));
    }
    let Certificate { key, label, role, .. } = &bundle.certificate;
    context.say(&format!("Made the key `{label}`, {role}: {}.", key.short()));
    context.say(abilities(*role));
    chosen.print(context);
    Ok(DONE)
}

/// The public key of an owner, to whom a depositor's snapshots are sealed.
fn owner_key(repository: &Repository, name: &str) -> Result<RecipientId, Failure> {
    let bundle = bundles::resolve(repository, name)?;
    let Certificate { role, label, owner, .. } = &bundle.certificate;
    owner
        .filter(|_| *role == Role::Owner)
        .ok_or_else(|| Failure::usage(format!("`{label}` is the key of role {role}; an owner was expected")))
}

/// A sentence on what a role can and cannot do.
const fn abilities(role: Role) -> &'static str {
    match role {
        Role::Depositor => "It adds snapshots, and reads nothing.",
        Role::Owner => "It adds snapshots, and reads those that are sealed to it.",
        Role::Operator => "It lists, checks and counts everything, and reads no disk.",
        Role::Auditor => "It lists and checks everything, changes nothing, and reads no disk.",
        Role::Admin => "It can do everything, keys included.",
    }
}

const fn protection(protection: &Protection) -> &'static str {
    match protection {
        Protection::Password { .. } => "password",
        Protection::Recipient { .. } => "key",
    }
}

fn row(repository: &Repository, bundle: &Bundle) -> Row {
    let Certificate { key, role, label, created_ms, .. } = &bundle.certificate;
    let created = jiff::Timestamp::from_millisecond(*created_ms).map(|time| time.to_string());
    Row {
        id: key.to_string(),
        label: label.clone(),
        role: role.name(),
        created: created.unwrap_or_default(),
        protection: protection(&bundle.protection),
        bundle: bundle.name.to_string(),
        used: bundle.name == repository.bundle(),
    }
}

fn list(context: &Context) -> Result<u8, Failure> {
    let repository = context.open(Action::KeepRepository)?;
    let list = bundles::list(&repository)?;
    for (name, error) in &list.damaged {
        context.progress.warn(&format!("{name} cannot be read: {}", chain(error)));
    }
    let rows: Vec<Row> = list.bundles.iter().map(|bundle| row(&repository, bundle)).collect();
    if context.global.json {
        output::json(&serde_json::json!({ "keys": rows, "damaged": list.damaged.len() }));
        return Ok(DONE);
    }
    context.progress_end();
    let cells = rows.iter().map(|row| {
        let made = row.created.get(..10).unwrap_or_default();
        let used = if row.used { "in use" } else { "" };
        [&row.id[..8], &row.label, row.role, made, row.protection, used].map(str::to_owned).to_vec()
    });
    output::line(&output::table(&["key", "label", "role", "made", "opened by", ""], &[], cells));
    Ok(DONE)
}

fn show(context: &Context, name: Option<&str>) -> Result<u8, Failure> {
    let repository = context.open(if name.is_some() { Action::KeepRepository } else { Action::Log })?;
    let bundle = match name {
        Some(name) => bundles::resolve(&repository, name)?,
        None => bundles::own(&repository)?,
    };
    let row = row(&repository, &bundle);
    if context.global.json {
        output::json(&row);
        return Ok(DONE);
    }
    context.progress_end();
    for (field, value) in [
        ("key", row.id.as_str()),
        ("label", &row.label),
        ("role", row.role),
        ("made", &row.created),
        ("opened by", row.protection),
        ("bundle", &row.bundle),
    ] {
        output::line(&format!("{field:<10} {value}"));
    }
    if let Protection::Password { memory_kib, passes, lanes, .. } = bundle.protection {
        output::line(&format!("{:<10} Argon2id, {} MiB, passes {passes}, lanes {lanes}", "guessing", memory_kib >> 10));
    }
    output::line(abilities(bundle.certificate.role));
    Ok(DONE)
}

fn passwd(context: &Context, args: &Protect) -> Result<u8, Failure> {
    let credential = context.credential()?;
    let repository = Arc::new(Repository::open(context.storage()?)?.unlock_with(&credential)?);
    context.begin(&repository, "key passwd");
    context.note(|entry| entry.key(repository.keys().certificate().key));
    let chosen = Chosen::ask(context, args)?;
    let bundle = bundles::protect(&repository, &credential, chosen.lock(), &mut |bundle| {
        context.note(|entry| entry.bundle(bundle.certificate.key, bundle.name));
        // A log that cannot be written keeps nobody from another password.
        context.log(&Ok(DONE));
        Ok(())
    })?;
    if context.global.json {
        output::json(&row(&repository, &bundle));
    }
    context.say(&format!(
        "The key `{}` has a new protection: {}.",
        bundle.certificate.label,
        protection(&bundle.protection)
    ));
    context.say("A copy of the repository that was made before still opens with the old one.");
    chosen.print(context);
    Ok(DONE)
}

fn revoke(context: &Context, name: &str, dry_run: bool) -> Result<u8, Failure> {
    let repository = context.open(Action::ManageKeys)?;
    let bundle = bundles::resolve(&repository, name)?;
    let plan = Revocation::plan(&repository, &bundle.certificate)?;
    if !dry_run {
        context.begin(&repository, AuditRecord::KEY_REVOKE);
        context.note(|entry| {
            entry.key(plan.certificate.key);
            entry.detail(plan.certificate.label.clone());
            plan.snapshots.iter().for_each(|id| entry.snapshot(*id));
        });
        // Before the bundle goes: a key that is gone and of which nobody knows would still be believed.
        context.log_now(AuditRecord::DONE)?;
        plan.apply(&repository)?;
    }
    let names: Vec<String> = plan.bundles.iter().map(ObjectName::to_string).collect();
    if context.global.json {
        output::json(&serde_json::json!({ "key": plan.certificate.key.to_string(), "label": plan.certificate.label,
            "deleted": names, "dry_run": dry_run }));
    }
    let verb = if dry_run { "Would delete" } else { "Deleted" };
    context.say(&format!(
        "{verb} the key `{}`, {}: {}.",
        plan.certificate.label,
        plan.certificate.role,
        names.join(", ")
    ));
    context
        .say("It opens this repository no more, and what is signed with it from now on is a finding of `sheaf check`.");
    context.say("It still opens copies of the repository, and of its bundle, that were made before; whoever kept those, or what the");
    context.say("bundle held, knows these secrets. `sheaf key rotate` has new ones for what is stored from now on.");
    Ok(DONE)
}

fn rotate(context: &Context, dry_run: bool) -> Result<u8, Failure> {
    let repository = context.open(Action::ManageKeys)?;
    let plan = Rotation::plan(&repository)?;
    let labels: Vec<String> = plan.keys().map(|key| key.label.clone()).collect();
    for bundle in &plan.deleted {
        context.progress.warn(&format!(
            "{} should not be there, and is deleted: by the audit log the key `{}` was taken away, or is in another bundle",
            bundle.name, bundle.certificate.label
        ));
    }
    for bundle in &plan.left_out {
        context.progress.warn(&format!(
            "{} gets no new secrets: by the audit log the key `{}` is in another bundle, which is gone; make its holder a new key",
            bundle.name, bundle.certificate.label
        ));
    }
    if !dry_run {
        plan.apply(&repository, &mut |renewed| {
            context.begin(&repository, "key rotate");
            context.note(|entry| entry.bundle(renewed.certificate.key, renewed.bundle));
            context.log_now(AuditRecord::DONE)
        })?;
    }
    if context.global.json {
        output::json(&serde_json::json!({ "keys": labels, "finishes": plan.finishes, "dry_run": dry_run }));
    }
    let verb = if dry_run { "Would give" } else { "Gave" };
    let what = if plan.finishes { "the secrets of a rotation that was cut short" } else { "new secrets" };
    context.say(&format!("{verb} {what} to {}.", labels.join(", ")));
    context.say("What is stored from now on is sealed under them: a key that was lost before opens none of that. Everybody's password stays.");
    context.say("What was stored before stays as it is, also for whoever has a lost key and a copy. The next backups store their data anew.");
    context.say("The authority that certifies keys is the same. If an admin's key was lost, make a new repository.");
    Ok(DONE)
}

fn export(context: &Context, name: &str, to: &Path) -> Result<u8, Failure> {
    let repository = context.open(Action::KeepRepository)?;
    let bundle = bundles::resolve(&repository, name)?;
    let bytes = bundles::export(&repository, bundle.name)?;
    let failed = |error| Failure::io(&format!("writing {}", to.display()), &error);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(to).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    if context.global.json {
        output::json(&serde_json::json!({ "key": bundle.certificate.key.to_string(), "to": to }));
    }
    context.say(&format!("Wrote the bundle of `{}` to {}, sealed as it is.", bundle.certificate.label, to.display()));
    Ok(DONE)
}

/// Needs no password: a bundle of another repository, or one that is not whole, is refused, and what it opens is its holder's affair.
fn import(context: &Context, file: &Path) -> Result<u8, Failure> {
    let failed = |error| Failure::io(&format!("reading {}", file.display()), &error);
    let mut bytes = Vec::new();
    let most = sheaf::format::keys::MAX_LENGTH as u64 + 1;
    std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    let locked = Repository::open(context.storage()?)?;
    let name = bundles::import(&**locked.storage(), locked.id(), &bytes)?;
    if context.global.json {
        output::json(&serde_json::json!({ "bundle": name.to_string() }));
    }
    context.say(&format!("Put {name} into the repository."));
    Ok(DONE)
}

fn generate(context: &Context, file: &Path) -> Result<u8, Failure> {
    let public = key_file::generate(file)?;
    if context.global.json {
        output::json(&serde_json::json!({ "public_key": public, "file": file }));
        return Ok(DONE);
    }
    context.say(&format!("Wrote a new key to {}. Its public key, for `sheaf key add --to-key`:", file.display()));
    output::line(&public);
    Ok(DONE)
}
