//! Parity: what it can mend, and mending with it. Everything here works by an object's name and its parity object alone; no key is
//! needed, and for all but [`rebuild`] no config.
//!
//! Always true here:
//! - Bytes that [`mend`] returns are what the object's name says; those of the config, which has no such name, are what its parity says and
//!   a config. A hostile parity object can make mending fail, never make it return other bytes.
//! - Nothing here writes: what was mended is put back by whoever asked for it.
//! - Parity is looked for wherever it may be; that an object has none is no damage.

mod code;
mod mending;
mod reading;
mod sidecar;
mod storage;

pub use mending::{MendingStorage, Teller};
pub use storage::ParityStorage;

pub(super) use mending::told;

use crate::crypto::derive;
use crate::format::FormatError;
use crate::format::config::Config;
use crate::format::object::Header;
use crate::format::parity::{Layout, MAX_COVERED, sum};
use crate::names::{ObjectKind, ObjectName};
use crate::storage::{Listed, Storage, StorageError};
use code::{Lost, Subject};
use reading::{Found, extend, read};
use sidecar::{Sidecar, Stored};
use std::collections::BTreeMap;
use std::ops::Range;

/// Why parity could not be used. Ranges are in bytes of the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParityError {
    /// Storage failed, in another way than not giving bytes that it has.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Objects of this kind have no parity.
    #[error("{name} is of a kind that has no parity")]
    NotCovered {
        /// The object.
        name: ObjectName,
    },
    /// The object is damaged and has no parity object.
    #[error("{name} cannot be mended: it has no parity")]
    Missing {
        /// The object.
        name: ObjectName,
    },
    /// The object is damaged, and its parity object as well.
    #[error("{name} cannot be mended: its parity is damaged: {reason}")]
    Useless {
        /// The object.
        name: ObjectName,
        /// What is wrong with the parity object.
        reason: String,
    },
    /// More is lost than the parity can mend.
    #[error("{name} cannot be mended: too much is lost, and so bytes {} remain so", text_of(runs))]
    Lost {
        /// The object.
        name: ObjectName,
        /// What cannot be mended.
        runs: Vec<Range<u64>>,
    },
    /// Mending made other bytes than those of the object.
    #[error("{name} cannot be mended: its parity object is not what was made for it")]
    Unproven {
        /// The object.
        name: ObjectName,
    },
    /// The repository makes no parity.
    #[error("{name} has no parity, and its repository makes none")]
    NotMade {
        /// The object.
        name: ObjectName,
    },
    /// The object cannot have parity.
    #[error("{name} cannot have parity")]
    Layout {
        /// The object.
        name: ObjectName,
        /// Why.
        #[source]
        source: FormatError,
    },
    /// The code failed: a defect of the program.
    #[error("the parity of {name} could not be computed; this is a defect of sheaf")]
    Code {
        /// The object.
        name: ObjectName,
        /// What failed.
        #[source]
        source: reed_solomon_simd::Error,
    },
}

impl ParityError {
    /// True where the stored bytes are at fault.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Useless { .. } | Self::Lost { .. } | Self::Unproven { .. })
    }
}

fn text_of(runs: &[Range<u64>]) -> String {
    let texts: Vec<_> = runs.iter().take(8).map(|run| format!("{} to {}", run.start, run.end)).collect();
    let more = if runs.len() > texts.len() { " and more" } else { "" };
    format!("{}{more}", texts.join(", "))
}

/// How an object is. Ranges are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Its bytes are what its name says, whether it has parity or not.
    Whole,
    /// It is damaged or missing, and was mended in memory to bytes that are what its name says.
    Mendable {
        /// Sectors that were mended.
        sectors: u64,
        /// Where it is damaged; with what lies behind its end.
        runs: Vec<Range<u64>>,
    },
    /// It is damaged or missing, and parity does not mend all of it.
    Lost {
        /// Sectors that are damaged, with those that could be mended.
        sectors: u64,
        /// Bytes that cannot be mended.
        runs: Vec<Range<u64>>,
    },
    /// It is damaged or missing, and has no parity object.
    NoParity,
    /// It is damaged or missing, and its parity object is of no use.
    ParityUseless {
        /// What is wrong with that.
        reason: String,
    },
}

impl Condition {
    /// True where the object is whole or can be made so.
    pub const fn is_recoverable(&self) -> bool {
        matches!(self, Self::Whole | Self::Mendable { .. })
    }
}

/// What could be saved of an object. Ranges are in bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvage {
    /// Its bytes, as many as it had; zeros or what was found where they are lost.
    pub bytes: Vec<u8>,
    /// Sectors that were damaged.
    pub sectors: u64,
    /// Where it was damaged; with what lies behind its end.
    pub damaged: Vec<Range<u64>>,
    /// What of that could not be mended. Where this is empty, the bytes are what the name says.
    pub lost: Vec<Range<u64>>,
}

