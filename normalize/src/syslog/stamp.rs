//! The stamp at the front of a line: `Mar 27 13:06:56` and its relatives,
//! ISO 8601, seconds since 1970.
//!
//! In: the line after its priority. Out: the instant and what follows.
//! Never: text that only resembles a stamp further down the line.

use model::time::Timestamp;

use crate::dates::{self, Civil, Reference, zone};

/// A stamp and the text after it.
pub(super) type Taken<'l> = Option<(Timestamp, &'l str)>;

/// Takes a stamp of any kind off the front. `*` and `.` in front of it are Cisco's marks of a clock without NTP.
pub(super) fn take<'l>(line: &'l str, reference: Reference) -> Taken<'l> {
    let marked = line.strip_prefix(['*', '.']).unwrap_or(line);
    match marked.bytes().next()? {
        b'0'..=b'9' => take_iso(marked, reference).or_else(|| take_year_first(marked, reference)),
        _ => take_month_first(marked, reference),
    }
}

/// `YYYY-MM-DD[T ]HH:MM:SS`, fraction, zone.
pub(super) fn take_iso<'l>(line: &'l str, reference: Reference) -> Taken<'l> {
    let bytes = line.as_bytes();
    if bytes.get(4) != Some(&b'-') || bytes.get(13) != Some(&b':') {
        return None;
    }
    let date_and_time = line.get(..19)?;
    let after = line.get(19..)?;
    let fraction = fraction_length(after);
    let zone_text = after.get(fraction..)?;
    let zone_length = zone_length(zone_text);
    let text = line.get(..19 + fraction + zone_length)?;
    let time = dates::from_text(text, reference).or_else(|| dates::from_text(date_and_time, reference))?;
    let rest = zone_text.get(zone_length..)?;
    // Some write both, `+00:00Z`; rbd writes letters of its own there.
    let rest = rest.strip_prefix('Z').unwrap_or(rest);
    Some((time, rest))
}

/// Length of `.123` or `,123`, or 0.
fn fraction_length(text: &str) -> usize {
    match text.strip_prefix(['.', ',']) {
        Some(digits) => match digits.bytes().take_while(u8::is_ascii_digit).count() {
            0 => 0,
            count => count + 1,
        },
        None => 0,
    }
}

/// Length of `Z`, `+HH:MM`, `+HHMM` or `+HH`, or 0.
fn zone_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| {
        bytes.get(from..from + count).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    match bytes.first() {
        Some(b'Z' | b'z') => 1,
        Some(b'+' | b'-') if digits(1, 2) && bytes.get(3) == Some(&b':') && digits(4, 2) => 6,
        Some(b'+' | b'-') if digits(1, 4) => 5,
        Some(b'+' | b'-') if digits(1, 2) => 3,
        _ => 0,
    }
}

/// `1785747907.123`: seconds since 1970, then a space.
pub(super) fn take_epoch(line: &str) -> Taken<'_> {
    let (token, rest) = line.split_once(' ')?;
    let (seconds, fraction) = token.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if seconds.len() != 10 || fraction.len() > 9 || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let reference = Reference::utc(Timestamp::EPOCH);
    Some((dates::from_text(token, reference)?, rest))
}

/// `2026 Aug  3 09:05:07`, as Nexus writes it.
fn take_year_first<'l>(line: &'l str, reference: Reference) -> Taken<'l> {
    let (year, rest) = line.split_at_checked(4)?;
    let year = plausible_year(year)?;
    let mut cursor = Cursor(rest.strip_prefix(' ')?.trim_start_matches(' '));
    let (month, day) = cursor.month_and_day()?;
    let clock = cursor.clock()?;
    finish(cursor, Some(year), month, day, clock, reference)
}

/// `Aug  3 09:05:07`, perhaps with a year before or after the clock, or a weekday in front.
fn take_month_first<'l>(line: &'l str, reference: Reference) -> Taken<'l> {
    let mut cursor = Cursor(line);
    let (month, day) = match cursor.month_and_day() {
        Some(date) => date,
        None => {
            cursor = Cursor(after_weekday(line)?);
            cursor.month_and_day()?
        }
    };
    let before_clock = cursor.year();
    let clock = cursor.clock()?;
    let year = before_clock.or_else(|| cursor.year_after_clock());
    finish(cursor, year, month, day, clock, reference)
}

