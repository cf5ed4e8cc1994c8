//! Which Windows is on a volume: whatever the hive or the kernel says, a look at it ends, is cheap, and tells little.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bit 0: the rest is a program in place of a hive; 1: leave the checksum of the hive as it is |
//! | the rest | the file |
#![no_main]

#[path = "../../tests/windows/files.rs"]
mod files;
#[allow(dead_code)]
#[path = "../../tests/windows/hive.rs"]
mod hive;

use libfuzzer_sys::fuzz_target;
use sheaf::layout::windows::{MOST_TEXT, windows_version};

fuzz_target!(|data: &[u8]| {
    let Some((choices, file)) = data.split_first() else { return };
    let volume = if choices & 1 != 0 {
        files::Volume::new(None, Some(file))
    } else {
        let mut file = file.to_vec();
        if choices & 2 == 0 {
            hive::seal(&mut file);
        }
        files::Volume::new(Some(&file), None)
    };
    let told = windows_version(&volume).map(|version| version.to_string());
    volume.hold();
    assert!(told.is_none_or(|text| !text.is_empty() && text.chars().count() <= MOST_TEXT));
});
