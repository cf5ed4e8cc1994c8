//! The server of disks, over memory: whatever a client says, the server ends, and what it serves is what an array would hold.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bits 0, 1: 0 no opening is said, 1 one for simple replies, 2 for structured ones, 3 for those and block status |
//! | | bit 2: an overlay; 3: a damaged part; 4, 5: how much comes at once; 6: the rest are recipes; 7: several workers |
//! | 8, repeated | a recipe: command, flags, offset of three bytes, length of two, what is written and how far the length is shifted |
//! | the rest, without bit 6 | what the client says |
//!
//! Recipes are turned into requests, whose replies are taken apart and compared with a model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::disk::{DiskOffset, ReadAt, ReadError, check_range, is_zero};
use sheaf::serve::nbd::{Export, Options, Overlay, Service, Wire};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

const SIZE: u64 = 96 * 1024 + 123;
const DATA: [Range<u64>; 4] = [0..5000, 20_480..24_576, 40_000..70_001, 97_000..SIZE];
const DAMAGED: Range<u64> = 50_000..60_000;
/// Recipes that are followed at most.
const MOST_RECIPES: usize = 48;

struct Disk {
    bytes: Vec<u8>,
    damaged: bool,
}

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        SIZE
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        check_range(offset, buffer.len() as u64, SIZE)?;
        if self.damaged && offset.0 < DAMAGED.end && offset.0 + buffer.len() as u64 > DAMAGED.start {
            return Err(ReadError::Damaged { offset, reason: "a part".into() });
        }
        self.bytes.read_at(offset, buffer)
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        Ok(DATA.into_iter().find(|run| run.end > from.0).map(|run| run.start.max(from.0)..run.end))
    }
}

fn content() -> Vec<u8> {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(make_content).clone()
}

fn make_content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for run in DATA {
        for at in run {
            bytes[at as usize] = (at % 251) as u8 + 1;
        }
    }
    bytes
}

/// A client that says what it was given to say and takes everything.
struct Script {
    said: Mutex<(Vec<u8>, usize)>,
    heard: Mutex<Vec<u8>>,
    keeps: bool,
    step: usize,
    closed: AtomicBool,
}

impl Wire for Script {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let mut said = self.said.lock().unwrap();
        let (bytes, at) = &mut *said;
        // Small steps are for heads; large payloads would take long in them.
        let step = if *at < 2000 { self.step } else { usize::MAX };
        let count = (bytes.len() - *at).min(buffer.len()).min(step);
        buffer[..count].copy_from_slice(&bytes[*at..*at + count]);
        *at += count;
        Ok(count)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.keeps {
            self.heard.lock().unwrap().extend(bytes);
        }
        Ok(())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

struct Request {
    command: u16,
    flags: u16,
    cookie: u64,
    offset: u64,
    length: u32,
    fill: u8,
}

fn recipe(index: usize, bytes: &[u8; 8]) -> Request {
    let [command, flags, o0, o1, o2, l0, l1, fill] = *bytes;
    // Some offsets are far away, and some lengths large.
    let far = if o2 & 0x80 == 0 { 0 } else { u64::MAX - (1 << 23) };
    let length = u32::from(u16::from_le_bytes([l0, l1])) << (fill % 8);
    let length = if command % 9 == 1 { length % (1 << 19) } else { length };
    let offset = far + u64::from(u32::from_le_bytes([o0, o1, o2 & 0x7f, 0])) % (SIZE + 10_000);
    // Most flags are none, and most flushes are what a flush should be.
    let plain = flags < 128;
    let (offset, length) = if command % 9 == 3 && plain { (0, 0) } else { (offset, length) };
    let flags = if plain { 0 } else { u16::from(flags & 31) };
    Request { command: u16::from(command % 9), flags, cookie: index as u64, offset, length, fill }
}

fn say(out: &mut Vec<u8>, request: &Request) {
    out.extend(0x2560_9513_u32.to_be_bytes());
    out.extend(request.flags.to_be_bytes());
    out.extend(request.command.to_be_bytes());
    out.extend(request.cookie.to_be_bytes());
    out.extend(request.offset.to_be_bytes());
    out.extend(request.length.to_be_bytes());
    if request.command == 1 {
        out.resize(out.len() + request.length as usize, request.fill);
    }
}

fn option(out: &mut Vec<u8>, option: u32, data: &[u8]) {
    out.extend(b"IHAVEOPT");
    out.extend(option.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// What a client says until it has chosen the export, and how many bytes it hears.
fn opening(entry: u8) -> (Vec<u8>, usize) {
    let mut said = vec![0, 0, 0, 3];
    let mut heard = 18;
    if entry >= 2 {
        option(&mut said, 8, b"");
        heard += 20;
    }
    if entry == 3 {
        option(&mut said, 10, b"\0\0\0\0\0\0\0\x01\0\0\0\x0fbase:allocation");
        heard += 20 + 4 + 15 + 20;
    }
    option(&mut said, 7, &[0; 6]);
    (said, heard + 20 + 12 + 20)
}

/// What the server said.
struct Heard<'a>(&'a [u8]);

impl<'a> Heard<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at_checked(count).expect("a reply is whole");
        self.0 = rest;
        first
    }

