//! Dates rounded down to the start of a step: fixed lengths or units of the calendar, in a zone.
//!
//! In: milliseconds. Out: the start of the step, and the start of the next one.

use jiff::tz::TimeZone;

use crate::dates::{self, Unit};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// So many milliseconds, shifted by an offset.
    Fixed { millis: i64, offset: i64 },
    /// A unit of the calendar, shifted by an offset in milliseconds.
    Calendar { unit: Unit, offset: i64 },
}

impl Rounding {
    /// Start of the step that holds `millis`, and of the next step.
    pub(crate) fn step(self, millis: i64, zone: &TimeZone) -> Option<(i64, i64)> {
        match self {
            Rounding::Fixed { millis: length, offset } => {
                // Fixed steps begin at midnight of the zone, where that can be.
                let local = local_offset(millis, zone)?;
                let shifted = millis.checked_add(local)?.checked_sub(offset)?;
                let start = shifted.div_euclid(length).checked_mul(length)?;
                let start = start.checked_add(offset)?.checked_sub(local)?;
                Some((start, start.checked_add(length)?))
            }
            Rounding::Calendar { unit, offset } => {
                let civil = dates::to_civil(millis.checked_sub(offset)?, zone)?;
                let start = dates::floor(civil, unit)?;
                let next = dates::add(start, 1, unit)?;
                let (start, next) = (dates::from_civil(start, zone)?, dates::from_civil(next, zone)?);
                Some((start.checked_add(offset)?, next.checked_add(offset)?))
            }
        }
    }
}

fn local_offset(millis: i64, zone: &TimeZone) -> Option<i64> {
    let offset = zone.to_offset(jiff::Timestamp::from_millisecond(millis).ok()?);
    i64::from(offset.seconds()).checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::Rounding;
    use crate::dates::{DateFormats, Round, Unit, format_millis, read_zone};
    use jiff::tz::TimeZone;

    #[track_caller]
    fn check(rounding: Rounding, zone: &str, at: &str, start: &str, next: &str) {
        let millis = DateFormats::default().read(at, &TimeZone::UTC, Round::Down).unwrap();
        let (got, after) = rounding.step(millis, &read_zone(zone).unwrap()).unwrap();
        assert_eq!((format_millis(got).as_str(), format_millis(after).as_str()), (start, next), "{at}");
    }

    #[test]
    fn steps_begin_where_they_should() {
        let hour = Rounding::Fixed { millis: 3_600_000, offset: 0 };
        check(hour, "UTC", "1969-12-31T23:59:59Z", "1969-12-31T23:00:00.000Z", "1970-01-01T00:00:00.000Z");
        let day = Rounding::Fixed { millis: 86_400_000, offset: 0 };
        check(day, "+02:00", "2020-03-04T23:00:00Z", "2020-03-04T22:00:00.000Z", "2020-03-05T22:00:00.000Z");
        let month = Rounding::Calendar { unit: Unit::Month, offset: 0 };
        check(month, "UTC", "2020-02-29T12:00:00Z", "2020-02-01T00:00:00.000Z", "2020-03-01T00:00:00.000Z");
        let week = Rounding::Calendar { unit: Unit::Week, offset: 0 };
        check(week, "UTC", "2020-03-01T12:00:00Z", "2020-02-24T00:00:00.000Z", "2020-03-02T00:00:00.000Z");
        let shifted = Rounding::Calendar { unit: Unit::Day, offset: 3_600_000 };
        check(shifted, "UTC", "2020-03-04T00:30:00Z", "2020-03-03T01:00:00.000Z", "2020-03-04T01:00:00.000Z");
    }
}
