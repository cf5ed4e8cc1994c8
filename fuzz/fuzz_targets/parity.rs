//! Parity objects that nobody made: two bytes with the length of an object, the object, and its parity. The checksums are made right
//! first, since the fuzzer cannot guess a hash, and the object has the name that the parity says it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::crypto::derive::object_id;
use sheaf::format::parity::{HEAD_LENGTH, Head, SUM_LENGTH};
use sheaf::ids::ObjectId;
use sheaf::names::ObjectName;
use sheaf::repo::parity::{covered_by, inspect, inspect_parity, mend, rebuild, salvage};
use sheaf::storage::sim::SimStorage;

/// Makes the checksums of both copies right, as far as they lie within.
fn seal(parity: &mut [u8]) {
    let number = |at: usize, length: usize| {
        parity[at..at + length].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    if parity.len() < 2 * HEAD_LENGTH {
        return;
    }
    let (length, sector) = (number(32, 8), number(40, 4).max(1));
    let count = length.div_ceil(sector).saturating_add(number(44, 4) * number(50, 2));
    let table = usize::try_from(count.saturating_mul(SUM_LENGTH as u64)).unwrap_or(usize::MAX);
    let Some(end) = HEAD_LENGTH.checked_add(table).filter(|end| *end <= parity.len()) else { return };
    let sum = |head: &[u8], table: &[u8]| *object_id(&[head, table].concat()).as_bytes();
    let checksum = sum(&parity[..96], &parity[HEAD_LENGTH..end]);
    parity[96..128].copy_from_slice(&checksum);
    let back = parity.len() - HEAD_LENGTH;
    if let Some(start) = back.checked_sub(table) {
        let checksum = sum(&parity[back..back + 96], &parity[start..back]);
        parity[back + 96..].copy_from_slice(&checksum);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let (object, parity) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let mut parity = parity.to_vec();
    seal(&mut parity);
    if let Ok(head) = Head::decode_front(&parity) {
        let (front, back) = head.encode();
        assert!(front == parity[..front.len()]);
        assert_eq!(Head::decode_back(&back), Ok(head));
    }
    let id = parity.get(64..96).and_then(|hash| hash.try_into().ok()).unwrap_or([0; 32]);
    let name = ObjectName::pack(ObjectId::new(id));
    let Some(side) = name.parity() else { return };
    let medium = SimStorage::from_objects([(name, object.to_vec()), (side, parity)]);
    let condition = inspect(&medium, name).expect("a condition");
    let mended = mend(&medium, name);
    assert_eq!(mended.is_ok(), condition.is_recoverable());
    if let Ok(bytes) = &mended {
        assert_eq!(Some(object_id(bytes)), name.id());
    }
    if let Ok(saved) = salvage(&medium, name) {
        assert_eq!(saved.lost.is_empty(), mended.is_ok());
        assert!(saved.damaged.windows(2).all(|runs| runs[0].end <= runs[1].start));
    }
    inspect_parity(&medium, name).expect("a condition");
    covered_by(&medium, side).expect("an answer");
    _ = rebuild(&medium, name);
});
