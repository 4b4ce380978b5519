//! Dates as OpenSearch reads them: ISO forms with missing parts, epoch numbers, date maths.
//!
//! In: text from documents and queries, the time of the request. Out: milliseconds since 1970, rounded
//! to the side that the caller asks for. Never: the machine's clock or its zone.

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use model::time::Timestamp;

/// Formats that a date field or a range may name, tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateFormats(Vec<DateFormat>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DateFormat {
    /// `2016[-07[-13[T14[:33[:31[.625]]]]]][zone]`
    OptionalTime,
    EpochMillis,
    EpochSecond,
}

/// What to do with the parts that a date leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// The first millisecond.
    Down,
    /// The last millisecond.
    Up,
}

/// A calendar unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Default for DateFormats {
    fn default() -> DateFormats {
        DateFormats(vec![DateFormat::OptionalTime, DateFormat::EpochMillis])
    }
}

impl DateFormats {
    /// Reads `strict_date_optional_time||epoch_millis`; the error is the part that is not known.
    pub(crate) fn parse(text: &str) -> Result<DateFormats, String> {
        let formats = text.split("||").map(|name| match name {
            "strict_date_optional_time"
            | "date_optional_time"
            | "dateOptionalTime"
            | "strict_date"
            | "strict_date_time"
            | "date_time"
            | "strict_date_optional_time_nanos"
            | "iso8601" => Ok(DateFormat::OptionalTime),
            "epoch_millis" => Ok(DateFormat::EpochMillis),
            "epoch_second" => Ok(DateFormat::EpochSecond),
            other => Err(other.to_owned()),
        });
        Ok(DateFormats(formats.collect::<Result<_, _>>()?))
    }

    /// A date without maths, in milliseconds.
    pub(crate) fn read(&self, text: &str, zone: &TimeZone, round: Round) -> Option<i64> {
        self.0.iter().find_map(|format| match format {
            DateFormat::OptionalTime => read_optional_time(text, zone, round),
            DateFormat::EpochMillis => read_epoch(text, 1),
            DateFormat::EpochSecond => read_epoch(text, 1000),
        })
    }

    /// A date of a query: `now-1h/d`, `2016-07-13||+1M/d`, or plain. The error says what is wrong.
    pub(crate) fn read_math(
        &self,
        text: &str,
        now: Timestamp,
        zone: &TimeZone,
        round: Round,
    ) -> Result<i64, String> {
        let (anchor, maths) = if let Some(maths) = text.strip_prefix("now") {
            (now.millis(), maths)
        } else if let Some((date, maths)) = text.split_once("||") {
            let rounding = if maths.is_empty() { round } else { Round::Down };
            (self.read(date, zone, rounding).ok_or_else(|| unreadable(date))?, maths)
        } else {
            return self.read(text, zone, round).ok_or_else(|| unreadable(text));
        };
        apply_maths(anchor, maths, zone, round).ok_or_else(|| format!("failed to parse date maths [{text}]"))
    }
}

fn unreadable(text: &str) -> String {
    format!("failed to parse date field [{}]", crate::json::cut(text, 100))
}

/// A zone by offset (`+02:00`, `Z`) or by name.
pub(crate) fn read_zone(text: &str) -> Option<TimeZone> {
    if text == "Z" || text == "UTC" {
        return Some(TimeZone::UTC);
    }
    match text.as_bytes() {
        [b'+' | b'-', ..] => {
            let minutes = i32::try_from(read_offset_minutes(text)?).ok()?;
            Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(minutes.checked_mul(60)?).ok()?))
        }
        _ => TimeZone::get(text).ok(),
    }
}

/// `2020-03-04T05:06:07.000Z`, as OpenSearch prints dates.
pub(crate) fn format_millis(millis: i64) -> String {
    let text = Timestamp::from_millis(millis).to_string();
    // Timestamp prints `…SS[.ffffff]+00:00`; the part up to the seconds has a fixed length.
    let seconds = text.get(..19).unwrap_or_default();
    format!("{seconds}.{:03}Z", millis.rem_euclid(1000))
}

fn read_epoch(text: &str, scale: i64) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole_text = if digits.len() < text.len() { format!("-{whole}") } else { whole.to_owned() };
    let millis = whole_text.parse::<i64>().ok()?.checked_mul(scale)?;
    in_range(millis)
}

fn in_range(millis: i64) -> Option<i64> {
    let bounds = Timestamp::MIN.millis()..=Timestamp::MAX.millis();
    bounds.contains(&millis).then_some(millis)
}

/// Parts of a date that were written, from the left.
struct Parts {
    civil: DateTime,
    /// Milliseconds from the first to the last instant that the written parts cover.
    last: Unit,
    fraction: bool,
}

