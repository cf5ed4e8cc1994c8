//! Objects as files of a folder: a disk, a USB stick, a mounted share.
//!
//! Always true here:
//! - An object's name appears only when all of its bytes are durable: they are written to a file in `tmp/`, synced, and
//!   only then given the name, by a hard link, which fails where the name is taken. Then the folder is synced, and
//!   the first time also the folder that holds it.
//! - Where hard links do not work (FAT, exFAT, some shares), a file lock makes "look, then rename" one step for all
//!   processes. Where locks do not work either, two processes that put one name at one instant may both be told `Stored`; one
//!   of the two objects stays, whole.
//! - Reading writes nothing: a repository on a read-only medium opens and restores.
//! - Missing is not the same as gone: when an object is not found, the repository's own folders are looked for, and an
//!   unplugged disk is an error of the system and never "there are no snapshots".
//! - Files that are not named like an object, and anything that is not a regular file, are left alone and not listed.

mod aside;
mod open_files;
mod reserve;
mod temporary;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::file_read_full_at;
use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::{Listed, Put, Storage, StorageError};
use open_files::{OpenFile, OpenFiles};
use temporary::Temporary;

/// How often a put begins anew when its temporary file or its object's folder was taken from it.
const ATTEMPTS: usize = 4;

/// A repository in a folder of a mounted file system.
///
/// One value serves all threads of a process; several processes may each have their own. Files stay open for a while after they
/// were read: what another program changes in place may be seen late.
#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
    hard_links: bool,
    /// True where small objects may take the room that is kept in reserve.
    draws_on_reserve: bool,
    /// True when the folder had a repository's sub-folders when it was opened: from then on, they must stay.
    was_there: bool,
    open_files: OpenFiles,
    /// Folders of objects whose own entry this value has made durable.
    durable_folders: Mutex<BTreeSet<PathBuf>>,
    /// Held while an object is published by renaming; the file lock alone is not enough where it counts by process.
    renaming: Mutex<()>,
}

/// Says what was tried where.
fn failed(action: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { action, place: path.display().to_string(), source }
}

