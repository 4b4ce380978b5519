//! The index over all rules, and the evaluation of one event.
//!
//! In: units (rules, and before them the log sources) as trees; events. Out:
//! the positions of the rules that hold, ascending. Never: work for rules of
//! another log source, or for rules whose guard the event does not have.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use foldhash::fast::FixedState;
use model::event::Event;

use crate::matcher::compiled::{CompileError, CompiledTest, Memo, Node};
use crate::matcher::values::{Seen, SlotTable, Values};
use crate::sigma::ast::Expr;
use crate::sigma::document::LogSource;

/// Position of a unit: first the log sources, then the rules.
pub(super) type Unit = u32;

/// What a unit is, before it is compiled.
pub(crate) struct Part<'p> {
    /// What must hold.
    pub(crate) expr: &'p Expr,
    /// By whose field maps its fields are found.
    pub(crate) fields_of: &'p LogSource,
    /// For a rule: what its log source asks of an event. For a log source: what it gives to one.
    pub(crate) labels: Labels,
}

/// A set of names (products, services, categories) as bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Labels(Vec<u64>);

impl Labels {
    /// Adds a name by its position.
    pub(crate) fn set(&mut self, position: usize) {
        let word = position / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(w) = self.0.get_mut(word) {
            *w |= 1 << (position % 64);
        }
    }

    /// How many words it takes.
    pub(super) fn words(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, other: &Labels) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn has_all(&self, wanted: &Labels) -> bool {
        wanted.0.iter().enumerate().all(|(i, w)| w & !self.0.get(i).copied().unwrap_or(0) == 0)
    }

    fn clear(&mut self, words: usize) {
        self.0.clear();
        self.0.resize(words, 0);
    }
}

/// Compiled rules with their index.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) slots: SlotTable,
    pub(super) tests: Vec<CompiledTest>,
    pub(super) units: Vec<Compiled>,
    /// How many of the units are log sources.
    pub(super) sources: u32,
    /// Words of the largest set of labels.
    pub(super) words: usize,
    pub(super) by_slot: Vec<SlotIndex>,
    pub(super) keywords: Option<Automaton>,
    /// Units that no atom guards.
    pub(super) unguarded: Vec<Unit>,
}

/// A unit.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) node: Node,
    pub(super) labels: Labels,
    /// Whether it has tests of all leaves.
    pub(super) keywords: bool,
}

/// Which units become candidates by the values of a slot.
#[derive(Debug, Default)]
pub(super) struct SlotIndex {
    pub(super) equal: HashMap<Box<str>, Box<[Unit]>, FixedState>,
    pub(super) within: Option<Automaton>,
    pub(super) present: Box<[Unit]>,
}

/// Texts to look for, each with the units that it makes candidates.
#[derive(Debug)]
pub(super) struct Automaton {
    find: AhoCorasick,
    units: Vec<Box<[Unit]>>,
}

impl Automaton {
    pub(super) fn new(
        texts: HashMap<Box<str>, Vec<Unit>, FixedState>,
    ) -> Result<Option<Automaton>, CompileError> {
        if texts.is_empty() {
            return Ok(None);
        }
        let mut pairs: Vec<_> = texts.into_iter().collect();
        pairs.sort();
        let find = AhoCorasick::new(pairs.iter().map(|(text, _)| text.as_bytes()))?;
        Ok(Some(Automaton { find, units: pairs.into_iter().map(|(_, units)| units.into()).collect() }))
    }

    fn candidates(&self, text: &str, found: &mut dyn FnMut(&[Unit])) {
        for hit in self.find.find_overlapping_iter(text) {
            if let Some(units) = self.units.get(hit.pattern().as_usize()) {
                found(units);
            }
        }
    }
}

impl Engine {
    /// Puts the positions of the rules that hold into `hits` (cleared first), ascending.
    pub(crate) fn evaluate(&self, event: &Event, state: &mut State, hits: &mut Vec<usize>) {
        hits.clear();
        state.begin(self);
        self.slots.fill(event, &mut state.values);
        self.find_candidates(state);
        self.label(state);
        let route = state.route(self);
        if route.keywords {
            state.values.collect_keywords(event);
            self.find_keyword_candidates(state);
        }
        state.candidates.extend_from_slice(&route.unguarded);
        let State { values, memo, candidates, .. } = state;
        for unit in candidates.iter().copied().filter(|u| *u >= self.sources && route.allows(*u)) {
            let holds =
                self.units.get(unit as usize).is_some_and(|u| u.node.holds(&self.tests, values, memo));
            if holds {
                hits.push((unit - self.sources) as usize);
            }
        }
        hits.sort_unstable();
        state.put_back(route);
    }

