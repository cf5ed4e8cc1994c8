//! L5: the command line. What was typed, what it means, what a person sees.
//!
//! Always true here:
//! - Only the library's public items are used: this module belongs to the binary, not to the library.
//! - Results go to standard output, everything else to standard error. With `--json` standard output is one JSON document.
//! - Exit statuses are those of [`failure::Failure`] and nothing else.

mod args;
mod commands;
mod context;
mod copy_args;
mod failure;
mod forget_args;
mod key_args;
mod key_file;
mod ledger;
mod output;
mod password;
mod progress;
mod repair_args;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            _ = error.print();
            // Help and version are no errors, and went to standard output.
            if !error.use_stderr() {
                return ExitCode::from(failure::DONE);
            }
            if std::env::args_os().any(|argument| argument == "--json") {
                output::failure(&usage(&error));
            }
            return ExitCode::from(failure::USAGE);
        }
    };
    let context = context::Context::new(args.global, args.command.is_dry_run());
    let result = commands::run(&context, args.command);
    ExitCode::from(context.conclude(result))
}

/// What was typed wrongly, without the summary of options that a person gets.
fn usage(error: &clap::Error) -> failure::Failure {
    let text = error.render().to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = text.trim_start_matches("error:").split_whitespace().collect();
    failure::Failure {
        hint: Some("`sheaf --help` lists what can be typed".to_owned()),
        ..failure::Failure::usage(words.join(" "))
    }
}
