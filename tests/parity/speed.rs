//! What parity costs, for a person to look at: `cargo test --release --test parity -- --ignored --nocapture speed`.

use crate::common::sources::noise;
use sheaf::crypto::derive::object_id;
use sheaf::ids::RepositoryId;
use sheaf::names::ObjectName;
use sheaf::repo::parity::{ParityStorage, mend, rebuild};
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn speed() {
    let bytes = noise(1, 64 << 20);
    let name = ObjectName::pack(object_id(&bytes));
    for ratio in [62, 33, 10, 2] {
        let medium = SimStorage::new();
        let storage = ParityStorage::new(Arc::new(medium.clone()), RepositoryId::new([2; 16]), ratio);
        let plain = (0..5).map(|_| {
            let began = Instant::now();
            SimStorage::new().put(name, &[&bytes]).unwrap();
            began.elapsed()
        });
        let plain = plain.min().unwrap();
        let with = (0..5).map(|_| {
            storage.delete(name).unwrap();
            let began = Instant::now();
            storage.put(name, &[&bytes]).unwrap();
            began.elapsed()
        });
        let with = with.min().unwrap().saturating_sub(plain);
        let parity = medium.peek(name.parity().unwrap()).unwrap().len();
        let mut damaged = bytes.clone();
        damaged[1_000_000..1_400_000].fill(0);
        medium.overwrite(name, damaged);
        let began = Instant::now();
        assert!(mend(&medium, name).unwrap() == bytes);
        let mended = began.elapsed();
        rebuild(&medium, name).unwrap();
        let share = parity as f64 * 100.0 / bytes.len() as f64;
        let rate = bytes.len() as f64 / with.as_secs_f64() / 1e9;
        println!("ratio {ratio}: {with:?} ({rate:.2} GB/s), {parity} bytes ({share:.2} %), mending 400 kB {mended:?}");
    }
}
