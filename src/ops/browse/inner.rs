//! The volumes of virtual disks that lie on a disk, found by looking for them.
//!
//! Always true here: the search is bounded, in the folders that it enters, in the disks that it opens and in how deep they lie in
//! one another. A disk that is not found can still be named by a path.

use super::volumes::inner_disk;
use super::{Browser, Volume};
use crate::layout::FileSystem;
use crate::layout::files::NodeId;
use crate::layout::whole::DEPTH;
use std::collections::HashSet;
use std::sync::Arc;

/// The most folders of a volume that are looked into.
const MOST_FOLDERS: usize = 100_000;
/// How deep a folder is that is still looked into.
const MOST_DEEP: u32 = 8;
/// The most volumes that are told.
const MOST_VOLUMES: usize = 64;

/// A volume whose files can be read, and the virtual disks around it.
#[derive(Debug, Clone)]
pub struct InnerVolume {
    /// The volumes from the outermost one to this one.
    pub volumes: Vec<Arc<Volume>>,
    /// The names of the files between them: one less.
    pub files: Vec<String>,
}

impl Browser {
    /// All volumes whose files can be read: those of the disk, and behind each those of virtual disks on it, whose files are named
    /// `*.vhd` or `*.vhdx`.
    pub fn with_inner(&self) -> Vec<InnerVolume> {
        let mut found = Vec::new();
        collect(self, &InnerVolume { volumes: Vec::new(), files: Vec::new() }, &mut found);
        found
    }
}

fn collect(disk: &Browser, around: &InnerVolume, found: &mut Vec<InnerVolume>) {
    for volume in disk.volumes() {
        let Ok(files) = &volume.files else { continue };
        if found.len() >= MOST_VOLUMES {
            return;
        }
        let mut this = around.clone();
        this.volumes.push(Arc::clone(volume));
        found.push(this.clone());
        if this.volumes.len() as u32 > DEPTH {
            continue;
        }
        for (name, folder, node) in disks(&**files) {
            let Ok(Some(inner)) = inner_disk(&**files, folder, node) else { continue };
            let Ok(inner) = Browser::open(inner) else { continue };
            let mut around = this.clone();
            around.files.push(name);
            collect(&inner, &around, found);
        }
    }
}

/// Files that are named as virtual disks are: name, folder and node.
fn disks(files: &dyn FileSystem) -> Vec<(String, NodeId, NodeId)> {
    let mut found = Vec::new();
    let mut entered = HashSet::from([files.root()]);
    let mut folders = vec![(files.root(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(listing) = files.entries(folder) else { continue };
        for entry in listing.entries {
            let name = entry.name.to_ascii_lowercase();
            if !entry.is_folder && (name.ends_with(".vhd") || name.ends_with(".vhdx")) && found.len() < MOST_VOLUMES {
                found.push((entry.name, folder, entry.node));
            } else if entry.is_folder && depth < MOST_DEEP && entered.len() < MOST_FOLDERS && entered.insert(entry.node)
            {
                folders.push((entry.node, depth + 1));
            }
        }
    }
    found
}
