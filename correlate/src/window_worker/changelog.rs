//! Keys and small values of `mozdef.windows`, the window stage's state.
//!
//! In: what changed in a partition. Out: records of that partition, and what
//! they say when read again. Never: decisions about state.
//!
//! ```text
//! key 0                                watermarks: 1, watermark map, signed low, count × (bytes rule prefix, signed)
//! key 1, rule prefix, group key        the head of a group (`window::state`)
//! key 2, rule prefix, group key, time as 8 bytes, id    an event of a group
//! key 3, rule prefix                   a rule's presentation (`rule_window`)
//! ```
//!
//! The list behind `low` has the rules whose watermark is not simply `low`
//! less their lateness: a lateness was raised, and time never goes back.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::ids::EventId;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

use crate::match_record::{get_watermarks, put_watermarks, split_key};
use crate::window::Mark;
use crate::wire::{Reader, WireError, Writer};

const VERSION: u8 = 1;

const WATERMARKS: u8 = 0;
const GROUP: u8 = 1;
const EVENT: u8 = 2;
const RULE: u8 = 3;

/// Bytes of a mark at the end of a key.
const MARK_BYTES: usize = 24;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'k> {
    Watermarks,
    Group { prefix: &'k [u8], group: &'k [u8] },
    Event { prefix: &'k [u8], group: &'k [u8], mark: Mark },
    Rule { prefix: &'k [u8] },
}

/// The stored watermarks of a window partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredWatermarks {
    pub(super) heard: BTreeMap<u32, i64>,
    pub(super) low: i64,
    /// By rule prefix.
    pub(super) exceptions: BTreeMap<Vec<u8>, i64>,
}

impl Key<'_> {
    /// The bytes of the key.
    pub(super) fn encode(&self) -> Bytes {
        Bytes::from(match *self {
            Key::Watermarks => vec![WATERMARKS],
            Key::Group { prefix, group } => [&[GROUP], prefix, group].concat(),
            Key::Event { prefix, group, mark } => {
                [&[EVENT], prefix, group, &mark.time.to_be_bytes(), mark.id.as_bytes()].concat()
            }
            Key::Rule { prefix } => [&[RULE], prefix].concat(),
        })
    }

    /// Reads a key.
    pub(super) fn decode(bytes: &[u8]) -> Result<Key<'_>, WireError> {
        let (&kind, rest) = bytes.split_first().ok_or(WireError::Truncated)?;
        match kind {
            WATERMARKS => Ok(Key::Watermarks),
            GROUP => split_key(rest).map(|(prefix, group)| Key::Group { prefix, group }),
            EVENT => {
                let end = rest.len().checked_sub(MARK_BYTES).ok_or(WireError::Truncated)?;
                let (key, mark) = rest.split_at_checked(end).ok_or(WireError::Truncated)?;
                let (prefix, group) = split_key(key)?;
                Ok(Key::Event { prefix, group, mark: decode_mark(mark)? })
            }
            RULE => Ok(Key::Rule { prefix: rest }),
            _ => Err(WireError::Number),
        }
    }

    /// The record that sets the key's value in a partition; an empty value forgets it.
    pub(super) fn record(&self, partition: u32, value: Vec<u8>) -> NewRecord {
        NewRecord {
            topic: Topic::Windows,
            partition: Some(partition),
            key: self.encode(),
            value: Bytes::from(value),
            headers: Headers::new(),
        }
    }
}

fn decode_mark(bytes: &[u8]) -> Result<Mark, WireError> {
    let (time, id) = bytes.split_first_chunk::<8>().ok_or(WireError::Truncated)?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| WireError::Truncated)?;
    Ok(Mark { time: i64::from_be_bytes(*time), id: EventId::from_bytes(id) })
}

impl StoredWatermarks {
    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        put_watermarks(&mut writer, &self.heard);
        writer.signed(self.low);
        writer.count(self.exceptions.len());
        for (prefix, watermark) in &self.exceptions {
            writer.bytes(prefix);
            writer.signed(*watermark);
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub(super) fn decode(bytes: &[u8]) -> Result<StoredWatermarks, WireError> {
        let mut reader = Reader::new(bytes, VERSION)?;
        let heard = get_watermarks(&mut reader)?;
        let low = reader.signed()?;
        let count = reader.count()?;
        let exceptions = (0..count).map(|_| Ok((reader.bytes()?.to_vec(), reader.signed()?)));
        let exceptions = exceptions.collect::<Result<_, WireError>>()?;
        reader.finish()?;
        Ok(StoredWatermarks { heard, low, exceptions })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::ids::EventId;

    use super::{Key, StoredWatermarks};
    use crate::window::{BEGINNING, Mark};
    use crate::wire::Writer;

    fn prefix() -> Vec<u8> {
        let mut writer = Writer::bare();
        writer.bytes(b"rule");
        writer.bytes(b"generation");
        writer.finish()
    }

    #[track_caller]
    fn check(key: Key<'_>) {
        assert_eq!(Key::decode(&key.encode()), Ok(key));
    }

    #[test]
    fn keys_read_back() {
        let mark = Mark { time: -5, id: EventId::from_bytes([9; 16]) };
        check(Key::Watermarks);
        check(Key::Group { prefix: &prefix(), group: b"g" });
        check(Key::Group { prefix: &prefix(), group: b"" });
        check(Key::Event { prefix: &prefix(), group: b"g", mark });
        check(Key::Rule { prefix: &prefix() });
    }

    #[test]
    fn strange_keys_are_refused() {
        for bytes in [&[][..], &[9], &[1, 200], &[2, 0, 0], &[1, 5, b'x']] {
            assert!(Key::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn watermarks_read_back() {
        let stored = StoredWatermarks {
            heard: BTreeMap::from([(0, 17), (2, -1)]),
            low: BEGINNING,
            exceptions: BTreeMap::from([(prefix(), 99)]),
        };
        assert_eq!(StoredWatermarks::decode(&stored.encode()), Ok(stored));
    }
}
