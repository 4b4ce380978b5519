//! Alert documents: MozDef's fields, and what a streaming engine knows.
//!
//! In: a rule's presentation, a group and a revision of an episode. Out: the
//! alert and its id. Never: state; the same input gives the same document.
//!
//! An episode's id is the hash of rule id, generation, group, and id and time
//! of the firing event; that of a rule without correlation of rule id,
//! generation and event id.

use std::sync::Arc;

use bytes::Bytes;
use model::alert::{Alert, AlertEvent, AlertRule, EventMark};
use model::event::{Event, Limits, Value};
use model::headers;
use model::ids::{AlertId, EventId};
use model::time::Timestamp;
use model::topic::Topic;
use serde_json::{Map, Value as Json};
use stream::record::{Headers, NewRecord};

use crate::exact_number;
use crate::rule::RuleInfo;
use crate::summary::{Facts, Summaries};
use crate::window::tops::Tops;
use crate::window::{Kept, Mark, Phase, Revision, Sample};

/// Most bytes of sample events in one alert; those that do not fit are named without their source.
pub const SAMPLES_BYTES_MAX: usize = 2 << 20;

/// The id of an alert of a rule without correlation.
pub fn single_id(info: &RuleInfo, event: EventId) -> AlertId {
    AlertId::from_parts(&[info.id.as_bytes(), info.generation.as_bytes(), event.as_bytes()])
}

/// The id of an episode's alert.
pub fn episode_id(info: &RuleInfo, group_key: &[u8], firing: Mark) -> AlertId {
    let time = firing.time.to_be_bytes();
    let (rule, generation) = (info.id.as_bytes(), info.generation.as_bytes());
    AlertId::from_parts(&[rule, generation, group_key, firing.id.as_bytes(), &time])
}

/// The only revision of an alert of a rule without correlation.
pub fn single_revision(mark: Mark, sample: Arc<Sample>, now: i64) -> Revision {
    Revision {
        firing: mark,
        hot: mark.time,
        number: 1,
        phase: Phase::Closed,
        fired_at: now,
        first: mark,
        last: mark,
        count: 1,
        peak: 1,
        events: Arc::new(vec![Kept { mark, sample: Some(sample) }]),
        tops: Tops::default(),
        approximate: false,
    }
}

/// Writes documents. One for each worker, for it reuses memory.
#[derive(Default)]
pub struct Documents {
    summaries: Summaries,
    event: Event,
    /// Values that summaries named but no event had, since [`Documents::take_unknown`].
    unknown: u64,
}

impl Documents {
    /// The document of a revision. `group`: values by group-by field; `merged_into`: the id behind [`Phase::Merged`].
    pub fn alert(
        &mut self,
        info: &RuleInfo,
        group: Map<String, Json>,
        revision: &Revision,
        merged_into: Option<AlertId>,
    ) -> Alert {
        let events = self.samples(info, revision);
        let sources = events.iter().map(|event| &event.documentsource).collect::<Vec<_>>();
        let facts = Facts {
            info,
            count: revision.count,
            peak: revision.peak,
            groups: &group,
            events: &sources,
            tops: &revision.tops,
        };
        let summary = self.summaries.render(&info.summary, &facts);
        self.unknown = self.unknown.saturating_add(summary.missing);
        let mut details = Map::new();
        if revision.approximate {
            details.insert("approximate".to_owned(), Json::from(true));
        }
        Alert {
            utctimestamp: iso(revision.fired_at),
            severity: info.severity.clone(),
            summary: summary.text,
            category: info.category.clone(),
            tags: info.tags.clone(),
            plugins: plugins(&sources),
            events,
            channel: info.channel.clone(),
            notify_mozdefbot: notify(info),
            status: "manual".to_owned(),
            classname: info.name.clone().unwrap_or_else(|| info.title.clone()),
            url: info.url.clone(),
            details,
            rule: AlertRule {
                id: info.id.clone(),
                title: info.title.clone(),
                generation: info.generation.clone(),
                level: info.level.as_str().to_owned(),
                attack: info.attack.clone(),
            },
            group,
            count: revision.count,
            peak: revision.peak,
            first_event: event_mark(revision.first),
            last_event: event_mark(revision.last),
            revision: revision.number,
            closed: revision.phase != Phase::Open,
            merged_into: merged_into.map(|id| id.to_string()),
            origins: origins(revision),
        }
    }

