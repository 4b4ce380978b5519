//! What an event is, in Sigma's words: products, services and categories,
//! told from its normal form by definitions that are data.
//!
//! In: the text of `logsources.yaml` files. Out: [`LogSources`]. Never: a
//! fixed list in code; only `product: mozdef`, which is every event, is built
//! in.
//!
//! ```yaml
//! - name: sshd
//!   when: { details.program: sshd }       # a selection, as in a detection
//!   product: linux                        # each a word or a list
//!   service: [sshd, auth]
//!   category: []
//!   source: []                            # values of the event's `source`, for its lateness
//! ```

use crate::finding::{Code, Findings};
use crate::sigma::ast::Expr;
use crate::sigma::detection;
use crate::sigma::document::LogSource;
use crate::sigma::read::{self, Known};
use crate::sigma::yaml::{self, Kind, Node};

/// The product that every event has.
pub const EVERY_EVENT: &str = "mozdef";

/// One definition: what an event must have, and what it is then.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name, for people.
    pub name: String,
    /// What must hold.
    pub when: Expr,
    /// Products.
    pub products: Vec<String>,
    /// Services.
    pub services: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Values of the events' `source`.
    pub sources: Vec<String>,
}

impl Definition {
    /// The log source by whose field map the fields of `when` are found: that of the first product.
    pub(crate) fn own_logsource(&self) -> LogSource {
        LogSource { product: self.products.first().cloned(), ..LogSource::default() }
    }
}

/// All definitions. An event has what all that hold give to it.
#[derive(Clone, Debug, Default)]
pub struct LogSources {
    /// In order of the files.
    pub definitions: Vec<Definition>,
}

const KEYS: [&str; 6] = ["name", "when", "product", "service", "category", "source"];

impl LogSources {
    /// Adds the definitions of a file.
    pub fn add(&mut self, text: &str, findings: &mut Findings) {
        for document in yaml::parse(text, findings) {
            match &document.kind {
                Kind::List(items) => {
                    let read = items.iter().filter_map(|item| definition(item, findings));
                    self.definitions.extend(read);
                }
                Kind::Null => {}
                _ => {
                    let message = format!("log sources are a list, not {}", document.describe());
                    findings.add(document.place, Code::WrongType, message);
                }
            }
        }
    }

    /// Whether some events have all that a log source names, as far as the definitions tell.
    pub fn gives(&self, logsource: &LogSource) -> bool {
        if logsource.product.as_deref() == Some(EVERY_EVENT) && logsource.service.is_none() {
            return true;
        }
        let of_product = |d: &&Definition| {
            let product = logsource.product.as_ref();
            product.is_none_or(|p| p == EVERY_EVENT || d.products.contains(p) || d.products.is_empty())
        };
        let given = |wanted: &Option<String>, names: fn(&Definition) -> &Vec<String>| {
            wanted
                .as_ref()
                .is_none_or(|w| self.definitions.iter().filter(of_product).any(|d| names(d).contains(w)))
        };
        let product =
            |w: &String| w == EVERY_EVENT || self.definitions.iter().any(|d| d.products.contains(w));
        logsource.product.as_ref().is_none_or(product)
            && given(&logsource.service, |d| &d.services)
            && given(&logsource.category, |d| &d.categories)
    }

    /// The `source` values of the events that a rule's log source takes in; none when it takes in any.
    pub fn sources_of(&self, logsource: &LogSource) -> Vec<String> {
        if logsource.product.as_deref() == Some(EVERY_EVENT) && logsource.service.is_none() {
            return Vec::new();
        }
        let fits =
            |wanted: &Option<String>, given: &[String]| wanted.as_ref().is_none_or(|w| given.contains(w));
        let mut sources: Vec<String> = self
            .definitions
            .iter()
            .filter(|d| {
                fits(&logsource.product, &d.products)
                    && fits(&logsource.service, &d.services)
                    && fits(&logsource.category, &d.categories)
            })
            .flat_map(|d| d.sources.iter().cloned())
            .collect();
        sources.sort();
        sources.dedup();
        sources
    }
}

fn definition(node: &Node, findings: &mut Findings) -> Option<Definition> {
    let before = findings.errors();
    if !read::keys(node, &Known { block: "log source", keys: &KEYS, later: &[] }, findings) {
        return None;
    }
    let name = read::required_text(node, "name", findings);
    let when = match node.get("when") {
        Some(when) => detection::selection(when, when.place, findings),
        None => {
            findings.add(node.place, Code::MissingKey, "\"when\" is missing");
            None
        }
    };
    let mut uses_keywords = false;
    if let Some(when) = &when {
        when.visit(&mut |test| uses_keywords |= test.field.is_none());
    }
    if uses_keywords {
        findings.add(node.place, Code::Mapping, "\"when\" tests fields, not keywords");
    }
    let mut lower = |key: &str| -> Vec<String> {
        read::texts(node, key, findings).into_iter().map(|t| t.to_ascii_lowercase()).collect()
    };
    let (products, services, categories) = (lower("product"), lower("service"), lower("category"));
    let sources = read::texts(node, "source", findings);
    (findings.errors() == before).then_some(Definition {
        name: name?,
        when: when?,
        products,
        services,
        categories,
        sources,
    })
}

#[cfg(test)]
mod tests {
    use super::LogSources;
    use crate::finding::Findings;
    use crate::sigma::document::LogSource;

    #[test]
    fn definitions_are_read_and_asked() {
        let mut findings = Findings::new("f".into());
        let mut sources = LogSources::default();
        let text = "- {name: a, when: {source: cloudtrail}, product: aws, service: [CloudTrail], source: cloudtrail}\n\
                    - {name: b, when: {x: y}, product: linux, colour: red}\n";
        sources.add(text, &mut findings);
        assert_eq!(sources.definitions.len(), 1);
        let texts: Vec<String> = findings.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["f:2:43: S004 \"log source\" has no key \"colour\""]);
        let aws = LogSource { product: Some("aws".into()), ..LogSource::default() };
        assert_eq!(sources.sources_of(&aws), ["cloudtrail"]);
        let every = LogSource { product: Some("mozdef".into()), ..LogSource::default() };
        assert!(sources.gives(&aws) && sources.gives(&every));
        assert!(!sources.gives(&LogSource { product: Some("linux".into()), ..LogSource::default() }));
        assert!(!sources.gives(&LogSource { service: Some("sqs".into()), ..aws.clone() }));
        assert!(sources.gives(&LogSource { service: Some("cloudtrail".into()), ..LogSource::default() }));
        assert!(sources.sources_of(&every).is_empty());
    }
}
