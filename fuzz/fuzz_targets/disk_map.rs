//! The records of a disk map, and the check that they cover the disk exactly once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::manifest::{DiskMap, MapRecord, Origin, RECORD_LENGTH};

fuzz_target!(|data: &[u8]| {
    let records: Vec<MapRecord> =
        data.as_chunks::<RECORD_LENGTH>().0.iter().map_while(|bytes| MapRecord::decode(bytes).ok()).collect();
    for (record, bytes) in records.iter().zip(data.as_chunks::<RECORD_LENGTH>().0) {
        // A record has one encoding only.
        assert_eq!(record.encode(), *bytes);
    }
    let extents = records.iter().filter_map(|record| match record {
        MapRecord::Extent(extent) | MapRecord::Hole(_, extent) => Some(*extent),
        MapRecord::Stream { .. } => None,
    });
    let size = extents.clone().filter_map(|extent| extent.end()).max().unwrap_or_default().0;
    let Ok(map) = DiskMap::check(records.iter().copied(), size) else { return };
    for other in [size.checked_add(1), size.checked_sub(1)].into_iter().flatten() {
        assert!(DiskMap::check(records.iter().copied(), other).is_err(), "{size} and {other} both hold");
    }

    // Each byte exactly once: the segments follow one another, and none was lost or made up.
    let (mut next, mut kept) = (0_u64, 0_u64);
    for (position, segment) in map.segments().iter().enumerate() {
        assert_eq!(segment.extent.start.0, next);
        assert!(segment.extent.length > 0);
        assert_eq!(map.find(segment.extent.start), position);
        next = segment.extent.end().expect("within 64 bits").0;
        kept += if matches!(segment.origin, Origin::Kept(_)) { segment.extent.length } else { 0 };
    }
    assert_eq!((next, kept, map.segments().len()), (map.size(), map.kept(), extents.count()));

    // The kept bytes lie in the order of the records.
    let mut before = 0_u64;
    for record in &records {
        if let MapRecord::Extent(extent) = record {
            let Origin::Kept(offset) = map.segments()[map.find(extent.start)].origin else {
                panic!("{extent:?} is kept")
            };
            assert_eq!(offset.0, before);
            before += extent.length;
        }
    }
});
