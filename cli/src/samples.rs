//! Moves the times of log lines so that the newest is now.
//!
//! In: the text of a log file: syslog or JSON lines. Out: the same text with
//! every time shifted by the same amount, in the same form. Never: a change
//! to anything that is not a time.

use std::sync::LazyLock;

use model::time::Timestamp;
use regex::{Captures, Regex};

/// RFC 3339, anywhere.
#[allow(clippy::expect_used, reason = "a constant pattern")]
static ISO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)").expect("a valid pattern")
});

/// RFC 3164 at the start of a line, with or without a priority; the year is not there.
#[allow(clippy::expect_used, reason = "a constant pattern")]
static BSD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^(<\d{1,3}>)?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ( ?\d{1,2}) (\d\d):(\d\d):(\d\d) ")
        .expect("a valid pattern")
});

/// Seconds since 1970 with a fraction, as Zeek writes `"ts"`.
#[allow(clippy::expect_used, reason = "a constant pattern")]
static EPOCH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""ts": ?(\d{9,10})\.(\d{1,6})"#).expect("a valid pattern"));

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Shifts every time in `text`; text without times is returned as it is.
pub(crate) fn move_to_now(text: &str, now: Timestamp) -> String {
    let (year, _, _) = now.civil_date();
    let isos = ISO.find_iter(text).filter_map(|found| Timestamp::parse_rfc3339(found.as_str()));
    let bsds = BSD.captures_iter(text).filter_map(|found| bsd_time(&found, year));
    let epochs = EPOCH.captures_iter(text).filter_map(|found| epoch_time(&found));
    let Some(newest) = isos.chain(bsds).chain(epochs).max() else {
        return text.to_owned();
    };
    // Whole seconds, so that forms without a fraction keep the same distances.
    let shift_ms = (now.millis() - newest.millis()).div_euclid(1000) * 1000;
    let text = ISO.replace_all(text, |found: &Captures<'_>| moved_iso(found, shift_ms));
    let text = BSD.replace_all(&text, |found: &Captures<'_>| moved_bsd(found, year, shift_ms));
    EPOCH.replace_all(&text, |found: &Captures<'_>| moved_epoch(found, shift_ms)).into_owned()
}

fn group<'t>(found: &Captures<'t>, index: usize) -> &'t str {
    found.get(index).map_or("", |part| part.as_str())
}

fn moved_iso(found: &Captures<'_>, shift_ms: i64) -> String {
    let whole = group(found, 0);
    let Some(time) = Timestamp::parse_rfc3339(whole) else { return whole.to_owned() };
    let text = time.plus_millis(shift_ms).to_string();
    let zone = if group(found, 2) == "Z" { "Z" } else { "+00:00" };
    format!("{}{zone}", text.strip_suffix("+00:00").unwrap_or(&text))
}

fn bsd_time(found: &Captures<'_>, year: i32) -> Option<Timestamp> {
    let month = MONTHS.iter().position(|name| *name == group(found, 2))?;
    let number = |index: usize| group(found, index).trim().parse::<u32>().ok();
    let seconds = number(4)? * 3600 + number(5)? * 60 + number(6)?;
    Timestamp::from_civil(year, u8::try_from(month + 1).ok()?, u8::try_from(number(3)?).ok()?, seconds, 0)
}

fn moved_bsd(found: &Captures<'_>, year: i32, shift_ms: i64) -> String {
    let Some(time) = bsd_time(found, year) else { return group(found, 0).to_owned() };
    let moved = time.plus_millis(shift_ms);
    let (_, month, day) = moved.civil_date();
    let name = MONTHS.get(usize::from(month.saturating_sub(1))).copied().unwrap_or("Jan");
    let of_day = moved.millis().rem_euclid(86_400_000) / 1000;
    format!(
        "{}{name} {day:>2} {:02}:{:02}:{:02} ",
        group(found, 1),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn epoch_time(found: &Captures<'_>) -> Option<Timestamp> {
    let seconds: i64 = group(found, 1).parse().ok()?;
    let micros: i64 = format!("{:0<6}", group(found, 2)).parse().ok()?;
    Some(Timestamp::from_micros(seconds * 1_000_000 + micros))
}

fn moved_epoch(found: &Captures<'_>, shift_ms: i64) -> String {
    let Some(time) = epoch_time(found) else { return group(found, 0).to_owned() };
    let micros = time.plus_millis(shift_ms).micros();
    format!("\"ts\":{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::move_to_now;
    use model::time::Timestamp;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let now = Timestamp::parse_rfc3339("2026-03-01T00:00:10Z").unwrap();
        assert_eq!(move_to_now(input, now), expected);
    }

    #[test]
    fn every_form_keeps_its_form_and_its_distance() {
        check(
            "<34>Oct 11 22:14:15 host su: x\nOct  2 22:14:05 host su: y\n",
            "<34>Mar  1 00:00:10 host su: x\nFeb 20 00:00:00 host su: y\n",
        );
        check(
            r#"{"eventTime":"2020-01-01T00:00:05Z"}{"t":"2020-01-01T00:00:00.250+01:00"}"#,
            r#"{"eventTime":"2026-03-01T00:00:10Z"}{"t":"2026-02-28T23:00:05.250000+00:00"}"#,
        );
        // Whole seconds are moved, and never into the future.
        check(r#"{"ts":1500000000.5,"port":1500000000}"#, r#"{"ts":1772323209.500000,"port":1500000000}"#);
    }

    #[test]
    fn text_without_times_stays() {
        check("no time here\n", "no time here\n");
        check("", "");
    }
}
