//! What Linux tells about devices in `/sys` and `/proc`: serial numbers, and where a device or what was built upon it
//! is mounted.
//!
//! Always true here:
//! - Nothing is trusted to be there: containers hide files, and a device may go while it is asked about. What cannot be
//!   read is not known, and never an error.
//! - A device is followed to all that is built upon it (partitions, RAID, LVM, encryption, loop devices); each
//!   device is visited once, so no circle of links is endless.
//! - Mount points are those of the name space of this process; only [`super::linux::is_claimed`] sees the others.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::facts::Found;

/// How the kernel numbers a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeviceNumber {
    major: u32,
    minor: u32,
}

impl DeviceNumber {
    /// The device that a device node stands for.
    pub(super) fn named_by(metadata: &Metadata) -> Self {
        let device = metadata.rdev();
        Self { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
    }

    /// Parses `8:16`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Where the kernel shows its devices and mounts; a test shows others.
#[derive(Debug)]
pub(super) struct Kernel {
    sys: PathBuf,
    mounts: PathBuf,
}

impl Kernel {
    /// The running kernel's.
    pub(super) fn running() -> Self {
        Self { sys: "/sys".into(), mounts: "/proc/self/mountinfo".into() }
    }

    /// All that is known of an open file or device.
    pub(super) fn facts(&self, metadata: &Metadata) -> Found {
        let mut devices = BTreeSet::new();
        let mut found = Found::default();
        if metadata.file_type().is_block_device() {
            let number = DeviceNumber::named_by(metadata);
            self.follow(number, &mut devices);
            if let Some(disk) = self.disk_folder(number) {
                found = identity_of(&disk);
                // A file system on the whole disk lies under the partition as well; the sisters do not matter.
                devices.extend(number_in(&disk));
            }
        } else {
            for device in self.loops_upon(|backing| (backing.dev(), backing.ino()) == (metadata.dev(), metadata.ino()))
            {
                self.follow(device, &mut devices);
            }
        }
        found.mounted = self.mount_points(&devices);
        found
    }

    /// Whether a loop device is attached to a regular file.
    pub(super) fn has_loop(&self, metadata: &Metadata) -> bool {
        let same = |backing: &Metadata| (backing.dev(), backing.ino()) == (metadata.dev(), metadata.ino());
        !self.loops_upon(same).is_empty()
    }

    /// The count of disks at which the kernel met this one, where it counts (since Linux 5.15).
    pub(super) fn disk_sequence(&self, number: DeviceNumber) -> Option<u64> {
        text(&self.disk_folder(number)?.join("diskseq"))?.parse().ok()
    }

    /// The folder that describes a device, with links resolved: its parents are what it is plugged into.
    fn folder(&self, number: DeviceNumber) -> Option<PathBuf> {
        self.sys.join(format!("dev/block/{}:{}", number.major, number.minor)).canonicalize().ok()
    }

    /// The folder of the whole disk, also for a partition of it.
    fn disk_folder(&self, number: DeviceNumber) -> Option<PathBuf> {
        let folder = self.folder(number)?;
        if folder.join("partition").exists() { folder.parent().map(Path::to_owned) } else { Some(folder) }
    }

    /// Adds a device and everything that is built upon it.
    fn follow(&self, first: DeviceNumber, devices: &mut BTreeSet<DeviceNumber>) {
        let mut waiting = vec![first];
        while let Some(number) = waiting.pop() {
            if !devices.insert(number) {
                continue;
            }
            if let Some(folder) = self.folder(number) {
                let partitions = entries(&folder).into_iter().filter(|entry| entry.join("partition").exists());
                let holders = entries(&folder.join("holders"));
                waiting.extend(partitions.chain(holders).filter_map(|folder| number_in(&folder)));
            }
            waiting.extend(self.loops_upon(|backing| {
                backing.file_type().is_block_device() && DeviceNumber::named_by(backing) == number
            }));
        }
    }

    /// The loop devices whose backing file or device is the one looked for.
    fn loops_upon(&self, is_it: impl Fn(&Metadata) -> bool) -> Vec<DeviceNumber> {
        let mut found = Vec::new();
        for device in entries(&self.sys.join("class/block")) {
            let Ok(mut backing) = std::fs::read(device.join("loop/backing_file")) else { continue };
            if backing.last() == Some(&b'\n') {
                backing.pop();
            }
            let backing = std::fs::metadata(OsString::from_vec(backing));
            if backing.is_ok_and(|backing| is_it(&backing)) {
                found.extend(number_in(&device));
            }
        }
        found
    }

    fn mount_points(&self, devices: &BTreeSet<DeviceNumber>) -> Vec<PathBuf> {
        let mut points = Vec::new();
        if devices.is_empty() {
            return points;
        }
        for line in std::fs::read(&self.mounts).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Some(mount) = Mount::parse(line) else { continue };
            // Btrfs and its like show a number of no device, and the device as the source.
            let by_source = || {
                let source = mount.source.as_ref().filter(|source| source.is_absolute())?;
                let metadata = std::fs::metadata(source).ok().filter(|found| found.file_type().is_block_device())?;
                Some(devices.contains(&DeviceNumber::named_by(&metadata)))
            };
            if (devices.contains(&mount.device) || by_source() == Some(true)) && !points.contains(&mount.point) {
                points.push(mount.point);
            }
        }
        points
    }
}

/// One line of `mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: DeviceNumber,
    point: PathBuf,
    source: Option<PathBuf>,
}

