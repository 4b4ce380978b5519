//! What a partition puts out: alerts, late events, changelog.
//!
//! In: revisions, late matches, changed groups. Out: records. Never: a change
//! of groups.

use std::sync::Arc;

use model::headers;
use model::metrics::Drop;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

use super::changelog::Key;
use super::rule_window::{About, RuleWindow};
use crate::alert_document::{self, Documents, episode_id};
use crate::alert_metrics::AlertCounts;
use crate::group_key;
use crate::match_record::Match;
use crate::window::state::{encode_event, encode_head};
use crate::window::store::Change;
use crate::window::{Phase, Revision};

/// A revision with its rule's position and its group.
pub(super) struct Revised {
    pub(super) window: usize,
    pub(super) group: Vec<u8>,
    pub(super) revision: Revision,
}

/// A revision as the store shows it.
pub(super) fn revised_group(window: usize, group: &[u8], revision: Revision) -> Revised {
    Revised { window, group: group.to_vec(), revision }
}

/// The alert of a revision.
pub(super) fn put_alert(
    about: &About,
    one: Revised,
    counts: &mut AlertCounts,
    documents: &mut Documents,
    out: &mut Vec<NewRecord>,
) {
    let Revised { group, revision, .. } = one;
    let info = &*about.info;
    let values = group_key::values(&group, &about.group_by).unwrap_or_else(|error| {
        tracing::error!(rule = info.id, %error, "a group key cannot be read");
        serde_json::Map::new()
    });
    let merged_into = match revision.phase {
        Phase::Merged(firing) => Some(episode_id(info, &group, firing)),
        Phase::Open | Phase::Closed => None,
    };
    let alert = documents.alert(info, values, &revision, merged_into);
    counts.unknown(documents.take_unknown());
    if revision.number == 1 {
        let firing = revision.events.iter().find(|kept| kept.mark == revision.firing);
        let received = firing.and_then(|kept| kept.sample.as_ref()).map(|sample| sample.received);
        counts.fired(&alert.severity, received);
    }
    match alert_document::record(episode_id(info, &group, revision.firing), &alert) {
        Ok(record) => out.push(record),
        Err(error) => tracing::error!(rule = info.id, %error, "an alert cannot be written as JSON"),
    }
}

/// Changelog records of the groups of one rule that changed; returns how many groups those were.
pub(super) fn flush_groups(partition: u32, state: &mut RuleWindow, out: &mut Vec<NewRecord>) -> usize {
    let mut written = 0_usize;
    let prefix = Arc::clone(&state.prefix);
    state.store.flush(|Change { key: group, group: now, events }| {
        written = written.saturating_add(1);
        for mark in events {
            let value = encode_event(now, mark).unwrap_or_default();
            out.push(Key::Event { prefix: &prefix, group, mark }.record(partition, value));
        }
        let value = if now.is_empty() { Vec::new() } else { encode_head(now) };
        out.push(Key::Group { prefix: &prefix, group }.record(partition, value));
    });
    written
}

/// An event that came after its window was closed: kept, with rule and lag.
pub(super) fn late_record(found: &Match, about: &About, by: i64) -> NewRecord {
    let sample = &found.sample;
    let id = found.mark.id.to_string();
    NewRecord {
        topic: Topic::Late,
        partition: None,
        key: id.clone().into(),
        value: sample.body.to_vec().into(),
        headers: Headers::new()
            .with(headers::EVENT_ID, id)
            .with(headers::RECEIVED, sample.received.to_string())
            .with(headers::ORIGIN, sample.origin.to_string())
            .with(headers::RULE, about.info.id.clone())
            .with(headers::REASON, Drop::Late.as_str())
            .with(headers::DETAIL, format!("{by} ms below the watermark")),
    }
}
