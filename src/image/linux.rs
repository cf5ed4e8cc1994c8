//! The questions to the operating system, answered by Linux: kinds of files, sectors, holes, and whether a device
//! is still the same and free. What lies in `/sys` and `/proc` is read by `linux_sysfs.rs`.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use super::facts::Found;
use super::linux_sysfs::{DeviceNumber, Kernel};
use super::{DataRun, Kind};

/// Tells a device from another that took its name and number later.
#[derive(Debug)]
pub(super) struct DeviceMark {
    number: DeviceNumber,
    /// The kernel's count of disks since it started: no two disks ever have the same.
    sequence: Option<u64>,
}

impl DeviceMark {
    /// Meaningful for block devices alone.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let number = DeviceNumber::named_by(metadata);
        Self { number, sequence: Kernel::running().disk_sequence(number) }
    }

    /// Why the device behind `path` is not the one of then, or `None` when it is.
    pub(super) fn lost(&self, path: &Path) -> Option<String> {
        let shown = path.display();
        match std::fs::metadata(path) {
            // Only a clear "not there" counts: a folder that may not be entered any more says nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(format!("{shown} is no longer there"));
            }
            Ok(metadata)
                if !metadata.file_type().is_block_device() || DeviceNumber::named_by(&metadata) != self.number =>
            {
                return Some(format!("{shown} is another device now"));
            }
            _ => {}
        }
        let sequence = Kernel::running().disk_sequence(self.number);
        (self.sequence.is_some() && sequence != self.sequence).then(|| format!("{shown} is another medium now"))
    }
}

pub(super) fn kind(metadata: &Metadata) -> Kind {
    let kind = metadata.file_type();
    if kind.is_file() {
        Kind::File
    } else if kind.is_block_device() {
        Kind::BlockDevice
    } else if kind.is_dir() {
        Kind::Other("a directory")
    } else if kind.is_char_device() {
        Kind::Other("a character device")
    } else if kind.is_fifo() {
        Kind::Other("a pipe")
    } else if kind.is_socket() {
        Kind::Other("a socket")
    } else {
        Kind::Other("a special file")
    }
}

/// The logical sector size of a block device in bytes.
pub(super) fn sector_size(device: &File) -> io::Result<u32> {
    Ok(rustix::fs::ioctl_blksszget(device)?)
}

/// Zeroes a run by the device's or file system's own means.
pub(super) fn zero_range(file: &File, start: u64, length: u64) -> io::Result<bool> {
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, start, length) {
        Ok(()) => Ok(true),
        // Not known here, or not at these boundaries: writing zeros does the same.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV | Errno::INVAL | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn free_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Only advice: a system that does not follow it is no error.
pub(super) fn forget_cached(file: &File) {
    _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// The next run of a regular file that is not a hole. Moves the cursor.
pub(super) fn next_data(file: &File, from: u64) -> io::Result<DataRun> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(DataRun::NoMore),
        Err(error) => return unknown_or(error),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => Ok(DataRun::Run(start, end)),
        // The file was cut behind `start` since the first question: reading it tells how short it is.
        Err(Errno::NXIO) => Ok(DataRun::Unknown),
        Err(error) => unknown_or(error),
    }
}

/// File systems without holes say so in one of several ways.
fn unknown_or(error: Errno) -> io::Result<DataRun> {
    match error {
        Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => Ok(DataRun::Unknown),
        error => Err(error.into()),
    }
}

/// Asks for a longer read-ahead. A refusal costs speed only.
pub(super) fn advise_sequential(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
}

/// Whether the error is the system's word for a device, medium or network share that went away.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NXIO | Errno::NODEV | Errno::NOMEDIUM | Errno::STALE | Errno::SHUTDOWN)
    )
}

/// What `/sys` and `/proc` tell about an open file or device.
pub(super) fn facts(metadata: &Metadata) -> Found {
    Kernel::running().facts(metadata)
}

