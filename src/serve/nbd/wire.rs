//! What carries bytes to a client and back: a socket, TLS over one, or memory.
//!
//! Always true here:
//! - One thread receives, and others may send meanwhile: neither waits for the other.
//! - What was received and is not yet taken is bounded by [`Incoming::BUFFER`].

use super::service::End;
use std::io;
use std::sync::Arc;

/// A connection to one client.
pub trait Wire: Send + Sync {
    /// Waits for bytes and puts them at the beginning of `buffer`; 0 when no more will come. Called by one thread at a time.
    ///
    /// # Errors
    /// What the system says.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends all of `bytes`. Called by one thread at a time.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been sent.
    fn send(&self, bytes: &[u8]) -> io::Result<()>;

    /// Ends the connection at once: whoever receives or sends returns. May be called at any time and more than once.
    fn close(&self);

    /// Ends the connection politely, when nobody receives or sends any more.
    fn finish(&self) {
        self.close();
    }
}

/// The bytes that come from a client.
pub(super) struct Incoming {
    wire: Arc<dyn Wire>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    /// Bytes that are read ahead at most.
    pub(super) const BUFFER: usize = 16 << 10;

    pub(super) fn new(wire: Arc<dyn Wire>) -> Self {
        Self { wire, buffer: vec![0; Self::BUFFER], start: 0, end: 0 }
    }

    /// Whether all that was received has been taken.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn receive(wire: &dyn Wire, buffer: &mut [u8]) -> Result<usize, End> {
        loop {
            match wire.receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Lost(error)),
                Ok(count) => return Ok(count.min(buffer.len())),
            }
        }
    }

    /// Fills `target`.
    ///
    /// # Errors
    /// [`End::Gone`] when the client ended before the first byte, [`End::Lost`] when it ended after it.
    pub(super) fn fill(&mut self, target: &mut [u8]) -> Result<(), End> {
        let mut filled = 0;
        while filled < target.len() {
            let Some(open) = target.get_mut(filled..) else { break };
            if !self.is_empty() {
                let ready = self.buffer.get(self.start..self.end).unwrap_or(&[]);
                let count = ready.len().min(open.len());
                if let (Some(to), Some(from)) = (open.get_mut(..count), ready.get(..count)) {
                    to.copy_from_slice(from);
                }
                (self.start, filled) = (self.start + count, filled + count);
                continue;
            }
            // Large payloads go where they belong without a detour.
            let count = if open.len() >= Self::BUFFER {
                let count = Self::receive(&*self.wire, open)?;
                filled += count;
                count
            } else {
                let count = Self::receive(&*self.wire, &mut self.buffer)?;
                (self.start, self.end) = (0, count);
                count
            };
            match (count, filled) {
                (0, 0) => return Err(End::Gone),
                (0, _) => return Err(End::Lost(io::ErrorKind::UnexpectedEof.into())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Fills an array; see [`Self::fill`].
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], End> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes bytes in the middle of something and forgets them.
    ///
    /// # Errors
    /// [`End::Lost`].
    pub(super) fn skip(&mut self, count: u64) -> Result<(), End> {
        let mut left = count;
        while left > 0 {
            if self.is_empty() {
                let count = Self::receive(&*self.wire, &mut self.buffer)?;
                (self.start, self.end) = (0, count);
            }
            if self.is_empty() {
                return Err(End::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let ready = self.end - self.start;
            let count = usize::try_from(left).map_or(ready, |left| left.min(ready));
            self.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Fills what belongs to something that has begun: an end here is never a clean one.
    pub(super) fn fill_rest(&mut self, target: &mut [u8]) -> Result<(), End> {
        self.fill(target).map_err(|end| match end {
            End::Gone => End::Lost(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        })
    }
}
