//! Paths as a Windows user writes them, with a snapshot in front: `ana:latest:3:\Users\ana\notes.txt`.
//!
//! Always true here:
//! - `\` and `/` are the same. A path goes down from the top of a volume, and never above it.
//! - Nothing is looked up here: what a path means is found out where the volume is at hand.

use super::BrowseError;

/// A snapshot, and a path in it, as a person named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPath {
    /// A prefix of an id, `latest`, or `STICK:latest`.
    pub snapshot: String,
    /// What stands behind it; `None` where nothing does.
    pub path: Option<String>,
}

impl SnapshotPath {
    /// Takes `SNAPSHOT[:PATH]` apart. `STICK:latest` counts as one where it can be read as one; write `ID:/latest` for a file of that name.
    pub fn parse(text: &str) -> Self {
        let whole =
            |end: usize| Self { snapshot: text[..end].to_owned(), path: text.get(end + 1..).map(str::to_owned) };
        const LATEST: &str = ":latest";
        if let Some(at) = text.find(LATEST) {
            let end = at + LATEST.len();
            let is_first = !text[..at].contains([':', '/', '\\']);
            if is_first && (end == text.len() || text[end..].starts_with(':')) {
                return whole(end);
            }
        }
        whole(text.find(':').unwrap_or(text.len()))
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a partition of the disk, by its number.
    Partition(u32),
    /// To a name in a folder.
    Name(String),
}

/// A path on a disk: partitions and names. Behind the name of a virtual disk it may go on inside of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskPath {
    /// From the disk downward.
    pub steps: Vec<Step>,
    /// A stream of the file beside its content, as in `notes.txt:summary`.
    pub stream: Option<String>,
}

impl DiskPath {
    /// Reads a path such as `3:\Windows\notepad.exe`, `\Windows`, `C:\Windows` (a drive letter says nothing here), or
    /// `3:\disks\win.vhdx\2:\Windows`.
    ///
    /// # Errors
    /// [`BrowseError::Path`] where it has a NUL, or a partition number that is none.
    pub fn parse(text: &str) -> Result<Self, BrowseError> {
        let wrong = |reason: &str| BrowseError::Path { path: text.to_owned(), reason: reason.to_owned() };
        if text.contains('\0') {
            return Err(wrong("it has a NUL"));
        }
        let mut path = Self::default();
        let mut rest = text;
        if let Some((first, behind)) = text.split_once(':') {
            if is_number(first) {
                path.steps.push(Step::Partition(number(first).ok_or_else(|| wrong("no partition has such a number"))?));
                rest = behind;
            } else if first.len() == 1 && first.chars().all(|letter| letter.is_ascii_alphabetic()) {
                rest = behind;
            }
        }
        let parts: Vec<&str> = rest.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
        for (index, part) in parts.iter().enumerate() {
            if *part == ".." {
                // As with a shell: above the top is the top.
                if matches!(path.steps.last(), Some(Step::Name(_))) {
                    path.steps.pop();
                }
                continue;
            }
            match part.split_once(':') {
                Some((digits, "")) if is_number(digits) => {
                    path.steps
                        .push(Step::Partition(number(digits).ok_or_else(|| wrong("no partition has such a number"))?));
                }
                Some((name, stream)) if index + 1 == parts.len() && !name.is_empty() => {
                    path.steps.push(Step::Name(name.to_owned()));
                    // The type of a stream may stand behind it ([MS-FSCC] §2.1.5.3).
                    let stream = stream.strip_suffix(":$DATA").unwrap_or(stream);
                    path.stream = (!stream.is_empty()).then(|| stream.to_owned());
                }
                _ => path.steps.push(Step::Name((*part).to_owned())),
            }
        }
        Ok(path)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok()
}

/// Whether two names are the same to Windows: without regard to case.
pub fn same_name(one: &str, other: &str) -> bool {
    one == other || one.chars().flat_map(char::to_uppercase).eq(other.chars().flat_map(char::to_uppercase))
}

/// A pattern with `*`, `?` and `**`, without regard to case. One without a separator is for names alone.
#[derive(Debug, Clone)]
pub struct Pattern {
    letters: Vec<char>,
    /// Whether it is for whole paths.
    pub is_path: bool,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Self {
        let text = text.replace('\\', "/");
        let is_path = text.contains('/');
        let letters = text.trim_start_matches('/').chars().flat_map(char::to_uppercase).collect();
        Self { letters, is_path }
    }

