//! What a detection means once its modifiers are applied: a tree of tests.
//!
//! In: the front end. Out: [`Expr`], and its canonical text, which is what a
//! rule's generation digests. Never: places, paths or compiled things.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::sigma::pattern::Pattern;
use crate::sigma::pcre::Flags;

/// A tree of tests.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All hold; holds when empty.
    All(Vec<Expr>),
    /// One holds; fails when empty.
    Any(Vec<Expr>),
    /// Negation.
    Not(Box<Expr>),
    /// A test of a field, or of every value of the event.
    Test(Test),
}

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The field as written; `None`: any value of the event (keywords).
    pub field: Option<String>,
    /// What is asked of a value of it.
    pub check: Check,
}

/// What is asked of a value. A field with several values (a list) passes when one does.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Its text fits one of these.
    Text {
        /// The patterns.
        patterns: Vec<Pattern>,
        /// Whether case counts.
        cased: bool,
    },
    /// Its text is matched by this expression.
    Regex {
        /// As written; it has been compiled once, so it is sound.
        pattern: String,
        /// `i`, `m`, `s`.
        flags: Flags,
    },
    /// It is an address in one of these networks.
    Cidr(Vec<IpNet>),
    /// It is a number that compares so.
    Compare {
        /// How.
        op: Op,
        /// With what.
        number: Number,
    },
    /// Part of a date that compares so.
    Date {
        /// Which part.
        part: DatePart,
        /// How.
        op: Op,
        /// With what.
        number: u32,
    },
    /// The field is there, whatever its value (`true`), or is not (`false`).
    Exists(bool),
    /// The field is absent, null or an empty list.
    Null,
    /// Its text and that of another field compare so.
    Field {
        /// The other field.
        other: String,
        /// How the first relates to the other.
        how: How,
        /// Whether case counts.
        cased: bool,
    },
    /// These words stand in it, one after the other; any of the phrases.
    Phrase(Vec<Vec<String>>),
}

/// How numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Equal.
    Eq,
}

impl Op {
    /// Whether an ordering satisfies it.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Op::Lt => ordering.is_lt(),
            Op::Lte => ordering.is_le(),
            Op::Gt => ordering.is_gt(),
            Op::Gte => ordering.is_ge(),
            Op::Eq => ordering.is_eq(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Op::Lt => "lt",
            Op::Lte => "lte",
            Op::Gt => "gt",
            Op::Gte => "gte",
            Op::Eq => "eq",
        }
    }
}

/// A number, exact where it is an integer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Int(i128),
    /// Any other finite number.
    Float(f64),
}

impl Number {
    /// Reads decimal text such as `10`, `-3` or `2.5e3`; surrounding white space, `inf` and `nan` are no numbers.
    pub fn parse(text: &str) -> Option<Number> {
        let first = text.as_bytes().first()?;
        if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
            return None;
        }
        if let Ok(int) = text.parse::<i128>() {
            return Some(Number::Int(int));
        }
        text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Number::Float)
    }

    /// Compares; an integer and a float by their value as floats.
    pub fn compare(self, other: Number) -> std::cmp::Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(&b),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            // Minus zero is zero.
            Number::Float(float) => float + 0.0,
        }
    }
}

/// How the text of a field relates to that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They are equal.
    Equals,
    /// The first begins with the other.
    Starts,
    /// The first ends with the other.
    Ends,
    /// The first has the other somewhere.
    Contains,
}

/// Parts of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePart {
    /// 0–59.
    Minute,
    /// 0–23.
    Hour,
    /// 1–31.
    Day,
    /// 1–53, ISO 8601.
    Week,
    /// 1–12.
    Month,
    /// The year.
    Year,
}

impl DatePart {
    fn as_str(self) -> &'static str {
        match self {
            DatePart::Minute => "minute",
            DatePart::Hour => "hour",
            DatePart::Day => "day",
            DatePart::Week => "week",
            DatePart::Month => "month",
            DatePart::Year => "year",
        }
    }
}

impl Expr {
    /// Appends the canonical text: equal texts match equal events.
    pub fn write_canonical(&self, out: &mut String) {
        let many = |out: &mut String, word: &str, all: &[Expr]| {
            out.push_str(word);
            out.push('(');
            for (i, one) in all.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                one.write_canonical(out);
            }
            out.push(')');
        };
        match self {
            Expr::All(all) => many(out, "all", all),
            Expr::Any(all) => many(out, "any", all),
            Expr::Not(inner) => {
                out.push_str("not(");
                inner.write_canonical(out);
                out.push(')');
            }
            Expr::Test(test) => {
                match &test.field {
                    Some(field) => quote(out, field),
                    None => out.push('*'),
                }
                test.check.write_canonical(out);
            }
        }
    }

    /// Shows each test.
    pub fn visit<'e>(&'e self, see: &mut dyn FnMut(&'e Test)) {
        match self {
            Expr::All(all) | Expr::Any(all) => all.iter().for_each(|e| e.visit(see)),
            Expr::Not(inner) => inner.visit(see),
            Expr::Test(test) => see(test),
        }
    }
}

impl Check {
    /// Appends the canonical text.
    pub fn write_canonical(&self, out: &mut String) {
        // Writing to a String does not fail.
        let written = match self {
            Check::Text { patterns, cased } => {
                out.push_str(if *cased { " cased" } else { " text" });
                patterns.iter().for_each(|p| quote(out, &p.to_string()));
                Ok(())
            }
            Check::Regex { pattern, flags } => {
                write!(out, " re {}{}{}", flags.ignore_case, flags.multi_line, flags.dot_all)
                    .map(|()| quote(out, pattern))
            }
            Check::Cidr(nets) => {
                out.push_str(" cidr");
                nets.iter().for_each(|n| quote(out, &n.to_string()));
                Ok(())
            }
            Check::Compare { op, number } => write!(out, " {} {number:?}", op.as_str()),
            Check::Date { part, op, number } => write!(out, " {} {} {number}", part.as_str(), op.as_str()),
            Check::Exists(yes) => write!(out, " exists {yes}"),
            Check::Null => {
                out.push_str(" null");
                Ok(())
            }
            Check::Field { other, how, cased } => {
                write!(out, " field {how:?} {cased}").map(|()| quote(out, other))
            }
            Check::Phrase(phrases) => {
                out.push_str(" phrase");
                phrases.iter().for_each(|p| quote(out, &p.join(" ")));
                Ok(())
            }
        };
        debug_assert!(written.is_ok(), "writing to a string failed");
    }
}

/// Length first, so that no two lists of texts run together.
fn quote(out: &mut String, text: &str) {
    let written = write!(out, " {}:{text}", text.len());
    debug_assert!(written.is_ok(), "writing to a string failed");
}

/// Reads an address in any of its forms; an IPv4 address mapped into IPv6 is the IPv4 address, a zone is dropped.
pub fn address(text: &str) -> Option<IpAddr> {
    let plain = text.split_once('%').map_or(text, |(before, _)| before);
    plain.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{Number, address};

    #[test]
    fn integers_compare_exactly() {
        let a = Number::parse("9007199254740993").unwrap();
        let b = Number::parse("9007199254740992").unwrap();
        assert!(a.compare(b).is_gt());
        assert!(Number::parse("10").unwrap().compare(Number::parse("9.5").unwrap()).is_gt());
        assert!(Number::parse("-0.0").unwrap().compare(Number::parse("0").unwrap()).is_eq());
        for bad in ["", "abc", "inf", "nan", "0x10", "1 ", "1e999"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address("fe80::1%eth0"), address("fe80::1"));
        assert!(address("10.0.0").is_none());
    }
}
