//! `sheaf find`

use super::look::{self, clean, shown_time};
use super::snapshots::local_time;
use crate::cli::args::Find;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use serde::Serialize;
use sheaf::layout::files::{Moment, NodeKind};
use sheaf::ops::browse::{self, Browser, Pattern};
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;
use sheaf::repo::snapshots::{self, Snapshot};
use sheaf::repo::view::SnapshotDisk;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A version of a file, and who has it.
#[derive(Serialize)]
struct Version {
    kind: &'static str,
    size: u64,
    modified: Option<String>,
    snapshots: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    id: String,
    time: String,
}

#[derive(Serialize)]
struct Hit {
    stick: String,
    path: String,
    versions: Vec<Version>,
}

/// By stick and path, whatever its letters; each version by size and time.
type Hits = BTreeMap<(String, String), (String, BTreeMap<(Option<Moment>, u64), Version>)>;

pub(crate) fn run(context: &Context, args: &Find) -> Result<u8, Failure> {
    let pattern = Pattern::new(&args.pattern);
    let store = context.store(Action::ReadSnapshots, "find")?;
    let list = snapshots::list(&store.repository)?;
    let mut problems: Vec<String> =
        list.damaged.iter().map(|(name, error)| format!("{name} cannot be searched: {}", chain(error))).collect();
    let mut hits = Hits::new();
    let wanted = |snapshot: &&Snapshot| args.stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick);
    let mut searched = 0_u64;
    for snapshot in list.snapshots.iter().filter(wanted) {
        searched += 1;
        let disk = SnapshotDisk::open(store.clone(), snapshot.clone());
        let browser = disk.map_err(Failure::from).and_then(|disk| Ok(Browser::open(Arc::new(disk))?));
        let browser = match browser {
            Ok(browser) => browser,
            Err(failure) => {
                problems.push(format!("snapshot {} cannot be searched: {}", snapshot.id.short(), failure.message));
                continue;
            }
        };
        let search = browse::find(&browser, &pattern, &context.cancel)?;
        problems
            .extend(search.problems.into_iter().map(|problem| format!("snapshot {}: {problem}", snapshot.id.short())));
        for file in search.files {
            let (size, modified) = file.version();
            let key = (snapshot.record.stick.clone(), file.path.to_uppercase());
            let (_, versions) = hits.entry(key).or_insert_with(|| (file.path.clone(), BTreeMap::new()));
            let version = versions.entry((modified, size)).or_insert_with(|| Version {
                kind: look::kind(&file.facts.kind),
                size,
                modified: shown_time(snapshot, modified, true),
                snapshots: Vec::new(),
            });
            let time = local_time(snapshot.record.time_ms, snapshot.record.utc_offset_s, true);
            version.snapshots.push(Holder { id: snapshot.id.to_string(), time });
        }
    }
    context.progress_end();
    look::tell(context, &problems);
    let hits = hits.into_iter().map(|((stick, _), (path, versions))| Hit {
        stick,
        path,
        versions: versions.into_values().collect(),
    });
    let hits: Vec<Hit> = hits.collect();
    if context.global.json {
        output::json(&serde_json::json!({ "snapshots_searched": searched, "files": hits, "problems": problems }));
    } else {
        hits.iter().for_each(show);
        if hits.is_empty() {
            context.say(&format!("Nothing of that name in {}.", output::count(searched, "snapshot")));
        }
    }
    Ok(if problems.is_empty() { DONE } else { WARNINGS })
}

fn show(hit: &Hit) {
    output::line(&format!("{}  {}", clean(&hit.stick), clean(&hit.path)));
    for version in &hit.versions {
        let ids: Vec<&str> = version.snapshots.iter().map(|holder| holder.id.get(..8).unwrap_or_default()).collect();
        let is_file = version.kind == look::kind(&NodeKind::File);
        let size = if is_file { bytes(version.size) } else { version.kind.to_owned() };
        let modified = version.modified.as_deref().unwrap_or_default();
        let modified = modified.get(..16).unwrap_or(modified).replace('T', " ");
        output::line(&format!("  {size:>10}  {modified:16}  {}", ids.join(" ")));
    }
}
