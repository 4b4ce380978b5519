//! Parts of dates, as they are written: no zones, no guesses.
//!
//! In: text that begins `YYYY-MM-DD`, with or without `HH:MM`. Out: a number.
//! Never: anything of a text of another form.

use crate::sigma::ast::DatePart;

/// The part of a date, if the text has it.
pub(crate) fn read(text: &str, part: DatePart) -> Option<u32> {
    let digits = |from: usize, to: usize| {
        let part = text.get(from..to)?;
        if part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<u32>().ok() } else { None }
    };
    let is = |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|b| allowed.contains(b));
    if !(is(4, b"-/") && is(7, b"-/")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    match part {
        DatePart::Year => Some(year),
        DatePart::Month => Some(month),
        DatePart::Day => Some(day),
        DatePart::Week => week(year, month, day),
        DatePart::Hour if is(10, b"T ") => digits(11, 13),
        DatePart::Minute if is(10, b"T ") && is(13, b":") => digits(14, 16),
        DatePart::Hour | DatePart::Minute => None,
    }
}

/// The week by ISO 8601: that of the year which holds its Thursday.
fn week(year: u32, month: u32, day: u32) -> Option<u32> {
    let year = i32::try_from(year).ok()?;
    let ordinal = days_before(year, month)? + i64::from(day);
    // Monday is 0.
    let january_first = days_of_years(year).rem_euclid(7);
    let weekday = (january_first + ordinal - 1).rem_euclid(7);
    let week = (ordinal - 1 - weekday + 10) / 7;
    let weeks = |year: i32| {
        let first = days_of_years(year).rem_euclid(7);
        if first == 3 || (first == 2 && leap(year)) { 53 } else { 52 }
    };
    let week = match week {
        0 => weeks(year - 1),
        53 if weeks(year) == 52 => 1,
        w => w,
    };
    u32::try_from(week).ok()
}

fn leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from a Monday (the first of January of year 1) to the first of January.
fn days_of_years(year: i32) -> i64 {
    let before = i64::from(year) - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400)
}

fn days_before(year: i32, month: u32) -> Option<i64> {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let month = usize::try_from(month).ok()?;
    let days = BEFORE.get(month.checked_sub(1)?)?;
    Some(days + i64::from(month > 2 && leap(year)))
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::sigma::ast::DatePart;

    #[track_caller]
    fn check(text: &str, part: DatePart, expected: Option<u32>) {
        assert_eq!(read(text, part), expected, "{text} {part:?}");
    }

    #[test]
    fn parts_are_read_as_written() {
        let text = "2026-11-25T07:08:09+05:00";
        check(text, DatePart::Year, Some(2026));
        check(text, DatePart::Month, Some(11));
        check(text, DatePart::Day, Some(25));
        check(text, DatePart::Hour, Some(7));
        check(text, DatePart::Minute, Some(8));
        check(text, DatePart::Week, Some(48));
        check("2026-11-25", DatePart::Hour, None);
        check("yesterday", DatePart::Year, None);
        check("2026-13-25", DatePart::Month, None);
    }

    #[test]
    fn weeks_follow_iso_8601() {
        for (date, week) in [
            ("2005-01-01", 53),
            ("2005-01-02", 53),
            ("2005-12-31", 52),
            ("2006-01-01", 52),
            ("2007-01-01", 1),
            ("2007-12-31", 1),
            ("2008-12-29", 1),
            ("2009-12-31", 53),
            ("2010-01-03", 53),
            ("2020-12-31", 53),
            ("2024-02-29", 9),
        ] {
            check(date, DatePart::Week, Some(week));
        }
    }
}
