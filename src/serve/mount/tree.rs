//! The tree that a mount shows: what is in a folder, what stands under a name, and what that is.
//!
//! ```text
//! by-stick/STICK/TIME/   each with disk.img … and files/VOLUME/…
//! by-stick/STICK/latest  a link to the newest TIME
//! by-id/ID/              the same by id, of which 8 digits are enough where they are unique
//! ```
//!
//! Always true here:
//! - No volume can show a name or a link that leads out of it.
//! - What is kept in memory is bounded: at most [`SNAPSHOTS`] open snapshots, but for those that open files stand on, and listings of
//!   about [`ENTRIES`] entries, or the last one where it is longer.
//! - The list of snapshots is asked for at most every [`FRESH`]; while one thread waits for it, the others go by the old one.

use super::cache::Cache;
use super::catalog::{Catalog, Snapshot};
use super::facts::{Facts, Kind};
use super::links;
use super::listing::Listing;
use super::node::{Endless, Folder, Named, Node, VolumeRef};
use super::opened::{FILES, Opened};
use super::shelf::{Shelf, ShelfError};
use super::troubles::Troubles;
use crate::disk::{ReadAt, ReadError};
use crate::layout::files::{Moment, NodeFacts, NodeId, NodeKind};
use crate::layout::{FileSystem, LayoutError};
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a list of snapshots is good.
pub(super) const FRESH: Duration = Duration::from_secs(3);

/// Snapshots that are kept open.
const SNAPSHOTS: u64 = 8;

/// Entries of folders that are kept, about 100 bytes each.
const ENTRIES: u64 = 512 << 10;

/// What a folder weighs beside its entries.
const FOLDER: u64 = 8;

/// The names of the two ways to a snapshot, and of the newest one's link.
const BY_STICK: &str = "by-stick";
const BY_ID: &str = "by-id";
const LATEST: &str = "latest";

/// Why a client does not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing of that name.
    Missing,
    /// It is something else than what it was taken for.
    OtherKind,
    /// It could not be read; why was told.
    Failed,
    /// It is sound, but cannot be read here; why was told.
    Unsupported,
    /// A folder that is in itself.
    Endless,
    /// A target of a link that Linux cannot follow.
    TooLong,
}

/// What the folders of a volume have: a node, and whether it may be a folder.
type Inside = (NodeId, bool);

/// The names in a folder, by position, each with what it may be.
#[derive(Debug, Clone)]
pub(super) enum Contents {
    /// Of a folder that the mount makes.
    Made(Arc<[(String, Kind)]>),
    /// Of a folder of a volume. They are the same each time that the folder is listed.
    Inside(Arc<Listing<Inside>>),
}

impl Contents {
    /// The name at a position.
    pub(super) fn get(&self, at: usize) -> Option<(&str, Kind)> {
        match self {
            Self::Made(names) => names.get(at).map(|(name, kind)| (&**name, *kind)),
            Self::Inside(listing) => listing.entries().get(at).map(|entry| match entry.what.1 {
                true => (&*entry.name, Kind::Folder),
                false => (&*entry.name, Kind::File),
            }),
        }
    }
}

/// A place that was found, with what it is.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The place.
    pub(super) node: Node,
    /// What it is.
    pub(super) facts: Facts,
}

struct List {
    catalog: Arc<Catalog>,
    asked: Instant,
}

/// The tree.
pub(super) struct Tree {
    shelf: Arc<dyn Shelf>,
    list: Mutex<List>,
    /// Held by who asks for the list anew.
    asking: Mutex<()>,
    snapshots: Cache<Arc<str>, Opened>,
    listings: Cache<(Arc<str>, usize, NodeId), Listing<Inside>>,
    troubles: Troubles,
    /// Shown as the time of the folders at the top where there is no snapshot.
    began: Moment,
}

impl Tree {
    /// The tree of a shelf, whose list is asked for once.
    ///
    /// # Errors
    /// [`ShelfError`] where there is no list.
    pub(super) fn new(shelf: Arc<dyn Shelf>, began: Moment) -> Result<Self, ShelfError> {
        let catalog = Arc::new(Catalog::new(shelf.list()?));
        Ok(Self {
            troubles: Troubles::new(Arc::clone(&shelf)),
            shelf,
            list: Mutex::new(List { catalog, asked: Instant::now() }),
            asking: Mutex::new(()),
            snapshots: Cache::new(SNAPSHOTS),
            listings: Cache::new(ENTRIES),
            began,
        })
    }

