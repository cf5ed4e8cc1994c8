//! Finding the parents of differencing disks on the machine, without following what a disk says to where it must not lead.
//!
//! Always true here:
//! - Only files below the child's folder and what the caller named are opened. A path that a disk gives is taken apart: one that
//!   is absolute or goes upward counts for its last name alone, and a link that leads out of the folder is not followed.
//! - Of several files that could be meant, the one whose own identifier is the expected one is taken; without such a one the first is,
//!   so that the reader can say what is wrong with it.

use super::container::{FindParent, ParentHint};
use super::{ImageError, RawDisk, vhd, vhdx};
use crate::disk::ReadAt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most files of a folder that are looked at for a name in other letters.
const LISTED: usize = 10_000;

/// Where parents are looked for.
#[derive(Debug)]
pub struct ParentFolders {
    /// The folder of the child, resolved; `None` where it has none that can be looked at.
    inside: Option<PathBuf>,
    /// Files and folders that the caller named.
    named: Vec<PathBuf>,
    /// Folders in which parents were found: the next one's path is relative to its child.
    visited: Mutex<Vec<PathBuf>>,
}

impl ParentFolders {
    /// Parents of `child` lie in its folder, below it, or are among `named`: files, or folders that hold them.
    pub fn new(child: &Path, named: &[PathBuf]) -> Self {
        let inside = child.canonicalize().ok().and_then(|child| child.parent().map(Path::to_owned));
        let visited = Mutex::new(inside.iter().cloned().collect());
        Self { inside, named: named.to_vec(), visited }
    }

    /// Files that may be meant, most likely first.
    fn candidates(&self, hint: &ParentHint) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut add = |path: PathBuf| {
            if path.is_file() && !found.contains(&path) {
                found.push(path);
            }
        };
        let parts: Vec<Vec<&str>> = hint.paths.iter().map(|path| parts(path)).collect();
        let last = |parts: &[&str]| parts.last().map(|name| (*name).to_owned());
        for named in &self.named {
            if named.is_dir() {
                parts.iter().filter_map(|parts| last(parts)).for_each(|name| {
                    add(any_case(named, &name));
                });
            } else {
                add(named.clone());
            }
        }
        let visited = self.visited.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for folder in visited.iter().rev() {
            for parts in &parts {
                let Some(name) = last(parts) else { continue };
                let below = parts[..parts.len() - 1].iter().fold(folder.clone(), |path, part| any_case(&path, part));
                for path in [any_case(&below, &name), any_case(folder, &name)] {
                    // What a link makes of it must still be inside.
                    let resolved = path.canonicalize().ok();
                    let is_inside =
                        |path: &PathBuf| self.inside.as_ref().is_some_and(|inside| path.starts_with(inside));
                    resolved.filter(is_inside).into_iter().for_each(&mut add);
                }
            }
        }
        found
    }
}

impl FindParent for ParentFolders {
    fn find(&self, hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        let mut first = None;
        for path in self.candidates(hint) {
            // A named file that cannot be opened may be for another link of the chain; with no other it is the error.
            let disk = match RawDisk::open(&path) {
                Ok(disk) => Arc::new(disk),
                Err(error) => {
                    first.get_or_insert(Err(error));
                    continue;
                }
            };
            let is_meant = [vhd::identifier(&*disk), vhdx::data_identifier(&*disk)].contains(&Some(hint.identifier));
            if is_meant || first.as_ref().is_none_or(Result::is_err) {
                first = Some(Ok((Arc::clone(&disk), path)));
            }
            if is_meant {
                break;
            }
        }
        let Some((disk, path)) = first.transpose()? else { return Ok(None) };
        if let Some(folder) = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)) {
            self.visited.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
        }
        Ok(Some(disk))
    }
}

