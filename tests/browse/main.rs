//! Looking into snapshots: paths, trees that are extracted, and what hostile volumes get.
//!
//! Always true here: the file systems are made up, so that they can say what no sound one says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod extracted;
mod fake;
mod paths;
