//! Which Windows is on a volume, for people who look at a list of sticks.
//!
//! Always true here:
//! - It is looked for and never relied on: damage, a volume without Windows, and one whose files cannot be read are all `None`.
//! - A few folders are listed and a bounded number of bytes is read, whatever the volume says.
//! - What is told is short: at most [`MOST_TEXT`] characters. They come from the volume, and may be any.

mod hive;
mod pe;

use super::files::{FileSystem, NodeId};
use hive::{Hive, Value};

/// The most characters that are told of a Windows.
pub const MOST_TEXT: usize = 200;
/// The most characters of one value that are told.
const MOST_OF_ONE: usize = 60;
/// The first build that is called Windows 11. Its registry says "Windows 10" all the same.
const FIRST_OF_11: u32 = 22000;

/// The key that says which Windows it is, below that of `HKEY_LOCAL_MACHINE\SOFTWARE`, which the hive is.
const KEY: [&str; 3] = ["Microsoft", "Windows NT", "CurrentVersion"];
const PRODUCT: &str = "ProductName";
const EDITION: &str = "EditionID";
/// Since Windows 10 version 20H2; before, a number such as 1809; before Windows 10, the service pack.
const RELEASES: [&str; 3] = ["DisplayVersion", "ReleaseId", "CSDVersion"];
/// The other one of them is the same, or older than 1997.
const BUILDS: [&str; 2] = ["CurrentBuildNumber", "CurrentBuild"];
const REVISION: &str = "UBR";
const MAJOR: &str = "CurrentMajorVersionNumber";
const MINOR: &str = "CurrentMinorVersionNumber";

/// Which Windows is on a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowsVersion {
    /// As its registry says.
    Registry {
        /// The product, such as `Windows 11 Pro`.
        product: String,
        /// The release of it, such as `23H2` or `Service Pack 1`.
        release: Option<String>,
        /// The build, such as 22631.
        build: Option<u32>,
        /// The revision of that build, such as 3007.
        revision: Option<u32>,
    },
    /// As the version of its kernel says, for want of a registry.
    Kernel([u16; 4]),
}

impl std::fmt::Display for WindowsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry { product, release, build, revision } => {
                f.write_str(product)?;
                release.iter().try_for_each(|release| write!(f, " {release}"))?;
                build.iter().try_for_each(|build| write!(f, ", build {build}"))?;
                // A revision of no build says nothing.
                revision.iter().filter(|_| build.is_some()).try_for_each(|revision| write!(f, ".{revision}"))
            }
            Self::Kernel([major, minor, build, revision]) => {
                write!(f, "Windows, build {major}.{minor}.{build}.{revision}")
            }
        }
    }
}

/// Looks which Windows is on a volume; `None` where there is none, or it does not say.
pub fn windows_version(files: &dyn FileSystem) -> Option<WindowsVersion> {
    let system = named(files, named(files, files.root(), "Windows", true)?, "System32", true)?;
    registry(files, system).or_else(|| {
        let kernel = files.open(named(files, system, "ntoskrnl.exe", false)?, None).ok()?;
        pe::file_version(&*kernel).map(WindowsVersion::Kernel)
    })
}

/// The file or folder of a name in a folder, whatever the case of its name.
fn named(files: &dyn FileSystem, folder: NodeId, name: &str, is_folder: bool) -> Option<NodeId> {
    let listing = files.entries(folder).ok()?;
    let mut entries = listing.entries.iter();
    entries.find(|entry| entry.is_folder == is_folder && entry.name.eq_ignore_ascii_case(name)).map(|entry| entry.node)
}

/// What the registry says.
fn registry(files: &dyn FileSystem, system: NodeId) -> Option<WindowsVersion> {
    let hive = files.open(named(files, named(files, system, "config", true)?, "SOFTWARE", false)?, None).ok()?;
    let mut hive = Hive::open(&*hive)?;
    let key = hive.key(&KEY)?;
    let names = [&[PRODUCT, EDITION, REVISION, MAJOR, MINOR][..], &RELEASES, &BUILDS].concat();
    let values = Values(hive.values(key, &names));
    let build = BUILDS.iter().find_map(|name| values.text(name)?.parse().ok());
    let product = product(&values, build).or_else(|| build.map(|_| "Windows".to_owned()))?;
    let release = RELEASES.iter().find_map(|name| values.text(name));
    Some(WindowsVersion::Registry { product, release, build, revision: values.number(REVISION) })
}

/// What the system is called; `None` where nothing says it.
fn product(values: &Values, build: Option<u32>) -> Option<String> {
    let (major, minor) = (values.number(MAJOR), values.number(MINOR));
    let is_11 = major.is_none_or(|major| major == 10) && build.is_some_and(|build| build >= FIRST_OF_11);
    if let Some(name) = values.text(PRODUCT) {
        let rest = name.strip_prefix("Windows 10").filter(|rest| is_11 && (rest.is_empty() || rest.starts_with(' ')));
        return Some(rest.map_or(name.clone(), |rest| format!("Windows 11{rest}")));
    }
    let edition = values.text(EDITION);
    let is_server = edition.as_ref().is_some_and(|edition| edition.starts_with("Server"));
    let system = match (major?, minor) {
        (10, _) if is_server => "Windows".to_owned(),
        (10, _) if is_11 => "Windows 11".to_owned(),
        (10, _) => "Windows 10".to_owned(),
        (major, minor) => format!("Windows {major}.{}", minor.unwrap_or_default()),
    };
    Some(edition.map_or(system.clone(), |edition| format!("{system} {edition}")))
}

/// The values of a key that are there.
struct Values(Vec<(&'static str, Value)>);

impl Values {
    /// The first characters of a text; `None` where there is none, or nothing in it.
    fn text(&self, name: &str) -> Option<String> {
        match self.0.iter().find(|(own, _)| *own == name) {
            Some((_, Value::Text(text))) => {
                Some(text.trim().chars().take(MOST_OF_ONE).collect()).filter(|text: &String| !text.is_empty())
            }
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        match self.0.iter().find(|(own, _)| *own == name) {
            Some((_, Value::Number(number))) => Some(*number),
            _ => None,
        }
    }
}
