//! The meaning of a detection, as plainly as it can be said; the oracle of
//! the tests.
//!
//! In: a tree as the front end gives it, an event. Out: whether it holds.
//! Never: shared code with the engine, but for folding, words and addresses.

use std::cell::RefCell;
use std::collections::HashMap;

use model::event::{Event, Value};
use regex::Regex;

use crate::fields::FieldMaps;
use crate::fold::fold;
use crate::logsource::LogSources;
use crate::matcher::date_part;
use crate::sigma::ast::{self, Check, Expr, How, Number, Test};
use crate::sigma::document::LogSource;
use crate::sigma::pattern::{Part, Pattern};
use crate::sigma::pcre;
use crate::words;

/// Judges rules one by one.
pub(crate) struct Naive<'n> {
    pub(crate) sources: &'n LogSources,
    pub(crate) fields: &'n FieldMaps,
    pub(crate) expressions: RefCell<HashMap<String, Regex>>,
    pub(crate) opened: RefCell<HashMap<String, Option<&'static Event>>>,
}

impl Naive<'_> {
    /// What an event is: `product aws`, `service cloudtrail` and so on.
    pub(crate) fn labels(&self, event: &Event) -> Vec<String> {
        let mut has = vec!["product mozdef".to_owned()];
        for definition in &self.sources.definitions {
            if self.expr(&definition.own_logsource(), &definition.when, event) {
                has.extend(definition.products.iter().map(|n| format!("product {n}")));
                has.extend(definition.services.iter().map(|n| format!("service {n}")));
                has.extend(definition.categories.iter().map(|n| format!("category {n}")));
            }
        }
        has
    }

    /// Whether a rule of this log source holds for an event with these labels.
    pub(crate) fn holds(&self, logsource: &LogSource, expr: &Expr, event: &Event, labels: &[String]) -> bool {
        let asks = |kind: &str, name: &Option<String>| {
            name.as_ref().is_none_or(|n| labels.contains(&format!("{kind} {n}")))
        };
        asks("product", &logsource.product)
            && asks("service", &logsource.service)
            && asks("category", &logsource.category)
            && self.expr(logsource, expr, event)
    }

    fn expr(&self, logsource: &LogSource, expr: &Expr, event: &Event) -> bool {
        match expr {
            Expr::All(all) => all.iter().all(|e| self.expr(logsource, e, event)),
            Expr::Any(all) => all.iter().any(|e| self.expr(logsource, e, event)),
            Expr::Not(inner) => !self.expr(logsource, inner, event),
            Expr::Test(test) => self.test(logsource, test, event),
        }
    }

    fn test(&self, logsource: &LogSource, test: &Test, event: &Event) -> bool {
        let Some(field) = &test.field else {
            return keywords(event).iter().any(|text| self.text(&test.check, text));
        };
        let found = self.find(logsource, field, event);
        let texts: Vec<&String> = found.iter().flatten().flatten().collect();
        match &test.check {
            Check::Exists(yes) => found.is_some() == *yes,
            Check::Null => found.as_ref().is_none_or(|v| v.is_empty() || v.iter().any(Option::is_none)),
            Check::Field { other, how, cased } => {
                let others = self.find(logsource, other, event).unwrap_or_default();
                texts.iter().any(|a| others.iter().flatten().any(|b| relates(a, b, *how, *cased)))
            }
            check => texts.iter().any(|text| self.text(check, text)),
        }
    }

    /// The values of the first path that is there; `None` among them is null.
    fn find(&self, logsource: &LogSource, field: &str, event: &Event) -> Option<Vec<Option<String>>> {
        for path in self.fields.paths(logsource, field) {
            let mut values = Vec::new();
            if let Some((first, rest)) = path.split_first() {
                self.members(Value::Object(event.root()), first, rest, true, &mut values);
            }
            if !values.is_empty() {
                let mut texts = Vec::new();
                values.into_iter().for_each(|v| flatten(v, &mut texts));
                return Some(texts);
            }
        }
        None
    }

    /// `open`: whether `{"raw_value": "JSON"}` stands for the value that it wraps.
    fn walk<'e>(&self, value: Value<'e>, keys: &[String], open: bool, out: &mut Vec<Value<'e>>) {
        if let Some(inner) = self.unwrap(value).filter(|_| open) {
            self.walk(inner, keys, false, out);
            if keys.is_empty() {
                return;
            }
        }
        match keys.split_first() {
            Some((first, rest)) => self.members(value, first, rest, open, out),
            None => out.push(value),
        }
    }

    fn members<'e>(
        &self,
        value: Value<'e>,
        key: &str,
        rest: &[String],
        open: bool,
        out: &mut Vec<Value<'e>>,
    ) {
        match value {
            Value::Object(object) => {
                object
                    .iter()
                    .filter(|(name, _)| *name == key || name.replace(' ', "") == key)
                    .for_each(|(_, v)| self.walk(v, rest, open, out));
            }
            Value::Array(array) => array.iter().for_each(|v| self.members(v, key, rest, open, out)),
            _ => {}
        }
    }

    /// The value that an object wraps. It is never freed; the tests open few.
    fn unwrap<'e>(&self, value: Value<'e>) -> Option<Value<'e>> {
        let Value::Object(object) = value else { return None };
        let text = object.get("raw_value").filter(|_| object.len() == 1)?.as_str()?;
        let parse = |text: &str| {
            let event = Event::from_json(&format!(r#"{{"x":{text}}}"#)).ok()?;
            (event.root().len() == 1).then(|| &*Box::leak(Box::new(event)))
        };
        let mut opened = self.opened.borrow_mut();
        let event: &'static Event = (*opened.entry(text.to_owned()).or_insert_with(|| parse(text)))?;
        event.member("x")
    }

    fn text(&self, check: &Check, text: &str) -> bool {
        match check {
            Check::Text { patterns, cased } => {
                let form = |t: &str| if *cased { t.to_owned() } else { fold(t) };
                let text = form(text);
                patterns
                    .iter()
                    .any(|p| self.expression(&source(p, form), |s| Regex::new(s).unwrap()).is_match(&text))
            }
            Check::Regex { pattern, flags } => self
                .expression(&format!("{flags:?}{pattern}"), |_| pcre::compile(pattern, *flags).unwrap())
                .is_match(text),
            Check::Cidr(nets) => ast::address(text).is_some_and(|ip| nets.iter().any(|n| n.contains(&ip))),
            Check::Compare { op, number } => {
                Number::parse(text).is_some_and(|found| op.holds(found.compare(*number)))
            }
            Check::Date { part, op, number } => {
                date_part::read(text, *part).is_some_and(|found| op.holds(found.cmp(number)))
            }
            Check::Phrase(phrases) => {
                let all = words::fold(text);
                phrases.iter().any(|p| all.windows(p.len()).any(|w| w == p.as_slice()))
            }
            Check::Exists(_) | Check::Null | Check::Field { .. } => false,
        }
    }

    fn expression(&self, source: &str, make: impl Fn(&str) -> Regex) -> Regex {
        self.expressions.borrow_mut().entry(source.to_owned()).or_insert_with(|| make(source)).clone()
    }
}

