//! Replies, as bytes.
//!
//! Always true here:
//! - A reply is built whole, with its payload, and sent in one piece: those of several threads do not mix.
//! - A text that is sent is no longer than a string may be, and cut between characters.

use super::protocol::{Errno, MOST_STRING, OPTION_REPLY, SIMPLE_REPLY, STRUCTURED_REPLY, chunk};

/// Why a request is refused or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) errno: Errno,
    /// Where in the export, when that is known.
    pub(super) offset: Option<u64>,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(errno: Errno, message: &str) -> Self {
        Self { errno, offset: None, message: message.to_owned() }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_STRING);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// Adds a reply to an option (proto.md, "Fixed newstyle negotiation"). The payload is one that was built here, of less than 4 GiB.
pub(super) fn option_reply(out: &mut Vec<u8>, option: u32, kind: u32, payload: &[u8]) {
    out.extend(OPTION_REPLY.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(payload);
}

/// Bytes of [`simple`].
pub(super) const SIMPLE_HEAD: usize = 16;

/// The head of a simple reply; 0 is success.
pub(super) fn simple(errno: u32, cookie: u64) -> [u8; SIMPLE_HEAD] {
    let mut bytes = [0; SIMPLE_HEAD];
    let (magic, rest) = bytes.split_at_mut(4);
    let (error, cookie_field) = rest.split_at_mut(4);
    magic.copy_from_slice(&SIMPLE_REPLY.to_be_bytes());
    error.copy_from_slice(&errno.to_be_bytes());
    cookie_field.copy_from_slice(&cookie.to_be_bytes());
    bytes
}

/// Bytes of [`chunk_head`].
pub(super) const CHUNK_HEAD: usize = 20;

/// The head of a chunk of a structured reply, whose payload of `length` bytes follows.
pub(super) fn chunk_head(kind: u16, last: bool, cookie: u64, length: u32) -> [u8; CHUNK_HEAD] {
    let mut bytes = [0; CHUNK_HEAD];
    let fields: [&[u8]; 5] = [
        &STRUCTURED_REPLY.to_be_bytes(),
        &(if last { chunk::DONE } else { 0 }).to_be_bytes(),
        &kind.to_be_bytes(),
        &cookie.to_be_bytes(),
        &length.to_be_bytes(),
    ];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    bytes
}

/// A chunk with a small payload, whole.
pub(super) fn small_chunk(kind: u16, last: bool, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&chunk_head(kind, last, cookie, length), payload].concat()
}

/// The last chunk of a reply that failed, as a structured reply.
pub(super) fn error_chunk(failure: &Failure, cookie: u64) -> Vec<u8> {
    let message = cut(&failure.message);
    let mut payload = (failure.errno as u32).to_be_bytes().to_vec();
    payload.extend(u16::try_from(message.len()).unwrap_or(0).to_be_bytes());
    payload.extend(message.as_bytes());
    match failure.offset {
        Some(offset) => {
            payload.extend(offset.to_be_bytes());
            small_chunk(chunk::ERROR_OFFSET, true, cookie, &payload)
        }
        None => small_chunk(chunk::ERROR, true, cookie, &payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_their_fields_where_the_document_says() {
        assert_eq!(simple(5, 0x0102_0304_0506_0708), [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8]);
        let head = chunk_head(chunk::OFFSET_DATA, true, 7, 0x0a0b_0c0d);
        assert_eq!(head, [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0x0a, 0x0b, 0x0c, 0x0d]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let failure = Failure { errno: Errno::Io, offset: Some(9), message: format!("a{}", "é".repeat(4000)) };
        let bytes = error_chunk(&failure, 1);
        let length = usize::from(u16::from_be_bytes([bytes[24], bytes[25]]));
        assert_eq!(length, 4095);
        assert!(std::str::from_utf8(&bytes[26..26 + length]).is_ok());
        assert_eq!(bytes.len(), 26 + length + 8);
        assert!(error_chunk(&Failure::new(Errno::Io, ""), 1).len() == 26);
    }
}
