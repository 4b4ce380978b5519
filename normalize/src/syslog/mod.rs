//! Syslog lines: RFC 5424, RFC 3164 with what devices really send, lines of
//! log files without a priority, and text that is no syslog at all; with CEF,
//! LEEF or JSON in the place of text.
//!
//! In: one message, already cut out of its frame. Out: a [`Message`], and
//! normal form of it. Never: an error; what cannot be told apart stays in the
//! message's text.

mod latin1;
mod normal_form;
mod payload;
mod rfc3164;
mod rfc5424;
mod severity;
mod stamp;

use std::borrow::Cow;

use model::time::Timestamp;

use crate::dates::Reference;

pub use self::latin1::read_text;
pub use self::normal_form::{Filling, write};
pub use self::payload::{Family, Payload, Report};

/// A syslog message, in pieces of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'l> {
    /// Facility · 8 + severity, 0 to 191.
    pub priority: Option<u8>,
    /// A priority that is none, such as `999`.
    pub odd_priority: Option<&'l str>,
    /// How much of the line was as a standard says.
    pub shape: Shape,
    /// When the sender says it happened.
    pub time: Option<Timestamp>,
    /// Who says so.
    pub hostname: Option<&'l str>,
    /// Program, app-name or tag, as it stands.
    pub program: Option<&'l str>,
    /// Process id: mostly digits.
    pub process_id: Option<&'l str>,
    /// RFC 5424's message id.
    pub message_id: Option<&'l str>,
    /// A severity that stands as a word in the line, upper-cased.
    pub severity_word: Option<&'static str>,
    /// RFC 5424's structured data, in order; values unescaped.
    pub elements: Vec<Element<'l>>,
    /// The same as it stands in the line.
    pub data: &'l str,
    /// The rest.
    pub text: &'l str,
    /// What the text holds, where it is of a known format.
    pub payload: Option<Payload<'l>>,
    /// What of the text stands before the payload.
    pub before_payload: &'l str,
}

/// An element of structured data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'l> {
    /// Its id, such as `origin` or `junos@2636.1.1.1.2.26`.
    pub id: &'l str,
    /// Names and values; a name may stand more than once.
    pub parameters: Vec<(&'l str, Cow<'l, str>)>,
}

/// What a line follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// RFC 5424, to the letter.
    Rfc5424,
    /// RFC 5424's fields, but not to the letter.
    NearRfc5424,
    /// A stamp or a priority, then what RFC 3164 tells of.
    Rfc3164,
    /// Neither priority nor stamp.
    #[default]
    Text,
}

/// Reads a line. Ends of line, NULs and a byte order mark around it are no part of it.
pub fn parse<'l>(line: &'l str, reference: Reference) -> Message<'l> {
    let line = line.trim_start_matches(['\u{feff}', '\n', '\r', '\0']).trim_end_matches(['\n', '\r', '\0']);
    let line = without_octet_count(line);
    let (priority, odd_priority, rest) = match take_priority(line) {
        Some((Priority::Known(priority), rest)) => (Some(priority), None, rest),
        Some((Priority::Odd(digits), rest)) => (None, Some(digits), rest),
        None => (None, None, line),
    };
    let rest = rest.trim_start_matches('\u{feff}');
    // What stands behind an odd priority is a header all the same.
    let read_as = priority.or(odd_priority.map(|_| 0));
    let message =
        rfc5424::parse(rest, read_as, reference).unwrap_or_else(|| rfc3164::parse(rest, read_as, reference));
    let mut message = Message { priority, odd_priority, ..message };
    payload::attach(&mut message);
    message
}

/// `123 <34>…`: a frame's length that was left on the line.
fn without_octet_count(line: &str) -> &str {
    let after_digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match after_digits.strip_prefix(' ') {
        Some(rest) if after_digits.len() < line.len() && take_priority(rest).is_some() => rest,
        _ => line,
    }
}

/// A number in angle brackets at the front.
enum Priority<'l> {
    /// 0 to 191.
    Known(u8),
    /// Above, or longer.
    Odd(&'l str),
}

/// `<0>` to `<191>`, and numbers that are no priority.
fn take_priority(line: &str) -> Option<(Priority<'_>, &str)> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    if !(1..=10).contains(&digits.len()) || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let known = digits.parse().ok().filter(|priority| *priority <= 191 && digits.len() <= 3);
    Some((known.map_or(Priority::Odd(digits), Priority::Known), rest))
}

#[cfg(test)]
mod tests;
