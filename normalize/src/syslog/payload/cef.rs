//! ArcSight's Common Event Format: `0|vendor|product|version|id|name|severity|key=value key=value`.
//!
//! In: the text after `CEF:`. Out: a report, or that its header breaks off.
//! Never: a value lost: what stands before the first key is kept.

use std::borrow::Cow;

use super::report::{FIELDS_MAX, Family, Report};
use super::{Payload, header_field};

/// Reads a whole message.
pub(super) fn parse(body: &str) -> Payload<'_> {
    let mut rest = Some(body);
    let mut next = || -> Option<Cow<'_, str>> {
        let (field, after) = header_field(rest?);
        rest = after;
        Some(field)
    };
    let (Some(version), Some(vendor), Some(product), Some(device_version), Some(id), Some(name)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return Payload::Broken(Family::Cef);
    };
    let severity = next();
    let (loose, fields) = rest.map_or(("", Vec::new()), extension);
    Payload::Report(Report {
        family: Family::Cef,
        version,
        vendor,
        product,
        device_version,
        id,
        name: Some(name),
        severity: severity.filter(|severity| !severity.is_empty()),
        fields,
        loose,
    })
}

/// `key=value` pairs with spaces between; values hold spaces too. Gives what stands before the first key, and the pairs.
pub(super) fn extension(text: &str) -> (&str, Vec<(&str, Cow<'_, str>)>) {
    let bytes = text.as_bytes();
    let mut fields: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut loose = "";
    // The key whose value is being looked for, and where that value begins.
    let mut open: Option<(&str, usize)> = None;
    for equals in memchr::memchr_iter(b'=', bytes) {
        let Some(start) = key_start(bytes, equals) else { continue };
        if fields.len() + 1 >= FIELDS_MAX {
            break;
        }
        let (Some(key), value_start) = (text.get(start..equals), equals + 1) else { continue };
        match open.replace((key, value_start)) {
            Some((known, from)) => fields.push((known, value(text.get(from..start).unwrap_or_default()))),
            None => loose = text.get(..start).unwrap_or_default().trim(),
        }
    }
    match open {
        Some((key, from)) => fields.push((key, value(text.get(from..).unwrap_or_default()))),
        None => loose = text.trim(),
    }
    (loose, fields)
}

/// Where the key in front of an equals sign begins: after a blank or at the very front; `None` when there is no key.
fn key_start(bytes: &[u8], equals: usize) -> Option<usize> {
    let before = bytes.get(..equals)?;
    let is_key = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b',' | b'[' | b']');
    let length = before.iter().rev().take_while(|c| is_key(c)).count();
    let start = equals - length;
    let first = before.get(start)?;
    let apart = start == 0 || before.get(start - 1).is_some_and(u8::is_ascii_whitespace);
    (apart && (first.is_ascii_alphanumeric() || *first == b'_')).then_some(start)
}

/// A value without the blanks around it. `\=`, `\\`, `\|`, `\n` and `\r` are escapes; any other backslash is itself.
fn value(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if !text.contains('\\') {
        return text.into();
    }
    let lines = !is_bare_path(text);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let meant = match (c, chars.peek()) {
            ('\\', Some('n')) if lines => Some('\n'),
            ('\\', Some('r')) if lines => Some('\r'),
            ('\\', Some(escaped @ ('=' | '\\' | '|'))) => Some(*escaped),
            _ => None,
        };
        if meant.is_some() {
            chars.next();
        }
        out.push(meant.unwrap_or(c));
    }
    out.into()
}

/// `C:\new`: many senders do not escape the backslashes of paths, so that no line ends are meant.
fn is_bare_path(text: &str) -> bool {
    text.match_indices(":\\").any(|(at, sign)| {
        text.get(at + sign.len()..).is_some_and(|rest| !rest.starts_with('\\') && !rest.is_empty())
    })
}
