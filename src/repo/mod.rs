//! L2: the repository's rules. What is sealed how, in which order things become durable, and what may be trusted.
//!
//! Always true here:
//! - The order of durability is packs, then index, then snapshot; the snapshot is the one commit point.
//! - A repository that is not unlocked has no method that reads data: [`open::LockedRepository`] becomes
//!   [`open::Repository`] only with a password that opens a key bundle, and only when the config is the one that
//!   the bundle holds.
//! - No byte of a chunk leaves this layer before its key was derived again from the bytes and compared.

mod ahead;
pub mod audit;
pub mod bundles;
pub mod cache;
pub mod chunks;
mod elsewhere;
mod epochs;
pub mod filter;
pub mod index;
mod issue;
pub mod keyring;
mod mending;
pub mod open;
pub mod packer;
pub mod parity;
pub mod reader;
mod remembered;
pub mod retired;
pub mod rotation;
mod sealing;
pub mod segments;
pub mod sessions;
mod signing;
pub mod snapshots;
pub mod tree;
pub mod view;

use crate::chunk::ChunkError;
use crate::crypto::CryptoError;
use crate::format::FormatError;
use crate::format::certificate::Role;
use crate::ids::{ChunkId, ObjectId};
use crate::names::ObjectName;
use crate::storage::StorageError;
use keyring::Action;