    /// How many values summaries named but no event had, since the last call.
    pub fn take_unknown(&mut self) -> u64 {
        std::mem::take(&mut self.unknown)
    }

    fn samples(&mut self, info: &RuleInfo, revision: &Revision) -> Vec<AlertEvent> {
        let mut room = SAMPLES_BYTES_MAX;
        let mut samples = Vec::new();
        for kept in revision.events.iter().take(info.samples) {
            let unknown = Sample::default();
            let sample = kept.sample.as_deref().unwrap_or(&unknown);
            let bytes = sample.body.len();
            let documentsource =
                if bytes > 0 && bytes <= room { self.json(&sample.body) } else { Json::Null };
            room = room.saturating_sub(bytes);
            samples.push(AlertEvent {
                documentindex: index_name(sample),
                documentid: sample
                    .document_id
                    .as_deref()
                    .map_or_else(|| kept.mark.id.to_string(), str::to_owned),
                documentsource,
            });
        }
        samples
    }

    fn json(&mut self, body: &[u8]) -> Json {
        match self.event.parse(body, &Limits::MAX) {
            Ok(_) => json(Value::Object(self.event.root())),
            Err(error) => {
                tracing::error!(%error, "a sample event of an alert cannot be read again");
                Json::Null
            }
        }
    }
}

/// An alert as a record of `mozdef.alerts`.
pub fn record(id: AlertId, alert: &Alert) -> Result<NewRecord, serde_json::Error> {
    Ok(NewRecord {
        topic: Topic::Alerts,
        partition: None,
        key: Bytes::copy_from_slice(id.hex().as_str().as_bytes()),
        value: Bytes::from(serde_json::to_vec(alert)?),
        headers: Headers::new().with(headers::REVISION, alert.revision.to_string()),
    })
}

/// The original's rule: what is said, else not for low severities unless there is a channel.
fn notify(info: &RuleInfo) -> bool {
    let has_channel = info.channel.as_deref().is_some_and(|channel| !channel.is_empty());
    info.notify.unwrap_or(has_channel || !matches!(info.severity.as_str(), "NOTICE" | "INFO"))
}

/// The index that the sink put the event into.
fn index_name(sample: &Sample) -> String {
    let prefix = sample.index.as_deref().unwrap_or("events");
    format!("{prefix}-{}", Timestamp::from_millis(sample.received).day())
}

