//! How often values of an event's fields occur in an episode.
//!
//! In: values of the fields that a rule's summary counts. Out: each value
//! with its count and first event. Never: more than [`VALUES_MAX`] values of
//! a field: as long as there are no more, the counts are exact and the same in
//! whatever order the events come; then the rarest value makes room for the
//! new one, whose count begins where the other's ended, and the whole is
//! approximate.

use model::event::{Event, Value};

use crate::group_key;
use crate::rule::GroupField;
use crate::window::Mark;
use crate::wire::{Reader, WireError, Writer};

/// Most values of one field that are told apart.
pub const VALUES_MAX: usize = 128;

/// Longest value, in bytes.
const VALUE_BYTES_MAX: usize = 128;

/// A field by the digest of its name: a summary may change while counts are kept.
pub type FieldId = u32;

/// The values of one event.
pub type Values = Box<[(FieldId, Box<str>)]>;

/// The id of a field's name.
pub fn field_id(name: &str) -> FieldId {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes().first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// What an event has in these fields.
pub fn values(event: &Event, fields: &[GroupField]) -> Values {
    let of = |field: &GroupField| {
        let value = group_key::first_value(event, field)?;
        let text = match value {
            Value::String(text) | Value::Number(text) => cut(text).into(),
            other => cut(&other.to_json()).into(),
        };
        Some((field_id(&field.name), text))
    };
    fields.iter().filter_map(of).collect()
}

fn cut(text: &str) -> &str {
    let end = (0..=VALUE_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// One value of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its field.
    pub field: FieldId,
    /// The value as text.
    pub value: Box<str>,
    /// Events that have it.
    pub count: u64,
    /// The first of them.
    pub first: Mark,
}

/// The counts of an episode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tops {
    /// Sorted by field and value.
    counts: Vec<Counted>,
    is_approximate: bool,
}

impl Tops {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether there were too many values.
    pub fn is_approximate(&self) -> bool {
        self.is_approximate
    }

    /// The values of a field, the most frequent first; equals by their first events.
    pub fn of(&self, field: FieldId) -> Vec<&Counted> {
        let mut counts = self.counts.iter().filter(|one| one.field == field).collect::<Vec<_>>();
        counts.sort_by_key(|one| (std::cmp::Reverse(one.count), one.first));
        counts
    }

    /// Counts an event.
    pub fn add(&mut self, values: &Values, mark: Mark) {
        for (field, value) in values {
            self.count(*field, value, 1, mark);
        }
    }

    /// Adds other counts.
    pub fn join(&mut self, other: &Tops) {
        self.is_approximate |= other.is_approximate;
        for one in &other.counts {
            self.count(one.field, &one.value, one.count, one.first);
        }
    }

    fn count(&mut self, field: FieldId, value: &str, count: u64, first: Mark) {
        let at = self.counts.binary_search_by(|one| (one.field, &*one.value).cmp(&(field, value)));
        match at.map(|at| self.counts.get_mut(at)) {
            Ok(Some(one)) => {
                one.count = one.count.saturating_add(count);
                one.first = one.first.min(first);
            }
            Ok(None) => {}
            Err(at) => {
                let floor = self.make_room(field);
                let at = at.min(self.counts.len());
                let count = count.saturating_add(floor);
                self.counts.insert(at, Counted { field, value: value.into(), count, first });
                if floor > 0 {
                    // What left may have stood before the place that was found.
                    self.counts.sort_by(|a, b| (a.field, &*a.value).cmp(&(b.field, &*b.value)));
                }
            }
        }
    }

    /// The rarest value leaves when there are too many; returns its count.
    fn make_room(&mut self, field: FieldId) -> u64 {
        let of_field = self.counts.iter().enumerate().filter(|(_, one)| one.field == field);
        if of_field.clone().count() < VALUES_MAX {
            return 0;
        }
        self.is_approximate = true;
        let rarest = of_field.min_by_key(|(_, one)| (one.count, std::cmp::Reverse(one.first)));
        rarest.map(|(at, _)| at).map_or(0, |at| self.counts.remove(at).count)
    }

    /// Writes the counts.
    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.flag(self.is_approximate);
        writer.count(self.counts.len());
        for one in &self.counts {
            writer.unsigned(u64::from(one.field));
            writer.bytes(one.value.as_bytes());
            writer.unsigned(one.count);
            writer.signed(one.first.time);
            writer.id(one.first.id);
        }
    }

    /// Reads the counts.
    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Tops, WireError> {
        let is_approximate = reader.flag()?;
        let mut tops = Tops { counts: Vec::new(), is_approximate };
        for _ in 0..reader.count()? {
            let (field, value, count) = (reader.narrow()?, reader.text()?, reader.unsigned()?);
            let first = Mark { time: reader.signed()?, id: reader.id()? };
            tops.count(field, value, count, first);
        }
        Ok(tops)
    }
}

