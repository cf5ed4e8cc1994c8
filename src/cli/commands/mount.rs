//! `sheaf mount`

use super::look;
use crate::cli::args::Mount as MountArgs;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, FAILED, Failure};
use crate::cli::output;
use crate::cli::progress::Progress;
use sheaf::disk::ReadAt;
use sheaf::ids::ObjectId;
use sheaf::layout::FileSystem;
use sheaf::names::ObjectKind;
use sheaf::ops::browse::{Browser, InnerVolume, Volume};
use sheaf::ops::container::{TargetFormat, view};
use sheaf::ops::monitor::Monitor;
use sheaf::repo::keyring::Action;
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::snapshots::{self, Snapshot};
use sheaf::repo::view::SnapshotDisk;
use sheaf::repo::{RepoError, chain};
use sheaf::serve::mount::{Mount, MountError, MountOptions, OpenSnapshot, Shelf, ShelfEntry, ShelfError};
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub(crate) fn run(context: &Context, args: &MountArgs) -> Result<u8, Failure> {
    let store = context.store(Action::ReadSnapshots, "mount")?.with_cache(args.memory.saturating_mul(1 << 20));
    context.begin(&store.repository, "mount");
    let library = Library {
        store,
        stick: args.stick.clone(),
        known: Mutex::default(),
        broken: Mutex::default(),
        progress: Arc::clone(&context.progress),
    };
    let shown = library.refresh().map_err(MountError::Shelf)?.len();
    library.told_at_start();
    let mount = Mount::new(Arc::new(library), &args.folder, MountOptions { allow_other: args.allow_other })?;
    context.progress_end();
    let folder = mount.dir().display().to_string();
    if context.global.json {
        output::json(&serde_json::json!({ "mounted": folder, "snapshots": shown }));
    }
    context.say(&format!(
        "Mounted {} at {}. It ends with Ctrl-C, or `umount`.",
        output::count(shown as u64, "snapshot"),
        look::clean(&folder)
    ));
    // Who waits for the line may be behind a pipe.
    _ = std::io::stdout().flush();
    context.log(&Ok(DONE));
    mount.run(&|| context.cancel.is_cancelled())?;
    Ok(DONE)
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        let hint = match error {
            MountError::Folder { .. } => Some("make an empty folder for it".to_owned()),
            MountError::NotEmpty { .. } => Some("choose an empty folder, or `umount` what is there".to_owned()),
            _ => None,
        };
        Self { status: FAILED, message: chain(&error), hint }
    }
}

/// The snapshots of a repository, for a mount.
struct Library {
    store: ChunkStore,
    stick: Option<String>,
    /// Snapshot objects never change, so each is read once. The flag says that the index was read after it was there.
    known: Mutex<HashMap<ObjectId, (Snapshot, bool)>>,
    /// Those that cannot be read, which was told.
    broken: Mutex<HashSet<ObjectId>>,
    progress: Arc<Progress>,
}

impl Library {
    /// All snapshots that are there now. Those that cannot be read are told once.
    fn refresh(&self) -> Result<Vec<Snapshot>, ShelfError> {
        let repository = &self.store.repository;
        let listed = repository.storage().list(ObjectKind::Snapshot).map_err(|error| told(&error))?;
        let ids: Vec<ObjectId> = listed.iter().filter_map(|listed| listed.name.id()).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| ids.contains(id));
        for id in ids {
            if known.contains_key(&id) {
                continue;
            }
            match snapshots::read(repository, id) {
                Ok(snapshot) => _ = known.insert(id, (snapshot, false)),
                // Somebody else's.
                Err(RepoError::NotARecipient { .. }) => {}
                Err(error) => {
                    if self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                        self.progress.warn(&format!("snapshot {} cannot be shown: {}", id.short(), chain(&error)));
                    }
                }
            }
        }
        let wanted = |snapshot: &&Snapshot| self.stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick);
        Ok(known.values().map(|(snapshot, _)| snapshot).filter(wanted).cloned().collect())
    }

    /// The index was brought up to date before anything was listed.
    fn told_at_start(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values_mut().for_each(|(_, is_indexed)| *is_indexed = true);
    }

    /// The snapshot, with an index that knows its chunks.
    fn find(&self, id: &str) -> Result<Snapshot, ShelfError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.values_mut().find(|(snapshot, _)| snapshot.id.to_string() == id);
        let (snapshot, is_indexed) = found.ok_or_else(|| ShelfError(format!("there is no snapshot {id}")))?;
        if !*is_indexed {
            self.store.index.sync(&self.store.repository).map_err(|error| told(&error))?;
            *is_indexed = true;
        }
        Ok(snapshot.clone())
    }
}

