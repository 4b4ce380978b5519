//! Pieces of a JSON document as they stand in it: what is taken out of an envelope stays byte for byte.
//!
//! In: JSON. Out: ranges of members and elements. Never: a copy, or a change.

use std::ops::Range;

use model::event::{Limits, ParseError, scan_value};

/// An envelope may hold many events: each is bounded by itself later.
const LIMITS: Limits = Limits { bytes_max: usize::MAX, depth_max: 100, fields_max: usize::MAX };

/// A key, as it stands between its quotes, and where its value lies.
pub(crate) type Member<'j> = (&'j [u8], Range<usize>);

/// The members of an object: the key as it stands, without quotes, and where the value lies.
///
/// # Errors
/// [`ParseError`] when it is not exactly one object.
pub(crate) fn members(json: &[u8]) -> Result<Vec<Member<'_>>, ParseError> {
    let whole = scan_value(json, 0, &LIMITS)?.ok_or(ParseError::Empty)?;
    if json.get(whole.start) != Some(&b'{') {
        return Err(ParseError::NotAnObject);
    }
    if let Some(rest) = scan_value(json, whole.end, &LIMITS)? {
        return Err(ParseError::Syntax { at: rest.start, what: "something after the object" });
    }
    let mut members = Vec::new();
    let mut at = whole.start + 1;
    while let Some(key) = next(json, at)? {
        let value = next(json, key.end)?.ok_or(ParseError::NotAnObject)?;
        at = value.end;
        let name = json.get(key.start + 1..key.end.saturating_sub(1)).unwrap_or_default();
        members.push((name, value));
    }
    Ok(members)
}

/// The elements of an array that was found in a document; none where it is no array.
///
/// # Errors
/// [`ParseError`] never, for a document that was scanned before.
pub(crate) fn elements(json: &[u8], array: &Range<usize>) -> Result<Vec<Range<usize>>, ParseError> {
    let mut elements = Vec::new();
    if json.get(array.start) != Some(&b'[') {
        return Ok(elements);
    }
    let mut at = array.start + 1;
    while let Some(element) = next(json, at)? {
        at = element.end;
        elements.push(element);
    }
    Ok(elements)
}

/// The next value inside of an object or array that is known to be sound; `None` at its end.
fn next(json: &[u8], from: usize) -> Result<Option<Range<usize>>, ParseError> {
    let rest = json.get(from..).unwrap_or_default();
    let between = rest.iter().take_while(|c| c.is_ascii_whitespace() || matches!(c, b',' | b':')).count();
    match rest.get(between) {
        None | Some(b'}' | b']') => Ok(None),
        Some(_) => scan_value(json, from + between, &LIMITS),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{elements, members};

    fn shown(json: &str) -> Vec<String> {
        let found = members(json.as_bytes()).unwrap();
        found
            .iter()
            .map(|(key, value)| {
                format!("{}={}", String::from_utf8_lossy(key), json.get(value.clone()).unwrap())
            })
            .collect()
    }

    #[test]
    fn pieces_are_as_they_stand() {
        let json = " { \"a\" : [ {\"x\": 1 } , \"]\" ,[]], \"b\":{\"c\":\"}\"} ,\"e\":[]}\n";
        assert_eq!(shown(json), ["a=[ {\"x\": 1 } , \"]\" ,[]]", "b={\"c\":\"}\"}", "e=[]"]);
        let found = members(json.as_bytes()).unwrap();
        let pieces = |index: usize| -> Vec<&str> {
            elements(json.as_bytes(), &found[index].1)
                .unwrap()
                .iter()
                .map(|range| json.get(range.clone()).unwrap())
                .collect()
        };
        assert_eq!(pieces(0), ["{\"x\": 1 }", "\"]\"", "[]"]);
        assert!(pieces(1).is_empty() && pieces(2).is_empty());
        assert!(shown("{}").is_empty());
        for wrong in ["", "[]", "{", "{} {}", "{\"a\":}", "null"] {
            assert!(members(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_what_a_reader_reads(json in "\\{(\"[a-c]\":(1|\"\\PC\"|\\[(\\{\\}|2)?(,null)?\\])?,?){0,4}\\}?") {
            let read: Option<serde_json::Value> = serde_json::from_str(&json).ok();
            match members(json.as_bytes()) {
                Ok(found) => {
                    let read = read.unwrap();
                    for (key, value) in found {
                        let key = std::str::from_utf8(key).unwrap();
                        prop_assert!(read.get(key).is_some());
                        prop_assert!(serde_json::from_str::<serde_json::Value>(json.get(value).unwrap()).is_ok());
                    }
                }
                Err(_) => prop_assert!(read.is_none()),
            }
        }
    }
}
