//! A file's bytes as a program reads them.
//!
//! Always true here:
//! - Content that was opened stands on its own, and takes memory by the runs that were read, not by the size that the volume tells.
//! - Nothing is made of what cannot be read: encrypted bytes are refused.

use std::sync::Arc;

use super::facts::stream_name;
use super::node::{Node, Shared};
use super::reparse::Reparse;
use super::wof;
use crate::disk::ReadAt;
use crate::layout::LayoutError;
use crate::layout::ntfs::attribute::{COMPRESSION, ENCRYPTED};
use crate::layout::ntfs::value::{Assembled, Value};

const WHAT: &str = "the content of a file";

/// Opens the content of a node, or a named stream of it.
///
/// # Errors
/// [`LayoutError`]: there is no such stream, its records are damaged or cannot be read, or it is encrypted.
pub(super) fn open(node: &Node<'_>, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
    if let Some(stream) = stream {
        let missing =
            || LayoutError::malformed("the streams of a file", node.record.origin, stream, "none of that name");
        let name = stream_name(node, stream)?.ok_or_else(missing)?;
        return attribute(node.shared, node.data(&name)?.ok_or_else(missing)?);
    }
    let reparse = Reparse::of(node)?;
    if wof::is_one(reparse.as_ref()) {
        return Err(LayoutError::Unsupported { what: WHAT, reason: "it is compressed".to_owned() });
    }
    match node.data(&[])? {
        Some(found) => attribute(node.shared, found),
        None if node.record.is_folder => {
            Err(LayoutError::malformed(WHAT, node.record.origin, "that of a file", "a folder"))
        }
        None => Ok(Arc::new(Vec::new())),
    }
}

/// The bytes of one attribute.
fn attribute(shared: &Shared, found: Assembled) -> Result<Arc<dyn ReadAt>, LayoutError> {
    if found.flags & ENCRYPTED != 0 {
        return Err(LayoutError::Unsupported { what: WHAT, reason: "it is encrypted".to_owned() });
    }
    match found.value {
        Value::Resident(bytes) => Ok(Arc::new(bytes)),
        Value::NonResident(..) if found.flags & COMPRESSION != 0 => {
            Err(LayoutError::Unsupported { what: WHAT, reason: "it is compressed".to_owned() })
        }
        Value::NonResident(places, sizes) => Ok(Arc::new(shared.plain(places, &sizes))),
    }
}
