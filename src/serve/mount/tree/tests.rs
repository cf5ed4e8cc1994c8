//! The tree without a kernel: what stands where, what is kept, and what changes.

use super::{Contents, FRESH, Refusal, SNAPSHOTS, Tree};
use crate::disk::ReadAt;
use crate::layout::files::{Entry, Link, Listing, Moment, NodeFacts, NodeId, NodeKind};
use crate::layout::{FileSystem, LayoutError};
use crate::serve::mount::facts::Kind;
use crate::serve::mount::node::Node;
use crate::serve::mount::shelf::{OpenSnapshot, Shelf, ShelfEntry, ShelfError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A volume with a folder, a file, and a link in the folder: nodes 0 (the top), 1, 2 and 3. Node 4 is damaged, node 5 encrypted.
#[derive(Default)]
struct Files {
    listed: AtomicUsize,
}

impl FileSystem for Files {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        let link = Link { target: r"\??\C:\file".to_owned(), is_relative: false, is_junction: false };
        let kind = match node.0 {
            0 | 1 => NodeKind::Folder,
            2 | 5 => NodeKind::File,
            3 => NodeKind::Link(link),
            _ => return Err(LayoutError::malformed("a record", node.0, "one", "none")),
        };
        Ok(NodeFacts {
            kind,
            size: 7,
            allocated: 512,
            created: None,
            modified: Some(Moment { seconds: 5, nanoseconds: 6 }),
            accessed: None,
            changed: None,
            attributes: 0x20,
            links: 2,
            reparse_tag: None,
        })
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let entry =
            |(name, node): &(&str, u64)| Entry { name: (*name).to_owned(), node: NodeId(*node), is_folder: *node == 1 };
        let entries: &[(&str, u64)] = match folder.0 {
            0 => &[("Folder", 1), ("file", 2), ("bad", 4), ("secret", 5)],
            _ => &[("link", 3), ("..", 0), ("up", 0), ("a/b", 2)],
        };
        let problems = vec![LayoutError::TooMany { what: "entries", limit: 4 }];
        Ok(Listing { entries: entries.iter().map(entry).collect(), problems })
    }

    fn open(&self, node: NodeId, _: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        match node.0 {
            5 => Err(LayoutError::Unsupported { what: "a file", reason: "it is encrypted".into() }),
            _ => Ok(Arc::new(b"content".to_vec())),
        }
    }
}

#[derive(Default)]
struct Snapshots {
    list: Mutex<Vec<ShelfEntry>>,
    is_broken: Mutex<bool>,
    opened: AtomicUsize,
    listed: AtomicUsize,
    files: Arc<Files>,
    told: Mutex<Vec<String>>,
}

struct Opened(Arc<Files>);

impl Shelf for Snapshots {
    fn list(&self) -> Result<Vec<ShelfEntry>, ShelfError> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        match *self.is_broken.lock().unwrap() {
            true => Err(ShelfError("no network".to_owned())),
            false => Ok(self.list.lock().unwrap().clone()),
        }
    }

    fn open(&self, _: &str) -> Result<Arc<dyn OpenSnapshot>, ShelfError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Opened(Arc::clone(&self.files))))
    }

    fn trouble(&self, line: &str) {
        self.told.lock().unwrap().push(line.to_owned());
    }
}

impl OpenSnapshot for Opened {
    fn images(&self) -> Vec<String> {
        vec!["disk.img".to_owned()]
    }

    fn open_image(&self, _: usize) -> Result<Arc<dyn ReadAt>, ShelfError> {
        Ok(Arc::new(vec![0; 1000]))
    }

    fn volumes(&self) -> Vec<String> {
        vec!["partition-3".to_owned()]
    }

    fn open_volume(&self, _: usize) -> Result<Arc<dyn FileSystem>, ShelfError> {
        Ok(Arc::<Files>::clone(&self.0))
    }
}

fn entry(number: usize) -> ShelfEntry {
    ShelfEntry { id: format!("{number:064x}"), stick: "oak".to_owned(), unix_ms: number as i64 * 1000, utc_offset_s: 0 }
}

