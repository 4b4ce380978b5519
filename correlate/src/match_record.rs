//! Records of `mozdef.matches`: matches of windowed rules, and watermarks.
//!
//! In: a match or a map of watermarks. Out: key and value of version 1, and
//! the same again. Never: a value too large for its topic.
//!
//! ```text
//! key        bytes rule id, bytes generation, then the group key (`group_key`)
//! match      1 to 3, signed event time, event id, count × unsigned position of a named rule, in version 3 unsigned
//!            fact (`measured`), sample fields (`window::state`)
//! watermarks 1, count × (unsigned events partition, signed milliseconds); header kind = watermark
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::headers;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

use crate::measured::Fact;
use crate::rule::RuleInfo;
use crate::window::state::{self, get_fields, put_fields, version_of};
use crate::window::{Mark, Sample};
use crate::wire::{Reader, WireError, Writer};

/// Version of watermark records. That of a match is its sample's.
pub const VERSION: u8 = 1;

/// Largest event, in bytes of JSON, that a match carries; of a larger one the alert has no source.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// One match of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Event time and id.
    pub mark: Mark,
    /// Positions of the matching rules within the correlation, ascending.
    pub rules: Vec<u16>,
    /// The value or number that the correlation takes from the event; 0 where it takes none.
    pub fact: Fact,
    /// What an alert says of the event.
    pub sample: Arc<Sample>,
}

/// The part of a key that names rule and generation.
pub fn rule_prefix(info: &RuleInfo) -> Vec<u8> {
    let mut writer = Writer::bare();
    writer.bytes(info.id.as_bytes());
    writer.bytes(info.generation.as_bytes());
    writer.finish()
}

/// The key of a match.
pub fn key(prefix: &[u8], group_key: &[u8]) -> Bytes {
    Bytes::from([prefix, group_key].concat())
}

/// Rule prefix and group key.
pub fn split_key(key: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut reader = Reader::bare(key);
    reader.bytes()?;
    reader.bytes()?;
    let group = reader.rest();
    key.split_at_checked(key.len().saturating_sub(group.len())).ok_or(WireError::Truncated)
}

/// The value of a match.
pub fn encode(found: &Match) -> Bytes {
    let version = version_of(found.fact, Some(&found.sample));
    let mut writer = Writer::new(version);
    writer.signed(found.mark.time);
    writer.id(found.mark.id);
    writer.count(found.rules.len());
    found.rules.iter().for_each(|rule| writer.unsigned(u64::from(*rule)));
    if version == state::VERSION {
        writer.unsigned(found.fact);
    }
    if found.sample.body.len() > BODY_BYTES_MAX {
        put_fields(&mut writer, &found.sample.without_body(), version);
    } else {
        put_fields(&mut writer, &found.sample, version);
    }
    Bytes::from(writer.finish())
}

/// Reads the value of a match.
pub fn decode(value: &[u8]) -> Result<Match, WireError> {
    let (version, mut reader) = Reader::versions(value, state::VERSION)?;
    let mark = Mark { time: reader.signed()?, id: reader.id()? };
    let count = reader.count()?;
    let rules = (0..count).map(|_| reader.narrow()).collect::<Result<_, _>>()?;
    let fact = if version == state::VERSION { reader.unsigned()? } else { 0 };
    let sample = Arc::new(get_fields(&mut reader, version)?);
    reader.finish()?;
    Ok(Match { mark, rules, fact, sample })
}

/// A match as a record, to the partition of its key.
pub fn record(key: Bytes, value: Bytes) -> NewRecord {
    NewRecord { topic: Topic::Matches, partition: None, key, value, headers: Headers::new() }
}

/// A map of watermarks as a record of one partition of `mozdef.matches`.
pub fn watermark_record(partition: u32, map: &Bytes) -> NewRecord {
    NewRecord {
        topic: Topic::Matches,
        partition: Some(partition),
        key: Bytes::new(),
        value: map.clone(),
        headers: Headers::new().with(headers::KIND, headers::KIND_WATERMARK),
    }
}

