//! Digests: of a rule's matching (its generation) and of a whole set.
//!
//! In: what a rule compiles to. Out: 32 hex digits. Never: text, severity or
//! other presentation in a generation; all of it in the set's digest.

use std::collections::HashSet;

use crate::fields::PathLists;
use crate::logsource::{Definition, LogSources};
use crate::rule::{Correlation, Detection, GroupField, Kind, RuleInfo};
use crate::ruleset::Aliased;
use crate::sigma::ast::{Check, Expr};
use crate::sigma::correlation::CorrelationPart;
use crate::sigma::document::LogSource;

/// BLAKE3 over parts with their lengths, so that no two lists of parts run together.
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    fn new(domain: &str) -> Digest {
        let mut digest = Digest(blake3::Hasher::new());
        digest.text(domain);
        digest
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    /// Adds a list of texts.
    pub(crate) fn list<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) {
        let texts: Vec<&str> = texts.into_iter().collect();
        self.0.update(&(texts.len() as u64).to_be_bytes());
        texts.into_iter().for_each(|t| self.text(t));
    }

    fn finish(self) -> String {
        self.0.finalize().to_hex().chars().take(32).collect()
    }
}

/// The generation of a detection: its tests, where its fields are looked for, and what its log source is.
pub(crate) fn of_detection(
    logsource: &LogSource,
    expr: &Expr,
    sources: &LogSources,
    paths: &PathLists<'_>,
) -> String {
    let mut digest = Digest::new("detection");
    for part in [&logsource.product, &logsource.service, &logsource.category] {
        digest.list(part.as_deref());
    }
    for definition in sources.definitions.iter().filter(|d| concerns(d, logsource)) {
        feed_expr(&mut digest, &definition.when, &definition.own_logsource(), paths);
    }
    feed_expr(&mut digest, expr, logsource, paths);
    digest.finish()
}

/// Whether a definition gives something that the rule asks for.
fn concerns(definition: &Definition, logsource: &LogSource) -> bool {
    let has = |wanted: &Option<String>, given: &[String]| wanted.as_ref().is_some_and(|w| given.contains(w));
    has(&logsource.product, &definition.products)
        || has(&logsource.service, &definition.services)
        || has(&logsource.category, &definition.categories)
}

fn feed_expr(digest: &mut Digest, expr: &Expr, logsource: &LogSource, paths: &PathLists<'_>) {
    let mut canonical = String::new();
    expr.write_canonical(&mut canonical);
    digest.text(&canonical);
    let mut seen = HashSet::new();
    let mut names: Vec<&str> = Vec::new();
    expr.visit(&mut |test| {
        let other = match &test.check {
            Check::Field { other, .. } => Some(other.as_str()),
            _ => None,
        };
        for name in test.field.as_deref().into_iter().chain(other) {
            if seen.insert(name.to_owned()) {
                names.push(name);
            }
        }
    });
    for name in names {
        digest.list(paths.digest(logsource, name).map(|d| d.to_hex().to_string()).as_deref());
    }
}

/// What the generation of a correlation is made of.
pub(crate) struct Parts<'p> {
    /// Generations of the members.
    pub(crate) members: Vec<&'p str>,
    /// Fields to group by, with their paths.
    pub(crate) group_by: &'p [GroupField],
    /// What is measured.
    pub(crate) measured: &'p [GroupField],
    /// The same by member, where aliases differ.
    pub(crate) aliased: &'p [Aliased],
    /// Kind, time span and condition.
    pub(crate) part: &'p CorrelationPart,
}

/// The generation of a correlation.
pub(crate) fn of_correlation(parts: &Parts<'_>) -> String {
    let mut digest = Digest::new("correlation");
    digest.text(&format!("{:?}", parts.part.kind));
    digest.list(parts.members.iter().copied());
    feed_group(&mut digest, parts.group_by);
    for aliased in parts.aliased {
        feed_group(&mut digest, &aliased.group_by);
    }
    digest.text(&parts.part.timespan_ms.to_string());
    let c = &parts.part.condition;
    for bound in [c.gt, c.gte, c.lt, c.lte, c.eq, c.neq] {
        let text = bound.map(|n| n.to_string());
        digest.list(text.as_deref());
    }
    // Rules that count events keep the generation that they had before there were other kinds.
    if parts.part.kind != Kind::EventCount {
        feed_group(&mut digest, parts.measured);
        let l = &parts.part.limits;
        for bound in [l.gt, l.gte, l.lt, l.lte, l.eq, l.neq] {
            let text = bound.map(|n| n.to_string());
            digest.list(text.as_deref());
        }
    }
    digest.finish()
}

fn feed_group(digest: &mut Digest, fields: &[GroupField]) {
    for field in fields {
        digest.text(&field.name);
        for path in &field.paths {
            digest.list(path.keys());
        }
    }
}

/// The digest of a set: every rule, with its presentation.
pub(crate) fn of_set(detections: &[Detection], correlations: &[Correlation]) -> String {
    let mut digest = Digest::new("set");
    for detection in detections {
        digest.text(if detection.alerts { "alerts" } else { "feeds" });
        feed_info(&mut digest, &detection.info);
    }
    for correlation in correlations {
        feed_info(&mut digest, &correlation.info);
    }
    digest.finish()
}

fn feed_info(digest: &mut Digest, info: &RuleInfo) {
    digest.text(&info.generation);
    digest.text(&info.id);
    digest.list(info.name.as_deref());
    for text in [&info.title, &info.severity, &info.category, &info.summary] {
        digest.text(text);
    }
    digest.text(info.level.as_str());
    digest.list(info.tags.iter().map(String::as_str));
    digest.list(info.attack.iter().map(String::as_str));
    digest.text(&info.samples.to_string());
    digest.list(info.channel.as_deref());
    digest.text(&format!("{:?}", info.notify));
    digest.list(info.url.as_deref());
    digest.list(info.sources.iter().map(String::as_str));
}
