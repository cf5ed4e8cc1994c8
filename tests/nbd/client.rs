//! A client written by hand from the protocol's document. It can say things that no library would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub(crate) mod opt {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED: u32 = 8;
    pub(crate) const LIST_META: u32 = 9;
    pub(crate) const SET_META: u32 = 10;
}

pub(crate) mod rep {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META: u32 = 4;
    pub(crate) const UNSUP: u32 = 0x8000_0001;
    pub(crate) const POLICY: u32 = 0x8000_0002;
    pub(crate) const INVALID: u32 = 0x8000_0003;
    #[cfg(feature = "aws-lc")]
    pub(crate) const TLS_REQD: u32 = 0x8000_0005;
    pub(crate) const UNKNOWN: u32 = 0x8000_0006;
    pub(crate) const TOO_BIG: u32 = 0x8000_0009;
}

pub(crate) mod cmd {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const ZEROES: u16 = 6;
    pub(crate) const STATUS: u16 = 7;
}

pub(crate) const FUA: u16 = 1;
pub(crate) const NO_HOLE: u16 = 2;
pub(crate) const DF: u16 = 4;
pub(crate) const REQ_ONE: u16 = 8;
pub(crate) const FAST_ZERO: u16 = 16;

pub(crate) const EPERM: u32 = 1;
pub(crate) const EIO: u32 = 5;
pub(crate) const EINVAL: u32 = 22;
pub(crate) const ENOSPC: u32 = 28;
pub(crate) const EOVERFLOW: u32 = 75;
pub(crate) const ENOTSUP: u32 = 95;

/// Something to talk over.
pub(crate) trait Talk: Read + Write + Send {}
impl<T: Read + Write + Send> Talk for T {}

pub(crate) struct Client {
    pub(crate) stream: Box<dyn Talk>,
    pub(crate) structured: bool,
    cookie: u64,
}

/// A reply to an option: its kind and its data.
pub(crate) type OptionReply = (u32, Vec<u8>);

/// A chunk of a structured reply: whether it is the last, its kind and its payload.
pub(crate) type Chunk = (bool, u16, Vec<u8>);

/// A string with its length before it.
pub(crate) fn string(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// The data of `INFO` and `GO`.
pub(crate) fn wanted(name: &str, kinds: &[u16]) -> Vec<u8> {
    let count = u16::try_from(kinds.len()).unwrap().to_be_bytes();
    [&string(name)[..], &count, &kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect::<Vec<_>>()].concat()
}

/// The data of the options about metadata contexts.
pub(crate) fn queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let count = u32::try_from(queries.len()).unwrap().to_be_bytes();
    [&string(name)[..], &count, &queries.iter().flat_map(|query| string(query)).collect::<Vec<_>>()].concat()
}

