//! Where the password comes from: a file, a command, the environment, or a prompt.
//!
//! Always true here: a password is never an argument, where every user of the machine could see it, and is never printed.

use super::args::Global;
use super::failure::Failure;
use sheaf::crypto::password::Password;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// The longest password, in bytes.
const LONGEST: u64 = 4096;

/// Gets the password; `new` asks twice at a prompt. Warnings go to `warn`.
pub(crate) fn get(global: &Global, new: bool, warn: &dyn Fn(&str)) -> Result<Password, Failure> {
    let password = if let Some(path) = &global.password_file {
        from_file(path, warn)?
    } else if let Some(command) = &global.password_command {
        from_command(command)?
    } else if let Some(text) = std::env::var_os("SHEAF_PASSWORD") {
        Password::new(text.into_encoded_bytes())
    } else {
        prompt(new)?
    };
    if password.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    Ok(password)
}

/// Gets the password of the repository that is copied into.
pub(crate) fn get_of_target(
    file: Option<&Path>,
    command: Option<&str>,
    warn: &dyn Fn(&str),
) -> Result<Password, Failure> {
    let password = if let Some(path) = file {
        from_file(path, warn)?
    } else if let Some(command) = command {
        from_command(command)?
    } else if let Some(text) = std::env::var_os("SHEAF_TO_PASSWORD") {
        Password::new(text.into_encoded_bytes())
    } else if std::io::stdin().is_terminal() {
        ask("Password of the target: ")?
    } else {
        return Err(Failure::usage(
            "no password of the target: set SHEAF_TO_PASSWORD, use --to-password-file, --to-password-command or --to-key-file, or run it on \
             a terminal",
        ));
    };
    if password.is_empty() {
        return Err(Failure::usage("the target's password is empty"));
    }
    Ok(password)
}

/// Gets the new password of a key: from a file, from SHEAF_NEW_PASSWORD, or from a prompt, which asks twice.
pub(crate) fn get_new(file: Option<&Path>, warn: &dyn Fn(&str)) -> Result<Password, Failure> {
    let password = if let Some(path) = file {
        from_file(path, warn)?
    } else if let Some(text) = std::env::var_os("SHEAF_NEW_PASSWORD") {
        Password::new(text.into_encoded_bytes())
    } else if std::io::stdin().is_terminal() {
        prompt(true)?
    } else {
        return Err(Failure::usage(
            "no new password: set SHEAF_NEW_PASSWORD, use --new-password-file, --to-key or --print, or run it on a terminal",
        ));
    };
    if password.is_empty() {
        return Err(Failure::usage("the new password is empty"));
    }
    Ok(password)
}

fn first_line(reader: impl Read) -> std::io::Result<Password> {
    let mut line = Vec::new();
    BufReader::new(reader.take(LONGEST)).read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Password::new(line))
}

fn from_file(path: &Path, warn: &dyn Fn(&str)) -> Result<Password, Failure> {
    let failed = |error| Failure::io(&format!("reading the password file {}", path.display()), &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    if is_readable_by_others(&file) {
        warn(&format!("other users can read the password file {}: `chmod 600` it", path.display()));
    }
    first_line(file).map_err(failed)
}

#[cfg(unix)]
pub(crate) fn is_readable_by_others(file: &std::fs::File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 != 0)
}

/// Access lists are not looked into.
#[cfg(not(unix))]
pub(crate) const fn is_readable_by_others(_: &std::fs::File) -> bool {
    false
}

fn from_command(command: &str) -> Result<Password, Failure> {
    let failed = |error| Failure::io("running the password command", &error);
    let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
    let flag = if cfg!(windows) { "/C" } else { "-c" };
    let mut child = shell.args([flag, command]).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let output = child.stdout.take();
    let password = output.map_or_else(|| Ok(Password::new(Vec::new())), first_line).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if status.success() {
        Ok(password)
    } else {
        Err(Failure {
            status: super::failure::FAILED,
            message: format!("the password command failed: {status}"),
            hint: None,
        })
    }
}

fn ask(text: &str) -> Result<Password, Failure> {
    rpassword::prompt_password(text)
        .map(|text| Password::new(text.into_bytes()))
        .map_err(|error| Failure::io("asking for the password", &error))
}

fn prompt(new: bool) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "no password: set SHEAF_PASSWORD, or use --password-file or --password-command, or run it on a terminal",
        ));
    }
    let password = ask(if new { "New password: " } else { "Password: " })?;
    if new && ask("The same again: ")? != password {
        return Err(Failure::usage("the two passwords differ"));
    }
    Ok(password)
}
