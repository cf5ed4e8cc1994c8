//! Answers to the kernel's requests.
//!
//! Always true here:
//! - A number that the kernel was given is in the table until the kernel gives it back.
//! - What is in a snapshot never changes, and the kernel may remember it for long; what is above, for as long as a list is good.
//! - An answer takes no more memory than the request says, which is [`REQUEST`] bytes at most.

use super::content;
use super::facts::{Facts, Kind};
use super::handles::Handles;
use super::inodes::{Key, Table};
use super::node::Node;
use super::tree::{Contents, FRESH, Found, Refusal, Tree};
use crate::disk::ReadAt;
use crate::layout::files::Moment;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEntry, ReplyLseek, ReplyOpen, ReplyXattr,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the kernel may remember what never changes.
const LONG: Duration = Duration::from_secs(3600);

/// Bytes of a request at most: what the kernel takes from us at once, and what it reads ahead.
pub(super) const REQUEST: u32 = 1 << 20;

/// The numbers of `lseek` (`SEEK_DATA` and `SEEK_HOLE` in Linux).
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// Generations tell files apart that had the same number one after the other. Here a number is a hash of what the file is.
const GENERATION: Generation = Generation(0);

/// Something that is open.
#[derive(Clone)]
enum Open {
    File(Arc<dyn ReadAt>, Node),
    Folder(Contents),
}

/// What all requests work on.
pub(super) struct Shared {
    tree: Tree,
    table: Mutex<Table<Node>>,
    open: Handles<Open>,
    uid: u32,
    gid: u32,
}

impl Shared {
    /// Serves a tree, whose files belong to this user and group.
    pub(super) fn new(tree: Tree, uid: u32, gid: u32) -> Self {
        Self { tree, table: Mutex::new(Table::new(Node::Top)), open: Handles::new(), uid, gid }
    }

