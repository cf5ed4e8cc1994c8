//! Key files and printed keys: an X25519 key as text, in a file or typed at the prompt for a password.
//!
//! Always true here: a key is never an argument, and goes to nothing but a new file of its owner's alone, or to a page that was asked
//! for.

use super::failure::Failure;
use super::password::is_readable_by_others;
use sheaf::crypto::password::Password;
use sheaf::crypto::{Secret, printed, recipient};
use sheaf::repo::bundles::Credential;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// The longest key file, in bytes.
const LONGEST: u64 = 64 << 10;

/// Reads a key file: the first line that begins as a printed key does. Warnings go to `warn`.
pub(crate) fn read(path: &Path, warn: &dyn Fn(&str)) -> Result<Secret, Failure> {
    let failed = |error| Failure::io(&format!("reading the key file {}", path.display()), &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    if is_readable_by_others(&file) {
        warn(&format!("other users can read the key file {}: `chmod 600` it", path.display()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let line = text.lines().find(|line| begins_as_key(line)).unwrap_or(text);
    printed::read_secret(line).map_err(|error| Failure::usage(format!("{} is no key file: {error}", path.display())))
}

fn begins_as_key(text: &str) -> bool {
    let start = text.trim_start().get(..printed::SECRET_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(printed::SECRET_PREFIX))
}

/// What was typed is a key when it reads as a printed key without a mistake, and a password otherwise.
pub(crate) fn or_printed(password: Password) -> Result<Credential, Failure> {
    let text = std::str::from_utf8(password.expose()).unwrap_or_default();
    if begins_as_key(text) {
        return printed::read_secret(text).map(Credential::Key).map_err(|error| Failure::usage(error.to_string()));
    }
    Ok(Credential::Password(password))
}

/// Makes a key, writes it to a new file that only its owner can read, and gives the public key as text.
pub(crate) fn generate(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::io(&format!("writing the key file {}", path.display()), &error);
    let (private, public) = recipient::generate().map_err(|error| Failure::usage(error.to_string()))?;
    let public = printed::public(&public);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(failed)?;
    let head = format!(
        "# A key for sheaf. Whoever has this file opens what is sealed to it, so keep it for yourself.\n# {public}\n"
    );
    let text = printed::secret(&private);
    let written = [head.as_bytes(), text.as_bytes(), b"\n"].iter().try_for_each(|part| file.write_all(part));
    written.and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(public)
}
