//! What was verified and opened before, for simulators alone (feature `simulator`, which no release has): a schedule has a few dozen actors
//! that each verify the same objects over and over, and most of its time would go there.
//!
//! Always true here: the name of a result is the hash of everything that it depends on, so that an answer is the one that would be computed;
//! failures are not kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// So many results are kept, then all are let go.
const MOST: usize = 1 << 16;

static RESULTS: Mutex<Option<HashMap<[u8; 32], [u8; 32]>>> = Mutex::new(None);

/// The name of a result that depends on these.
pub(super) fn name(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// The result, computed where it is not known.
pub(super) fn remember<E>(name: [u8; 32], compute: impl FnOnce() -> Result<[u8; 32], E>) -> Result<[u8; 32], E> {
    let results = || RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = results().as_ref().and_then(|results| results.get(&name).copied());
    if let Some(known) = known {
        return Ok(known);
    }
    let computed = compute()?;
    let mut results = results();
    let results = results.get_or_insert_default();
    if results.len() >= MOST {
        results.clear();
    }
    results.insert(name, computed);
    Ok(computed)
}