/// The parts of a path as Windows writes it. What is absolute or goes upward is its last part alone.
fn parts(path: &str) -> Vec<&str> {
    let absolute = path.starts_with(['\\', '/']) || path.contains(':');
    let all: Vec<&str> = path.split(['\\', '/']).filter(|part| !matches!(*part, "" | ".")).collect();
    let fit = |part: &&str| *part != ".." && !part.contains([':', '\0']);
    if absolute || !all.iter().all(fit) {
        return all.last().copied().filter(fit).into_iter().collect();
    }
    all
}

/// A name in a folder, or one that is the same but for the case of its letters, as Windows sees names.
fn any_case(folder: &Path, name: &str) -> PathBuf {
    let exact = folder.join(name);
    if exact.exists() {
        return exact;
    }
    let wanted = name.to_lowercase();
    let is_wanted = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase() == wanted;
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(LISTED).flatten();
    entries.into_iter().find(is_wanted).map_or(exact, |entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskOffset;
    use std::fs;

    fn hint(path: &str) -> ParentHint {
        ParentHint { paths: vec![path.to_owned()], identifier: [7; 16] }
    }

    /// The content of what is found; files here have one byte.
    fn found(folders: &ParentFolders, path: &str) -> Option<u8> {
        let disk = folders.find(&hint(path)).expect("readable")?;
        let mut byte = [0];
        disk.read_at(DiskOffset(0), &mut byte).expect("a byte");
        Some(byte[0])
    }

    #[test]
    fn only_the_childs_folder_is_looked_into() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("inside/below")).expect("folders");
        for (name, byte) in
            [("outside.vhd", 1), ("inside/child.vhd", 2), ("inside/Base.vhd", 3), ("inside/below/deep.vhd", 4)]
        {
            fs::write(path(name), [byte]).expect("file");
        }
        let folders = || ParentFolders::new(&path("inside/child.vhd"), &[]);
        for (asked, expected) in [
            (r".\Base.vhd", Some(3)),
            (r"base.VHD", Some(3)),
            (r"below\deep.vhd", Some(4)),
            ("below/deep.vhd", Some(4)),
            (r"C:\Disks\Base.vhd", Some(3)),
            (r"\\?\C:\Disks\Base.vhd", Some(3)),
            (r"..\inside\Base.vhd", Some(3)),
            (r"..\outside.vhd", None),
            ("../outside.vhd", None),
            (r"below\..\..\outside.vhd", None),
            ("..", None),
            ("", None),
            ("no such.vhd", None),
        ] {
            assert_eq!(found(&folders(), asked), expected, "{asked}");
        }
        let absolute = path("outside.vhd");
        assert_eq!(found(&folders(), &absolute.to_string_lossy()), None, "an absolute path is not followed");
        #[cfg(target_family = "unix")]
        {
            std::os::unix::fs::symlink(&absolute, path("inside/link.vhd")).expect("link");
            assert_eq!(found(&folders(), "link.vhd"), None, "a link that leads out is not followed");
        }
        let named = ParentFolders::new(&path("inside/child.vhd"), std::slice::from_ref(&absolute));
        assert_eq!(found(&named, r"D:\whatever.vhd"), Some(1));
        let named = ParentFolders::new(&path("inside/child.vhd"), &[folder.path().to_owned()]);
        assert_eq!(found(&named, r"D:\outside.vhd"), Some(1));
    }

    #[test]
    fn the_next_parent_is_looked_for_beside_the_last_one_too() {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("below")).expect("folder");
        for (name, byte) in [("child.vhd", 1), ("below/middle.vhd", 2), ("below/base.vhd", 3)] {
            fs::write(folder.path().join(name), [byte]).expect("file");
        }
        let folders = ParentFolders::new(&folder.path().join("child.vhd"), &[]);
        assert_eq!(found(&folders, "base.vhd"), None);
        assert_eq!(found(&folders, r"below\middle.vhd"), Some(2));
        assert_eq!(found(&folders, r".\base.vhd"), Some(3));
    }
}
