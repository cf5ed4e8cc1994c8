//! L5: the command line. What was typed, what it means, what a person sees.
//!
//! Always true here:
//! - Only the library's public items are used: this module belongs to the binary, not to the library.
//! - Results go to standard output, everything else to standard error. With `--json` standard output is one JSON document.
//! - Exit statuses are those of [`failure::Failure`] and nothing else.

mod args;
mod commands;
mod context;
mod failure;
mod output;
mod password;
mod progress;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let code = if error.use_stderr() { failure::USAGE } else { failure::DONE };
            _ = error.print();
            return ExitCode::from(code);
        }
    };
    let context = context::Context::new(args.global);
    let result = commands::run(&context, args.command);
    ExitCode::from(context.conclude(result))
}
