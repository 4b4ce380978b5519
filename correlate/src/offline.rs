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
use crate::chain;
use crate::event_time;
use crate::group_key;
use crate::hits::{self, Fed, FedGroup};
use crate::measured::{self, Fact};
use crate::rule::Correlation;
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
    fact: Fact,
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
        let sample = Arc::new(sample(&offline, mark.time));
        for info in hits::alerting(rules, &hits) {
            let revision = single_revision(mark, Arc::clone(&sample), mark.time);
            let alert = documents.alert(info, Map::new(), &revision, None);
            alerts.push((mark.time, single_id(info, mark.id), alert));
        }
        for Fed { position: correlation, rule, groups, fact, .. } in hits::fed(rules, &hits, &offline.event) {
            let sample = &hits::counted(&sample, rule, &offline.event);
            let found = |group: FedGroup| {
                let tells_apart = rule.kind.tells_rules_apart();
                let fact = if tells_apart { measured::rules(&group.members) } else { fact };
                Match { mark, correlation, key: group.key, fact, sample: Arc::clone(sample) }
            };
            matches.extend(groups.into_iter().map(found));
        }
    }
    alerts.extend(windows(rules, matches, options, &mut documents));
    alerts.sort_by(|a, b| (a.0, &a.2.rule.id, a.1.as_bytes()).cmp(&(b.0, &b.2.rule.id, b.1.as_bytes())));
    alerts.into_iter().map(|(_, _, alert)| alert).collect()
}

fn sample(offline: &OfflineEvent, time: i64) -> Sample {
    let mut body = Vec::new();
    offline.event.write_json(&mut body);
    Sample { received: time, origin: offline.origin.as_str().into(), body: body.into(), ..Sample::default() }
}

