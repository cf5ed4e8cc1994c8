//! What a request does, and its reply.
//!
//! Always true here:
//! - A request that [`check`] lets pass lies inside the export, has no flag that means nothing to it, and writes only to what can be
//!   written to.
//! - An answer takes no more memory than [`cost`] said, and no piece of work takes longer than [`PIECE`] bytes take: between two pieces
//!   it is seen whether anybody still waits.
//! - A simple reply says that a read succeeded only when all its bytes are there. In structured replies each chunk holds bytes that were
//!   read, and what could not be read is told with its place.

use super::export::{Export, piece};
use super::overlay::{Overlay, WriteError};
use super::protocol::{Errno, MOST_PAYLOAD, Request, allocation, chunk, cmd, cmd_flag};
use super::reply::{CHUNK_HEAD, Failure, SIMPLE_HEAD, chunk_head, error_chunk, simple, small_chunk};
use super::service::{Notice, Service};
use super::wire::Wire;
use super::{lock, told};
use crate::disk::DiskOffset;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes that are read or written at once, and of a chunk of data at most.
pub(super) const PIECE: u64 = 1 << 20;

/// Descriptors of one answer about block status. A client asks again from where an answer ends.
const MOST_DESCRIPTORS: usize = 2048;

/// How often a disk is asked where its data is for one answer about block status.
const MOST_QUESTIONS: usize = 4 * MOST_DESCRIPTORS;

/// Room for the heads of an answer.
const HEADS: usize = CHUNK_HEAD + 8;

/// A request with its payload.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) payload: Vec<u8>,
    /// Why it is not done, where that was clear from its head.
    pub(super) refused: Option<Failure>,
}

/// Sees whether a request may be done at all (proto.md, "Command flags", "Request types", "Error values").
pub(super) fn check(request: &Request, export: &Export, structured: bool) -> Option<Failure> {
    let fail = |errno, message: &str| Some(Failure::new(errno, message));
    let (writes, own_flags) = match request.command {
        cmd::READ if structured => (false, cmd_flag::DF),
        cmd::READ | cmd::FLUSH | cmd::CACHE => (false, 0),
        cmd::WRITE | cmd::TRIM => (true, 0),
        cmd::WRITE_ZEROES => (true, cmd_flag::NO_HOLE | cmd_flag::FAST_ZERO),
        cmd::BLOCK_STATUS => (false, cmd_flag::REQ_ONE),
        _ => return fail(Errno::Invalid, "this server does not know the request"),
    };
    if writes && !export.is_writable() {
        return fail(Errno::Permission, "the export is read-only");
    }
    let flags = own_flags | if export.is_writable() { cmd_flag::FUA } else { 0 };
    if request.flags & !flags != 0 {
        return fail(Errno::Invalid, "the request has a flag that means nothing here");
    }
    if request.command == cmd::FLUSH {
        let whole = request.offset == 0 && request.length == 0;
        return if whole { None } else { fail(Errno::Invalid, "a flush has no offset and no length") };
    }
    if request.end().is_none_or(|end| end > export.size()) {
        let space = matches!(request.command, cmd::WRITE | cmd::WRITE_ZEROES);
        return fail(
            if space { Errno::NoSpace } else { Errno::Invalid },
            "the request goes beyond the end of the export",
        );
    }
    let large = request.length > MOST_PAYLOAD;
    match request.command {
        // `EOVERFLOW` is for those that know structured replies (proto.md, "Error values").
        cmd::READ if large && structured => fail(Errno::Overflow, "at most 32 MiB are read at once"),
        cmd::READ if large => fail(Errno::Invalid, "at most 32 MiB are read at once"),
        cmd::CACHE if large => fail(Errno::Overflow, "at most 32 MiB are read at once"),
        cmd::BLOCK_STATUS if request.length == 0 => fail(Errno::Invalid, "the range is empty"),
        _ => None,
    }
}