fn read_optional_time(text: &str, zone: &TimeZone, round: Round) -> Option<i64> {
    // The form that documents have is read without the general path.
    if let Some(at) = Timestamp::parse_rfc3339(text)
        && text.as_bytes().get(10) == Some(&b'T')
        && has_zone(text)
        && text.contains('.')
    {
        return Some(at.millis());
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let (time, offset) = match time {
        Some(time) => split_offset(time)?,
        None => ("", None),
    };
    let parts = read_parts(date, time)?;
    let zone = match offset {
        Some(minutes) => {
            TimeZone::fixed(jiff::tz::Offset::from_seconds(i32::try_from(minutes * 60).ok()?).ok()?)
        }
        None => zone.clone(),
    };
    let start = civil_millis(parts.civil, &zone)?;
    if round == Round::Down || parts.fraction {
        return in_range(start);
    }
    let next = civil_millis(add(parts.civil, 1, parts.last)?, &zone)?;
    in_range(next.checked_sub(1)?)
}

fn has_zone(text: &str) -> bool {
    text.ends_with('Z') || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']))
}

fn split_offset(time: &str) -> Option<(&str, Option<i64>)> {
    if let Some(bare) = time.strip_suffix('Z') {
        return Some((bare, Some(0)));
    }
    match time.find(['+', '-']) {
        Some(at) => {
            let (bare, offset) = time.split_at_checked(at)?;
            Some((bare, Some(read_offset_minutes(offset)?)))
        }
        None => Some((time, None)),
    }
}

fn read_offset_minutes(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(pair) => pair,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "00"),
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn two_digits(text: &str) -> Option<i64> {
    fixed_digits(text, 2)
}

fn fixed_digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn read_parts(date: &str, time: &str) -> Option<Parts> {
    let mut last = Unit::Year;
    let mut pieces = date.split('-');
    let year = fixed_digits(pieces.next()?, 4)?;
    let (mut month, mut day) = (1, 1);
    if let Some(text) = pieces.next() {
        month = two_digits(text)?;
        last = Unit::Month;
        if let Some(text) = pieces.next() {
            day = two_digits(text)?;
            last = Unit::Day;
        }
    }
    if pieces.next().is_some() {
        return None;
    }
    let (mut clock, mut nanos, mut fraction) = ([0_i64; 3], 0_i64, false);
    if !time.is_empty() {
        if last != Unit::Day {
            return None;
        }
        let (hms, rest) = match time.split_once(['.', ',']) {
            Some((hms, digits)) => (hms, Some(digits)),
            None => (time, None),
        };
        let units = [Unit::Hour, Unit::Minute, Unit::Second];
        let mut written = hms.split(':');
        for (slot, unit) in clock.iter_mut().zip(units) {
            let Some(text) = written.next() else { break };
            *slot = two_digits(text)?;
            last = unit;
        }
        if written.next().is_some() {
            return None;
        }
        if let Some(digits) = rest {
            if last != Unit::Second || digits.is_empty() || digits.len() > 9 {
                return None;
            }
            nanos = fixed_digits(digits, digits.len())? * 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
            fraction = true;
        }
    }
    let [hour, minute, second] = clock;
    let civil = DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second).ok()?,
        i32::try_from(nanos).ok()?,
    )
    .ok()?;
    Some(Parts { civil, last, fraction })
}

fn civil_millis(civil: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_timestamp(civil).ok()?.as_millisecond().div_euclid(1))
}

/// The civil time of an instant in a zone.
pub(crate) fn to_civil(millis: i64, zone: &TimeZone) -> Option<DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_millisecond(millis).ok()?))
}

/// The instant of a civil time in a zone.
pub(crate) fn from_civil(civil: DateTime, zone: &TimeZone) -> Option<i64> {
    civil_millis(civil, zone)
}

/// A civil time moved by a count of units.
pub(crate) fn add(civil: DateTime, count: i64, unit: Unit) -> Option<DateTime> {
    let count = i32::try_from(count).ok()?;
    let span: Span = match unit {
        Unit::Year => count.years(),
        Unit::Quarter => count.checked_mul(3)?.months(),
        Unit::Month => count.months(),
        Unit::Week => count.weeks(),
        Unit::Day => count.days(),
        Unit::Hour => count.hours(),
        Unit::Minute => count.minutes(),
        Unit::Second => count.seconds(),
    };
    civil.checked_add(span).ok()
}

/// The start of the unit that holds a civil time. Weeks begin on Monday.
pub(crate) fn floor(civil: DateTime, unit: Unit) -> Option<DateTime> {
    let date = civil.date();
    let midnight = |date: jiff::civil::Date| date.at(0, 0, 0, 0);
    Some(match unit {
        Unit::Year => midnight(date.first_of_year()),
        Unit::Quarter => {
            let first = (date.month() - 1) / 3 * 3 + 1;
            midnight(jiff::civil::Date::new(date.year(), first, 1).ok()?)
        }
        Unit::Month => midnight(date.first_of_month()),
        Unit::Week => {
            let back = i64::from(date.weekday().since(Weekday::Monday));
            midnight(date.checked_sub(i32::try_from(back).ok()?.days()).ok()?)
        }
        Unit::Day => midnight(date),
        Unit::Hour => date.at(civil.hour(), 0, 0, 0),
        Unit::Minute => date.at(civil.hour(), civil.minute(), 0, 0),
        Unit::Second => date.at(civil.hour(), civil.minute(), civil.second(), 0),
    })
}

