//! Tables of dates, and that no text makes the reader panic.

use model::event::Value;
use model::time::Timestamp;
use proptest::prelude::*;

use super::{Reference, from_text, to_utc, zone};

fn reference() -> Reference {
    Reference::utc(Timestamp::parse_rfc3339("2020-03-04T05:06:07Z").unwrap())
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let got = from_text(text, reference()).map(|t| t.to_string());
    assert_eq!(got.as_deref(), (expected != "-").then_some(expected), "{text}");
}

#[track_caller]
fn check_number(text: &str, expected: &str) {
    let got = to_utc(Value::Number(text), reference()).map(|t| t.to_string());
    assert_eq!(got.as_deref(), (expected != "-").then_some(expected), "{text}");
}

#[test]
fn full_dates() {
    check("2017-05-25T07:14:15Z", "2017-05-25T07:14:15+00:00");
    check("2014-02-14T11:48:19.035762739-05:00", "2014-02-14T16:48:19.035762+00:00");
    check("2017-05-25", "2017-05-25T00:00:00+00:00");
    check("2017-05-25T07:14Z", "2017-05-25T07:14:00+00:00");
    check("2017/05/25 07:14:15,250", "2017-05-25T07:14:15.250000+00:00");
    check("20170525T071415", "2017-05-25T07:14:15+00:00");
    check("20170525T071415.5Z", "2017-05-25T07:14:15.500000+00:00");
    check("20170525071415Z", "2017-05-25T07:14:15+00:00");
    check("Thu, 25 May 2017 07:14:15 GMT", "2017-05-25T07:14:15+00:00");
    check("Thu May 25 07:14:15 EDT 2017", "2017-05-25T11:14:15+00:00");
    check("25/May/2017:07:14:15 +0200", "2017-05-25T05:14:15+00:00");
    check("25-May-17 07:14", "2017-05-25T07:14:00+00:00");
    check("May 25, 2017 7:14:15 PM", "2017-05-25T19:14:15+00:00");
    check("5/25/2017 12:00:01 AM", "2017-05-25T00:00:01+00:00");
    check("May 25 2017 7pm", "2017-05-25T19:00:00+00:00");
    check("13/06/2017", "2017-06-13T00:00:00+00:00");
    check("06/05/2017", "2017-06-05T00:00:00+00:00");
    check("13.06.2017 10:00", "2017-06-13T10:00:00+00:00");
    check("2017-05", "2017-05-01T00:00:00+00:00");
    check("May 2017", "2017-05-01T00:00:00+00:00");
    check("2016-12-31 23:59:60 UTC", "2017-01-01T00:00:00+00:00");
}

#[test]
fn zones() {
    check("2018-07-13T22:33:31 PST", "2018-07-14T06:33:31+00:00");
    check("2018-07-13 22:33:31 XYZ", "2018-07-13T22:33:31+00:00");
    check("2018-07-13 22:33:31 GMT+3", "2018-07-13T19:33:31+00:00");
    check("04 May 2020 12:59:57 (GMT-1:00)", "2020-05-04T13:59:57+00:00");
    check("2026-08-03T09:05:07.123456+00:00Z", "2026-08-03T09:05:07.123456+00:00");
    check("2018-07-13 22:33:31 -08", "2018-07-14T06:33:31+00:00");
    assert_eq!(zone::minutes("cest"), Some(120));
    assert_eq!(zone::minutes("ABCDEFGH"), None);
    let east = Reference { zone_minutes: 60, ..reference() };
    let read = |text| from_text(text, east).map(|t| t.to_string()).unwrap_or_default();
    assert_eq!(read("2018-07-13T22:33:31"), "2018-07-13T21:33:31+00:00");
    assert_eq!(read("2018-07-13T22:33:31Z"), "2018-07-13T22:33:31+00:00");
    assert_eq!(read("Jul 13 22:33:31 2018"), "2018-07-13T21:33:31+00:00");
}

