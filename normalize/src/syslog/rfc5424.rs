//! RFC 5424: `<PRI>VERSION TIMESTAMP HOST APP PROCID MSGID SD MSG`.
//!
//! In: the line after its priority. Out: a message, to the letter or nearly;
//! `None` where the fields are not there. Near is: another stamp, names that
//! are too long, no version, no message after the header.

use std::borrow::Cow;

use model::time::Timestamp;

use super::{Element, Message, Shape, stamp};
use crate::dates::Reference;

/// Most elements and parameters that are read; no sender needs more.
const PARTS_MAX: usize = 1000;

/// Reads the fields; `None` when the line has another form.
pub(super) fn parse<'l>(line: &'l str, priority: Option<u8>, reference: Reference) -> Option<Message<'l>> {
    let (version, after_version) = match take_version(line) {
        Some(rest) => (true, rest),
        None => (false, line.trim_start_matches(' ')),
    };
    let mut exact = version && priority.is_some();
    let (time, rest) = take_time(after_version, &mut exact, reference)?;
    let mut fields = Fields { rest, exact };
    let hostname = fields.next(255)?;
    let program = fields.next(48)?;
    let process_id = fields.next(128)?;
    let message_id = fields.next(32)?;
    let (data, rest) = take_data(fields.rest)?;
    exact = fields.exact && data.exact;
    let data_text = fields.rest.strip_suffix(rest).filter(|_| !data.elements.is_empty());
    let text = match rest.strip_prefix(' ') {
        Some(text) => text,
        None if rest.is_empty() => rest,
        None => return None,
    };
    if !exact && !is_near(program, &data.elements, version, fields.rest) {
        return None;
    }
    let given = |field: &'l str| (field != "-").then_some(field);
    Some(Message {
        priority,
        shape: if exact { Shape::Rfc5424 } else { Shape::NearRfc5424 },
        time,
        hostname: given(hostname),
        program: given(program),
        process_id: given(process_id),
        message_id: given(message_id),
        severity_word: None,
        elements: data.elements,
        data: data_text.unwrap_or_default(),
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        ..Message::default()
    })
}

/// Without a version the same words could be RFC 3164's, so that more has to speak for this one.
fn is_near(program: &str, elements: &[Element<'_>], version: bool, data: &str) -> bool {
    let tag = program.ends_with(':') || program.contains('[');
    !tag && (version || !elements.is_empty() || data.starts_with("- ") || data == "-")
}

/// `1 ` to `999 `.
fn take_version(line: &str) -> Option<&str> {
    let (digits, rest) = line.split_once(' ')?;
    let number = (1..=3).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    (number && !digits.starts_with('0')).then_some(rest)
}

/// `-`, or a stamp followed by a space.
fn take_time<'l>(
    line: &'l str,
    exact: &mut bool,
    reference: Reference,
) -> Option<(Option<Timestamp>, &'l str)> {
    if let Some(rest) = line.strip_prefix("- ") {
        return exact.then_some((None, rest));
    }
    let taken = stamp::take_iso(line, reference)
        .or_else(|| stamp::take_epoch(line).map(|(t, _)| (t, after_token(line))));
    let (time, rest) = taken?;
    let rest = rest.strip_prefix(' ')?;
    let token = line.split(' ').next().unwrap_or_default();
    *exact &= is_exact_stamp(token);
    Some((Some(time), rest))
}

fn after_token(line: &str) -> &str {
    line.find(' ').and_then(|end| line.get(end..)).unwrap_or_default()
}

/// Capital `T` and `Z`, a zone, at most six digits of fraction.
fn is_exact_stamp(token: &str) -> bool {
    let Some(("T", after)) = token.get(10..11).zip(token.get(19..)) else { return false };
    let zone = match after.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=6).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        None => after,
    };
    let offset = zone.starts_with(['+', '-']) && zone.len() == 6 && zone.as_bytes().get(3) == Some(&b':');
    zone == "Z" || offset
}

struct Fields<'l> {
    rest: &'l str,
    exact: bool,
}

impl<'l> Fields<'l> {
    /// Printable ASCII up to a space. A longer field than `limit` is taken, but is not to the letter.
    fn next(&mut self, limit: usize) -> Option<&'l str> {
        let (field, rest) = self.rest.split_once(' ')?;
        if field.is_empty() || field.len() > 1024 {
            return None;
        }
        self.exact &= field.len() <= limit && field.bytes().all(|c| c.is_ascii_graphic());
        self.rest = rest;
        Some(field)
    }
}

/// Structured data while it is read.
#[derive(Default)]
struct Data<'l> {
    elements: Vec<Element<'l>>,
    parts: usize,
    /// Ids stand once, and only what must be escaped is.
    exact: bool,
}

/// `-`, or elements in brackets; then the rest.
fn take_data(line: &str) -> Option<(Data<'_>, &str)> {
    let mut data = Data { exact: true, ..Data::default() };
    if let Some(rest) = line.strip_prefix('-') {
        return Some((data, rest));
    }
    let mut rest = line;
    while let Some(inside) = rest.strip_prefix('[') {
        rest = data.element(inside)?;
    }
    (!data.elements.is_empty()).then_some((data, rest))
}

impl<'l> Data<'l> {
    /// One element after its bracket; what follows it.
    fn element(&mut self, inside: &'l str) -> Option<&'l str> {
        let (id, mut rest) = take_name(inside)?;
        self.exact &= self.elements.iter().all(|known| known.id != id);
        let mut parameters = Vec::new();
        loop {
            self.parts += 1;
            if let Some(after) = rest.strip_prefix(']') {
                self.elements.push(Element { id, parameters });
                return Some(after);
            }
            let (name, after) = take_name(rest.strip_prefix(' ')?)?;
            let (value, after) = self.value(after.strip_prefix("=\"")?)?;
            if self.parts > PARTS_MAX {
                return None;
            }
            parameters.push((name, value));
            rest = after;
        }
    }

    /// A value up to its quote. `\"`, `\\` and `\]` are escapes; any other backslash is itself.
    fn value(&mut self, text: &'l str) -> Option<(Cow<'l, str>, &'l str)> {
        let end = text.find(['"', '\\', ']'])?;
        if text.as_bytes().get(end) == Some(&b'"') {
            return Some((Cow::Borrowed(text.get(..end)?), text.get(end + 1..)?));
        }
        let mut value = String::new();
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((Cow::Owned(value), text.get(at + 1..)?)),
                // The standard wants it escaped.
                ']' => return None,
                '\\' => match chars.next_if(|(_, escaped)| matches!(escaped, '"' | '\\' | ']')) {
                    Some((_, escaped)) => value.push(escaped),
                    None => {
                        self.exact = false;
                        value.push('\\');
                    }
                },
                _ => value.push(c),
            }
        }
        None
    }
}

/// Up to 32 printable ASCII letters without `=`, `]`, `"`.
fn take_name(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: u8| c.is_ascii_graphic() && !matches!(c, b'=' | b']' | b'"');
    let length = text.bytes().take_while(|c| is_name(*c)).count();
    if (1..=32).contains(&length) { text.split_at_checked(length) } else { None }
}
