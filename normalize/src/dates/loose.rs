//! Dates as people and programs write them, read from left to right: numbers
//! joined by `-`, `/` or `.`, month names, a clock, a zone; other words are
//! passed over. Month before day, unless that cannot be.
//!
//! In: trimmed text of bounded length. Out: an instant, or `None`.
//! Never: more than one pass.

use model::time::Timestamp;

use super::{Civil, Reference, month, zone};

/// Reads a date; `None` when month and day are not both there, or something is out of range.
pub(super) fn read(text: &str, reference: Reference) -> Option<Timestamp> {
    let mut reader = Reader { rest: text, parts: Parts::default(), last: Last::Other };
    while let Some(c) = reader.rest.chars().next() {
        if c.is_ascii_digit() {
            reader.number(reference)?;
        } else if c.is_alphabetic() {
            reader.word();
        } else if matches!(c, '+' | '-') && reader.offset_may_follow() {
            reader.offset(c)?;
        } else {
            reader.skip(c.len_utf8());
        }
    }
    reader.parts.resolve(reference)
}

/// What was said so far.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u8>,
    day: Option<u8>,
    clock: Option<(u32, u32)>,
    zone_minutes: Option<i32>,
    afternoon: Option<bool>,
}

impl Parts {
    fn no_date(&self) -> bool {
        self.year.is_none() && self.month.is_none() && self.day.is_none()
    }

    fn resolve(self, reference: Reference) -> Option<Timestamp> {
        let (mut seconds_of_day, micros) = self.clock.unwrap_or((0, 0));
        if let Some(afternoon) = self.afternoon {
            let hour = seconds_of_day / 3600;
            if !(1..=12).contains(&hour) {
                return None;
            }
            seconds_of_day = seconds_of_day % 3600 + (hour % 12 + if afternoon { 12 } else { 0 }) * 3600;
        }
        // A month of a named year begins on its first; a month alone is no date.
        let day = self.day.or(self.year.map(|_| 1))?;
        let zone_minutes = self.zone_minutes;
        Civil { year: self.year, month: self.month?, day, seconds_of_day, micros, zone_minutes }
            .resolve(reference)
    }
}

/// What the last piece was, where it decides what a sign means.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Clock,
    Zone,
    Other,
}

struct Reader<'t> {
    rest: &'t str,
    parts: Parts,
    last: Last,
}

/// One piece of a date whose pieces are joined by a sign.
#[derive(Clone, Copy)]
enum Piece {
    Number { value: u32, digits: usize },
    Month(u8),
}

