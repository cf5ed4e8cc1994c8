//! What a file or folder says of itself: times, attributes, sizes, names, streams.
//!
//! Always true here: what is told of the content is what its first part says, of an attribute that the file's list names.
//!
//! Structure: Linux-NTFS project, "$STANDARD_INFORMATION" and "$FILE_NAME".

use super::node::Node;
use super::reparse::{Reparse, text};
use super::wof;
use crate::layout::LayoutError;
use crate::layout::files::{Moment, NamedStream, NodeFacts, NodeKind};
use crate::layout::ntfs::attribute::{Attribute, Body, DATA, FILE_NAME, REPARSE_POINT, STANDARD_INFORMATION};
use crate::layout::ntfs::field::{u32_at, u64_at};

/// The attribute of folders ([MS-FSCC] §2.6). The format keeps it in the record's header.
const IS_FOLDER: u32 = 0x10;
/// Bits that programs do not see: that there is an index of names, or of something else.
const INTERNAL: u32 = 3 << 28;
/// Where a name says which name space it is in, and that of names for old programs.
const SPACE: usize = 65;
const DOS_NAMES: u8 = 2;

/// A stream of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    /// In UTF-16; empty for the content.
    name: Box<[u8]>,
    size: u64,
    /// Bytes that it takes on the volume.
    allocated: u64,
}

/// What the attributes of a node say, one by one.
#[derive(Debug, Default)]
struct Survey {
    standard: Option<Box<[u8]>>,
    names: u32,
    streams: Vec<Stream>,
    has_reparse_point: bool,
}

impl Survey {
    fn of(node: &Node<'_>) -> Result<Self, LayoutError> {
        let mut survey = Self::default();
        let wanted = [STANDARD_INFORMATION, FILE_NAME, DATA, REPARSE_POINT];
        node.each(|kind| wanted.contains(&kind), |attribute| survey.see(attribute))?;
        Ok(survey)
    }

    fn see(&mut self, attribute: &Attribute<'_>) {
        match attribute.kind {
            STANDARD_INFORMATION if self.standard.is_none() => self.standard = attribute.resident().map(Into::into),
            FILE_NAME => {
                let space = attribute.resident().and_then(|name| name.get(SPACE));
                self.names += u32::from(space.is_some_and(|space| *space != DOS_NAMES));
            }
            REPARSE_POINT => self.has_reparse_point = true,
            DATA => {
                let (size, allocated) = match attribute.body {
                    Body::Resident(value) => (value.len() as u64, 0),
                    Body::NonResident(part) if part.lowest == 0 => {
                        (part.sizes.data, part.stored.unwrap_or(part.sizes.allocated))
                    }
                    Body::NonResident(_) => return,
                };
                self.streams.push(Stream { name: attribute.name.into(), size, allocated });
            }
            _ => {}
        }
    }

    fn stream(&self, name: &[u8]) -> Option<&Stream> {
        self.streams.iter().find(|stream| *stream.name == *name)
    }
}

/// What is said of a node.
///
/// # Errors
/// [`LayoutError`]: its records are damaged or cannot be read.
pub(super) fn facts(node: &Node<'_>) -> Result<NodeFacts, LayoutError> {
    let survey = Survey::of(node)?;
    let reparse = if survey.has_reparse_point { Reparse::of(node)? } else { None };
    let kind = match reparse.as_ref().and_then(Reparse::link) {
        Some(link) => NodeKind::Link(link),
        None if node.record.is_folder => NodeKind::Folder,
        None => NodeKind::File,
    };
    let content = survey.stream(&[]);
    let stored = if wof::is_one(reparse.as_ref()) { survey.stream(wof::STREAM).or(content) } else { content };
    let is_file = kind == NodeKind::File;
    let volume = node.shared.boot.clusters.saturating_mul(node.shared.boot.cluster);
    let standard = survey.standard.as_deref().unwrap_or_default();
    let moment = |at| moment(u64_at(standard, at)?);
    let attributes = u32_at(standard, 32).unwrap_or_default() & !INTERNAL;
    Ok(NodeFacts {
        size: content.filter(|_| is_file).map_or(0, |stream| stream.size),
        allocated: stored.filter(|_| is_file).map_or(0, |stream| stream.allocated.min(volume)),
        kind,
        created: moment(0),
        modified: moment(8),
        changed: moment(16),
        accessed: moment(24),
        attributes: if node.record.is_folder { attributes | IS_FOLDER } else { attributes & !IS_FOLDER },
        links: survey.names.max(1),
        reparse_tag: reparse.map(|reparse| reparse.tag),
    })
}

/// The streams beside the content.
///
/// # Errors
/// As [`facts`].
pub(super) fn streams(node: &Node<'_>) -> Result<Vec<NamedStream>, LayoutError> {
    let survey = Survey::of(node)?;
    let is_wof = survey.has_reparse_point && wof::is_one(Reparse::of(node)?.as_ref());
    let is_own = |name: &[u8]| name.is_empty() || is_wof && name == wof::STREAM;
    let told = survey.streams.iter().filter(|stream| !is_own(&stream.name));
    Ok(told.map(|stream| NamedStream { name: text(&stream.name), size: stream.size }).collect())
}

/// The name of a stream as the volume has it, in UTF-16, by the name that [`streams`] tells.
///
/// # Errors
/// As [`facts`].
pub(super) fn stream_name(node: &Node<'_>, name: &str) -> Result<Option<Box<[u8]>>, LayoutError> {
    let survey = Survey::of(node)?;
    Ok(survey.streams.into_iter().map(|stream| stream.name).find(|own| text(own) == name))
}

/// A time; `None` where none was set, or one that Windows does not take (the highest bit means something else there).
fn moment(units: u64) -> Option<Moment> {
    (1..1 << 63).contains(&units).then(|| Moment::from_filetime(units))
}