impl Mount {
    /// `36 35 98:0 /root /point options shared:1 - type source options`; see proc_pid_mountinfo(5).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = DeviceNumber::parse(std::str::from_utf8(fields.nth(2)?).ok()?)?;
        let point = unescape(fields.nth(1)?);
        // The number of fields before the dash varies.
        let source = fields.skip_while(|field| *field != b"-").nth(2).map(unescape);
        Some(Self { device, point, source })
    }
}

/// Blanks, tabs, line ends and backslashes stand there as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let octal = match behind {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(bytes).into()
}

/// Serial number and model of the disk whose folder this is.
fn identity_of(disk: &Path) -> Found {
    let device = disk.join("device");
    let mut found = Found {
        serial: text(&disk.join("serial")).or_else(|| text(&device.join("serial"))),
        model: text(&device.join("model")).or_else(|| text(&device.join("name"))),
        ..Found::default()
    };
    // A stick says more of itself as a USB device than as the SCSI disk that it plays. The nearest USB device is
    // the stick; those above it are hubs, and a hub's serial number is not the stick's.
    if let Some(usb) = disk.ancestors().find(|folder| folder.join("idVendor").exists()) {
        found.serial = found.serial.or_else(|| text(&usb.join("serial")));
        found.model = found.model.or_else(|| text(&usb.join("product")));
    }
    found.serial = found.serial.or_else(|| unit_serial(&device.join("vpd_pg80")));
    found
}

/// The serial number in a SCSI "unit serial number" page: four bytes of header, then text (SPC-4, 7.8.15).
fn unit_serial(path: &Path) -> Option<String> {
    clean(std::fs::read(path).ok()?.get(4..)?)
}

fn number_in(folder: &Path) -> Option<DeviceNumber> {
    DeviceNumber::parse(&text(&folder.join("dev"))?)
}

fn text(path: &Path) -> Option<String> {
    clean(&std::fs::read(path).ok()?)
}

