//! Rules over history: events in, final alerts out.
//!
//! In: events in any order. Out: each alert as its last revision states it,
//! by time. Never: the time of receipt; events go by their own times, in
//! order, and all windows are closed at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::alert::Alert;
use model::event::Event;
use model::ids::{AlertId, EventId};
use serde_json::Map;

use crate::alert_document::{Documents, episode_id, single_id, single_revision};
use crate::event_time;
use crate::group_key;
use crate::rule::{Correlation, RuleInfo};
use crate::ruleset::{RuleSet, Scratch};
use crate::window::store::{Images, Store};
use crate::window::{BEGINNING, Entry, Mark, Revision, Sample, Spec};

/// An event of history.
#[derive(Clone, Debug)]
pub struct OfflineEvent {
    /// Its id.
    pub id: EventId,
    /// Its normal form.
    pub event: Event,
    /// Place of its raw record, if known; else empty.
    pub origin: String,
}

/// How history is judged.
#[derive(Clone, Copy, Debug)]
pub struct OfflineOptions {
    /// Most entries that one group may hold exactly.
    pub group_entries_max: usize,
}

impl From<&model::config::CorrelateConfig> for OfflineOptions {
    fn from(config: &model::config::CorrelateConfig) -> OfflineOptions {
        OfflineOptions { group_entries_max: config.group_entries_max }
    }
}

/// A match of a correlation rule.
struct Match {
    mark: Mark,
    correlation: usize,
    key: Vec<u8>,
    sample: Arc<Sample>,
}

/// Judges events. The result is ordered by the time of firing, then rule and id. The same events give the same alerts.
pub fn run(
    rules: &RuleSet,
    events: impl IntoIterator<Item = OfflineEvent>,
    options: &OfflineOptions,
) -> Vec<Alert> {
    let mut documents = Documents::default();
    let mut alerts = Vec::new();
    let mut matches = Vec::new();
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for offline in events {
        rules.evaluate(&offline.event, &mut scratch, &mut hits);
        if hits.is_empty() {
            continue;
        }
        let mark = Mark { time: event_time::own(&offline.event), id: offline.id };
        let sample = sample(&offline, mark.time);
        for info in alerting(rules, &hits) {
            let revision = single_revision(mark, sample.clone(), mark.time);
            let alert = documents.alert(info, Map::new(), &revision, None);
            alerts.push((mark.time, single_id(info, mark.id), alert));
        }
        let sample = Arc::new(sample);
        for correlation in fed(rules, &hits) {
            let Some(rule) = rules.correlations.get(correlation) else { continue };
            for key in group_key::groups(&offline.event, &rule.group_by).keys {
                matches.push(Match { mark, correlation, key, sample: Arc::clone(&sample) });
            }
        }
    }
    matches.sort_by(|a, b| (a.mark, a.correlation, &a.key).cmp(&(b.mark, b.correlation, &b.key)));
    alerts.extend(windows(rules, matches, options, &mut documents));
    alerts.sort_by(|a, b| (a.0, &a.2.rule.id, a.1.as_bytes()).cmp(&(b.0, &b.2.rule.id, b.1.as_bytes())));
    alerts.into_iter().map(|(_, _, alert)| alert).collect()
}

fn sample(offline: &OfflineEvent, time: i64) -> Sample {
    let mut body = Vec::new();
    offline.event.write_json(&mut body);
    Sample { received: time, origin: offline.origin.as_str().into(), body: body.into(), ..Sample::default() }
}

/// Presentations of the matching detections that alert by themselves.
pub(crate) fn alerting<'r>(rules: &'r RuleSet, hits: &[usize]) -> impl Iterator<Item = &'r RuleInfo> {
    let detections = hits.iter().filter_map(|&hit| rules.detections.get(hit));
    detections.filter(|detection| detection.alerts).map(|detection| &*detection.info)
}

/// Correlations that any of the matching detections feeds, each once, ascending.
pub(crate) fn fed(rules: &RuleSet, hits: &[usize]) -> Vec<usize> {
    let mut fed = hits.iter().flat_map(|&hit| rules.fed_by(hit)).copied().collect::<Vec<_>>();
    fed.sort_unstable();
    fed.dedup();
    fed
}

/// Final alerts of the windowed rules.
fn windows(
    rules: &RuleSet,
    matches: Vec<Match>,
    options: &OfflineOptions,
    documents: &mut Documents,
) -> Vec<(i64, AlertId, Alert)> {
    // Only the last revision is wanted: the throttle never lets one through in between.
    let spec = |rule| Spec::new(rule, u64::MAX, options.group_entries_max);
    let store = |rule| Store::new(spec(rule), Images::None, BEGINNING);
    let mut stores = rules.correlations.iter().map(store).collect::<Vec<_>>();
    let mut finals = BTreeMap::<(usize, AlertId), Final>::new();
    for Match { mark, correlation, key, sample } in matches {
        let (Some(store), Some(rule)) = (stores.get_mut(correlation), rules.correlations.get(correlation))
        else {
            continue;
        };
        let mut out = |key: &[u8], revision: Revision| note(&mut finals, correlation, rule, key, revision);
        store.advance(mark.time, mark.time, &mut out);
        let entry = Entry { time: mark.time, id: mark.id, rule: 0, sample: Some(sample) };
        store.insert(&key, entry, mark.time, &mut out);
    }
    for (correlation, (store, rule)) in stores.iter_mut().zip(&rules.correlations).enumerate() {
        let mut out = |key: &[u8], revision: Revision| note(&mut finals, correlation, rule, key, revision);
        store.advance(END, END, &mut out);
    }
    let document = |((correlation, id), last): ((usize, AlertId), Final)| {
        let rule = rules.correlations.get(correlation)?;
        let group = group_key::values(&last.key, &rule.group_by).unwrap_or_default();
        let alert = documents.alert(&rule.info, group, &last.revision, None);
        Some((last.revision.fired_at, id, alert))
    };
    finals.into_iter().filter_map(document).collect()
}

/// Later than any event.
const END: i64 = i64::MAX - 1;

struct Final {
    key: Vec<u8>,
    revision: Revision,
}

fn note(
    finals: &mut BTreeMap<(usize, AlertId), Final>,
    correlation: usize,
    rule: &Correlation,
    key: &[u8],
    mut revision: Revision,
) {
    // What only the end decided fired at the time of its event, too.
    revision.fired_at = revision.firing.time;
    let id = episode_id(&rule.info, key, revision.firing);
    finals.insert((correlation, id), Final { key: key.to_vec(), revision });
}
