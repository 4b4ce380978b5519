//! Compiled tests and the trees over them.
//!
//! In: checks of the front end, once; the values of an event, often. Out:
//! whether they hold. Never: a test evaluated twice for one event.

use ipnet::IpNet;
use regex::Regex;

use crate::matcher::date_part;
use crate::matcher::text::TextMatcher;
use crate::matcher::values::{Seen, Slot, Values};
use crate::sigma::ast::{self, Check, DatePart, How, Number, Op};
use crate::sigma::pcre;
use crate::words;

/// A test of a slot, or of every leaf.
#[derive(Debug)]
pub(crate) struct CompiledTest {
    /// `None`: keywords.
    pub(crate) slot: Option<Slot>,
    pub(crate) kind: TestKind,
}

#[derive(Debug)]
pub(crate) enum TestKind {
    Text(Box<TextMatcher>),
    TextCased(Box<TextMatcher>),
    Regex(Box<Regex>),
    Cidr(Box<[IpNet]>),
    Compare(Op, Number),
    Date(DatePart, Op, u32),
    Exists(bool),
    Null,
    Field { other: Slot, how: How, cased: bool },
    Phrase(Box<[Vec<String>]>),
}

/// Why a check cannot be compiled. The front end has tried expressions already, so only sizes remain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    /// The list of texts is too large for an automaton.
    #[error("the list of texts is too large: {0}; split the rule")]
    Automaton(#[from] aho_corasick::BuildError),
    /// The expression is refused.
    #[error("{0}")]
    Regex(String),
}

impl TestKind {
    /// Compiles a check; `slot_of` gives the slot of another field.
    pub(crate) fn new(
        check: &Check,
        slot_of: &mut dyn FnMut(&str) -> Slot,
    ) -> Result<TestKind, CompileError> {
        Ok(match check {
            Check::Text { patterns, cased: false } => {
                TestKind::Text(Box::new(TextMatcher::new(patterns, false)?))
            }
            Check::Text { patterns, cased: true } => {
                TestKind::TextCased(Box::new(TextMatcher::new(patterns, true)?))
            }
            Check::Regex { pattern, flags } => {
                TestKind::Regex(Box::new(pcre::compile(pattern, *flags).map_err(CompileError::Regex)?))
            }
            Check::Cidr(nets) => TestKind::Cidr(nets.clone().into()),
            Check::Compare { op, number } => TestKind::Compare(*op, *number),
            Check::Date { part, op, number } => TestKind::Date(*part, *op, *number),
            Check::Exists(yes) => TestKind::Exists(*yes),
            Check::Null => TestKind::Null,
            Check::Field { other, how, cased } => {
                TestKind::Field { other: slot_of(other), how: *how, cased: *cased }
            }
            Check::Phrase(phrases) => TestKind::Phrase(phrases.clone().into()),
        })
    }
}

impl CompiledTest {
    /// Whether the test holds for the event.
    pub(crate) fn holds(&self, values: &Values) -> bool {
        match (self.slot, &self.kind) {
            (Some(slot), TestKind::Exists(yes)) => values.present(slot) == *yes,
            (Some(slot), TestKind::Null) => {
                let mut seen = values.of(slot).peekable();
                seen.peek().is_none() || seen.any(|v| v.null)
            }
            (Some(slot), TestKind::Field { other, how, cased }) => values
                .of(slot)
                .filter(|v| !v.null)
                .any(|a| values.of(*other).filter(|v| !v.null).any(|b| relates(a, b, *how, *cased))),
            (Some(slot), kind) => values.of(slot).any(|v| !v.null && one(kind, v)),
            (None, kind) => values.keywords().any(|v| one(kind, v)),
        }
    }
}

fn relates(a: Seen<'_>, b: Seen<'_>, how: How, cased: bool) -> bool {
    let (a, b) = if cased { (a.raw, b.raw) } else { (a.folded, b.folded) };
    match how {
        How::Equals => a == b,
        How::Starts => a.starts_with(b),
        How::Ends => a.ends_with(b),
        How::Contains => a.contains(b),
    }
}

/// Whether one value passes.
fn one(kind: &TestKind, value: Seen<'_>) -> bool {
    match kind {
        TestKind::Text(matcher) => matcher.fits(value.folded),
        TestKind::TextCased(matcher) => matcher.fits(value.raw),
        TestKind::Regex(regex) => regex.is_match(value.raw),
        TestKind::Cidr(nets) => {
            ast::address(value.raw).is_some_and(|ip| nets.iter().any(|n| n.contains(&ip)))
        }
        TestKind::Compare(op, number) => {
            Number::parse(value.raw).is_some_and(|found| op.holds(found.compare(*number)))
        }
        TestKind::Date(part, op, number) => {
            date_part::read(value.raw, *part).is_some_and(|found| op.holds(found.cmp(number)))
        }
        TestKind::Phrase(phrases) => phrases.iter().any(|p| words::has_phrase(value.folded, p)),
        TestKind::Exists(_) | TestKind::Null | TestKind::Field { .. } => false,
    }
}

/// A tree over tests, by their positions.
#[derive(Debug)]
pub(crate) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Test(u32),
}

/// Results of tests for one event.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    stamp: u32,
    /// Stamp of the event times two, plus the result.
    results: Vec<u32>,
}

impl Memo {
    /// Forgets the last event.
    pub(crate) fn begin(&mut self, tests: usize) {
        if self.results.len() != tests || self.stamp >= u32::MAX / 2 {
            self.results.clear();
            self.results.resize(tests, 0);
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    fn result(&mut self, tests: &[CompiledTest], position: u32, values: &Values) -> bool {
        let Some(known) = self.results.get_mut(position as usize) else { return false };
        if *known >> 1 == self.stamp {
            return *known & 1 == 1;
        }
        let holds = tests.get(position as usize).is_some_and(|t| t.holds(values));
        *known = self.stamp << 1 | u32::from(holds);
        holds
    }
}

impl Node {
    /// Whether the tree holds for the event.
    pub(crate) fn holds(&self, tests: &[CompiledTest], values: &Values, memo: &mut Memo) -> bool {
        match self {
            Node::All(all) => all.iter().all(|n| n.holds(tests, values, memo)),
            Node::Any(all) => all.iter().any(|n| n.holds(tests, values, memo)),
            Node::Not(inner) => !inner.holds(tests, values, memo),
            Node::Test(position) => memo.result(tests, *position, values),
        }
    }
}
