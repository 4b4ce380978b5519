//! The index over all rules, and the evaluation of one event.
//!
//! In: units (rules, and before them the log sources) as trees; events. Out:
//! the positions of the rules that hold, ascending. Never: work for rules of
//! another log source, or for rules whose guard the event does not have.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use foldhash::fast::FixedState;
use model::event::Event;

use crate::fields::PathLists;
use crate::matcher::compiled::{CompileError, CompiledTest, Memo, Node, TestKind};
use crate::matcher::guard::{self, Atom, Uses};
use crate::matcher::values::{Seen, Slot, SlotTable, Values, narrow};
use crate::sigma::ast::{Check, Expr};
use crate::sigma::document::LogSource;

/// Position of a unit: first the log sources, then the rules.
type Unit = u32;

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
    slots: SlotTable,
    tests: Vec<CompiledTest>,
    units: Vec<Compiled>,
    sources: u32,
    words: usize,
    by_slot: Vec<SlotIndex>,
    keywords: Option<Automaton>,
    /// Units that no atom guards.
    unguarded: Vec<Unit>,
}

#[derive(Debug)]
struct Compiled {
    node: Node,
    labels: Labels,
    /// Whether it has tests of all leaves.
    keywords: bool,
}

/// Which units become candidates by the values of a slot.
#[derive(Debug, Default)]
struct SlotIndex {
    equal: HashMap<Box<str>, Box<[Unit]>, FixedState>,
    within: Option<Automaton>,
    present: Box<[Unit]>,
}

/// Texts to look for, each with the units that it makes candidates.
#[derive(Debug)]
struct Automaton {
    find: AhoCorasick,
    units: Vec<Box<[Unit]>>,
}

