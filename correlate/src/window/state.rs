//! The stored form of a group, for the changelog `mozdef.windows`.
//!
//! In: a group. Out: bytes of version 1, and the group again. Never: bodies of
//! events; each is a record of its own, written once ([`encode_sample`]), so
//! that a group that grows does not write all its events again.
//!
//! ```text
//! group     1, signed at, flag approximate,
//!           entries: count × (signed time − previous, id, sample)
//!           rows:    count × (unsigned count, mark, mark)
//!           episodes: count × (mark firing, signed first_hot, signed last_hot − first_hot, unsigned count,
//!                     flag, [mark first, mark last], kept: count × (mark, sample), unsigned peak,
//!                     unsigned revision, signed fired_at, signed revised_at, flag changed)
//! mark      signed time, id
//! sample    0 none | 1 here: sample fields, body empty | 2 in a record of its own
//! fields    signed received, bytes index, bytes document id, bytes origin, bytes body
//! ```

use std::sync::Arc;

use crate::window::entries::Row;
use crate::window::episode::Episode;
use crate::window::group::{Group, More};
use crate::window::{Entry, Kept, Mark, Sample};
use crate::wire::{Reader, WireError, Writer};

/// Version of the stored forms of this file.
pub const VERSION: u8 = 1;

const SAMPLE_NONE: u64 = 0;
const SAMPLE_HERE: u64 = 1;
const SAMPLE_APART: u64 = 2;

/// The group without the bodies of its events.
pub fn encode_group(group: &Group) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.signed(group.at);
    let more = group.more.as_deref();
    writer.flag(more.is_some_and(|more| more.approximate));
    writer.count(group.entries.len());
    let mut previous = 0_i64;
    for entry in &group.entries {
        writer.signed(entry.time.wrapping_sub(previous));
        previous = entry.time;
        writer.id(entry.id);
        put_sample(&mut writer, entry.sample.as_deref());
    }
    let rows = more.map_or(&[][..], |more| &more.rows);
    writer.count(rows.len());
    for row in rows {
        writer.unsigned(row.count);
        put_mark(&mut writer, row.first);
        put_mark(&mut writer, row.last);
    }
    let episodes = more.map_or(&[][..], |more| &more.episodes);
    writer.count(episodes.len());
    episodes.iter().for_each(|episode| put_episode(&mut writer, episode));
    writer.finish()
}

/// Reads a group; `body` gives the samples that are records of their own.
pub fn decode_group(
    bytes: &[u8],
    mut body: impl FnMut(Mark) -> Option<Arc<Sample>>,
) -> Result<Group, WireError> {
    let mut reader = Reader::new(bytes, VERSION)?;
    let at = reader.signed()?;
    let mut more = More { approximate: reader.flag()?, ..More::default() };
    let mut entries = Vec::new();
    let count = reader.count()?;
    entries.reserve_exact(count.min(bytes.len() / 18));
    let mut time = 0_i64;
    for _ in 0..count {
        time = time.wrapping_add(reader.signed()?);
        let id = reader.id()?;
        let sample = get_sample(&mut reader, Mark { time, id }, &mut body)?;
        entries.push(Entry { time, id, sample });
    }
    for _ in 0..reader.count()? {
        let count = reader.unsigned()?;
        more.rows.push(Row { count, first: get_mark(&mut reader)?, last: get_mark(&mut reader)? });
    }
    for _ in 0..reader.count()? {
        more.episodes.push(get_episode(&mut reader, &mut body)?);
    }
    reader.finish()?;
    Ok(Group::restore(at, entries, more))
}

/// A sample with its body.
pub fn encode_sample(sample: &Sample) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    put_fields(&mut writer, sample);
    writer.finish()
}

/// Reads a sample.
pub fn decode_sample(bytes: &[u8]) -> Result<Sample, WireError> {
    let mut reader = Reader::new(bytes, VERSION)?;
    let sample = get_fields(&mut reader)?;
    reader.finish()?;
    Ok(sample)
}

/// The fields of a sample, also within a match record.
pub(crate) fn put_fields(writer: &mut Writer, sample: &Sample) {
    writer.signed(sample.received);
    writer.bytes(sample.index.as_deref().unwrap_or_default().as_bytes());
    writer.bytes(sample.document_id.as_deref().unwrap_or_default().as_bytes());
    writer.bytes(sample.origin.as_bytes());
    writer.bytes(&sample.body);
}

/// See [`put_fields`].
pub(crate) fn get_fields(reader: &mut Reader<'_>) -> Result<Sample, WireError> {
    let optional = |text: &str| (!text.is_empty()).then(|| Box::from(text));
    Ok(Sample {
        received: reader.signed()?,
        index: optional(reader.text()?),
        document_id: optional(reader.text()?),
        origin: reader.text()?.into(),
        body: reader.bytes()?.into(),
    })
}

fn put_sample(writer: &mut Writer, sample: Option<&Sample>) {
    match sample {
        None => writer.unsigned(SAMPLE_NONE),
        Some(sample) if sample.body.is_empty() => {
            writer.unsigned(SAMPLE_HERE);
            put_fields(writer, sample);
        }
        Some(_) => writer.unsigned(SAMPLE_APART),
    }
}

fn get_sample(
    reader: &mut Reader<'_>,
    mark: Mark,
    body: &mut impl FnMut(Mark) -> Option<Arc<Sample>>,
) -> Result<Option<Arc<Sample>>, WireError> {
    match reader.unsigned()? {
        SAMPLE_NONE => Ok(None),
        SAMPLE_HERE => Ok(Some(Arc::new(get_fields(reader)?))),
        SAMPLE_APART => Ok(body(mark)),
        _ => Err(WireError::Number),
    }
}