/// The most bytes of memory that a request that passed [`check`] and its answer take.
pub(super) fn cost(request: &Request, structured: bool) -> usize {
    let length = usize::try_from(request.length).unwrap_or(usize::MAX);
    let in_pieces = length.min(PIECE as usize);
    HEADS
        + match request.command {
            cmd::WRITE => length,
            cmd::READ if structured && !request.has(cmd_flag::DF) => in_pieces,
            cmd::READ => length,
            cmd::CACHE => in_pieces,
            cmd::BLOCK_STATUS => MOST_DESCRIPTORS * 32,
            _ => 0,
        }
}

/// A connection in its second phase.
pub(super) struct Connection<'a> {
    service: &'a Service,
    export: &'a Export,
    structured: bool,
    status: bool,
    wire: Arc<dyn Wire>,
    /// Held while a message is sent.
    sending: Mutex<()>,
    /// Nobody waits for answers any more.
    lost: AtomicBool,
}

/// Ends the connection when a thread panics in the middle of an answer, which the client would wait for in vain.
struct EndsOnPanic<'a>(&'a Connection<'a>);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

/// The client cannot be reached any more: there is no sense in going on with an answer.
struct Lost;

impl<'a> Connection<'a> {
    pub(super) fn new(
        service: &'a Service,
        export: &'a Export,
        structured: bool,
        status: bool,
        wire: Arc<dyn Wire>,
    ) -> Self {
        Self { service, export, structured, status, wire, sending: Mutex::new(()), lost: AtomicBool::new(false) }
    }

    /// Sees to it that what is being done ends soon.
    pub(super) fn give_up(&self) {
        self.lost.store(true, Ordering::Release);
        self.wire.close();
    }

    fn still_wanted(&self) -> Result<(), Lost> {
        if self.lost.load(Ordering::Acquire) { Err(Lost) } else { Ok(()) }
    }

    fn send(&self, message: &[u8]) -> Result<(), Lost> {
        self.still_wanted()?;
        let sent = {
            let _whole = lock(&self.sending);
            self.wire.send(message)
        };
        sent.map_err(|_| {
            self.give_up();
            Lost
        })
    }

    /// Does what is asked and sends the reply.
    pub(super) fn answer(&self, job: Job) {
        let _end = EndsOnPanic(self);
        // When the client is lost, there is nobody to tell.
        let _ = self.try_answer(job);
    }

    fn try_answer(&self, job: Job) -> Result<(), Lost> {
        let Job { request, payload, refused } = job;
        if let Some(failure) = refused {
            return self.fail(&request, &failure);
        }
        match (request.command, self.export.overlay()) {
            (cmd::READ, _) if self.structured => self.read_structured(&request),
            (cmd::READ, _) => self.read_simple(&request),
            (cmd::BLOCK_STATUS, _) => self.block_status(&request),
            (cmd::CACHE, _) => {
                let read = self.in_pieces(&request, |buffer, at| self.read(buffer, at))?;
                self.conclude(&request, read)
            }
            (cmd::FLUSH, None) => self.conclude(&request, Ok(())),
            (_, Some(overlay)) => {
                let done = self.change(overlay, &request, &payload)?;
                self.conclude(&request, done)
            }
            (_, None) => self.conclude(&request, Err(Failure::new(Errno::Permission, "the export is read-only"))),
        }
    }

    /// The reply to a request without data.
    fn conclude(&self, request: &Request, done: Result<(), Failure>) -> Result<(), Lost> {
        match done {
            Ok(()) => self.send(&simple(0, request.cookie)),
            Err(failure) => self.fail(request, &failure),
        }
    }

    fn fail(&self, request: &Request, failure: &Failure) -> Result<(), Lost> {
        if failure.errno == Errno::Io {
            let offset = DiskOffset(failure.offset.unwrap_or(request.offset));
            let notice = Notice::Failed { export: self.export.name(), offset, reason: &failure.message };
            self.service.tell(&notice);
        }
        if self.structured {
            self.send(&error_chunk(failure, request.cookie))
        } else {
            self.send(&simple(failure.errno as u32, request.cookie))
        }
    }

