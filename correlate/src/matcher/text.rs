//! Texts against the patterns of one test.
//!
//! In: patterns, once; a text, often. Out: whether one fits. Never: more
//! than linear work in the number of patterns of one shape, or allocation
//! while matching.

use std::collections::HashSet;

use aho_corasick::AhoCorasick;
use foldhash::fast::FixedState;
use memchr::memmem::Finder;

use crate::fold::fold;
use crate::sigma::pattern::{Part, Pattern, Shape};

/// Up to so many patterns of one shape are tried one by one.
const FEW: usize = 8;

type Set = HashSet<Box<str>, FixedState>;

/// The patterns of a test, sorted by shape. Unless case counts, patterns and texts are folded.
#[derive(Debug, Default)]
pub(crate) struct TextMatcher {
    anything: bool,
    equals: Set,
    starts: Affixes,
    ends: Affixes,
    contains: Contains,
    globs: Vec<Glob>,
}

impl TextMatcher {
    /// Compiles patterns. Fails only when the automaton would be larger than its engine allows.
    pub(crate) fn new(patterns: &[Pattern], cased: bool) -> Result<TextMatcher, aho_corasick::BuildError> {
        let form = |text: &str| if cased { text.to_owned() } else { fold(text) };
        let mut matcher = TextMatcher::default();
        let (mut starts, mut ends, mut contains) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in patterns {
            match pattern.shape() {
                Shape::Anything => matcher.anything = true,
                Shape::Equals(text) => {
                    matcher.equals.insert(form(text).into());
                }
                Shape::Starts(text) => starts.push(form(text)),
                Shape::Ends(text) => ends.push(form(text)),
                Shape::Contains(text) => contains.push(form(text)),
                Shape::Glob(parts) => matcher.globs.push(Glob::new(parts, form)),
            }
        }
        matcher.starts = Affixes::new(starts);
        matcher.ends = Affixes::new(ends);
        matcher.contains = Contains::new(contains)?;
        Ok(matcher)
    }

    /// Whether one pattern fits the text (folded, unless the test counts case).
    pub(crate) fn fits(&self, text: &str) -> bool {
        self.anything
            || (!self.equals.is_empty() && self.equals.contains(text))
            || self.starts.begin(text)
            || self.ends.end(text)
            || self.contains.within(text)
            || self.globs.iter().any(|g| g.fits(text))
    }
}

/// Beginnings or ends.
#[derive(Debug)]
enum Affixes {
    Few(Vec<Box<str>>),
    /// By length: one look-up for each length that occurs.
    Many {
        lengths: Vec<usize>,
        set: Set,
    },
}

impl Default for Affixes {
    fn default() -> Affixes {
        Affixes::Few(Vec::new())
    }
}

impl Affixes {
    fn new(texts: Vec<String>) -> Affixes {
        if texts.len() <= FEW {
            return Affixes::Few(texts.into_iter().map(String::into_boxed_str).collect());
        }
        let mut lengths: Vec<usize> = texts.iter().map(String::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Affixes::Many { lengths, set: texts.into_iter().map(String::into_boxed_str).collect() }
    }

    fn begin(&self, text: &str) -> bool {
        match self {
            Affixes::Few(list) => list.iter().any(|a| text.starts_with(&**a)),
            Affixes::Many { lengths, set } => {
                lengths.iter().any(|n| text.get(..*n).is_some_and(|head| set.contains(head)))
            }
        }
    }

    fn end(&self, text: &str) -> bool {
        match self {
            Affixes::Few(list) => list.iter().any(|a| text.ends_with(&**a)),
            Affixes::Many { lengths, set } => lengths.iter().any(|n| {
                text.len()
                    .checked_sub(*n)
                    .and_then(|at| text.get(at..))
                    .is_some_and(|tail| set.contains(tail))
            }),
        }
    }
}

/// Texts that may stand anywhere.
#[derive(Debug)]
enum Contains {
    Few(Vec<Finder<'static>>),
    Many(Box<AhoCorasick>),
}

impl Default for Contains {
    fn default() -> Contains {
        Contains::Few(Vec::new())
    }
}

impl Contains {
    fn new(texts: Vec<String>) -> Result<Contains, aho_corasick::BuildError> {
        if texts.len() <= FEW {
            return Ok(Contains::Few(texts.iter().map(|t| Finder::new(t).into_owned()).collect()));
        }
        AhoCorasick::new(&texts).map(|a| Contains::Many(Box::new(a)))
    }

    fn within(&self, text: &str) -> bool {
        match self {
            Contains::Few(list) => list.iter().any(|f| f.find(text.as_bytes()).is_some()),
            Contains::Many(automaton) => automaton.is_match(text),
        }
    }
}

/// A pattern with several texts or with `?`.
#[derive(Debug)]
struct Glob {
    /// What stands between stars.
    segments: Vec<Vec<Piece>>,
    /// Whether the first segment stands at the beginning.
    at_start: bool,
    /// Whether the last one stands at the end.
    at_end: bool,
}

#[derive(Debug)]
enum Piece {
    Text(Box<Finder<'static>>),
    One,
}

impl Glob {
    fn new(parts: &[Part], form: impl Fn(&str) -> String) -> Glob {
        let mut segments: Vec<Vec<Piece>> = vec![Vec::new()];
        for part in parts {
            let piece = match part {
                Part::Star => {
                    segments.push(Vec::new());
                    continue;
                }
                Part::Text(text) => Piece::Text(Box::new(Finder::new(form(text).as_bytes()).into_owned())),
                Part::One => Piece::One,
            };
            if let Some(last) = segments.last_mut() {
                last.push(piece);
            }
        }
        let at_start = segments.first().is_some_and(|s| !s.is_empty());
        let at_end = segments.last().is_some_and(|s| !s.is_empty());
        segments.retain(|s| !s.is_empty());
        Glob { segments, at_start, at_end }
    }