fn put_mark(writer: &mut Writer, mark: Mark) {
    writer.signed(mark.time);
    writer.id(mark.id);
}

fn get_mark(reader: &mut Reader<'_>) -> Result<Mark, WireError> {
    Ok(Mark { time: reader.signed()?, id: reader.id()? })
}

fn put_episode(writer: &mut Writer, episode: &Episode) {
    put_mark(writer, episode.firing);
    writer.signed(episode.first_hot);
    writer.signed(episode.last_hot.wrapping_sub(episode.first_hot));
    writer.unsigned(episode.count);
    let bounds = episode.first.zip(episode.last);
    writer.flag(bounds.is_some());
    if let Some((first, last)) = bounds {
        put_mark(writer, first);
        put_mark(writer, last);
    }
    writer.count(episode.kept.len());
    for kept in &episode.kept {
        put_mark(writer, kept.mark);
        put_sample(writer, kept.sample.as_deref());
    }
    writer.unsigned(episode.peak);
    writer.unsigned(episode.revision);
    writer.signed(episode.fired_at);
    writer.signed(episode.revised_at);
    writer.flag(episode.changed);
}

fn get_episode(
    reader: &mut Reader<'_>,
    body: &mut impl FnMut(Mark) -> Option<Arc<Sample>>,
) -> Result<Episode, WireError> {
    let firing = get_mark(reader)?;
    let first_hot = reader.signed()?;
    let last_hot = first_hot.wrapping_add(reader.signed()?);
    let mut episode = Episode::new(firing, first_hot, 0);
    episode.last_hot = last_hot;
    episode.count = reader.unsigned()?;
    if reader.flag()? {
        episode.first = Some(get_mark(reader)?);
        episode.last = Some(get_mark(reader)?);
    }
    for _ in 0..reader.count()? {
        let mark = get_mark(reader)?;
        episode.kept.push(Kept { mark, sample: get_sample(reader, mark, body)? });
    }
    episode.peak = reader.unsigned()?;
    episode.revision = reader.unsigned()?;
    episode.fired_at = reader.signed()?;
    episode.revised_at = reader.signed()?;
    episode.changed = reader.flag()?;
    Ok(episode)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::ids::EventId;

    use super::{decode_group, decode_sample, encode_group, encode_sample};
    use crate::window::entries::Row;
    use crate::window::episode::Episode;
    use crate::window::group::{Group, More};
    use crate::window::{Entry, Kept, Mark, Sample};
    use crate::wire::hex;

    const AT: i64 = 1_700_000_000_000;

    fn id(n: u8) -> EventId {
        EventId::from_bytes([n; 16])
    }

    fn mark(n: u8) -> Mark {
        Mark { time: AT + i64::from(n), id: id(n) }
    }

    fn sample(body: &str) -> Arc<Sample> {
        Arc::new(Sample {
            received: AT + 7,
            index: Some("vulnerabilities".into()),
            document_id: None,
            origin: "mozdef.raw/3/12345".into(),
            body: body.as_bytes().into(),
        })
    }

    /// A group that has everything a group can have.
    fn group() -> Group {
        let entry = |n, sample| Entry { time: AT + i64::from(n), id: id(n), sample };
        let entries =
            vec![entry(5, None), entry(6, Some(sample(""))), entry(9, Some(sample("{}")))];
        let episode = Episode {
            last_hot: AT + 9,
            count: 77,
            first: Some(mark(1)),
            last: Some(mark(4)),
            kept: vec![
                Kept { mark: mark(1), sample: Some(sample("{}")) },
                Kept { mark: mark(2), sample: Some(sample("")) },
                Kept { mark: mark(3), sample: None },
            ],
            peak: 12,
            revision: 3,
            revised_at: AT + 600,
            changed: true,
            ..Episode::new(mark(2), AT + 3, AT + 500)
        };
        let rows = vec![Row { count: 4, first: mark(1), last: mark(2) }];
        Group::restore(
            AT,
            entries,
            More { episodes: vec![episode], rows, approximate: true, ..More::default() },
        )
    }

    /// What one version wrote, the next must read: state lives longer than the program that wrote it. A new form is a
    /// new version with a file of its own; these files stay for ever.
    #[test]
    fn version_1_stays_readable() {
        let stored = include_str!("../../test-data/window/v1.hex");
        let read = decode_group(&hex::decode(stored), |_| Some(sample("{}"))).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", group()));
        assert_eq!(hex::encode(&encode_group(&read)), stored.trim());
        let stored = include_str!("../../test-data/window/v1.sample.hex");
        assert_eq!(decode_sample(&hex::decode(stored)), Ok((*sample("{}")).clone()));
    }

    #[test]
    fn a_group_reads_back() {
        let read = decode_group(&encode_group(&group()), |mark| {
            assert!([1, 9].contains(&(mark.time - AT)));
            Some(sample("{}"))
        });
        assert_eq!(format!("{read:?}"), format!("{:?}", Ok::<_, ()>(group())));
        assert_eq!(decode_sample(&encode_sample(&sample("{}"))).as_ref(), Ok(&*sample("{}")));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let whole = encode_group(&group());
        for length in 0..whole.len() {
            assert!(decode_group(&whole[..length], |_| None).is_err(), "{length}");
        }
        let mut newer = whole;
        newer[0] = 2;
        assert!(decode_group(&newer, |_| None).unwrap_err().to_string().contains("version 2"));
        let lie = [1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(decode_group(&lie, |_| None).is_err());
    }
}
