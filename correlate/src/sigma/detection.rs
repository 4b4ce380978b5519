//! The `detection` block: search identifiers and the condition over them.
//!
//! In: the block. Out: one [`Expr`]. Never: an identifier that the condition
//! names and the block lacks.

use std::collections::HashSet;

use crate::finding::{Code, Findings, Place, suggestion};
use crate::sigma::ast::Expr;
use crate::sigma::condition::{self, Ast};
use crate::sigma::modifier;
use crate::sigma::yaml::{Entry, Kind, Node};

/// Most tests of one rule, once its condition is written out.
const TESTS_MAX: usize = 200_000;

/// A search identifier.
struct Named<'n> {
    name: &'n str,
    place: Place,
    expr: Option<Expr>,
}

/// Reads the block.
pub fn read(block: &Node, findings: &mut Findings) -> Option<Expr> {
    let Some(entries) = block.entries() else {
        let message = format!("\"detection\" is a map of search identifiers, not {}", block.describe());
        findings.add(block.place, Code::WrongType, message);
        return None;
    };
    let mut named = Vec::new();
    let mut placeholders = false;
    for entry in entries {
        match entry.key.as_str() {
            "condition" => {}
            "timeframe" => {
                let message =
                    "\"timeframe\" is no longer part of Sigma: write a correlation rule with a timespan";
                findings.add(entry.place, Code::Aggregation, message);
            }
            name => {
                let before = findings.errors();
                let expr = selection(&entry.value, entry.place, findings);
                placeholders |= expr.is_none() && findings.errors() == before;
                named.push(Named { name, place: entry.place, expr });
            }
        }
    }
    let expr = conditions(block, &named, findings);
    if placeholders { None } else { expr }
}

/// A map: all of its items. A list: one of its maps or keywords.
pub fn selection(value: &Node, place: Place, findings: &mut Findings) -> Option<Expr> {
    match &value.kind {
        Kind::Map(entries) => map(entries, place, findings),
        Kind::List(items) if items.is_empty() => {
            findings.add(place, Code::Empty, "an empty list: nothing could match");
            None
        }
        Kind::List(items) if items.iter().all(|i| i.text().is_some()) => {
            modifier::item("", place, value, findings)
        }
        Kind::List(items) => {
            let exprs: Vec<Option<Expr>> = items
                .iter()
                .map(|item| match &item.kind {
                    Kind::Map(entries) => map(entries, item.place, findings),
                    _ => modifier::item("", item.place, item, findings),
                })
                .collect();
            exprs.into_iter().collect::<Option<Vec<Expr>>>().map(Expr::Any)
        }
        Kind::Null => {
            findings.add(place, Code::Empty, "nothing to look for: write a map or a list");
            None
        }
        Kind::Plain(_) | Kind::Quoted(_) => modifier::item("", place, value, findings),
    }
}

fn map(entries: &[Entry], place: Place, findings: &mut Findings) -> Option<Expr> {
    if entries.is_empty() {
        findings.add(place, Code::Empty, "an empty map would match every event");
        return None;
    }
    let exprs: Vec<Option<Expr>> =
        entries.iter().map(|e| modifier::item(&e.key, e.place, &e.value, findings)).collect();
    let mut exprs = exprs.into_iter().collect::<Option<Vec<Expr>>>()?;
    Some(if exprs.len() == 1 { exprs.swap_remove(0) } else { Expr::All(exprs) })
}

