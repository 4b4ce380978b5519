//! The stored form of a group, for the changelog `mozdef.windows`.
//!
//! In: a group, or one of its events. Out: bytes of version 1, and the group
//! again. Never: all events of a group in one value; each is a record of its
//! own, so that what is written does not grow with the group.
//!
//! ```text
//! head      1 or 2, signed at, flag; when it is set:
//!           signed at − forgotten, flag approximate,
//!           rows:     count × (unsigned count, mark, mark)
//!           episodes: count × (mark firing, signed first_hot, signed last_hot − first_hot, unsigned count,
//!                     flag, [mark first, mark last], unsigned peak, unsigned revision, signed fired_at,
//!                     signed revised_at, flag changed, in version 2 also tops (`window::tops`))
//! mark      signed time, id
//! event     1 to 3, flag kept ahead, flag sample, in version 3 unsigned fact, [sample fields]
//! fields    signed received, bytes index, bytes document id, bytes origin, bytes body, from version 2 on also
//!           count × (unsigned field, bytes value)
//! ```
//!
//! Version 2 is written only where values are counted, version 3 only where an event adds more to the measure than itself.
//!
//! An event is an entry while it is younger than `forgotten`, then one of the
//! first of the episode that covers it. Kept ahead are the first events of an
//! episode that were folded into rows before that.

use std::sync::Arc;

use crate::measured::Fact;
use crate::window::entries::{Row, position};
use crate::window::episode::Episode;
use crate::window::group::{Group, More};
use crate::window::journal::Image;
use crate::window::tops::{Tops, Values, get_values, put_values};
use crate::window::{BEGINNING, Entry, Mark, Sample, Spec};
use crate::wire::{Reader, WireError, Writer};

/// Newest version of the stored forms of this file.
pub const VERSION: u8 = 3;

/// The version without counted values.
const PLAIN: u8 = 1;

/// The version with counted values.
const COUNTED: u8 = 2;

/// The group without its events.
pub fn encode_head(group: &Group) -> Vec<u8> {
    let counts = |more: &More| more.episodes.iter().any(|episode| !episode.tops.is_empty());
    let version = if group.more.as_deref().is_some_and(counts) { COUNTED } else { PLAIN };
    let mut writer = Writer::new(version);
    writer.signed(group.at);
    writer.flag(group.more.is_some());
    if let Some(more) = group.more.as_deref() {
        writer.signed(group.at.wrapping_sub(more.forgotten));
        writer.flag(more.approximate);
        writer.count(more.rows.len());
        for row in &more.rows {
            writer.unsigned(row.count);
            put_mark(&mut writer, row.first);
            put_mark(&mut writer, row.last);
        }
        writer.count(more.episodes.len());
        for episode in &more.episodes {
            put_episode(&mut writer, episode);
            if version > PLAIN {
                episode.tops.put(&mut writer);
            }
        }
    }
    writer.finish()
}

/// An event of the group; `None` when the group has no such event.
pub fn encode_event(group: &Group, mark: Mark) -> Option<Vec<u8>> {
    if let Ok(at) = position(&group.entries, mark) {
        return group.entries.get(at).map(|entry| event(false, entry.fact, entry.sample.as_deref()));
    }
    let more = group.more.as_deref()?;
    let find = |episode: &Episode| {
        let at = episode.kept.binary_search_by(|kept| kept.mark.cmp(&mark)).ok()?;
        episode.kept.get(at).map(|kept| event(mark.time > more.forgotten, 0, kept.sample.as_deref()))
    };
    more.episodes.iter().find_map(find)
}

fn event(is_ahead: bool, fact: Fact, sample: Option<&Sample>) -> Vec<u8> {
    let version = version_of(fact, sample);
    let mut writer = Writer::new(version);
    writer.flag(is_ahead);
    writer.flag(sample.is_some());
    if version == VERSION {
        writer.unsigned(fact);
    }
    if let Some(sample) = sample {
        put_fields(&mut writer, sample, version);
    }
    writer.finish()
}

