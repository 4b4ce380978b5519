//! Values of placeholders: what `%Administrators%` stands for here.
//!
//! In: the text of `placeholders.yaml`, rules as YAML. Out: the same rules,
//! each value with a placeholder replaced by a list of values. Never: a value
//! whose placeholder has none taken for something that matches; it stays, and
//! its rule is left out by name.
//!
//! ```yaml
//! Administrators: [root, adm_*]
//! DomainControllers: dc*
//! ```

use std::collections::HashMap;

use crate::finding::{Code, Findings};
use crate::sigma::read;
use crate::sigma::yaml::{self, Kind, Node};

/// Most values that one value may become.
const VALUES_MAX: usize = 100_000;

/// Names and their values.
#[derive(Clone, Debug, Default)]
pub struct Placeholders(HashMap<String, Vec<String>>);

impl Placeholders {
    /// Adds those of a file; of two lists of one name the later counts.
    pub fn add(&mut self, text: &str, findings: &mut Findings) {
        for document in yaml::parse(text, findings) {
            if matches!(document.kind, Kind::Null) {
                continue;
            }
            let Some(entries) = document.entries() else {
                let message = format!("placeholders are a map of names, not {}", document.describe());
                findings.add(document.place, Code::WrongType, message);
                continue;
            };
            for entry in entries {
                let values = read::texts(&document, &entry.key, findings);
                if values.is_empty() {
                    let message = format!("the placeholder \"{}\" has no values", entry.key);
                    findings.add(entry.place, Code::Empty, message);
                } else {
                    self.0.insert(entry.key.clone(), values);
                }
            }
        }
    }

    /// Fills the values of every `field|expand` in a rule.
    pub fn fill(&self, node: &mut Node) {
        if self.0.is_empty() {
            return;
        }
        match &mut node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    let modifiers: Vec<&str> = entry.key.split('|').skip(1).collect();
                    if modifiers.contains(&"expand") {
                        self.fill_values(&mut entry.value, modifiers.contains(&"all"));
                    } else {
                        self.fill(&mut entry.value);
                    }
                }
            }
            Kind::List(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Kind::Null | Kind::Plain(_) | Kind::Quoted(_) => {}
        }
    }

    /// With `all`, a value that becomes several would be wanted several times over; it stays as it is.
    fn fill_values(&self, value: &mut Node, wants_all: bool) {
        let items = match &value.kind {
            Kind::List(items) => items.clone(),
            _ => vec![value.clone()],
        };
        let mut filled = Vec::with_capacity(items.len());
        for item in items {
            match item.text().and_then(|text| self.expanded(text)) {
                Some(texts) if !(wants_all && texts.len() > 1) => {
                    let node = |text| Node { place: item.place, kind: Kind::Quoted(text) };
                    filled.extend(texts.into_iter().map(node));
                }
                _ => filled.push(item),
            }
        }
        if filled.len() <= VALUES_MAX {
            value.kind = Kind::List(filled);
        }
    }

    /// All that a text becomes; `None` when it has no placeholder, or one without values.
    fn expanded(&self, text: &str) -> Option<Vec<String>> {
        let hidden = text.replace("\\%", "\u{0}");
        let pieces: Vec<&str> = hidden.split('%').collect();
        // A name stands between two percent signs.
        if pieces.len() < 3 || pieces.len().is_multiple_of(2) {
            return None;
        }
        let mut texts = vec![String::new()];
        for (at, piece) in pieces.into_iter().enumerate() {
            if at % 2 == 0 {
                let plain = piece.replace('\u{0}', "\\%");
                texts.iter_mut().for_each(|text| text.push_str(&plain));
                continue;
            }
            let values = self.0.get(piece)?;
            if texts.len().saturating_mul(values.len()) > VALUES_MAX {
                return None;
            }
            // A percent sign of a value begins no placeholder.
            let with = |text: &String| {
                let text = text.clone();
                values.iter().map(move |value| format!("{text}{}", value.replace('%', "\\%")))
            };
            texts = texts.iter().flat_map(with).collect();
        }
        Some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::Placeholders;
    use crate::finding::Findings;
    use crate::sigma::document::Body;

    const VALUES: &str = "admins: [root, 'adm_*']\nhost: srv%1\n";

    #[track_caller]
    fn check(detection: &str, expected: &str) {
        let mut findings = Findings::new("f".into());
        let mut placeholders = Placeholders::default();
        placeholders.add(VALUES, &mut findings);
        let text = format!(
            "title: t\nlogsource: {{product: mozdef}}\ndetection: {{a: {{{detection}}}, condition: a}}\n"
        );
        let documents = crate::sigma::parse_with(&text, &placeholders, &mut findings);
        let mut got = String::new();
        for document in documents {
            if let Body::Detection { expr, .. } = document.body {
                expr.write_canonical(&mut got);
            }
        }
        for finding in findings.into_vec() {
            got.push_str(&format!("[{}]", finding.code));
        }
        assert_eq!(got, expected, "{detection}");
    }

    #[test]
    fn placeholders_become_their_values_and_others_keep_their_rule_out() {
        check("u|expand: '%admins%'", " 1:u text 4:root 5:adm_*");
        check("u|expand: ['%admins%', x]", " 1:u text 4:root 5:adm_* 1:x");
        check("u|contains|expand: 'a-%host%-b'", " 1:u text 11:*a-srv%1-b*");
        check("u|expand: '%admins%@%host%'", " 1:u text 10:root@srv%1 11:adm_*@srv%1");
        check("u|expand: '\\%admins\\%'", " 1:u text 8:%admins%");
        check("u|expand: '%nobody%'", "[S015]");
        check("u|contains|all|expand: ['%admins%']", "[S015]");
        check("u: '%admins%'", " 1:u text 8:%admins%");
    }

    #[test]
    fn files_are_checked() {
        let mut findings = Findings::new("f".into());
        let mut placeholders = Placeholders::default();
        placeholders.add("a: []\nb: {c: d}\n---\n- x\n", &mut findings);
        let codes: Vec<&str> = findings.into_vec().iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["S032", "S032", "S003", "S003"]);
    }
}
