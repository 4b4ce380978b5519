//! Correlations of a rule set: which rules feed which, by what fields they
//! are grouped, and which of all rules alert by themselves.
//!
//! In: correlations as written, the detections of the set. Out: [`Compiled`],
//! in an order in which each correlation comes after those that it names.
//! Never: a correlation that names itself, over however many others.

use std::collections::HashMap;
use std::sync::Arc;

use model::event::Path;

use crate::fields::{FieldMaps, Keys};
use crate::finding::{Code, Finding, Findings};
use crate::generation;
use crate::rule::{Correlation, Detection, GroupField};
use crate::rule_info;
use crate::ruleset::{Aliased, Names, Rule};
use crate::sigma::correlation::CorrelationPart;
use crate::sigma::document::Document;
use crate::summary;

/// Deepest chain of correlations.
const DEPTH_MAX: u8 = 8;

/// A correlation that the alerts of another feed.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Its position.
    pub(crate) outer: usize,
    /// The place of the other among its rules.
    pub(crate) place: u16,
    /// What it groups by, in terms of the other's groups.
    pub(crate) group_by: Vec<GroupField>,
}

/// All correlations of a set.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) correlations: Vec<Correlation>,
    /// For each correlation with aliases: the fields of each member.
    pub(crate) aliased: Vec<Vec<Aliased>>,
    /// For each correlation: those that its alerts feed.
    pub(crate) chains: Vec<Vec<Link>>,
    /// For each detection, whether it only feeds others.
    pub(crate) silenced: Vec<bool>,
}

/// A correlation as written, with its document.
pub(crate) type Counted<'d> = (&'d Document, &'d CorrelationPart);

/// What is known of the set while its correlations are compiled.
pub(crate) struct Compiler<'c, 'd> {
    rules: &'c [Rule<'d>],
    names: &'c Names<'d>,
    fields: &'c FieldMaps,
    detections: &'c [Detection],
    /// Positions of compiled correlations, by id and name.
    known: HashMap<&'d str, usize>,
    /// Their documents.
    documents: Vec<&'d Document>,
    done: Compiled,
}

/// The rules that a correlation names.
#[derive(Default)]
struct Members {
    detections: Vec<usize>,
    places: Vec<u16>,
    chained: Vec<(u16, usize)>,
}