/// Writes the values of an event.
pub(crate) fn put_values(values: &Values, writer: &mut Writer) {
    writer.count(values.len());
    for (field, value) in values {
        writer.unsigned(u64::from(*field));
        writer.bytes(value.as_bytes());
    }
}

/// Reads the values of an event.
pub(crate) fn get_values(reader: &mut Reader<'_>) -> Result<Values, WireError> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((reader.narrow()?, reader.text()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use model::event::{Event, Path};
    use model::ids::EventId;

    use super::{Tops, VALUES_MAX, Values, field_id, values};
    use crate::rule::GroupField;
    use crate::window::Mark;
    use crate::wire::{Reader, Writer};

    fn mark(n: u8) -> Mark {
        Mark { time: i64::from(n), id: EventId::from_bytes([n; 16]) }
    }

    fn host(name: &str) -> Values {
        [(field_id("hostname"), name.into())].into()
    }

    fn shown(tops: &Tops) -> String {
        let show = |one: &&super::Counted| format!("{} {}", one.value, one.count);
        tops.of(field_id("hostname")).iter().map(show).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn counts_are_the_same_in_any_order_and_in_parts() {
        let events = [(1, "b"), (2, "a"), (3, "b"), (4, "c"), (5, "a"), (6, "d")];
        let count = |order: &[usize]| {
            let mut tops = Tops::default();
            order.iter().for_each(|n| tops.add(&host(events[*n].1), mark(events[*n].0)));
            tops
        };
        let whole = count(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(shown(&whole), "b 2, a 2, c 1, d 1");
        assert_eq!(count(&[5, 3, 1, 0, 4, 2]), whole);
        let mut joined = count(&[4, 0]);
        joined.join(&count(&[3, 5, 2, 1]));
        assert_eq!(joined, whole);
        assert!(!whole.is_approximate());
    }

    #[test]
    fn too_many_values_stay_bounded_and_say_so() {
        let mut tops = Tops::default();
        for n in 0..10_000_u32 {
            tops.add(&host(&format!("h{n}")), mark(1));
            tops.add(&host("often"), mark(2));
        }
        assert!(tops.is_approximate());
        let hosts = tops.of(field_id("hostname"));
        assert_eq!((hosts.len(), &*hosts[0].value, hosts[0].count), (VALUES_MAX, "often", 10_000));
    }

    #[test]
    fn values_and_counts_read_back() {
        let mut tops = Tops::default();
        tops.add(&host("b"), mark(7));
        tops.add(&[(5, "é".into()), (u32::MAX, "".into())].into(), mark(9));
        let mut writer = Writer::bare();
        tops.put(&mut writer);
        super::put_values(&host("x"), &mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::bare(&bytes);
        assert_eq!(Tops::get(&mut reader), Ok(tops));
        assert_eq!(super::get_values(&mut reader), Ok(host("x")));
        for length in 0..bytes.len() {
            let mut reader = Reader::bare(&bytes[..length]);
            assert!(Tops::get(&mut reader).is_err() || super::get_values(&mut reader).is_err(), "{length}");
        }
    }

    #[test]
    fn an_event_gives_texts_of_bounded_length() {
        let field = |name: &str| GroupField { name: name.to_owned(), paths: vec![Path::new(name)] };
        let json = format!(r#"{{"a":"{}","b":{{"c":[1,true]}},"d":null,"e":1.50}}"#, "ü".repeat(100));
        let event = Event::from_json(&json).unwrap();
        let found = values(&event, &["a", "b.c", "d", "e", "f"].map(field));
        let texts = found.iter().map(|(_, text)| &**text).collect::<Vec<_>>();
        assert_eq!(texts, [&*"ü".repeat(64), "[1,true]", "1.50"]);
    }
}
