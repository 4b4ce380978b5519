//! Value modifiers: `field|mod|mod: values` becomes a tree of tests.
//!
//! In: a key and its values, with places. Out: an [`Expr`], or findings.
//! Never: an unknown modifier let through.

mod name;
#[cfg(test)]
mod tests;
mod transform;

use ipnet::IpNet;

use crate::finding::{Code, Findings, Place, suggestion};
use crate::sigma::ast::{Check, DatePart, Expr, How, Number, Op, Test};
use crate::sigma::pattern::Pattern;
use crate::sigma::pcre::{self, Flags};
use crate::sigma::yaml::{Kind, Node};
use crate::words;
use name::{MORE_NAMES, Modifier, NAMES, modifier};
use transform::{Value, transform};

/// Reads `field|mod|mod` and its values.
pub fn item(key: &str, place: Place, value: &Node, findings: &mut Findings) -> Option<Expr> {
    let mut parts = key.split('|');
    let field = parts.next().unwrap_or_default();
    let mut chain = Vec::new();
    let before = findings.errors();
    for name in parts {
        match modifier(name) {
            Some(m) => chain.push(m),
            None => {
                let known = NAMES.iter().chain(&MORE_NAMES).map(|(known, _)| *known);
                let hint = suggestion(name, known);
                findings.add(
                    place,
                    Code::UnknownModifier,
                    format!("unknown modifier \"{name}\" in \"{key}\"{hint}"),
                );
            }
        }
    }
    let values: Vec<&Node> = match &value.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    if values.is_empty() {
        findings.add(
            place,
            Code::Empty,
            format!("\"{key}\" has an empty list of values: nothing could match"),
        );
    }
    if findings.errors() > before {
        return None;
    }
    let item = Item { field: (!field.is_empty()).then(|| field.to_owned()), key, chain, place };
    let expr = item.read(&values, matches!(value.kind, Kind::List(_)), findings);
    if findings.errors() > before { None } else { expr }
}

struct Item<'k> {
    field: Option<String>,
    key: &'k str,
    chain: Vec<Modifier>,
    place: Place,
}

