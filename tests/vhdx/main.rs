//! VHDX, read and composed.
//!
//! | file | what it holds |
//! |---|---|
//! | `model` | a sparse disk in memory, and what it means that two disks are the same |
//! | `build` | files to read: composed by Sheaf, with a log or a parent that are written here, independent of Sheaf |
//! | `plain` | what is composed is read; limits and warnings |
//! | `log`, `log_refused` | pending log entries, held against `qemu-img check -r all` where it is installed |
//! | `chain` | differencing disks, held against dissect.hypervisor where it is installed |
//! | `damage` | truncation and flipped bits |
//! | `interop` | files of QEMU read by Sheaf, files of Sheaf read by QEMU, libvhdi and dissect.hypervisor |
//!
//! Where a tool is missing, its tests say so and pass. The tools: `qemu-img` and `qemu-io`; a Python that has
//! dissect.hypervisor and libvhdi-python, named by `SHEAF_TEST_PYTHON` or else `python3`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]
// A list of one range is just that here; a table entry is a place with its state or-ed in.
#![allow(clippy::single_range_in_vec_init, clippy::precedence)]

mod build;
mod chain;
#[path = "../common/counting.rs"]
mod counting;
mod damage;
mod interop;
mod log;
mod log_refused;
mod model;
mod plain;