/// How the object is.
///
/// # Errors
/// [`ParityError::NotCovered`], [`ParityError::Storage`], [`ParityError::Code`]. Damage is in the condition.
pub fn inspect(storage: &dyn Storage, name: ObjectName) -> Result<Condition, ParityError> {
    match salvage(storage, name) {
        Ok(saved) if saved.damaged.is_empty() => Ok(Condition::Whole),
        Ok(Salvage { sectors, damaged: runs, lost, .. }) if lost.is_empty() => {
            Ok(Condition::Mendable { sectors, runs })
        }
        Ok(Salvage { sectors, lost: runs, .. }) => Ok(Condition::Lost { sectors, runs }),
        Err(ParityError::Missing { .. }) => Ok(Condition::NoParity),
        Err(ParityError::Useless { reason, .. }) => Ok(Condition::ParityUseless { reason }),
        Err(error @ ParityError::Unproven { .. }) => Ok(Condition::ParityUseless { reason: error.to_string() }),
        Err(error) => Err(error),
    }
}

/// The object's bytes as they were stored: those that are there where it is whole, and mended ones where it is damaged or missing.
///
/// # Errors
/// [`ParityError`]: [`ParityError::is_damage`] where it cannot be mended.
pub fn mend(storage: &dyn Storage, name: ObjectName) -> Result<Vec<u8>, ParityError> {
    let saved = salvage(storage, name)?;
    if saved.lost.is_empty() { Ok(saved.bytes) } else { Err(ParityError::Lost { name, runs: saved.lost }) }
}

/// As [`mend`], with what is left where not all can be mended.
///
/// # Errors
/// As [`mend`], but for [`ParityError::Lost`].
pub fn salvage(storage: &dyn Storage, name: ObjectName) -> Result<Salvage, ParityError> {
    let parity = name.parity().ok_or(ParityError::NotCovered { name })?;
    // An object of more bytes is none of ours; what lies behind that is cut off like everything behind its end.
    let found = read(storage, name, MAX_COVERED)?;
    let all_read = found.exists && found.size == found.bytes.len() as u64 && found.unreadable.is_empty();
    if all_read && is_whole(name, &found.bytes) {
        return Ok(Salvage { bytes: found.bytes, sectors: 0, damaged: Vec::new(), lost: Vec::new() });
    }
    match sidecar::load(storage, parity, Some(name))? {
        Stored::Usable(sidecar) => mend_with(name, &sidecar, found),
        Stored::Useless(reason) => Err(ParityError::Useless { name, reason }),
        Stored::Missing => Err(ParityError::Missing { name }),
    }
}

/// True where the bytes are what the name says. The config has a checksum of its own instead.
fn is_whole(name: ObjectName, bytes: &[u8]) -> bool {
    match name.id() {
        Some(id) => derive::object_id(bytes) == id,
        None => Config::decode(bytes).is_ok(),
    }
}

fn mend_with(name: ObjectName, sidecar: &Sidecar, found: Found) -> Result<Salvage, ParityError> {
    let layout = &sidecar.head.layout;
    let data = (0..layout.sectors()).map(|index| {
        let there = found.get(layout.sector(index));
        there.is_none_or(|bytes| sidecar.head.data_sum(index) != Some(&sum(bytes)))
    });
    let mut lost = Lost { data: data.collect(), parity: Vec::new() };
    let mut damaged = runs_of(layout, &lost.data);
    extend(&mut damaged, layout.length()..found.size.max(layout.length()));
    let sectors = lost.data.iter().filter(|lost| **lost).count() as u64;

    // What the object lacks is at most what the parity object accounts for: its length follows from a table that was read.
    let mut bytes = found.bytes;
    bytes.truncate(layout.length() as usize);
    let length = layout.sector_length() as usize;
    bytes.resize(layout.sectors() as usize * length, 0);
    let mut parity = vec![0; layout.parity_length() as usize];
    for (index, room) in (0..).zip(parity.chunks_exact_mut(length)) {
        let sector = sidecar.sector(index);
        lost.parity.push(sector.is_none());
        if let Some(sector) = sector {
            room.copy_from_slice(sector);
        }
    }
    code::decode(layout, &mut bytes, &parity, &mut lost).map_err(|source| ParityError::Code { name, source })?;
    bytes.truncate(layout.length() as usize);
    let lost = runs_of(layout, &lost.data);
    let is_proven = blake3::hash(&bytes) == sidecar.head.hash && is_whole(name, &bytes);
    if lost.is_empty() && !is_proven {
        return Err(ParityError::Unproven { name });
    }
    Ok(Salvage { bytes, sectors, damaged, lost })
}

