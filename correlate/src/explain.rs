//! Why a rule matches an event or does not: its log source, and each part of
//! its condition with the values that were looked at.
//!
//! In: rules as read, one event. Out: an [`Explanation`]. Never: another
//! answer than the engine gives: it judges each test by itself.

use model::event::{Event, Path};
use serde_json::{Value as Json, json};

use crate::fields::PathLists;
use crate::group_key::first_value;
use crate::load::Parsed;
use crate::logsource::EVERY_EVENT;
use crate::matcher::engine::{Engine, Labels, Part, State};
use crate::rule::GroupField;
use crate::sigma::ast::{Check, Expr, Test};
use crate::sigma::document::{Body, Document, LogSource};

/// Most characters of a value that are shown.
const SHOWN_MAX: usize = 160;

/// Most patterns of a test that are shown.
const PATTERNS_MAX: usize = 8;

/// Why, or why not.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Id of the rule.
    pub id: String,
    /// Title.
    pub title: String,
    /// Whether it matches.
    pub holds: bool,
    /// What the rule asks of the event's source, and whether the event is that.
    pub source: Vec<(String, bool)>,
    /// Names of the log source definitions that hold for the event.
    pub definitions: Vec<String>,
    /// The condition.
    pub tree: Tree,
}

/// A part of a condition.
#[derive(Clone, Debug)]
pub struct Tree {
    /// What is asked: `all of`, `one of`, `not`, or a test.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// For a test of a field, where it was found and what it is.
    pub found: Option<String>,
    /// Its parts.
    pub parts: Vec<Tree>,
}

/// Explains a detection by its id, name or title; for a correlation each detection that it names. Empty when there is
/// none.
pub fn rule(parsed: &Parsed, name: &str, event: &Event) -> Vec<Explanation> {
    let mut wanted = vec![name.to_owned()];
    let mut explanations = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while let Some(name) = wanted.pop() {
        let is_it =
            |d: &&Document| d.id.as_ref() == Some(&name) || d.name.as_ref() == Some(&name) || d.title == name;
        let Some(document) = parsed.documents.iter().find(is_it) else { continue };
        if !seen.insert(document.rule_id().to_owned()) {
            continue;
        }
        match &document.body {
            Body::Detection { logsource, expr } => {
                explanations.push(detection(parsed, document, logsource, expr, event));
            }
            Body::Correlation(part) => wanted.extend(part.rules.iter().rev().map(|(name, _)| name.clone())),
            Body::Filter(_) => {}
        }
    }
    explanations
}

fn detection(
    parsed: &Parsed,
    document: &Document,
    logsource: &LogSource,
    expr: &Expr,
    event: &Event,
) -> Explanation {
    let paths = PathLists::new(&parsed.fields);
    let (definitions, given) = labels(parsed, &paths, event);
    let source = asked(logsource, &given);
    let mut tests = Vec::new();
    expr.visit(&mut |test| tests.push(Expr::Test(test.clone())));
    let parts: Vec<Part<'_>> =
        tests.iter().map(|expr| Part { expr, fields_of: logsource, labels: Labels::default() }).collect();
    let results = holding(&parts, &paths, event);
    let mut next = results.iter().copied();
    let mut build = Build { paths: &paths, logsource, event, results: &mut next };
    let tree = build.tree(expr);
    Explanation {
        id: document.rule_id().to_owned(),
        title: document.title.clone(),
        holds: tree.holds && source.iter().all(|(_, is_it)| *is_it),
        source,
        definitions,
        tree,
    }
}