impl LocalStorage {
    /// Makes the folder and its sub-folders where they are missing, and opens it. What is there is left alone.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        let root = absolute(path)?;
        let missing: Vec<&Path> = root.ancestors().take_while(|folder| folder.symlink_metadata().is_err()).collect();
        fs::create_dir_all(&root).map_err(|error| failed("creating folder", &root, error))?;
        for folder in sub_folders(&root).chain([root.join(temporary::FOLDER)]) {
            create_folder(&folder).map_err(|error| failed("creating folder", &folder, error))?;
        }
        for folder in missing.iter().filter_map(|folder| folder.parent()).chain([root.as_path()]) {
            sync_folder(folder).map_err(|error| failed("syncing folder", folder, error))?;
        }
        let this = Self::open(&root)?;
        this.keep_reserve();
        Ok(this)
    }

    /// Opens the folder, without writing to it. Whether it holds a repository is for the caller to ask.
    ///
    /// # Errors
    /// [`StorageError::Io`], with [`io::ErrorKind::NotFound`] when there is no such folder.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let root = absolute(path)?;
        let metadata = fs::metadata(&root).map_err(|error| failed("opening folder", &root, error))?;
        if !metadata.is_dir() {
            return Err(failed("opening folder", &root, io::ErrorKind::NotADirectory.into()));
        }
        let was_there = sub_folders(&root).any(|folder| folder.is_dir());
        Ok(Self {
            root,
            hard_links: true,
            draws_on_reserve: false,
            was_there,
            open_files: OpenFiles::default(),
            durable_folders: Mutex::default(),
            renaming: Mutex::default(),
        })
    }

    /// The same folder, but objects get their names by renaming, as on file systems without hard links.
    #[must_use]
    pub fn without_hard_links(mut self) -> Self {
        self.hard_links = false;
        self
    }

    /// The folder's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes the temporary files of writers that are no longer alive, and says how many there were.
    ///
    /// Safe at any time, beside any number of writers. Where the file system knows no locks, nothing is removed.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn remove_stale_temporaries(&self) -> Result<usize, StorageError> {
        temporary::remove_stale(&self.temporaries())
            .map_err(|(path, error)| failed("removing stale temporary files in", &path, error))
    }

    fn temporaries(&self) -> PathBuf {
        self.root.join(temporary::FOLDER)
    }

    fn path(&self, name: ObjectName) -> PathBuf {
        self.root.join(name.path())
    }

    /// Fails when the repository as a whole is no longer there, as when its disk was unplugged.
    fn still_there(&self) -> Result<(), StorageError> {
        let gone = |error| failed("looking for the repository in", &self.root, error);
        if !self.was_there {
            return fs::metadata(&self.root).map(drop).map_err(gone);
        }
        for folder in sub_folders(&self.root) {
            match fs::metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(gone(error)),
                Ok(_) | Err(_) => {}
            }
        }
        Err(gone(io::Error::new(io::ErrorKind::NotFound, "its folders are gone; was the disk unplugged or unmounted?")))
    }

    /// The error for an object whose file is not there.
    fn missing(&self, name: ObjectName) -> StorageError {
        let gone = self.still_there().err().map(|error| error.about(name));
        gone.unwrap_or_else(|| StorageError::NotFound { name, place: self.place() })
    }

    /// The size of the object's file, or `None` when there is none.
    fn find(&self, path: &Path) -> Result<Option<u64>, StorageError> {
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(failed("opening", path, io::Error::other("this is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("looking for", path, error)),
        }
    }

    fn open_object(&self, name: ObjectName) -> Result<OpenFile, StorageError> {
        let path = self.path(name);
        // Asked first, since opening something else, such as a pipe, may wait for ever.
        self.find(&path)?.ok_or_else(|| self.missing(name))?;
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok((file, size)) => Ok(OpenFile { file, size }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(name)),
            Err(error) => Err(failed("opening", &path, error)),
        }
    }

    /// Fills the buffer, which lies inside the size that the file had when it was opened.
    fn read(&self, name: ObjectName, open: &OpenFile, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let filled = file_read_full_at(&open.file, buffer, start).map_err(|error| {
            // On a share, a handle may have gone bad that opening anew would replace.
            self.open_files.evict(name);
            failed("reading", &self.path(name), error)
        })?;
        if filled == buffer.len() {
            return Ok(());
        }
        // Someone truncated the file since it was opened.
        self.open_files.evict(name);
        Err(StorageError::Range { name, start, length: buffer.len() as u64, size: start.saturating_add(filled as u64) })
    }

    /// Writes the parts to a temporary file and makes them durable.
    fn write_temporary(&self, parts: &[&[u8]]) -> Result<Temporary, StorageError> {
        let folder = self.temporaries();
        let created = match Temporary::create(&folder) {
            // Some tools leave empty folders out of a copy. Only where a config shows that the repository is here is the
            // folder made again: below the mount point of an unplugged disk nothing may be written.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.find(&self.path(ObjectName::CONFIG))?.is_some() =>
            {
                create_folder(&folder).and_then(|()| Temporary::create(&folder))
            }
            created => created,
        };
        let mut temporary = match created {
            Ok(temporary) => temporary,
            Err(error) => {
                self.still_there()?;
                return Err(failed("creating a temporary file in", &folder, error));
            }
        };
        temporary.fill(parts).map_err(|error| failed("writing", temporary.path(), error))?;
        temporary.release();
        Ok(temporary)
    }

    /// Makes the folder that holds objects like `name`, and makes its entry in the folder above durable.
    fn make_folder(&self, folder: &Path) -> Result<(), StorageError> {
        if folder == self.root || self.durable().contains(folder) {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.root);
        self.make_folder(above)?;
        create_folder(folder).map_err(|error| failed("creating folder", folder, error))?;
        // Also where it was there: another process may have made it a moment ago.
        sync_folder(above).map_err(|error| failed("syncing folder", above, error))?;
        self.durable().insert(folder.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the temporary file the object's name, unless that is taken.
    fn publish(&self, temporary: &Path, object: &Path) -> io::Result<()> {
        use io::ErrorKind::{AlreadyExists, NotFound, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if self.hard_links {
            match fs::hard_link(temporary, object) {
                Ok(()) => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        AlreadyExists | NotFound | QuotaExceeded | ReadOnlyFilesystem | StorageFull
                    ) =>
                {
                    return Err(error);
                }
                // Systems say "not permitted", "not supported" and more of a file system without hard links. If something else
                // is the matter, renaming fails of it too.
                Err(_) => {}
            }
        }
        let _turn = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = temporary::publishing_lock(&self.temporaries());
        match object.symlink_metadata() {
            Ok(_) => Err(AlreadyExists.into()),
            Err(error) if error.kind() == NotFound => fs::rename(temporary, object),
            Err(error) => Err(error),
        }
    }

    /// Makes the object's name durable, whoever gave it.
    fn sync_name(&self, object: &Path) -> Result<(), StorageError> {
        sync_name(object).map_err(|error| failed("syncing the folder of", object, error))
    }

    /// Adds the objects of one folder to a listing; `prefix` is the folder's path below the repository.
    fn list_folder(&self, prefix: &str, listed: &mut Vec<Listed>) -> Result<(), StorageError> {
        for (file_name, entry) in self.entries(prefix)? {
            let Some(name) = ObjectName::parse(&format!("{prefix}/{file_name}")) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => listed.push(Listed { name, size: metadata.len() }),
                Ok(_) => {}
                // Deleted since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("looking for", &entry.path(), error)),
            }
        }
        Ok(())
    }

    /// A folder's entries whose names are text; none where there is no such folder.
    fn entries(&self, prefix: &str) -> Result<Vec<(String, fs::DirEntry)>, StorageError> {
        let folder = self.root.join(prefix);
        let at_folder = |error| failed("listing", &folder, error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.still_there().map(|()| Vec::new()),
            Err(error) => return Err(at_folder(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at_folder)?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry));
            }
        }
        Ok(found)
    }

    /// As [`Storage::put`]; errors name paths.
    fn put_file(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        match self.try_put_file(name, parts) {
            Err(error) if self.draw_on_reserve(length, &error) => self.try_put_file(name, parts),
            // Whichever step found that a folder is gone: that all of them are is what a person has to hear.
            Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => self.still_there().and(Err(error)),
            put => put,
        }
    }

    fn try_put_file(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let object = self.path(name);
        let folder = object.parent().unwrap_or(&self.root);
        if self.find(&object)?.is_some() {
            // Its writer may not have synced the folders yet, and the caller is about to rely on it.
            self.make_folder(folder)?;
            self.sync_name(&object)?;
            return Ok(Put::AlreadyThere);
        }
        let mut attempt = 1;
        loop {
            let temporary = self.write_temporary(parts)?;
            self.make_folder(folder)?;
            match self.publish(temporary.path(), &object) {
                Ok(()) => {
                    self.sync_name(&object)?;
                    return Ok(Put::Stored);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.find(&object)?;
                    self.sync_name(&object)?;
                    return Ok(Put::AlreadyThere);
                }
                // The temporary file or the object's folder was removed: both are made anew.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    self.durable().remove(folder);
                    attempt += 1;
                }
                Err(error) => return Err(failed("publishing", &object, error)),
            }
        }
    }
}

