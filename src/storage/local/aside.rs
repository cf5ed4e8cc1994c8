//! Objects that were moved aside: files in `damaged/`.
//!
//! Always true here:
//! - Moving is one rename on one file system: the bytes are not read, and at each moment the file has one of its two names.
//! - A file that lies aside is never replaced by another: they are numbered, and numbers are given while the publishing lock is held.

use super::{LocalStorage, failed, sync_folder, temporary};
use crate::names::{AsideName, ObjectName};
use crate::storage::{Storage, StorageError};
use std::fs;
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::sync::PoisonError;

impl LocalStorage {
    fn aside_folder(&self) -> PathBuf {
        self.root.join(AsideName::FOLDER)
    }

    pub(super) fn move_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        let object = self.path(name);
        if self.find(&object)?.is_none() {
            self.still_there()?;
            return Ok(None);
        }
        let folder = self.aside_folder();
        self.make_folder(&folder)?;
        let _turn = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = temporary::publishing_lock(&self.temporaries());
        let aside = self.free_aside(name);
        let moved = fs::rename(&object, folder.join(aside.file_name()));
        self.open_files.evict(name);
        match moved {
            Ok(()) => {
                // The new name first: a file that has neither after a power cut would be lost.
                let parent = object.parent().unwrap_or(&self.root);
                for folder in [folder.as_path(), parent] {
                    sync_folder(folder).map_err(|error| failed("syncing folder", folder, error))?;
                }
                Ok(Some(aside))
            }
            // Another process was faster.
            Err(error) if error.kind() == NotFound => self.still_there().map(|()| None),
            Err(error) => Err(failed("moving aside", &object, error)),
        }
    }

    /// Gives the object other bytes: they are durable before the old ones are linked aside, and take the name by one rename. Where there
    /// are no hard links the old bytes are moved aside first, and for a moment the name is that of nothing.
    pub(super) fn replace_object(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        let object = self.path(name);
        if self.find(&object)?.is_none() {
            self.still_there()?;
            self.put(name, parts)?;
            return Ok(None);
        }
        let temporary = self.write_temporary(parts)?;
        let folder = self.aside_folder();
        self.make_folder(&folder)?;
        let turn = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = temporary::publishing_lock(&self.temporaries());
        let aside = self.free_aside(name);
        let target = folder.join(aside.file_name());
        let is_linked = self.hard_links && fs::hard_link(&object, &target).is_ok();
        if !is_linked {
            fs::rename(&object, &target).map_err(|error| failed("moving aside", &object, error))?;
        }
        let renamed = fs::rename(temporary.path(), &object);
        self.open_files.evict(name);
        drop((lock, turn));
        renamed.map_err(|error| failed("replacing", &object, error))?;
        let parent = object.parent().unwrap_or(&self.root);
        for folder in [folder.as_path(), parent] {
            sync_folder(folder).map_err(|error| failed("syncing folder", folder, error))?;
        }
        Ok(Some(aside))
    }

    /// A name that nothing has that lies aside. The publishing lock is held by the caller.
    fn free_aside(&self, object: ObjectName) -> AsideName {
        let folder = self.aside_folder();
        let mut aside = AsideName { object, number: 1 };
        while folder.join(aside.file_name()).symlink_metadata().is_ok() {
            aside.number = aside.number.saturating_add(1);
        }
        aside
    }

    pub(super) fn moved_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        let mut found = Vec::new();
        for (file_name, entry) in self.entries(AsideName::FOLDER)? {
            let Some(name) = AsideName::parse(&file_name) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push((name, metadata.len())),
                Ok(_) => {}
                Err(error) if error.kind() == NotFound => {}
                Err(error) => return Err(failed("looking for", &entry.path(), error)),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    pub(super) fn remove_aside(&self, name: AsideName) -> Result<(), StorageError> {
        let path = self.root.join(name.path());
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == NotFound => self.still_there(),
            Err(error) => Err(failed("deleting", &path, error)),
        }
    }
}