    fn number(&mut self, count: usize) -> u64 {
        self.take(count).iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

/// The model: what the export holds, where that is known.
struct Model {
    bytes: Vec<u8>,
    /// Something failed halfway.
    doubtful: bool,
    writable: bool,
    damaged: bool,
}

impl Model {
    fn range(&self, request: &Request) -> Option<Range<usize>> {
        let end = request.offset.checked_add(u64::from(request.length)).filter(|end| *end <= SIZE)?;
        Some(request.offset as usize..end as usize)
    }

    /// Takes one reply and sees whether it can be.
    fn judge(&mut self, request: &Request, structured: bool, heard: &mut Heard<'_>) {
        let range = self.range(request);
        // Contents come in order, which the protocol does not ask for and this server does.
        let mut read = Vec::new();
        let mut error = 0;
        loop {
            if heard.number(4) == 0x6744_6698 {
                error = heard.number(4) as u32;
                assert_eq!(heard.number(8), request.cookie);
                assert!(!structured || request.command != 0, "a read has a structured reply");
                if error == 0 && request.command == 0 {
                    read = heard.take(request.length as usize).to_vec();
                }
                break;
            }
            assert!(structured);
            let last = heard.number(2) == 1;
            let kind = heard.number(2);
            assert_eq!(heard.number(8), request.cookie);
            let length = heard.number(4) as usize;
            let mut payload = Heard(heard.take(length));
            match kind {
                0 => assert!(last && length == 0),
                1 | 2 => {
                    assert_eq!(payload.number(8), request.offset + read.len() as u64);
                    let before = read.len();
                    if kind == 1 {
                        read.extend(payload.0);
                    } else {
                        read.resize(before + payload.number(4) as usize, 0);
                    }
                    assert!(read.len() > before && read.len() <= request.length as usize);
                }
                5 => {
                    assert_eq!(payload.number(4), 1);
                    let (mut at, range) = (request.offset as usize, range.clone().expect("inside"));
                    assert!(!payload.0.is_empty());
                    while !payload.0.is_empty() {
                        let (length, flags) = (payload.number(4) as usize, payload.number(4));
                        assert!(length > 0 && at + length <= range.end);
                        let zeros = is_zero(&self.bytes[at..at + length]);
                        assert!(flags == 0 || flags == 3 && (zeros || self.doubtful), "a hole has data");
                        at += length;
                    }
                }
                _ => error = payload.number(4) as u32,
            }
            if last {
                break;
            }
        }
        self.settle(request, error, range, &read);
    }

    fn settle(&mut self, request: &Request, error: u32, range: Option<Range<usize>>, read: &[u8]) {
        let writes = matches!(request.command, 1 | 4 | 6);
        assert!([0, 1, 5, 22, 28, 75, 95].contains(&error), "error {error}");
        assert_eq!(error == 1, writes && !self.writable);
        assert!(error != 5 || self.damaged);
        if error != 0 {
            self.doubtful |= writes && error == 5;
            return;
        }
        let range = match request.command {
            3 => return,
            _ => range.expect("what succeeds is inside"),
        };
        match request.command {
            0 if !self.doubtful => {
                assert!(*read == self.bytes[range], "other bytes were read at {}", request.offset);
            }
            1 => self.bytes[range].fill(request.fill),
            6 => self.bytes[range].fill(0),
            4 => {
                let first = range.start.div_ceil(4096) * 4096;
                let last = if range.end == self.bytes.len() { range.end } else { range.end / 4096 * 4096 };
                if first < last {
                    self.bytes[first..last].fill(0);
                }
            }
            _ => {}
        }
    }
}

fn overlay_path() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("sheaf-fuzz-nbd-{}", std::process::id()))
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let bit = |bit: u8| mode >> bit & 1 == 1;
    let (entry, recipes) = (mode & 3, bit(6) && mode & 3 != 0);
    let (mut said, opened) = if entry == 0 { (Vec::new(), 0) } else { opening(entry) };
    let mut requests = Vec::new();
    if recipes {
        let items = rest.as_chunks().0.iter().take(MOST_RECIPES).enumerate();
        requests.extend(items.map(|(index, bytes)| recipe(index, bytes)));
        // A farewell is followed by nothing.
        if let Some(end) = requests.iter().position(|request| request.command == 2) {
            requests.truncate(end + 1);
        }
        requests.iter().for_each(|request| say(&mut said, request));
    } else {
        said.extend(rest);
    }

