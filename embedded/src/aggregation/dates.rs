//! How dates of buckets are written: OpenSearch's default form, or a simple pattern of Java's letters.
//!
//! In: `yyyy-MM-dd HH:mm`. Out: text. Letters that are not known are refused when the pattern is read.

use jiff::tz::TimeZone;

use crate::dates::{format_millis, to_civil};

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct DatePattern(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Iso,
    EpochMillis,
    EpochSecond,
    Literal(String),
    /// A letter and how many digits.
    Number(char, usize),
}

impl DatePattern {
    /// Reads a format; the error is the part that is not known.
    pub(crate) fn read(text: &str) -> Result<DatePattern, String> {
        let first = text.split("||").next().unwrap_or_default();
        let part = match first {
            "strict_date_optional_time"
            | "date_optional_time"
            | "strict_date_time"
            | "date_time"
            | "iso8601" => Part::Iso,
            "epoch_millis" => Part::EpochMillis,
            "epoch_second" => Part::EpochSecond,
            pattern => return letters(pattern).map(DatePattern),
        };
        Ok(DatePattern(vec![part]))
    }

    /// Writes an instant in a zone.
    pub(crate) fn write(&self, millis: i64, zone: &TimeZone) -> String {
        let Some(civil) = to_civil(millis, zone) else { return millis.to_string() };
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Iso => out.push_str(&in_zone(millis, zone)),
                Part::EpochMillis => out.push_str(&millis.to_string()),
                Part::EpochSecond => out.push_str(&millis.div_euclid(1000).to_string()),
                Part::Literal(text) => out.push_str(text),
                Part::Number(letter, width) => {
                    let number = match letter {
                        'y' => i64::from(civil.year()),
                        'M' => i64::from(civil.month()),
                        'd' => i64::from(civil.day()),
                        'H' => i64::from(civil.hour()),
                        'm' => i64::from(civil.minute()),
                        's' => i64::from(civil.second()),
                        _ => i64::from(civil.subsec_nanosecond() / 1_000_000),
                    };
                    out.push_str(&format!("{number:0width$}"));
                }
            }
        }
        out
    }
}

fn letters(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            'y' | 'u' | 'M' | 'd' | 'H' | 'm' | 's' | 'S' => {
                let mut width: usize = 1;
                while chars.next_if_eq(&c).is_some() {
                    width = width.saturating_add(1);
                }
                let letter = if c == 'u' { 'y' } else { c };
                let allowed: &[usize] = match letter {
                    'y' => &[4],
                    'S' => &[3],
                    _ => &[1, 2],
                };
                if !allowed.contains(&width) {
                    return Err(pattern.to_owned());
                }
                parts.push(Part::Number(letter, width));
            }
            '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(other) => text.push(other),
                        None => return Err(pattern.to_owned()),
                    }
                }
                parts.push(Part::Literal(text));
            }
            letter if letter.is_alphabetic() => return Err(pattern.to_owned()),
            literal => parts.push(Part::Literal(literal.to_string())),
        }
    }
    if parts.is_empty() { Err(pattern.to_owned()) } else { Ok(parts) }
}

/// `2020-03-04T05:06:07.000Z`, or with the zone's offset.
pub(crate) fn in_zone(millis: i64, zone: &TimeZone) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(millis) else { return millis.to_string() };
    let seconds = i64::from(zone.to_offset(instant).seconds());
    if seconds == 0 {
        return format_millis(millis);
    }
    let local = format_millis(millis.saturating_add(seconds.saturating_mul(1000)));
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::{DatePattern, in_zone};
    use crate::dates::read_zone;
    use jiff::tz::TimeZone;

    #[test]
    fn patterns_write_dates() {
        let millis = 1_583_298_367_089;
        for (pattern, expected) in [
            ("yyyy-MM-dd", "2020-03-04"),
            ("yyyy/M/d HH:mm:ss.SSS", "2020/3/4 05:06:07.089"),
            ("yyyy-MM-dd'T'HH", "2020-03-04T05"),
            ("epoch_second", "1583298367"),
            ("strict_date_optional_time||epoch_millis", "2020-03-04T05:06:07.089Z"),
        ] {
            assert_eq!(DatePattern::read(pattern).unwrap().write(millis, &TimeZone::UTC), expected);
        }
        for bad in ["EEE", "yy", "'x", "", "SSSSSS"] {
            assert!(DatePattern::read(bad).is_err(), "{bad}");
        }
        assert_eq!(in_zone(millis, &read_zone("-03:30").unwrap()), "2020-03-04T01:36:07.089-03:30");
    }
}
