//! `sheaf pin`: no policy drops these.

use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::forget_args::Pin;
use crate::cli::output;
use sheaf::format::audit::AuditRecord;
use sheaf::format::certificate::Role;
use sheaf::repo::keyring::Action;
use sheaf::repo::snapshots;

pub(crate) fn run(context: &Context, args: &Pin) -> Result<u8, Failure> {
    let may = if args.remove { Action::ForgetSnapshots } else { Action::PinSnapshots };
    let repository = context.open(may)?;
    let keys = repository.keys();
    let mut chosen = Vec::new();
    for name in &args.snapshots {
        let snapshot = snapshots::resolve(&repository, name)?;
        if keys.role() == Role::Owner && snapshot.maker.key != keys.certificate().key {
            return Err(Failure::usage(format!(
                "{} was made by the key `{}`; an operator or admin can pin it",
                snapshot.id.short(),
                snapshot.maker.label
            )));
        }
        if !chosen.contains(&snapshot.id) {
            chosen.push(snapshot.id);
        }
    }
    context.begin(&repository, if args.remove { AuditRecord::UNPIN } else { AuditRecord::PIN });
    context.note(|entry| chosen.iter().for_each(|id| entry.snapshot(*id)));
    // The entry is all there is to it.
    context.log_now(AuditRecord::DONE)?;
    let ids: Vec<String> = chosen.iter().map(ToString::to_string).collect();
    if context.global.json {
        output::json(&serde_json::json!({ "snapshots": ids, "pinned": !args.remove }));
    }
    let short: Vec<String> = chosen.iter().map(sheaf::ids::ObjectId::short).collect();
    context.say(&match args.remove {
        true => format!("Took the pin from {}.", short.join(", ")),
        false => format!("Pinned {}: no policy drops it.", short.join(", ")),
    });
    Ok(DONE)
}