impl<'c, 'd> Compiler<'c, 'd> {
    pub(crate) fn new(
        rules: &'c [Rule<'d>],
        names: &'c Names<'d>,
        fields: &'c FieldMaps,
        detections: &'c [Detection],
    ) -> Compiler<'c, 'd> {
        let (known, documents, done) = (HashMap::new(), Vec::new(), Compiled::default());
        Compiler { rules, names, fields, detections, known, documents, done }
    }

    /// Compiles all; what is wrong is left out, and is among the findings.
    pub(crate) fn compile(mut self, counted: &[Counted<'d>], findings: &mut Vec<Finding>) -> Compiled {
        let mut loud = vec![false; self.detections.len()];
        let mut referred = vec![false; self.detections.len()];
        let (mut loud_chain, mut referred_chain) = (Vec::new(), Vec::new());
        for at in order(counted, findings) {
            let Some((document, part)) = counted.get(at) else { continue };
            let mut file = Findings::new(Arc::clone(&document.file));
            let compiled = self.correlation(document, part, &mut file);
            findings.extend(file.into_vec());
            let Some((correlation, aliased)) = compiled else { continue };
            for member in &correlation.members {
                mark(&mut referred, *member, true);
                mark(&mut loud, *member, part.generate);
            }
            for (_, inner) in &correlation.chained {
                mark(&mut referred_chain, *inner, true);
                mark(&mut loud_chain, *inner, part.generate);
            }
            let position = self.done.correlations.len();
            self.link(part, &correlation, position);
            let keys = document.id.iter().chain(&document.name).map(String::as_str);
            self.known.extend(keys.map(|key| (key, position)));
            self.documents.push(document);
            self.done.correlations.push(correlation);
            self.done.aliased.push(aliased);
            self.done.chains.push(Vec::new());
            referred_chain.push(false);
            loud_chain.push(false);
        }
        let silenced =
            |referred: Vec<bool>, loud: Vec<bool>| referred.into_iter().zip(loud).map(|(r, l)| r && !l);
        for (correlation, silenced) in
            self.done.correlations.iter_mut().zip(silenced(referred_chain, loud_chain))
        {
            correlation.alerts = !silenced;
        }
        self.done.silenced = silenced(referred, loud).collect();
        self.done
    }

    fn correlation(
        &self,
        document: &Document,
        part: &CorrelationPart,
        findings: &mut Findings,
    ) -> Option<(Correlation, Vec<Aliased>)> {
        let members = self.members(part, findings)?;
        let aliased = self.aliased(part, &members, findings)?;
        let field = |name: &String| self.group_field(name, part, &members.detections, &members.chained);
        let group_by: Vec<GroupField> = part.group_by.iter().map(field).collect();
        let measured: Vec<GroupField> = part.fields.iter().map(field).collect();
        let inner = || members.chained.iter().filter_map(|(_, at)| self.done.correlations.get(*at));
        let depth = inner().map(|one| one.depth).max().unwrap_or(0).saturating_add(1);
        if depth > DEPTH_MAX {
            let message = format!("correlations of correlations more than {DEPTH_MAX} deep");
            findings.add(document.place, Code::Limit, message);
            return None;
        }
        let fed: Vec<_> = members.detections.iter().filter_map(|m| self.detections.get(*m)).collect();
        let infos = || fed.iter().map(|d| &d.info).chain(inner().map(|one| &one.info));
        let parts = generation::Parts {
            members: infos().map(|info| info.generation.as_str()).collect(),
            group_by: &group_by,
            measured: &measured,
            aliased: &aliased,
            part,
        };
        let generation = generation::of_correlation(&parts);
        let sources = joined(infos().map(|info| info.sources.as_slice()));
        let info = Arc::new(rule_info::build(document, sources, generation));
        let top = |name: String| GroupField { paths: vec![Path::new(&name)], name };
        let correlation = Correlation {
            tops: summary::counted_fields(&info.summary).into_iter().map(top).collect(),
            info,
            kind: part.kind,
            members: members.detections,
            places: members.places,
            chained: members.chained,
            depth,
            alerts: true,
            group_by,
            timespan_ms: part.timespan_ms,
            condition: part.condition,
            limits: part.limits,
            measured,
        };
        Some((correlation, aliased))
    }

    fn members(&self, part: &CorrelationPart, findings: &mut Findings) -> Option<Members> {
        let before = findings.errors();
        let mut members = Members::default();
        for (at, (name, place)) in (0_u16..).zip(&part.rules) {
            if let Some(position) = self.names.0.get(name.as_str()) {
                if !members.detections.contains(position) {
                    members.detections.push(*position);
                    members.places.push(at);
                }
            } else if let Some(position) = self.known.get(name.as_str()) {
                if !members.chained.iter().any(|(_, known)| known == position) {
                    members.chained.push((at, *position));
                }
            } else {
                let all = self.names.0.keys().chain(self.known.keys()).copied();
                let hint = crate::finding::suggestion(name, all);
                let message = format!("no rule with the id or name \"{name}\" is loaded{hint}");
                findings.add(*place, Code::UnknownRule, message);
            }
        }
        (findings.errors() == before).then_some(members)
    }

    /// The alerts of correlations that this one names feed it.
    fn link(&mut self, part: &CorrelationPart, correlation: &Correlation, outer: usize) {
        for &(place, inner) in &correlation.chained {
            let field = |name: &String| self.group_field(name, part, &[], &[(place, inner)]);
            let group_by: Vec<GroupField> = part.group_by.iter().map(field).collect();
            if let Some(links) = self.done.chains.get_mut(inner) {
                links.push(Link { outer, place, group_by });
            }
        }
    }

    /// The fields to group by where aliases differ from rule to rule.
    fn aliased(
        &self,
        part: &CorrelationPart,
        members: &Members,
        findings: &mut Findings,
    ) -> Option<Vec<Aliased>> {
        let used: Vec<_> = part.aliases.iter().filter(|a| part.group_by.contains(&a.name)).collect();
        let before = findings.errors();
        for (rule, place) in used.iter().flat_map(|a| &a.fields).map(|(rule, _, place)| (rule, place)) {
            let detection = self.names.0.get(rule.as_str());
            let inner = self.known.get(rule.as_str());
            let is_named = detection.is_some_and(|at| members.detections.contains(at))
                || inner.is_some_and(|at| members.chained.iter().any(|(_, known)| known == at));
            if !is_named {
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
            group_by: part.group_by.iter().map(|name| self.group_field(name, part, &[member], &[])).collect(),
        };
        Some(members.detections.iter().map(|m| of_member(*m)).collect())
    }

    /// A field to group by: where each of these members would look for it. The group of an inner correlation has its
    /// values under their names.
    fn group_field(
        &self,
        name: &str,
        part: &CorrelationPart,
        members: &[usize],
        chained: &[(u16, usize)],
    ) -> GroupField {
        let mut keys: Vec<Keys> = Vec::new();
        for rule in members.iter().filter_map(|m| self.rules.get(*m)) {
            let field = alias_of(part, name, rule.document);
            keys.extend(self.fields.paths(rule.logsource, field));
        }
        for document in chained.iter().filter_map(|(_, at)| self.documents.get(*at)) {
            keys.push(vec![alias_of(part, name, document).to_owned()]);
        }
        let mut seen = std::collections::HashSet::new();
        keys.retain(|k| seen.insert(k.clone()));
        let paths = keys.iter().map(|k| Path::from_keys(k.iter().map(String::as_str))).collect();
        GroupField { name: name.to_owned(), paths }
    }
}

/// The field that an alias names for a rule; without one the name itself.
fn alias_of<'p>(part: &'p CorrelationPart, name: &'p str, document: &Document) -> &'p str {
    let is_it = |of: &String| document.name.as_ref() == Some(of) || document.id.as_ref() == Some(of);
    let fields = part.aliases.iter().filter(|alias| alias.name == name).flat_map(|alias| &alias.fields);
    fields.into_iter().find(|(of, _, _)| is_it(of)).map_or(name, |(_, field, _)| field)
}

fn mark(marks: &mut [bool], position: usize, value: bool) {
    if let Some(mark) = marks.get_mut(position) {
        *mark |= value;
    }
}

/// The sources of all members; none when one of them takes in any.
fn joined<'s>(sources: impl Iterator<Item = &'s [String]>) -> Vec<String> {
    let all: Vec<&[String]> = sources.collect();
    if all.iter().any(|one| one.is_empty()) {
        return Vec::new();
    }
    let mut joined: Vec<String> = all.into_iter().flatten().cloned().collect();
    joined.sort();
    joined.dedup();
    joined
}