/// One condition or a list of them, of which one must hold.
fn conditions(block: &Node, named: &[Named<'_>], findings: &mut Findings) -> Option<Expr> {
    let Some(value) = block.get("condition") else {
        findings.add(block.place, Code::MissingKey, "\"condition\" is missing from \"detection\"");
        return None;
    };
    let texts: Vec<&Node> = match &value.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut used = HashSet::new();
    let mut exprs = Vec::with_capacity(texts.len());
    for node in texts {
        let Some(text) = node.text() else {
            findings.add(
                node.place,
                Code::WrongType,
                format!("a condition is a text, not {}", node.describe()),
            );
            continue;
        };
        match condition::parse(text) {
            Ok(ast) => {
                let mut resolver = Resolver { named, used: &mut used, node, tests: 0, findings };
                exprs.push(resolver.resolve(&ast));
            }
            Err(error) => {
                let code = match error.kind {
                    condition::Problem::Aggregation | condition::Problem::Near => Code::Aggregation,
                    _ => Code::Condition,
                };
                findings.add(column(node, error.at), code, error.kind.to_string());
                return None;
            }
        }
    }
    for unused in named.iter().filter(|n| !used.contains(n.name)) {
        let message = format!("the search identifier \"{}\" is not used by the condition", unused.name);
        findings.add(unused.place, Code::UnusedIdentifier, message);
    }
    let mut exprs = exprs.into_iter().collect::<Option<Vec<Expr>>>()?;
    match exprs.len() {
        0 => None,
        1 => Some(exprs.swap_remove(0)),
        _ => Some(Expr::Any(exprs)),
    }
}

/// The place of a character of a condition, as far as it stands on one line.
fn column(node: &Node, at: usize) -> Place {
    let quote = u32::from(matches!(node.kind, Kind::Quoted(_)));
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    Place { line: node.place.line, column: node.place.column.saturating_add(quote).saturating_add(at) }
}

struct Resolver<'r, 'n> {
    named: &'r [Named<'n>],
    used: &'r mut HashSet<&'n str>,
    node: &'r Node,
    tests: usize,
    findings: &'r mut Findings,
}

impl<'n> Resolver<'_, 'n> {
    fn resolve(&mut self, ast: &Ast) -> Option<Expr> {
        match ast {
            Ast::Name(name, at) => self.name(name, *at),
            Ast::Of { all, pattern, at } => self.of(*all, pattern.as_deref(), *at),
            Ast::Not(inner) => Some(Expr::Not(Box::new(self.resolve(inner)?))),
            Ast::And(all) => self.many(all).map(Expr::All),
            Ast::Or(all) => self.many(all).map(Expr::Any),
        }
    }

    /// Every operand is looked at, so that all wrong names are found.
    fn many(&mut self, all: &[Ast]) -> Option<Vec<Expr>> {
        let exprs: Vec<Option<Expr>> = all.iter().map(|a| self.resolve(a)).collect();
        exprs.into_iter().collect()
    }

    fn name(&mut self, name: &str, at: usize) -> Option<Expr> {
        let Some(found) = self.named.iter().find(|n| n.name == name) else {
            let hint = suggestion(name, self.named.iter().map(|n| n.name));
            let message = format!("the condition names \"{name}\", which \"detection\" does not have{hint}");
            self.findings.add(column(self.node, at), Code::UnknownIdentifier, message);
            return None;
        };
        self.used.insert(found.name);
        let expr = found.expr.clone()?;
        self.count(expr)
    }

    /// A condition may name an identifier often; what it comes to is bounded.
    fn count(&mut self, expr: Expr) -> Option<Expr> {
        let before = self.tests;
        expr.visit(&mut |_| self.tests = self.tests.saturating_add(1));
        if self.tests > TESTS_MAX {
            if before <= TESTS_MAX {
                let message = format!("the condition comes to more than {TESTS_MAX} tests: split the rule");
                self.findings.add(self.node.place, Code::Limit, message);
            }
            return None;
        }
        Some(expr)
    }

    fn of(&mut self, all: bool, pattern: Option<&str>, at: usize) -> Option<Expr> {
        let fits = |name: &str| match pattern {
            // Identifiers that begin with an underscore are left out of `them`, by convention.
            None => !name.starts_with('_'),
            Some(pattern) => condition::fits(pattern, name),
        };
        let chosen: Vec<&'n str> = self.named.iter().map(|n| n.name).filter(|n| fits(n)).collect();
        if chosen.is_empty() {
            let what = pattern.unwrap_or("them");
            let message = format!("no search identifier fits \"{what}\"");
            self.findings.add(column(self.node, at), Code::UnknownIdentifier, message);
            return None;
        }
        let exprs: Vec<Option<Expr>> = chosen.into_iter().map(|name| self.name(name, at)).collect();
        let exprs = exprs.into_iter().collect::<Option<Vec<Expr>>>()?;
        Some(if all { Expr::All(exprs) } else { Expr::Any(exprs) })
    }
}