/// Reads a group from its head and its events, which come in any order.
pub fn decode_group(head: &[u8], events: &[(Mark, &[u8])], spec: &Spec) -> Result<Group, WireError> {
    let (version, mut reader) = Reader::versions(head, COUNTED)?;
    let mut image = Image {
        at: reader.signed()?,
        forgotten: BEGINNING,
        approximate: false,
        doubles: 0,
        body_bytes: 0,
        episodes: Vec::new(),
        rows: Vec::new(),
    };
    if reader.flag()? {
        image.forgotten = image.at.wrapping_sub(reader.signed()?);
        image.approximate = reader.flag()?;
        for _ in 0..reader.count()? {
            let count = reader.unsigned()?;
            image.rows.push(Row { count, first: get_mark(&mut reader)?, last: get_mark(&mut reader)? });
        }
        for _ in 0..reader.count()? {
            let mut episode = get_episode(&mut reader)?;
            if version > PLAIN {
                episode.tops = Arc::new(Tops::get(&mut reader)?);
            }
            image.episodes.push(episode);
        }
    }
    reader.finish()?;
    let mut entries = Vec::with_capacity(events.len());
    let mut events = events.to_vec();
    events.sort_unstable_by_key(|(mark, _)| *mark);
    for (mark, bytes) in events {
        let (is_ahead, fact, sample) = decode_event(bytes)?;
        if !is_ahead && mark.time > image.forgotten {
            entries.push(Entry { time: mark.time, id: mark.id, fact, sample });
        } else if let Some(episode) =
            image.episodes.iter_mut().find(|episode| episode.covers(mark.time, spec))
        {
            episode.keep(mark, sample.as_ref(), spec);
        }
    }
    entries.shrink_to_fit();
    Ok(Group::restore(spec, entries, image))
}

fn decode_event(bytes: &[u8]) -> Result<(bool, Fact, Option<Arc<Sample>>), WireError> {
    let (version, mut reader) = Reader::versions(bytes, VERSION)?;
    let is_ahead = reader.flag()?;
    let has_sample = reader.flag()?;
    let fact = if version == VERSION { reader.unsigned()? } else { 0 };
    let sample = if has_sample { Some(Arc::new(get_fields(&mut reader, version)?)) } else { None };
    reader.finish()?;
    Ok((is_ahead, fact, sample))
}

/// The version that a form needs which holds this fact and this sample, if any.
pub(crate) fn version_of(fact: Fact, sample: Option<&Sample>) -> u8 {
    match sample {
        _ if fact != 0 => VERSION,
        Some(sample) if !sample.values.is_empty() => COUNTED,
        _ => PLAIN,
    }
}

/// The fields of a sample, also within a match record; in the form of [`version_of`].
pub(crate) fn put_fields(writer: &mut Writer, sample: &Sample, version: u8) {
    writer.signed(sample.received);
    writer.bytes(sample.index.as_deref().unwrap_or_default().as_bytes());
    writer.bytes(sample.document_id.as_deref().unwrap_or_default().as_bytes());
    writer.bytes(sample.origin.as_bytes());
    writer.bytes(&sample.body);
    if version > PLAIN {
        put_values(&sample.values, writer);
    }
}

/// See [`put_fields`].
pub(crate) fn get_fields(reader: &mut Reader<'_>, version: u8) -> Result<Sample, WireError> {
    let optional = |text: &str| (!text.is_empty()).then(|| Box::from(text));
    Ok(Sample {
        received: reader.signed()?,
        index: optional(reader.text()?),
        document_id: optional(reader.text()?),
        origin: reader.text()?.into(),
        body: reader.bytes()?.into(),
        values: if version > PLAIN { get_values(reader)? } else { Values::default() },
    })
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
    writer.unsigned(episode.peak);
    writer.unsigned(episode.revision);
    writer.signed(episode.fired_at);
    writer.signed(episode.revised_at);
    writer.flag(episode.changed);
}

