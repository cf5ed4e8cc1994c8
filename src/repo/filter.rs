//! A membership filter in front of the index: answers most questions for chunks that are not there from memory.
//!
//! Always true here:
//! - "No" is certain for the ids that the filter was built from; "maybe" is wrong for fewer than 1 in 200.
//! - A filter is a set of layers, each immutable and over a range of ids; new ids come as a new layer, and when the small
//!   layers outgrow a share of the base, everything is built anew. Building holds at most [`LAYER_KEYS`] keys at a time.

use crate::ids::ChunkId;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

/// The most ids in one layer.
pub const LAYER_KEYS: usize = 1 << 20;

const DESCRIPTOR: usize = BinaryFuse8::DESCRIPTOR_LEN;

/// One immutable layer.
pub struct Layer {
    first: ChunkId,
    last: ChunkId,
    keys: u64,
    descriptor: [u8; DESCRIPTOR],
    fingerprints: Box<[u8]>,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The 64 bits of an id that the filter works on; ids are uniformly distributed already.
fn digest(id: &ChunkId) -> u64 {
    let bytes = id.as_bytes();
    u64::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]])
}

impl Layer {
    /// A layer over sorted ids; `None` when there are none, or when (which random ids do not bring about) the
    /// filter cannot be built, so that the caller does without.
    pub fn build(sorted: &[ChunkId]) -> Option<Self> {
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let mut digests: Vec<u64> = sorted.iter().map(digest).collect();
        digests.sort_unstable();
        digests.dedup();
        let filter = BinaryFuse8::try_from(&digests).ok()?;
        let mut descriptor = [0; DESCRIPTOR];
        filter.dma_copy_descriptor_to(&mut descriptor);
        Some(Self { first, last, keys: sorted.len() as u64, descriptor, fingerprints: filter.fingerprints })
    }

    /// False when the id is certainly not in the layer.
    pub fn may_contain(&self, id: &ChunkId) -> bool {
        *id >= self.first
            && *id <= self.last
            && BinaryFuse8Ref::from_dma(&self.descriptor, &self.fingerprints).contains(&digest(id))
    }

    /// Ids in the layer.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.fingerprints.len() + size_of::<Self>()
    }

    /// The layer's bytes, for the local index only: this is no format of the repository.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            self.first.as_bytes(),
            self.last.as_bytes(),
            &self.keys.to_le_bytes(),
            &self.descriptor,
            &self.fingerprints,
        ];
        parts.concat()
    }

    /// Reads what [`Layer::to_bytes`] gave; `None` for anything else, and the caller does without.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<32>()?;
        let (last, rest) = rest.split_first_chunk::<32>()?;
        let (keys, rest) = rest.split_first_chunk::<8>()?;
        let (descriptor, fingerprints) = rest.split_first_chunk::<DESCRIPTOR>()?;
        // The crate indexes the fingerprints as the descriptor says, unchecked by anything but a panic.
        let word = |at: usize| {
            u32::from_le_bytes([descriptor[at], descriptor[at + 1], descriptor[at + 2], descriptor[at + 3]])
        };
        let (segment, mask, count) = (word(8), word(12), word(16));
        let reach = u64::from(count) + 2 * u64::from(segment);
        if !segment.is_power_of_two() || mask != segment - 1 || reach > fingerprints.len() as u64 {
            return None;
        }
        Some(Self {
            first: ChunkId::new(*first),
            last: ChunkId::new(*last),
            keys: u64::from_le_bytes(*keys),
            descriptor: *descriptor,
            fingerprints: fingerprints.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(salt: u8, count: u32) -> Vec<ChunkId> {
        let mut ids: Vec<_> =
            (0..count).map(|i| ChunkId::new(*blake3::keyed_hash(&[salt; 32], &i.to_le_bytes()).as_bytes())).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn no_is_certain_and_maybe_is_seldom_wrong() {
        for count in [1, 2, 3, 100, 20_000] {
            let known = ids(1, count);
            let layer = Layer::build(&known).expect("built");
            let layer = Layer::from_bytes(&layer.to_bytes()).expect("read back");
            assert!(known.iter().all(|id| layer.may_contain(id)), "{count} keys");
            let wrong = ids(2, 20_000).iter().filter(|id| layer.may_contain(id)).count();
            assert!(wrong < 200, "{wrong} of 20000 wrong with {count} keys");
        }
        assert!(Layer::build(&[]).is_none());
    }

    #[test]
    fn changed_bytes_never_panic() {
        let layer = Layer::build(&ids(1, 50)).expect("built").to_bytes();
        let probes = ids(3, 100);
        for position in 0..layer.len() {
            let mut changed = layer.clone();
            changed[position] ^= 0xff;
            if let Some(layer) = Layer::from_bytes(&changed) {
                probes.iter().for_each(|id| _ = layer.may_contain(id));
            }
            assert!(position >= 92 || Layer::from_bytes(&layer[..position]).is_none());
        }
    }
}