impl Storage for LocalStorage {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        self.put_file(name, parts).map_err(|error| error.about(name))
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        let open = self.open_object(name)?;
        let too_large = StorageError::TooLarge { name, size: open.size, limit };
        let size = match usize::try_from(open.size) {
            Ok(size) if open.size <= limit => size,
            _ => return Err(too_large),
        };
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size)
            .map_err(|error| failed("reading", &self.path(name), io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
        bytes.resize(size, 0);
        self.read(name, &open, 0, &mut bytes)?;
        Ok(bytes)
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let open: Arc<OpenFile> = self.open_files.get_or_open(name, || self.open_object(name))?;
        let length = buffer.len() as u64;
        if start.checked_add(length).is_none_or(|end| end > open.size) {
            return Err(StorageError::Range { name, start, length, size: open.size });
        }
        self.read(name, &open, start, buffer)
    }

    fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        self.find(&self.path(name))?.ok_or_else(|| self.missing(name))
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
        let mut listed = Vec::new();
        if kind == ObjectKind::Config {
            match self.size(ObjectName::CONFIG) {
                Ok(size) => listed.push(Listed { name: ObjectName::CONFIG, size }),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        } else if kind.fanned_out() {
            for (fan, entry) in self.entries(kind.folder())? {
                match entry.file_type() {
                    Ok(file_type) if file_type.is_dir() => {
                        self.list_folder(&format!("{}/{fan}", kind.folder()), &mut listed)?;
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed("looking for", &entry.path(), error)),
                }
            }
        } else {
            self.list_folder(kind.folder(), &mut listed)?;
        }
        listed.sort_unstable();
        Ok(listed)
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        let path = self.path(name);
        let removed = fs::remove_file(&path);
        self.open_files.evict(name);
        match removed {
            // A prune removes packs by the thousand, and nothing is lost when one is back after a power cut. Whatever else
            // was taken away must stay away before the next step relies on it.
            Ok(()) if name.kind() == ObjectKind::Pack => Ok(()),
            Ok(()) => {
                let folder = path.parent().unwrap_or(&self.root);
                sync_folder(folder).map_err(|error| failed("syncing folder", folder, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.still_there().map_err(|error| error.about(name))
            }
            Err(error) => Err(failed("deleting", &path, error)),
        }
    }

    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        self.move_aside(name)
    }

    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        self.replace_object(name, parts)
    }

    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        self.moved_aside()
    }

    fn delete_aside(&self, name: AsideName) -> Result<(), StorageError> {
        self.remove_aside(name)
    }
}

