//! Seconds since 1970 with a decimal fraction, as Zeek and Squid write them.
//!
//! In: a JSON number, or text that holds one or an ISO date. Out: an instant.
//! Never: guesses about units; that is the key mapping's business.

use model::event::{EditError, Event, Value};
use model::time::Timestamp;

/// Microseconds of a decimal number of seconds, rounded. `None` for what is no number or far out of range.
pub(super) fn micros(seconds: &str) -> Option<i64> {
    let (negative, digits) = match seconds.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, seconds),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return micros_of_float(seconds.parse().ok()?);
    }
    let mut sum = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    let mut unit = 100_000;
    for digit in fraction.bytes().take(6) {
        sum = sum.checked_add(i64::from(digit - b'0').checked_mul(unit)?)?;
        unit /= 10;
    }
    if fraction.as_bytes().get(6).is_some_and(|digit| *digit >= b'5') {
        sum = sum.checked_add(1)?;
    }
    Some(if negative { -sum } else { sum })
}

/// Exponents are rare enough for the detour over a float.
fn micros_of_float(seconds: f64) -> Option<i64> {
    let micros = (seconds * 1e6).round();
    (micros.abs() < 9e15).then_some(micros as i64)
}

/// The instant of a JSON value: seconds as number or text, or an ISO date.
pub(super) fn instant(value: Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Number(text) => micros(text).map(Timestamp::from_micros),
        Value::String(text) => {
            Timestamp::parse_rfc3339(text).or_else(|| micros(text).map(Timestamp::from_micros))
        }
        _ => None,
    }
}

/// Sets `utctimestamp` and `timestamp`.
pub(super) fn set_times(event: &mut Event, at: Timestamp) -> Result<(), EditError> {
    let text = at.to_string();
    event.set_member("utctimestamp", &text)?;
    event.set_member("timestamp", &text)
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(micros(text), expected, "{text}");
    }

    #[test]
    fn decimal_seconds_are_exact() {
        check("1505701210.163043", Some(1_505_701_210_163_043));
        check("1505701209.93718", Some(1_505_701_209_937_180));
        check("1505701209.9371895", Some(1_505_701_209_937_190));
        check("1505701209.9999999", Some(1_505_701_210_000_000));
        check("0", Some(0));
        check("-1.5", Some(-1_500_000));
        check("1.5e3", Some(1_500_000_000));
        check("7.", Some(7_000_000));
    }

    #[test]
    fn what_is_no_number_of_seconds_is_refused() {
        for bad in
            ["", "-", ".", "1e300", "inf", "nan", "12a", "99999999999999999999", "XXXXXXXXXX.XXXXXX", "1.2.3"]
        {
            check(bad, None);
        }
    }
}