fn tree(count: usize) -> (Arc<Snapshots>, Tree) {
    let shelf = Arc::new(Snapshots { list: Mutex::new((0..count).map(entry).collect()), ..Snapshots::default() });
    let tree = Tree::new(Arc::<Snapshots>::clone(&shelf), Moment { seconds: 9, nanoseconds: 0 }).unwrap();
    (shelf, tree)
}

fn walk(tree: &Tree, path: &str) -> Result<Node, Refusal> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    names.try_fold(Node::Top, |node, name| tree.lookup(&node, name).map(|found| found.node))
}

fn names(tree: &Tree, path: &str) -> Vec<(String, Kind)> {
    let contents = tree.contents(&walk(tree, path).unwrap()).unwrap();
    (0..).map_while(|at| contents.get(at).map(|(name, kind)| (name.to_owned(), kind))).collect()
}

fn inside(path: &str) -> String {
    format!("by-id/{}/files/partition-3/{path}", entry(0).id)
}

/// As if the list had been asked for long ago.
fn grow_old(tree: &Tree) {
    let mut list = tree.list.lock().unwrap_or_else(PoisonError::into_inner);
    list.asked = Instant::now().checked_sub(FRESH * 2).expect("the machine has run for so long");
}

#[test]
fn everything_stands_where_it_should() {
    let (_, tree) = tree(2);
    let folder = |name: &str| (name.to_owned(), Kind::Folder);
    assert_eq!(names(&tree, ""), [folder("by-stick"), folder("by-id")]);
    assert_eq!(names(&tree, "by-stick"), [folder("oak")]);
    let times = [folder("1970-01-01T00.00.00"), folder("1970-01-01T00.00.01"), ("latest".to_owned(), Kind::Link)];
    assert_eq!(names(&tree, "by-stick/oak"), times);
    assert_eq!(names(&tree, "by-id"), [folder(&entry(0).id), folder(&entry(1).id)]);
    let snapshot = [("disk.img".to_owned(), Kind::File), folder("files")];
    assert_eq!(names(&tree, "by-stick/oak/1970-01-01T00.00.01"), snapshot);
}

#[test]
fn what_is_not_there_or_is_something_else_is_refused() {
    let (_, tree) = tree(1);
    for missing in ["x", "by-stick/elm", "by-stick/oak/x", "by-id/x", &inside("x"), &inside("Folder/x")] {
        assert_eq!(walk(&tree, missing).err(), Some(Refusal::Missing), "{missing}");
    }
    for no_folder in ["by-stick/oak/latest/x", &inside("file/x"), &inside("Folder/link/x")] {
        assert_eq!(walk(&tree, no_folder).err(), Some(Refusal::OtherKind), "{no_folder}");
    }
    let (file, folder) = (walk(&tree, &inside("file")).unwrap(), walk(&tree, &inside("folder")).unwrap());
    assert_eq!(tree.contents(&file).err(), Some(Refusal::OtherKind));
    assert_eq!(tree.content(&folder).err(), Some(Refusal::OtherKind));
    assert_eq!(tree.target(&file), Err(Refusal::OtherKind));
    assert_eq!(walk(&tree, &inside("bad")).err(), Some(Refusal::Failed));
    let secret = walk(&tree, &inside("secret")).unwrap();
    assert_eq!(tree.content(&secret).err(), Some(Refusal::Unsupported));
}

