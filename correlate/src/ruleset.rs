//! The set of rules in force: compiled, indexed, immutable.
//!
//! In: documents of the front end, log sources, field maps. Out: a
//! [`RuleSet`] and findings about what does not fit together. Never: a set
//! that is half changed; it is swapped whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::event::Event;

use crate::correlation_compiler::{Compiled, Compiler, Link};
use crate::fields::{FieldMaps, PathLists};
use crate::finding::{Code, Finding, Place};
use crate::generation;
use crate::logsource::{Definition, EVERY_EVENT, LogSources};
use crate::matcher::engine::{Engine, Labels, Part, State};
use crate::rule::{Correlation, Detection, GroupField};
use crate::rule_info;
use crate::sigma::ast::Expr;
use crate::sigma::document::{Body, Document, LogSource};

/// A compiled, validated set of rules. Immutable; swapped whole.
#[derive(Debug)]
pub struct RuleSet {
    /// Digest over all rules, 32 hex digits.
    pub digest: String,
    /// Detection rules.
    pub detections: Vec<Detection>,
    /// Correlation rules.
    pub correlations: Vec<Correlation>,
    fed_by: Vec<Vec<usize>>,
    /// For each correlation with aliases: the fields of each member.
    aliased: Vec<Vec<Aliased>>,
    /// For each correlation: those that its alerts feed.
    chains: Vec<Vec<Link>>,
    engine: Engine,
    /// Tells sets apart, so that a [`Scratch`] is never used with another set than its own.
    instance: u64,
}

/// The fields that a member of a correlation groups by, where aliases name others than its fellows'.
#[derive(Clone, Debug)]
pub(crate) struct Aliased {
    /// Position of the detection.
    pub(crate) member: usize,
    /// Its fields.
    pub(crate) group_by: Vec<GroupField>,
}

/// Memory reused from event to event. One for each thread; any rule set may use it.
#[derive(Debug, Default)]
pub struct Scratch {
    state: State,
    owner: u64,
}

impl RuleSet {
    /// A set without rules.
    pub fn empty() -> RuleSet {
        let mut findings = Vec::new();
        RuleSet::compile(Vec::new(), &LogSources::default(), &FieldMaps::default(), &mut findings)
    }

    /// Compiles documents. What does not fit is left out and is among the findings.
    pub fn compile(
        documents: Vec<Document>,
        sources: &LogSources,
        fields: &FieldMaps,
        findings: &mut Vec<Finding>,
    ) -> RuleSet {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let documents = distinct(documents, findings);
        let mut names = Names::default();
        let (mut rules, mut counted) = (Vec::new(), Vec::new());
        for document in &documents {
            match &document.body {
                Body::Detection { logsource, expr } => {
                    names.add(document, rules.len());
                    rules.push(Rule { document, logsource, expr });
                }
                Body::Correlation(part) => counted.push((document, &**part)),
                // Applied before.
                Body::Filter(_) => {}
            }
        }
        let paths = PathLists::new(fields);
        let engine = engine(&rules, sources, &paths, findings);
        let mut detections: Vec<Detection> = rules
            .iter()
            .map(|rule| {
                let generation = generation::of_detection(rule.logsource, rule.expr, sources, &paths);
                let lateness = sources.sources_of(rule.logsource);
                Detection {
                    info: Arc::new(rule_info::build(rule.document, lateness, generation)),
                    alerts: true,
                }
            })
            .collect();
        let compiler = Compiler::new(&rules, &names, fields, &detections);
        let Compiled { correlations, aliased, chains, silenced } = compiler.compile(&counted, findings);
        for (detection, silenced) in detections.iter_mut().zip(silenced) {
            detection.alerts = !silenced;
        }
        let fed_by = fed_by(detections.len(), &correlations);
        let digest = generation::of_set(&detections, &correlations);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        RuleSet { digest, detections, correlations, fed_by, aliased, chains, engine, instance }
    }

