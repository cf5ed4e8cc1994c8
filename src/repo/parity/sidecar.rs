//! A parity object as it was found: which of its copies and sectors can be used.
//!
//! Always true here:
//! - It is used only for the object that its name and its head agree on, and a sector of it only where it hashes to what the head says.
//! - Either copy of the head is enough. Sectors are counted from the copy that is used, so that bytes that are missing or too many at the
//!   other end do not move them.

use super::ParityError;
use super::code::Encoded;
use super::reading::{Found, read};
use crate::format::FormatError;
use crate::format::parity::{Head, MAX_LENGTH, sum};
use crate::names::ObjectName;
use crate::storage::Storage;

/// A parity object that can be used.
pub(super) struct Sidecar {
    pub head: Head,
    found: Found,
    /// Where the parity sectors end in the object, or would.
    end: u64,
    /// What is wrong with it all the same.
    fault: Option<String>,
}

/// What there is.
pub(super) enum Stored {
    /// No parity object.
    Missing,
    /// One that says nothing that could be used, and why.
    Useless(String),
    /// One that can be used.
    Usable(Sidecar),
}

/// Reads the parity object `parity`. Where `name` is given, it must be the parity of that.
pub(super) fn load(storage: &dyn Storage, parity: ObjectName, name: Option<ObjectName>) -> Result<Stored, ParityError> {
    let found = read(storage, parity, MAX_LENGTH)?;
    if !found.exists {
        return Ok(Stored::Missing);
    }
    let fits = |head: Head| {
        let is_of = |name: ObjectName| {
            name.kind() == head.kind
                && (!name.kind().named_by_content() || name.id().is_some_and(|id| *id.as_bytes() == head.hash))
        };
        let named = covered(&head, parity);
        match name {
            _ if named.is_none_or(|named| !is_of(named)) => Err("it is the parity of another object".to_owned()),
            Some(name) if named != Some(name) => Err("it is the parity of another object".to_owned()),
            _ => Ok(head),
        }
    };
    let text = |error: FormatError| error.to_string();
    let front = Head::decode_front(&found.bytes).map_err(text).and_then(fits);
    let back = Head::decode_back(&found.bytes).map_err(text).and_then(fits);
    let (head, end, differ) = match (front, back) {
        (Ok(front), back) => {
            let end = front.layout.copy_length() + front.layout.parity_length();
            let differ = match back {
                Ok(back) if back == front => None,
                Ok(_) => Some("its two copies of the head differ".to_owned()),
                Err(error) => Some(format!("the copy of the head at its end does not read: {error}")),
            };
            (front, end, differ)
        }
        (Err(error), Ok(back)) => {
            let end = (found.bytes.len() as u64).saturating_sub(back.layout.copy_length());
            (back, end, Some(format!("the copy of the head at its beginning does not read: {error}")))
        }
        (Err(error), Err(_)) => return Ok(Stored::Useless(error)),
    };
    let mut sidecar = Sidecar { head, found, end, fault: None };
    sidecar.fault = differ.or_else(|| sidecar.find_fault());
    Ok(Stored::Usable(sidecar))
}

/// The object that a parity object of this name and head is of.
pub(super) fn covered(head: &Head, parity: ObjectName) -> Option<ObjectName> {
    let name = ObjectName::new(head.kind, parity.id()?);
    (name.parity() == Some(parity)).then_some(name)
}

impl Sidecar {
    /// A parity sector, where it is whole.
    pub(super) fn sector(&self, index: u64) -> Option<&[u8]> {
        let layout = &self.head.layout;
        let length = u64::from(layout.sector_length());
        let behind = layout.all_parity_sectors().checked_sub(index)? * length;
        let start = self.end.checked_sub(behind)?;
        let sector = self.found.get(start..start + length)?;
        (self.head.parity_sum(index) == Some(&sum(sector))).then_some(sector)
    }

    /// What is wrong with it; it can be used all the same.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn find_fault(&self) -> Option<String> {
        let (has, needs) = (self.found.size, self.head.layout.object_length());
        if has != needs {
            return Some(format!("it has {has} bytes, {needs} were expected"));
        }
        let lost = (0..self.head.layout.all_parity_sectors()).filter(|index| self.sector(*index).is_none()).count();
        if lost > 0 {
            return Some(format!("{lost} of its sectors were changed or cannot be read"));
        }
        self.found.unreadable.first().map(|run| format!("bytes {} to {} cannot be read", run.start, run.end))
    }
}

/// The bytes of a parity object in one.
pub(super) fn concat(encoded: &Encoded) -> Vec<u8> {
    encoded.parts().concat()
}