/// Why the repository could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// There is no repository at this place.
    #[error("there is no repository at {place}")]
    NoRepository {
        /// Where it was looked for.
        place: String,
    },
    /// There is a repository, or what is left of one, where one should be made.
    #[error("there is already a repository at {place}")]
    AlreadyExists {
        /// Where.
        place: String,
    },
    /// The repository has no config, but has other objects.
    #[error("the repository at {place} has lost its config object, which holds its identity")]
    ConfigMissing {
        /// Where.
        place: String,
    },
    /// No key bundle opens with this password.
    #[error("wrong password: it opens no key bundle ({tried} tried){}", unusable.iter().map(|text| format!("; not tried: {text}")).collect::<String>())]
    WrongPassword {
        /// Bundles that were tried.
        tried: usize,
        /// What is wrong with those that could not be tried.
        unusable: Vec<String>,
    },
    /// There is no key bundle that could be tried.
    #[error("no usable key bundle at {place}: {problems}")]
    NoUsableKey {
        /// Where.
        place: String,
        /// What is wrong with each.
        problems: String,
    },
    /// No key bundle is sealed to this key.
    #[error("wrong key: no key bundle is sealed to it{}", unusable.iter().map(|text| format!("; not tried: {text}")).collect::<String>())]
    WrongKey {
        /// What is wrong with those that could not be tried.
        unusable: Vec<String>,
    },
    /// This key lacks what the command needs.
    #[error("a key of role {role} cannot {action}; one of role {} can", action.could())]
    KeyLacks {
        /// The role of the key that is there.
        role: Role,
        /// What was tried.
        action: Action,
    },
    /// The snapshot is sealed to others.
    #[error("{name} is not sealed to this key")]
    NotARecipient {
        /// The snapshot.
        name: ObjectName,
    },
    /// No key has this name.
    #[error("no key `{name}`")]
    NoSuchKey {
        /// What was asked for.
        name: String,
    },
    /// Several keys begin with this prefix.
    #[error("`{name}` could be any of the keys {}", candidates.join(", "))]
    AmbiguousKey {
        /// What was asked for.
        name: String,
        /// The ids that match.
        candidates: Vec<String>,
    },
    /// Another key has this label.
    #[error("there is a key called `{label}` already")]
    KeyLabelTaken {
        /// The label.
        label: String,
    },
    /// The key is the last that can manage keys.
    #[error("`{label}` is the last key of role admin; without one nobody can restore everything or make keys")]
    LastAdmin {
        /// Its label.
        label: String,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An object's bytes are not what its name says.
    #[error("{name} is damaged: its bytes hash to {found}")]
    NameMismatch {
        /// The object.
        name: ObjectName,
        /// The hash of its bytes.
        found: ObjectId,
    },
    /// An object does not decode.
    #[error("{name} is damaged")]
    Malformed {
        /// The object.
        name: ObjectName,
        /// Where and why.
        #[source]
        source: FormatError,
    },
    /// A sealed part does not open.
    #[error("the {part} of {name} does not open")]
    Sealed {
        /// The object.
        name: ObjectName,
        /// Which part of it.
        part: &'static str,
        /// Why.
        #[source]
        source: CryptoError,
    },
    /// An object's signature is not that of the key that it names.
    #[error("the signature of {name} does not hold")]
    Signature {
        /// The object.
        name: ObjectName,
        /// Why.
        #[source]
        source: CryptoError,
    },
    /// An object was signed with a key that may not make it, or shows the certificate of another.
    #[error("{name} was signed with the key `{label}` of role {role}, which may not make it")]
    NotEntitled {
        /// The object.
        name: ObjectName,
        /// The label in the certificate.
        label: String,
        /// The role in the certificate.
        role: Role,
    },
    /// The object belongs to another repository.
    #[error("{name} belongs to repository {found}, not to {expected}")]
    ForeignObject {
        /// The object.
        name: ObjectName,
        /// This repository.
        expected: String,
        /// The one in the object's header.
        found: String,
    },
    /// A config that differs from the one that the key bundle holds.
    #[error("the config is not the one that this repository was made with: it was changed or swapped")]
    ConfigChanged,
    /// Somebody took this session for dead: what it relied on may be gone.
    #[error(
        "{name}, the lease of this session, is gone: it was not renewed for too long, and somebody pruned meanwhile"
    )]
    SessionLost {
        /// The lease.
        name: ObjectName,
    },
    /// Something that must hold a session does not.
    #[error("this needs a session that {needs}, and there is none")]
    NoSession {
        /// What the session must do, as in "stores".
        needs: &'static str,
    },
    /// A chunk is in no pack that can be used.
    #[error("chunk {id} is missing: {}", lost_with(pack.as_ref()))]
    ChunkMissing {
        /// The chunk.
        id: ChunkId,
        /// The pack that an index segment names for it, where one does and where that was looked for.
        pack: Option<ObjectName>,
    },
    /// A chunk does not open or is not what its key says.
    #[error("chunk {id} in {pack} is damaged: {reason}")]
    ChunkDamaged {
        /// The chunk.
        id: ChunkId,
        /// The pack.
        pack: ObjectName,
        /// What was found.
        reason: String,
    },
    /// A structure inside of chunks does not decode.
    #[error("the {what} of snapshot {snapshot} is damaged")]
    Structure {
        /// Which structure.
        what: &'static str,
        /// The snapshot's short id.
        snapshot: String,
        /// Where and why.
        #[source]
        source: FormatError,
    },
    /// No snapshot has this name.
    #[error("no snapshot `{name}`")]
    NoSuchSnapshot {
        /// What was asked for.
        name: String,
    },
    /// Several snapshots begin with this prefix.
    #[error("`{name}` could be any of {}", candidates.join(", "))]
    AmbiguousSnapshot {
        /// What was asked for.
        name: String,
        /// The ids that match.
        candidates: Vec<String>,
    },
    /// The local index failed.
    #[error("the local index at {path} failed")]
    Cache {
        /// Where it lies.
        path: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Parity cannot mend an object.
    #[error(transparent)]
    Parity(#[from] parity::ParityError),
    /// Packing or cutting failed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// Cryptography failed in a way that is not a wrong key.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

fn lost_with(pack: Option<&ObjectName>) -> String {
    match pack {
        Some(pack) => format!("{pack}, which held it, is not there or is damaged"),
        None => "no pack in the index holds it".to_owned(),
    }
}

impl RepoError {
    /// True where trying the same again on an undamaged copy would work: the stored bytes are at fault.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Storage(error) => {
                error.is_unreadable()
                    || matches!(
                        error,
                        StorageError::NotFound { .. } | StorageError::Range { .. } | StorageError::TooLarge { .. }
                    )
            }
            Self::Parity(error) => error.is_damage(),
            Self::NameMismatch { .. }
            | Self::Malformed { .. }
            | Self::Sealed { .. }
            | Self::ForeignObject { .. }
            | Self::Signature { .. }
            | Self::NotEntitled { .. }
            | Self::ConfigChanged
            | Self::ConfigMissing { .. }
            | Self::ChunkMissing { .. }
            | Self::ChunkDamaged { .. }
            | Self::Structure { .. } => true,
            _ => false,
        }
    }
}

/// An error with its sources, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
