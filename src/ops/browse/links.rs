//! Links of a volume as links of the machine, inside of what is extracted.
//!
//! Always true here: a link that is made leads to a place inside of the extracted tree, whatever is there.

use crate::layout::files::Link;
use std::io;
use std::path::{Path, PathBuf};

/// Where a link at `path` leads, as a relative path from its folder; `base` is the path of what is extracted.
///
/// # Errors
/// Why it cannot be made.
pub(super) fn inside(path: &str, base: &str, link: &Link) -> Result<PathBuf, String> {
    let leads = |reason: &str| Err(format!("a link to {}, which {reason}", link.target));
    let names = |text: &str| -> Vec<String> {
        text.split(['/', '\\']).filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect()
    };
    // Paths in the snapshot begin with what is around the volume, which all of them share.
    let (base, from) = (names(base), names(path));
    let Some((_, folder)) = from.split_last() else { return leads("has no name") };
    let shared = usize::from(base.first().is_some_and(|first| first.ends_with(':')));
    let (target, is_full) = link.on_volume();
    let mut to: Vec<String> = if is_full { base.iter().take(shared).cloned().collect() } else { folder.to_vec() };
    for name in names(target) {
        match name.as_str() {
            ".." if to.len() > shared => _ = to.pop(),
            ".." => return leads("is above the top of its volume"),
            _ if name.contains('\0') => return leads("has a NUL"),
            _ => to.push(name),
        }
    }
    let same = |one: &String, other: &String| super::same_name(one, other);
    let is_inside = to.len() >= base.len() && base.iter().zip(&to).all(|(one, other)| same(one, other));
    if !is_inside {
        return leads("is not among what is extracted");
    }
    let common = folder.iter().zip(&to).take_while(|(one, other)| same(one, other)).count();
    let up = std::iter::repeat_n("..", folder.len() - common);
    let way: PathBuf = up.chain(to[common..].iter().map(String::as_str)).collect();
    Ok(if way.as_os_str().is_empty() { PathBuf::from(".") } else { way })
}

/// Makes a link.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub(super) fn make(to: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

/// Makes no link: on other systems that takes a right that few have.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub(super) fn make(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(path: &str, base: &str, target: &str, is_relative: bool) -> Option<String> {
        let link = Link { target: target.to_owned(), is_relative, is_junction: !is_relative };
        inside(path, base, &link).ok().map(|to| to.display().to_string())
    }

    #[test]
    fn links_stay_inside() {
        let some = |to: &str| Some(to.to_owned());
        assert_eq!(leads("3:/a/b/link", "3:/a", "..\\c\\d", true), some("../c/d"));
        assert_eq!(leads("3:/a/link", "3:/a", "x", true), some("x"));
        assert_eq!(leads("3:/a/link", "3:/a", "..\\x", true), None);
        assert_eq!(leads("3:/a/link", "3:/", "..\\x", true), some("../x"));
        assert_eq!(leads("3:/a/link", "3:/", "..\\..\\x", true), None);
        assert_eq!(leads("3:/a/b/link", "3:/a", "\\??\\C:\\A\\c", false), some("../c"));
        assert_eq!(leads("3:/a/b/link", "3:/a", "\\??\\C:\\b", false), None);
        assert_eq!(leads("/a/link", "/", "\\??\\C:\\b", false), some("../b"));
        assert_eq!(leads("/a/link", "/", "\\??\\C:\\..\\etc", false), None);
        assert_eq!(leads("/a/link", "/a", ".", true), some("."));
        assert_eq!(leads("/a/link", "/a", "..\\..\\..\\..\\etc\\passwd", true), None);
        assert_eq!(leads("/link", "/link", "/etc/passwd", false), None);
    }
}
