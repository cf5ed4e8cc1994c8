//! Files that Windows keeps compressed in a stream of theirs ("Compact OS", [MS-FSCC] §2.1.2.1, `IO_REPARSE_TAG_WOF`).

use super::reparse::Reparse;

const TAG: u32 = 0x8000_0017;
/// The name of the stream with the compressed bytes.
pub(super) const STREAM: &[u8] = b"W\0o\0f\0C\0o\0m\0p\0r\0e\0s\0s\0e\0d\0D\0a\0t\0a\0";

/// Whether a reparse point says that the content is kept this way.
pub(super) fn is_one(reparse: Option<&Reparse>) -> bool {
    reparse.is_some_and(|reparse| reparse.tag == TAG)
}
