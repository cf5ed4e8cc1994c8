//! `sheaf ls`

use super::look::{self, Item, Looked, Stream, clean};
use crate::cli::args::Ls;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::output::{self, bytes};
use serde::Serialize;
use sheaf::layout::files::{NodeFacts, NodeKind};
use sheaf::ops::browse::{Browser, Found, Target, Visit, walk};
use sheaf::repo::chain;
use sheaf::repo::keyring::Action;

#[derive(Serialize)]
struct Volume {
    path: String,
    file_system: String,
    name: Option<String>,
    start: u64,
    size: u64,
    unreadable: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    snapshot: String,
    volumes: Vec<Volume>,
    entries: Vec<Item>,
    problems: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Ls) -> Result<u8, Failure> {
    let looked = look::open(&context.store(Action::ReadSnapshots, "ls")?, &args.target)?;
    let mut ls = Lister { context, args, looked: &looked, entries: Vec::new(), problems: Vec::new() };
    context.progress_end();
    let mut volumes = Vec::new();
    match looked.target(false)?.0 {
        Target::Node(found) => ls.node(&found)?,
        Target::Disk(disk, prefix) => {
            let mut readable = disk.volumes().iter().filter(|volume| volume.files.is_ok());
            match (readable.next(), readable.next()) {
                // Alone on its disk, it needs no number.
                (Some(only), None) if disk.volumes().len() == 1 => ls.node(&Found::top_of(only, &prefix)?)?,
                _ => {
                    volumes = ls.volumes(&disk, &prefix);
                    if args.recursive {
                        for volume in disk.volumes().iter().filter(|volume| volume.files.is_ok()) {
                            ls.node(&Found::top_of(volume, &prefix)?)?;
                        }
                    }
                }
            }
        }
    }
    let Lister { entries, problems, .. } = ls;
    look::tell(context, &problems);
    let status = if problems.is_empty() { DONE } else { WARNINGS };
    if context.global.json {
        output::json(&Listing { snapshot: looked.snapshot.id.to_string(), volumes, entries, problems });
    }
    Ok(status)
}

struct Lister<'a> {
    context: &'a Context,
    args: &'a Ls,
    looked: &'a Looked,
    entries: Vec<Item>,
    problems: Vec<String>,
}

impl Lister<'_> {
    fn volumes(&self, disk: &Browser, prefix: &str) -> Vec<Volume> {
        let volumes = disk.volumes().iter().map(|volume| Volume {
            path: format!("{prefix}{}/", volume.prefix()),
            file_system: volume.file_system.clone(),
            name: volume.name.clone(),
            start: volume.extent.start.0,
            size: volume.extent.length,
            unreadable: volume.files.as_ref().err().cloned(),
        });
        let volumes: Vec<Volume> = volumes.collect();
        if !self.context.global.json && !self.args.recursive {
            if volumes.is_empty() {
                self.context.say("No volumes.");
                return volumes;
            }
            let rows = volumes.iter().map(|volume| {
                vec![
                    clean(&volume.path),
                    volume.file_system.clone(),
                    bytes(volume.size),
                    clean(volume.name.as_deref().unwrap_or_default()),
                    clean(volume.unreadable.as_deref().unwrap_or_default()),
                ]
            });
            output::line(&output::table(&["Path", "Files", "Size", "Name", ""], &[2], rows));
        }
        volumes
    }

    fn node(&mut self, found: &Found) -> Result<(), Failure> {
        if found.facts.kind != NodeKind::Folder {
            let item = Item { streams: self.streams(found), ..Item::new(self.looked, &found.path, &found.facts) };
            self.show(item, &found.name, &found.facts);
            return Ok(());
        }
        let recursive = self.args.recursive;
        let cancel = &self.context.cancel;
        walk(&*found.files, found.node, &found.path, cancel, &mut |visit| {
            match visit {
                Visit::Node { path, entry, facts } => {
                    let item = Item::new(self.looked, path, facts);
                    self.show(item, if recursive { path } else { &entry.name }, facts);
                    return Ok(recursive && facts.kind == NodeKind::Folder);
                }
                Visit::Problem { error, .. } => self.problems.push(chain(&error)),
                Visit::Left { .. } => {}
            }
            Ok(false)
        })?;
        Ok(())
    }

    fn streams(&self, found: &Found) -> Vec<Stream> {
        let streams = found.files.streams(found.node).unwrap_or_default();
        streams.into_iter().map(|stream| Stream { name: stream.name, size: stream.size }).collect()
    }

    fn show(&mut self, item: Item, name: &str, facts: &NodeFacts) {
        if self.context.global.json {
            self.entries.push(item);
            return;
        }
        let mut text = clean(name);
        if facts.kind == NodeKind::Folder {
            text.push('/');
        }
        if self.args.long {
            let time = self.looked.time(facts.modified, false).unwrap_or_default();
            let size = if facts.kind == NodeKind::File { facts.size.to_string() } else { String::new() };
            text = format!("{} {size:>13}  {time:16}  {text}", look::attributes(facts));
            if let Some(target) = &item.target {
                text = format!("{text} -> {}", clean(target));
            }
        }
        output::line(&text);
        for stream in item.streams.iter().filter(|_| self.args.long) {
            output::line(&format!("       {:>13}  {:16}  {}:{}", stream.size, "", clean(name), clean(&stream.name)));
        }
    }
}