    fn table(&self) -> MutexGuard<'_, Table<Node>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, number: u64) -> Result<Node, Errno> {
        self.table().get(number).ok_or(Errno::ESTALE)
    }

    fn attributes(&self, number: u64, facts: &Facts) -> FileAttr {
        FileAttr {
            ino: INodeNo(number),
            size: facts.size,
            blocks: facts.blocks,
            atime: system_time(facts.accessed),
            mtime: system_time(facts.modified),
            ctime: system_time(facts.changed),
            crtime: UNIX_EPOCH,
            kind: file_type(facts.kind),
            perm: facts.kind.mode(),
            nlink: facts.links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Gives the kernel a place that was found.
    fn hold(&self, found: &Found) -> FileAttr {
        let number = self.table().hold(found.node.key(), found.node.clone());
        self.attributes(number, &found.facts)
    }

    /// What stands under a name in a folder.
    pub(super) fn lookup(&self, parent: u64, name: &str, reply: ReplyEntry) {
        let folder = match self.node(parent) {
            Ok(folder) => folder,
            Err(error) => return reply.error(error),
        };
        match self.tree.lookup(&folder, name) {
            Ok(found) => {
                let attributes = self.hold(&found);
                reply.entry_with_ttls(&of_place(&found.node), &in_folder(&folder), &attributes, GENERATION);
            }
            // The kernel may remember that a name is not there, too; number 0 says so.
            Err(Refusal::Missing) if in_folder(&folder) == LONG => {
                let nothing = self.attributes(0, &Facts::made(Kind::File, 0, Moment::default()));
                reply.entry(&LONG, &nothing, GENERATION);
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    /// The kernel gives a number back that it was given so often.
    pub(super) fn forget(&self, number: u64, count: u64) {
        self.table().forget(number, count);
    }

    /// Closes a file or folder.
    pub(super) fn close(&self, handle: u64) {
        self.open.close(handle);
    }

    /// What something is.
    pub(super) fn getattr(&self, number: u64, reply: ReplyAttr) {
        let facts = self.node(number).and_then(|node| {
            let facts = self.tree.facts(&node).map_err(errno)?;
            Ok((facts, of_place(&node)))
        });
        match facts {
            Ok((facts, valid)) => reply.attr(&valid, &self.attributes(number, &facts)),
            Err(error) => reply.error(error),
        }
    }

    /// Where a link leads.
    pub(super) fn readlink(&self, number: u64, reply: ReplyData) {
        match self.node(number).and_then(|node| self.tree.target(&node).map_err(errno)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(error),
        }
    }

    /// Opens a file.
    pub(super) fn open(&self, number: u64, reply: ReplyOpen) {
        let opened = self.node(number).and_then(|node| {
            let content = self.tree.content(&node).map_err(errno)?;
            Ok(Open::File(content, node))
        });
        match opened {
            // What the kernel has read of the file before is still true.
            Ok(file) => {
                let handle = FileHandle(self.open.open(file));
                reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
            }
            Err(error) => reply.error(error),
        }
    }

    /// Reads from a file that is open.
    pub(super) fn read(&self, handle: u64, offset: u64, size: u32, buffer: &mut Vec<u8>, reply: ReplyData) {
        let Some(Open::File(content, node)) = self.open.get(handle) else { return reply.error(Errno::EBADF) };
        if size > REQUEST {
            return reply.error(Errno::EINVAL);
        }
        match content::read(&content, offset, size, buffer) {
            Ok(()) => reply.data(buffer),
            Err(error) => {
                self.tree.unreadable(&node, &error);
                reply.error(Errno::EIO);
            }
        }
    }

    /// Finds the next data or hole of a file that is open.
    pub(super) fn lseek(&self, handle: u64, offset: i64, whence: i32, reply: ReplyLseek) {
        let Some(Open::File(content, _)) = self.open.get(handle) else { return reply.error(Errno::EBADF) };
        let Ok(from) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        let found = match whence {
            SEEK_DATA => content::data(&content, from),
            SEEK_HOLE => content::hole(&content, from),
            _ => return reply.error(Errno::EINVAL),
        };
        match found.and_then(|found| i64::try_from(found).ok()) {
            Some(found) => reply.offset(found),
            None => reply.error(Errno::ENXIO),
        }
    }

    /// Opens a folder.
    pub(super) fn opendir(&self, number: u64, reply: ReplyOpen) {
        let contents = self.node(number).and_then(|node| self.tree.contents(&node).map_err(errno));
        match contents {
            // It is listed anew for each piece, from what is kept of it, and the kernel keeps it, too.
            Ok(Contents::Inside(_)) => {
                reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
            }
            Ok(made) => reply.opened(FileHandle(self.open.open(Open::Folder(made))), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    /// Answers with a value, or its size where that is asked for.
    pub(super) fn extended(&self, number: u64, name: Option<&str>, size: u32, reply: ReplyXattr) {
        let value = self.node(number).and_then(|node| match name {
            None => self.tree.beside(&node).map_err(errno),
            Some(name) => self.tree.beside_by_name(&node, name).map_err(|refusal| match refusal {
                Refusal::Missing => Errno::ENODATA,
                other => errno(other),
            }),
        });
        match value.map(|value| (u32::try_from(value.len()), value)) {
            Ok((Ok(length), _)) if size == 0 => reply.size(length),
            Ok((Ok(length), value)) if length <= size => reply.data(&value),
            Ok(_) => reply.error(Errno::ERANGE),
            Err(error) => reply.error(error),
        }
    }

    /// The folder that is read, and the names in it.
    fn names(&self, number: u64, handle: u64) -> Result<(Node, Contents), Errno> {
        let node = self.node(number)?;
        let contents = match self.open.get(handle) {
            Some(Open::Folder(contents)) => contents,
            _ => self.tree.contents(&node).map_err(errno)?,
        };
        Ok((node, contents))
    }

    /// The names in a folder from a position on, as many as there is room for.
    pub(super) fn readdir(&self, number: u64, handle: u64, offset: u64, mut reply: ReplyDirectory) {
        let (folder, contents) = match self.names(number, handle) {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        for position in offset.. {
            let is_full = match Position::of(position, &contents) {
                Position::Dots(name) => {
                    let dot = if name == "." { number } else { self.above(number, &folder) };
                    reply.add(INodeNo(dot), position + 1, FileType::Directory, name)
                }
                Position::Entry(name, kind) => {
                    let (key, kind) = self.listed(&folder, name, kind);
                    let shown = self.table().find(key);
                    reply.add(INodeNo(shown), position + 1, file_type(kind), name)
                }
                Position::End => break,
            };
            if is_full {
                break;
            }
        }
        reply.ok();
    }

    /// What an entry is, without more work than it takes.
    fn listed(&self, folder: &Node, name: &str, kind: Kind) -> (Key, Kind) {
        let found = match folder {
            Node::Folder(_) => self.tree.lookup(folder, name).map(|found| (found.node.key(), found.facts.kind)),
            _ => self.tree.made(folder, name).map(|node| (node.key(), kind)),
        };
        found.unwrap_or_else(|refusal| (unreadable(folder, name, kind, refusal).node.key(), kind))
    }

    /// As [`Shared::readdir`], and what they are, which the kernel holds from then on.
    pub(super) fn readdirplus(&self, number: u64, handle: u64, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (folder, contents) = match self.names(number, handle) {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        let valid = in_folder(&folder);
        for position in offset.. {
            let is_full = match Position::of(position, &contents) {
                Position::Dots(name) => {
                    // The kernel takes these for names alone, and does not hold them.
                    let dot = INodeNo(if name == "." { number } else { self.above(number, &folder) });
                    let shown = self.attributes(dot.0, &Facts::made(Kind::Folder, 0, Moment::default()));
                    reply.add(dot, position + 1, name, &Duration::ZERO, &shown, GENERATION)
                }
                Position::Entry(name, kind) => {
                    let (found, valid) = match self.tree.lookup(&folder, name) {
                        Ok(found) => {
                            let valid = valid.min(of_place(&found.node));
                            (found, valid)
                        }
                        // It is shown nevertheless. The kernel asks again when somebody looks at it, and that fails then.
                        Err(refusal) => (unreadable(&folder, name, kind, refusal), Duration::ZERO),
                    };
                    let shown = self.hold(&found);
                    let is_full = reply.add(shown.ino, position + 1, name, &valid, &shown, GENERATION);
                    if is_full {
                        self.table().forget(shown.ino.0, 1);
                    }
                    is_full
                }
                Position::End => break,
            };
            if is_full {
                break;
            }
        }
        reply.ok();
    }

    /// The number of the folder above; of what the mount makes, the folder's own, as nobody asks for it.
    fn above(&self, number: u64, folder: &Node) -> u64 {
        match folder {
            Node::Folder(folder) => folder.key_above().map_or(number, |key| self.table().find(key)),
            _ => number,
        }
    }
}

/// What is at a position of a folder that is read.
enum Position<'a> {
    Dots(&'static str),
    Entry(&'a str, Kind),
    End,
}

impl<'a> Position<'a> {
    fn of(position: u64, contents: &'a Contents) -> Self {
        match position {
            0 => Self::Dots("."),
            1 => Self::Dots(".."),
            _ => match usize::try_from(position - 2).ok().and_then(|at| contents.get(at)) {
                Some((name, kind)) => Self::Entry(name, kind),
                None => Self::End,
            },
        }
    }
}

/// An entry of a folder of which no more is known than that it is there.
fn unreadable(folder: &Node, name: &str, kind: Kind, refusal: Refusal) -> Found {
    let node = Node::Unreadable(folder.key().below(name, b"unreadable"), refusal);
    Found { node, facts: Facts::made(kind, 0, Moment::default()) }
}

/// How long the names in a folder may be remembered.
const fn in_folder(folder: &Node) -> Duration {
    match folder {
        Node::Sticks | Node::Ids | Node::Stick(_) => FRESH,
        _ => LONG,
    }
}

/// How long it may be remembered what a place is.
const fn of_place(node: &Node) -> Duration {
    match node {
        Node::Top | Node::Sticks | Node::Ids | Node::Stick(_) | Node::Latest(_) => FRESH,
        _ => LONG,
    }
}

const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

const fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Missing => Errno::ENOENT,
        Refusal::OtherKind => Errno::EINVAL,
        Refusal::Failed => Errno::EIO,
        Refusal::Unsupported => Errno::EOPNOTSUPP,
        Refusal::Endless => Errno::ELOOP,
        Refusal::TooLong => Errno::ENAMETOOLONG,
    }
}

fn system_time(moment: Moment) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::from(moment.nanoseconds.min(999_999_999)));
    let seconds = Duration::from_secs(moment.seconds.unsigned_abs());
    let whole = match moment.seconds {
        0.. => UNIX_EPOCH.checked_add(seconds),
        _ => UNIX_EPOCH.checked_sub(seconds),
    };
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}
