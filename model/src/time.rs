//! Instants in microseconds UTC, the ISO form that MozDef stores, and the
//! clock that is passed to everything which needs the time.
//!
//! In: RFC 3339 text or numbers. Out: [`Timestamp`]. Never: guesses; the
//! loose dates of syslog and shippers are read by the normalizer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// An instant: microseconds since 1970-01-01T00:00:00Z. Years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// First instant that can be written: year 1.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// Last instant that can be written: end of year 9999.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// From microseconds; out of range gives the nearest bound.
    pub const fn from_micros(micros: i64) -> Timestamp {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(micros)
        }
    }

    /// From milliseconds; out of range gives the nearest bound.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved by milliseconds, within range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Timestamp {
        Self::from_micros(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// Reads RFC 3339 (also a space for `T`, a comma before the fraction, and `+02` or `+0200` for `+02:00`). A
    /// missing zone is UTC. `None` for what is no date, or is out of range in UTC.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        parse_iso(text.as_bytes())
    }

    /// `YYYYMMDD` in UTC, as in names of daily indices.
    pub fn day(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(86_400_000_000));
        format!("{year:04}{month:02}{day:02}")
    }

    /// `YYYYMM` in UTC, as in names of monthly indices.
    pub fn month(self) -> String {
        let (year, month, _) = civil(self.0.div_euclid(86_400_000_000));
        format!("{year:04}{month:02}")
    }

    /// Year, month (1-12) and day (1-31) in UTC.
    pub fn civil_date(self) -> (i32, u8, u8) {
        let (year, month, day) = civil(self.0.div_euclid(86_400_000_000));
        (year as i32, month as u8, day as u8)
    }

    /// The instant of a UTC civil time, `None` where there is no such day or time.
    pub fn from_civil(year: i32, month: u8, day: u8, seconds_of_day: u32, micros: u32) -> Option<Timestamp> {
        if !(1..=9999).contains(&year) || seconds_of_day >= 86_400 || micros >= 1_000_000 {
            return None;
        }
        let length = days_in_month(i64::from(year), i64::from(month))?;
        if day == 0 || i64::from(day) > length {
            return None;
        }
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day));
        Some(Timestamp((days * 86_400 + i64::from(seconds_of_day)) * 1_000_000 + i64::from(micros)))
    }
}

/// `2016-07-13T14:33:31.625443+00:00`; the fraction only when it is not zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(86_400_000_000);
        let in_day = self.0.rem_euclid(86_400_000_000);
        let (year, month, day) = civil(days);
        let seconds = in_day / 1_000_000;
        let micros = in_day % 1_000_000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("+00:00")
    }
}

