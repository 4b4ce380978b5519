//! IBM's Log Event Extended Format: `1.0|vendor|product|version|id|key=value<TAB>key=value`; version 2.0 may name
//! another delimiter before the pairs.
//!
//! In: the text after `LEEF:`. Out: a report, or that its header breaks off.
//! Never: pairs lost because a relay rewrote the tabs.

use std::borrow::Cow;

use super::report::{FIELDS_MAX, Family, Report};
use super::{Payload, cef, header_field};

/// How rsyslog writes a tab that it has received.
const ESCAPED_TAB: &str = "#011";

/// Reads a whole message.
pub(super) fn parse(body: &str) -> Payload<'_> {
    let mut rest = Some(body);
    let mut next = || -> Option<Cow<'_, str>> {
        let (field, after) = header_field(rest?);
        rest = after;
        Some(field)
    };
    let (Some(version), Some(vendor), Some(product), Some(device_version), Some(id)) =
        (next(), next(), next(), next(), next())
    else {
        return Payload::Broken(Family::Leef);
    };
    let Some(rest) = rest else { return Payload::Broken(Family::Leef) };
    let (named, attributes) = if version.starts_with('2') { delimiter(rest) } else { (None, rest) };
    let (loose, fields) = match named {
        Some(delimiter) => split(attributes, |text| text.split(delimiter).collect()),
        None => guessed(attributes),
    };
    Payload::Report(Report {
        family: Family::Leef,
        version,
        vendor,
        product,
        device_version,
        id,
        name: None,
        severity: None,
        fields,
        loose,
    })
}

/// The delimiter that version 2.0 may name: a character, `0x5E` or `x5E`; nothing between the bars means a tab.
fn delimiter(rest: &str) -> (Option<char>, &str) {
    let Some((name, after)) = rest.split_once('|') else { return (None, rest) };
    let digits =
        name.strip_prefix("0x").or_else(|| name.strip_prefix("0X")).or_else(|| name.strip_prefix('x'));
    if let Some(code) =
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32)
    {
        return (Some(code), after);
    }
    let mut chars = name.chars();
    match (chars.next(), chars.next()) {
        (None, _) => (None, after),
        (Some(c), None) => (Some(c), after),
        _ => (None, rest),
    }
}

/// Tabs, or what stands in their place.
fn guessed(text: &str) -> (&str, Vec<(&str, Cow<'_, str>)>) {
    if text.contains('\t') {
        return split(text, |text| text.split('\t').collect());
    }
    if text.contains(ESCAPED_TAB) {
        return split(text, |text| text.split(ESCAPED_TAB).collect());
    }
    for delimiter in ['^', '|'] {
        if text.split(delimiter).skip(1).any(|piece| pair(piece).is_some()) {
            return split(text, |text| text.split(delimiter).collect());
        }
    }
    cef::extension(text)
}

/// Pairs; a piece without a key belongs to the value before it.
fn split<'l>(
    text: &'l str,
    pieces: impl FnOnce(&'l str) -> Vec<&'l str>,
) -> (&'l str, Vec<(&'l str, Cow<'l, str>)>) {
    let mut fields: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut loose = "";
    for piece in pieces(text).into_iter().filter(|piece| !piece.is_empty()) {
        let room = fields.len() < FIELDS_MAX;
        match (pair(piece).filter(|_| room), fields.last_mut()) {
            (Some((key, value)), _) => fields.push((key, value.into())),
            (None, Some((_, value))) => {
                let value = value.to_mut();
                value.push(' ');
                value.push_str(piece);
            }
            (None, None) => loose = piece.trim(),
        }
    }
    (loose, fields)
}

fn pair(piece: &str) -> Option<(&str, &str)> {
    let (key, value) = piece.split_once('=')?;
    let key = key.trim();
    let is_key = !key.is_empty()
        && key.len() <= 64
        && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b' '));
    is_key.then_some((key, value.trim()))
}
