//! `sheaf dump`

use super::look;
use crate::cli::args::Dump;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::output::{self, bytes};
use sheaf::layout::files::NodeKind;
use sheaf::ops::OpsError;
use sheaf::ops::browse::{BrowseError, copy_content};
use sheaf::repo::keyring::Action;
use std::fs::File;
use std::io::{self, ErrorKind};

pub(crate) fn run(context: &Context, args: &Dump) -> Result<u8, Failure> {
    if context.global.json && args.to.is_none() {
        return Err(Failure::usage(
            "the file's bytes go to standard output, which `--json` needs: name a file with --to",
        ));
    }
    let store = context.store(Action::ReadSnapshots, "dump")?;
    context.begin(&store.repository, "dump");
    context.note(|entry| entry.detail(args.target.clone()));
    let looked = look::open(&store, &args.target)?;
    context.note(|entry| entry.snapshot(looked.snapshot.id));
    let (found, stream) = looked.node(true)?;
    if found.facts.kind != NodeKind::File && stream.is_none() {
        return Err(BrowseError::NotAFile { path: found.path }.into());
    }
    let content = found.open(stream.as_deref())?;
    context.progress_end();
    let Some(to) = &args.to else {
        let copied = copy_content(&*content, &found.path, &mut io::stdout().lock(), &context.cancel);
        return match copied {
            // Whoever reads has had enough.
            Err(OpsError::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(DONE),
            copied => copied.map(|_| DONE).map_err(Failure::from),
        };
    };
    let failed = |source| OpsError::Io { action: "writing", path: to.clone(), source };
    let mut file = File::options().write(true).create_new(true).open(to).map_err(failed)?;
    let copied = copy_content(&*content, &found.path, &mut file, &context.cancel);
    if copied.is_err() {
        _ = std::fs::remove_file(to);
    }
    let size = copied?;
    if context.global.json {
        output::json(&serde_json::json!({
            "snapshot": looked.snapshot.id.to_string(), "path": found.path, "stream": stream, "to": to, "bytes": size,
        }));
    }
    context.say(&format!("Wrote {}: {}.", to.display(), bytes(size)));
    Ok(DONE)
}