fn source(pattern: &Pattern, form: impl Fn(&str) -> String) -> String {
    let mut source = "(?s)^".to_owned();
    for part in pattern.parts() {
        match part {
            Part::Text(text) => source.push_str(&regex::escape(&form(text))),
            Part::Star => source.push_str(".*"),
            Part::One => source.push('.'),
        }
    }
    source + "$"
}

fn relates(a: &str, b: &str, how: How, cased: bool) -> bool {
    let (a, b) = if cased { (a.to_owned(), b.to_owned()) } else { (fold(a), fold(b)) };
    match how {
        How::Equals => a == b,
        How::Starts => a.starts_with(&b),
        How::Ends => a.ends_with(&b),
        How::Contains => a.contains(&b),
    }
}

fn flatten(value: Value<'_>, out: &mut Vec<Option<String>>) {
    match value {
        Value::Null => out.push(None),
        Value::Array(array) => array.iter().for_each(|v| flatten(v, out)),
        Value::String(text) => out.push(Some(text.to_owned())),
        other => out.push(Some(other.to_json())),
    }
}

fn keywords(event: &Event) -> Vec<String> {
    fn leaves(value: Value<'_>, out: &mut Vec<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(_, v)| leaves(v, out)),
            Value::Array(array) => array.iter().for_each(|v| leaves(v, out)),
            Value::Null => {}
            Value::String(text) => out.push(text.to_owned()),
            other => out.push(other.to_json()),
        }
    }
    let mut out = Vec::new();
    event.root().iter().filter(|(key, _)| *key != "mozdef").for_each(|(_, v)| leaves(v, &mut out));
    out
}
