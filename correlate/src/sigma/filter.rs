//! Filters: a second condition for rules that live elsewhere.
//!
//! In: documents, some of them filters. Out: the other documents; where a
//! filter names a rule, the rule holds only where the filter's condition
//! holds too (so that an exclusion says `condition: not selection`). Never: a
//! filter that applies to nothing, in silence.

use std::collections::HashMap;
use std::sync::Arc;

use crate::finding::{Code, Finding, Place};
use crate::sigma::ast::Expr;
use crate::sigma::document::{Body, Document, FilterPart, LogSource};

/// Applies all filters.
pub fn apply(documents: Vec<Document>, findings: &mut Vec<Finding>) -> Vec<Document> {
    let (filters, mut rules): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|document| matches!(document.body, Body::Filter(_)));
    if filters.is_empty() {
        return rules;
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    for (at, rule) in rules.iter().enumerate() {
        names.extend(rule.id.iter().chain(&rule.name).map(|key| (key.clone(), at)));
    }
    for document in &filters {
        let Body::Filter(filter) = &document.body else { continue };
        let mut find = |place: Place, code: Code, message: String| {
            findings.push(Finding { file: Arc::clone(&document.file), place, code, message });
        };
        if filter.rules.is_empty() {
            rules.iter_mut().filter(|rule| fits(filter, rule)).for_each(|rule| restrict(rule, &filter.expr));
        }
        for (name, place) in &filter.rules {
            match names.get(name).and_then(|at| rules.get_mut(*at)) {
                None => {
                    let message =
                        format!("no rule with the id or name \"{name}\" is loaded: nothing is filtered");
                    find(*place, Code::FilterWithoutRule, message);
                }
                Some(rule) if fits(filter, rule) => restrict(rule, &filter.expr),
                Some(rule) => {
                    let message = format!("\"{}\" has another log source: it is not filtered", rule.title);
                    find(*place, Code::LogSource, message);
                }
            }
        }
    }
    rules
}

fn restrict(rule: &mut Document, with: &Expr) {
    if let Body::Detection { expr, .. } = &mut rule.body {
        let own = std::mem::replace(expr, Expr::All(Vec::new()));
        *expr = Expr::All(vec![own, with.clone()]);
    }
}

/// Whether each part that the filter's log source names is the rule's.
fn fits(filter: &FilterPart, rule: &Document) -> bool {
    let Body::Detection { logsource, .. } = &rule.body else { return false };
    let LogSource { category, product, service } = &filter.logsource;
    let same = |mine: &Option<String>, its: &Option<String>| mine.is_none() || mine == its;
    same(category, &logsource.category)
        && same(product, &logsource.product)
        && same(service, &logsource.service)
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use crate::load::{Role, SourceFile, files};
    use crate::ruleset::Scratch;

    const RULE: &str = "title: t\nid: r1\nlogsource: {product: windows, category: process_creation}\n\
        detection: {a: {CommandLine|contains: x}, condition: a}\n---\n";

    #[track_caller]
    fn check(filter: &str, user: &str, expected: bool, codes: &[&str]) {
        let text = format!("{RULE}title: f\n{filter}\n");
        let file = SourceFile { name: "f".into(), role: Role::Rules, text: text.as_str().into() };
        let mut all = crate::shipped::files(|role| role != Role::Rules);
        all.push(file);
        let loaded = files(&all, Vec::new());
        let report = &loaded.report;
        let got: Vec<&str> = report.errors.iter().chain(&report.warnings).map(|f| f.code.as_str()).collect();
        assert_eq!(got, codes, "{filter}: {:?} {:?}", report.errors, report.warnings);
        let json = format!(
            r#"{{"details":{{"channel":"Microsoft-Windows-Sysmon/Operational","eventid":1,"commandline":"axb","user":"{user}"}}}}"#
        );
        let mut hits = Vec::new();
        loaded.set.evaluate(&Event::from_json(&json).unwrap(), &mut Scratch::default(), &mut hits);
        assert_eq!(!hits.is_empty(), expected, "{filter}");
    }

    #[test]
    fn a_filter_is_a_second_condition() {
        let filter = |logsource: &str, rules: &str| {
            format!(
                "logsource: {{{logsource}}}\nfilter: {{rules: {rules}, s: {{User|startswith: adm_}}, condition: not s}}"
            )
        };
        let windows = "product: windows";
        check(&filter(windows, "[r1]"), "adm_x", false, &[]);
        check(&filter(windows, "r1"), "adm_x", false, &[]);
        check(&filter(windows, "[r1]"), "eve", true, &[]);
        check(&filter(windows, "any"), "adm_x", false, &[]);
        check(&filter("product: linux", "any"), "adm_x", true, &[]);
        check(&filter("product: linux", "[r1]"), "adm_x", true, &["S020"]);
        check(&filter(windows, "[r2]"), "adm_x", true, &["S035"]);
        check(&filter(windows, "[]"), "adm_x", true, &["S006"]);
        let inner = filter(windows, "[r1]").replace("not s", "s");
        check(&inner, "adm_x", true, &[]);
        check(&inner, "eve", false, &[]);
    }
}