    /// The snapshots as of now, or of [`FRESH`] ago at most.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        let current = || {
            let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&list.catalog), list.asked.elapsed() >= FRESH)
        };
        let (catalog, is_old) = current();
        if !is_old {
            return catalog;
        }
        let _asking = match self.asking.try_lock() {
            Ok(asking) => asking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return catalog,
        };
        let (catalog, is_old) = current();
        if !is_old {
            return catalog;
        }
        let catalog = match self.shelf.list() {
            Ok(list) => Arc::new(Catalog::new(list)),
            Err(error) => {
                self.troubles.tell("the list of snapshots", error);
                catalog
            }
        };
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        *list = List { catalog: Arc::clone(&catalog), asked: Instant::now() };
        catalog
    }

    /// What stands under a name in a folder.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn lookup(&self, folder: &Node, name: &str) -> Result<Found, Refusal> {
        if let Node::Folder(folder) = folder {
            return self.inside(folder, name);
        }
        let node = self.made(folder, name)?;
        let facts = self.facts(&node)?;
        Ok(Found { node, facts })
    }

    /// What stands under a name in a folder that the mount makes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn made(&self, folder: &Node, name: &str) -> Result<Node, Refusal> {
        let catalog = || self.catalog();
        let found = match folder {
            Node::Top if name == BY_STICK => Some(Node::Sticks),
            Node::Top if name == BY_ID => Some(Node::Ids),
            Node::Top => None,
            Node::Sticks => catalog().in_folder(name).map(|stick| Node::Stick(Arc::clone(&stick.name))),
            Node::Ids => catalog().snapshot(name).map(|snapshot| below(folder, name, snapshot)),
            Node::Stick(stick) if name == LATEST => Some(Node::Latest(Arc::clone(stick))),
            Node::Stick(stick) => catalog()
                .stick(stick)
                .and_then(|stick| stick.snapshots.iter().find(|(time, _)| time == name))
                .map(|(time, snapshot)| below(folder, time, snapshot)),
            Node::Snapshot(snapshot, key) if name == FILES => {
                Some(Node::Files(Arc::clone(snapshot), key.below(name, b"")))
            }
            Node::Snapshot(snapshot, _) => {
                let opened = self.open(snapshot)?;
                opened.images.exact(name).map(|entry| Node::Image(Arc::clone(snapshot), entry.what))
            }
            Node::Files(snapshot, key) => {
                let opened = self.open(snapshot)?;
                let entry = opened.volumes.find(name).ok_or(Refusal::Missing)?;
                let (index, shown) = (entry.what, entry.name.clone());
                let volume = VolumeRef { snapshot: Arc::clone(snapshot), index, name: shown };
                let root = self.volume(&volume)?.root();
                // The key has the name as it was asked for, as it may differ from the volume's in case.
                let key = key.below(name, b"");
                Some(Node::Folder(Arc::new(Folder::top(volume, root, key))))
            }
            Node::Unreadable(_, refusal) => return Err(*refusal),
            Node::Folder(_) | Node::Latest(_) | Node::Image(..) | Node::File(_) | Node::Link(_) => {
                return Err(Refusal::OtherKind);
            }
        };
        found.ok_or(Refusal::Missing)
    }

    /// What a folder of a volume has under a name.
    fn inside(&self, folder: &Arc<Folder>, name: &str) -> Result<Found, Refusal> {
        let (node, _) = self.listing(folder)?.find(name).map(|entry| entry.what).ok_or(Refusal::Missing)?;
        let named = || Arc::new(Named { folder: Arc::clone(folder), name: name.into(), node });
        let facts = self.volume(&folder.volume)?.facts(node).map_err(|error| self.layout(named(), &error))?;
        let place = match &facts.kind {
            NodeKind::Folder => match folder.enter(name, node) {
                Ok(inner) => Node::Folder(Arc::new(inner)),
                Err(Endless) => {
                    self.troubles.tell(named(), "this folder is in itself, or too deep");
                    return Err(Refusal::Endless);
                }
            },
            NodeKind::File => Node::File(named()),
            NodeKind::Link(_) => Node::Link(named()),
        };
        Ok(Found { node: place, facts: told(&facts, folder) })
    }

    /// What a place is.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn facts(&self, node: &Node) -> Result<Facts, Refusal> {
        let folder = |when| Facts::made(Kind::Folder, 0, when);
        Ok(match node {
            Node::Top | Node::Sticks | Node::Ids => folder(Catalog::newest(&self.catalog().ids).max(self.began)),
            Node::Stick(name) => {
                let catalog = self.catalog();
                let stick = catalog.stick(name).ok_or(Refusal::Missing)?;
                folder(Catalog::newest(stick.snapshots.iter().map(|(_, snapshot)| snapshot)))
            }
            Node::Latest(name) => {
                let (time, snapshot) = self.newest(name)?;
                Facts::made(Kind::Link, time.len() as u64, snapshot.when)
            }
            Node::Snapshot(snapshot, _) | Node::Files(snapshot, _) => folder(snapshot.when),
            Node::Image(snapshot, at) => Facts::made(Kind::File, self.image(snapshot, *at)?.size(), snapshot.when),
            Node::Folder(folder) => told(&self.said(&folder.volume, folder.node, folder)?, folder),
            Node::File(named) | Node::Link(named) => told(&self.said_of(named)?, &named.folder),
            Node::Unreadable(_, refusal) => return Err(*refusal),
        })
    }

    /// The names in a folder.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn contents(&self, folder: &Node) -> Result<Contents, Refusal> {
        let folders =
            |names: &mut dyn Iterator<Item = &str>| names.map(|name| (name.to_owned(), Kind::Folder)).collect();
        Ok(Contents::Made(match folder {
            Node::Top => folders(&mut [BY_STICK, BY_ID].into_iter()),
            Node::Sticks => folders(&mut self.catalog().sticks.iter().map(|stick| &*stick.folder)),
            Node::Ids => folders(&mut self.catalog().ids.iter().map(|snapshot| &*snapshot.id)),
            Node::Stick(name) => {
                let catalog = self.catalog();
                let snapshots = &catalog.stick(name).ok_or(Refusal::Missing)?.snapshots;
                let times = snapshots.iter().map(|(time, _)| (time.clone(), Kind::Folder));
                times.chain([(LATEST.to_owned(), Kind::Link)]).collect()
            }
            Node::Snapshot(snapshot, _) => {
                let opened = self.open(snapshot)?;
                let images = opened.images.entries().iter().map(|entry| (entry.name.to_string(), Kind::File));
                images.chain([(FILES.to_owned(), Kind::Folder)]).collect()
            }
            Node::Files(snapshot, _) => {
                folders(&mut self.open(snapshot)?.volumes.entries().iter().map(|entry| &*entry.name))
            }
            Node::Folder(folder) => return Ok(Contents::Inside(self.listing(folder)?)),
            Node::Unreadable(_, refusal) => return Err(*refusal),
            Node::Latest(_) | Node::Image(..) | Node::File(_) | Node::Link(_) => return Err(Refusal::OtherKind),
        }))
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn content(&self, file: &Node) -> Result<Arc<dyn ReadAt>, Refusal> {
        match file {
            Node::Image(snapshot, at) => self.image(snapshot, *at),
            Node::File(named) => {
                let content = self.volume(&named.folder.volume)?.open(named.node, None);
                content.map_err(|error| self.layout(named, &error))
            }
            Node::Unreadable(_, refusal) => Err(*refusal),
            _ => Err(Refusal::OtherKind),
        }
    }

    /// Where a link leads.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn target(&self, link: &Node) -> Result<String, Refusal> {
        match link {
            Node::Latest(name) => self.newest(name).map(|(time, _)| time),
            Node::Link(named) => match self.said_of(named)?.kind {
                NodeKind::Link(link) => links::target(&link, named.folder.depth).ok_or(Refusal::TooLong),
                _ => Err(Refusal::OtherKind),
            },
            _ => Err(Refusal::OtherKind),
        }
    }

    /// A stick's newest snapshot, and the name of its folder.
    fn newest(&self, stick: &str) -> Result<(String, Arc<Snapshot>), Refusal> {
        let catalog = self.catalog();
        let newest = catalog.stick(stick).and_then(|stick| stick.snapshots.last());
        newest.map(|(time, snapshot)| (time.clone(), Arc::clone(snapshot))).ok_or(Refusal::Missing)
    }

    fn open(&self, snapshot: &Snapshot) -> Result<Arc<Opened>, Refusal> {
        let open = || self.shelf.open(&snapshot.id).map(|opened| (Opened::new(opened), 1));
        self.snapshots.get(&snapshot.id, open).map_err(|error| self.not_opened(&snapshot.id, &error))
    }

    fn image(&self, snapshot: &Snapshot, at: usize) -> Result<Arc<dyn ReadAt>, Refusal> {
        let image = self.open(snapshot)?.image(at);
        image.map_err(|error| self.not_opened(format_args!("an image of {}", snapshot.id), &error))
    }

    /// The files of a volume.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn volume(&self, volume: &VolumeRef) -> Result<Arc<dyn FileSystem>, Refusal> {
        let files = self.open(&volume.snapshot)?.volume(volume.index);
        files.map_err(|error| self.not_opened(volume, &error))
    }

    /// The listing of a folder of a volume; the same for each path to it.
    fn listing(&self, folder: &Folder) -> Result<Arc<Listing<Inside>>, Refusal> {
        let VolumeRef { snapshot, index, .. } = &*folder.volume;
        let key = (Arc::clone(&snapshot.id), *index, folder.node);
        self.listings.get(&key, || {
            let listed = self.volume(&folder.volume)?.entries(folder.node);
            let listed = listed.map_err(|error| self.layout(folder, &error))?;
            for problem in &listed.problems {
                self.troubles.tell_error(folder, problem);
            }
            let entries = listed.entries.into_iter().map(|entry| (entry.name, (entry.node, entry.is_folder)));
            let (listing, left_out) = Listing::of_volume(entries);
            if left_out > 0 {
                self.troubles.tell(folder, format_args!("{left_out} entries have names that name nothing"));
            }
            let weight = FOLDER + listing.entries().len() as u64;
            Ok((listing, weight))
        })
    }

    /// What a volume says of a file or link.
    fn said_of(&self, named: &Named) -> Result<NodeFacts, Refusal> {
        self.said(&named.folder.volume, named.node, named)
    }

    /// What a volume says of a node.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn said(&self, volume: &VolumeRef, node: NodeId, place: impl Display) -> Result<NodeFacts, Refusal> {
        self.volume(volume)?.facts(node).map_err(|error| self.layout(place, &error))
    }

    fn not_opened(&self, what: impl Display, error: &ShelfError) -> Refusal {
        self.troubles.tell(what, error);
        Refusal::Failed
    }

    /// Tells what is wrong with a volume, and what the client gets for it.
    pub(super) fn layout(&self, place: impl Display, error: &LayoutError) -> Refusal {
        self.troubles.tell_error(place, error);
        match error {
            LayoutError::Unsupported { .. } => Refusal::Unsupported,
            _ => Refusal::Failed,
        }
    }

    /// Tells that the content of a file could not be read at some place.
    pub(super) fn unreadable(&self, file: &Node, error: &ReadError) {
        match file {
            Node::File(named) => self.troubles.tell_error(named, error),
            Node::Image(snapshot, _) => self.troubles.tell_error(format_args!("an image of {}", snapshot.id), error),
            _ => {}
        }
    }
}

/// The folder of a snapshot, below the folder that has it under this name.
fn below(folder: &Node, name: &str, snapshot: &Arc<Snapshot>) -> Node {
    Node::Snapshot(Arc::clone(snapshot), folder.key().below(name, snapshot.id.as_bytes()))
}

/// What a client is told of something in a folder.
fn told(facts: &NodeFacts, folder: &Folder) -> Facts {
    let target = match &facts.kind {
        NodeKind::Link(link) => links::target(link, folder.depth),
        _ => None,
    };
    Facts::of(facts, target.as_deref(), folder.volume.snapshot.when)
}

#[cfg(test)]
mod tests;
