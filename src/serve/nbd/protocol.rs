//! Numbers and fixed structures of the protocol.
//!
//! Always true here:
//! - Every number is sent in network byte order (proto.md, "Conventions").
//! - A name of the document `NBD_X_Y` is `x::Y` here.

/// `NBDMAGIC`, the first eight bytes of a server (proto.md, "Newstyle negotiation").
pub(super) const GREETING: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: the second eight bytes of a server, and what each option of a client begins with.
pub(super) const OPTION: u64 = 0x4948_4156_454f_5054;
/// What each reply to an option begins with (proto.md, "Fixed newstyle negotiation").
pub(super) const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
/// What each request begins with (proto.md, "Request message").
pub(super) const REQUEST: u32 = 0x2560_9513;
/// What a simple reply begins with (proto.md, "Simple reply message").
pub(super) const SIMPLE_REPLY: u32 = 0x6744_6698;
/// What a chunk of a structured reply begins with (proto.md, "Structured reply chunk message").
pub(super) const STRUCTURED_REPLY: u32 = 0x668e_33ef;

/// The most bytes that a string may have (proto.md, "Conventions").
pub(super) const MOST_STRING: usize = 4096;

/// The smallest, the preferred and the largest size of a request; these are the defaults of the document, so that a client that does
/// not ask for them meets nothing unexpected (proto.md, "Size constraints").
pub(super) const BLOCK_SIZES: [u32; 3] = [1, 4096, MOST_PAYLOAD];
/// The most bytes that are read or written by one request.
pub(super) const MOST_PAYLOAD: u32 = 32 << 20;

/// Flags of the server in the handshake, and those of a client, which are the same bits (proto.md, "Handshake flags", "Client flags").
pub(super) mod handshake {
    /// The fixed newstyle negotiation.
    pub(in super::super) const FIXED_NEWSTYLE: u16 = 1;
    /// No 124 zeros behind the answer to `EXPORT_NAME`.
    pub(in super::super) const NO_ZEROES: u16 = 2;
}

/// Options of a client (proto.md, "Option types").
pub(super) mod option {
    pub(in super::super) const EXPORT_NAME: u32 = 1;
    pub(in super::super) const ABORT: u32 = 2;
    pub(in super::super) const LIST: u32 = 3;
    pub(in super::super) const STARTTLS: u32 = 5;
    pub(in super::super) const INFO: u32 = 6;
    pub(in super::super) const GO: u32 = 7;
    pub(in super::super) const STRUCTURED_REPLY: u32 = 8;
    pub(in super::super) const LIST_META_CONTEXT: u32 = 9;
    pub(in super::super) const SET_META_CONTEXT: u32 = 10;
}

/// Replies to options (proto.md, "Option reply types").
pub(super) mod rep {
    pub(in super::super) const ACK: u32 = 1;
    pub(in super::super) const SERVER: u32 = 2;
    pub(in super::super) const INFO: u32 = 3;
    pub(in super::super) const META_CONTEXT: u32 = 4;
    const ERROR: u32 = 1 << 31;
    pub(in super::super) const ERR_UNSUP: u32 = ERROR + 1;
    pub(in super::super) const ERR_POLICY: u32 = ERROR + 2;
    pub(in super::super) const ERR_INVALID: u32 = ERROR + 3;
    pub(in super::super) const ERR_TLS_REQD: u32 = ERROR + 5;
    pub(in super::super) const ERR_UNKNOWN: u32 = ERROR + 6;
    pub(in super::super) const ERR_TOO_BIG: u32 = ERROR + 9;
}

/// Kinds of information about an export (proto.md, "Option reply types", `NBD_REP_INFO`).
pub(super) mod info {
    pub(in super::super) const EXPORT: u16 = 0;
    pub(in super::super) const NAME: u16 = 1;
    pub(in super::super) const DESCRIPTION: u16 = 2;
    pub(in super::super) const BLOCK_SIZE: u16 = 3;
}