/// Printable text without blanks around it, or `None` when nothing is left. Devices fill their fields with anything.
fn clean(bytes: &[u8]) -> Option<String> {
    let kept: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control() && *c != '\u{fffd}').collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// What a folder holds, in the order of names so that answers do not vary.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A `/sys` with a USB stick `sdb` of one partition that a `dm-0` is built upon, behind a hub with a serial number.
    fn fleet() -> (tempfile::TempDir, Kernel) {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        let write = |path: &str, content: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folders");
            fs::write(path, content).expect("file");
        };
        let stick = "sys/devices/usb1/1-1/1-1.2/host0/block/sdb";
        write("sys/devices/usb1/1-1/idVendor", b"1d6b\n");
        write("sys/devices/usb1/1-1/serial", b"HUB\n");
        write("sys/devices/usb1/1-1/1-1.2/idVendor", b"0951\n");
        write("sys/devices/usb1/1-1/1-1.2/serial", b"E0D5 5EA5\n");
        write(&format!("{stick}/dev"), b"8:16\n");
        write(&format!("{stick}/diskseq"), b"41\n");
        write(&format!("{stick}/device/model"), b"DataTraveler 3.0 \n");
        write(&format!("{stick}/device/vpd_pg80"), b"\0\x80\0\x04\x20junk");
        write(&format!("{stick}/sdb1/dev"), b"8:17\n");
        write(&format!("{stick}/sdb1/partition"), b"1\n");
        write("sys/devices/virtual/block/dm-0/dev", b"252:0\n");
        let holders = root.join(stick).join("sdb1/holders");
        fs::create_dir_all(&holders).expect("folder");
        symlink(root.join("sys/devices/virtual/block/dm-0"), holders.join("dm-0")).expect("link");
        // A circle, which no kernel shows.
        let back = root.join("sys/devices/virtual/block/dm-0/holders");
        fs::create_dir_all(&back).expect("folder");
        symlink(root.join(stick).join("sdb1"), back.join("sdb1")).expect("link");
        fs::create_dir_all(root.join("sys/dev/block")).expect("folder");
        for (number, place) in
            [("8:16", stick), ("8:17", &format!("{stick}/sdb1")), ("252:0", "sys/devices/virtual/block/dm-0")]
        {
            symlink(root.join(place), root.join("sys/dev/block").join(number)).expect("link");
        }
        write(
            "mountinfo",
            b"27 1 254:0 / / rw - ext4 /dev/nowhere rw\n\
              28 27 252:0 / /mnt/my\\040stick rw shared:1 master:2 - ext4 /dev/nowhere rw\n\
              29 27 252:0 /a /mnt/bound rw - ext4 /dev/nowhere rw\n\
              nonsense\n\n30 27 8:16 / /mnt/whole rw - vfat none rw",
        );
        let kernel = Kernel { sys: root.join("sys"), mounts: root.join("mountinfo") };
        (folder, kernel)
    }

    const fn number(major: u32, minor: u32) -> DeviceNumber {
        DeviceNumber { major, minor }
    }

    #[test]
    fn a_disk_is_followed_to_where_it_is_mounted() {
        let (_folder, kernel) = fleet();
        let mut devices = BTreeSet::new();
        kernel.follow(number(8, 16), &mut devices);
        assert_eq!(devices, BTreeSet::from([number(8, 16), number(8, 17), number(252, 0)]));
        let points = kernel.mount_points(&devices);
        assert_eq!(points, ["/mnt/my stick", "/mnt/bound", "/mnt/whole"].map(PathBuf::from));
    }

    #[test]
    fn a_stick_is_named_by_itself_and_not_by_its_hub() {
        let (folder, kernel) = fleet();
        let disk = kernel.disk_folder(number(8, 17)).expect("the partition's disk");
        let found = identity_of(&disk);
        assert_eq!(found.serial.as_deref(), Some("E0D5 5EA5"));
        assert_eq!(found.model.as_deref(), Some("DataTraveler 3.0"));
        assert_eq!(kernel.disk_sequence(number(8, 17)), Some(41));
        assert_eq!(kernel.disk_sequence(number(9, 9)), None);
        fs::remove_file(folder.path().join("sys/devices/usb1/1-1/1-1.2/serial")).expect("removed");
        assert_eq!(identity_of(&disk).serial.as_deref(), Some("junk"));
        fs::write(disk.join("device/vpd_pg80"), [0; 3]).expect("written");
        assert_eq!(identity_of(&disk).serial, None);
    }

    #[test]
    fn a_loop_device_leads_from_its_file_to_the_mount() {
        let (folder, kernel) = fleet();
        let image = folder.path().join("an image");
        fs::write(&image, b"x").expect("file");
        let class = folder.path().join("sys/class/block/loop0");
        fs::create_dir_all(class.join("loop")).expect("folder");
        fs::write(class.join("dev"), b"7:0\n").expect("file");
        fs::write(class.join("loop/backing_file"), [image.as_os_str().as_bytes(), b"\n"].concat()).expect("file");
        fs::write(&kernel.mounts, b"1 2 7:0 / /mnt/image rw - ext4 none rw\n").expect("file");
        let metadata = fs::metadata(&image).expect("metadata");
        assert!(kernel.has_loop(&metadata));
        assert_eq!(kernel.facts(&metadata).mounted, [PathBuf::from("/mnt/image")]);
        let other = fs::metadata(&kernel.mounts).expect("metadata");
        assert!(!kernel.has_loop(&other) && kernel.facts(&other).mounted.is_empty());
    }

    #[test]
    fn escapes_are_taken_apart_and_half_ones_are_kept() {
        let same = |from: &[u8], to: &str| assert_eq!(unescape(from), PathBuf::from(to));
        same(b"/a\\040b\\134c", "/a b\\c");
        same(b"/a\\04", "/a\\04");
        same(b"\\", "\\");
        same(b"\\777", "\\777");
        assert_eq!(Mount::parse(b"1 2 8:1 /"), None);
        assert_eq!(Mount::parse(b"1 2 x:y / /mnt"), None);
        let short = Mount::parse(b"1 2 8:1 / /mnt").expect("enough");
        assert_eq!(short, Mount { device: number(8, 1), point: "/mnt".into(), source: None });
    }
}
