//! What the matching detections of one event lead to.
//!
//! In: an event and the positions of the detections that match it. Out: rules
//! that alert by themselves; windowed rules with the groups that are fed.
//! Never: windows.

use std::sync::Arc;

use model::event::Event;

use crate::group_key::{self, Groups};
use crate::measured::{self, Fact};
use crate::rule::{Correlation, RuleInfo};
use crate::ruleset::RuleSet;
use crate::window::{Sample, tops};

/// A windowed rule that an event feeds.
#[derive(Debug)]
pub(crate) struct Fed<'r> {
    /// Its position in the rule set.
    pub(crate) position: usize,
    /// The rule.
    pub(crate) rule: &'r Correlation,
    /// The groups.
    pub(crate) groups: Vec<FedGroup>,
    /// The value or number that the rule takes from the event; 0 where it takes none.
    pub(crate) fact: Fact,
    /// Combinations of values left out because there were too many.
    pub(crate) left_out: u64,
}

/// A group that an event belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FedGroup {
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// Positions of the matching detections among the rule's members, ascending.
    pub(crate) members: Vec<u16>,
}

/// Presentations of the detections that alert by themselves.
pub(crate) fn alerting<'r>(rules: &'r RuleSet, hits: &[usize]) -> impl Iterator<Item = &'r RuleInfo> {
    let detections = hits.iter().filter_map(|&hit| rules.detections.get(hit));
    detections.filter(|detection| detection.alerts).map(|detection| &*detection.info)
}

/// Windowed rules that any of the detections feeds, each once, by position.
pub(crate) fn fed<'r>(rules: &'r RuleSet, hits: &[usize], event: &Event) -> Vec<Fed<'r>> {
    let mut positions = hits.iter().flat_map(|&hit| rules.fed_by(hit)).copied().collect::<Vec<_>>();
    positions.sort_unstable();
    positions.dedup();
    let fed = |position: usize| {
        let rule = rules.correlations.get(position)?;
        // An event without the field that is measured is no event of the rule.
        let fact = measured::value(event, rule)?;
        let mut fed = Fed { position, rule, groups: Vec::new(), fact, left_out: 0 };
        let mut previous: Option<(*const _, Groups)> = None;
        let named = rule.places.iter().copied().zip(&rule.members);
        for (at, &member) in named.filter(|(_, member)| hits.contains(member)) {
            // Members without aliases share their fields, and so their groups.
            let fields = rules.group_by(position, member);
            let groups = match previous.take().filter(|(same, _)| *same == fields.as_ptr()) {
                Some((_, groups)) => groups,
                None => group_key::groups(event, fields),
            };
            fed.left_out = fed.left_out.max(groups.left_out);
            groups.keys.iter().for_each(|key| join(&mut fed.groups, key, at));
            previous = Some((fields.as_ptr(), groups));
        }
        Some(fed)
    };
    positions.into_iter().filter_map(fed).collect()
}

/// The sample with the values that the rule's summary counts.
pub(crate) fn counted(sample: &Arc<Sample>, rule: &Correlation, event: &Event) -> Arc<Sample> {
    if rule.tops.is_empty() {
        return Arc::clone(sample);
    }
    Arc::new(Sample { values: tops::values(event, &rule.tops), ..Sample::clone(sample) })
}

fn join(groups: &mut Vec<FedGroup>, key: &[u8], member: u16) {
    match groups.iter_mut().find(|group| group.key == key) {
        Some(group) => group.members.push(member),
        None => groups.push(FedGroup { key: key.to_vec(), members: vec![member] }),
    }
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{alerting, fed};
    use crate::group_key::values;
    use crate::ruleset::Scratch;
    use crate::test_rules::rules;

    const RULES: &str = "
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Any
name: any
logsource: {product: mozdef}
detection: {s: {program: sshd}, condition: s}
---
title: Alone
logsource: {product: mozdef}
detection: {s: {program: sshd}, condition: s}
---
title: Many
correlation:
  type: event_count
  rules: [failed, any]
  group-by: [ip]
  timespan: 1m
  condition: {gte: 3}
---
title: By whom
correlation:
  type: event_count
  rules: [failed, any]
  group-by: [who]
  aliases: {who: {failed: user, any: ip}}
  timespan: 1m
  condition: {gte: 3}
";

    #[track_caller]
    fn check(json: &str, expected_alerts: &[&str], expected: &[&str]) {
        let rules = rules(RULES);
        let event = Event::from_json(json).unwrap();
        let mut hits = Vec::new();
        rules.evaluate(&event, &mut Scratch::default(), &mut hits);
        let alerts = alerting(&rules, &hits).map(|info| info.title.as_str()).collect::<Vec<_>>();
        assert_eq!(alerts, expected_alerts, "{json}");
        let shown = fed(&rules, &hits, &event).into_iter().flat_map(|fed| {
            let show = |group: &super::FedGroup| {
                let values = serde_json::Value::from(values(&group.key, &fed.rule.group_by).unwrap());
                format!("{} {values} {:?}", fed.rule.info.title, group.members)
            };
            fed.groups.iter().map(show).collect::<Vec<_>>()
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{json}");
    }

    #[test]
    fn matches_lead_to_alerts_and_groups() {
        check(r#"{"program":"cron"}"#, &[], &[]);
        check(
            r#"{"program":"sshd","outcome":"failed","ip":"192.0.2.1","user":"eve"}"#,
            &["Alone"],
            &[
                r#"Many {"ip":"192.0.2.1"} [0, 1]"#,
                r#"By whom {"who":"eve"} [0]"#,
                r#"By whom {"who":"192.0.2.1"} [1]"#,
            ],
        );
        check(r#"{"outcome":"failed"}"#, &[], &[]);
    }
}
