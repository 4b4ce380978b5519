//! Plugins that were quarantined, told as events of MozDef's own, so that a rule can raise an alert.
//!
//! In: what the host of plugins tells. Out: one event each, in normal form. Never: one that is lost because the batch
//! that told it was not committed.

use bytes::Bytes;
use model::event::{EditError, Event};
use model::headers;
use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;
use plugins::Quarantined;
use stream::record::{Headers, NewRecord};

use crate::schema;

/// What is told and not.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: Vec<Quarantined>,
    /// Told in a batch of this partition that is not committed yet.
    told: Vec<(u32, Quarantined)>,
}

impl Notices {
    /// Takes up what is new.
    pub(super) fn add(&mut self, new: Vec<Quarantined>) {
        self.waiting.extend(new);
    }

    /// Tells what waits, in a batch of this partition.
    pub(super) fn tell(&mut self, partition: u32, now: Timestamp, hostname: &str) -> Vec<NewRecord> {
        let mut records = Vec::new();
        for quarantined in std::mem::take(&mut self.waiting) {
            match record(&quarantined, partition, now, hostname) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(%error, "the quarantine of a plugin cannot be told as an event")
                }
            }
            self.told.push((partition, quarantined));
        }
        records
    }

    /// What was told is safe.
    pub(super) fn committed(&mut self, partition: u32) {
        self.told.retain(|(told, _)| *told != partition);
    }

    /// What was told is to be told again.
    pub(super) fn aborted(&mut self, partition: u32) {
        let all = std::mem::take(&mut self.told);
        let (again, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(told, _)| *told == partition);
        self.told = others;
        self.waiting.extend(again.into_iter().map(|(_, quarantined)| quarantined));
    }
}

fn record(
    quarantined: &Quarantined,
    partition: u32,
    now: Timestamp,
    hostname: &str,
) -> Result<NewRecord, EditError> {
    let Quarantined { name, digest, why } = quarantined;
    let time = now.to_string();
    let mut event = Event::new();
    for (key, value) in [
        ("timestamp", time.as_str()),
        ("utctimestamp", &time),
        ("category", "mozdef"),
        ("type", "event"),
        ("hostname", hostname),
        ("processname", "mozdef"),
        ("severity", "ERROR"),
        ("source", "mozdef"),
    ] {
        event.set_member(key, value)?;
    }
    event.set_member("summary", &format!("plugin {name} is quarantined after repeated failures: {why}"))?;
    for (key, value) in
        [("action", "plugin_quarantined"), ("plugin", name), ("digest", digest), ("error", why)]
    {
        event.set_in("details", key, value)?;
    }
    schema::complete(&mut event, &time, hostname)?;
    let id = EventId::from_client("mozdef", "plugins", format!("{name} {digest} {time}").as_bytes(), 0);
    let headers = Headers::with_capacity(2)
        .with(headers::RECEIVED, now.millis().to_string())
        .with(headers::ORIGIN, "mozdef normalizer".to_owned());
    Ok(NewRecord {
        topic: Topic::Events,
        partition: Some(partition),
        key: Bytes::copy_from_slice(id.hex().as_str().as_bytes()),
        value: Bytes::from(event.to_json()),
        headers,
    })
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;
    use plugins::Quarantined;

    use super::Notices;

    #[test]
    fn what_was_not_committed_is_told_again() {
        let mut notices = Notices::default();
        let one = Quarantined { name: "p".to_owned(), digest: "d".to_owned(), why: "trap".to_owned() };
        notices.add(vec![one]);
        let told = notices.tell(3, Timestamp::EPOCH, "h");
        assert_eq!(told.len(), 1);
        let text = String::from_utf8(told[0].value.to_vec()).unwrap();
        assert!(text.contains("plugin p is quarantined") && text.contains("plugin_quarantined"), "{text}");
        assert!(notices.tell(3, Timestamp::EPOCH, "h").is_empty());
        notices.aborted(4);
        assert!(notices.tell(3, Timestamp::EPOCH, "h").is_empty());
        notices.aborted(3);
        assert_eq!(notices.tell(5, Timestamp::EPOCH, "h").len(), 1);
        notices.committed(5);
        notices.aborted(5);
        assert!(notices.tell(5, Timestamp::EPOCH, "h").is_empty());
    }
}
