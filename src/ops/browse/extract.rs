//! Files and whole trees out of a snapshot, into a folder of the machine.
//!
//! Always true here:
//! - Nothing is written outside of the target folder, whatever names and links the volume has: a name is one plain component, folders
//!   that are entered are real ones, files are made anew, and links are made last, only to places inside.
//! - A file is there whole or not at all. What is refused, or cannot be read, is told with its reason, and the rest is extracted.
//! - Times are those of the volume; holes stay holes.

use super::links;
use super::{BrowseError, Found, Visit, walk};
use crate::disk::{DiskOffset, ReadAt, ReadError};
use crate::layout::FileSystem;
use crate::layout::files::{Link, Moment, NodeFacts, NodeId, NodeKind};
use crate::ops::monitor::{Advance, Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes that are read and written at once.
const PIECE: usize = 1 << 20;
/// The most refusals that are told one by one.
const MOST_TOLD: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ExtractRequest {
    /// The folder to extract into; it is made where it is missing.
    pub to: PathBuf,
    /// Replace files that are there already.
    pub force: bool,
    /// Write the streams that files have beside their content, as `NAME:STREAM`.
    pub streams: bool,
}

/// Something that was not extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its path in the snapshot.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What was done.
#[derive(Debug, Default)]
pub struct ExtractReport {
    /// Files, further names of one counted as well.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Links.
    pub links: u64,
    /// Bytes of the files' content.
    pub bytes: u64,
    /// Streams beside the content that nobody asked for.
    pub streams_left_out: u64,
    /// What was not extracted; the first ten thousand.
    pub refused: Vec<Refusal>,
    /// How many that are.
    pub refused_count: u64,
}

impl ExtractReport {
    fn refuse(&mut self, path: &str, reason: impl Into<String>) {
        self.refused_count += 1;
        if self.refused.len() < MOST_TOLD {
            self.refused.push(Refusal { path: path.to_owned(), reason: reason.into() });
        }
    }
}

/// Extracts a file, or a folder with all that is below it. At the top of a volume all that is on it goes into the target itself.
///
/// # Errors
/// [`OpsError::Io`] where the target cannot be written to at all, or is full; [`OpsError::Interrupted`].
pub fn extract(
    found: &Found,
    request: &ExtractRequest,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<ExtractReport, OpsError> {
    fs::create_dir_all(&request.to).map_err(|source| failed("making the folder", &request.to, source))?;
    let mut out = Extractor {
        files: &*found.files,
        request,
        monitor,
        cancel,
        report: ExtractReport::default(),
        known: HashMap::new(),
        links: Vec::new(),
        buffer: vec![0; PIECE],
    };
    monitor.begin(Phase::Extract, None);
    if found.name.is_empty() {
        out.tree(found.node, &found.path, &request.to)?;
    } else if let Some(target) = out.target(&request.to, &found.name, &found.path) {
        match &found.facts.kind {
            NodeKind::Folder => {
                if out.folder(&target, &found.path)? {
                    out.tree(found.node, &found.path, &target)?;
                    set_times(&target, &found.facts);
                }
            }
            _ => out.node(found.node, &found.facts, &target, &found.path)?,
        }
    }
    out.make_links(found)?;
    Ok(out.report)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> OpsError {
    OpsError::Io { action, path: path.to_owned(), source }
}

/// True for what would befall every other file as well.
fn ends_all(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

/// Why a file is not there.
enum Lost {
    Write(io::Error),
    Read(String),
}

struct Extractor<'a> {
    files: &'a dyn FileSystem,
    request: &'a ExtractRequest,
    monitor: &'a dyn Monitor,
    cancel: &'a Cancel,
    report: ExtractReport,
    /// Files with several names that were written already.
    known: HashMap<NodeId, PathBuf>,
    links: Vec<(PathBuf, String, Link)>,
    buffer: Vec<u8>,
}

impl Extractor<'_> {
    /// Where a name of a folder goes; `None`, and a refusal, when it cannot be a name here.
    fn target(&mut self, folder: &Path, name: &str, path: &str) -> Option<PathBuf> {
        let mut parts = Path::new(name).components();
        let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name);
        let reason = match name {
            "" => "its name is empty",
            "." | ".." => "its name stands for another folder",
            _ if name.contains('\0') => "its name has a NUL",
            _ if !is_plain || name.contains('/') => "its name has a separator",
            _ => return Some(folder.join(name)),
        };
        self.report.refuse(path, reason);
        None
    }

    /// Makes a folder, or takes the real one that is there.
    fn folder(&mut self, target: &Path, path: &str) -> Result<bool, OpsError> {
        let made = match fs::create_dir(target) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::symlink_metadata(target) {
                Ok(there) if there.is_dir() => Ok(()),
                Ok(_) => {
                    self.report.refuse(path, format!("{} is there and no folder", target.display()));
                    return Ok(false);
                }
                Err(error) => Err(error),
            },
            made => made,
        };
        match made {
            Ok(()) => {
                self.report.folders += 1;
                Ok(true)
            }
            Err(error) if ends_all(&error) => Err(failed("making the folder", target, error)),
            Err(error) => {
                self.report.refuse(path, error.to_string());
                Ok(false)
            }
        }
    }

    fn tree(&mut self, folder: NodeId, path: &str, target: &Path) -> Result<(), OpsError> {
        // Where we are, and the times of the folders, which change while something is put into them.
        let mut trail: Vec<(PathBuf, Option<NodeFacts>)> = vec![(target.to_owned(), None)];
        let (files, cancel) = (self.files, self.cancel);
        walk(files, folder, path, cancel, &mut |visit| {
            match visit {
                Visit::Problem { path, error } => self.report.refuse(path, crate::repo::chain(&error)),
                Visit::Left { .. } => {
                    if let Some((folder, Some(facts))) = trail.pop() {
                        set_times(&folder, &facts);
                    }
                }
                Visit::Node { path, entry, facts } => {
                    let Some((here, _)) = trail.last() else { return Ok(false) };
                    let here = here.clone();
                    let Some(target) = self.target(&here, &entry.name, path) else { return Ok(false) };
                    if facts.kind == NodeKind::Folder {
                        let is_made = self.folder(&target, path)?;
                        if is_made {
                            trail.push((target, Some(facts.clone())));
                        }
                        return Ok(is_made);
                    }
                    self.node(entry.node, facts, &target, path)?;
                }
            }
            Ok(false)
        })
    }

    /// Extracts a file, or takes note of a link.
    fn node(&mut self, node: NodeId, facts: &NodeFacts, target: &Path, path: &str) -> Result<(), OpsError> {
        if let NodeKind::Link(link) = &facts.kind {
            self.links.push((target.to_owned(), path.to_owned(), link.clone()));
            return Ok(());
        }
        if !self.make_room(target, path)? {
            return Ok(());
        }
        if let Some(first) = self.known.get(&node)
            && fs::hard_link(first, target).is_ok()
        {
            self.report.files += 1;
            return Ok(());
        }
        let written = match self.files.open(node, None) {
            Ok(content) => self.write(&*content, target),
            Err(error) => Err(Lost::Read(crate::repo::chain(&error))),
        };
        match written {
            Ok(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes;
                set_times(target, facts);
                if facts.links > 1 {
                    self.known.insert(node, target.to_owned());
                }
                self.streams(node, target, path)
            }
            Err(lost) => self.lose(lost, target, path),
        }
    }

    fn lose(&mut self, lost: Lost, target: &Path, path: &str) -> Result<(), OpsError> {
        if self.cancel.is_cancelled() {
            return Err(OpsError::Interrupted);
        }
        match lost {
            Lost::Write(error) if ends_all(&error) => return Err(failed("writing", target, error)),
            Lost::Write(error) => self.report.refuse(path, error.to_string()),
            Lost::Read(reason) => self.report.refuse(path, reason),
        }
        Ok(())
    }

    /// Whether a file can be made; one that is there is removed first where that was asked for.
    fn make_room(&mut self, target: &Path, path: &str) -> Result<bool, OpsError> {
        self.cancel.check()?;
        let Ok(there) = fs::symlink_metadata(target) else { return Ok(true) };
        let removed = if there.is_dir() || !self.request.force {
            Err(format!("{} exists already", target.display()))
        } else {
            fs::remove_file(target).map_err(|error| error.to_string())
        };
        if let Err(reason) = &removed {
            self.report.refuse(path, reason);
        }
        Ok(removed.is_ok())
    }

    fn streams(&mut self, node: NodeId, target: &Path, path: &str) -> Result<(), OpsError> {
        let streams = match self.files.streams(node) {
            Ok(streams) => streams,
            Err(error) => {
                self.report.refuse(path, format!("its other streams: {}", crate::repo::chain(&error)));
                return Ok(());
            }
        };
        if !self.request.streams {
            self.report.streams_left_out += streams.len() as u64;
            return Ok(());
        }
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Ok(()) };
        for stream in streams {
            let path = format!("{path}:{}", stream.name);
            let name = format!("{}:{}", name.to_string_lossy(), stream.name);
            let Some(target) = self.target(folder, &name, &path) else { continue };
            if !self.make_room(&target, &path)? {
                continue;
            }
            let written = match self.files.open(node, Some(&stream.name)) {
                Ok(content) => self.write(&*content, &target),
                Err(error) => Err(Lost::Read(crate::repo::chain(&error))),
            };
            match written {
                Ok(bytes) => self.report.bytes += bytes,
                Err(lost) => self.lose(lost, &target, &path)?,
            }
        }
        Ok(())
    }

    /// Writes a new file; after an error there is none.
    fn write(&mut self, content: &dyn ReadAt, target: &Path) -> Result<u64, Lost> {
        let mut file = File::options().write(true).create_new(true).open(target).map_err(Lost::Write)?;
        let written = self.fill(content, &mut file);
        if written.is_err() {
            drop(file);
            _ = fs::remove_file(target);
        }
        written
    }

    fn fill(&mut self, content: &dyn ReadAt, file: &mut File) -> Result<u64, Lost> {
        let size = content.size();
        copy(content, &mut self.buffer, self.cancel, &mut |at, bytes| {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            self.monitor.advance(Advance { bytes: bytes.len() as u64, ..Advance::default() });
            Ok(())
        })?;
        file.set_len(size).map_err(Lost::Write)?;
        Ok(size)
    }

    fn make_links(&mut self, found: &Found) -> Result<(), OpsError> {
        let base = if found.name.is_empty() { found.path.trim_end_matches('/') } else { found.path.as_str() };
        for (target, path, link) in std::mem::take(&mut self.links) {
            let to = match links::inside(&path, base, &link) {
                Ok(to) => to,
                Err(reason) => {
                    self.report.refuse(&path, reason);
                    continue;
                }
            };
            if !self.make_room(&target, &path)? {
                continue;
            }
            match links::make(&to, &target) {
                Ok(()) => self.report.links += 1,
                Err(error) if ends_all(&error) => return Err(failed("making the link", &target, error)),
                Err(error) => self.report.refuse(&path, error.to_string()),
            }
        }
        Ok(())
    }
}