pub(crate) fn option_bytes(option: u32, length: u32, data: &[u8]) -> Vec<u8> {
    [b"IHAVEOPT", &option.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
}

impl Client {
    /// Connects and takes the greeting.
    pub(crate) fn greet(socket: &Path, flags: u32) -> Self {
        Self::over(Box::new(UnixStream::connect(socket).unwrap()), flags)
    }

    pub(crate) fn over(stream: Box<dyn Talk>, flags: u32) -> Self {
        let mut client = Self { stream, structured: false, cookie: 0 };
        let greeting = client.take(18);
        assert_eq!(greeting, *b"NBDMAGICIHAVEOPT\0\x03");
        client.put(&flags.to_be_bytes());
        client
    }

    /// Goes on with the first phase over something else.
    #[cfg(feature = "aws-lc")]
    pub(crate) fn within(stream: Box<dyn Talk>) -> Self {
        Self { stream, structured: false, cookie: 0 }
    }

    /// Connects and enters the second phase with the first export.
    pub(crate) fn enter(socket: &Path, structured: bool) -> Self {
        let mut client = Self::greet(socket, 3);
        if structured {
            client.structured();
        }
        assert_eq!(client.option(opt::GO, &wanted("", &[])).last(), Some(&(rep::ACK, vec![])));
        client
    }

    /// As [`Self::enter`], with block status.
    pub(crate) fn enter_with_status(socket: &Path) -> Self {
        let mut client = Self::greet(socket, 3);
        client.structured();
        let found = client.option(opt::SET_META, &queries("", &["base:allocation"]));
        assert_eq!(found[0], (rep::META, [&1_u32.to_be_bytes()[..], b"base:allocation"].concat()));
        assert_eq!(client.option(opt::GO, &wanted("", &[])).last(), Some(&(rep::ACK, vec![])));
        client
    }

    pub(crate) fn structured(&mut self) {
        assert_eq!(self.option(opt::STRUCTURED, &[]), [(rep::ACK, vec![])]);
        self.structured = true;
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn number(&mut self, count: usize) -> u64 {
        self.take(count).into_iter().fold(0, |all, byte| all << 8 | u64::from(byte))
    }

    fn small(&mut self, count: usize) -> u32 {
        u32::try_from(self.number(count)).unwrap()
    }

    /// Whether the server has ended the connection, with nothing more to say.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        // A server that did not read everything resets the connection.
        let _ = self.stream.read_to_end(&mut rest);
        rest.is_empty()
    }

    /// Sends an option and takes all replies to it, up to the one that ends them.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> Vec<OptionReply> {
        self.put(&option_bytes(option, u32::try_from(data.len()).unwrap(), data));
        self.option_replies(option)
    }

    pub(crate) fn option_replies(&mut self, option: u32) -> Vec<OptionReply> {
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.number(8), 0x0003_e889_0455_65a9);
            assert_eq!(self.small(4), option);
            let kind = self.small(4);
            let length = self.small(4);
            replies.push((kind, self.take(length as usize)));
            if kind == rep::ACK || kind >= 1 << 31 {
                return replies;
            }
        }
    }

    /// Sends the head of a request and gives its cookie.
    pub(crate) fn request(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> u64 {
        self.cookie += 1;
        let cookie = self.cookie | 0xabc0_0000_0000_0000;
        let head = [
            &0x2560_9513_u32.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ];
        self.put(&head.concat());
        cookie
    }

    /// Takes a simple reply without data: its error and its cookie.
    pub(crate) fn simple(&mut self) -> (u32, u64) {
        assert_eq!(self.small(4), 0x6744_6698);
        (self.small(4), self.number(8))
    }

    /// Takes a chunk of a structured reply.
    pub(crate) fn chunk(&mut self) -> (u64, Chunk) {
        assert_eq!(self.small(4), 0x668e_33ef);
        let flags = self.small(2);
        assert!(flags < 2);
        let kind = u16::try_from(self.small(2)).unwrap();
        let cookie = self.number(8);
        let length = self.small(4);
        (cookie, (flags == 1, kind, self.take(length as usize)))
    }

    /// Takes all chunks of the reply to one request, when no other is under way.
    pub(crate) fn chunks(&mut self, cookie: u64) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        loop {
            let (found, chunk) = self.chunk();
            assert_eq!(found, cookie);
            chunks.push(chunk);
            if chunks.last().unwrap().0 {
                return chunks;
            }
        }
    }

    /// Takes a reply that has no data: the error, or 0.
    fn verdict(&mut self, cookie: u64) -> u32 {
        let magic = self.small(4);
        if magic == 0x6744_6698 {
            let error = self.small(4);
            assert_eq!(self.number(8), cookie);
            return error;
        }
        assert_eq!((magic, self.small(2)), (0x668e_33ef, 1));
        let kind = self.small(2);
        assert_eq!(self.number(8), cookie);
        let length = self.small(4);
        let payload = self.take(length as usize);
        assert!(self.structured && kind >= 1 << 15);
        u32::from_be_bytes(payload[..4].try_into().unwrap())
    }

    /// Does something that has no data to answer with: the error, or 0.
    pub(crate) fn act(&mut self, flags: u16, command: u16, offset: u64, length: u32, payload: &[u8]) -> u32 {
        let cookie = self.request(flags, command, offset, length);
        self.put(payload);
        self.verdict(cookie)
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> u32 {
        self.act(0, cmd::WRITE, offset, u32::try_from(bytes.len()).unwrap(), bytes)
    }

    /// Reads, and gives the bytes or the error.
    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        let cookie = self.request(0, cmd::READ, offset, length);
        if self.structured {
            let chunks = self.chunks(cookie);
            return assemble(&chunks, offset, length);
        }
        let (error, found) = self.simple();
        assert_eq!(found, cookie);
        if error == 0 { Ok(self.take(length as usize)) } else { Err(error) }
    }
}

/// Puts the chunks of a read together; each byte must come once.
pub(crate) fn assemble(chunks: &[Chunk], offset: u64, length: u32) -> Result<Vec<u8>, u32> {
    let mut bytes: Vec<Option<u8>> = vec![None; length as usize];
    for (_, kind, payload) in chunks {
        let (start, content) = match kind {
            0 => continue,
            1 => (&payload[..8], payload[8..].to_vec()),
            2 => {
                let size = u32::from_be_bytes(payload[8..].try_into().unwrap());
                (&payload[..8], vec![0; size as usize])
            }
            _ => return Err(u32::from_be_bytes(payload[..4].try_into().unwrap())),
        };
        assert!(!content.is_empty());
        let start = u64::from_be_bytes(start.try_into().unwrap()) - offset;
        for (index, byte) in content.into_iter().enumerate() {
            let place = &mut bytes[usize::try_from(start).unwrap() + index];
            assert_eq!(*place, None, "a byte came twice");
            *place = Some(byte);
        }
    }
    Ok(bytes.into_iter().map(|byte| byte.expect("each byte came")).collect())
}