#[test]
fn a_date_without_a_year_is_the_latest_not_more_than_a_day_ahead() {
    check("Jan  2 08:01:57", "2020-01-02T08:01:57+00:00");
    check("Oct 27 14:01:12", "2019-10-27T14:01:12+00:00");
    check("Mar  5 05:06:07", "2020-03-05T05:06:07+00:00");
    check("Mar  5 05:06:08", "2019-03-05T05:06:08+00:00");
    check("25-Aug 10:50", "2019-08-25T10:50:00+00:00");
    check("27/10 14:01:12", "2019-10-27T14:01:12+00:00");
    check("août 19 11:08:37", "2019-08-19T11:08:37+00:00");
    let new_year = Reference::utc(Timestamp::parse_rfc3339("2020-12-31T23:59:50Z").unwrap());
    let read = |text| from_text(text, new_year).map(|t| t.to_string()).unwrap_or_default();
    assert_eq!(read("Jan  1 00:00:01"), "2021-01-01T00:00:01+00:00");
    let long_before = Reference::utc(Timestamp::parse_rfc3339("2019-01-01T00:00:00Z").unwrap());
    let leap = from_text("Feb 29 01:00:00", long_before).map(|t| t.to_string());
    assert_eq!(leap.as_deref(), Some("2016-02-29T01:00:00+00:00"));
}

#[test]
fn numbers() {
    check_number("1468443523", "2016-07-13T20:58:43+00:00");
    check_number("1468443523000", "2016-07-13T20:58:43+00:00");
    check_number("1468443523000000", "2016-07-13T20:58:43+00:00");
    check_number("1468443523000000000", "2016-07-13T20:58:43+00:00");
    check_number("1", "1970-01-01T00:00:01+00:00");
    check_number("0", "1970-01-01T00:00:00+00:00");
    check_number("-5", "-");
    check_number("-5.5", "1970-01-01T00:00:00+00:00");
    check_number("1468443523250.0", "2016-07-13T20:58:43.250000+00:00");
    check_number("1.468443523e+18", "2016-07-13T20:58:43+00:00");
    check_number("1e999", "-");
    check_number("99999999999999999999999999999999999999999999", "-");
    check("1468443523", "2016-07-13T20:58:43+00:00");
    check("1468443523.25", "2016-07-13T20:58:43.250000+00:00");
    check("2017", "2017-01-01T00:00:00+00:00");
    check("-12345", "1970-01-01T00:00:00+00:00");
    check("0.0000", "1970-01-01T00:00:00+00:00");
}

#[test]
fn what_says_no_date() {
    for text in [
        "",
        " ",
        "not a date",
        "Monday",
        "10:11:12",
        "now",
        "Aug",
        "2017-13-45",
        "2017-02-30",
        "1.2.3.4",
        "2003-08-24T05:14:15.000003-24:00",
        "May",
        "99:99:99",
        "12345678901234567890 May 5",
        "-",
        "+",
        ":::",
    ] {
        check(text, "-");
    }
    check(&"May 5 ".repeat(40), "-");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", zone_minutes in -900..900_i32) {
        let reference = Reference { zone_minutes, ..reference() };
        prop_assert!(from_text(&text, reference).is_none_or(|t| t >= Timestamp::MIN && t <= Timestamp::MAX));
    }

    #[test]
    fn no_text_of_dates_pieces_panics(text in "([0-9]{1,9}|[-/.:,+ TZ]|Jan|août|pm|GMT|PST|Mon){0,12}") {
        prop_assert!(from_text(&text, reference()).is_none_or(|t| t >= Timestamp::MIN && t <= Timestamp::MAX));
    }

    #[test]
    fn what_is_written_is_read_back(micros in 0_i64..4_000_000_000_000_000) {
        let time = Timestamp::from_micros(micros);
        prop_assert_eq!(from_text(&time.to_string(), reference()), Some(time));
        let spaced = time.to_string().replace('T', "  ");
        prop_assert_eq!(from_text(&spaced, reference()), Some(time));
    }
}
