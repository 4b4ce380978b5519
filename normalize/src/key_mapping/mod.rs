//! What senders call a field, and what it is called in normal form. Keys
//! lose their `@` and are lower-cased; of several keys for one field the last
//! wins; what no rule knows goes into `details`, so that nothing is lost.
//!
//! In: an event as it came. Out: normal form, before the plugins. Never: a
//! dropped event: what cannot be converted stays as text, with a remark.

mod cloudtrail;
mod convert;
mod field;
pub(crate) mod queue;

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Object, Path, Value};
use model::time::Timestamp;

use crate::dates::{self, Reference};
use crate::key_mapping::convert::text_of;
use crate::key_mapping::field::Field;
use crate::marks::{Kind, Marks, excerpt};

/// Whose names are mapped: the original had a mapping for each of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// HTTP and AMQP: every name that is known.
    EventTask,
    /// SQS: fewer names; facility is a source; tags as they are.
    Sqs,
    /// Papertrail: as SQS.
    Papertrail,
    /// Records of CloudTrail's own.
    CloudTrail,
    /// Messages of SNS: names as they are written, what is unknown under its own name.
    Sns,
    /// What is around a finding of GuardDuty.
    GuardDuty,
}

impl Mapping {
    /// Whether `details.x` is the detail x.
    const fn knows_dotted_names(self) -> bool {
        matches!(self, Mapping::EventTask | Mapping::Sqs | Mapping::Papertrail)
    }

    /// Whether keys are cleaned before they are looked up.
    const fn cleans_names(self) -> bool {
        !matches!(self, Mapping::Sns | Mapping::GuardDuty)
    }
}

/// What the mapping knows beside the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What dates are read against.
    pub reference: Reference,
    /// The time of receipt as text.
    pub received: &'a str,
    /// Name of this MozDef instance.
    pub hostname: &'a str,
    /// Name of the queue that brought the event, for mappings that tag it.
    pub queue: Option<&'a str>,
}

/// Maps events; its memory is reused from one to the next.
#[derive(Debug, Default)]
pub struct Mapper {
    /// Cleaned keys of the members in `unknown`, one after the other.
    names: String,
    text: String,
    /// Members of the input that go into details as they are: number, and where the cleaned key ends in `names`.
    unknown: Vec<(usize, usize)>,
    /// The event's own time, when one was readable.
    time: Option<Timestamp>,
}

/// Where a member of the input went.
enum Kept {
    /// Its field has it, or it says nothing.
    Mapped,
    /// Into details, once all fields are written.
    AsItIs,
}