fn told(error: &(dyn std::error::Error + 'static)) -> ShelfError {
    ShelfError(chain(error))
}

impl Shelf for Library {
    fn list(&self) -> Result<Vec<ShelfEntry>, ShelfError> {
        let entry = |snapshot: Snapshot| ShelfEntry {
            id: snapshot.id.to_string(),
            stick: snapshot.record.stick,
            unix_ms: snapshot.record.time_ms,
            utc_offset_s: snapshot.record.utc_offset_s,
        };
        Ok(self.refresh()?.into_iter().map(entry).collect())
    }

    fn open(&self, id: &str) -> Result<Arc<dyn OpenSnapshot>, ShelfError> {
        let disk = SnapshotDisk::open(self.store.clone(), self.find(id)?).map_err(|error| told(&error))?;
        let disk = Arc::new(disk);
        let browser = Browser::open(Arc::clone(&disk) as _).map_err(|error| told(&error))?;
        let mut images = vec![("disk.img".to_owned(), Arc::clone(&disk) as Arc<dyn ReadAt>)];
        for (name, format) in [("disk.vhd", TargetFormat::Vhd), ("disk.vhdx", TargetFormat::Vhdx)] {
            // A disk that is no whole number of sectors, or too large, has no such form.
            images.extend(view(&disk, format).ok().map(|image| (name.to_owned(), image)));
        }
        for volume in browser.volumes() {
            if let Some(number) = volume.number {
                images.push((format!("partition-{number}.img"), browser.part(volume)));
            }
        }
        Ok(Arc::new(Shown { images, browser, volumes: OnceLock::new() }))
    }

    fn trouble(&self, line: &str) {
        self.progress.warn(&look::clean(line));
    }
}

/// A snapshot that somebody looks at.
struct Shown {
    images: Vec<(String, Arc<dyn ReadAt>)>,
    browser: Browser,
    /// Found when somebody looks, since virtual disks are looked for in all folders.
    volumes: OnceLock<Vec<InnerVolume>>,
}

impl Shown {
    fn found(&self) -> &[InnerVolume] {
        self.volumes.get_or_init(|| self.browser.with_inner())
    }
}

impl OpenSnapshot for Shown {
    fn images(&self) -> Vec<String> {
        self.images.iter().map(|(name, _)| name.clone()).collect()
    }

    fn open_image(&self, index: usize) -> Result<Arc<dyn ReadAt>, ShelfError> {
        let image = self.images.get(index).map(|(_, image)| Arc::clone(image));
        image.ok_or_else(|| ShelfError("there is no such image".to_owned()))
    }

    fn volumes(&self) -> Vec<String> {
        let name =
            |volume: &Volume| volume.number.map_or_else(|| "volume".to_owned(), |number| format!("partition-{number}"));
        let names = self.found().iter().map(|inner| {
            let files = inner.files.iter().zip(&inner.volumes);
            let around: String = files.map(|(file, volume)| format!("{}, {file}, ", name(volume))).collect();
            format!("{around}{}", inner.volumes.last().map(|volume| name(volume)).unwrap_or_default())
        });
        names.collect()
    }

    fn open_volume(&self, index: usize) -> Result<Arc<dyn FileSystem>, ShelfError> {
        let volume = self.found().get(index).and_then(|inner| inner.volumes.last());
        let volume = volume.ok_or_else(|| ShelfError("there is no such volume".to_owned()))?;
        volume.files.clone().map_err(ShelfError)
    }
}
