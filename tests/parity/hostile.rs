//! Parity objects that nobody made: whatever they say, nothing panics, and what is mended is what the name says. The fuzz target `parity`
//! is the same function; here it runs over changed parity objects, whose checksums are made right again.

use crate::common::sources::noise;
use proptest::prelude::*;
use sheaf::crypto::derive::object_id;
use sheaf::format::parity::{HEAD_LENGTH, Head, SUM_LENGTH};
use sheaf::ids::{ObjectId, RepositoryId};
use sheaf::names::ObjectName;
use sheaf::repo::parity::{Condition, ParityStorage, covered_by, inspect, inspect_parity, mend, rebuild, salvage};
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// The object with these bytes, damaged, under the name that its parity says it has.
fn assert_harmless(object: Vec<u8>, parity: Vec<u8>) {
    if let Ok(head) = Head::decode_front(&parity) {
        let (front, back) = head.encode();
        assert!(front == parity[..front.len()]);
        assert_eq!(Head::decode_back(&back), Ok(head));
    }
    // The name that the head says, so that it is believed.
    let id = parity.get(64..96).and_then(|hash| hash.try_into().ok()).unwrap_or([0; 32]);
    let name = ObjectName::pack(ObjectId::new(id));
    let size = object.len();
    let medium = SimStorage::from_objects([(name, object), (name.parity().unwrap(), parity)]);
    let condition = inspect(&medium, name).unwrap();
    let mended = mend(&medium, name);
    assert_eq!(mended.is_ok(), condition.is_recoverable());
    if let Ok(bytes) = &mended {
        assert_eq!(Some(object_id(bytes)), name.id());
    }
    if let Ok(saved) = salvage(&medium, name) {
        assert_eq!(saved.lost.is_empty(), mended.is_ok());
        assert!(saved.damaged.windows(2).all(|runs| runs[0].end <= runs[1].start), "{:?}", saved.damaged);
        assert!(saved.damaged.iter().all(|run| run.end <= size.max(saved.bytes.len()) as u64));
    }
    if let Condition::Lost { runs, sectors } = condition {
        assert!(sectors > 0 && !runs.is_empty());
    }
    inspect_parity(&medium, name).unwrap();
    covered_by(&medium, name.parity().unwrap()).unwrap();
    _ = rebuild(&medium, name);
}

/// Makes the checksums of both copies right, as far as they lie within.
fn seal(parity: &mut [u8]) {
    let number = |at: usize, length: usize| {
        parity[at..at + length].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    if parity.len() < 2 * HEAD_LENGTH {
        return;
    }
    let (length, sector) = (number(32, 8), number(40, 4).max(1));
    let count = (length.div_ceil(sector)).saturating_add(number(44, 4) * number(50, 2));
    let table = usize::try_from(count.saturating_mul(SUM_LENGTH as u64)).unwrap_or(usize::MAX);
    let Some(end) = HEAD_LENGTH.checked_add(table).filter(|end| *end <= parity.len()) else { return };
    let sum = |head: &[u8], table: &[u8]| *blake3::Hasher::new().update(head).update(table).finalize().as_bytes();
    let checksum = sum(&parity[..96], &parity[HEAD_LENGTH..end]);
    parity[96..128].copy_from_slice(&checksum);
    let back = parity.len() - HEAD_LENGTH;
    if let Some(start) = back.checked_sub(table) {
        let checksum = sum(&parity[back..back + 96], &parity[start..back]);
        parity[back + 96..].copy_from_slice(&checksum);
    }
}

fn made(bytes: &[u8], ratio: u16) -> Vec<u8> {
    let medium = SimStorage::new();
    let name = ObjectName::pack(object_id(bytes));
    let storage = ParityStorage::new(Arc::new(medium.clone()), RepositoryId::new([2; 16]), ratio);
    storage.put(name, &[bytes]).unwrap();
    medium.peek(name.parity().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_parity_objects_do_no_harm(
        seed: u64,
        length in prop_oneof![1..5000_usize, 5000..60_000_usize],
        ratio in 2..9_u16,
        // Of the head a field, of the rest anything.
        changes in prop::collection::vec((prop_oneof![0..128_usize, 128..400_usize, 0..100_000_usize], any::<u8>()), 0..6),
        numbers in prop::option::of((any::<prop::sample::Index>(), prop_oneof![0..300_u64, any::<u64>()])),
        lost in prop::option::of((any::<prop::sample::Index>(), 1..9000_usize)),
        cut in prop::option::of(any::<prop::sample::Index>()),
        both: bool,
        sealed: bool,
    ) {
        let mut object = noise(seed, length);
        let mut parity = made(&object, ratio);
        let size = parity.len();
        if let Some((at, count)) = lost {
            let at = at.index(length);
            object[at..(at + count).min(length)].iter_mut().for_each(|byte| *byte ^= 1);
        }
        for (at, value) in changes {
            parity[at % size] ^= value;
        }
        if let Some((field, value)) = numbers {
            let (at, width) = [(32, 8), (40, 4), (44, 4), (48, 2), (50, 2), (52, 1)][field.index(6)];
            for base in std::iter::once(0).chain(both.then_some(size - HEAD_LENGTH)) {
                parity[base + at..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
            }
        }
        if let Some(cut) = cut {
            if both { parity.truncate(cut.index(size)) } else { object.truncate(cut.index(length)) }
        }
        if sealed {
            seal(&mut parity);
        }
        assert_harmless(object, parity);
    }

    #[test]
    fn any_bytes_do_no_harm(
        object in prop::collection::vec(any::<u8>(), 0..5000),
        parity in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        assert_harmless(object, parity);
    }
}

/// Small objects that claim to be the largest: what is allocated is bounded by what is there.
#[test]
fn a_head_that_claims_much_gets_no_memory() {
    let bytes = noise(1, 40_000);
    for length in [1_u64 << 20, 1 << 29, 1 << 30] {
        let mut parity = made(&bytes, 2);
        let size = parity.len();
        for base in [0, size - HEAD_LENGTH] {
            parity[base + 32..][..8].copy_from_slice(&length.to_le_bytes());
            let words = (length / 4096).div_ceil(248) as u32;
            parity[base + 44..][..4].copy_from_slice(&words.to_le_bytes());
            let data = (length / 4096).div_ceil(words.into()) as u16;
            parity[base + 48..][..2].copy_from_slice(&data.to_le_bytes());
        }
        seal(&mut parity);
        // The table of the first still fits.
        assert_eq!(Head::decode_front(&parity).is_ok(), length == 1 << 20);
        assert_harmless(bytes.clone(), parity);
    }
}