fn after_weekday(line: &str) -> Option<&str> {
    let (word, rest) = line.split_once(' ')?;
    let word = word.trim_end_matches(',');
    let known = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    (word.len() == 3 && known.contains(&word)).then(|| rest.trim_start_matches(' '))
}

/// A zone right after the clock, then the whole.
fn finish<'l>(
    mut cursor: Cursor<'l>,
    year: Option<i32>,
    month: u8,
    day: u8,
    (seconds_of_day, micros): (u32, u32),
    reference: Reference,
) -> Taken<'l> {
    let zone_minutes = cursor.zone();
    let civil = Civil { year, month, day, seconds_of_day, micros, zone_minutes };
    civil.resolve(reference).map(|time| (time, cursor.0))
}

fn plausible_year(text: &str) -> Option<i32> {
    let digits = text.len() == 4 && text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|year| digits && (1970..=2199).contains(year))
}

/// The line from where it is read.
struct Cursor<'l>(&'l str);

impl<'l> Cursor<'l> {
    /// `Aug  3 ` or `août 19 `.
    fn month_and_day(&mut self) -> Option<(u8, u8)> {
        let end = self.0.find(' ').filter(|end| *end <= 12)?;
        let (word, rest) = self.0.split_at_checked(end)?;
        let month = dates::month(&word.to_lowercase())?;
        let rest = rest.trim_start_matches(' ');
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (day, rest) = rest.split_at_checked(digits)?;
        let day = day.parse().ok().filter(|day| (1..=31).contains(day) && digits <= 2)?;
        self.0 = rest.trim_start_matches(',').strip_prefix(' ')?.trim_start_matches(' ');
        Some((month, day))
    }

    fn year(&mut self) -> Option<i32> {
        let (token, rest) = self.0.split_once(' ')?;
        let year = plausible_year(token)?;
        self.0 = rest;
        Some(year)
    }

    /// A year after the clock stands between spaces, or ends the line; else it is a host or a number.
    fn year_after_clock(&mut self) -> Option<i32> {
        let rest = self.0.strip_prefix(' ')?;
        let (token, after) = rest.split_at_checked(4)?;
        let year = plausible_year(token).filter(|_| after.is_empty() || after.starts_with(' '))?;
        self.0 = after;
        Some(year)
    }

    /// `HH:MM:SS` and a fraction.
    fn clock(&mut self) -> Option<(u32, u32)> {
        let bytes = self.0.as_bytes();
        let number = |from: usize| -> Option<u32> {
            match bytes.get(from..from + 2)? {
                [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => {
                    Some(u32::from(a - b'0') * 10 + u32::from(b - b'0'))
                }
                _ => None,
            }
        };
        let colons = bytes.get(2) == Some(&b':') && bytes.get(5) == Some(&b':');
        let (hour, minute, second) = (number(0)?, number(3)?, number(6)?);
        if !colons || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let after = self.0.get(8..)?;
        let (fraction, rest) = after.split_at_checked(fraction_length(after))?;
        let digits = fraction.bytes().skip(1).chain(std::iter::repeat(b'0')).take(6);
        let micros = digits.fold(0, |sum, c| sum * 10 + u32::from(c - b'0'));
        self.0 = rest;
        Some((hour * 3600 + minute * 60 + second, micros))
    }

    /// ` UTC` or ` CEST:`: a known abbreviation in capitals, or an offset.
    fn zone(&mut self) -> Option<i32> {
        let rest = self.0.strip_prefix(' ').unwrap_or(self.0);
        let end = rest.find([' ', ':', ']']).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end)?;
        if !(2..=5).contains(&word.len()) || !word.bytes().all(|c| c.is_ascii_uppercase()) {
            return None;
        }
        let minutes = zone::minutes(word)?;
        self.0 = after;
        Some(minutes)
    }
}
