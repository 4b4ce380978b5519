//! What an event must have for a tree of tests to hold at all.
//!
//! In: a tree, its fields resolved to slots. Out: a [`Guard`]: atoms of which
//! at least one is in every event that matches. Never: a guard that rules out
//! a match; where nothing is certain there is none.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::fold::fold;
use crate::matcher::values::Slot;
use crate::sigma::ast::{Check, Expr, Test};
use crate::sigma::pattern::{Part, Pattern, Shape};

/// Something that an event has or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Atom {
    /// A value of the slot is this (folded).
    Equal(Slot, Box<str>),
    /// A value of the slot has this in it (folded).
    Within(Slot, Box<str>),
    /// The slot is there.
    Present(Slot),
    /// Any leaf has this in it (folded).
    Keyword(Box<str>),
}

/// Atoms, and how often they are expected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    pub(crate) atoms: Vec<Atom>,
    cost: f64,
}

/// How often each atom stands in the rules: what many rules look for, many events have, and each time it is seen
/// all these rules become candidates.
pub(crate) type Uses = HashMap<Atom, u32, FixedState>;

/// Counts the atoms of a tree.
pub(crate) fn count(expr: &Expr, slot_of: &mut dyn FnMut(&str) -> Slot, uses: &mut Uses) {
    expr.visit(&mut |test| {
        for atom in atoms(test, slot_of).unwrap_or_default() {
            *uses.entry(atom).or_default() += 1;
        }
    });
}

/// The cheapest guard of a tree.
pub(crate) fn find(expr: &Expr, slot_of: &mut dyn FnMut(&str) -> Slot, uses: &Uses) -> Option<Guard> {
    match expr {
        Expr::Not(_) => None,
        Expr::All(all) => {
            all.iter().filter_map(|e| find(e, slot_of, uses)).min_by(|a, b| a.cost.total_cmp(&b.cost))
        }
        Expr::Any(all) => {
            let mut guard = Guard::default();
            for one in all {
                let more = find(one, slot_of, uses)?;
                guard.atoms.extend(more.atoms);
                guard.cost += more.cost;
            }
            Some(guard)
        }
        Expr::Test(test) => {
            let atoms = atoms(test, slot_of)?;
            let cost = atoms.iter().map(|a| cost(a, uses)).sum();
            Some(Guard { atoms, cost })
        }
    }
}

fn cost(atom: &Atom, uses: &Uses) -> f64 {
    let shared = 1.0 + f64::from(uses.get(atom).copied().unwrap_or(1)) / 4.0;
    let rare = |factor: f64, text: &str, least: f64| factor.powi(text.len().min(64) as i32).max(least);
    shared
        * match atom {
            Atom::Equal(_, text) => 0.2 * rare(0.75, text, 0.005),
            Atom::Within(_, text) => rare(0.6, text, 0.001),
            Atom::Keyword(text) => 3.0 * rare(0.6, text, 0.001),
            Atom::Present(_) => 0.5,
        }
}

/// The atoms of one test; `None` when it may hold without any.
fn atoms(test: &Test, slot_of: &mut dyn FnMut(&str) -> Slot) -> Option<Vec<Atom>> {
    let Some(field) = &test.field else { return keyword_atoms(&test.check) };
    let slot = slot_of(field);
    match &test.check {
        Check::Text { patterns, .. } => {
            let mut out = Vec::with_capacity(patterns.len());
            for pattern in patterns {
                match pattern_atom(slot, pattern) {
                    // A pattern that any value fits makes the others worthless.
                    Atom::Present(slot) => return Some(vec![Atom::Present(slot)]),
                    atom => out.push(atom),
                }
            }
            Some(out)
        }
        Check::Phrase(phrases) => {
            let longest = |p: &Vec<String>| p.iter().max_by_key(|w| w.len()).cloned().unwrap_or_default();
            Some(phrases.iter().map(|p| Atom::Within(slot, longest(p).into())).collect())
        }
        Check::Regex { .. }
        | Check::Cidr(_)
        | Check::Compare { .. }
        | Check::Date { .. }
        | Check::Field { .. }
        | Check::Exists(true) => Some(vec![Atom::Present(slot)]),
        Check::Exists(false) | Check::Null => None,
    }
}

fn pattern_atom(slot: Slot, pattern: &Pattern) -> Atom {
    match pattern.shape() {
        Shape::Equals(text) => Atom::Equal(slot, fold(text).into()),
        Shape::Starts(text) | Shape::Ends(text) | Shape::Contains(text) => {
            Atom::Within(slot, fold(text).into())
        }
        Shape::Anything => Atom::Present(slot),
        Shape::Glob(parts) => match longest(parts) {
            Some(text) => Atom::Within(slot, fold(text).into()),
            None => Atom::Present(slot),
        },
    }
}

fn longest(parts: &[Part]) -> Option<&str> {
    parts
        .iter()
        .filter_map(|p| match p {
            Part::Text(text) => Some(text.as_str()),
            Part::Star | Part::One => None,
        })
        .max_by_key(|t| t.len())
}

fn keyword_atoms(check: &Check) -> Option<Vec<Atom>> {
    match check {
        Check::Text { patterns, .. } => {
            patterns.iter().map(|p| longest(p.parts()).map(|text| Atom::Keyword(fold(text).into()))).collect()
        }
        Check::Phrase(phrases) => phrases
            .iter()
            .map(|p| p.iter().max_by_key(|w| w.len()).map(|w| Atom::Keyword(w.as_str().into())))
            .collect(),
        _ => None,
    }
}
