//! One file a command: from options to a verb of the library, and from its report to words or JSON.

mod audit;
mod backup;
mod cache;
mod check;
mod copy;
mod demo;
mod diff;
mod dump;
mod extract;
mod find;
mod forget;
mod init;
mod key;
mod look;
mod losses;
mod ls;
#[cfg(target_os = "linux")]
mod mount;
mod pin;
pub(crate) mod prune;
mod repair;
mod restore;
mod serve_nbd;
mod snapshots;
mod stats;

use super::args::{Args, Command};
use super::context::Context;
use super::failure::{DONE, Failure};
use super::output;
use clap::CommandFactory;
use clap_complete::Shell;

/// Runs a command; the value is the exit status of a command that worked.
pub(crate) fn run(context: &Context, command: Command) -> Result<u8, Failure> {
    let may_draw_on_reserve = matches!(command, Command::Forget(_) | Command::Prune(_)) && !command.is_dry_run();
    let result = dispatch(context, command);
    context.log(&result);
    if may_draw_on_reserve {
        context.keep_reserve();
    }
    result
}

fn dispatch(context: &Context, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Init(args) => init::run(context, &args),
        Command::Backup(args) => backup::run(context, args),
        Command::Snapshots(args) => snapshots::run(context, &args),
        Command::Restore(args) => restore::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Find(args) => find::run(context, &args),
        Command::Dump(args) => dump::run(context, &args),
        Command::Extract(args) => extract::run(context, &args),
        Command::Diff(args) => diff::run(context, &args),
        #[cfg(target_os = "linux")]
        Command::Mount(args) => mount::run(context, &args),
        Command::ServeNbd(args) => serve_nbd::run(context, &args),
        Command::Forget(args) => forget::run(context, args),
        Command::Pin(args) => pin::run(context, &args),
        Command::Audit(args) => audit::run(context, &args),
        Command::Prune(args) => prune::run(context, &args),
        Command::Copy(args) => copy::run(context, &args),
        Command::Check(args) => check::run(context, &args),
        Command::Repair(args) => repair::run(context, &args),
        Command::Key(args) => key::run(context, args.action),
        Command::Stats(args) => stats::run(context, &args),
        Command::Cache(args) => cache::run(context, args.action),
        Command::Demo { folder } => demo::run(context, folder),
        Command::Completions { shell } => Ok(completions(context, shell)),
    }
}

fn completions(context: &Context, shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "sheaf", &mut script);
    let script = String::from_utf8_lossy(&script);
    if context.global.json {
        output::json(&serde_json::json!({ "shell": shell.to_string(), "script": script }));
    } else {
        output::line(script.trim_end());
    }
    DONE
}