fn maths_unit(letter: char) -> Option<Unit> {
    Some(match letter {
        'y' => Unit::Year,
        'M' => Unit::Month,
        'w' => Unit::Week,
        'd' => Unit::Day,
        'h' | 'H' => Unit::Hour,
        'm' => Unit::Minute,
        's' => Unit::Second,
        _ => return None,
    })
}

fn apply_maths(anchor: i64, maths: &str, zone: &TimeZone, round: Round) -> Option<i64> {
    let mut millis = anchor;
    let mut rest = maths.chars().peekable();
    while let Some(operator) = rest.next() {
        let mut digits = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let unit = maths_unit(rest.next()?)?;
        let civil = to_civil(millis, zone)?;
        millis = match operator {
            '/' if digits.is_empty() => {
                let start = floor(civil, unit)?;
                match round {
                    Round::Down => civil_millis(start, zone)?,
                    Round::Up => civil_millis(add(start, 1, unit)?, zone)?.checked_sub(1)?,
                }
            }
            '+' | '-' => {
                let count: i64 = if digits.is_empty() { 1 } else { digits.parse().ok()? };
                let signed = if operator == '-' { count.checked_neg()? } else { count };
                // Milliseconds below the second survive: only the civil fields move.
                civil_millis(add(civil, signed, unit)?, zone)?
            }
            _ => return None,
        };
    }
    in_range(millis)
}

#[cfg(test)]
mod tests {
    use super::{DateFormats, Round, Unit, floor, format_millis, from_civil, read_zone, to_civil};
    use jiff::tz::TimeZone;
    use model::time::Timestamp;

    const NOW: &str = "2020-03-04T05:06:07.890Z";

    #[track_caller]
    fn check(text: &str, down: &str, up: &str) {
        let formats = DateFormats::default();
        let now = Timestamp::parse_rfc3339(NOW).unwrap();
        let read =
            |round| formats.read_math(text, now, &TimeZone::UTC, round).map_or_else(|e| e, format_millis);
        assert_eq!((read(Round::Down).as_str(), read(Round::Up).as_str()), (down, up), "{text}");
    }

    #[test]
    fn missing_parts_are_filled_to_the_side_asked_for() {
        check("2016", "2016-01-01T00:00:00.000Z", "2016-12-31T23:59:59.999Z");
        check("2016-02", "2016-02-01T00:00:00.000Z", "2016-02-29T23:59:59.999Z");
        check("2016-07-13", "2016-07-13T00:00:00.000Z", "2016-07-13T23:59:59.999Z");
        check("2016-07-13T14", "2016-07-13T14:00:00.000Z", "2016-07-13T14:59:59.999Z");
        check("2016-07-13T14:33:31+02:00", "2016-07-13T12:33:31.000Z", "2016-07-13T12:33:31.999Z");
        check("2016-07-13T14:33:31.625443+00:00", "2016-07-13T14:33:31.625Z", "2016-07-13T14:33:31.625Z");
        check("1468443523000", "2016-07-13T20:58:43.000Z", "2016-07-13T20:58:43.000Z");
    }

    #[test]
    fn maths_moves_and_rounds() {
        check("now", "2020-03-04T05:06:07.890Z", "2020-03-04T05:06:07.890Z");
        check("now-1h", "2020-03-04T04:06:07.890Z", "2020-03-04T04:06:07.890Z");
        check("now-1h/d", "2020-03-04T00:00:00.000Z", "2020-03-04T23:59:59.999Z");
        check("now/w", "2020-03-02T00:00:00.000Z", "2020-03-08T23:59:59.999Z");
        check("now-4d/M", "2020-02-01T00:00:00.000Z", "2020-02-29T23:59:59.999Z");
        check("2020-01-31||+1M", "2020-02-29T00:00:00.000Z", "2020-02-29T00:00:00.000Z");
        check("now-1x", "failed to parse date maths [now-1x]", "failed to parse date maths [now-1x]");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let formats = DateFormats::default();
        for bad in [
            "",
            "abc",
            "16x",
            "2016-13",
            "2016-07-13 14:33",
            "2016-07-13T14:33:31.",
            "2016-07T10",
            "2016-07-13T25",
            "99999999999999999999",
            "2016-07-13T14:33:31+9",
            "ä",
            "-",
        ] {
            assert_eq!(formats.read(bad, &TimeZone::UTC, Round::Down), None, "{bad}");
        }
        assert_eq!(DateFormats::parse("epoch_second||yyyy/MM"), Err("yyyy/MM".to_owned()));
    }

    #[test]
    fn zones_move_dates_that_have_none() {
        let zone = read_zone("+02:00").unwrap();
        let at = DateFormats::default().read("2016-07-13", &zone, Round::Down).unwrap();
        assert_eq!(format_millis(at), "2016-07-12T22:00:00.000Z");
        assert!(read_zone("Mars/Base").is_none());
        let civil = to_civil(at, &zone).unwrap();
        assert_eq!(from_civil(floor(civil, Unit::Quarter).unwrap(), &TimeZone::UTC), Some(1_467_331_200_000));
    }
}
