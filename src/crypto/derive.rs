//! What follows from what: every derivation of the format in one place (format-spec/keys.md, "Derivations").
//!
//! Always true here:
//! - `K = BLAKE3-keyed(secret, plaintext)`, `I = BLAKE3-derive-key(context, K)`: whoever holds `K` can name the chunk, and
//!   whoever holds `I` cannot find `K`.
//! - Each context string is used for one purpose and never changes.

use super::Secret;
use crate::ids::{ChunkId, ChunkKey, ObjectId};

const CONTEXT_CHUNK_ID: &str = "sheaf v1 2026-11 chunk id";
const CONTEXT_REFERENCE: &str = "sheaf v1 2026-11 reference secret";

/// The kinds of record that are sealed under a key derived from the index key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// The trailer of a pack.
    PackTrailer,
    /// An index segment.
    IndexSegment,
    /// Who signed an object.
    Signature,
    /// A session.
    Session,
    /// A retirement.
    Retirement,
    /// The facts of an audit entry.
    AuditFacts,
}

impl RecordKind {
    const fn context(self) -> &'static str {
        match self {
            Self::PackTrailer => "sheaf v1 2026-11 pack trailer",
            Self::IndexSegment => "sheaf v1 2026-11 index segment",
            Self::Signature => "sheaf v1 2026-11 signature",
            Self::Session => "sheaf v1 2026-11 session",
            Self::Retirement => "sheaf v1 2026-11 retirement",
            Self::AuditFacts => "sheaf v1 2026-11 audit facts",
        }
    }
}

/// The key under which records of `kind` are sealed.
pub fn record_key(index_key: &Secret, kind: RecordKind) -> Secret {
    Secret::new(blake3::derive_key(kind.context(), index_key.expose()))
}

/// The secret from which the keys of reference-list chunks follow, so that the index key alone opens them.
pub fn reference_secret(index_key: &Secret) -> Secret {
    Secret::new(blake3::derive_key(CONTEXT_REFERENCE, index_key.expose()))
}

/// What a rotation makes anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// The index key.
    IndexKey,
    /// The dedup secret.
    DedupSecret,
    /// The admins' private key.
    AdminsKey,
    /// The catalog's private key.
    CatalogKey,
    /// The audit's private key.
    AuditKey,
}

impl Rotated {
    const fn context(self) -> &'static str {
        match self {
            Self::IndexKey => "sheaf v1 2026-11 rotation: index key",
            Self::DedupSecret => "sheaf v1 2026-11 rotation: dedup secret",
            Self::AdminsKey => "sheaf v1 2026-11 rotation: admins' key",
            Self::CatalogKey => "sheaf v1 2026-11 rotation: catalog key",
            Self::AuditKey => "sheaf v1 2026-11 rotation: audit key",
        }
    }
}

/// The secret of the epoch behind that of `index_key`: it follows from what admins alone have, so that two rotations at once have the
/// same secrets.
pub fn rotated(authority_seed: &Secret, index_key: &Secret, what: Rotated) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(what.context());
    hasher.update(authority_seed.expose()).update(index_key.expose());
    Secret::new(*hasher.finalize().as_bytes())
}

/// The key of the chunk with this content: the dedup secret for data and manifests, the reference secret
/// for reference lists.
pub fn chunk_key(secret: &Secret, plaintext: &[u8]) -> ChunkKey {
    ChunkKey::new(*blake3::keyed_hash(secret.expose(), plaintext).as_bytes())
}

/// The id under which a chunk is stored and looked up.
pub fn chunk_id(key: &ChunkKey) -> ChunkId {
    ChunkId::new(blake3::derive_key(CONTEXT_CHUNK_ID, key.expose()))
}

/// The name of an object that is named by its bytes.
pub fn object_id(bytes: &[u8]) -> ObjectId {
    ObjectId::new(*blake3::hash(bytes).as_bytes())
}

/// The name of an object that is given in parts.
pub fn object_id_of_parts(parts: &[&[u8]]) -> ObjectId {
    let mut hasher = ObjectHasher::default();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// The name of an object whose bytes come one part behind the other.
#[derive(Debug, Default)]
pub struct ObjectHasher(blake3::Hasher);

impl ObjectHasher {
    /// The next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The name of what was given.
    pub fn finish(&self) -> ObjectId {
        ObjectId::new(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers, made with the `b3sum`-compatible reference implementation; format-spec/keys.md shows the same.
    #[test]
    fn derivations_never_change() {
        let secret = Secret::new([0x11; 32]);
        let key = chunk_key(&secret, b"sheaf");
        let seen = [
            crate::ids::to_hex(key.expose()),
            chunk_id(&key).to_string(),
            crate::ids::to_hex(reference_secret(&secret).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::PackTrailer).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::IndexSegment).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::Signature).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::Session).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::Retirement).expose()),
            crate::ids::to_hex(record_key(&secret, RecordKind::AuditFacts).expose()),
            crate::ids::to_hex(rotated(&secret, &secret, Rotated::IndexKey).expose()),
            crate::ids::to_hex(rotated(&secret, &secret, Rotated::DedupSecret).expose()),
            crate::ids::to_hex(rotated(&secret, &secret, Rotated::AdminsKey).expose()),
            crate::ids::to_hex(rotated(&secret, &secret, Rotated::CatalogKey).expose()),
            crate::ids::to_hex(rotated(&secret, &secret, Rotated::AuditKey).expose()),
        ];
        let spec = include_str!("../../format-spec/keys.md");
        for value in seen {
            assert!(spec.contains(&value), "format-spec/keys.md does not show {value}");
        }
    }
}
