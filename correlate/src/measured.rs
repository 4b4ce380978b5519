//! What an event adds to the measure of a windowed rule: a value that is
//! counted, a number, or which of the named rules it matches.
//!
//! In: an event, the rule. Out: 64 bits ([`Fact`]) that go with the entry of
//! the event. Never: a fact for an event that lacks the field; it is no entry.
//!
//! ```text
//! value_count       the first 64 bits of a digest of the values
//! temporal          one bit for each named rule
//! sum, average, …   the number as a float
//! ```
//!
//! A list is one value. Numbers are floats of up to [`NUMBER_MAX`]; they are
//! added as whole billionths, so that sums are the same in whatever order.

use model::event::{Event, Value};

use crate::group_key;
use crate::raw_value;
use crate::rule::{Correlation, GroupField, Kind};

/// What an event adds; what it means depends on the rule's kind. 0 for kinds that count events.
pub type Fact = u64;

/// Units of a number: billionths.
pub const UNITS: i128 = 1_000_000_000;

/// Largest number that is taken, by its absolute value.
pub const NUMBER_MAX: f64 = 1e18;

/// The value or number that an event has for a rule; `Some(0)` where the rule's kind needs none.
pub(crate) fn value(event: &Event, rule: &Correlation) -> Option<Fact> {
    match rule.kind {
        Kind::EventCount | Kind::Temporal | Kind::TemporalOrdered => Some(0),
        Kind::ValueCount => digest(event, &rule.measured),
        Kind::Sum | Kind::Average | Kind::Percentile { .. } => {
            let field = rule.measured.first()?;
            let plain = group_key::first_value(event, field).map(number);
            plain.or_else(|| raw_value::find(event, &field.paths, number)).flatten().map(f64::to_bits)
        }
    }
}

/// The bits of the rules at these positions.
pub(crate) fn rules(positions: &[u16]) -> Fact {
    positions.iter().fold(0, |bits, position| bits | 1_u64.checked_shl(u32::from(*position)).unwrap_or(0))
}

/// All fields must be there; values compare as those of groups do.
fn digest(event: &Event, fields: &[GroupField]) -> Option<Fact> {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        let key = |value: Value<'_>| group_key::part(value).unwrap_or_else(|| value.to_json().into_bytes());
        let plain = group_key::first_value(event, field).map(key);
        let bytes = plain.or_else(|| raw_value::find(event, &field.paths, key))?;
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    hasher.finalize().as_bytes().first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

fn number(value: Value<'_>) -> Option<f64> {
    let text = match value {
        Value::Number(text) => text,
        Value::String(text) => text.trim(),
        _ => return None,
    };
    // Minus zero is zero.
    parse(text).map(|number| number + 0.0)
}

/// A number within bounds.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    text.parse::<f64>().ok().filter(|number| starts && number.abs() <= NUMBER_MAX)
}

/// A number in units: exact for whole numbers, rounded to a billionth for others.
pub(crate) fn units(number: f64) -> i128 {
    let whole = number.trunc();
    (whole as i128).saturating_mul(UNITS).saturating_add(((number - whole) * UNITS as f64).round() as i128)
}

#[cfg(test)]
mod tests {
    use model::event::{Event, Path};

    use super::{digest, number, parse, rules, units};
    use crate::rule::GroupField;

    #[test]
    fn numbers_are_exact_in_units() {
        assert_eq!(units(1.5), 1_500_000_000);
        assert_eq!(units(-0.1), -100_000_000);
        assert_eq!(units(9_007_199_254_740_992.0), 9_007_199_254_740_992_000_000_000);
        assert_eq!(units(1e18), 10_i128.pow(27));
        for bad in ["", "inf", "nan", "1e19", "abc", "0x1"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let event = Event::from_json(r#"{"a":" 7 ","b":-0.0,"c":[1],"d":true}"#).unwrap();
        let of = |key: &str| event.member(key).and_then(number);
        assert_eq!((of("a"), of("b").map(f64::to_bits), of("c"), of("d")), (Some(7.0), Some(0), None, None));
    }

    #[test]
    fn values_are_told_apart_and_addresses_are_not() {
        let field = |name: &str| GroupField { name: name.to_owned(), paths: vec![Path::new(name)] };
        let of = |json: &str| digest(&Event::from_json(json).unwrap(), &["a", "b"].map(field));
        assert_ne!(of(r#"{"a":"x","b":"y"}"#), of(r#"{"a":"xy","b":""}"#));
        assert_ne!(of(r#"{"a":1,"b":2}"#), of(r#"{"a":"1","b":2}"#));
        assert_eq!(of(r#"{"a":"2001:DB8::1","b":[1]}"#), of(r#"{"a":"2001:db8:0::1","b":[1]}"#));
        assert_eq!(of(r#"{"a":"x"}"#), None);
    }

    #[test]
    fn rules_are_bits() {
        assert_eq!(rules(&[0, 3]), 0b1001);
        assert_eq!(rules(&[64]), 0);
    }
}