/// Which of these parts hold.
fn holding(parts: &[Part<'_>], paths: &PathLists<'_>, event: &Event) -> Vec<bool> {
    let (engine, _) = Engine::new(&[], parts, paths);
    let (mut state, mut hits) = (State::default(), Vec::new());
    engine.evaluate(event, &mut state, &mut hits);
    (0..parts.len()).map(|at| hits.contains(&at)).collect()
}

/// Definitions that hold, and the products, services and categories that they give.
fn labels(parsed: &Parsed, paths: &PathLists<'_>, event: &Event) -> (Vec<String>, [Vec<String>; 3]) {
    let definitions = &parsed.sources.definitions;
    let own: Vec<LogSource> = definitions.iter().map(|definition| definition.own_logsource()).collect();
    let parts: Vec<Part<'_>> = definitions
        .iter()
        .zip(&own)
        .map(|(definition, fields_of)| Part { expr: &definition.when, fields_of, labels: Labels::default() })
        .collect();
    let results = holding(&parts, paths, event);
    let mut given: [Vec<String>; 3] = [vec![EVERY_EVENT.to_owned()], Vec::new(), Vec::new()];
    let mut names = Vec::new();
    for (definition, _) in definitions.iter().zip(results).filter(|(_, holds)| *holds) {
        names.push(definition.name.clone());
        let all = [&definition.products, &definition.services, &definition.categories];
        given.iter_mut().zip(all).for_each(|(given, more)| given.extend(more.iter().cloned()));
    }
    (names, given)
}

fn asked(logsource: &LogSource, given: &[Vec<String>; 3]) -> Vec<(String, bool)> {
    let asked =
        [("product", &logsource.product), ("service", &logsource.service), ("category", &logsource.category)];
    let one = |((kind, wanted), given): ((&str, &Option<String>), &Vec<String>)| {
        wanted.as_ref().map(|wanted| (format!("{kind} {wanted}"), given.contains(wanted)))
    };
    asked.into_iter().zip(given).filter_map(one).collect()
}

struct Build<'b, I> {
    paths: &'b PathLists<'b>,
    logsource: &'b LogSource,
    event: &'b Event,
    results: &'b mut I,
}

