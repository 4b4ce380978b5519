//! Strings with wildcards: `*` for any run of characters, `?` for one, and
//! the backslash rules of the specification.
//!
//! In: the text of a value. Out: a [`Pattern`], its parts merged. Never: the
//! text of an event.

use std::fmt;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Exactly this text; never empty.
    Text(String),
    /// Any run of characters, also none.
    Star,
    /// One character.
    One,
}

/// A string with wildcards. Neighbouring texts and stars are one part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Pattern(Vec<Part>);

/// What a pattern amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'p> {
    /// The whole text is this.
    Equals(&'p str),
    /// The text begins so.
    Starts(&'p str),
    /// The text ends so.
    Ends(&'p str),
    /// The text has this somewhere.
    Contains(&'p str),
    /// Any text.
    Anything,
    /// More than one text, or a `?`.
    Glob(&'p [Part]),
}

impl Pattern {
    /// Reads wildcards and escapes. `\*`, `\?` and `\\` are the plain character; any other backslash is itself.
    pub fn parse(text: &str) -> Pattern {
        let mut pattern = Pattern::default();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.peek().copied() {
                    Some(next @ ('*' | '?' | '\\')) => {
                        chars.next();
                        pattern.push_char(next);
                    }
                    _ => pattern.push_char('\\'),
                },
                '*' => pattern.push(Part::Star),
                '?' => pattern.push(Part::One),
                _ => pattern.push_char(c),
            }
        }
        pattern
    }

    /// A text without wildcards.
    pub fn literal(text: &str) -> Pattern {
        let mut pattern = Pattern::default();
        pattern.push(Part::Text(text.to_owned()));
        pattern
    }

    /// A pattern of these parts, merged.
    pub fn from_parts(parts: impl IntoIterator<Item = Part>) -> Pattern {
        let mut pattern = Pattern::default();
        for part in parts {
            pattern.push(part);
        }
        pattern
    }

    /// The parts.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The text, when there is no wildcard.
    pub fn as_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// `*` before and after.
    #[must_use]
    pub fn contained(self) -> Pattern {
        Pattern::from_parts(std::iter::once(Part::Star).chain(self.0).chain([Part::Star]))
    }

    /// `*` after.
    #[must_use]
    pub fn at_start(self) -> Pattern {
        Pattern::from_parts(self.0.into_iter().chain([Part::Star]))
    }

    /// `*` before.
    #[must_use]
    pub fn at_end(self) -> Pattern {
        Pattern::from_parts(std::iter::once(Part::Star).chain(self.0))
    }

    /// The cheapest way to test it.
    pub fn shape(&self) -> Shape<'_> {
        match self.0.as_slice() {
            [] => Shape::Equals(""),
            [Part::Text(text)] => Shape::Equals(text),
            [Part::Star] => Shape::Anything,
            [Part::Text(text), Part::Star] => Shape::Starts(text),
            [Part::Star, Part::Text(text)] => Shape::Ends(text),
            [Part::Star, Part::Text(text), Part::Star] => Shape::Contains(text),
            parts => Shape::Glob(parts),
        }
    }

    fn push_char(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.0.push(Part::Text(c.to_string())),
        }
    }

    fn push(&mut self, part: Part) {
        match (self.0.last_mut(), part) {
            (_, Part::Text(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (Some(Part::Star), Part::Star) => {}
            (_, part) => self.0.push(part),
        }
    }
}

/// As a rule would write it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Star => f.write_str("*")?,
                Part::One => f.write_str("?")?,
                Part::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '*' | '?' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Part, Pattern};

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let parts: Vec<String> = Pattern::parse(text)
            .parts()
            .iter()
            .map(|p| match p {
                Part::Text(t) => t.clone(),
                Part::Star => "<*>".to_owned(),
                Part::One => "<?>".to_owned(),
            })
            .collect();
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn escapes_follow_the_specification() {
        check(r"C:\Windows\a.exe", &[r"C:\Windows\a.exe"]);
        check(r"\\server\share", &[r"\server\share"]);
        check(r"a\*b", &["a*b"]);
        check(r"a\\*b", &[r"a\", "<*>", "b"]);
        check(r"a\\\*b", &[r"a\*b"]);
        check(r"\\\\x", &[r"\\x"]);
        check(r"\\\x", &[r"\\x"]);
        check("prog?.exe", &["prog", "<?>", ".exe"]);
        check("a**b", &["a", "<*>", "b"]);
        check(r"trailing\", &[r"trailing\"]);
        check("", &[]);
    }

    proptest! {
        #[test]
        fn writing_and_reading_gives_the_same(text in r"[a\\*?]{0,12}") {
            let pattern = Pattern::parse(&text);
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), pattern);
        }
    }
}
