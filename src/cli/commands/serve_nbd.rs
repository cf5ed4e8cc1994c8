//! `sheaf serve-nbd`

use super::look;
use super::snapshots::local_time;
use crate::cli::args::ServeNbd;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::output::{self, bytes};
use serde::Serialize;
use sheaf::ops::monitor::Monitor;
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;
use sheaf::serve::nbd::{End, Export, Listen, Notice, Options, Overlay, Server, Tls};
use std::io::Write;
use std::sync::Arc;

#[derive(Serialize)]
struct Served {
    name: String,
    description: String,
    size: u64,
    writable: bool,
}

pub(crate) fn run(context: &Context, args: &ServeNbd) -> Result<u8, Failure> {
    if args.writable_overlay.is_some() && args.snapshots.len() != 1 {
        return Err(Failure::usage("an overlay belongs to one snapshot; name one alone with --writable-overlay"));
    }
    let listen = Listen::parse(&args.listen).map_err(|error| Failure::usage(error.to_string()))?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => Some(Tls::from_pem(chain, key, args.tls_client_ca.as_deref())?),
        _ => None,
    };
    let store = context.store(Action::ReadSnapshots, "serve-nbd")?.with_cache(args.memory.saturating_mul(1 << 20));
    context.begin(&store.repository, "serve-nbd");
    let mut exports = Vec::new();
    for name in &args.snapshots {
        let looked = look::open(&store, name)?;
        if looked.path.is_some() {
            return Err(Failure::usage(format!(
                "`{name}` has a path; disks and partitions are served, as in `latest`"
            )));
        }
        context.note(|entry| entry.snapshot(looked.snapshot.id));
        let record = &looked.snapshot.record;
        let time = local_time(record.time_ms, record.utc_offset_s, false);
        let id = looked.snapshot.id.short();
        let whole = format!("{} of {time}", record.stick);
        if let Some(path) = &args.writable_overlay {
            let overlay = Overlay::open(path, Arc::clone(&looked.disk) as _, *looked.snapshot.id.as_bytes())?;
            exports.push(Export::writable(&id, &whole, Arc::new(overlay)));
            continue;
        }
        exports.push(Export::read_only(&id, &whole, Arc::clone(&looked.disk) as _));
        for volume in looked.browser.volumes() {
            let Some(number) = volume.number else { continue };
            let description = format!("{whole}, partition {number} ({})", volume.file_system);
            let part = looked.browser.part(volume);
            exports.push(Export::read_only(&format!("{id}-partition-{number}"), &description, part));
        }
    }
    let served: Vec<Served> = exports.iter().map(served).collect();
    let progress = Arc::clone(&context.progress);
    let notices = move |notice: &Notice<'_>| {
        if let Some(text) = worth_telling(notice) {
            progress.warn(&look::clean(&text));
        }
    };
    let options = Options { clients: args.clients, tls, notices: Some(Arc::new(notices)), ..Options::default() };
    let server = Server::bind(&listen, exports, options)?;
    let place = server.local_description();
    context.log(&Ok(DONE));
    context.progress_end();
    if context.global.json {
        output::json(
            &serde_json::json!({ "listen": place, "uri": uri(&place, args.tls_cert.is_some()), "exports": served }),
        );
    } else {
        context.say(&format!("Serving at {} until Ctrl-C:", uri(&place, args.tls_cert.is_some())));
        for export in &served {
            let writable = if export.writable { ", writable" } else { "" };
            let line =
                format!("  {}  {}, {}{writable}", export.name, look::clean(&export.description), bytes(export.size));
            context.say(&line);
        }
    }
    // Who waits for the line may be behind a pipe.
    _ = std::io::stdout().flush();
    server.run(&|| context.cancel.is_cancelled())?;
    Ok(DONE)
}

fn served(export: &Export) -> Served {
    Served {
        name: export.name().to_owned(),
        description: export.description().to_owned(),
        size: export.size(),
        writable: export.is_writable(),
    }
}

/// The address as clients take it (the document "NBD URI" of the protocol).
fn uri(place: &str, has_tls: bool) -> String {
    let scheme = if has_tls { "nbds" } else { "nbd" };
    match place.split_once(':') {
        Some(("unix", path)) => format!("{scheme}+unix:///?socket={path}"),
        Some((_, address)) => format!("{scheme}://{address}"),
        None => place.to_owned(),
    }
}

/// Clients come and go; what went wrong is told.
fn worth_telling(notice: &Notice<'_>) -> Option<String> {
    match notice {
        Notice::Failed { export, offset, reason } => Some(format!("{export}: offset {offset} failed: {reason}")),
        Notice::Refused => Some("a client was turned away: there are as many as --clients allows".to_owned()),
        Notice::Ended { end: end @ (End::Broken(_) | End::Tls(_)) } => Some(end.to_string()),
        _ => None,
    }
}

impl From<sheaf::serve::nbd::NbdError> for Failure {
    fn from(error: sheaf::serve::nbd::NbdError) -> Self {
        Self { status: crate::cli::failure::FAILED, message: chain(&error), hint: None }
    }
}

impl From<sheaf::serve::nbd::OverlayError> for Failure {
    fn from(error: sheaf::serve::nbd::OverlayError) -> Self {
        Self { status: crate::cli::failure::FAILED, message: chain(&error), hint: None }
    }
}