    /// Each segment is taken as early as it can be, which leaves the most for the others.
    fn fits(&self, text: &str) -> bool {
        let mut rest = text;
        let mut segments = self.segments.as_slice();
        if self.at_start {
            let Some((first, others)) = segments.split_first() else { return false };
            let Some(after) = strip_start(rest, first) else { return false };
            if others.is_empty() && self.at_end {
                return after.is_empty();
            }
            rest = after;
            segments = others;
        }
        if self.at_end {
            let Some((last, others)) = segments.split_last() else { return false };
            let Some(before) = strip_end(rest, last) else { return false };
            rest = before;
            segments = others;
        }
        segments.iter().all(|segment| match find(rest, segment) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        })
    }
}

fn needle<'f>(finder: &'f Finder<'static>) -> &'f str {
    std::str::from_utf8(finder.needle()).unwrap_or_default()
}

/// What follows the segment, when the text begins with it.
fn strip_start<'t>(text: &'t str, segment: &[Piece]) -> Option<&'t str> {
    let mut rest = text;
    for piece in segment {
        rest = match piece {
            Piece::Text(finder) => rest.strip_prefix(needle(finder))?,
            Piece::One => {
                let mut chars = rest.chars();
                chars.next()?;
                chars.as_str()
            }
        };
    }
    Some(rest)
}

/// What precedes the segment, when the text ends with it.
fn strip_end<'t>(text: &'t str, segment: &[Piece]) -> Option<&'t str> {
    let mut rest = text;
    for piece in segment.iter().rev() {
        rest = match piece {
            Piece::Text(finder) => rest.strip_suffix(needle(finder))?,
            Piece::One => {
                let mut chars = rest.chars();
                chars.next_back()?;
                chars.as_str()
            }
        };
    }
    Some(rest)
}

/// What follows the first place where the segment stands.
fn find<'t>(text: &'t str, segment: &[Piece]) -> Option<&'t str> {
    let mut rest = text;
    loop {
        if let Some(Piece::Text(finder)) = segment.first() {
            let at = finder.find(rest.as_bytes())?;
            rest = rest.get(at..)?;
        }
        if let Some(after) = strip_start(rest, segment) {
            return Some(after);
        }
        let mut chars = rest.chars();
        chars.next()?;
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TextMatcher;
    use crate::fold::fold;
    use crate::sigma::pattern::{Part, Pattern};

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let matcher = TextMatcher::new(&[Pattern::parse(pattern)], false).unwrap();
        assert_eq!(matcher.fits(&fold(text)), expected, "{pattern} on {text}");
    }

    #[test]
    fn shapes() {
        check("Abc", "aBC", true);
        check("a*", "A", true);
        check("*.EXE", r"C:\x.exe", true);
        check("*b*", "abc", true);
        check("*", "", true);
        check("", "", true);
        check("", "x", false);
        check("prog?.exe", "progA.exe", true);
        check("prog?.exe", "prog.exe", false);
        check("?", "ä", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*ab", "ab", false);
        check("a*a", "a", false);
        check("*a?c*e", "xxabcde", true);
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check("ÄRGER*", "ärger im büro", true);
        check("a*b", "a\nb", true);
    }

    #[test]
    fn many_patterns_are_the_same_as_one_by_one() {
        let texts: Vec<String> = (0..40).map(|i| format!("word{i}x")).collect();
        for form in ["@", "@*", "*@", "*@*"] {
            let patterns: Vec<Pattern> =
                texts.iter().map(|t| Pattern::parse(&form.replace('@', t))).collect();
            let matcher = TextMatcher::new(&patterns, false).unwrap();
            assert!(matcher.fits("word7x"), "{form}");
            assert_eq!(matcher.fits("word7xy"), form.ends_with('*'), "{form}");
            assert_eq!(matcher.fits("ßword39x"), form.starts_with('*'), "{form}");
            assert!(!matcher.fits("word40x"), "{form}");
        }
    }

    /// The same by a regular expression.
    fn oracle(pattern: &Pattern, text: &str) -> bool {
        let mut source = "(?s)^".to_owned();
        for part in pattern.parts() {
            match part {
                Part::Text(text) => source.push_str(&regex::escape(&fold(text))),
                Part::Star => source.push_str(".*"),
                Part::One => source.push('.'),
            }
        }
        regex::Regex::new(&(source + "$")).unwrap().is_match(text)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_pattern_equals_its_regular_expression(
            patterns in proptest::collection::vec("[abÄ*?]{0,6}", 1..12), text in "[abä]{0,8}"
        ) {
            let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::parse(p)).collect();
            let matcher = TextMatcher::new(&patterns, false).unwrap();
            prop_assert_eq!(matcher.fits(&fold(&text)), patterns.iter().any(|p| oracle(p, &fold(&text))));
        }
    }
}
