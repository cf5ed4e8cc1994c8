//! A bounded cursor over stored bytes, and its writing twin. Integers are little-endian.
//!
//! Always true here:
//! - No read goes beyond the slice; the error says at which offset which field was expected.
//! - Nothing is allocated by a count that the input claims: callers ask [`Reader::table`] for records, which
//!   checks that the input is long enough first.

/// Where and why stored bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end inside a field.
    Truncated {
        /// The field that was expected.
        field: &'static str,
        /// Where it begins, in bytes from the start of the structure.
        offset: usize,
        /// Bytes that the field and what belongs to it need.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes follow where the structure should end.
    TrailingBytes {
        /// Where the structure ends.
        offset: usize,
        /// How many bytes follow.
        count: usize,
    },
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated { field, offset, needed, left } => {
                write!(f, "`{field}` at offset {offset} needs {needed} bytes, {left} are left")
            }
            Self::TrailingBytes { offset, count } => {
                write!(f, "{count} bytes follow behind the end at offset {offset}")
            }
        }
    }
}

impl std::error::Error for CodecError {}

/// Reads fields one behind the other.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub const fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], CodecError> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.truncated(field, length as u64));
        };
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N, field)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, CodecError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CodecError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A table of `count` records of `N` bytes each, borrowed from the input.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when the input is shorter than the table would be.
    pub fn table<const N: usize>(&mut self, count: u32, field: &'static str) -> Result<&'a [[u8; N]], CodecError> {
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(N));
        let Some(length) = length else {
            return Err(self.truncated(field, u64::from(count).saturating_mul(N as u64)));
        };
        Ok(self.bytes(length, field)?.as_chunks::<N>().0)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`CodecError::TrailingBytes`].
    pub const fn finish(self) -> Result<(), CodecError> {
        match self.left() {
            0 => Ok(()),
            count => Err(CodecError::TrailingBytes { offset: self.position, count }),
        }
    }

    const fn truncated(&self, field: &'static str, needed: u64) -> CodecError {
        CodecError::Truncated { field, offset: self.position, needed, left: self.left() }
    }
}

/// Writes fields one behind the other.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins with nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a 16-bit integer.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a 32-bit integer.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a 64-bit integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_the_end_is_checked() {
        let mut writer = Writer::new();
        writer.u8(1).u16(2).u32(3).u64(4).bytes(b"tail");
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(2));
        assert_eq!(reader.u32("c"), Ok(3));
        assert_eq!(reader.u64("d"), Ok(4));
        assert_eq!(reader.clone().finish(), Err(CodecError::TrailingBytes { offset: 15, count: 4 }));
        assert_eq!(reader.u64("e"), Err(CodecError::Truncated { field: "e", offset: 15, needed: 8, left: 4 }));
        assert_eq!(reader.rest(), b"tail");
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_table_that_claims_more_than_there_is_is_refused() {
        let mut reader = Reader::new(&[0; 64]);
        assert!(matches!(
            reader.table::<40>(u32::MAX, "records"),
            Err(CodecError::Truncated { needed: 171_798_691_800, left: 64, .. })
        ));
        assert_eq!(reader.table::<32>(2, "records").map(<[_]>::len), Ok(2));
    }
}
