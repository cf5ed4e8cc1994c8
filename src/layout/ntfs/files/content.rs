//! A file's bytes as a program reads them.
//!
//! Always true here:
//! - Content that was opened stands on its own, and takes memory by the runs that were read, not by the size that the volume tells.
//! - Nothing is made of what cannot be read: encrypted bytes are refused.

use std::sync::Arc;

use super::facts::stream_name;
use super::node::{Node, Shared};
use super::reparse::Reparse;
use super::{units, wof};
use crate::disk::ReadAt;
use crate::layout::LayoutError;
use crate::layout::ntfs::attribute::{COMPRESSION, ENCRYPTED};
use crate::layout::ntfs::value::{Assembled, Value};

/// The one compression that is in use (Linux-NTFS, `ATTR_IS_COMPRESSED`).
const LZNT1: u16 = 1;
/// The tag of files whose bytes are in a store of the volume that files share, but for what was written since ([MS-FSCC]
/// §2.1.2.1, `IO_REPARSE_TAG_DEDUP`).
const DEDUPLICATED: u32 = 0x8000_0013;
const WHAT: &str = "the content of a file";

/// Opens the content of a node, or a named stream of it.
///
/// # Errors
/// [`LayoutError`]: there is no such stream, its records are damaged or cannot be read, or it is encrypted.
pub(super) fn open(node: &Node<'_>, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
    if let Some(stream) = stream {
        let missing =
            || LayoutError::malformed("the streams of a file", node.record.origin, stream, "none of that name");
        let name = stream_name(node, stream)?.filter(|name| !name.is_empty()).ok_or_else(missing)?;
        return attribute(node.shared, node.data(&name)?.ok_or_else(missing)?);
    }
    let reparse = Reparse::of(node)?;
    if let Some(reparse) = reparse.as_ref().filter(|reparse| wof::is_one(Some(reparse))) {
        return overlaid(node, reparse);
    }
    match node.data(&[])? {
        Some(found) => {
            if let Some(Reparse { tag, .. }) = reparse.filter(|reparse| is_elsewhere(reparse, &found.value)) {
                let reason = format!("its bytes are elsewhere, as its reparse point {tag:#010x} says");
                return Err(LayoutError::Unsupported { what: WHAT, reason });
            }
            attribute(node.shared, found)
        }
        None if node.record.is_folder => {
            Err(LayoutError::malformed(WHAT, node.record.origin, "that of a file", "a folder"))
        }
        None => Ok(Arc::new(Vec::new())),
    }
}

/// Whether the content is only a hole where something else keeps the bytes: in a store of the volume, or in the cloud.
fn is_elsewhere(reparse: &Reparse, content: &Value) -> bool {
    match content {
        Value::Resident(_) => false,
        Value::NonResident(places, sizes) => {
            reparse.tag == DEDUPLICATED || sizes.data > 0 && places.runs().iter().all(|run| run.place().is_none())
        }
    }
}

/// Content that is in a stream, compressed.
fn overlaid(node: &Node<'_>, reparse: &Reparse) -> Result<Arc<dyn ReadAt>, LayoutError> {
    let at = node.record.origin;
    let missing = |what| LayoutError::malformed("the streams of a compressed file", at, what, "none");
    let size = match node.data(&[])?.ok_or_else(|| missing("its content"))?.value {
        Value::Resident(bytes) => bytes.len() as u64,
        Value::NonResident(_, sizes) => sizes.data,
    };
    let stream = node.data(wof::STREAM)?.ok_or_else(|| missing("its compressed bytes"))?;
    wof::open(reparse, attribute(node.shared, stream)?, size, at)
}

/// The bytes of one attribute.
fn attribute(shared: &Shared, found: Assembled) -> Result<Arc<dyn ReadAt>, LayoutError> {
    if found.flags & ENCRYPTED != 0 {
        return Err(LayoutError::Unsupported { what: WHAT, reason: "it is encrypted".to_owned() });
    }
    match found.value {
        Value::Resident(bytes) => Ok(Arc::new(bytes)),
        Value::NonResident(places, sizes) => match found.flags & COMPRESSION {
            0 => Ok(Arc::new(shared.plain(places, &sizes))),
            LZNT1 => units::open(shared, places, &sizes, found.unit, found.at),
            other => {
                let reason = format!("its compression by algorithm {other} is not known");
                Err(LayoutError::Unsupported { what: WHAT, reason })
            }
        },
    }
}
