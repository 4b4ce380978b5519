//! Numbers of events in alerts: as JSON where JSON's usual types hold them
//! exactly, else as their text.
//!
//! In: the text of a JSON number. Out: a number or a string. Never: another
//! value than the event's.

use serde_json::Value as Json;

/// A number's text as JSON.
pub(crate) fn json(text: &str) -> Json {
    match serde_json::from_str::<Json>(text) {
        Ok(number) if canonical(&number.to_string()) == canonical(text) => number,
        _ => Json::from(text),
    }
}

/// A decimal by its value: sign, digits without zeros at either end, exponent of the last digit. `None` for an
/// exponent beyond all bounds.
fn canonical(text: &str) -> Option<(bool, String, i64)> {
    let (sign, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Some((false, String::new(), 0));
    }
    let dropped = i64::try_from(digits.len().checked_sub(kept.len())?).ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_sub(places)?.checked_add(dropped)?;
    Some((sign, kept.trim_start_matches('0').to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use super::json;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(json(text).to_string(), expected);
    }

    #[test]
    fn what_is_held_exactly_is_a_number() {
        check("7", "7");
        check("-0", "-0.0");
        check("18446744073709551615", "18446744073709551615");
        check("1.50", "1.5");
        check("1e3", "1000.0");
        check("-2.5E-3", "-0.0025");
        check("0.1", "0.1");
        check("100000000000000000000000", "1e+23");
    }

    #[test]
    fn what_would_change_is_text() {
        check("18446744073709551616", r#""18446744073709551616""#);
        check("-9223372036854775809", r#""-9223372036854775809""#);
        check("0.1000000000000000055", r#""0.1000000000000000055""#);
        check("1e309", r#""1e309""#);
        check("1e-999999999999999999999", r#""1e-999999999999999999999""#);
    }
}