fn get_episode(reader: &mut Reader<'_>) -> Result<Episode, WireError> {
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

    use super::{decode_group, encode_event, encode_head};
    use crate::rule::Condition;
    use crate::window::entries::Row;
    use crate::window::episode::Episode;
    use crate::window::group::Group;
    use crate::window::journal::Image;
    use crate::window::{Entry, Kept, Mark, Sample, Spec};
    use crate::wire::hex;

    const AT: i64 = 1_700_000_000_000;

    fn spec() -> Spec {
        Spec {
            timespan_ms: 4,
            kind: crate::rule::Kind::EventCount,
            condition: Condition { gte: Some(2), ..Condition::default() },
            limits: Condition::default(),
            samples: 10,
            revise_ms: 0,
            entries_max: 100,
        }
    }

    fn mark(n: u8) -> Mark {
        Mark { time: AT + i64::from(n), id: EventId::from_bytes([n; 16]) }
    }

    fn sample(body: &str) -> Arc<Sample> {
        Arc::new(Sample {
            received: AT + 7,
            index: Some("vulnerabilities".into()),
            document_id: None,
            origin: "mozdef.raw/3/12345".into(),
            body: body.as_bytes().into(),
            ..Sample::default()
        })
    }

    const MARKS: [u8; 6] = [11, 12, 13, 15, 16, 19];

    /// A group that has everything a group can have: forgotten up to 13; 15 is kept ahead.
    fn group() -> Group {
        let entry = |n, sample| Entry { time: mark(n).time, id: mark(n).id, fact: 0, sample };
        let kept = |n, sample| Kept { mark: mark(n), sample };
        let kept = vec![
            kept(11, Some(sample("{}"))),
            kept(12, Some(sample(""))),
            kept(13, None),
            kept(15, Some(sample("{}"))),
        ];
        let episode = Episode {
            last_hot: AT + 19,
            count: 77,
            first: Some(mark(11)),
            last: Some(mark(13)),
            kept: Arc::new(kept),
            peak: 12,
            revision: 3,
            fired_at: AT + 500,
            revised_at: AT + 600,
            changed: true,
            ..Episode::new(mark(12), AT + 13, 0)
        };
        let rows = vec![Row { count: 4, first: mark(14), last: mark(15) }];
        let (at, forgotten, episodes) = (AT + 17, AT + 13, vec![episode]);
        let image = Image { at, doubles: 0, body_bytes: 0, episodes, rows, approximate: true, forgotten };
        Group::restore(&spec(), vec![entry(16, None), entry(19, Some(sample("{}")))], image)
    }

    /// Head and events, as text.
    fn stored(group: &Group) -> Vec<String> {
        let event = |n: u8| encode_event(group, mark(n)).unwrap();
        std::iter::once(encode_head(group)).chain(MARKS.map(event)).map(|bytes| hex::encode(&bytes)).collect()
    }

    /// The same, of a rule whose summary counts hosts.
    fn counting_group() -> Group {
        let (mut group, hosts) = (group(), |name: &str| [(7, name.into())].into());
        let episode = &mut group.more.as_mut().unwrap().episodes[0];
        Arc::make_mut(&mut episode.tops).add(&hosts("a"), mark(12));
        let kept = &mut Arc::make_mut(&mut episode.kept)[3];
        Arc::make_mut(kept.sample.as_mut().unwrap()).values = hosts("b");
        Arc::make_mut(group.entries[1].sample.as_mut().unwrap()).values = hosts("ü");
        group
    }

    fn read(stored: &[String]) -> Group {
        let stored = stored.iter().map(|text| hex::decode(text)).collect::<Vec<_>>();
        let events = MARKS.iter().zip(&stored[1..]).map(|(&n, bytes)| (mark(n), &bytes[..])).rev();
        decode_group(&stored[0], &events.collect::<Vec<_>>(), &spec()).unwrap()
    }

    /// What one version wrote, the next must read: state lives longer than the program that wrote it. A new form is a
    /// new version with a file of its own; this file stays for ever: a head, then an event a line.
    #[test]
    fn version_1_stays_readable() {
        check_golden(include_str!("../../test-data/window/v1.hex"), &group());
    }

    #[test]
    fn version_2_stays_readable() {
        check_golden(include_str!("../../test-data/window/v2.hex"), &counting_group());
    }

    #[track_caller]
    fn check_golden(golden: &str, group: &Group) {
        let golden = golden.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(stored(group), golden);
        assert_eq!(format!("{:?}", read(&golden)), format!("{group:?}"));
    }

    #[test]
    fn an_event_that_the_group_has_not_is_told() {
        assert!(encode_event(&group(), mark(14)).is_none());
        assert!(encode_event(&Group::new(0), mark(14)).is_none());
    }

    #[test]
    fn broken_bytes_are_refused() {
        let whole = encode_head(&group());
        for length in 0..whole.len() {
            assert!(decode_group(&whole[..length], &[], &spec()).is_err(), "{length}");
        }
        let event = encode_event(&group(), mark(19)).unwrap();
        for length in 0..event.len() {
            assert!(decode_group(&whole, &[(mark(19), &event[..length])], &spec()).is_err(), "{length}");
        }
        let newer = [&[3], &whole[1..]].concat();
        assert!(decode_group(&newer, &[], &spec()).unwrap_err().to_string().contains("version 3"));
        let lie = [1, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(decode_group(&lie, &[], &spec()).is_err());
    }
}
