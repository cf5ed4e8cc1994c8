//! The `sheaf` command.

mod cli;

fn main() -> std::process::ExitCode {
    keep_secrets_out_of_core_dumps();
    cli::run()
}

/// Keys and passwords are in memory while a command runs; no file is to be left of that, whatever happens.
#[cfg(target_os = "linux")]
fn keep_secrets_out_of_core_dumps() {
    // Where the system does not let one, the command is still worth running.
    _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Other systems have no such switch for a process.
#[cfg(not(target_os = "linux"))]
const fn keep_secrets_out_of_core_dumps() {}