/// Positions so that each comes after those that it names; circles are left out and told.
fn order(counted: &[Counted<'_>], findings: &mut Vec<Finding>) -> Vec<usize> {
    let mut by_name = HashMap::new();
    for (at, (document, _)) in counted.iter().enumerate() {
        by_name.extend(document.id.iter().chain(&document.name).map(|key| (key.as_str(), at)));
    }
    // How many named correlations are not yet in order, and who waits for each.
    let mut waiting = vec![0_usize; counted.len()];
    let mut waits: Vec<Vec<usize>> = vec![Vec::new(); counted.len()];
    for (at, (_, part)) in counted.iter().enumerate() {
        for inner in part.rules.iter().filter_map(|(name, _)| by_name.get(name.as_str())) {
            waiting.get_mut(at).into_iter().for_each(|count| *count += 1);
            waits.get_mut(*inner).into_iter().for_each(|list| list.push(at));
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| at).collect();
    let mut ordered = Vec::with_capacity(counted.len());
    while let Some(at) = ready.pop_first() {
        ordered.push(at);
        for outer in waits.get(at).into_iter().flatten() {
            let Some(count) = waiting.get_mut(*outer) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.insert(*outer);
            }
        }
    }
    for (at, (document, _)) in
        counted.iter().enumerate().filter(|(at, _)| waiting.get(*at).is_some_and(|n| *n > 0))
    {
        debug_assert!(!ordered.contains(&at), "what waits is not in order");
        findings.push(Finding {
            file: Arc::clone(&document.file),
            place: document.place,
            code: Code::CorrelationCondition,
            message: "this correlation names itself, directly or by way of others".to_owned(),
        });
    }
    ordered
}

#[cfg(test)]
mod tests {
    use crate::load::{Role, SourceFile, files};
    use crate::test_rules::rules;

    const CHAIN: &str = "
title: Success after many failures
name: outer
correlation: {type: temporal_ordered, rules: [many, success], group-by: [who], timespan: 10m,
  aliases: {who: {many: User, success: Name}}}
---
title: Many
name: many
correlation: {type: event_count, rules: [failed], group-by: [User], timespan: 10m, condition: {gte: 3}}
---
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Success
name: success
logsource: {product: mozdef}
detection: {s: {outcome: ok}, condition: s}
";

    #[test]
    fn inner_correlations_come_first_and_feed_the_outer_one() {
        let set = rules(CHAIN);
        let titles: Vec<&str> = set.correlations.iter().map(|c| c.info.title.as_str()).collect();
        assert_eq!(titles, ["Many", "Success after many failures"]);
        let [inner, outer] = set.correlations.as_slice() else { panic!() };
        assert_eq!((inner.alerts, outer.alerts, outer.depth), (false, true, 2));
        assert_eq!((outer.chained.as_slice(), outer.places.as_slice()), (&[(0, 0)][..], &[1][..]));
        let link = &set.chained(0)[0];
        assert_eq!(
            (link.outer, link.place, link.group_by[0].paths[0].to_string()),
            (1, 0, "User".to_owned())
        );
        let loud = rules(&CHAIN.replace("timespan: 10m,\n", "timespan: 10m, generate: true,\n"));
        assert!(loud.correlations[0].alerts);
    }

    #[test]
    fn circles_are_told() {
        let circle = |name: &str, rule: &str| {
            format!(
                "title: {name}\nname: {name}\ncorrelation: {{type: event_count, rules: [{rule}], timespan: 1m, condition: {{gte: 1}}}}\n"
            )
        };
        let text = [circle("a", "b"), circle("b", "a"), circle("c", "c")].join("---\n");
        let file = SourceFile { name: "f".into(), role: Role::Rules, text: text.as_str().into() };
        let loaded = files(&[file], Vec::new());
        let errors: Vec<String> = loaded.report.errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("S023 this correlation names itself"), "{errors:?}");
    }
}