impl Automaton {
    fn new(texts: HashMap<Box<str>, Vec<Unit>, FixedState>) -> Result<Option<Automaton>, CompileError> {
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
    /// Compiles log sources and rules. The units that cannot be compiled are returned with the reason, and match
    /// nothing.
    pub(crate) fn new(
        sources: &[Part<'_>],
        rules: &[Part<'_>],
        paths: &PathLists<'_>,
    ) -> (Engine, Vec<(usize, CompileError)>) {
        let mut builder = Builder::new(paths);
        let parts: Vec<&Part<'_>> = sources.iter().chain(rules).collect();
        for part in &parts {
            builder.count(part);
        }
        let mut failed = Vec::new();
        for (position, part) in parts.iter().enumerate() {
            if let Err(error) = builder.unit(part) {
                failed.push((position, error));
            }
        }
        let words = parts.iter().map(|p| p.labels.0.len()).max().unwrap_or(0);
        match builder.finish(narrow(sources.len()), words) {
            Ok(engine) => (engine, failed),
            Err((engine, error)) => {
                failed.push((0, error));
                (engine, failed)
            }
        }
    }

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
            if let Some(source) = self.units.get(unit as usize) {
                if source.node.holds(&self.tests, values, memo) {
                    labels.add(&source.labels);
                }
            }
        }
    }
}

/// Adds units that are no candidates yet.
fn add_units(units: &[Unit], candidates: &mut Vec<Unit>, seen: &mut [u32], stamp: u32) {
    for unit in units {
        if let Some(mark) = seen.get_mut(*unit as usize) {
            if *mark != stamp {
                *mark = stamp;
                candidates.push(*unit);
            }
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

struct Builder<'p, 'm> {
    paths: &'p PathLists<'m>,
    slots: SlotTable,
    tests: Vec<CompiledTest>,
    known: HashMap<String, u32, FixedState>,
    units: Vec<Compiled>,
    uses: Uses,
    atoms: HashMap<Atom, Vec<Unit>, FixedState>,
    unguarded: Vec<Unit>,
}

impl<'p, 'm> Builder<'p, 'm> {
    fn new(paths: &'p PathLists<'m>) -> Builder<'p, 'm> {
        Builder {
            paths,
            slots: SlotTable::default(),
            tests: Vec::new(),
            known: HashMap::default(),
            units: Vec::new(),
            uses: Uses::default(),
            atoms: HashMap::default(),
            unguarded: Vec::new(),
        }
    }

    fn count(&mut self, part: &Part<'_>) {
        let Builder { slots, uses, paths, .. } = self;
        let mut slot_of = |field: &str| slots.slot(paths.position(part.fields_of, field), false, paths);
        guard::count(part.expr, &mut slot_of, uses);
    }

    fn unit(&mut self, part: &Part<'_>) -> Result<(), CompileError> {
        let position = narrow(self.units.len());
        let mut keywords = false;
        part.expr.visit(&mut |test| keywords |= test.field.is_none());
        let node = self.node(part.expr, part);
        let (node, failed) = match node {
            Ok(node) => (node, None),
            Err(error) => (Node::Any(Box::default()), Some(error)),
        };
        self.units.push(Compiled { node, labels: part.labels.clone(), keywords });
        if let Some(error) = failed {
            return Err(error);
        }
        let Builder { slots, uses, paths, .. } = self;
        let mut slot_of = |field: &str| slots.slot(paths.position(part.fields_of, field), false, paths);
        match guard::find(part.expr, &mut slot_of, uses) {
            None => self.unguarded.push(position),
            Some(guard) => {
                for atom in guard.atoms {
                    let units = self.atoms.entry(atom).or_default();
                    if units.last() != Some(&position) {
                        units.push(position);
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, expr: &Expr, part: &Part<'_>) -> Result<Node, CompileError> {
        Ok(match expr {
            Expr::All(all) => Node::All(self.nodes(all, part)?),
            Expr::Any(all) => Node::Any(self.nodes(all, part)?),
            Expr::Not(inner) => Node::Not(Box::new(self.node(inner, part)?)),
            Expr::Test(test) => {
                let wants = !matches!(test.check, Check::Exists(_) | Check::Null);
                let paths = self.paths;
                let list = test.field.as_ref().map(|f| paths.position(part.fields_of, f));
                let slot = list.map(|list| self.slots.slot(list, wants, paths));
                Node::Test(self.test(slot, &test.check, part)?)
            }
        })
    }

    fn nodes(&mut self, all: &[Expr], part: &Part<'_>) -> Result<Box<[Node]>, CompileError> {
        all.iter().map(|e| self.node(e, part)).collect()
    }

    /// The same test of the same slot is one test, whichever rules ask.
    fn test(&mut self, slot: Option<Slot>, check: &Check, part: &Part<'_>) -> Result<u32, CompileError> {
        let mut key = slot.map_or_else(|| "*".to_owned(), |s| s.to_string());
        let (slots, paths) = (&mut self.slots, self.paths);
        let mut slot_of = |field: &str| slots.slot(paths.position(part.fields_of, field), true, paths);
        if let Check::Field { other, .. } = check {
            key.push_str(&format!("@{}", slot_of(other)));
        }
        check.write_canonical(&mut key);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let kind = TestKind::new(check, &mut slot_of)?;
        let position = narrow(self.tests.len());
        self.tests.push(CompiledTest { slot, kind });
        self.known.insert(key, position);
        Ok(position)
    }

    /// The engine; where an automaton cannot be built, one that looks at every rule, with the reason.
    fn finish(mut self, sources: u32, words: usize) -> Result<Engine, (Engine, CompileError)> {
        let index = self.index();
        let failed = match index {
            Ok(index) => (index, None),
            Err(error) => {
                self.unguarded = (0..narrow(self.units.len())).collect();
                ((Vec::new(), None), Some(error))
            }
        };
        let ((by_slot, keywords), error) = failed;
        let Builder { slots, tests, units, unguarded, .. } = self;
        let engine = Engine { slots, tests, units, sources, words, by_slot, keywords, unguarded };
        match error {
            None => Ok(engine),
            Some(error) => Err((engine, error)),
        }
    }

    fn index(&mut self) -> Result<(Vec<SlotIndex>, Option<Automaton>), CompileError> {
        type Texts = HashMap<Box<str>, Vec<Unit>, FixedState>;
        let mut by_slot: Vec<SlotIndex> = Vec::new();
        by_slot.resize_with(self.slots.len(), SlotIndex::default);
        let mut within: HashMap<Slot, Texts, FixedState> = HashMap::default();
        let mut keywords = Texts::default();
        for (atom, units) in self.atoms.drain() {
            match atom {
                Atom::Equal(slot, text) => {
                    if let Some(index) = by_slot.get_mut(slot as usize) {
                        index.equal.insert(text, units.into());
                    }
                }
                Atom::Within(slot, text) => {
                    within.entry(slot).or_default().insert(text, units);
                }
                Atom::Present(slot) => {
                    if let Some(index) = by_slot.get_mut(slot as usize) {
                        index.present = units.into();
                    }
                }
                Atom::Keyword(text) => {
                    keywords.insert(text, units);
                }
            }
        }
        for (slot, texts) in within {
            if let Some(index) = by_slot.get_mut(slot as usize) {
                index.within = Automaton::new(texts)?;
            }
        }
        Ok((by_slot, Automaton::new(keywords)?))
    }
}
