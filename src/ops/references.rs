//! The walk over a reference list: every chunk that a snapshot needs, by id, with the index key alone.
//!
//! Always true here: a part that the visitor has no use for is not read.

use crate::crypto::derive;
use crate::format::tree::TreeRoot;
use crate::ids::{ChunkId, ChunkKey};
use crate::repo::RepoError;
use crate::repo::keyring::Domain;
use crate::repo::reader::ChunkStore;
use crate::repo::tree::TreeCursor;

/// What the walk comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// A chunk that the snapshot needs. What the visitor answers does not matter.
    Chunk(ChunkId),
    /// A part of the list is about to be read, which lies in this chunk; false passes it by.
    Leaf(ChunkId),
}

/// Walks a reference list: the nodes of its tree, its leaves, and what they name. The list's own chunks are visited before what is in
/// them.
///
/// # Errors
/// Those of the visitor, and [`RepoError`] where a part of the list cannot be read.
pub(crate) fn walk<E: From<RepoError>>(
    store: &ChunkStore,
    root: &TreeRoot,
    visit: &mut dyn FnMut(Visit) -> Result<bool, E>,
) -> Result<(), E> {
    let mut session = store.session()?;
    let mut cursor = TreeCursor::new(store.nodes(Domain::Reference)?, root.clone());
    let (mut position, mut nodes) = (0, Vec::new());
    loop {
        let mut node = |key: &ChunkKey| {
            nodes.push(derive::chunk_id(key));
            Ok(())
        };
        let leaf = cursor.leaf_at_with(position, &mut node)?;
        for id in nodes.drain(..) {
            visit(Visit::Chunk(id))?;
        }
        let Some(leaf) = leaf else { return Ok(()) };
        position = leaf.start + leaf.entry.span;
        let id = derive::chunk_id(&leaf.entry.key);
        visit(Visit::Chunk(id))?;
        if !visit(Visit::Leaf(id))? {
            continue;
        }
        let chunk = session.read(Domain::Reference, &leaf.entry.key)?;
        for id in chunk.as_chunks::<32>().0 {
            visit(Visit::Chunk(ChunkId::new(*id)))?;
        }
    }
}
