//! The alert document: MozDef's own fields, and what a streaming engine adds.
//!
//! In: the window stage's view of an episode. Out: JSON for `mozdef.alerts`
//! and the index. Never: what analysts do with it; that lives elsewhere and
//! joins by id.

use serde::{Deserialize, Serialize};

/// One revision of an alert (an episode of a rule and group).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// When it first fired, ISO.
    pub utctimestamp: String,
    /// `INFO`, `NOTICE`, `WARNING`, `ERROR` or `CRITICAL`.
    pub severity: String,
    /// The rule's summary template, filled in.
    pub summary: String,
    /// The rule's category.
    pub category: String,
    /// The rule's own tags.
    pub tags: Vec<String>,
    /// Sample events, ordered by (time, id).
    pub events: Vec<AlertEvent>,
    /// Where to announce it, if the rule says so.
    pub channel: Option<String>,
    /// Whether the bot announces it.
    pub notify_mozdefbot: bool,
    /// Always `manual` when written by the engine.
    pub status: String,
    /// The rule's name, as MozDef's alerts had their class.
    pub classname: String,
    /// Runbook or other link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What enrichment found.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// The rule that fired.
    pub rule: AlertRule,
    /// Values of the group-by fields.
    pub group: serde_json::Map<String, serde_json::Value>,
    /// Distinct (time, id) of the episode's events.
    pub count: u64,
    /// Most ids in one hot window.
    pub peak: u64,
    /// Time and id of the first event.
    pub first_event: EventMark,
    /// Time and id of the last event.
    pub last_event: EventMark,
    /// 1 at the first firing, then growing.
    pub revision: u64,
    /// No further revision comes.
    pub closed: bool,
    /// Id of the alert this one was merged into, in its last revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// Places in `mozdef.raw` of the events used: `topic/partition/offset`; bounded.
    pub origins: Vec<String>,
    /// Plugins that ran on the sample events.
    pub plugins: Vec<String>,
}

/// A sample event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// Index that holds it.
    pub documentindex: String,
    /// Its id there.
    pub documentid: String,
    /// The whole event.
    pub documentsource: serde_json::Value,
}

/// What an alert says about its rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// UUID of the rule.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Digest of all that its matching compiles to.
    pub generation: String,
    /// Sigma level.
    pub level: String,
    /// ATT&CK ids from the rule's tags, such as `T1110`.
    pub attack: Vec<String>,
}

/// Time and id of one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventMark {
    /// The event's own time, ISO.
    pub time: String,
    /// Event id.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Alert, AlertEvent, AlertRule, EventMark};

    fn alert() -> Alert {
        let mark = |time: &str, id: &str| EventMark { time: time.to_owned(), id: id.to_owned() };
        Alert {
            utctimestamp: "2026-01-02T03:04:05+00:00".to_owned(),
            severity: "WARNING".to_owned(),
            summary: "10 failed logins".to_owned(),
            category: "access".to_owned(),
            tags: vec!["ssh".to_owned()],
            events: vec![AlertEvent {
                documentindex: "events-20260102".to_owned(),
                documentid: "00".to_owned(),
                documentsource: json!({"summary": "Failed password"}),
            }],
            channel: None,
            notify_mozdefbot: true,
            status: "manual".to_owned(),
            classname: "SshBruteForce".to_owned(),
            url: None,
            details: serde_json::Map::new(),
            rule: AlertRule {
                id: "r".to_owned(),
                title: "t".to_owned(),
                generation: "g".to_owned(),
                level: "high".to_owned(),
                attack: vec!["T1110".to_owned()],
            },
            group: serde_json::Map::from_iter([("user".to_owned(), json!("root"))]),
            count: 10,
            peak: 10,
            first_event: mark("2026-01-02T03:00:00+00:00", "01"),
            last_event: mark("2026-01-02T03:04:05+00:00", "02"),
            revision: 1,
            closed: false,
            merged_into: None,
            origins: vec!["mozdef.raw/0/7".to_owned()],
            plugins: Vec::new(),
        }
    }

    /// Searches, dashboards and stored alerts depend on these names. Keys may be added, never renamed.
    #[test]
    fn the_stored_shape_stays() {
        let expected = r#"{"utctimestamp":"2026-01-02T03:04:05+00:00","severity":"WARNING","summary":"10 failed logins","category":"access","tags":["ssh"],"events":[{"documentindex":"events-20260102","documentid":"00","documentsource":{"summary":"Failed password"}}],"channel":null,"notify_mozdefbot":true,"status":"manual","classname":"SshBruteForce","details":{},"rule":{"id":"r","title":"t","generation":"g","level":"high","attack":["T1110"]},"group":{"user":"root"},"count":10,"peak":10,"first_event":{"time":"2026-01-02T03:00:00+00:00","id":"01"},"last_event":{"time":"2026-01-02T03:04:05+00:00","id":"02"},"revision":1,"closed":false,"origins":["mozdef.raw/0/7"],"plugins":[]}"#;
        assert_eq!(serde_json::to_string(&alert()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Alert>(expected).unwrap(), alert());
    }

    #[test]
    fn optional_keys_come_and_go() {
        let full = Alert { url: Some("https://x".to_owned()), merged_into: Some("03".to_owned()), ..alert() };
        let text = serde_json::to_string(&full).unwrap();
        assert!(text.contains(r#""url":"https://x""#) && text.contains(r#""merged_into":"03""#));
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), full);
    }
}