impl Mapper {
    /// Writes the normal form of `input` into `output`, which is empty. An error means that the result is too large.
    pub fn map(
        &mut self,
        mapping: Mapping,
        input: &Event,
        output: &mut Event,
        context: Context<'_>,
        marks: &mut Marks,
    ) -> Result<(), EditError> {
        self.unknown.clear();
        self.names.clear();
        self.time = None;
        output.set_member("receivedtimestamp", context.received)?;
        output.set_member("mozdefhostname", context.hostname)?;
        output.set_member("details", New::EmptyObject)?;
        match mapping {
            Mapping::CloudTrail => cloudtrail::prepare(input.root(), output, context.queue)?,
            Mapping::Sns => queue::prepare(output, context.queue)?,
            Mapping::GuardDuty => {
                output.set_member("source", "guardduty")?;
                queue::prepare(output, context.queue)?;
            }
            Mapping::EventTask | Mapping::Sqs | Mapping::Papertrail => {}
        }
        let has_summary = input.member("summary").is_some();
        for (number, (key, value)) in input.root().iter().enumerate() {
            let mut names = std::mem::take(&mut self.names);
            let start = names.len();
            if mapping.cleans_names() {
                clean_key(key, &mut names);
            } else {
                names.push_str(key);
            }
            let name = names.get(start..).unwrap_or_default();
            let field = field::of(mapping, name);
            let kept = self.field(field, name, value, has_summary, context.reference, output, marks);
            if matches!(kept, Ok(Kept::AsItIs)) {
                self.unknown.push((number, names.len()));
            } else {
                names.truncate(start);
            }
            self.names = names;
            kept?;
        }
        self.unknown_into_details(input.root(), output)?;
        self.finish(mapping, output, context)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call; a struct of borrows would only rename the arguments"
    )]
    fn field(
        &mut self,
        field: Field,
        name: &str,
        value: Value<'_>,
        has_summary: bool,
        reference: Reference,
        output: &mut Event,
        marks: &mut Marks,
    ) -> Result<Kept, EditError> {
        let written = match field {
            Field::Unknown => return Ok(Kept::AsItIs),
            Field::Time => return Ok(self.time(name, value, reference, marks)),
            Field::Ignored => Ok(()),
            Field::Text(member) => self.text_member(member, value, output),
            Field::Raw(member) => raw_member(member, value, output),
            Field::Payload if has_summary => match text_of(value, &mut self.text) {
                Some(text) => output.set_in("details", "payload", text),
                None => Ok(()),
            },
            Field::Payload => self.text_member("summary", value, output),
            Field::Facility => {
                raw_member("source", value, output)?;
                self.text_member("facility", value, output)
            }
            Field::Severity => match text_of(value, &mut self.text) {
                Some(text) if text.bytes().any(|c| c.is_ascii_lowercase() || !c.is_ascii()) => {
                    output.set_member("severity", &text.to_uppercase())
                }
                Some(text) => output.set_member("severity", text),
                None => Ok(()),
            },
            Field::BareProcessId => match text_of(value, &mut self.text) {
                Some(text) => output.set_member("processid", &text.replace(['[', ']'], "")),
                None => Ok(()),
            },
            Field::BareSummary => match text_of(value, &mut self.text) {
                Some(text) => output.set_member("summary", text.trim_start()),
                None => Ok(()),
            },
            Field::Tags => convert::append_tags(value, &mut self.text, output, marks),
            Field::TagsAsGiven => convert::replace_tags(value, &mut self.text, output, marks),
            Field::Details => details(value, output),
            Field::Detail(member) => raw_detail(member, value, output),
            Field::DetailOfName => {
                let suffix = field::detail_suffix(name).unwrap_or(name);
                convert::detail_by_suffix(suffix, value, &mut self.text, output, marks)
            }
            Field::CloudTrailCategory => {
                output.set_member("type", "cloudtrail")?;
                self.text_member("category", value, output)
            }
            Field::CloudTrailName => cloudtrail::event_name(value, &mut self.text, output),
        };
        written.map(|()| Kept::Mapped)
    }

    fn text_member(&mut self, member: &str, value: Value<'_>, output: &mut Event) -> Result<(), EditError> {
        match text_of(value, &mut self.text) {
            Some(text) => output.set_member(member, text),
            None => Ok(()),
        }
    }

    fn time(&mut self, name: &str, value: Value<'_>, reference: Reference, marks: &mut Marks) -> Kept {
        if let Some(time) = dates::to_utc(value, reference) {
            self.time = Some(time);
            return Kept::Mapped;
        }
        let shown = text_of(value, &mut self.text).unwrap_or("null");
        let (name, shown) = (excerpt(name), excerpt(shown));
        marks.add(Kind::Time, format!("key mapping: {name} is no full date, kept as text: {shown}"));
        if value.is_null() { Kept::Mapped } else { Kept::AsItIs }
    }

    /// Unless details had the key already; of two unknown keys that become equal the later wins.
    fn unknown_into_details(&mut self, input: Object<'_>, output: &mut Event) -> Result<(), EditError> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let stated = output.member("details").and_then(Value::as_object).map_or(0, Object::len);
        let mut wanted = self.unknown.iter().copied().peekable();
        let mut start = 0;
        for (number, (_, value)) in input.iter().enumerate() {
            let Some((_, end)) = wanted.next_if(|(next, _)| *next == number) else { continue };
            let name = self.names.get(start..end).unwrap_or_default();
            start = end;
            let there = stated > 0
                && output
                    .member("details")
                    .and_then(Value::as_object)
                    .is_some_and(|details| details.iter().take(stated).any(|(known, _)| known == name));
            if !there {
                output.set_in("details", name, value)?;
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        mapping: Mapping,
        output: &mut Event,
        context: Context<'_>,
    ) -> Result<(), EditError> {
        match self.time {
            Some(time) => {
                self.text.clear();
                write_time(time, &mut self.text);
                output.set_member("utctimestamp", &self.text)?;
                output.set_member("timestamp", &self.text)?;
            }
            None => output.set_member("utctimestamp", context.received)?,
        }
        if mapping != Mapping::CloudTrail {
            output.set_member("type", "event")?;
        }
        Ok(())
    }
}

/// Appends the key as rules see it: without `@`, lower-cased.
fn clean_key(key: &str, out: &mut String) {
    if key.bytes().all(|c| c.is_ascii() && c != b'@') {
        let start = out.len();
        out.push_str(key);
        if let Some(name) = out.get_mut(start..) {
            name.make_ascii_lowercase();
        }
    } else {
        out.extend(key.chars().filter(|c| *c != '@').flat_map(char::to_lowercase));
    }
}

/// Appends an instant as its `Display` writes it, without the machinery of formatting: every event has two.
pub(crate) fn write_time(time: Timestamp, out: &mut String) {
    let (year, month, day) = time.civil_date();
    let in_day = time.micros().rem_euclid(86_400_000_000);
    let (seconds, micros) = (in_day / 1_000_000, in_day % 1_000_000);
    let parts = [
        (i64::from(year), 4, '-'),
        (i64::from(month), 2, '-'),
        (i64::from(day), 2, 'T'),
        (seconds / 3600, 2, ':'),
        (seconds / 60 % 60, 2, ':'),
        (seconds % 60, 2, if micros == 0 { '+' } else { '.' }),
    ];
    for (number, digits, after) in parts {
        push_digits(number, digits, out);
        out.push(after);
    }
    if micros != 0 {
        push_digits(micros, 6, out);
        out.push('+');
    }
    out.push_str("00:00");
}

/// The last `digits` decimal digits of a number that is not negative.
fn push_digits(number: i64, digits: u32, out: &mut String) {
    for place in (0..digits).rev() {
        let digit = u8::try_from(number / 10_i64.pow(place) % 10).unwrap_or_default();
        out.push(char::from(b'0' + digit));
    }
}

fn raw_member(member: &str, value: Value<'_>, output: &mut Event) -> Result<(), EditError> {
    if value.is_null() { Ok(()) } else { output.set_member(member, value) }
}

fn raw_detail(member: &str, value: Value<'_>, output: &mut Event) -> Result<(), EditError> {
    if value.is_null() { Ok(()) } else { output.set_in("details", member, value) }
}

/// An object's members are copied as they are; anything else is the details' message.
fn details(value: Value<'_>, output: &mut Event) -> Result<(), EditError> {
    static DETAILS: LazyLock<Path> = LazyLock::new(|| Path::new("details"));
    let Value::Object(object) = value else { return raw_detail("message", value, output) };
    let untouched = output.member("details").and_then(Value::as_object).is_none_or(Object::is_empty);
    if untouched {
        return output.set(&DETAILS, value);
    }
    object.iter().try_for_each(|(key, member)| output.set_in("details", key, member))
}

#[cfg(test)]
mod tests;