    /// Reads a part of the export. The buffer holds zeros before.
    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Failure> {
        self.export.disk().read_at(DiskOffset(at), buffer).map_err(|error| Failure {
            errno: Errno::Io,
            offset: Some(at),
            message: told(&error),
        })
    }

    /// Calls `work` for all that is no hole in the range of a request, piece by piece, with a buffer of zeros of each piece's length.
    fn in_pieces<F>(&self, request: &Request, mut work: F) -> Result<Result<(), Failure>, Lost>
    where
        F: FnMut(&mut [u8], u64) -> Result<(), Failure>,
    {
        let end = request.end().unwrap_or(0);
        let mut buffer = vec![0; usize::try_from(PIECE.min(u64::from(request.length))).unwrap_or(0)];
        let mut at = request.offset;
        while at < end {
            self.still_wanted()?;
            let piece = piece(self.export.disk(), at, end);
            let stop = if piece.hole { piece.end } else { piece.end.min(at + PIECE) };
            let length = usize::try_from(stop - at).unwrap_or(usize::MAX);
            if let Some(part) = buffer.get_mut(..length).filter(|_| !piece.hole) {
                part.fill(0);
                if let Err(failure) = work(part, at) {
                    return Ok(Err(failure));
                }
            }
            at = stop;
        }
        Ok(Ok(()))
    }

    /// Fills a buffer of zeros with the whole range of a request; a hole is left as it is.
    fn read_whole(&self, request: &Request, buffer: &mut [u8]) -> Result<Result<(), Failure>, Lost> {
        let end = request.end().unwrap_or(0);
        let (mut at, mut left) = (request.offset, buffer);
        while at < end && !left.is_empty() {
            self.still_wanted()?;
            let piece = piece(self.export.disk(), at, end);
            let stop = if piece.hole { piece.end } else { piece.end.min(at + PIECE) };
            let length = usize::try_from(stop - at).map_or(left.len(), |length| length.min(left.len()));
            let (part, rest) = left.split_at_mut(length);
            if let Some(Err(failure)) = (!piece.hole).then(|| self.read(part, at)) {
                return Ok(Err(failure));
            }
            (at, left) = (stop, rest);
        }
        Ok(Ok(()))
    }

    fn read_simple(&self, request: &Request) -> Result<(), Lost> {
        let mut message = vec![0; SIMPLE_HEAD + usize::try_from(request.length).unwrap_or(0)];
        let (head, data) = message.split_at_mut(SIMPLE_HEAD);
        head.copy_from_slice(&simple(0, request.cookie));
        match self.read_whole(request, data)? {
            Ok(()) => self.send(&message),
            Err(failure) => self.fail(request, &failure),
        }
    }

    /// proto.md, "Structured reply types", `NBD_CMD_READ`. The last chunk ends the reply: it was read before it is sent.
    fn read_structured(&self, request: &Request) -> Result<(), Lost> {
        let end = request.end().unwrap_or(0);
        let whole = request.has(cmd_flag::DF);
        let most = if whole { u64::from(MOST_PAYLOAD) } else { PIECE.min(u64::from(request.length)) };
        let mut message = Vec::new();
        let mut at = request.offset;
        if at == end {
            return self.send(&small_chunk(chunk::NONE, true, request.cookie, &[]));
        }
        while at < end {
            let piece = piece(self.export.disk(), at, end);
            if piece.hole && (!whole || piece.end == end) {
                let length = u32::try_from(piece.end - at).unwrap_or(u32::MAX);
                let payload = [&at.to_be_bytes()[..], &length.to_be_bytes()].concat();
                self.send(&small_chunk(chunk::OFFSET_HOLE, piece.end == end, request.cookie, &payload))?;
                at = piece.end;
                continue;
            }
            let stop = if whole { end } else { piece.end.min(at + most) };
            let length = u32::try_from(stop - at).unwrap_or(u32::MAX);
            let part = Request { offset: at, length, ..*request };
            message.clear();
            message.extend(chunk_head(chunk::OFFSET_DATA, stop == end, request.cookie, length.saturating_add(8)));
            message.extend(at.to_be_bytes());
            message.resize(HEADS + usize::try_from(length).unwrap_or(0), 0);
            let data = message.get_mut(HEADS..).unwrap_or(&mut []);
            match self.read_whole(&part, data)? {
                Ok(()) => self.send(&message)?,
                Err(failure) => return self.fail(request, &failure),
            }
            at = stop;
        }
        Ok(())
    }