impl<'t> Reader<'t> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn digits(&mut self) -> &'t str {
        self.take_while(|c| c.is_ascii_digit())
    }

    /// Whether the rest begins with this sign and then a byte that is wanted.
    fn sign_then(&self, sign: char, wanted: impl Fn(u8) -> bool) -> bool {
        self.rest.strip_prefix(sign).and_then(|after| after.bytes().next()).is_some_and(wanted)
    }

    fn number(&mut self, reference: Reference) -> Option<()> {
        let after_clock = std::mem::replace(&mut self.last, Last::Other) == Last::Clock;
        let digits = self.digits();
        let value: u32 = if digits.len() <= 8 { digits.parse().ok()? } else { 0 };
        if digits.len() <= 2 && self.parts.clock.is_none() && self.sign_then(':', |c| c.is_ascii_digit()) {
            return self.clock(value);
        }
        let part_follows = |c: u8| c.is_ascii_digit() || c.is_ascii_alphabetic();
        if self.parts.no_date()
            && digits.len() <= 4
            && !after_clock
            && let Some(sign) = ['-', '/', '.'].into_iter().find(|sign| self.sign_then(*sign, part_follows))
        {
            return self.joined(Piece::Number { value, digits: digits.len() }, sign, reference);
        }
        match digits.len() {
            8 if self.parts.no_date() => self.compact_date(value),
            14 if self.parts.no_date() => {
                let (date, clock) = digits.split_at_checked(8)?;
                self.compact_date(date.parse().ok()?)?;
                self.compact_clock(clock)
            }
            4 | 6 if self.parts.day.is_some() && self.parts.year.is_some() => self.compact_clock(digits),
            4 if self.parts.year.is_none() => {
                self.parts.year = i32::try_from(value).ok();
                Some(())
            }
            1 | 2 => self.small_number(value, reference),
            _ => None,
        }
    }

    /// One or two digits on their own: an hour before am or pm, a day, else a year.
    fn small_number(&mut self, value: u32, reference: Reference) -> Option<()> {
        let word = self.rest.trim_start().get(..2).unwrap_or_default();
        if self.parts.clock.is_none() && (word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm"))
        {
            self.parts.clock = (value < 24).then_some((value * 3600, 0));
            return self.parts.clock.map(|_| ());
        }
        if self.parts.day.is_none() && (1..=31).contains(&value) {
            self.parts.day = u8::try_from(value).ok();
        } else if self.parts.year.is_none() {
            self.parts.year = Some(full_year(value, reference));
        } else {
            return None;
        }
        Some(())
    }

    /// `:MM[:SS[.fraction]]` after the hour.
    fn clock(&mut self, hour: u32) -> Option<()> {
        self.skip(1);
        let minute: u32 = self.two_digits()?;
        let mut second = 0;
        let mut micros = 0;
        if self.sign_then(':', |c| c.is_ascii_digit()) {
            self.skip(1);
            second = self.two_digits()?;
        }
        if self.sign_then('.', |c| c.is_ascii_digit()) || self.sign_then(',', |c| c.is_ascii_digit()) {
            self.skip(1);
            micros = micros_of(self.digits());
        }
        self.set_clock(hour, minute, second, micros)
    }

    fn set_clock(&mut self, hour: u32, minute: u32, second: u32, micros: u32) -> Option<()> {
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        self.parts.clock = Some((hour * 3600 + minute * 60 + second, micros));
        self.last = Last::Clock;
        Some(())
    }

    fn two_digits(&mut self) -> Option<u32> {
        let digits = self.digits();
        if digits.len() <= 2 { digits.parse().ok() } else { None }
    }

    fn compact_date(&mut self, value: u32) -> Option<()> {
        self.parts.year = i32::try_from(value / 10_000).ok();
        self.parts.month = u8::try_from(value / 100 % 100).ok();
        self.parts.day = u8::try_from(value % 100).ok();
        Some(())
    }

    /// `HHMM` or `HHMMSS`.
    fn compact_clock(&mut self, digits: &str) -> Option<()> {
        if self.parts.clock.is_some() {
            return None;
        }
        let value: u32 = digits.parse().ok()?;
        let value = if digits.len() == 4 { value * 100 } else { value };
        let mut micros = 0;
        if self.sign_then('.', |c| c.is_ascii_digit()) {
            self.skip(1);
            micros = micros_of(self.digits());
        }
        self.set_clock(value / 10_000, value / 100 % 100, value % 100, micros)
    }

    /// Two or three pieces joined by the same sign.
    fn joined(&mut self, first: Piece, sign: char, reference: Reference) -> Option<()> {
        self.skip(1);
        let second = self.piece()?;
        let third = if self.sign_then(sign, |c| c.is_ascii_digit()) {
            self.skip(1);
            Some(self.piece()?)
        } else {
            None
        };
        let parts = &mut self.parts;
        match (first, second, third) {
            (Piece::Number { value: year, digits: 4 }, Piece::Month(month), day) => {
                parts.set(Some(year), u32::from(month), day.and_then(Piece::number))
            }
            (Piece::Number { value: year, digits: 4 }, Piece::Number { value: month, .. }, None) => {
                parts.set(Some(year), month, None)
            }
            (Piece::Number { value: year, digits: 4 }, Piece::Number { value: a, .. }, Some(b)) => {
                let (month, day) = month_first(a, b.number()?);
                parts.set(Some(year), month, Some(day))
            }
            (Piece::Number { value, .. }, Piece::Month(month), year) => {
                let year = year.map(|year| year.year(reference));
                parts.set(flatten(year)?, u32::from(month), Some(value))
            }
            (Piece::Number { value: month, .. }, Piece::Number { value: year, digits: 4 }, None) => {
                parts.set(Some(year), month, None)
            }
            (Piece::Number { value: a, .. }, Piece::Number { value: b, .. }, year) => {
                let (month, day) = month_first(a, b);
                parts.set(flatten(year.map(|year| year.year(reference)))?, month, Some(day))
            }
            (Piece::Month(_), _, _) => None,
        }
    }

    fn piece(&mut self) -> Option<Piece> {
        let digits = self.digits();
        if !digits.is_empty() {
            let value = if digits.len() <= 4 { digits.parse().ok()? } else { return None };
            return Some(Piece::Number { value, digits: digits.len() });
        }
        let word = self.take_while(char::is_alphabetic);
        month(&word.to_lowercase()).map(Piece::Month)
    }

    fn word(&mut self) {
        let last = std::mem::replace(&mut self.last, Last::Other);
        let word = self.take_while(char::is_alphabetic);
        let lower = word.to_lowercase();
        if self.parts.month.is_none()
            && let Some(month) = month(&lower)
        {
            self.parts.month = Some(month);
            return;
        }
        match lower.as_str() {
            "am" | "pm" if self.parts.clock.is_some() => {
                self.parts.afternoon = Some(lower == "pm");
                self.last = Last::Clock;
            }
            _ if self.parts.clock.is_some() && self.parts.zone_minutes.is_none() => {
                if let Some(minutes) = zone::minutes(word) {
                    self.parts.zone_minutes = Some(minutes);
                    self.last = Last::Zone;
                }
            }
            // `+00:00Z`: some add the letter to an offset; it says nothing new.
            _ => self.last = if last == Last::Zone { Last::Zone } else { Last::Other },
        }
    }

    /// A sign is an offset only right after a clock, or after a zone's name as in `GMT+3`.
    fn offset_may_follow(&self) -> bool {
        let digit_follows = self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let open = self.parts.zone_minutes.is_none() || self.parts.zone_minutes == Some(0);
        digit_follows && open && self.last != Last::Other
    }

    fn offset(&mut self, sign: char) -> Option<()> {
        self.skip(1);
        let digits = self.digits();
        let value: i32 = if digits.len() <= 4 { digits.parse().ok()? } else { return None };
        let (hours, minutes) = if digits.len() > 2 {
            (value / 100, value % 100)
        } else if self.sign_then(':', |c| c.is_ascii_digit()) {
            self.skip(1);
            (value, i32::try_from(self.two_digits()?).ok()?)
        } else {
            (value, 0)
        };
        if hours > 23 || minutes > 59 {
            return None;
        }
        let total = hours * 60 + minutes;
        self.parts.zone_minutes = Some(if sign == '-' { -total } else { total });
        self.last = Last::Other;
        Some(())
    }
}