/// Days since 1970 to a proleptic Gregorian date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// Fixed layout `YYYY-MM-DD[T ]HH:MM:SS[.digits][Z|±HH[:]MM]`; a leap second counts as the next second.
fn parse_iso(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| -> Option<i64> {
        text.get(from..to)?
            .iter()
            .try_fold(0_i64, |sum, c| c.is_ascii_digit().then(|| sum * 10 + i64::from(c - b'0')))
    };
    let at = |index: usize| text.get(index).copied();
    let separators =
        at(4) == Some(b'-') && at(7) == Some(b'-') && at(13) == Some(b':') && at(16) == Some(b':');
    if !separators || !matches!(at(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year == 0 || day == 0 || day > days_in_month(year, month)? || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some((b'.' | b',', fraction)) = rest.split_first() {
        let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let padded = fraction.iter().take(digits).chain(std::iter::repeat(&b'0')).take(6);
        micros = padded.fold(0_i64, |sum, c| sum * 10 + i64::from(c - b'0'));
        rest = fraction.get(digits..)?;
    }
    let offset_minutes = parse_offset(rest)?;
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_minutes * 60;
    let micros = seconds * 1_000_000 + micros;
    (Timestamp::MIN.0..=Timestamp::MAX.0).contains(&micros).then_some(Timestamp(micros))
}

fn parse_offset(text: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *text {
        [] | [b'Z' | b'z'] => return Some(0),
        [sign, a, b] => (sign, [a, b], [b'0', b'0']),
        [sign, a, b, c, d] | [sign, a, b, b':', c, d] => (sign, [a, b], [c, d]),
        _ => return None,
    };
    let number = |[tens, ones]: [u8; 2]| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let hours = number(hours).filter(|hours| *hours < 24)?;
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    match sign {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

/// Where the time comes from. Passed in, so that tests and the simulator set it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands until it is set; for tests and `--now`.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn manual(now: Timestamp) -> Clock {
        Clock::Manual(Arc::new(AtomicI64::new(now.micros())))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => system_now(),
            Clock::Manual(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock; the machine's clock is left alone.
    pub fn set(&self, now: Timestamp) {
        if let Clock::Manual(micros) = self {
            micros.store(now.micros(), Ordering::SeqCst);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn system_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Clock, Timestamp};

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let got = Timestamp::parse_rfc3339(input).map(|t| t.to_string());
        assert_eq!(got.as_deref(), Some(expected), "{input}");
    }

    #[test]
    fn iso_forms_are_read_and_written() {
        check("2016-07-13T14:33:31.625443+00:00", "2016-07-13T14:33:31.625443+00:00");
        check("2016-07-13 14:33:31Z", "2016-07-13T14:33:31+00:00");
        check("2016-07-13T14:33:31.5-0700", "2016-07-13T21:33:31.500000+00:00");
        check("2016-07-13T14:33:31,25+02", "2016-07-13T12:33:31.250000+00:00");
        check("2000-02-29T23:59:60Z", "2000-03-01T00:00:00+00:00");
        check("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999+00:00");
        check("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "2016",
            "2016-13-01T00:00:00Z",
            "2015-02-29T00:00:00Z",
            "2016-07-13T24:00:00Z",
            "2016-07-13T14:33:31.Z",
            "2016-07-13T14:33:31+99:00",
            "2016-07-13T14:33:31 Z",
            "ä016-07-13T14:33:31",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn civil_dates_round_trip_over_four_centuries() {
        for day in (0..146_097).step_by(7) {
            let micros = (day - 20_000) * 86_400_000_000;
            let (year, month, of_month) = Timestamp::from_micros(micros).civil_date();
            assert_eq!(
                Timestamp::from_civil(year, month, of_month, 0, 0).map(Timestamp::micros),
                Some(micros)
            );
        }
        assert_eq!(Timestamp::from_millis(1_718_000_000_000).day(), "20240610");
        assert_eq!(Timestamp::from_millis(1_718_000_000_000).month(), "202406");
    }

    #[test]
    fn instants_stay_within_their_range() {
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.plus_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_millis(-1), Timestamp::MIN);
        assert_eq!(Timestamp::from_micros(-1).millis(), -1);
        for (instant, text) in [
            (Timestamp::MIN, "0001-01-01T00:00:00+00:00"),
            (Timestamp::MAX, "9999-12-31T23:59:59.999999+00:00"),
            (Timestamp::from_micros(-1), "1969-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(instant.to_string(), text);
            assert_eq!(Timestamp::parse_rfc3339(text), Some(instant));
        }
        for bad in [
            (0, 1, 1, 0, 0),
            (10_000, 1, 1, 0, 0),
            (2023, 2, 29, 0, 0),
            (2023, 13, 1, 0, 0),
            (2023, 0, 1, 0, 0),
            (2023, 1, 0, 0, 0),
            (2023, 1, 1, 86_400, 0),
            (2023, 1, 1, 0, 1_000_000),
        ] {
            let (year, month, day, seconds, micros) = bad;
            assert_eq!(Timestamp::from_civil(year, month, day, seconds, micros), None, "{bad:?}");
        }
    }

    #[test]
    fn the_machines_clock_goes_and_is_not_set() {
        let before = Clock::System.now();
        Clock::System.set(Timestamp::EPOCH);
        assert!(Clock::System.now() >= before && before > Timestamp::from_millis(1_700_000_000_000));
    }

    #[test]
    fn a_manual_clock_stands_until_set() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        assert_eq!(clock.now().millis(), 5);
        clock.set(Timestamp::from_millis(9));
        assert_eq!(clock.now().millis(), 9);
    }
}
