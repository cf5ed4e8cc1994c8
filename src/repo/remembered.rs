//! What this machine remembers of a repository: small files below the cache folder.
//!
//! Always true here:
//! - A file is a magic, what it holds, and the BLAKE3 of both. One that does not read is as good as none.
//! - It is replaced whole, never changed in place, and can be deleted at any time.

use crate::codec::{Reader, Writer};
use std::io;
use std::path::Path;

/// What tells one kind of file from another.
pub(super) type Magic = [u8; 8];

/// The bytes of a file, whose content `write` writes.
pub(super) fn encode(magic: &Magic, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(magic);
    write(&mut writer);
    let mut bytes = writer.into_bytes();
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&hash);
    bytes
}

/// What a file holds, where its bytes are those that were written.
pub(super) fn content<'a>(magic: &Magic, bytes: &'a [u8]) -> Option<Reader<'a>> {
    let (bytes, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(bytes).as_bytes() != hash {
        return None;
    }
    Some(Reader::new(bytes.strip_prefix(magic)?))
}

/// Reads a file; nothing where there is none that `decode` makes something of.
pub(super) fn load<T: Default>(path: &Path, decode: impl FnOnce(&[u8]) -> Option<T>) -> T {
    std::fs::read(path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default()
}

/// Writes a file, and the folder that it is in.
pub(super) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}