impl Parts {
    fn set(&mut self, year: Option<u32>, month: u32, day: Option<u32>) -> Option<()> {
        self.year = match year {
            Some(year) => Some(i32::try_from(year).ok()?),
            None => None,
        };
        self.month = Some(u8::try_from(month).ok()?);
        self.day = match day {
            Some(day) => Some(u8::try_from(day).ok()?),
            None => None,
        };
        Some(())
    }
}

impl Piece {
    fn number(self) -> Option<u32> {
        match self {
            Piece::Number { value, .. } => Some(value),
            Piece::Month(_) => None,
        }
    }

    /// Two or four digits as a year.
    fn year(self, reference: Reference) -> Option<u32> {
        match self {
            Piece::Number { value, digits: 4 } => Some(value),
            Piece::Number { value, digits: 2 } => u32::try_from(full_year(value, reference)).ok(),
            Piece::Number { .. } | Piece::Month(_) => None,
        }
    }
}

/// A year that was given must be readable; one that was not is `None`.
fn flatten(year: Option<Option<u32>>) -> Option<Option<u32>> {
    match year {
        Some(None) => None,
        Some(Some(year)) => Some(Some(year)),
        None => Some(None),
    }
}

fn month_first(a: u32, b: u32) -> (u32, u32) {
    if a > 12 && b <= 12 { (b, a) } else { (a, b) }
}

/// Two digits become the year nearest to the receipt.
fn full_year(two_digits: u32, reference: Reference) -> i32 {
    let (now, _, _) = reference.received.civil_date();
    let year = now - now.rem_euclid(100) + i32::try_from(two_digits % 100).unwrap_or_default();
    if year >= now + 50 {
        year - 100
    } else if year < now - 50 {
        year + 100
    } else {
        year
    }
}

fn micros_of(fraction: &str) -> u32 {
    fraction.bytes().chain(std::iter::repeat(b'0')).take(6).fold(0, |sum, c| sum * 10 + u32::from(c - b'0'))
}
