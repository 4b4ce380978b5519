//! `mozdef rules coverage`: which techniques of ATT&CK the rules look for.
//!
//! In: the loaded rules. Out: a layer file of the ATT&CK Navigator. Never:
//! rules that are not loaded.

use std::collections::BTreeMap;
use std::process::ExitCode;

use correlate::load::Loaded;
use correlate::rule::RuleInfo;
use serde_json::{Value, json};

use crate::output;

/// Most titles that the comment of a technique names.
const TITLES_MAX: usize = 10;

/// Runs the command.
pub(super) fn run(loaded: &Loaded) -> ExitCode {
    let detections = loaded.set.detections.iter().map(|rule| &*rule.info);
    let correlations = loaded.set.correlations.iter().map(|rule| &*rule.info);
    output::json(&layer(detections.chain(correlations)));
    ExitCode::SUCCESS
}

fn layer<'r>(rules: impl Iterator<Item = &'r RuleInfo>) -> Value {
    let mut by_technique: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for rule in rules {
        for technique in &rule.attack {
            by_technique.entry(technique).or_default().push(&rule.title);
        }
    }
    let most = by_technique.values().map(Vec::len).max().unwrap_or(1);
    let techniques: Vec<Value> = by_technique
        .iter()
        .map(|(technique, titles)| {
            let mut comment = titles.iter().take(TITLES_MAX).copied().collect::<Vec<_>>().join("\n");
            if titles.len() > TITLES_MAX {
                comment.push_str(&format!("\nand {} more", titles.len() - TITLES_MAX));
            }
            json!({"techniqueID": technique, "score": titles.len(), "comment": comment, "enabled": true})
        })
        .collect();
    json!({
        "name": "MozDef", "domain": "enterprise-attack", "versions": {"layer": "4.5", "navigator": "5.0.0"},
        "description": "Techniques by the number of rules that look for them",
        "gradient": {"colors": ["#ffffff", "#66b1ff"], "minValue": 0, "maxValue": most},
        "techniques": techniques,
    })
}

#[cfg(test)]
mod tests {
    use super::layer;

    #[test]
    fn techniques_are_scored_by_their_rules() {
        let loaded = correlate::load::shipped();
        let infos = loaded.set.correlations.iter().map(|rule| &*rule.info).collect::<Vec<_>>();
        let layer = layer(infos.into_iter());
        let techniques = layer["techniques"].as_array().unwrap();
        let brute_force = techniques.iter().find(|one| one["techniqueID"] == "T1110").unwrap();
        assert!(brute_force["score"].as_u64().unwrap() >= 1, "{layer}");
        assert_eq!(layer["domain"], "enterprise-attack");
    }
}