    /// The same by a loop over every rule: no index, no routing by signature.
    #[cfg(test)]
    pub(crate) fn evaluate_all(&self, event: &Event, state: &mut State, hits: &mut Vec<usize>) {
        hits.clear();
        state.begin(self);
        self.slots.fill(event, &mut state.values);
        state.values.collect_keywords(event);
        let State { values, memo, .. } = state;
        let mut labels = Labels::default();
        let (sources, rules) = self.units.split_at(self.sources as usize);
        for source in sources {
            if source.node.holds(&self.tests, values, memo) {
                labels.add(&source.labels);
            }
        }
        for (position, rule) in rules.iter().enumerate() {
            if labels.has_all(&rule.labels) && rule.node.holds(&self.tests, values, memo) {
                hits.push(position);
            }
        }
    }

    fn find_candidates(&self, state: &mut State) {
        let State { values, candidates, seen, stamp, .. } = state;
        let mut add = |units: &[Unit]| add_units(units, candidates, seen, *stamp);
        for slot in values.touched() {
            let Some(index) = self.by_slot.get(*slot as usize) else { continue };
            add(&index.present);
            if index.equal.is_empty() && index.within.is_none() {
                continue;
            }
            for Seen { null, folded, .. } in values.of(*slot) {
                if null {
                    continue;
                }
                if let Some(units) = index.equal.get(folded) {
                    add(units);
                }
                if let Some(within) = &index.within {
                    within.candidates(folded, &mut add);
                }
            }
        }
    }

    fn find_keyword_candidates(&self, state: &mut State) {
        let State { values, candidates, seen, stamp, .. } = state;
        if let Some(automaton) = &self.keywords {
            for value in values.keywords() {
                automaton.candidates(value.folded, &mut |units| add_units(units, candidates, seen, *stamp));
            }
        }
    }

    /// What the log sources that hold give to the event.
    fn label(&self, state: &mut State) {
        let State { values, memo, candidates, labels, .. } = state;
        labels.clear(self.words);
        let certain = self.unguarded.iter().copied();
        for unit in candidates.iter().copied().chain(certain).filter(|u| *u < self.sources) {
            if let Some(source) = self.units.get(unit as usize)
                && source.node.holds(&self.tests, values, memo)
            {
                labels.add(&source.labels);
            }
        }
    }
}

/// Adds units that are no candidates yet.
fn add_units(units: &[Unit], candidates: &mut Vec<Unit>, seen: &mut [u32], stamp: u32) {
    for unit in units {
        if let Some(mark) = seen.get_mut(*unit as usize)
            && *mark != stamp
        {
            *mark = stamp;
            candidates.push(*unit);
        }
    }
}

/// What holds for all events with the same labels.
#[derive(Debug)]
pub(crate) struct Route {
    allowed: Vec<u64>,
    unguarded: Vec<Unit>,
    keywords: bool,
}

impl Route {
    fn new(engine: &Engine, labels: &Labels) -> Route {
        let mut allowed = vec![0_u64; engine.units.len().div_ceil(64)];
        let mut keywords = false;
        let mut unguarded = Vec::new();
        for (position, unit) in engine.units.iter().enumerate().skip(engine.sources as usize) {
            if labels.has_all(&unit.labels) {
                keywords |= unit.keywords;
                if let Some(word) = allowed.get_mut(position / 64) {
                    *word |= 1 << (position % 64);
                }
            }
        }
        let mut route = Route { allowed, unguarded: Vec::new(), keywords };
        unguarded.extend(engine.unguarded.iter().copied().filter(|u| route.allows(*u)));
        route.unguarded = unguarded;
        route
    }

    fn allows(&self, unit: Unit) -> bool {
        self.allowed.get(unit as usize / 64).is_some_and(|w| w >> (unit % 64) & 1 == 1)
    }
}

/// Most routes that are kept; past that they are made anew.
const ROUTES_MAX: usize = 4096;

/// Memory of one thread, used again for each event.
#[derive(Debug, Default)]
pub(crate) struct State {
    values: Values,
    memo: Memo,
    candidates: Vec<Unit>,
    seen: Vec<u32>,
    stamp: u32,
    labels: Labels,
    routes: HashMap<Labels, Option<Box<Route>>, FixedState>,
}

impl State {
    fn begin(&mut self, engine: &Engine) {
        if self.seen.len() != engine.units.len() || self.stamp == u32::MAX {
            self.seen.clear();
            self.seen.resize(engine.units.len(), 0);
            self.stamp = 0;
        }
        self.stamp += 1;
        self.candidates.clear();
        self.memo.begin(engine.tests.len());
    }

    /// Takes the route of the labels out of the table, so that the rest of the state stays free to change.
    fn route(&mut self, engine: &Engine) -> Box<Route> {
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        match self.routes.get_mut(&self.labels) {
            // Empty only when a caller caught a panic in between: made anew.
            Some(route) => route.take().unwrap_or_else(|| Box::new(Route::new(engine, &self.labels))),
            None => {
                self.routes.insert(self.labels.clone(), None);
                Box::new(Route::new(engine, &self.labels))
            }
        }
    }

    fn put_back(&mut self, route: Box<Route>) {
        if let Some(place) = self.routes.get_mut(&self.labels) {
            *place = Some(route);
        }
    }
}
