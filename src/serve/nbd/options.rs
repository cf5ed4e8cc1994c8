//! The data that options carry, checked.
//!
//! Always true here:
//! - What is taken apart is used up to its last byte; too much is as wrong as too little.
//! - Nothing is allocated by a count that the client names: parts are read in place.

use super::protocol::{MOST_STRING, allocation, take, take_string};

/// The data of `INFO` and `GO` (proto.md, "Option types", `NBD_OPT_INFO` and `NBD_OPT_GO`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InfoRequest<'a> {
    pub(super) name: &'a [u8],
    wanted: &'a [u8],
}

impl<'a> InfoRequest<'a> {
    pub(super) fn parse(mut data: &'a [u8]) -> Option<Self> {
        let name = take_string(&mut data).filter(|name| name.len() <= MOST_STRING)?;
        let count = usize::from(u16::from_be_bytes(take(&mut data)?));
        (data.len() == count * 2).then_some(Self { name, wanted: data })
    }

    /// Whether a kind of information is asked for.
    pub(super) fn wants(&self, kind: u16) -> bool {
        self.wanted.as_chunks().0.iter().any(|bytes| u16::from_be_bytes(*bytes) == kind)
    }
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT` (proto.md, "Option types").
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContextRequest<'a> {
    pub(super) export: &'a [u8],
    /// Whether there is a query at all.
    pub(super) has_queries: bool,
    /// Whether one of them is for `base:allocation` itself.
    pub(super) names_allocation: bool,
    /// Whether one of them is for all of `base:`.
    pub(super) names_base: bool,
}

impl<'a> ContextRequest<'a> {
    pub(super) fn parse(mut data: &'a [u8]) -> Option<Self> {
        let export = take_string(&mut data).filter(|name| name.len() <= MOST_STRING)?;
        let count = u32::from_be_bytes(take(&mut data)?);
        let mut request = Self { export, has_queries: count > 0, names_allocation: false, names_base: false };
        // Each query takes at least its four bytes of length, so that this ends with the data.
        for _ in 0..count {
            let query = take_string(&mut data)?;
            // Without a colon it is in no namespace, which is an error; an unknown namespace is none.
            if query.len() > MOST_STRING || !query.contains(&b':') {
                return None;
            }
            request.names_allocation |= query == allocation::NAME.as_bytes();
            request.names_base |= query == b"base:";
        }
        data.is_empty().then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn information_is_asked_for_by_whole_numbers() {
        let data = [string("disk"), vec![0, 2, 0, 3, 0, 1]].concat();
        let request = InfoRequest::parse(&data).expect("sound");
        assert!(request.name == b"disk" && request.wants(3) && request.wants(1) && !request.wants(0x0300));
        for end in 0..data.len() {
            assert_eq!(InfoRequest::parse(&data[..end]), None, "{end}");
        }
        assert_eq!(InfoRequest::parse(&[data, vec![0]].concat()), None);
        assert_eq!(InfoRequest::parse(&[0xff, 0xff, 0xff, 0xff, 0, 0]), None);
        assert_eq!(InfoRequest::parse(&[string(&"n".repeat(4097)), vec![0, 0]].concat()), None);
    }

    #[test]
    fn contexts_are_found_among_queries() {
        let data = |queries: &[&str]| {
            let count = u32::try_from(queries.len()).expect("few").to_be_bytes().to_vec();
            [string("disk"), count, queries.iter().flat_map(|query| string(query)).collect()].concat()
        };
        let parse = |queries: &[&str]| {
            ContextRequest::parse(&data(queries)).map(|found| (found.names_allocation, found.names_base))
        };
        assert_eq!(parse(&[]), Some((false, false)));
        assert_eq!(parse(&["qemu:dirty-bitmap:x", "base:allocation"]), Some((true, false)));
        assert_eq!(parse(&["base:", "base:other"]), Some((false, true)));
        assert_eq!(parse(&["allocation"]), None);
        let whole = data(&["base:allocation", "x-a:b"]);
        for end in 0..whole.len() {
            assert_eq!(ContextRequest::parse(&whole[..end]), None, "{end}");
        }
        // A number of queries that the data cannot hold.
        assert_eq!(ContextRequest::parse(&[string("disk"), vec![0xff; 4]].concat()), None);
    }
}