/// Whether the system itself uses the device or one of its partitions: mounted in any name space, swap, RAID, LVM; or
/// whether a loop device is attached to the file.
pub(super) fn is_claimed(path: &Path, metadata: &Metadata) -> io::Result<bool> {
    if !metadata.file_type().is_block_device() {
        return Ok(Kernel::running().has_loop(metadata));
    }
    // For a device, exclusive means: refused while the kernel has it in use. Open for reading, so that closing
    // it makes nobody look for new partitions.
    match OpenOptions::new().read(true).custom_flags(OFlags::EXCL.bits().cast_signed()).open(path) {
        Ok(_) => Ok(false),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether a file made at `path` would lie among the device nodes, which are kept in memory.
pub(super) fn in_device_folder(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = |name: &str| std::fs::metadata(name).ok();
    // By device number: `/dev/shm` below it is meant for files and is a file system of its own.
    match (std::fs::metadata(parent), folder("/dev"), folder("/")) {
        (Ok(parent), Some(devices), Some(root)) => parent.dev() == devices.dev() && devices.dev() != root.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskOffset, ReadAt, ReadError};
    use crate::image::{ImageError, RawDisk, TargetContent, TargetKind, target_facts};
    use std::path::PathBuf;
    use std::process::Command;

    fn run(program: &str, arguments: &[&Path]) -> Option<String> {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    /// A loop device that goes away with the test, whatever becomes of it.
    struct Loop {
        device: PathBuf,
        mounted: Option<PathBuf>,
    }

    impl Loop {
        fn attach(image: &Path) -> Option<Self> {
            let device = run("losetup", &["-f".as_ref(), "--show".as_ref(), image])?.trim().into();
            Some(Self { device, mounted: None })
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            if let Some(point) = &self.mounted {
                run("umount", &[point]);
            }
            run("losetup", &["-d".as_ref(), &self.device]);
        }
    }

    #[test]
    fn special_files_are_refused_without_opening_them() {
        let folder = tempfile::tempdir().expect("folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("a pipe");
        // Opening it would wait for ever.
        let refused = RawDisk::open(&pipe).expect_err("a pipe");
        assert!(refused.to_string().ends_with("is a pipe; a regular file or a block device was expected"), "{refused}");
        assert!(matches!(
            RawDisk::open("/dev/null".as_ref()),
            Err(ImageError::NotADisk { found: "a character device", .. })
        ));
    }

    #[test]
    fn a_mistyped_device_does_not_become_a_file_in_memory() {
        if in_device_folder("/dev/x".as_ref()) {
            let refused = target_facts("/dev/no-such-disk-here".as_ref());
            assert!(matches!(refused, Err(ImageError::NoSuchDevice { .. })), "{refused:?}");
        }
        assert!(!in_device_folder("x".as_ref()) && !in_device_folder("/tmp/x".as_ref()));
    }

    #[test]
    fn a_tail_of_zeros_is_a_hole() {
        let file = tempfile::tempfile().expect("temporary file");
        file.set_len(1 << 20).expect("sparse");
        crate::disk::file_write_all_at(&file, &[1; 4096], 0).expect("written");
        match next_data(&file, 0).expect("known") {
            DataRun::Run(0, end) => assert!((4096..=1 << 20).contains(&end)),
            other => assert_eq!(other, DataRun::Unknown),
        }
        assert!(!matches!(next_data(&file, 1 << 20).expect("known"), DataRun::Run(..)));
    }

    /// Needs the right to attach loop devices; without it there is nothing to test.
    #[test]
    fn a_block_device_is_read_known_and_missed() {
        let folder = tempfile::tempdir().expect("folder");
        let image = folder.path().join("image");
        std::fs::write(&image, vec![0; 4 << 20]).expect("written");
        let Some(mut attached) = Loop::attach(&image) else { return };
        let device = attached.device.clone();
        assert!(target_facts(&image).expect("a file").claimed);
        let facts = target_facts(&device).expect("a device");
        assert_eq!((facts.kind, facts.size, facts.claimed), (TargetKind::BlockDevice, 4 << 20, false));
        assert_eq!((facts.content, facts.sector_size), (TargetContent::Zeros, 512));

        let point = folder.path().join("mount point");
        std::fs::create_dir(&point).expect("folder");
        if run("mkfs.ext4", &["-q".as_ref(), &device]).is_some() && run("mount", &[&device, &point]).is_some() {
            attached.mounted = Some(point.clone());
            for path in [&device, &image] {
                let facts = target_facts(path).expect("looked at");
                assert_eq!((facts.mounted, facts.claimed), (vec![point.clone()], true));
                assert_eq!(facts.content, TargetContent::FileSystem("an ext2, ext3 or ext4 file system"));
                assert_eq!(RawDisk::open(path).expect("opens").source_facts().mounted, *std::slice::from_ref(&point));
            }
            run("umount", &[&point]).expect("unmounted");
            attached.mounted = None;
        }

        let disk = RawDisk::open(&device).expect("opens");
        assert!(disk.is_block_device() && disk.source_facts().is_block_device);
        disk.still_there().expect("there");
        assert_eq!(disk.next_data(DiskOffset(5)).expect("no holes"), Some(5..4 << 20));
        let mut buffer = vec![0; 4096];
        disk.read_at(DiskOffset((4 << 20) - 4096), &mut buffer).expect("inside");
        // The medium shrinks, then is taken out.
        let resize = |size| {
            File::options().write(true).open(&image).expect("opens").set_len(size).expect("cut");
            run("losetup", &["-c".as_ref(), &device]).expect("told the device");
        };
        resize(1 << 20);
        assert!(matches!(disk.still_there(), Err(ReadError::BeyondEnd { size: 0x10_0000, .. })));
        let cut = disk.read_at(DiskOffset(2 << 20), &mut buffer);
        assert!(matches!(cut, Err(ReadError::BeyondEnd { size: 0x10_0000, .. })), "{cut:?}");
        resize(0);
        assert!(matches!(disk.still_there(), Err(ReadError::Gone { .. })));
        assert!(matches!(disk.read_at(DiskOffset(2 << 20), &mut buffer), Err(ReadError::Gone { .. })));
        assert!(matches!(RawDisk::open(&device), Err(ImageError::NoMedium { .. })));
    }
}