fn iso(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

fn event_mark(mark: Mark) -> EventMark {
    EventMark { time: iso(mark.time), id: mark.id.to_string() }
}

fn origins(revision: &Revision) -> Vec<String> {
    let samples = revision.events.iter().filter_map(|kept| kept.sample.as_deref());
    samples.filter(|sample| !sample.origin.is_empty()).map(|sample| sample.origin.to_string()).collect()
}

fn plugins(events: &[&Json]) -> Vec<String> {
    let mut plugins = Vec::new();
    for event in events {
        let ran = event.get("mozdef").and_then(|mozdef| mozdef.get("plugins")).and_then(Json::as_array);
        for name in ran.into_iter().flatten().filter_map(Json::as_str) {
            if !plugins.iter().any(|known| known == name) {
                plugins.push(name.to_owned());
            }
        }
    }
    plugins
}

/// A value of an event as JSON. A number that JSON's usual types cannot hold exactly stays as text.
fn json(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(value),
        Value::Number(text) => exact_number::json(text),
        Value::String(text) => Json::from(text),
        Value::Array(list) => list.iter().map(json).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.to_owned(), json(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::ids::{AlertId, EventId};
    use serde_json::{Map, json};

    use super::{Documents, SAMPLES_BYTES_MAX, episode_id, notify, record, single_id, single_revision};
    use crate::rule::{Level, RuleInfo};
    use crate::window::tops::Tops;
    use crate::window::{Kept, Mark, Phase, Revision, Sample};

    fn info() -> RuleInfo {
        RuleInfo {
            id: "6f3f0000-0000-4000-8000-000000000001".to_owned(),
            name: Some("ssh_bruteforce".to_owned()),
            title: "SSH brute force".to_owned(),
            level: Level::Low,
            severity: "NOTICE".to_owned(),
            category: "bruteforce".to_owned(),
            tags: vec!["ssh".to_owned()],
            attack: vec!["T1110".to_owned()],
            summary: "{{ count }} by {{ group }} {{ top(events, 'hostname') }}{{ event.none }}".to_owned(),
            samples: 2,
            channel: None,
            notify: None,
            url: Some("https://runbook.example".to_owned()),
            sources: Vec::new(),
            generation: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    fn mark(n: u8) -> Mark {
        Mark { time: 1_700_000_000_000 + i64::from(n), id: EventId::from_bytes([n; 16]) }
    }

    fn kept(n: u8, body: &str) -> Kept {
        let origin = format!("mozdef.raw/0/{n}").into();
        let body = body.as_bytes().into();
        let sample = Sample { received: 1_700_000_000_000, origin, body, ..Sample::default() };
        Kept { mark: mark(n), sample: Some(Arc::new(sample)) }
    }

    fn revision() -> Revision {
        Revision {
            firing: mark(2),
            hot: 1,
            number: 3,
            phase: Phase::Open,
            fired_at: 1_700_000_001_500,
            first: mark(1),
            last: mark(9),
            count: 5,
            peak: 4,
            events: Arc::new(vec![
                kept(
                    1,
                    r#"{"hostname":"a","n":1e309,"m":36893488147419103232,"mozdef":{"plugins":["sshd"]}}"#,
                ),
                kept(2, r#"{"hostname":"a","mozdef":{"plugins":["sshd","geoip"]}}"#),
                kept(3, ""),
            ]),
            tops: Tops::default(),
            approximate: true,
        }
    }

    /// One document, whole: what consoles, bots and the index template rely on. A change here is a change for them.
    #[test]
    fn the_document_has_this_shape() {
        let group = json!({"details.sourceipaddress": "192.0.2.7"}).as_object().unwrap().clone();
        let mut documents = Documents::default();
        let alert = documents.alert(&info(), group, &revision(), None);
        let expected = json!({
            "utctimestamp": "2023-11-14T22:13:21.500000+00:00",
            "severity": "NOTICE",
            "summary": "5 by 192.0.2.7 a (2 hits)UNKNOWN",
            "category": "bruteforce",
            "tags": ["ssh"],
            "events": [
                {
                    "documentindex": "events-20231114",
                    "documentid": "01010101010101010101010101010101",
                    "documentsource": {"hostname": "a", "n": "1e309", "m": "36893488147419103232", "mozdef": {"plugins": ["sshd"]}},
                },
                {
                    "documentindex": "events-20231114",
                    "documentid": "02020202020202020202020202020202",
                    "documentsource": {"hostname": "a", "mozdef": {"plugins": ["sshd", "geoip"]}},
                },
            ],
            "channel": null,
            "notify_mozdefbot": false,
            "status": "manual",
            "classname": "ssh_bruteforce",
            "url": "https://runbook.example",
            "details": {"approximate": true},
            "rule": {
                "id": "6f3f0000-0000-4000-8000-000000000001",
                "title": "SSH brute force",
                "generation": "0123456789abcdef0123456789abcdef",
                "level": "low",
                "attack": ["T1110"],
            },
            "group": {"details.sourceipaddress": "192.0.2.7"},
            "count": 5,
            "peak": 4,
            "first_event": {"time": "2023-11-14T22:13:20.001000+00:00", "id": "01010101010101010101010101010101"},
            "last_event": {"time": "2023-11-14T22:13:20.009000+00:00", "id": "09090909090909090909090909090909"},
            "revision": 3,
            "closed": false,
            "origins": ["mozdef.raw/0/1", "mozdef.raw/0/2", "mozdef.raw/0/3"],
            "plugins": ["sshd", "geoip"],
        });
        assert_eq!(serde_json::to_value(&alert).unwrap(), expected);
        assert_eq!((documents.take_unknown(), documents.take_unknown()), (1, 0));
        let id = episode_id(&info(), b"group", mark(2));
        let record = record(id, &alert).unwrap();
        assert_eq!(record.key, id.hex().as_str());
        assert_eq!(record.headers.get_str("revision"), Some("3"));
    }

    #[test]
    fn a_merged_episode_is_closed_and_names_the_other() {
        let other = AlertId::from_parts(&[b"other"]);
        let merged = Revision { phase: Phase::Merged(mark(1)), ..revision() };
        let alert = Documents::default().alert(&info(), Map::new(), &merged, Some(other));
        assert!(alert.closed);
        assert_eq!(alert.merged_into, Some(other.to_string()));
    }

    #[test]
    fn a_single_event_names_its_document() {
        let sample = Sample {
            index: Some("vulnerabilities".into()),
            document_id: Some("own".into()),
            body: b"{}"[..].into(),
            ..Sample::default()
        };
        let revision = single_revision(mark(1), Arc::new(sample), 5);
        let alert = Documents::default().alert(&info(), Map::new(), &revision, None);
        assert_eq!(alert.events[0].documentindex, "vulnerabilities-19700101");
        assert_eq!(alert.events[0].documentid, "own");
        assert_eq!((alert.closed, alert.revision, alert.count, alert.peak), (true, 1, 1, 1));
    }

    #[test]
    fn samples_that_do_not_fit_are_named_without_source() {
        let big = format!(r#"{{"a":"{}"}}"#, "x".repeat(SAMPLES_BYTES_MAX * 2 / 3));
        let revision = Revision { events: Arc::new(vec![kept(1, &big), kept(2, &big)]), ..revision() };
        let alert = Documents::default().alert(&info(), Map::new(), &revision, None);
        assert!(alert.events[0].documentsource.is_object() && alert.events[1].documentsource.is_null());
    }

    #[test]
    fn the_bot_hears_of_what_is_severe_or_has_a_channel() {
        let notified = |severity: &str, channel: Option<&str>, notify_said: Option<bool>| {
            let channel = channel.map(str::to_owned);
            notify(&RuleInfo { severity: severity.to_owned(), channel, notify: notify_said, ..info() })
        };
        assert!(!notified("NOTICE", None, None) && !notified("INFO", Some(""), None));
        assert!(notified("WARNING", None, None) && notified("INFO", Some("#soc"), None));
        assert!(notified("INFO", None, Some(true)) && !notified("CRITICAL", Some("#soc"), Some(false)));
    }

    #[test]
    fn ids_differ_by_each_of_their_parts() {
        let other_rule = RuleInfo { id: "x".to_owned(), ..info() };
        let other_generation = RuleInfo { generation: "x".to_owned(), ..info() };
        let later = Mark { time: 0, ..mark(1) };
        let ids = [
            episode_id(&info(), b"g", mark(1)),
            episode_id(&other_rule, b"g", mark(1)),
            episode_id(&other_generation, b"g", mark(1)),
            episode_id(&info(), b"h", mark(1)),
            episode_id(&info(), b"g", mark(2)),
            episode_id(&info(), b"g", later),
            single_id(&info(), mark(1).id),
            single_id(&info(), mark(2).id),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[index + 1..].contains(id), "{index}");
        }
    }
}
