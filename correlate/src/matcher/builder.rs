//! From trees of tests to the engine with its index.
//!
//! In: log sources and rules, once. Out: [`Engine`]. Never: a rule that
//! matches less because its guard is wrong: what cannot be indexed is tried
//! on every event.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::fields::PathLists;
use crate::matcher::compiled::{CompileError, CompiledTest, Node, TestKind};
use crate::matcher::engine::{Automaton, Compiled, Engine, Part, SlotIndex, Unit};
use crate::matcher::guard::{self, Atom, Uses};
use crate::matcher::values::{Slot, SlotTable, narrow};
use crate::sigma::ast::{Check, Expr};

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
        let words = parts.iter().map(|p| p.labels.words()).max().unwrap_or(0);
        let (engine, error) = builder.finish(narrow(sources.len()), words);
        failed.extend(error.map(|e| (0, e)));
        (engine, failed)
    }
}

/// What is known while the units are compiled.
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

    /// The engine; where an automaton cannot be built, one that looks at every rule, and the reason.
    fn finish(mut self, sources: u32, words: usize) -> (Engine, Option<CompileError>) {
        let (by_slot, keywords, failed) = match self.index() {
            Ok((by_slot, keywords)) => (by_slot, keywords, None),
            Err(error) => {
                self.unguarded = (0..narrow(self.units.len())).collect();
                (Vec::new(), None, Some(error))
            }
        };
        let Builder { slots, tests, units, unguarded, .. } = self;
        (Engine { slots, tests, units, sources, words, by_slot, keywords, unguarded }, failed)
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
