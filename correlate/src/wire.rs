//! Bytes of our own stored forms: integers of variable length, fixed ids and
//! byte strings that carry their length.
//!
//! In: fields in a fixed order. Out: bytes, and the fields again. Never: what
//! the fields mean or which version they belong to; the first byte of each
//! form says that, and its owner checks it.
//!
//! ```text
//! unsigned   7 bits a byte, lowest first, the high bit set on all but the last
//! signed     zigzag of the above
//! id         16 bytes
//! bytes      unsigned length, then the bytes
//! ```

use model::ids::EventId;

/// Why stored bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end too early.
    #[error("the stored form breaks off")]
    Truncated,
    /// A number does not fit its field.
    #[error("a number of the stored form is out of range")]
    Number,
    /// Text that is not UTF-8.
    #[error("text of the stored form is not UTF-8")]
    Text,
    /// More bytes than the form has.
    #[error("{bytes} bytes after the end of the stored form")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Written by a version that this one does not know.
    #[error("stored form of version {got}, but this version of MozDef reads up to {known}; update it")]
    Version {
        /// The version found.
        got: u8,
        /// The newest version that can be read.
        known: u8,
    },
}

/// Appends fields.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a form with its version.
    pub(crate) fn new(version: u8) -> Writer {
        Writer { bytes: vec![version] }
    }

    /// Begins a form without a version, such as a key.
    pub(crate) fn bare() -> Writer {
        Writer::default()
    }

    pub(crate) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.unsigned(value as u64);
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(crate) fn id(&mut self, id: EventId) {
        self.bytes.extend_from_slice(id.as_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads fields back, in the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the version and stands behind it.
    pub(crate) fn new(bytes: &'a [u8], known: u8) -> Result<Reader<'a>, WireError> {
        match bytes.split_first() {
            Some((&version, rest)) if version == known => Ok(Reader { rest }),
            Some((&got, _)) => Err(WireError::Version { got, known }),
            None => Err(WireError::Truncated),
        }
    }

    /// Stands behind the version, which is one of those up to `known`.
    pub(crate) fn versions(bytes: &'a [u8], known: u8) -> Result<(u8, Reader<'a>), WireError> {
        match bytes.split_first() {
            Some((&version, rest)) if (1..=known).contains(&version) => Ok((version, Reader { rest })),
            Some((&got, _)) => Err(WireError::Version { got, known }),
            None => Err(WireError::Truncated),
        }
    }

    /// Reads a form without a version, such as a key.
    pub(crate) fn bare(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            let low = u64::from(byte & 0x7f);
            let moved = low << shift;
            if moved >> shift != low {
                return Err(WireError::Number);
            }
            value |= moved;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Number)
    }

    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, WireError> {
        T::try_from(self.unsigned()?).map_err(|_| WireError::Number)
    }

    /// A number of items that follow, of at least one byte each; so a lie cannot reserve memory.
    pub(crate) fn count(&mut self) -> Result<usize, WireError> {
        let count = self.narrow::<usize>()?;
        if count > self.rest.len() { Err(WireError::Truncated) } else { Ok(count) }
    }

    pub(crate) fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.unsigned()?;
        Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, WireError> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(WireError::Number),
        }
    }

    pub(crate) fn id(&mut self) -> Result<EventId, WireError> {
        let bytes = self.take(16)?.try_into().map_err(|_| WireError::Truncated)?;
        Ok(EventId::from_bytes(bytes))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let count = self.count()?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text)
    }

    /// Everything that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The form must end here.
    pub(crate) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing { bytes: self.rest.len() }) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Stored forms as text, for the tests that keep them readable.
#[cfg(test)]
pub(crate) mod hex {
    /// Two digits a byte.
    pub(crate) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Digits, with white space around them.
    pub(crate) fn decode(text: &str) -> Vec<u8> {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        text.trim().as_bytes().chunks(2).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, WireError, Writer};

    #[test]
    fn numbers_read_back() {
        for value in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1_700_000_000_000] {
            let mut writer = Writer::new(1);
            writer.signed(value);
            writer.unsigned(value as u64);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes, 1).unwrap();
            assert_eq!(reader.signed(), Ok(value));
            assert_eq!(reader.unsigned(), Ok(value as u64));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn broken_forms_are_told_apart() {
        assert_eq!(Reader::new(&[9], 1).err(), Some(WireError::Version { got: 9, known: 1 }));
        assert_eq!(Reader::bare(&[0x80]).unsigned(), Err(WireError::Truncated));
        assert_eq!(Reader::bare(&[0xff; 10]).unsigned(), Err(WireError::Number));
        assert_eq!(Reader::bare(&[200, 1, 7]).bytes(), Err(WireError::Truncated));
        assert_eq!(Reader::bare(&[1, 0xff]).text(), Err(WireError::Text));
        assert_eq!(Reader::bare(&[2]).flag(), Err(WireError::Number));
        assert_eq!(Reader::bare(&[2]).finish(), Err(WireError::Trailing { bytes: 1 }));
    }
}