impl Item<'_> {
    fn has(&self, wanted: Modifier) -> bool {
        self.chain.contains(&wanted)
    }

    fn read(&self, values: &[&Node], listed: bool, findings: &mut Findings) -> Option<Expr> {
        if !self.fits_together(findings) {
            return None;
        }
        let mut texts: Vec<Pattern> = Vec::new();
        let mut exprs: Vec<Expr> = Vec::new();
        let all = self.has(Modifier::All);
        for value in values {
            if listed && matches!(value.kind, Kind::Null) {
                let message =
                    format!("null in the list of \"{}\": Sigma says that null stands alone", self.key);
                findings.add(value.place, Code::NullInList, message);
            }
            match self.one(value, findings) {
                // The texts of a list without `all` are one test: a set or an automaton, not a chain.
                Some(Check::Text { patterns, .. }) if !all => texts.extend(patterns),
                Some(check) => exprs.push(self.test(check)),
                None => {}
            }
        }
        if !texts.is_empty() {
            exprs.insert(0, self.test(Check::Text { patterns: texts, cased: self.has(Modifier::Cased) }));
        }
        let joined = match (exprs.len(), all) {
            (0, _) => return None,
            (1, _) => exprs.swap_remove(0),
            (_, true) => Expr::All(exprs),
            (_, false) => Expr::Any(exprs),
        };
        Some(if self.has(Modifier::Neq) { Expr::Not(Box::new(joined)) } else { joined })
    }

    fn test(&self, check: Check) -> Expr {
        Expr::Test(Test { field: self.field.clone(), check })
    }

    fn misfit(&self, place: Place, why: &str, findings: &mut Findings) {
        findings.add(place, Code::ModifierMisfit, format!("\"{}\": {why}", self.key));
    }

    /// At most one modifier says what kind of test it is; the others must go with it.
    fn fits_together(&self, findings: &mut Findings) -> bool {
        let before = findings.errors();
        let kinds = self.chain.iter().filter(|m| {
            matches!(
                m,
                Modifier::Re
                    | Modifier::Cidr
                    | Modifier::Exists
                    | Modifier::Compare(_)
                    | Modifier::FieldRef
                    | Modifier::Phrase
                    | Modifier::Words
            )
        });
        if kinds.count() > 1 {
            self.misfit(self.place, "these modifiers exclude each other", findings);
        }
        let flags = [Modifier::IgnoreCase, Modifier::MultiLine, Modifier::DotAll];
        if !self.has(Modifier::Re) && flags.iter().any(|f| self.has(*f)) {
            self.misfit(self.place, "the flags i, m and s belong behind \"re\"", findings);
        }
        if self.field.is_none() {
            let needs_field = |m: &&Modifier| {
                matches!(m, Modifier::Exists | Modifier::FieldRef | Modifier::Compare(_) | Modifier::Date(_))
            };
            if self.chain.iter().any(|m| needs_field(&m)) {
                self.misfit(self.place, "this modifier needs a field", findings);
            }
        }
        findings.errors() == before
    }

    /// The test of one value.
    fn one(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        if let Kind::List(_) | Kind::Map(_) = value.kind {
            let message =
                format!("\"{}\" takes a value or a list of values, not {}", self.key, value.describe());
            findings.add(value.place, Code::WrongType, message);
            return None;
        }
        if self.has(Modifier::Exists) {
            return self.exists(value, findings);
        }
        let Some(text) = value.text() else { return self.null(value, findings) };
        if let Kind::Plain(plain) = &value.kind {
            warn_plain(plain, value.place, findings);
        }
        let plain;
        let mut text = text;
        if self.has(Modifier::Expand) {
            if self.placeholder(text, value.place, findings) {
                return None;
            }
            plain = text.replace("\\%", "%");
            text = &plain;
        }
        for m in &self.chain {
            match m {
                Modifier::Re => return self.regex(text, value.place, findings),
                Modifier::Cidr => return self.cidr(text, value.place, findings),
                Modifier::Date(part) => return self.date(*part, text, value.place, findings),
                Modifier::FieldRef => return self.field_ref(text, value.place, findings),
                Modifier::Phrase | Modifier::Words => {
                    return self.text_words(*m, text, value.place, findings);
                }
                Modifier::Compare(op) if !self.chain.iter().any(|m| matches!(m, Modifier::Date(_))) => {
                    return self.compare(*op, text, value.place, findings);
                }
                _ => {}
            }
        }
        self.patterns(text, value.place, findings)
            .map(|patterns| Check::Text { patterns, cased: self.has(Modifier::Cased) })
    }

    fn null(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        if self.field.is_none() {
            self.misfit(value.place, "null is no keyword", findings);
            return None;
        }
        if self.chain.iter().any(|m| !matches!(m, Modifier::Neq | Modifier::All | Modifier::Cased)) {
            self.misfit(value.place, "null takes no modifier", findings);
            return None;
        }
        Some(Check::Null)
    }

    fn exists(&self, value: &Node, findings: &mut Findings) -> Option<Check> {
        let word = value.text().map(str::to_ascii_lowercase);
        let yes = value.boolean().or(match word.as_deref() {
            Some("true" | "yes") => Some(true),
            Some("false" | "no") => Some(false),
            _ => None,
        });
        if yes.is_none() {
            let why = format!("\"exists\" takes true or false, not {}", value.describe());
            self.misfit(value.place, &why, findings);
        }
        yes.map(Check::Exists)
    }

    /// Whether the value has a placeholder; none has values yet, so its rule is left out, by name.
    fn placeholder(&self, text: &str, place: Place, findings: &mut Findings) -> bool {
        let mut parts = text.replace("\\%", "\u{0}").split('%').map(str::to_owned).collect::<Vec<_>>();
        // A name stands between two percent signs.
        parts.pop();
        let names: Vec<String> = parts.into_iter().skip(1).step_by(2).collect();
        if !names.is_empty() {
            let message =
                format!("the placeholder %{}% has no values: the rule is not loaded", names.join("%, %"));
            findings.add(place, Code::Placeholder, message);
        }
        !names.is_empty()
    }

    fn regex(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let known = |m: &&Modifier| {
            matches!(
                m,
                Modifier::Re
                    | Modifier::IgnoreCase
                    | Modifier::MultiLine
                    | Modifier::DotAll
                    | Modifier::All
                    | Modifier::Neq
                    | Modifier::Contains
                    | Modifier::Expand
            )
        };
        if !self.chain.iter().all(|m| known(&m)) {
            self.misfit(place, "a regular expression takes only i, m, s, all and neq", findings);
            return None;
        }
        let flags = Flags {
            ignore_case: self.has(Modifier::IgnoreCase),
            multi_line: self.has(Modifier::MultiLine),
            dot_all: self.has(Modifier::DotAll),
        };
        match pcre::compile(text, flags) {
            Ok(_) => Some(Check::Regex { pattern: text.to_owned(), flags }),
            Err(why) => {
                findings.add(place, Code::Regex, format!("\"{}\": {why}", self.key));
                None
            }
        }
    }

    fn cidr(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let net =
            text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        if net.is_none() {
            let message = format!("\"{text}\" is no network range: write it as 10.0.0.0/8 or 2001:db8::/32");
            findings.add(place, Code::Cidr, message);
        }
        net.map(|n| Check::Cidr(vec![n.trunc()]))
    }

    fn compare(&self, op: Op, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let number = Number::parse(text);
        if number.is_none() {
            findings.add(
                place,
                Code::Number,
                format!("\"{}\" compares with a number, not \"{text}\"", self.key),
            );
        }
        number.map(|number| Check::Compare { op, number })
    }

    fn date(&self, part: DatePart, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let op = self.chain.iter().find_map(|m| match m {
            Modifier::Compare(op) => Some(*op),
            _ => None,
        });
        let number = text.parse::<u32>().ok();
        if number.is_none() {
            findings.add(
                place,
                Code::Number,
                format!("\"{}\" compares with a number, not \"{text}\"", self.key),
            );
        }
        number.map(|number| Check::Date { part, op: op.unwrap_or(Op::Eq), number })
    }

    fn field_ref(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let mut how = How::Equals;
        for m in &self.chain {
            how = match m {
                Modifier::StartsWith => How::Starts,
                Modifier::EndsWith => How::Ends,
                Modifier::Contains => How::Contains,
                Modifier::FieldRef | Modifier::Neq | Modifier::All | Modifier::Cased => how,
                _ => {
                    self.misfit(
                        place,
                        "\"fieldref\" takes startswith, endswith, contains, cased and neq",
                        findings,
                    );
                    return None;
                }
            };
        }
        if text.is_empty() {
            self.misfit(place, "\"fieldref\" needs the name of a field", findings);
            return None;
        }
        Some(Check::Field { other: text.to_owned(), how, cased: self.has(Modifier::Cased) })
    }

    fn text_words(&self, m: Modifier, text: &str, place: Place, findings: &mut Findings) -> Option<Check> {
        let found: Vec<String> = words::fold(text);
        if found.is_empty() {
            self.misfit(place, &format!("\"{text}\" has no word in it"), findings);
            return None;
        }
        Some(Check::Phrase(match m {
            Modifier::Phrase => vec![found],
            _ => found.into_iter().map(|w| vec![w]).collect(),
        }))
    }

    /// Applies the transformations in their order.
    fn patterns(&self, text: &str, place: Place, findings: &mut Findings) -> Option<Vec<Pattern>> {
        let mut values = vec![Value::Pattern(Pattern::parse(text))];
        for m in &self.chain {
            let mut next = Vec::with_capacity(values.len());
            for value in values {
                match transform(*m, value) {
                    Ok(more) => next.extend(more),
                    Err(why) => {
                        let code =
                            if why.starts_with("more than") { Code::Limit } else { Code::ModifierMisfit };
                        findings.add(place, code, format!("\"{}\": {why}", self.key));
                        return None;
                    }
                }
            }
            values = next;
        }
        let mut patterns = Vec::with_capacity(values.len());
        for value in values {
            match value.into_pattern() {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => {
                    self.misfit(place, &why, findings);
                    return None;
                }
            }
        }
        if self.field.is_none() {
            // A keyword is looked for anywhere in the message.
            patterns = patterns.into_iter().map(Pattern::contained).collect();
        }
        Some(patterns)
    }
}

/// A plain scalar that older YAML reads as something else than its text.
fn warn_plain(text: &str, place: Place, findings: &mut Findings) {
    let digits = text.trim_start_matches(['-', '+']);
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if digits.starts_with("0x") || digits.starts_with("0o") || octal {
        let message = format!("{text} without quotes is read differently by other tools: quote it");
        findings.add(place, Code::PlainScalar, message);
    }
}