/// What an export can do (proto.md, "Transmission flags").
pub(super) mod flag {
    pub(in super::super) const HAS_FLAGS: u16 = 1;
    pub(in super::super) const READ_ONLY: u16 = 1 << 1;
    pub(in super::super) const SEND_FLUSH: u16 = 1 << 2;
    pub(in super::super) const SEND_FUA: u16 = 1 << 3;
    pub(in super::super) const SEND_TRIM: u16 = 1 << 5;
    pub(in super::super) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(in super::super) const SEND_DF: u16 = 1 << 7;
    pub(in super::super) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(in super::super) const SEND_CACHE: u16 = 1 << 10;
    pub(in super::super) const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// Requests (proto.md, "Request types").
pub(super) mod cmd {
    pub(in super::super) const READ: u16 = 0;
    pub(in super::super) const WRITE: u16 = 1;
    pub(in super::super) const DISC: u16 = 2;
    pub(in super::super) const FLUSH: u16 = 3;
    pub(in super::super) const TRIM: u16 = 4;
    pub(in super::super) const CACHE: u16 = 5;
    pub(in super::super) const WRITE_ZEROES: u16 = 6;
    pub(in super::super) const BLOCK_STATUS: u16 = 7;
}

/// Flags of requests (proto.md, "Command flags").
pub(super) mod cmd_flag {
    pub(in super::super) const FUA: u16 = 1;
    pub(in super::super) const NO_HOLE: u16 = 1 << 1;
    pub(in super::super) const DF: u16 = 1 << 2;
    pub(in super::super) const REQ_ONE: u16 = 1 << 3;
    pub(in super::super) const FAST_ZERO: u16 = 1 << 4;
}

/// Chunks of structured replies, and their flag (proto.md, "Structured reply types").
pub(super) mod chunk {
    pub(in super::super) const DONE: u16 = 1;
    pub(in super::super) const NONE: u16 = 0;
    pub(in super::super) const OFFSET_DATA: u16 = 1;
    pub(in super::super) const OFFSET_HOLE: u16 = 2;
    pub(in super::super) const BLOCK_STATUS: u16 = 5;
    pub(in super::super) const ERROR: u16 = (1 << 15) + 1;
    pub(in super::super) const ERROR_OFFSET: u16 = (1 << 15) + 2;
}

/// The metadata context that says where data is, and its flags (proto.md, "`base:allocation` metadata context").
pub(super) mod allocation {
    pub(in super::super) const NAME: &str = "base:allocation";
    /// What it is called in block status; there is no other.
    pub(in super::super) const ID: u32 = 1;
    pub(in super::super) const HOLE: u32 = 1;
    pub(in super::super) const ZERO: u32 = 2;
}

/// What a failed request is answered with (proto.md, "Error values").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Errno {
    /// The export is read-only.
    Permission = 1,
    /// Bytes that cannot be read or written.
    Io = 5,
    /// The request makes no sense.
    Invalid = 22,
    /// Behind the end of the export, or no space is left.
    NoSpace = 28,
    /// More than can be done by one request.
    Overflow = 75,
    /// A fast zero that would not be fast.
    NotSupported = 95,
}

/// The head of a request (proto.md, "Request message"): 28 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    /// Chosen by the client; its reply bears it.
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    /// Bytes of it.
    pub(super) const LENGTH: usize = 28;

    /// Takes it apart, or gives `None` where its first bytes are not those of a request.
    pub(super) fn parse(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let magic = u32::from_be_bytes(take(&mut rest)?);
        let request = Self {
            flags: u16::from_be_bytes(take(&mut rest)?),
            command: u16::from_be_bytes(take(&mut rest)?),
            cookie: u64::from_be_bytes(take(&mut rest)?),
            offset: u64::from_be_bytes(take(&mut rest)?),
            length: u32::from_be_bytes(take(&mut rest)?),
        };
        (magic == REQUEST).then_some(request)
    }

    /// Whether a flag is set.
    pub(super) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The first offset behind it, or `None` beyond 64 bits.
    pub(super) fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.length))
    }
}

/// Takes the first `N` bytes off, or `None` where there are fewer.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Takes a string with its 32 bits of length before it.
pub(super) fn take_string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(take(bytes)?)).ok()?;
    let (first, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(first)
}
