//! Transformations of values: wildcards around them, encodings, dashes.
//!
//! In: a value and a modifier. Out: the values that it becomes. Never: more
//! than [`WINDASH_MAX`] values out of one.

use base64::Engine;

use super::name::Modifier;
use crate::sigma::pattern::{Part, Pattern};

/// Most texts that the dashes of one value may become.
const WINDASH_MAX: usize = 3125;

/// The characters that begin an option on Windows.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// A value on its way through the transformations.
pub(super) enum Value {
    Pattern(Pattern),
    Bytes(Vec<u8>),
}

impl Value {
    pub(super) fn into_pattern(self) -> Result<Pattern, String> {
        match self {
            Value::Pattern(pattern) => Ok(pattern),
            Value::Bytes(bytes) => String::from_utf8(bytes)
                .map(|text| Pattern::literal(&text))
                .map_err(|_| "UTF-16 of this text is no text: add \"base64offset|contains\"".to_owned()),
        }
    }

    fn into_bytes(self, what: &str) -> Result<Vec<u8>, String> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Pattern(pattern) => match pattern.as_literal() {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(format!(
                    "a wildcard cannot be encoded by \"{what}\": escape it or put \"contains\" last"
                )),
            },
        }
    }
}

pub(super) fn transform(m: Modifier, value: Value) -> Result<Vec<Value>, String> {
    let one = |pattern: Pattern| Ok(vec![Value::Pattern(pattern)]);
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    match m {
        Modifier::Contains => one(value.into_pattern()?.contained()),
        Modifier::StartsWith => one(value.into_pattern()?.at_start()),
        Modifier::EndsWith => one(value.into_pattern()?.at_end()),
        Modifier::Base64 => one(Pattern::literal(&base64(&value.into_bytes("base64")?))),
        Modifier::Base64Offset => Ok(offsets(&value.into_bytes("base64offset")?)),
        Modifier::Utf16Le => wide(value, u16::to_le_bytes, &[]),
        Modifier::Utf16Be => wide(value, u16::to_be_bytes, &[]),
        Modifier::Utf16 => wide(value, u16::to_le_bytes, &[0xff, 0xfe]),
        Modifier::WinDash => {
            windash(&value.into_pattern()?).map(|all| all.into_iter().map(Value::Pattern).collect())
        }
        _ => Ok(vec![value]),
    }
}

fn wide(value: Value, bytes_of: fn(u16) -> [u8; 2], mark: &[u8]) -> Result<Vec<Value>, String> {
    let bytes = value.into_bytes("utf16")?;
    let text = String::from_utf8(bytes).map_err(|_| "the text is encoded twice".to_owned())?;
    let mut out = mark.to_vec();
    out.extend(text.encode_utf16().flat_map(bytes_of));
    Ok(vec![Value::Bytes(out)])
}

/// What of the encoded text stays the same wherever the value begins: shifts by zero, one and two bytes.
fn offsets(bytes: &[u8]) -> Vec<Value> {
    const SKIP: [usize; 3] = [0, 2, 3];
    const DROP: [usize; 3] = [0, 3, 2];
    (0..3_usize)
        .map(|shift| {
            let mut shifted = vec![b' '; shift];
            shifted.extend_from_slice(bytes);
            let encoded = base64::engine::general_purpose::STANDARD.encode(&shifted);
            let skip = SKIP.get(shift).copied().unwrap_or(0);
            let drop = DROP.get(shifted.len() % 3).copied().unwrap_or(0);
            let kept = encoded.len().saturating_sub(skip + drop);
            let text: String = encoded.chars().skip(skip).take(kept).collect();
            Value::Pattern(Pattern::literal(&text))
        })
        .collect()
}

/// All ways to write the dashes (or slashes) that begin an option: before a word and not behind one.
fn windash(pattern: &Pattern) -> Result<Vec<Pattern>, String> {
    let mut ways: Vec<Vec<Part>> = vec![Vec::new()];
    for part in pattern.parts() {
        let pieces = match part {
            Part::Text(text) => option_dashes(text),
            Part::Star | Part::One => {
                ways.iter_mut().for_each(|w| w.push(part.clone()));
                continue;
            }
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => ways.iter_mut().for_each(|w| w.push(Part::Text(text.clone()))),
                Piece::Dash => {
                    if ways.len() * DASHES.len() > WINDASH_MAX {
                        return Err(format!(
                            "more than {WINDASH_MAX} ways to write the dashes: split the value"
                        ));
                    }
                    ways = ways
                        .into_iter()
                        .flat_map(|w| {
                            DASHES.iter().map(move |dash| {
                                let mut way = w.clone();
                                way.push(Part::Text(dash.to_string()));
                                way
                            })
                        })
                        .collect();
                }
            }
        }
    }
    Ok(ways.into_iter().map(Pattern::from_parts).collect())
}

enum Piece {
    Text(String),
    Dash,
}

fn option_dashes(text: &str) -> Vec<Piece> {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut plain = String::new();
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| chars.get(i)).copied();
        let after = chars.get(i + 1).copied();
        if DASHES.contains(c) && !word(before) && word(after) {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Dash);
        } else {
            plain.push(*c);
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}