#[test]
fn folders_of_volumes_are_safe() {
    let (shelf, tree) = tree(1);
    let shown: Vec<String> = names(&tree, &inside("Folder")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(shown, ["link", "up", "a\u{fffd}b"]);
    assert_eq!(walk(&tree, &inside("Folder/up")).err(), Some(Refusal::Endless));
    assert_eq!(walk(&tree, &inside("Folder/..")).err(), Some(Refusal::Missing));
    let link = walk(&tree, &inside("FOLDER/LINK")).unwrap();
    assert_eq!(tree.target(&link).as_deref(), Ok("../file"));
    assert_eq!(tree.facts(&link).map(|facts| (facts.kind, facts.size)), Ok((Kind::Link, 7)));
    let (one, other) = (walk(&tree, &inside("file")).unwrap(), walk(&tree, &inside("Folder/a\u{fffd}b")).unwrap());
    assert_eq!(one.key(), other.key(), "two names of one file");
    assert_eq!(tree.content(&one).unwrap().size(), 7);
    let told = shelf.told.lock().unwrap();
    assert!(told.iter().any(|line| line.ends_with("files/partition-3: more than 4 entries")), "{told:?}");
    assert!(told.iter().any(|line| line.ends_with("/Folder: 1 entries have names that name nothing")), "{told:?}");
}

#[test]
fn a_folder_is_listed_once_for_all_its_entries_and_paths() {
    let (shelf, tree) = tree(1);
    for _ in 0..3 {
        for path in ["file", "Folder", "folder/link", "bad"] {
            let _ = walk(&tree, &inside(path));
        }
        let newest = walk(&tree, "by-stick/oak/1970-01-01T00.00.00/files/partition-3/Folder").unwrap();
        assert!(matches!(tree.contents(&newest), Ok(Contents::Inside(_))));
    }
    assert_eq!((shelf.files.listed.load(Ordering::Relaxed), shelf.opened.load(Ordering::Relaxed)), (2, 1));
}

#[test]
fn only_some_snapshots_stay_open() {
    let (shelf, tree) = tree(3 * SNAPSHOTS as usize);
    let look = |number: usize| walk(&tree, &format!("by-id/{}/disk.img", entry(number).id)).unwrap();
    let images: Vec<Node> = (0..3 * SNAPSHOTS as usize).map(look).collect();
    assert_eq!(shelf.opened.load(Ordering::Relaxed), images.len());
    look(images.len() - 1);
    assert_eq!(shelf.opened.load(Ordering::Relaxed), images.len());
    // Those that were closed meanwhile are opened again.
    assert_eq!(tree.content(&images[0]).unwrap().size(), 1000);
    assert_eq!(shelf.opened.load(Ordering::Relaxed), images.len() + 1);
}

#[test]
fn the_list_is_asked_for_again_when_it_is_old() {
    let (shelf, tree) = tree(1);
    shelf.list.lock().unwrap().push(entry(1));
    assert_eq!(names(&tree, "by-id").len(), 1);
    assert_eq!(shelf.listed.load(Ordering::Relaxed), 1);
    grow_old(&tree);
    assert_eq!(names(&tree, "by-id").len(), 2);
    let latest = walk(&tree, "by-stick/oak/latest").unwrap();
    assert_eq!(tree.target(&latest).as_deref(), Ok("1970-01-01T00.00.01"));
    assert_eq!(shelf.listed.load(Ordering::Relaxed), 2);
    // The old list goes on where there is no new one, and is not asked for each time.
    *shelf.is_broken.lock().unwrap() = true;
    grow_old(&tree);
    assert_eq!((names(&tree, "by-id").len(), names(&tree, "by-id").len()), (2, 2));
    assert_eq!(shelf.listed.load(Ordering::Relaxed), 3);
    assert_eq!(*shelf.told.lock().unwrap(), ["the list of snapshots: no network"]);
    // What is gone is gone.
    *shelf.is_broken.lock().unwrap() = false;
    shelf.list.lock().unwrap().clear();
    grow_old(&tree);
    assert_eq!(tree.facts(&latest), Err(Refusal::Missing));
    assert_eq!(names(&tree, "by-stick"), []);
    let began = tree.facts(&Node::Top).unwrap().modified;
    assert_eq!(began, Moment { seconds: 9, nanoseconds: 0 });
}

#[test]
fn a_shelf_without_a_list_is_not_mounted() {
    let shelf = Snapshots { is_broken: Mutex::new(true), ..Snapshots::default() };
    assert_eq!(Tree::new(Arc::new(shelf), Moment::default()).err(), Some(ShelfError("no network".to_owned())));
}

#[test]
fn while_one_waits_for_the_list_others_go_by_the_old_one() {
    let (shelf, tree) = tree(1);
    grow_old(&tree);
    // Somebody else asks at the moment.
    let asking = tree.asking.lock().unwrap();
    assert_eq!(names(&tree, "by-id").len(), 1);
    assert_eq!(shelf.listed.load(Ordering::Relaxed), 1);
    drop(asking);
    tree.catalog();
    assert_eq!(shelf.listed.load(Ordering::Relaxed), 2);
}