/// Hands out what of a content is not a hole.
fn copy(
    content: &dyn ReadAt,
    buffer: &mut [u8],
    cancel: &Cancel,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), Lost> {
    let unread = |error: ReadError| Lost::Read(crate::repo::chain(&error));
    let mut at = 0;
    while let Some(data) = content.next_data(DiskOffset(at)).map_err(unread)? {
        at = data.start.max(at);
        while at < data.end {
            if cancel.is_cancelled() {
                return Err(Lost::Read("interrupted".to_owned()));
            }
            let count = usize::try_from(data.end - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..count];
            content.read_at(DiskOffset(at), part).map_err(unread)?;
            take(at, part).map_err(Lost::Write)?;
            at += count as u64;
        }
    }
    Ok(())
}

/// Copies a content to a writer from its first byte to its last, zeros included. Returns how many bytes that were.
///
/// # Errors
/// [`BrowseError::Read`] as an [`OpsError`] with the path; [`OpsError::Io`] of the writer; [`OpsError::Interrupted`].
pub fn copy_content(
    content: &dyn ReadAt,
    path: &str,
    writer: &mut dyn Write,
    cancel: &Cancel,
) -> Result<u64, OpsError> {
    let mut buffer = vec![0; PIECE];
    let size = content.size();
    let mut at = 0;
    while at < size {
        cancel.check()?;
        let count = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..count];
        let read = content.read_at(DiskOffset(at), part);
        read.map_err(|source| BrowseError::Read { path: path.to_owned(), source })?;
        writer.write_all(part).map_err(|source| failed("writing", Path::new(path), source))?;
        at += count as u64;
    }
    writer.flush().map_err(|source| failed("writing", Path::new(path), source))?;
    Ok(size)
}

/// Gives a file or folder the times of the volume, as far as the machine takes them.
fn set_times(target: &Path, facts: &NodeFacts) {
    let time = |moment: Option<Moment>| {
        let Moment { seconds, nanoseconds } = moment?;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base?.checked_add(Duration::from_nanos(nanoseconds.into()))
    };
    let mut times = FileTimes::new();
    if let Some(modified) = time(facts.modified) {
        times = times.set_modified(modified);
    }
    if let Some(accessed) = time(facts.accessed) {
        times = times.set_accessed(accessed);
    }
    // A time that the machine does not take is not worth losing the file for.
    _ = File::open(target).and_then(|file| file.set_times(times));
}