/// The path from the root of the file system, so that a process that changes its folder keeps its repository.
fn absolute(path: &Path) -> Result<PathBuf, StorageError> {
    std::path::absolute(path).map_err(|error| failed("opening folder", path, error))
}

/// The folders of the kinds of object.
fn sub_folders(root: &Path) -> impl Iterator<Item = PathBuf> {
    ObjectKind::ALL.into_iter().filter(|kind| *kind != ObjectKind::Config).map(|kind| root.join(kind.folder()))
}

/// Makes one folder; one that is there is fine. Where it went away since, that is what is told.
fn create_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::metadata(folder)?.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes a folder's entries durable, where the system has a way to.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, IsADirectory, ReadOnlyFilesystem, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems do not sync folders; a read-only one has nothing to sync.
        Err(error) if matches!(error.kind(), InvalidInput | IsADirectory | ReadOnlyFilesystem | Unsupported) => Ok(()),
        result => result,
    }
}

/// Makes a folder's entries durable: here the system offers no way, and file systems log such changes in order.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the name of a file durable.
#[cfg(unix)]
fn sync_name(object: &Path) -> io::Result<()> {
    object.parent().map_or(Ok(()), sync_folder)
}

/// Makes the name of a file durable: flushing the file flushes what the file system logged of it, its name included.
#[cfg(not(unix))]
fn sync_name(object: &Path) -> io::Result<()> {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match fs::OpenOptions::new().write(true).open(object).and_then(|file| file.sync_all()) {
        // Deleted since, or on a medium where there is nothing to sync.
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem) => Ok(()),
        result => result,
    }
}