    let disk = || Arc::new(Disk { bytes: content(), damaged: bit(3) });
    let path = overlay_path();
    let open = || Overlay::open(&path, disk(), [3; 32]).expect("it can be opened");
    let export = if bit(2) {
        let _ = std::fs::remove_file(&path);
        Export::writable("disk", "", Arc::new(open()))
    } else {
        Export::read_only("disk", "", disk())
    };
    let workers = if bit(7) && !recipes { 3 } else { 1 };
    let options = Options { requests: workers, ..Options::default() };
    let service = Service::new(vec![export], options).expect("one export");
    let step = [1, 29, 4096, usize::MAX][usize::from(mode >> 4 & 3)];
    let script = Arc::new(Script {
        said: Mutex::new((said, 0)),
        heard: Mutex::new(Vec::new()),
        keeps: recipes,
        step,
        closed: AtomicBool::new(false),
    });
    let wire: Arc<dyn Wire> = Arc::clone(&script) as Arc<dyn Wire>;
    let entered = AtomicBool::new(false);
    let end = service.talk(&wire, &entered);
    assert!(!end.to_string().is_empty() && script.closed.load(Ordering::Relaxed));
    drop(service);
    if !recipes {
        return;
    }

    assert!(entered.load(Ordering::Relaxed));
    let heard = script.heard.lock().unwrap();
    let mut heard = Heard(&heard);
    heard.take(opened);
    let mut model = Model { bytes: content(), doubtful: false, writable: bit(2), damaged: bit(3) };
    for request in requests.iter().filter(|request| request.command != 2) {
        model.judge(request, entry >= 2, &mut heard);
    }
    assert!(heard.0.is_empty(), "{} bytes too many were sent", heard.0.len());
    // What is in the overlay after a flush is there when it is opened again.
    let last = requests.iter().rfind(|request| request.command != 2);
    let flushed = last.is_some_and(|last| (last.command, last.flags, last.offset, last.length) == (3, 0, 0, 0));
    if bit(2) && !bit(3) && flushed {
        let mut found = vec![0; SIZE as usize];
        open().read_at(DiskOffset(0), &mut found).expect("sound");
        assert!(found == model.bytes);
    }
});