/// Final alerts of the windowed rules. Those below come first, so that their alerts are events of those above.
fn windows(
    rules: &RuleSet,
    matches: Vec<Match>,
    options: &OfflineOptions,
    documents: &mut Documents,
) -> Vec<(i64, AlertId, Alert)> {
    let mut by_rule: Vec<Vec<Match>> = Vec::new();
    by_rule.resize_with(rules.correlations.len(), Vec::new);
    let put = |by_rule: &mut Vec<Vec<Match>>, found: Match| {
        if let Some(list) = by_rule.get_mut(found.correlation) {
            list.push(found);
        }
    };
    matches.into_iter().for_each(|found| put(&mut by_rule, found));
    let mut finals = BTreeMap::<(usize, AlertId), Final>::new();
    for (position, rule) in rules.correlations.iter().enumerate() {
        let mut matches = by_rule.get_mut(position).map(std::mem::take).unwrap_or_default();
        matches.sort_by(|a, b| (a.mark, &a.key).cmp(&(b.mark, &b.key)));
        // Only the last revision is wanted: the throttle never lets one through in between.
        let spec = Spec::new(rule, u64::MAX, options.group_entries_max);
        let mut store = Store::new(spec, Images::None, BEGINNING);
        let mut fed = Vec::new();
        let mut out = |key: &[u8], revision: Revision| {
            fed.extend(chain::feed(rules, position, key, &revision));
            note(&mut finals, position, rule, key, revision);
        };
        for Match { mark, key, fact, sample, .. } in matches {
            store.advance(mark.time, mark.time, &mut out);
            let entry = Entry { time: mark.time, id: mark.id, fact, sample: Some(sample) };
            store.insert(&key, entry, mark.time, &mut out);
        }
        store.advance(END, END, &mut out);
        for chain::Fed { outer, key, found } in fed {
            let tells_apart = rules.correlations.get(outer).is_some_and(|rule| rule.kind.tells_rules_apart());
            let fact = if tells_apart { measured::rules(&found.rules) } else { found.fact };
            put(
                &mut by_rule,
                Match { mark: found.mark, correlation: outer, key, fact, sample: found.sample },
            );
        }
    }
    let document = |((correlation, id), last): ((usize, AlertId), Final)| {
        let rule = rules.correlations.get(correlation).filter(|rule| rule.alerts)?;
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

#[cfg(test)]
mod tests {
    use model::alert::Alert;
    use model::event::Event;
    use model::ids::EventId;

    use super::{OfflineEvent, OfflineOptions, run};
    use crate::test_rules::rules;

    const RULES: &str = "
title: Failed login
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Brute force
id: 11111111-1111-4111-8111-111111111111
correlation:
  type: event_count
  rules: [failed]
  group-by: [ip]
  timespan: 2m
  condition: {gte: 3}
mozdef:
  summary: '{{ count }} by {{ group }} {{ top(events, \"host\") }}'
---
title: Root
logsource: {product: mozdef}
detection: {s: {user: root}, condition: s}
mozdef: {summary: '{{ event.user }} on {{ event.host }}'}
";

    /// `seconds` after 2024-06-10T06:00:00Z.
    fn event(seconds: i64, ip: &str, rest: &str) -> OfflineEvent {
        let time = model::time::Timestamp::from_millis(1_717_999_200_000 + seconds * 1000);
        let json = format!(r#"{{"utctimestamp":"{time}","ip":"{ip}","host":"h{}",{rest}}}"#, seconds % 2);
        let id = EventId::from_client("test", "", json.as_bytes(), 0);
        OfflineEvent {
            id,
            event: Event::from_json(&json).unwrap(),
            origin: format!("mozdef.raw/0/{seconds}"),
        }
    }

    fn judge(events: Vec<OfflineEvent>) -> Vec<Alert> {
        run(&rules(RULES), events, &OfflineOptions { group_entries_max: 10_000 })
    }

    #[track_caller]
    fn check(events: Vec<OfflineEvent>, expected: &[(&str, u64, &str)]) {
        let mut backwards = events.clone();
        backwards.reverse();
        let alerts = judge(events);
        assert_eq!(judge(backwards), alerts, "the order in which events are given does not matter");
        let got = alerts.iter().map(|alert| {
            (alert.summary.as_str(), alert.count, alert.utctimestamp.split(['T', '+']).nth(1).unwrap())
        });
        assert_eq!(got.collect::<Vec<_>>(), expected);
        assert!(alerts.iter().all(|alert| alert.closed && alert.merged_into.is_none()));
    }

    const FAILED: &str = r#""outcome":"failed""#;

    #[test]
    fn events_in_a_window_make_one_alert_for_each_group() {
        let mut events = (0..5).map(|n| event(n * 10, "192.0.2.1", FAILED)).collect::<Vec<_>>();
        events.extend((0..2).map(|n| event(n * 10, "192.0.2.2", FAILED)));
        events.push(event(7, "192.0.2.1", r#""outcome":"ok""#));
        check(events, &[("5 by 192.0.2.1 h0 (5 hits)", 5, "06:00:20")]);
    }

    #[test]
    fn an_event_exactly_one_timespan_older_is_outside() {
        let at = |times: &[i64]| times.iter().map(|&time| event(time, "a", FAILED)).collect::<Vec<_>>();
        check(at(&[0, 60, 120]), &[]);
        check(at(&[1, 60, 120]), &[("3 by a h0 (2 hits) h1 (1 hits)", 3, "06:02:00")]);
        check(
            at(&[0, 1, 2, 1000, 1001, 1002]),
            &[
                ("3 by a h0 (2 hits) h1 (1 hits)", 3, "06:00:02"),
                ("3 by a h0 (2 hits) h1 (1 hits)", 3, "06:16:42"),
            ],
        );
    }

    #[test]
    fn single_events_alert_at_their_time_and_take_part_in_windows() {
        let root = r#""outcome":"failed","user":"root""#;
        let events = vec![event(30, "a", root), event(10, "a", root), event(20, "a", FAILED)];
        check(
            events,
            &[
                ("root on h0", 1, "06:00:10"),
                ("3 by a h0 (3 hits)", 3, "06:00:30"),
                ("root on h0", 1, "06:00:30"),
            ],
        );
    }

    #[test]
    fn an_event_given_twice_counts_once_in_a_window() {
        let events = vec![event(1, "a", FAILED), event(2, "a", FAILED), event(2, "a", FAILED)];
        check(events, &[]);
    }

    #[test]
    fn origins_and_samples_are_those_of_the_events() {
        let alerts = judge((0..30).map(|n| event(n, "a", FAILED)).collect());
        let alert = &alerts[0];
        assert_eq!((alerts.len(), alert.events.len(), alert.origins.len()), (1, 10, 30));
        assert_eq!(alert.origins[29], "mozdef.raw/0/29");
        assert_eq!(alert.events[9].documentsource["host"], "h1");
    }

    #[track_caller]
    fn titles(rules_text: &str, events: Vec<OfflineEvent>, expected: &[(&str, u64, &str)]) {
        let alerts = run(&rules(rules_text), events, &OfflineOptions { group_entries_max: 10_000 });
        let got = alerts.iter().map(|alert| {
            (alert.rule.title.as_str(), alert.count, alert.utctimestamp.split(['T', '+']).nth(1).unwrap())
        });
        assert_eq!(got.collect::<Vec<_>>(), expected);
    }

    const KINDS: &str = "
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Ok
name: ok
logsource: {product: mozdef}
detection: {s: {outcome: ok}, condition: s}
---
title: Users
correlation: {type: value_count, rules: [failed], group-by: [ip], timespan: 1m, condition: {field: user, gte: 3}}
---
title: In order
correlation: {type: temporal_ordered, rules: [failed, ok], group-by: [ip], timespan: 1m}
---
title: Bytes
correlation: {type: value_sum, rules: [ok], group-by: [ip], timespan: 1m, condition: {field: bytes, gt: 1000}}
---
title: Mean
correlation: {type: value_avg, rules: [ok], group-by: [ip], timespan: 1m, condition: {field: bytes, gte: 600, lt: 700}}
";

    #[test]
    fn kinds_measure_what_they_say() {
        let failed =
            |seconds: i64, user: &str| event(seconds, "a", &format!(r#""outcome":"failed","user":"{user}""#));
        let fine =
            |seconds: i64, bytes: &str| event(seconds, "a", &format!(r#""outcome":"ok","bytes":{bytes}"#));
        let users = vec![
            failed(0, "x"),
            failed(1, "x"),
            failed(2, "y"),
            failed(100, "z"),
            failed(101, "y"),
            failed(102, "x"),
        ];
        titles(KINDS, users, &[("Users", 3, "06:01:42")]);
        titles(KINDS, vec![fine(0, "1"), failed(1, "x")], &[]);
        titles(KINDS, vec![failed(1, "x"), fine(2, "\"x\"")], &[("In order", 2, "06:00:02")]);
        let bytes = vec![fine(0, "500"), fine(10, "\"501\""), fine(20, "null"), fine(30, "900")];
        titles(KINDS, bytes, &[("Bytes", 3, "06:00:10"), ("Mean", 3, "06:00:30")]);
    }

    const CHAIN: &str = "
title: Success after many failures
correlation: {type: temporal_ordered, rules: [many, ok], group-by: [who], timespan: 10m,
  aliases: {who: {many: ip, ok: from}}}
---
title: Many
name: many
correlation: {type: event_count, rules: [failed], group-by: [ip], timespan: 1m, condition: {gte: 3}}
---
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Ok
name: ok
logsource: {product: mozdef}
detection: {s: {outcome: ok}, condition: s}
";

    #[test]
    fn an_alert_of_one_correlation_is_an_event_of_another() {
        let failed = |seconds: i64, ip: &str| event(seconds, ip, FAILED);
        let fine =
            |seconds: i64, from: &str| event(seconds, "b", &format!(r#""outcome":"ok","from":"{from}""#));
        let many = || (0..5).map(|n| failed(n, "a")).collect::<Vec<_>>();
        titles(
            CHAIN,
            [many(), vec![fine(100, "a")]].concat(),
            &[("Success after many failures", 2, "06:01:40")],
        );
        titles(CHAIN, [many(), vec![fine(100, "b")]].concat(), &[]);
        titles(CHAIN, [many(), vec![fine(1, "a")]].concat(), &[]);
        titles(CHAIN, vec![failed(0, "a"), failed(1, "a"), fine(2, "a")], &[]);
        let loud = CHAIN.replace("timespan: 10m,\n", "timespan: 10m, generate: true,\n");
        let found = [("Many", 5, "06:00:02"), ("Ok", 1, "06:01:40")];
        titles(&loud, [many(), vec![fine(100, "b")]].concat(), &found);
    }
}
