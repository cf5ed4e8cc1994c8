//! What Windows keeps beside a file's content, as extended attributes: named streams, and the attributes such as hidden.
//!
//! Always true here:
//! - A value has at most [`LARGEST`] bytes and a list at most as many: what is larger is not in the list and is not given.
//! - A name in the list can be asked for, and there is no name twice.

use super::node::{Node, VolumeRef};
use super::tree::{Refusal, Tree};
use crate::disk::DiskOffset;
use crate::layout::files::{NamedStream, NodeId};
use std::collections::HashSet;
use std::fmt::Display;

/// The most bytes of a value and of a list (`XATTR_SIZE_MAX` and `XATTR_LIST_MAX` in Linux).
const LARGEST: u64 = 64 << 10;

/// The most bytes of a name (`XATTR_NAME_MAX`).
const LONGEST: usize = 255;

/// Before the name of a stream.
const STREAM: &str = "user.stream.";

/// The attributes of Windows ([MS-FSCC] §2.6), as a number in hex.
const ATTRIBUTES: &str = "user.ntfs_attrib";

impl Tree {
    /// The names of what is beside a file's or folder's content, a NUL behind each.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn beside(&self, node: &Node) -> Result<Vec<u8>, Refusal> {
        let Some((volume, id, place)) = parts(node) else { return Ok(Vec::new()) };
        let streams = self.streams(volume, id, place)?;
        let mut names = HashSet::new();
        let mut list = Vec::new();
        let streams = streams.iter().filter(|stream| is_told(stream)).map(|stream| format!("{STREAM}{}", stream.name));
        for name in [ATTRIBUTES.to_owned()].into_iter().chain(streams) {
            if list.len() + name.len() < LARGEST as usize && names.insert(name.clone()) {
                list.extend_from_slice(name.as_bytes());
                list.push(0);
            }
        }
        Ok(list)
    }

    /// One of the values beside a file's or folder's content.
    ///
    /// # Errors
    /// [`Refusal::Missing`] where there is none of this name, or only a larger one than [`LARGEST`].
    pub(super) fn beside_by_name(&self, node: &Node, name: &str) -> Result<Vec<u8>, Refusal> {
        let (volume, id, place) = parts(node).ok_or(Refusal::Missing)?;
        if name == ATTRIBUTES {
            let facts = self.said(volume, id, place)?;
            return Ok(format!("{:#010x}", facts.attributes).into_bytes());
        }
        let stream = name.strip_prefix(STREAM).ok_or(Refusal::Missing)?;
        let streams = self.streams(volume, id, place)?;
        streams.iter().find(|other| other.name == stream && is_told(other)).ok_or(Refusal::Missing)?;
        let content = self.volume(volume)?.open(id, Some(stream)).map_err(|error| self.layout(place, &error))?;
        if content.size() > LARGEST {
            return Err(Refusal::Missing);
        }
        let mut value = vec![0; content.size() as usize];
        content.read_at(DiskOffset(0), &mut value).map_err(|error| {
            self.unreadable(node, &error);
            Refusal::Failed
        })?;
        Ok(value)
    }

    fn streams(&self, volume: &VolumeRef, id: NodeId, place: &dyn Display) -> Result<Vec<NamedStream>, Refusal> {
        self.volume(volume)?.streams(id).map_err(|error| self.layout(place, &error))
    }
}

/// Whether a stream can be an extended attribute.
fn is_told(stream: &NamedStream) -> bool {
    let is_name = !stream.name.is_empty() && !stream.name.contains('\0') && STREAM.len() + stream.name.len() <= LONGEST;
    is_name && stream.size <= LARGEST
}

/// The parts of a file or folder of a volume. Linux lets links have no attributes of this kind.
fn parts(node: &Node) -> Option<(&VolumeRef, NodeId, &dyn Display)> {
    match node {
        Node::Folder(folder) => Some((&folder.volume, folder.node, folder)),
        Node::File(named) => Some((&named.folder.volume, named.node, named)),
        _ => None,
    }
}