/// The value of a watermark record.
pub fn encode_watermarks(map: &BTreeMap<u32, i64>) -> Bytes {
    let mut writer = Writer::new(VERSION);
    put_watermarks(&mut writer, map);
    Bytes::from(writer.finish())
}

/// Reads the value of a watermark record.
pub fn decode_watermarks(value: &[u8]) -> Result<BTreeMap<u32, i64>, WireError> {
    let mut reader = Reader::new(value, VERSION)?;
    let map = get_watermarks(&mut reader)?;
    reader.finish()?;
    Ok(map)
}

pub(crate) fn put_watermarks(writer: &mut Writer, map: &BTreeMap<u32, i64>) {
    writer.count(map.len());
    for (partition, watermark) in map {
        writer.unsigned(u64::from(*partition));
        writer.signed(*watermark);
    }
}

pub(crate) fn get_watermarks(reader: &mut Reader<'_>) -> Result<BTreeMap<u32, i64>, WireError> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((reader.narrow()?, reader.signed()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use model::ids::EventId;

    use super::{
        BODY_BYTES_MAX, Match, decode, decode_watermarks, encode, encode_watermarks, key, split_key,
    };
    use crate::window::{Mark, Sample};
    use crate::wire::{Writer, hex};

    fn found() -> Match {
        Match {
            mark: Mark { time: 1_700_000_000_123, id: EventId::from_bytes([7; 16]) },
            rules: vec![0, 3],
            fact: 0,
            sample: Arc::new(Sample {
                received: 1_700_000_000_500,
                index: Some("vulnerabilities".into()),
                document_id: None,
                origin: "mozdef.raw/1/42".into(),
                body: br#"{"summary":"x"}"#[..].into(),
                ..Sample::default()
            }),
        }
    }

    /// What one version wrote, the next must read. A new form is a new version with a new file; this one stays.
    #[test]
    fn version_1_stays_readable() {
        let stored = include_str!("../test-data/match/v1.hex").trim();
        assert_eq!(decode(&hex::decode(stored)), Ok(found()));
        assert_eq!(hex::encode(&encode(&found())), stored);
    }

    #[test]
    fn version_2_stays_readable() {
        let stored = include_str!("../test-data/match/v2.hex").trim();
        let mut counted = found();
        Arc::make_mut(&mut counted.sample).values = [(7, "web1".into())].into();
        assert_eq!(hex::encode(&encode(&counted)), stored);
        assert_eq!(decode(&hex::decode(stored)), Ok(counted));
    }

    #[test]
    fn a_fact_goes_along() {
        let measured = Match { fact: u64::MAX, ..found() };
        let bytes = encode(&measured);
        assert_eq!((bytes.first(), decode(&bytes)), (Some(&3), Ok(measured)));
    }

    #[test]
    fn keys_split_into_rule_and_group() {
        let mut writer = Writer::bare();
        writer.bytes("r\0".as_bytes());
        writer.bytes(b"gen");
        let prefix = writer.finish();
        assert_eq!(split_key(&key(&prefix, b"group")), Ok((&prefix[..], &b"group"[..])));
        assert_eq!(split_key(&key(&prefix, b"")), Ok((&prefix[..], &b""[..])));
        assert!(split_key(&prefix[..3]).is_err() && split_key(b"").is_err());
    }

    #[test]
    fn watermarks_read_back() {
        let map = BTreeMap::from([(0, 5), (3, -7)]);
        assert_eq!(decode_watermarks(&encode_watermarks(&map)), Ok(map));
        assert!(decode_watermarks(&[1, 9]).is_err() && decode_watermarks(b"").is_err());
    }

    #[test]
    fn a_giant_goes_without_its_body() {
        let mut giant = found();
        Arc::make_mut(&mut giant.sample).body = vec![b' '; BODY_BYTES_MAX + 1].into();
        let read = decode(&encode(&giant)).unwrap();
        assert!(read.sample.body.is_empty());
        assert_eq!(read.sample.origin, giant.sample.origin);
    }

    #[test]
    fn no_prefix_of_a_match_is_a_match() {
        let whole = encode(&found());
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
    }
}
