//! What a rule's alerts say, with the defaults for what its file leaves out.
//!
//! In: a document. Out: [`RuleInfo`]. Never: anything that decides a match.

use crate::rule::{Level, RuleInfo};
use crate::sigma::document::{Body, Document};

/// Samples of an alert when the rule does not say.
const SAMPLES: usize = 10;

/// Puts together what the alerts of a rule say.
pub(crate) fn build(document: &Document, sources: Vec<String>, generation: String) -> RuleInfo {
    let block = &document.mozdef;
    RuleInfo {
        id: document.rule_id().to_owned(),
        name: document.name.clone(),
        title: document.title.clone(),
        level: document.level,
        severity: block.severity.clone().unwrap_or_else(|| severity(document.level).to_owned()),
        category: block.category.clone().unwrap_or_else(|| category(document)),
        tags: block.tags.clone().unwrap_or_else(|| document.tags.clone()),
        attack: attack(&document.tags),
        summary: block.summary.clone().unwrap_or_else(|| literal_template(&document.title)),
        samples: block.samples.unwrap_or(SAMPLES),
        channel: block.channel.clone(),
        notify: block.notify_mozdefbot,
        url: block.url.clone(),
        sources,
        generation,
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Informational => "INFO",
        Level::Low => "NOTICE",
        Level::Medium => "WARNING",
        Level::High => "ERROR",
        Level::Critical => "CRITICAL",
    }
}

/// The most telling part of the log source; a correlation has none.
fn category(document: &Document) -> String {
    let found = match &document.body {
        Body::Detection { logsource, .. } => {
            logsource.category.as_ref().or(logsource.service.as_ref()).or(logsource.product.as_ref())
        }
        Body::Correlation(_) | Body::Filter(_) => None,
    };
    found.cloned().unwrap_or_else(|| "correlation".to_owned())
}

/// ATT&CK ids among Sigma's tags: `attack.t1110.001` is `T1110.001`.
fn attack(tags: &[String]) -> Vec<String> {
    tags.iter()
        .filter_map(|tag| tag.strip_prefix("attack."))
        .filter(|id| id.starts_with(['t', 'T']) && id.chars().nth(1).is_some_and(|c| c.is_ascii_digit()))
        .map(str::to_ascii_uppercase)
        .collect()
}

/// A template that prints a text as it is, whatever braces it has.
fn literal_template(text: &str) -> String {
    format!("{{{{ {} }}}}", serde_json::Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::{attack, literal_template};

    #[test]
    fn titles_are_printed_as_they_are() {
        for title in ["plain", "a {{ b }} \"c\" {% raw %} \\ ä"] {
            let environment = minijinja::Environment::new();
            assert_eq!(environment.render_str(&literal_template(title), ()).unwrap(), title);
        }
    }

    #[test]
    fn only_techniques_are_attack_ids() {
        let tags =
            ["attack.credential-access", "attack.t1110.001", "cve.2021-1", "attack.tool"].map(str::to_owned);
        assert_eq!(attack(&tags), ["T1110.001"]);
    }
}
