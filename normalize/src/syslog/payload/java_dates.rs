//! Dates in the pattern language of Java's `SimpleDateFormat`, which LEEF names in `devTimeFormat`.
//!
//! In: a date, a pattern, the time of receipt. Out: an instant, or `None` where the date is not of the pattern.
//! Never: patterns of calendars other than ours: they are not of the pattern.

use model::time::Timestamp;

use crate::dates::{Civil, Reference, month, zone};

/// Longest pattern that is followed, in bytes.
const PATTERN_BYTES_MAX: usize = 128;

/// Reads a date by its pattern.
pub(super) fn read(date: &str, pattern: &str, reference: Reference) -> Option<Timestamp> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    let mut reader = Reader { rest: date.trim(), parts: Parts::default() };
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                for literal in letters.by_ref().take_while(|c| *c != '\'') {
                    reader.literal(literal)?;
                }
            }
            c if c.is_ascii_alphabetic() => {
                let mut count = 1;
                while letters.next_if_eq(&c).is_some() {
                    count += 1;
                }
                reader.field(c, count)?;
            }
            ' ' => reader.rest = reader.rest.trim_start_matches(' '),
            c => reader.literal(c)?,
        }
    }
    if !reader.rest.trim().is_empty() {
        return None;
    }
    reader.parts.resolve(reference)
}

#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u8>,
    day: Option<u8>,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    afternoon: Option<bool>,
    zone_minutes: Option<i32>,
}

impl Parts {
    fn resolve(self, reference: Reference) -> Option<Timestamp> {
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let seconds_of_day = hour * 3600 + self.minute * 60 + self.second;
        let (year, zone_minutes) = (self.year, self.zone_minutes);
        Civil { year, month: self.month?, day: self.day?, seconds_of_day, micros: self.micros, zone_minutes }
            .resolve(reference)
    }
}

struct Reader<'t> {
    rest: &'t str,
    parts: Parts,
}

impl Reader<'_> {
    fn literal(&mut self, c: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    fn field(&mut self, letter: char, count: usize) -> Option<()> {
        match letter {
            'y' | 'u' => {
                let year = self.number(4)?;
                self.parts.year = Some(i32::try_from(if year < 100 { year + 2000 } else { year }).ok()?);
            }
            'M' | 'L' if count >= 3 => self.parts.month = Some(month(&self.word()?.to_lowercase())?),
            'M' | 'L' => self.parts.month = Some(u8::try_from(self.number(2)?).ok()?),
            'd' => self.parts.day = Some(u8::try_from(self.number(2)?).ok()?),
            'H' | 'h' | 'k' | 'K' => self.parts.hour = self.number(2)? % 24,
            'm' => self.parts.minute = self.number(2)?,
            's' => self.parts.second = self.number(2)?,
            'S' => self.parts.micros = self.fraction()?,
            'a' => self.parts.afternoon = Some(self.word()?.to_ascii_lowercase().starts_with('p')),
            'E' => {
                self.word()?;
            }
            'z' | 'Z' | 'X' => self.parts.zone_minutes = Some(self.zone()?),
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&str> {
        let (taken, rest) = self.rest.split_at_checked(length).filter(|_| length > 0)?;
        self.rest = rest;
        Some(taken)
    }

    fn digits(&self, most: usize) -> usize {
        self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count()
    }

    fn number(&mut self, most: usize) -> Option<u32> {
        self.take(self.digits(most))?.parse().ok()
    }

    /// Microseconds of a fraction of a second.
    fn fraction(&mut self) -> Option<u32> {
        let digits = self.take(self.digits(9))?;
        let six = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
        Some(six.fold(0, |sum, c| sum * 10 + u32::from(c - b'0')))
    }

    fn word(&mut self) -> Option<&str> {
        let length = self.rest.find(|c: char| !c.is_alphabetic() && c != '.').unwrap_or(self.rest.len());
        self.take(length)
    }

    /// `Z`, `EST`, `GMT+02:00`, `+0200` or `+02:00`.
    fn zone(&mut self) -> Option<i32> {
        if self.rest.starts_with(|c: char| c.is_alphabetic()) {
            let named = zone::minutes(self.word()?)?;
            if !self.rest.starts_with(['+', '-']) {
                return Some(named);
            }
        }
        let sign = match self.take(1)? {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        let minutes = if self.digits(2) == 2 { self.number(2)? } else { 0 };
        (hours <= 18 && minutes <= 59).then_some(sign * i32::try_from(hours * 60 + minutes).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::read;
    use crate::dates::Reference;

    #[track_caller]
    fn check(date: &str, pattern: &str, expected: Option<&str>) {
        let reference = Reference::utc(Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").unwrap());
        let expected = expected.map(|text| Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(read(date, pattern, reference), expected, "{date} as {pattern}");
    }

    #[test]
    fn patterns_that_products_use() {
        check("25/11/2025 10:11:12", "dd/MM/yyyy HH:mm:ss", Some("2025-11-25T10:11:12Z"));
        check("03/04/2026 10:11:12", "dd/MM/yyyy HH:mm:ss", Some("2026-04-03T10:11:12Z"));
        check("Aug 03 2026 09:05:07.123 EST", "MMM dd yyyy HH:mm:ss.SSS z", Some("2026-08-03T14:05:07.123Z"));
        check("2026-08-03T09:05:07+0200", "yyyy-MM-dd'T'HH:mm:ssZ", Some("2026-08-03T07:05:07Z"));
        check("Mon Aug 03 09:05:07 PM", "EEE MMM dd hh:mm:ss a", Some("2026-08-03T21:05:07Z"));
        check("2026-08-03 09:05:07 GMT+02:00", "yyyy-MM-dd HH:mm:ss z", Some("2026-08-03T07:05:07Z"));
    }

    #[test]
    fn dates_of_another_pattern_are_refused() {
        check("Aug  3 09:05:07", "MMM dd yyyy HH:mm:ss", None);
        check("2026-08-03 09:05:07 x", "yyyy-MM-dd HH:mm:ss", None);
        check("2026-08-03", "YYYY-ww-F", None);
        check("2026-08-03", "", None);
        check("99/99/2026", "dd/MM/yyyy", None);
        check("ä", "d", None);
    }
}