    /// proto.md, "`base:allocation` metadata context". What is written to an export may need space that is not there, whatever is told
    /// of it: `HOLE` without `ZERO` would say that the content is undefined, so that only holes that are zero are told as holes.
    fn block_status(&self, request: &Request) -> Result<(), Lost> {
        if !self.status {
            let failure = Failure::new(Errno::Invalid, "no metadata context was agreed on for this export");
            return self.fail(request, &failure);
        }
        let end = request.end().unwrap_or(0);
        let mut found: Vec<(u64, u32)> = Vec::new();
        let mut at = request.offset;
        for _ in 0..MOST_QUESTIONS {
            if at >= end {
                break;
            }
            self.still_wanted()?;
            let piece = piece(self.export.disk(), at, end);
            let flags = if piece.hole { allocation::HOLE | allocation::ZERO } else { 0 };
            let full = found.len() == if request.has(cmd_flag::REQ_ONE) { 1 } else { MOST_DESCRIPTORS };
            match found.last_mut() {
                Some((length, last)) if *last == flags => *length += piece.end - at,
                _ if full => break,
                _ => found.push((piece.end - at, flags)),
            }
            at = piece.end;
        }
        let mut payload = allocation::ID.to_be_bytes().to_vec();
        for (length, flags) in found {
            // No longer than the request, which has 32 bits of length.
            payload.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            payload.extend(flags.to_be_bytes());
        }
        self.send(&small_chunk(chunk::BLOCK_STATUS, true, request.cookie, &payload))
    }

    /// Writes, zeroes, trims or flushes.
    fn change(&self, overlay: &Overlay, request: &Request, payload: &[u8]) -> Result<Result<(), Failure>, Lost> {
        let (offset, length) = (DiskOffset(request.offset), u64::from(request.length));
        let mut done = match request.command {
            cmd::WRITE => overlay.write_at(offset, payload),
            cmd::TRIM => overlay.trim(offset, length),
            cmd::WRITE_ZEROES if !request.has(cmd_flag::NO_HOLE) => overlay.zero(offset, length),
            cmd::WRITE_ZEROES if request.has(cmd_flag::FAST_ZERO) => {
                return Ok(Err(Failure::new(Errno::NotSupported, "zeros that take space are not faster than a write")));
            }
            cmd::WRITE_ZEROES => self.write_zeros(overlay, request)?,
            cmd::FLUSH => overlay.flush().map_err(WriteError::Overlay),
            _ => return Ok(Err(Failure::new(Errno::Invalid, "this server does not know the request"))),
        };
        if done.is_ok() && request.has(cmd_flag::FUA) {
            done = overlay.flush().map_err(WriteError::Overlay);
        }
        Ok(done.map_err(|error| Failure {
            errno: if error.is_full() { Errno::NoSpace } else { Errno::Io },
            offset: None,
            message: told(&error),
        }))
    }

    /// Zeros that take space, so that later writes to the same place need none.
    fn write_zeros(&self, overlay: &Overlay, request: &Request) -> Result<Result<(), WriteError>, Lost> {
        static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];
        let end = request.end().unwrap_or(0);
        let mut at = request.offset;
        while at < end {
            self.still_wanted()?;
            let length = usize::try_from(end - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            if let Err(error) = overlay.write_at(DiskOffset(at), ZEROS.get(..length).unwrap_or(&ZEROS)) {
                return Ok(Err(error));
            }
            at += length as u64;
        }
        Ok(Ok(()))
    }
}