    /// How many rules there are, of both kinds.
    pub fn len(&self) -> usize {
        self.detections.len() + self.correlations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the positions of the detections that match into `hits` (cleared first), ascending.
    pub fn evaluate(&self, event: &Event, scratch: &mut Scratch, hits: &mut Vec<usize>) {
        self.own(scratch);
        self.engine.evaluate(event, &mut scratch.state, hits);
    }

    /// The same without the index, rule by rule; the oracle of the differential test.
    #[cfg(test)]
    pub(crate) fn evaluate_all(&self, event: &Event, scratch: &mut Scratch, hits: &mut Vec<usize>) {
        self.own(scratch);
        self.engine.evaluate_all(event, &mut scratch.state, hits);
    }

    fn own(&self, scratch: &mut Scratch) {
        if scratch.owner != self.instance {
            *scratch = Scratch { state: State::default(), owner: self.instance };
        }
    }

    /// The fields by which matches of a detection are grouped under a correlation it feeds. They are the
    /// correlation's own, unless aliases name others for this detection.
    pub fn group_by(&self, correlation: usize, detection: usize) -> &[GroupField] {
        let own = || self.correlations.get(correlation).map_or(&[][..], |c| &c.group_by);
        let aliased =
            self.aliased.get(correlation).and_then(|all| all.iter().find(|a| a.member == detection));
        aliased.map_or_else(own, |a| &a.group_by)
    }

    /// What the alerts of a correlation feed.
    pub(crate) fn chained(&self, correlation: usize) -> &[Link] {
        self.chains.get(correlation).map_or(&[], Vec::as_slice)
    }

    /// Positions of the correlations that a detection feeds.
    pub fn fed_by(&self, detection: usize) -> &[usize] {
        self.fed_by.get(detection).map_or(&[], Vec::as_slice)
    }
}

fn fed_by(detections: usize, correlations: &[Correlation]) -> Vec<Vec<usize>> {
    let mut fed = vec![Vec::new(); detections];
    for (position, correlation) in correlations.iter().enumerate() {
        for member in &correlation.members {
            if let Some(list) = fed.get_mut(*member) {
                list.push(position);
            }
        }
    }
    fed
}

/// Leaves out a rule whose id or name another one has already.
fn distinct(documents: Vec<Document>, findings: &mut Vec<Finding>) -> Vec<Document> {
    let mut seen: HashMap<String, (Arc<str>, Place)> = HashMap::new();
    let mut kept = Vec::with_capacity(documents.len());
    for document in documents {
        let mut keys: Vec<String> = document.id.iter().chain(&document.name).cloned().collect();
        if keys.is_empty() {
            keys.push(document.title.clone());
        }
        let taken = keys.iter().find_map(|key| seen.get(key).map(|first| (key.clone(), first.clone())));
        if let Some((key, (file, place))) = taken {
            let message = format!(
                "the id or name \"{key}\" is taken by {file}:{}: give this rule its own (it is not loaded)",
                place.line
            );
            findings.push(Finding {
                file: document.file,
                place: document.place,
                code: Code::DuplicateRule,
                message,
            });
            continue;
        }
        for key in keys {
            seen.insert(key, (Arc::clone(&document.file), document.place));
        }
        kept.push(document);
    }
    kept
}

/// Positions of detections by id and by name.
#[derive(Default)]
pub(crate) struct Names<'d>(pub(crate) HashMap<&'d str, usize>);

impl<'d> Names<'d> {
    pub(crate) fn add(&mut self, document: &'d Document, position: usize) {
        for key in document.id.iter().chain(&document.name) {
            self.0.insert(key, position);
        }
    }
}

/// A detection on its way into the set.
pub(crate) struct Rule<'d> {
    pub(crate) document: &'d Document,
    pub(crate) logsource: &'d LogSource,
    expr: &'d Expr,
}

/// Positions of the names of products, services and categories that rules ask for.
#[derive(Default)]
struct LabelNames(HashMap<(u8, String), usize>);

impl LabelNames {
    fn position(&mut self, kind: u8, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry((kind, name.to_owned())).or_insert(next)
    }

    /// What a rule asks for. The product that every event has is nothing to ask for.
    fn wanted(&mut self, logsource: &LogSource) -> Labels {
        let mut labels = Labels::default();
        let product = logsource.product.as_deref().filter(|p| *p != EVERY_EVENT);
        let parts = [(0, product), (1, logsource.service.as_deref()), (2, logsource.category.as_deref())];
        for (kind, name) in parts {
            if let Some(name) = name {
                labels.set(self.position(kind, name));
            }
        }
        labels
    }

    /// What a definition gives, as far as a rule asks for it.
    fn given(&self, kind: u8, names: &[String], labels: &mut Labels) {
        for name in names {
            if let Some(position) = self.0.get(&(kind, name.clone())) {
                labels.set(*position);
            }
        }
    }
}

fn engine(
    rules: &[Rule<'_>],
    sources: &LogSources,
    paths: &PathLists<'_>,
    findings: &mut Vec<Finding>,
) -> Engine {
    let mut names = LabelNames::default();
    let wanted: Vec<Labels> = rules.iter().map(|rule| names.wanted(rule.logsource)).collect();
    let products: Vec<LogSource> = sources.definitions.iter().map(Definition::own_logsource).collect();
    let source_parts: Vec<Part<'_>> = sources
        .definitions
        .iter()
        .zip(&products)
        .map(|(definition, fields_of)| {
            let mut labels = Labels::default();
            names.given(0, &definition.products, &mut labels);
            names.given(1, &definition.services, &mut labels);
            names.given(2, &definition.categories, &mut labels);
            Part { expr: &definition.when, fields_of, labels }
        })
        .collect();
    let rule_parts: Vec<Part<'_>> = rules
        .iter()
        .zip(wanted)
        .map(|(rule, labels)| Part { expr: rule.expr, fields_of: rule.logsource, labels })
        .collect();
    let (engine, failed) = Engine::new(&source_parts, &rule_parts, paths);
    for (position, error) in failed {
        if let Some(rule) = position.checked_sub(source_parts.len()).and_then(|at| rules.get(at)) {
            findings.push(Finding {
                file: Arc::clone(&rule.document.file),
                place: rule.document.place,
                code: Code::Limit,
                message: error.to_string(),
            });
        }
    }
    engine
}
