//! Syslog lines: RFC 5424, RFC 3164 with what devices really send, lines of
//! log files without a priority, and text that is no syslog at all.
//!
//! In: one message, already cut out of its frame. Out: a [`Message`], and
//! normal form of it. Never: an error; what cannot be told apart stays in the
//! message's text.

mod normal_form;
mod rfc3164;
mod rfc5424;
mod severity;
mod stamp;

use std::borrow::Cow;

use model::time::Timestamp;

use crate::dates::Reference;

pub use self::normal_form::write;

/// A syslog message, in pieces of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'l> {
    /// Facility · 8 + severity, 0 to 191.
    pub priority: Option<u8>,
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
    let line = line.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r', '\0']);
    let line = without_octet_count(line);
    let (priority, rest) = match take_priority(line) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, line),
    };
    let rest = rest.trim_start_matches('\u{feff}');
    if let Some(message) = rfc5424::parse(rest, priority, reference) {
        return message;
    }
    rfc3164::parse(rest, priority, reference)
}

/// `123 <34>…`: a frame's length that was left on the line.
fn without_octet_count(line: &str) -> &str {
    let after_digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match after_digits.strip_prefix(' ') {
        Some(rest) if after_digits.len() < line.len() && take_priority(rest).is_some() => rest,
        _ => line,
    }
}

/// `<0>` to `<191>`.
fn take_priority(line: &str) -> Option<(u8, &str)> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    let plausible = (1..=3).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    let priority: u8 = digits.parse().ok().filter(|_| plausible)?;
    (priority <= 191).then_some((priority, rest))
}

#[cfg(test)]
mod tests;
