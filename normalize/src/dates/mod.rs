//! The loose dates of shippers and syslog, as instants in UTC.
//!
//! In: a JSON number or text, the time of receipt, the zone of text that
//! names none. Out: an instant, or `None` where the value says no full date
//! (a word, a week-day or a time alone): the caller then uses the receipt.
//! Never: panics, unbounded work, or the machine's clock.

mod loose;
pub mod zone;

use std::cmp::Ordering;

use model::event::Value;
use model::time::Timestamp;

/// What a date is read against.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// When the event was received; a date without a year is the latest one up to 24 h after it.
    pub received: Timestamp,
    /// Minutes east of Greenwich for text that names no zone.
    pub zone_minutes: i32,
}

impl Reference {
    /// Text without a zone is UTC.
    pub fn utc(received: Timestamp) -> Reference {
        Reference { received, zone_minutes: 0 }
    }
}

/// Longest text that is looked at, in bytes; no date is longer.
const TEXT_BYTES_MAX: usize = 128;

/// How far a date without a year may be ahead of its receipt, in milliseconds.
const AHEAD_MS: i64 = 24 * 3_600_000;

/// The instant that a value says; `None` when it says none.
pub fn to_utc(value: Value<'_>, reference: Reference) -> Option<Timestamp> {
    match value {
        Value::Number(text) => from_number(text),
        Value::String(text) => from_text(text, reference),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The instant that a text says.
pub fn from_text(text: &str, reference: Reference) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        let zoned = reference.zone_minutes == 0 || names_zone(text);
        return Some(if zoned { time } else { earlier_by_minutes(time, reference.zone_minutes) });
    }
    if is_number(text) { from_number_text(text) } else { loose::read(text, reference) }
}

/// Whether an RFC 3339 text has a zone after its 19 bytes of date and time.
fn names_zone(text: &str) -> bool {
    text.bytes().skip(19).any(|c| matches!(c, b'Z' | b'z' | b'+' | b'-'))
}

fn earlier_by_minutes(time: Timestamp, minutes: i32) -> Timestamp {
    time.plus_millis(-60_000 * i64::from(minutes))
}

/// Optional sign, digits, one optional dot, optional exponent: what a shipper's number looks like as text.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut dots = 0;
    let mut bytes = unsigned.bytes();
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|c| c.is_ascii_digit())
        && bytes.all(|c| match c {
            b'.' => {
                dots += 1;
                dots == 1
            }
            _ => c.is_ascii_digit(),
        })
}

/// A JSON number. Zero and negative fractions are 1970; a negative integer says nothing.
fn from_number(text: &str) -> Option<Timestamp> {
    if text.bytes().all(|c| c.is_ascii_digit()) {
        return from_digits(text);
    }
    if text.strip_prefix('-').is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_digit())) {
        return None;
    }
    from_float(text.parse().ok()?)
}

/// A number as text. What is not above zero is 1970; four digits are a year.
fn from_number_text(text: &str) -> Option<Timestamp> {
    if text.bytes().all(|c| c.is_ascii_digit()) {
        let year = text.parse().ok().filter(|year| text.len() == 4 && *year >= 1000);
        return match year {
            Some(year) => Timestamp::from_civil(year, 1, 1, 0, 0),
            None => from_digits(text),
        };
    }
    from_float(text.parse().ok()?)
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, by the number's size: seconds reach to year 5138.
fn from_digits(digits: &str) -> Option<Timestamp> {
    const SECONDS: u128 = 100_000_000_000;
    let number: u128 = digits.parse().ok()?;
    let micros = if number < SECONDS {
        number * 1_000_000
    } else if number < SECONDS * 1_000 {
        number * 1_000
    } else if number < SECONDS * 1_000_000 {
        number
    } else if number < SECONDS * 1_000_000_000 {
        number / 1_000
    } else {
        return None;
    };
    i64::try_from(micros).ok().map(Timestamp::from_micros)
}

/// Divided down until ten digits stand before the point, as the original did.
fn from_float(mut number: f64) -> Option<Timestamp> {
    if !number.is_finite() {
        return None;
    }
    if number <= 0.0 {
        return Some(Timestamp::EPOCH);
    }
    while number >= 1e10 {
        number /= 10.0;
    }
    Some(Timestamp::from_micros((number * 1e6).round() as i64))
}

/// A civil time of a zone; `year` `None` means the latest not more than 24 h after the receipt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Civil {
    pub(crate) year: Option<i32>,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) seconds_of_day: u32,
    pub(crate) micros: u32,
    /// `None` is the reference's zone.
    pub(crate) zone_minutes: Option<i32>,
}

impl Civil {
    /// The instant; `None` where there is no such day.
    pub(crate) fn resolve(self, reference: Reference) -> Option<Timestamp> {
        // A leap second counts as the next second.
        let (seconds, carry_ms) =
            if self.seconds_of_day >= 86_400 { (86_399, 1000) } else { (self.seconds_of_day, 0) };
        let zone = self.zone_minutes.unwrap_or(reference.zone_minutes);
        let of_year = |year| {
            let local = Timestamp::from_civil(year, self.month, self.day, seconds, self.micros)?;
            Some(earlier_by_minutes(local.plus_millis(carry_ms), zone))
        };
        if let Some(year) = self.year {
            return of_year(year);
        }
        let limit = reference.received.plus_millis(AHEAD_MS);
        let (this_year, _, _) = reference.received.civil_date();
        // Nine years back: 29 February may be eight years away.
        (0..10)
            .filter_map(|back| of_year(this_year + 1 - back))
            .find(|time| time.cmp(&limit) != Ordering::Greater)
    }
}

/// The number of a month by its English, French, German or Spanish name or abbreviation, lower case.
pub(crate) fn month(word: &str) -> Option<u8> {
    let number = match word {
        "jan" | "january" | "janv" | "janvier" | "jän" | "januar" | "ene" | "enero" => 1,
        "feb" | "february" | "févr" | "fév" | "février" | "februar" | "febrero" => 2,
        "mar" | "march" | "mars" | "mär" | "mrz" | "märz" | "marzo" => 3,
        "apr" | "april" | "avr" | "avril" | "abr" | "abril" => 4,
        "may" | "mai" | "mayo" => 5,
        "jun" | "june" | "juin" | "juni" | "junio" => 6,
        "jul" | "july" | "juil" | "juillet" | "juli" | "julio" => 7,
        "aug" | "august" | "août" | "aout" | "ago" | "agosto" => 8,
        "sep" | "sept" | "september" | "septembre" | "septiembre" => 9,
        "oct" | "october" | "octobre" | "okt" | "oktober" | "octubre" => 10,
        "nov" | "november" | "novembre" | "noviembre" => 11,
        "dec" | "december" | "déc" | "décembre" | "dez" | "dezember" | "dic" | "diciembre" => 12,
        _ => return None,
    };
    Some(number)
}

#[cfg(test)]
mod tests;