fn runs_of(layout: &Layout, lost: &[bool]) -> Vec<Range<u64>> {
    let mut runs = Vec::new();
    for (index, _) in (0..).zip(lost).filter(|(_, lost)| **lost) {
        extend(&mut runs, layout.sector(index));
    }
    runs
}

/// How a parity object is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParityCondition {
    /// All of it is what was written.
    Whole,
    /// The object has none.
    Missing,
    /// It is damaged. What is left of it may still mend the object.
    Damaged {
        /// How.
        reason: String,
    },
}

/// How the parity object of this object is, by its own checksums: the object itself is not read.
///
/// # Errors
/// [`ParityError::NotCovered`], [`ParityError::Storage`].
pub fn inspect_parity(storage: &dyn Storage, name: ObjectName) -> Result<ParityCondition, ParityError> {
    let parity = name.parity().ok_or(ParityError::NotCovered { name })?;
    Ok(match sidecar::load(storage, parity, Some(name))? {
        Stored::Missing => ParityCondition::Missing,
        Stored::Useless(reason) => ParityCondition::Damaged { reason },
        Stored::Usable(sidecar) => match sidecar.fault() {
            Some(reason) => ParityCondition::Damaged { reason: reason.to_owned() },
            None => ParityCondition::Whole,
        },
    })
}

/// The bytes that the parity object of this object should have, made from the object, which is mended first where it is damaged. How much
/// parity there is follows from the config, or where that cannot be had from what is left of the parity object.
///
/// # Errors
/// As [`mend`], and [`ParityError::NotMade`].
pub fn rebuild(storage: &dyn Storage, name: ObjectName) -> Result<Vec<u8>, ParityError> {
    let parity = name.parity().ok_or(ParityError::NotCovered { name })?;
    let bytes = mend(storage, name)?;
    let config = if name == ObjectName::CONFIG { Ok(bytes.clone()) } else { mend(storage, ObjectName::CONFIG) };
    let config = match config {
        Ok(bytes) => Config::decode(&bytes).ok().filter(|config| config.record.parity != 0),
        Err(error) if error.is_damage() => None,
        Err(error) => return Err(error),
    };
    let length = bytes.len() as u64;
    let (header, layout) = match config {
        Some(config) => {
            let layout = Layout::new(length, config.record.parity);
            (Header::new(config.repository), layout.map_err(|source| ParityError::Layout { name, source })?)
        }
        None => match sidecar::load(storage, parity, Some(name))? {
            Stored::Usable(sidecar) if sidecar.head.layout.length() == length => {
                (sidecar.head.header.clone(), sidecar.head.layout)
            }
            _ => return Err(ParityError::NotMade { name }),
        },
    };
    let subject = Subject { header, kind: name.kind(), layout, hash: *blake3::hash(&bytes).as_bytes() };
    let encoded = code::encode(subject, &[&bytes]).map_err(|source| ParityError::Code { name, source })?;
    Ok(sidecar::concat(&encoded))
}

/// The object that a parity object is of, by what it says itself; `None` where it says nothing that could be used.
///
/// # Errors
/// [`ParityError::Storage`].
pub fn covered_by(storage: &dyn Storage, parity: ObjectName) -> Result<Option<ObjectName>, ParityError> {
    Ok(match sidecar::load(storage, parity, None)? {
        Stored::Usable(sidecar) => sidecar::covered(&sidecar.head, parity),
        Stored::Useless(_) | Stored::Missing => None,
    })
}

/// Which objects have parity, as listings tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Objects with the size of their parity object in bytes.
    pub with: Vec<(Listed, u64)>,
    /// Objects that may have parity and have none: a writer died between the two, or their parity was lost.
    pub without: Vec<Listed>,
    /// Parity objects whose objects are not there. Deleting takes parity away first, so each is of an object that was lost, or
    /// of one that somebody put while it was being deleted.
    pub orphans: Vec<ObjectName>,
}

/// Lists what has parity.
///
/// # Errors
/// [`StorageError::Io`].
pub fn coverage(storage: &dyn Storage) -> Result<Coverage, StorageError> {
    // Parity before objects: whatever is stored meanwhile counts as without.
    let listed = storage.list(ObjectKind::Parity)?;
    let mut parity: BTreeMap<ObjectName, u64> = listed.iter().map(|listed| (listed.name, listed.size)).collect();
    let mut coverage = Coverage::default();
    for kind in ObjectKind::ALL.into_iter().filter(|kind| kind.has_parity()) {
        for object in storage.list(kind)? {
            match object.name.parity().and_then(|name| parity.remove(&name)) {
                Some(size) => coverage.with.push((object, size)),
                None => coverage.without.push(object),
            }
        }
    }
    for name in parity.into_keys() {
        // An object that was deleted between the two listings has lost its parity before.
        match storage.size(name) {
            Err(error) if error.is_not_found() => {}
            _ => coverage.orphans.push(name),
        }
    }
    Ok(coverage)
}
