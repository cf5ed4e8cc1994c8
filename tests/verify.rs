//! `restore --verify` reads what stands on the target, and believes nothing else.
//!
//! Always true here: the target is changed behind the restore's back at the moment between writing and reading back, which the
//! monitor tells.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::Fixture;
use common::sources::noise;
use sheaf::ops::container::TargetFormat;
use sheaf::ops::monitor::{Advance, Monitor, Phase};
use sheaf::ops::restore::{RestorePlan, RestoreRequest};
use sheaf::ops::{Cancel, OpsError};
use sheaf::storage::sim::SimStorage;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Writes a byte to the unfinished file when the reading back begins.
struct Spoiler {
    partial: PathBuf,
    at: Option<u64>,
}

impl Monitor for Spoiler {
    fn begin(&self, phase: Phase, _: Option<u64>) {
        if let (Phase::Verify, Some(at)) = (phase, self.at) {
            let file = std::fs::File::options().read(true).write(true).open(&self.partial).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    }

    fn advance(&self, _: Advance) {}

    fn warn(&self, _: &str) {}
}

/// A disk of data, a hole, and data.
fn disk() -> Vec<u8> {
    let mut disk = noise(1, 1_000_000);
    disk[200_000..600_000].fill(0);
    disk
}

fn restore(fixture: &Fixture, target: &Path, at: Option<u64>) -> Result<bool, OpsError> {
    let report = fixture.backup("stick", &disk()).unwrap();
    let snapshot = fixture.disk(report.snapshot)?;
    let mut partial = target.as_os_str().to_owned();
    partial.push(".sheaf-partial");
    let request = RestoreRequest {
        target: target.to_owned(),
        format: TargetFormat::Raw,
        block_size: None,
        force: false,
        verify: true,
        allow_damaged: false,
    };
    let plan = RestorePlan::make(&snapshot, request)?;
    let report = plan.apply(&snapshot, &Spoiler { partial: partial.into(), at }, &Cancel::default())?;
    Ok(report.verified)
}

#[test]
fn an_honest_target_passes() {
    let fixture = Fixture::make(SimStorage::new());
    let target = fixture.path("restored.img");
    assert!(restore(&fixture, &target, None).unwrap());
    assert!(std::fs::read(&target).unwrap() == disk());
}

#[test]
fn a_changed_byte_is_found_in_data_and_in_holes_and_the_file_does_not_get_its_name() {
    let fixture = Fixture::make(SimStorage::new());
    let target = fixture.path("restored.img");
    for at in [0, 4097, 199_999, 250_000, 400_000, 599_000, 600_001, 999_999] {
        match restore(&fixture, &target, Some(at)) {
            Err(OpsError::Verify { offset, .. }) => {
                assert!(offset.0 <= at && at - offset.0 < 1 << 20, "byte {at}: found at {offset}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert!(!target.exists(), "byte {at}");
        assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "the cache alone, no partial file");
    }
}
