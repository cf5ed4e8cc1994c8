//! What parity costs, for a person to look at: `cargo test --release --test parity -- --ignored --nocapture speed`.

use crate::common::sources::noise;
use sheaf::crypto::derive::object_id;
use sheaf::ids::RepositoryId;
use sheaf::names::ObjectName;
use sheaf::repo::parity::{ParityStorage, mend, rebuild};
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that this thread has run, where the system tells; it does not depend on what else runs.
fn clock(began: Instant) -> Duration {
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = ran.and_then(|text| text.split(' ').next().and_then(|ran| ran.parse().ok()));
    ran.map_or_else(|| began.elapsed(), Duration::from_nanos)
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn speed() {
    let start = Instant::now();
    let bytes = noise(1, 64 << 20);
    let name = ObjectName::pack(object_id(&bytes));
    for ratio in [62, 33, 10, 2] {
        let medium = SimStorage::new();
        let storage = ParityStorage::new(Arc::new(medium.clone()), RepositoryId::new([2; 16]), ratio);
        let plain = (0..5).map(|_| {
            let began = clock(start);
            SimStorage::new().put(name, &[&bytes]).unwrap();
            clock(start) - began
        });
        let plain = plain.min().unwrap();
        let with = (0..5).map(|_| {
            storage.delete(name).unwrap();
            let began = clock(start);
            storage.put(name, &[&bytes]).unwrap();
            clock(start) - began
        });
        let with = with.min().unwrap().saturating_sub(plain);
        let parity = medium.peek(name.parity().unwrap()).unwrap().len();
        let mut damaged = bytes.clone();
        damaged[1_000_000..1_400_000].fill(0);
        medium.overwrite(name, damaged);
        let began = clock(start);
        assert!(mend(&medium, name).unwrap() == bytes);
        let mended = clock(start) - began;
        rebuild(&medium, name).unwrap();
        let share = parity as f64 * 100.0 / bytes.len() as f64;
        let rate = bytes.len() as f64 / with.as_secs_f64() / 1e9;
        println!("ratio {ratio}: {with:?} ({rate:.2} GB/s), {parity} bytes ({share:.2} %), mending 400 kB {mended:?}");
    }
}
