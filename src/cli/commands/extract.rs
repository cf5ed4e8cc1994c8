//! `sheaf extract`

use super::look::{self, clean};
use crate::cli::args::Extract;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes, count};
use sheaf::ops::browse::{BrowseError, ExtractRequest, Found, Target, extract};
use sheaf::repo::keyring::Action;

pub(crate) fn run(context: &Context, args: &Extract) -> Result<u8, Failure> {
    let store = context.store(Action::ReadSnapshots, "extract")?;
    context.begin(&store.repository, "extract");
    context.note(|entry| entry.detail(args.target.clone()));
    let looked = look::open(&store, &args.target)?;
    context.note(|entry| entry.snapshot(looked.snapshot.id));
    let found: Found = match looked.target(false)? {
        (Target::Node(found), None) => *found,
        (Target::Node(_), Some(_)) => {
            return Err(Failure::usage("`sheaf dump` writes a stream; `extract --streams` writes all of a file"));
        }
        (Target::Disk(disk, prefix), _) => match disk.volumes() {
            [only] => Found::top_of(only, &prefix)?,
            [] => {
                return Err(
                    BrowseError::NoFileSystem { what: "the disk".to_owned(), found: "no volumes".to_owned() }.into()
                );
            }
            _ => {
                return Err(Failure::usage(
                    "which volume? `sheaf ls SNAPSHOT` lists them; `SNAPSHOT:3:/` is the third, and `SNAPSHOT:/` the largest",
                ));
            }
        },
    };
    let request = ExtractRequest { to: args.to.clone(), force: args.force, streams: args.streams };
    let report = extract(&found, &request, &context.progress, &context.cancel)?;
    context.progress_end();
    let refused: Vec<String> =
        report.refused.iter().map(|refusal| format!("{}: {}", refusal.path, refusal.reason)).collect();
    look::tell(context, &refused);
    if context.global.json {
        output::json(&serde_json::json!({
            "snapshot": looked.snapshot.id.to_string(),
            "path": found.path,
            "to": args.to,
            "files": report.files,
            "folders": report.folders,
            "links": report.links,
            "bytes": report.bytes,
            "streams_left_out": report.streams_left_out,
            "refused": report.refused.iter().map(|refusal| serde_json::json!({ "path": refusal.path, "reason": refusal.reason })).collect::<Vec<_>>(),
            "refused_count": report.refused_count,
        }));
    }
    let links = if report.links > 0 { format!(", {}", count(report.links, "link")) } else { String::new() };
    let streams = match report.streams_left_out {
        0 => String::new(),
        streams => format!(" Left out {}; --streams writes them.", count(streams, "named stream")),
    };
    let refused = match report.refused_count {
        0 => String::new(),
        refused => format!(" {} not extracted; the reasons stand above.", count(refused, "thing")),
    };
    context.say(&format!(
        "Extracted {} to {}: {} in {}{links}, {}.{streams}{refused}",
        clean(&found.path),
        args.to.display(),
        count(report.files, "file"),
        count(report.folders, "folder"),
        bytes(report.bytes),
    ));
    Ok(if report.refused_count > 0 { WARNINGS } else { DONE })
}