    /// Whether a name, or a path with `/` from the top of its volume, is one that was meant.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.trim_start_matches('/').chars().flat_map(char::to_uppercase).collect();
        let pattern = &self.letters;
        // Where the last star stood, and up to where it has taken the text; likewise for the last double star.
        let (mut at, mut seen) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        let mut double: Option<(usize, usize)> = None;
        while seen < text.len() {
            match pattern.get(at) {
                Some('*') if pattern.get(at + 1) == Some(&'*') => {
                    // `**/` stands for no folder as well.
                    at += if pattern.get(at + 2) == Some(&'/') && (seen == 0 || text[seen - 1] == '/') { 3 } else { 2 };
                    (double, star) = (Some((at, seen)), None);
                }
                Some('*') => {
                    at += 1;
                    star = Some((at, seen));
                }
                Some('?') if text[seen] != '/' => (at, seen) = (at + 1, seen + 1),
                Some(letter) if *letter == text[seen] && *letter != '?' => (at, seen) = (at + 1, seen + 1),
                _ => match (star, double) {
                    (Some((behind, taken)), _) if text[taken] != '/' => {
                        star = Some((behind, taken + 1));
                        (at, seen) = (behind, taken + 1);
                    }
                    (_, Some((behind, taken))) => {
                        (double, star) = (Some((behind, taken + 1)), None);
                        (at, seen) = (behind, taken + 1);
                    }
                    _ => return false,
                },
            }
        }
        pattern[at..].iter().all(|letter| *letter == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (String, Option<String>) {
        let SnapshotPath { snapshot, path } = SnapshotPath::parse(text);
        (snapshot, path)
    }

    #[test]
    fn a_snapshot_and_a_path_are_told_apart() {
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(split("latest"), ("latest".to_owned(), None));
        assert_eq!(split("ana:latest"), ("ana:latest".to_owned(), None));
        assert_eq!(split("ana:latest:"), ("ana:latest".to_owned(), path("")));
        assert_eq!(split("ana:latest:3:\\a"), ("ana:latest".to_owned(), path("3:\\a")));
        assert_eq!(split("latest:/a:b"), ("latest".to_owned(), path("/a:b")));
        assert_eq!(split("2b9f:C:\\a"), ("2b9f".to_owned(), path("C:\\a")));
        assert_eq!(split("2b9f:/x:latest"), ("2b9f".to_owned(), path("/x:latest")));
        assert_eq!(split("ana:latestx"), ("ana".to_owned(), path("latestx")));
        assert_eq!(split("2b9f:/latest"), ("2b9f".to_owned(), path("/latest")));
    }

    fn steps(text: &str) -> String {
        let path = DiskPath::parse(text).expect("a path");
        let steps = path.steps.iter().map(|step| match step {
            Step::Partition(number) => format!("<{number}>"),
            Step::Name(name) => format!("[{name}]"),
        });
        steps.collect::<String>() + &path.stream.map_or_else(String::new, |stream| format!("~{stream}"))
    }

    #[test]
    fn paths_are_read_as_windows_writes_them() {
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("\\Windows\\System32/", "[Windows][System32]"),
            ("3:", "<3>"),
            ("3:\\a/b", "<3>[a][b]"),
            ("3:a", "<3>[a]"),
            ("C:\\a", "[a]"),
            ("c:", ""),
            ("/a/../b/./c", "[b][c]"),
            ("../../a", "[a]"),
            ("2:/../a", "<2>[a]"),
            ("/w.vhdx/2:/Windows", "[w.vhdx]<2>[Windows]"),
            ("/a:s", "[a]~s"),
            ("/a:s:$DATA", "[a]~s"),
            ("/a::$DATA", "[a]"),
            ("/a:b/c", "[a:b][c]"),
            ("12/34", "[12][34]"),
        ] {
            assert_eq!(steps(text), expected, "{text}");
        }
        DiskPath::parse("99999999999:/a").expect_err("no number");
        DiskPath::parse("a\0b").expect_err("a NUL");
    }

    #[test]
    fn patterns_find_names_and_paths() {
        let cases = [
            ("*.txt", "Notes.TXT", true),
            ("*.txt", "notes.txt.bak", false),
            ("n?tes", "nötes", true),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("/users/*/notes.txt", "/Users/ana/notes.txt", true),
            ("/users/*/notes.txt", "/Users/ana/old/notes.txt", false),
            ("/users/**/notes.txt", "/Users/ana/old/notes.txt", true),
            ("/users/**/notes.txt", "/Users/notes.txt", true),
            ("**/notes.txt", "/notes.txt", true),
            ("**\\*.dll", "/a/b/c.dll", true),
            ("**\\*.dll", "/a/b/c.dlx", false),
            ("/a?c", "/a/c", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
        // No pattern takes for ever.
        let stars = "*a".repeat(50);
        assert!(!Pattern::new(&stars).matches(&"a".repeat(49)));
        assert!(!Pattern::new(&format!("**/{stars}b")).matches(&"a/".repeat(2000)));
    }

    #[test]
    fn names_are_the_same_whatever_their_case() {
        assert!(same_name("Größe.TXT", "gRÖSSE.txt") && same_name("a", "a") && !same_name("a", "ab"));
    }
}
