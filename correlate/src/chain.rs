//! Correlations of correlations: an alert of one is an event of another.
//!
//! In: the first revision of an episode. Out: matches of the correlations
//! that name its rule. Never: a second match of one episode: what comes later
//! changes neither its time nor its id.
//!
//! The event is at the first time at which the condition held, as far as it
//! was known when the episode fired; it has the alert's id, and the values of
//! the episode's group under their names.

use std::sync::Arc;

use model::event::Event;
use model::ids::{AlertId, EventId};
use serde_json::{Map, Value as Json, json};

use crate::alert_document::episode_id;
use crate::group_key;
use crate::match_record::Match;
use crate::measured;
use crate::rule::{Correlation, GroupField};
use crate::ruleset::RuleSet;
use crate::window::{Mark, Revision, Sample};

/// How much longer a correlation waits for each correlation below it, in milliseconds: their alerts have to come through
/// the log first.
pub(crate) const WAIT_MS: i64 = 60_000;

/// A match for an outer correlation.
#[derive(Debug)]
pub(crate) struct Fed {
    /// Position of the outer correlation.
    pub(crate) outer: usize,
    /// Its group.
    pub(crate) key: Vec<u8>,
    /// The match.
    pub(crate) found: Match,
}

/// What the first revision of an episode feeds; nothing for later ones.
pub(crate) fn feed(rules: &RuleSet, inner: usize, group: &[u8], revision: &Revision) -> Vec<Fed> {
    let links = rules.chained(inner);
    let Some(rule) = rules.correlations.get(inner).filter(|_| revision.number == 1 && !links.is_empty())
    else {
        return Vec::new();
    };
    let values = group_key::values(group, &rule.group_by).unwrap_or_default();
    let Ok(event) = Event::from_json(&Json::Object(values.clone()).to_string()) else { return Vec::new() };
    let id = episode_id(&rule.info, group, revision.firing);
    let mark = Mark { time: revision.hot, id: EventId::from_bytes(*id.as_bytes()) };
    let sample = Arc::new(sample(rule, values, revision, id));
    let mut fed = Vec::new();
    for link in links {
        let Some(outer) = rules.correlations.get(link.outer) else { continue };
        let Some(fact) = measured::value(&event, outer) else { continue };
        for key in keys(&event, &link.group_by) {
            let found = Match { mark, rules: vec![link.place], fact, sample: Arc::clone(&sample) };
            fed.push(Fed { outer: link.outer, key, found });
        }
    }
    fed
}

fn keys(event: &Event, fields: &[GroupField]) -> Vec<Vec<u8>> {
    group_key::groups(event, fields).keys
}

/// What alerts of the outer rule say of the inner one's.
fn sample(rule: &Correlation, group: Map<String, Json>, revision: &Revision, id: AlertId) -> Sample {
    let received =
        revision.events.iter().rev().find_map(|kept| kept.sample.as_ref()).map(|sample| sample.received);
    let body = json!({
        "alert": id.hex().as_str(), "rule": {"id": rule.info.id, "title": rule.info.title}, "group": group,
        "count": revision.count,
    });
    Sample {
        received: received.unwrap_or(revision.hot),
        origin: format!("mozdef.alerts/{}", id.hex().as_str()).into(),
        body: body.to_string().into_bytes().into(),
        ..Sample::default()
    }
}