impl<I: Iterator<Item = bool>> Build<'_, I> {
    /// In the order in which [`Expr::visit`] shows the tests.
    fn tree(&mut self, expr: &Expr) -> Tree {
        let (text, parts) = match expr {
            Expr::All(all) => ("all of", all.iter().map(|one| self.tree(one)).collect::<Vec<_>>()),
            Expr::Any(all) => ("one of", all.iter().map(|one| self.tree(one)).collect()),
            Expr::Not(inner) => ("not", vec![self.tree(inner)]),
            Expr::Test(test) => {
                let holds = self.results.next().unwrap_or(false);
                return Tree { text: describe(test), holds, found: self.found(test), parts: Vec::new() };
            }
        };
        let holds = match expr {
            Expr::All(_) => parts.iter().all(|part| part.holds),
            Expr::Not(_) => !parts.iter().any(|part| part.holds),
            Expr::Any(_) | Expr::Test(_) => parts.iter().any(|part| part.holds),
        };
        Tree { text: text.to_owned(), holds, found: None, parts }
    }

    fn found(&self, test: &Test) -> Option<String> {
        let field = test.field.as_ref()?;
        let list = self.paths.list(self.paths.position(self.logsource, field));
        let found = list.iter().find_map(|keys| {
            let path = Path::from_keys(keys.iter().map(String::as_str));
            let one = GroupField { name: String::new(), paths: vec![path] };
            first_value(self.event, &one)
                .map(|value| format!("{} is {}", keys.join("."), cut(&value.to_json())))
        });
        Some(found.unwrap_or_else(|| "absent".to_owned()))
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A test in words.
fn describe(test: &Test) -> String {
    let field = test.field.as_deref().unwrap_or("any value");
    let asked = match &test.check {
        Check::Text { patterns, cased } => {
            let shown: Vec<String> =
                patterns.iter().take(PATTERNS_MAX).map(|p| cut(&p.to_string())).collect();
            let more = patterns.len().saturating_sub(PATTERNS_MAX);
            let more = if more > 0 { format!(" or {more} more") } else { String::new() };
            format!("is{} {}{more}", if *cased { " exactly" } else { "" }, shown.join(" or "))
        }
        Check::Regex { pattern, .. } => format!("matches /{}/", cut(pattern)),
        Check::Cidr(nets) => {
            let shown: Vec<String> = nets.iter().take(PATTERNS_MAX).map(ToString::to_string).collect();
            format!("is in {}", shown.join(" or "))
        }
        Check::Exists(true) => "is there".to_owned(),
        Check::Exists(false) | Check::Null => "is absent or null".to_owned(),
        Check::Field { other, how, .. } => format!("{how:?} the field {other}").to_lowercase(),
        check => {
            let mut text = String::new();
            check.write_canonical(&mut text);
            cut(text.trim())
        }
    };
    format!("{field} {asked}")
}

impl Explanation {
    /// As JSON.
    pub fn to_json(&self) -> Json {
        let source: Vec<Json> =
            self.source.iter().map(|(text, holds)| json!({"asks": text, "holds": holds})).collect();
        json!({
            "rule": {"id": self.id, "title": self.title}, "holds": self.holds, "logsource": source,
            "event_is": self.definitions, "condition": self.tree.to_json(),
        })
    }

    /// As lines: `+` holds, `-` does not.
    pub fn lines(&self) -> Vec<String> {
        let mark = |holds: bool| if holds { "+" } else { "-" };
        let verdict = if self.holds { "matches" } else { "does not match" };
        let mut lines = vec![format!("{} ({}) {verdict}", self.title, self.id)];
        lines.push(format!(
            "  the event is: {}",
            if self.definitions.is_empty() {
                "of no known log source".to_owned()
            } else {
                self.definitions.join(", ")
            }
        ));
        lines
            .extend(self.source.iter().map(|(text, holds)| format!("  {} log source: {text}", mark(*holds))));
        self.tree.lines_into(1, &mut lines);
        lines
    }
}

impl Tree {
    fn to_json(&self) -> Json {
        let mut tree = json!({"asks": self.text, "holds": self.holds});
        if let Some(map) = tree.as_object_mut() {
            map.extend(self.found.as_ref().map(|found| ("found".to_owned(), Json::from(found.as_str()))));
            if !self.parts.is_empty() {
                map.insert("parts".to_owned(), self.parts.iter().map(Tree::to_json).collect());
            }
        }
        tree
    }

    fn lines_into(&self, depth: usize, lines: &mut Vec<String>) {
        let found = self.found.as_ref().map_or_else(String::new, |found| format!("   ({found})"));
        let mark = if self.holds { "+" } else { "-" };
        lines.push(format!("{}{mark} {}{found}", "  ".repeat(depth), self.text));
        self.parts.iter().for_each(|part| part.lines_into(depth.saturating_add(1), lines));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use model::event::Event;

    use super::rule;
    use crate::load::{Parsed, Role, SourceFile};

    const RULE: &str = "
title: Brute force
name: many
correlation: {type: event_count, rules: [failed], timespan: 1m, condition: {gte: 3}}
---
title: Failed
name: failed
logsource: {product: linux, service: sshd}
detection:
  s: {summary|contains: [failed, refused], user|exists: true}
  f: {ip|cidr: 10.0.0.0/8}
  condition: s and not f
";

    #[track_caller]
    fn check(name: &str, json: &str, expected: Expect) {
        let mut files = crate::shipped::files(|role| role != Role::Rules);
        files.push(SourceFile { name: "f".into(), role: Role::Rules, text: RULE.into() });
        let parsed = Parsed::read(&files, &mut Vec::new());
        let event = Event::from_json(json).unwrap();
        let lines: Vec<String> =
            rule(&parsed, name, &event).iter().flat_map(super::Explanation::lines).collect();
        expected.assert_eq(&lines.join("\n"));
        assert!(rule(&parsed, name, &event).iter().all(|one| one.to_json()["holds"] == one.holds));
    }

    #[test]
    fn what_held_and_what_did_not() {
        check(
            "many",
            r#"{"summary":"login FAILED","details":{"program":"sshd","user":"eve","ip":"10.1.2.3"}}"#,
            expect![[r#"
                Failed (failed) does not match
                  the event is: sshd
                  + log source: product linux
                  + log source: service sshd
                  - all of
                    + all of
                      + summary is *failed* or *refused*   (summary is "login FAILED")
                      + user is there   (details.user is "eve")
                    - not
                      + ip is in 10.0.0.0/8   (details.ip is "10.1.2.3")"#]],
        );
        check("nobody", "{}", expect![""]);
    }
}
