//! Links of Windows, told as links of Linux that stay in their volume.
//!
//! Always true here:
//! - A target is relative. All its `..` stand at its front, and there are no more of them than folders between the link and the top
//!   of its volume: followed from there it never leaves the volume.
//! - The names in it are those that the volume's folders show, made by the same [`names::inside`].

use super::names;
use crate::layout::files::Link;

/// The most bytes of a target that Linux follows (`PATH_MAX`, its NUL not counted).
pub(super) const LONGEST: usize = 4095;

/// Where a link leads, told from the folder that it is in, which has `depth` folders above it in its volume. `None` where it would be
/// longer than [`LONGEST`].
///
/// Drive letters and names of volumes are left out: a path on another drive becomes one on this volume, as most sticks have but one.
pub(super) fn target(link: &Link, depth: usize) -> Option<String> {
    let (path, is_full) = link.on_volume();
    let (mut up, mut down) = (if is_full { depth } else { 0 }, Vec::new());
    for part in path.split(['\\', '/']) {
        match part {
            "" | "." => {}
            // Windows takes `..` out of a path before it looks at any folder, so that it may be done by the words alone.
            ".." if down.pop().is_some() => {}
            ".." => up = depth.min(up + 1),
            name => down.extend(names::inside(name)),
        }
    }
    let length = up * 3 + down.iter().map(|name| name.len() + 1).sum::<usize>();
    if length > LONGEST + 1 {
        return None;
    }
    let parts: Vec<&str> = (0..up).map(|_| "..").chain(down.iter().map(|name| &**name)).collect();
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str, is_relative: bool, depth: usize) -> String {
        let link = Link { target: target.to_owned(), is_relative, is_junction: !is_relative };
        super::target(&link, depth).expect("short enough")
    }

    #[test]
    fn relative_targets_are_turned_round_and_cut_at_the_top() {
        assert_eq!(told("notes.txt", true, 0), "notes.txt");
        assert_eq!(told(r"..\Public\Desktop", true, 2), "../Public/Desktop");
        assert_eq!(told(r"..\..\..\etc\passwd", true, 1), "../etc/passwd");
        assert_eq!(told(r"..\..\..\..", true, 0), ".");
        assert_eq!(told(r"a\..\b\.\c", true, 0), "b/c");
        assert_eq!(told(r"a\..\..\..\b", true, 1), "../b");
        assert_eq!(told("../../x", true, 1), "../x");
        assert_eq!(told("", true, 3), ".");
        assert_eq!(told(r"a\/..\\b", true, 0), "b");
    }

    #[test]
    fn full_paths_lead_to_the_same_place_of_the_volume() {
        for path in [
            r"\??\C:\Users\All Users",
            r"C:\Users\All Users",
            r"\\?\D:\Users\All Users\",
            r"\??\Volume{6b0ab8ce-0000-0000-0000-100000000000}\Users\All Users",
            r"\DosDevices\c:\Users\All Users",
        ] {
            assert_eq!(told(path, false, 3), "../../../Users/All Users", "{path}");
        }
        assert_eq!(told(r"\??\C:\", false, 2), "../..");
        assert_eq!(told(r"\??\C:", false, 0), ".");
        assert_eq!(told(r"\??\C:\..\..\..\etc", false, 1), "../etc");
        // From the top of the drive it is on, though it is called relative.
        assert_eq!(told(r"\ProgramData", true, 2), "../../ProgramData");
        // A share is nowhere on the volume; the link leads to nothing.
        assert_eq!(told(r"\??\UNC\server\share\x", false, 1), "../UNC/server/share/x");
    }

    #[test]
    fn names_in_targets_are_those_that_folders_show() {
        assert_eq!(told("a\0b\\c", true, 0), "a\u{fffd}b/c");
        let long = "x".repeat(300);
        assert_eq!(told(&long, true, 0), names::inside(&long).expect("a name"));
    }

    #[test]
    fn no_target_climbs_above_the_top() {
        for depth in 0..6 {
            for path in [r"..\..\..\..\..\..\..\x", r"\??\C:\..\..\..\x\..\..\..\y", r"a\..\..\..\..\b\..\..\..\..\c"] {
                for is_relative in [true, false] {
                    let told = told(path, is_relative, depth);
                    let ups = told.split('/').take_while(|part| *part == "..").count();
                    assert!(ups <= depth, "{path} at {depth}: {told}");
                    assert!(!told.starts_with('/') && told.split('/').skip(ups).all(|part| part != ".."), "{told}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_link_says_it_stays_in_its_volume(
            target in r"([.a:C?\\/\x00]|\.\.\\|\\\?\?\\|Volume\{|\PC){0,40}",
            is_relative: bool,
            is_junction: bool,
            depth in 0_usize..8,
        ) {
            let link = Link { target, is_relative, is_junction };
            if let Some(told) = super::target(&link, depth) {
                let parts: Vec<&str> = told.split('/').collect();
                let ups = parts.iter().take_while(|part| **part == "..").count();
                assert!(ups <= depth && !told.contains('\0') && told.len() <= LONGEST, "{link:?}: {told}");
                let down = &parts[ups..];
                assert!(down == ["."] || down.iter().all(|part| !matches!(*part, "" | "." | "..")), "{link:?}: {told}");
            }
        }
    }

    #[test]
    fn targets_that_linux_cannot_follow_are_none() {
        let link = |target: String| Link { target, is_relative: true, is_junction: false };
        assert_eq!(target(&link("a".into()), usize::MAX / 8).as_deref(), Some("a"));
        assert_eq!(target(&link("\\a".into()), 2000), None);
        assert_eq!(target(&link("abc\\".repeat(1024)), 0).map(|told| told.len()), Some(4095));
        assert_eq!(target(&link("abc\\".repeat(1025)), 0), None);
    }
}
