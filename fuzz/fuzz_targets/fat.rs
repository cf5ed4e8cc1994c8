//! FAT and exFAT volumes: whatever their structures say, what is claimed lies inside the volume and is claimed once.
//!
//! The input is a recipe for a volume; see `volumes/recipe.rs`.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fat/build.rs"]
mod build;
#[path = "../../tests/fat/check.rs"]
mod check;
#[path = "volumes/recipe.rs"]
mod recipe;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = recipe::volume(data) {
        check::claim(&bytes);
    }
});
