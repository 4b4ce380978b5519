//! The set of rules in force: compiled, indexed, immutable.
//!
//! In: documents of the front end, log sources, field maps. Out: a
//! [`RuleSet`] and findings about what does not fit together. Never: a set
//! that is half changed; it is swapped whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::event::{Event, Path};

use crate::fields::{FieldMaps, Keys, PathLists};
use crate::finding::{Code, Finding, Findings, Place};
use crate::generation;
use crate::logsource::{Definition, EVERY_EVENT, LogSources};
use crate::matcher::engine::{Engine, Labels, Part, State};
use crate::rule::{Correlation, Detection, GroupField};
use crate::rule_info;
use crate::sigma::ast::Expr;
use crate::sigma::correlation::CorrelationPart;
use crate::sigma::document::{Body, Document, LogSource};
use crate::summary;

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
                Body::Correlation(part) => counted.push((document, part)),
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
        let compiler = Compiler { rules: &rules, names: &names, fields };
        let (mut correlations, mut aliased) = (Vec::new(), Vec::new());
        let mut quiet = vec![true; detections.len()];
        let mut referred = vec![false; detections.len()];
        for (document, part) in counted {
            let mut file = Findings::new(Arc::clone(&document.file));
            if let Some((correlation, fields)) = compiler.correlation(document, part, &detections, &mut file)
            {
                for member in &correlation.members {
                    mark(&mut referred, *member);
                    if part.generate {
                        quiet.get_mut(*member).into_iter().for_each(|q| *q = false);
                    }
                }
                correlations.push(correlation);
                aliased.push(fields);
            }
            findings.extend(file.into_vec());
        }
        for ((detection, referred), quiet) in detections.iter_mut().zip(referred).zip(quiet) {
            detection.alerts = !(referred && quiet);
        }
        let fed_by = fed_by(detections.len(), &correlations);
        let digest = generation::of_set(&detections, &correlations);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        RuleSet { digest, detections, correlations, fed_by, aliased, engine, instance }
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

    /// Positions of the correlations that a detection feeds.
    pub fn fed_by(&self, detection: usize) -> &[usize] {
        self.fed_by.get(detection).map_or(&[], Vec::as_slice)
    }
}

fn mark(marks: &mut [bool], position: usize) {
    if let Some(m) = marks.get_mut(position) {
        *m = true;
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
struct Names<'d>(HashMap<&'d str, usize>);

impl<'d> Names<'d> {
    fn add(&mut self, document: &'d Document, position: usize) {
        for key in document.id.iter().chain(&document.name) {
            self.0.insert(key, position);
        }
    }
}

struct Rule<'d> {
    document: &'d Document,
    logsource: &'d LogSource,
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

struct Compiler<'c, 'd> {
    rules: &'c [Rule<'d>],
    names: &'c Names<'d>,
    fields: &'c FieldMaps,
}

impl Compiler<'_, '_> {
    fn correlation(
        &self,
        document: &Document,
        part: &CorrelationPart,
        detections: &[Detection],
        findings: &mut Findings,
    ) -> Option<(Correlation, Vec<Aliased>)> {
        let members = self.members(part, findings)?;
        let aliased = self.aliased(part, &members, findings)?;
        let group_by: Vec<GroupField> =
            part.group_by.iter().map(|name| self.group_field(name, part, &members)).collect();
        let fed: Vec<&Detection> = members.iter().filter_map(|m| detections.get(*m)).collect();
        let parts = generation::Parts {
            members: fed.iter().map(|d| d.info.generation.as_str()).collect(),
            group_by: &group_by,
            aliased: &aliased,
            part,
        };
        let generation = generation::of_correlation(&parts);
        let info = Arc::new(rule_info::build(document, sources_of(&fed), generation));
        let top = |name: String| GroupField { paths: vec![Path::new(&name)], name };
        let correlation = Correlation {
            tops: summary::counted_fields(&info.summary).into_iter().map(top).collect(),
            info,
            kind: part.kind,
            members,
            group_by,
            timespan_ms: part.timespan_ms,
            condition: part.condition,
        };
        Some((correlation, aliased))
    }

    fn members(&self, part: &CorrelationPart, findings: &mut Findings) -> Option<Vec<usize>> {
        let before = findings.errors();
        let mut members = Vec::with_capacity(part.rules.len());
        for (name, place) in &part.rules {
            match self.names.0.get(name.as_str()) {
                Some(position) if members.contains(position) => {}
                Some(position) => members.push(*position),
                None => {
                    let hint = crate::finding::suggestion(name, self.names.0.keys().copied());
                    let message = format!("no detection with the id or name \"{name}\" is loaded{hint}");
                    findings.add(*place, Code::UnknownRule, message);
                }
            }
        }
        (findings.errors() == before).then_some(members)
    }

    /// The fields to group by where aliases differ from rule to rule.
    fn aliased(
        &self,
        part: &CorrelationPart,
        members: &[usize],
        findings: &mut Findings,
    ) -> Option<Vec<Aliased>> {
        let used: Vec<_> = part.aliases.iter().filter(|a| part.group_by.contains(&a.name)).collect();
        let before = findings.errors();
        for (rule, place) in used.iter().flat_map(|a| &a.fields).map(|(rule, _, place)| (rule, place)) {
            let position = self.names.0.get(rule.as_str());
            if !position.is_some_and(|p| members.contains(p)) {
                let message =
                    format!("the alias names \"{rule}\", which is not among the rules of this correlation");
                findings.add(*place, Code::UnknownRule, message);
            }
        }
        if findings.errors() > before || used.is_empty() {
            return (findings.errors() == before).then(Vec::new);
        }
        let of_member = |member: usize| Aliased {
            member,
            group_by: part.group_by.iter().map(|name| self.group_field(name, part, &[member])).collect(),
        };
        Some(members.iter().map(|m| of_member(*m)).collect())
    }

    /// A field to group by: where each of these members would look for it.
    fn group_field(&self, name: &str, part: &CorrelationPart, members: &[usize]) -> GroupField {
        let mut keys: Vec<Keys> = Vec::new();
        for rule in members.iter().filter_map(|m| self.rules.get(*m)) {
            let field = part
                .aliases
                .iter()
                .filter(|a| a.name == name)
                .flat_map(|a| &a.fields)
                .find(|(of, _, _)| {
                    rule.document.name.as_ref() == Some(of) || rule.document.id.as_ref() == Some(of)
                })
                .map_or(name, |(_, field, _)| field);
            keys.extend(self.fields.paths(rule.logsource, field));
        }
        let mut seen = std::collections::HashSet::new();
        keys.retain(|k| seen.insert(k.clone()));
        let paths = keys.iter().map(|k| Path::from_keys(k.iter().map(String::as_str))).collect();
        GroupField { name: name.to_owned(), paths }
    }
}

/// The sources of all members; none when one of them takes in any.
fn sources_of(fed: &[&Detection]) -> Vec<String> {
    if fed.iter().any(|d| d.info.sources.is_empty()) {
        return Vec::new();
    }
    let mut sources: Vec<String> = fed.iter().flat_map(|d| d.info.sources.iter().cloned()).collect();
    sources.sort();
    sources.dedup();
    sources
}
