//! Snapshots that are open, with their images and volumes.
//!
//! Always true here:
//! - The names of images and volumes are safe, each is there once, and no image is called [`FILES`].
//! - What cannot be opened is told, and tried again when it is next asked for. What was opened stays open as long as the snapshot.

use super::listing::{Listing, Shown};
use super::names::{self, Unique};
use super::shelf::{OpenSnapshot, ShelfError};
use crate::disk::ReadAt;
use crate::layout::FileSystem;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the folder with the volumes, beside the images.
pub(super) const FILES: &str = "files";

/// Things of a snapshot that are opened when they are first asked for, by their position.
struct Lazy<T: ?Sized>(Vec<Mutex<Option<Arc<T>>>>);

impl<T: ?Sized> Lazy<T> {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::new(None)).collect())
    }

    /// The one at a position. Those who ask for the same one wait for each other.
    fn get(&self, at: usize, open: impl FnOnce() -> Result<Arc<T>, ShelfError>) -> Result<Arc<T>, ShelfError> {
        let slot = self.0.get(at).ok_or_else(|| ShelfError(format!("there is no number {at}")))?;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(opened) => Ok(Arc::clone(opened)),
            None => open().inspect(|opened| *slot = Some(Arc::clone(opened))),
        }
    }
}

/// A snapshot that is open.
pub(super) struct Opened {
    snapshot: Arc<dyn OpenSnapshot>,
    /// The names of its images, with their positions.
    pub(super) images: Listing<usize>,
    /// The names of its volumes, with their positions.
    pub(super) volumes: Listing<usize>,
    open_images: Lazy<dyn ReadAt>,
    open_volumes: Lazy<dyn FileSystem>,
}

impl Opened {
    /// Makes the names safe.
    pub(super) fn new(snapshot: Arc<dyn OpenSnapshot>) -> Self {
        let (images, volumes) = (snapshot.images(), snapshot.volumes());
        let mut beside = Unique::default();
        beside.take(FILES);
        Self {
            open_images: Lazy::new(images.len()),
            open_volumes: Lazy::new(volumes.len()),
            images: shown(images, beside),
            volumes: shown(volumes, Unique::default()),
            snapshot,
        }
    }

    /// An image, by its position.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub(super) fn image(&self, at: usize) -> Result<Arc<dyn ReadAt>, ShelfError> {
        self.open_images.get(at, || self.snapshot.open_image(at))
    }

    /// A volume, by its position.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub(super) fn volume(&self, at: usize) -> Result<Arc<dyn FileSystem>, ShelfError> {
        self.open_volumes.get(at, || self.snapshot.open_volume(at))
    }
}

fn shown(names: Vec<String>, mut unique: Unique) -> Listing<usize> {
    let safe = |(name, at): (String, usize)| Shown { name: unique.give(&names::outside(&name)).into(), what: at };
    Listing::new(names.into_iter().zip(0..).map(safe).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Flaky(AtomicU32);

    impl OpenSnapshot for Flaky {
        fn images(&self) -> Vec<String> {
            ["disk.img", "disk.img", "files", "../x"].map(str::to_owned).into()
        }

        fn open_image(&self, index: usize) -> Result<Arc<dyn ReadAt>, ShelfError> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(ShelfError("not yet".into())),
                _ => Ok(Arc::new(vec![0; index])),
            }
        }

        fn volumes(&self) -> Vec<String> {
            Vec::new()
        }

        fn open_volume(&self, index: usize) -> Result<Arc<dyn FileSystem>, ShelfError> {
            Err(ShelfError(index.to_string()))
        }
    }

    #[test]
    fn images_have_safe_names_and_are_opened_once() {
        let flaky = Arc::new(Flaky::default());
        let opened = Opened::new(Arc::<Flaky>::clone(&flaky));
        let names: Vec<&str> = opened.images.entries().iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["disk.img", "disk-2.img", "files-2", "..\u{fffd}x"]);
        assert!(opened.image(2).is_err());
        assert_eq!(opened.image(2).map(|disk| disk.size()), Ok(2));
        assert_eq!(opened.image(2).map(|disk| disk.size()), Ok(2));
        assert_eq!(flaky.0.load(Ordering::Relaxed), 2);
        assert!(opened.image(4).is_err() && opened.volume(0).is_err());
    }
}
