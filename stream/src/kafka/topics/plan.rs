//! What topics are to be like, what they are, and what lies between: pure.
//!
//! In: the configuration and the cluster's state. Out: changes to make, and what is refused with the remedy.
//! Never: a change that loses records or breaks what belongs together.

use std::collections::BTreeMap;

use model::config::{KafkaConfig, TopicSettings};
use model::topic::{Cleanup, Topic};

use crate::log::{DEAD_RECORD_BYTES_MAX, RECORD_BYTES_MAX};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Room in a topic's limit for what goes around the largest record.
const FRAME_BYTES: usize = 1 << 20;
/// Pairs of topics whose partitions belong together, p to p.
pub const PAIRS: [(Topic, Topic); 2] = [(Topic::Raw, Topic::Events), (Topic::Matches, Topic::Windows)];

/// What a topic is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Partitions.
    pub partitions: u32,
    /// Copies of each.
    pub replication: u16,
    /// Kafka's settings by name.
    pub settings: BTreeMap<&'static str, String>,
}

/// What a cluster is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How many brokers answer.
    pub brokers: usize,
    /// Our topics, as far as they are there.
    pub topics: BTreeMap<Topic, Actual>,
}

/// What a topic is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// State of each partition, in order.
    pub partitions: Vec<Partition>,
    /// Kafka's settings by name, defaults included.
    pub settings: BTreeMap<String, Setting>,
}

/// Where a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// The broker that leads it; `None`: nobody does, it cannot be read or written.
    pub leader: Option<i32>,
    /// Copies.
    pub replicas: usize,
    /// Copies that have all of it.
    pub in_sync: usize,
}

/// A setting of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// It was set for this topic.
    pub is_own: bool,
}

/// What is to be done to one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Create,
    /// It gets more partitions.
    Grow {
        /// Partitions now.
        from: u32,
        /// Partitions then.
        to: u32,
    },
    /// A setting changes.
    Set {
        /// Its name.
        key: &'static str,
        /// Its value now; `None` where the broker does not say.
        from: Option<String>,
        /// Its value then.
        to: String,
    },
}

/// What is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The topic.
    pub topic: Topic,
    /// What is not as configured, and why it stays so.
    pub what: String,
    /// What can be done.
    pub remedy: String,
}

/// All that lies between what is and what is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which it is done.
    pub changes: Vec<(Topic, Change)>,
    /// Where there are some, nothing is changed.
    pub refusals: Vec<Refusal>,
}

/// What a topic is to be like, from the configuration.
pub fn desired(config: &KafkaConfig, topic: Topic) -> Desired {
    let TopicSettings { partitions, replication, retention_hours, retention_mib } =
        config.topic_settings(topic);
    let limit = match topic {
        Topic::Dead => DEAD_RECORD_BYTES_MAX,
        Topic::Raw
        | Topic::Events
        | Topic::Matches
        | Topic::Windows
        | Topic::Alerts
        | Topic::Late
        | Topic::Control => RECORD_BYTES_MAX,
    };
    let retention_ms = retention_hours.saturating_mul(HOUR_MS);
    let mut settings = BTreeMap::from([
        ("compression.type", "producer".to_owned()),
        ("max.message.bytes", limit.saturating_add(FRAME_BYTES).to_string()),
        // The brokers' clock, so that a sender's cannot keep records for ever, or not at all.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("min.insync.replicas", replication.saturating_sub(1).clamp(1, 2).to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]);
    let mut set = |key, value: String| settings.insert(key, value);
    match topic.cleanup() {
        Cleanup::Time => {
            set("cleanup.policy", "delete".to_owned());
            set("retention.ms", retention_ms.to_string());
            let bytes = retention_mib
                .map_or(-1, |mib| i64::try_from(mib.saturating_mul(1 << 20)).unwrap_or(i64::MAX));
            set("retention.bytes", bytes.to_string());
            // Whole segments go: a quarter of the retention is the most that stays too long.
            set("segment.ms", (retention_ms / 4).clamp(HOUR_MS / 6, DAY_MS).to_string());
            let segment_mib = retention_mib.map_or(512, |mib| (mib / 4).clamp(32, 512));
            set("segment.bytes", segment_mib.saturating_mul(1 << 20).to_string());
        }
        Cleanup::Compact | Cleanup::CompactTime => {
            let with_time = topic.cleanup() == Cleanup::CompactTime;
            set("cleanup.policy", if with_time { "compact,delete" } else { "compact" }.to_owned());
            if with_time {
                set("retention.ms", retention_ms.to_string());
            }
            // Small segments, compacted soon: a restore reads what is left.
            set("segment.ms", HOUR_MS.to_string());
            set("segment.bytes", (64_u64 << 20).to_string());
            set("min.cleanable.dirty.ratio", "0.2".to_owned());
            set("delete.retention.ms", DAY_MS.to_string());
        }
    }
    Desired { partitions, replication, settings }
}

/// What lies between the configuration and the cluster.
pub fn plan(config: &KafkaConfig, cluster: &Cluster) -> Plan {
    let mut plan = Plan::default();
    for topic in Topic::ALL {
        let desired = desired(config, topic);
        match cluster.topics.get(&topic) {
            None => plan.create(topic, &desired, cluster.brokers),
            Some(actual) => plan.change(topic, &desired, actual),
        }
    }
    for (one, other) in PAIRS {
        plan.check_pair(config, cluster, one, other);
    }
    plan
}

impl Plan {
    /// Nothing is to be done and nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refusals.is_empty()
    }

    fn create(&mut self, topic: Topic, desired: &Desired, brokers: usize) {
        if usize::from(desired.replication) > brokers {
            self.refuse(
                topic,
                format!("{} copies cannot be kept by {brokers} broker(s)", desired.replication),
                format!("add brokers, or set log.kafka.topics.replication to {brokers} or less"),
            );
        }
        self.changes.push((topic, Change::Create));
    }

    fn change(&mut self, topic: Topic, desired: &Desired, actual: &Actual) {
        let (from, to) = (actual.count(), desired.partitions);
        let is_fixed = matches!(topic, Topic::Matches | Topic::Windows);
        if from != to && is_fixed {
            self.refuse(
                topic,
                format!(
                    "it has {from} partitions, {to} are configured; its groups are tied to their partitions"
                ),
                format!("set log.kafka.topics.by_topic.{}.partitions to {from}", short(topic)),
            );
        } else if from > to {
            self.refuse(
                topic,
                format!("it has {from} partitions, {to} are configured; Kafka cannot take partitions away"),
                format!("set log.kafka.topics.by_topic.{}.partitions to {from}", short(topic)),
            );
        } else if from < to {
            self.changes.push((topic, Change::Grow { from, to }));
        }
        let copies = actual.partitions.iter().map(|partition| partition.replicas);
        if let Some(copies) = copies.clone().find(|copies| *copies != usize::from(desired.replication)) {
            self.refuse(
                topic,
                format!("it has {copies} copies of a partition, {} are configured", desired.replication),
                format!(
                    "move partitions with kafka-reassign-partitions.sh, or set \
                     log.kafka.topics.by_topic.{}.replication to {copies}",
                    short(topic)
                ),
            );
        }
        for (key, to) in &desired.settings {
            let from = actual.settings.get(*key).map(|setting| setting.value.clone());
            if from.as_deref().is_none_or(|from| !is_same(from, to)) {
                self.changes.push((topic, Change::Set { key, from, to: to.clone() }));
            }
        }
    }

    /// Partitions of a pair would differ after the changes (the configuration itself was checked).
    fn check_pair(&mut self, config: &KafkaConfig, cluster: &Cluster, one: Topic, other: Topic) {
        let then = |topic: Topic| {
            let desired = config.topic_settings(topic).partitions;
            cluster.topics.get(&topic).map_or(desired, |actual| {
                let is_fixed = matches!(topic, Topic::Matches | Topic::Windows);
                if is_fixed { actual.count() } else { actual.count().max(desired) }
            })
        };
        let (a, b) = (then(one), then(other));
        if a != b {
            self.refuse(
                one,
                format!("it would have {a} partitions and {other} {b}; partition p of the one belongs to p of the other"),
                format!("configure {} partitions for both", a.max(b)),
            );
        }
    }

    fn refuse(&mut self, topic: Topic, what: String, remedy: String) {
        self.refusals.push(Refusal { topic, what, remedy });
    }
}

impl Actual {
    /// How many partitions it has.
    pub fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// All settings of the topic's own, with these in their place: what Kafka wants to be told as a whole.
    pub(super) fn settings_with(&self, desired: &Desired) -> BTreeMap<String, String> {
        let own = self.settings.iter().filter(|(_, setting)| setting.is_own);
        let mut all: BTreeMap<String, String> =
            own.map(|(key, setting)| (key.clone(), setting.value.clone())).collect();
        all.extend(desired.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        all
    }
}

/// Lists in any order are the same.
fn is_same(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort_unstable();
        parts
    };
    one == other || sorted(one) == sorted(other)
}

fn short(topic: Topic) -> &'static str {
    topic.name().strip_prefix("mozdef.").unwrap_or(topic.name())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::config::KafkaConfig;
    use model::topic::Topic;

    use super::{Actual, Change, Cluster, Partition, Plan, Setting, desired, plan};

    fn config() -> KafkaConfig {
        let mut config = KafkaConfig::default();
        config.topics.partitions = 2;
        config.topics.replication = 1;
        config
    }

    /// A cluster as the configuration wants it.
    fn made(config: &KafkaConfig) -> Cluster {
        let topic = |topic| {
            let desired = desired(config, topic);
            let replicas = usize::from(desired.replication);
            let partition = Partition { leader: Some(1), replicas, in_sync: replicas };
            let setting = |(key, value): (&&str, &String)| {
                ((*key).to_owned(), Setting { value: value.clone(), is_own: true })
            };
            let partitions = vec![partition; desired.partitions as usize];
            (topic, Actual { partitions, settings: desired.settings.iter().map(setting).collect() })
        };
        Cluster { brokers: 3, topics: Topic::ALL.into_iter().map(topic).collect() }
    }

    fn refused(plan: &Plan) -> Vec<(Topic, &str)> {
        plan.refusals.iter().map(|refusal| (refusal.topic, refusal.what.as_str())).collect()
    }

    #[test]
    fn an_empty_cluster_gets_every_topic() {
        let cluster = Cluster { brokers: 1, topics: BTreeMap::new() };
        let plan = plan(&config(), &cluster);
        assert_eq!(plan.changes, Topic::ALL.map(|topic| (topic, Change::Create)));
        assert_eq!(plan.refusals, []);
    }

    #[test]
    fn what_is_as_configured_stays() {
        let config = config();
        let mut cluster = made(&config);
        assert!(plan(&config, &cluster).is_empty());
        let alerts = cluster.topics.get_mut(&Topic::Alerts).unwrap();
        alerts.settings.get_mut("cleanup.policy").unwrap().value = "delete, compact".to_owned();
        assert!(plan(&config, &cluster).is_empty());
    }

    #[test]
    fn settings_and_partitions_follow_the_configuration() {
        let mut config = config();
        let cluster = made(&config);
        config.topics.retention_hours = 1;
        config.topics.by_topic.insert(
            "dead".to_owned(),
            model::config::TopicOverride { partitions: Some(5), ..Default::default() },
        );
        let plan = plan(&config, &cluster);
        let set =
            |key, from: &str, to: &str| Change::Set { key, from: Some(from.to_owned()), to: to.to_owned() };
        let of = |topic: Topic| -> Vec<Change> {
            plan.changes.iter().filter(|(t, _)| *t == topic).map(|(_, change)| change.clone()).collect()
        };
        assert_eq!(
            of(Topic::Raw),
            [set("retention.ms", "259200000", "3600000"), set("segment.ms", "64800000", "900000"),]
        );
        assert_eq!(of(Topic::Dead).first(), Some(&Change::Grow { from: 2, to: 5 }));
        assert_eq!(of(Topic::Windows), []);
        assert_eq!(plan.refusals, []);
    }

    #[test]
    fn what_would_lose_or_tear_is_refused() {
        let mut config = config();
        let mut cluster = made(&config);
        config.topics.partitions = 1;
        assert_eq!(refused(&plan(&config, &cluster)).len(), Topic::ALL.len());
        config.topics.partitions = 4;
        assert_eq!(
            refused(&plan(&config, &cluster)),
            [
                (
                    Topic::Matches,
                    "it has 2 partitions, 4 are configured; its groups are tied to their partitions"
                ),
                (
                    Topic::Windows,
                    "it has 2 partitions, 4 are configured; its groups are tied to their partitions"
                ),
            ]
        );
        config.topics.partitions = 2;
        cluster.topics.get_mut(&Topic::Events).unwrap().partitions.push(Partition::default());
        let plan = plan(&config, &cluster);
        assert_eq!(
            refused(&plan).last(),
            Some(&(
                Topic::Raw,
                "it would have 2 partitions and mozdef.events 3; partition p of the one belongs to p of the other",
            ))
        );
    }

    #[test]
    fn copies_are_not_moved() {
        let mut config = config();
        let cluster = made(&config);
        config.topics.replication = 3;
        let refusals = plan(&config, &cluster).refusals;
        assert_eq!(refusals.len(), Topic::ALL.len());
        assert_eq!(refusals[0].what, "it has 1 copies of a partition, 3 are configured");
        let empty = Cluster { brokers: 1, topics: BTreeMap::new() };
        let refusals = plan(&config, &empty).refusals;
        assert_eq!(refusals[0].what, "3 copies cannot be kept by 1 broker(s)");
        assert_eq!(refusals[0].remedy, "add brokers, or set log.kafka.topics.replication to 1 or less");
    }

    #[test]
    fn settings_of_others_are_kept() {
        let config = config();
        let mut cluster = made(&config);
        let raw = cluster.topics.get_mut(&Topic::Raw).unwrap();
        let setting = |is_own| Setting { value: "7".to_owned(), is_own };
        raw.settings.insert("follower.replication.throttled.replicas".to_owned(), setting(true));
        raw.settings.insert("flush.ms".to_owned(), setting(false));
        let all = raw.settings_with(&desired(&config, Topic::Raw));
        assert!(all.contains_key("follower.replication.throttled.replicas"));
        assert!(!all.contains_key("flush.ms"));
        assert_eq!(all.get("cleanup.policy").map(String::as_str), Some("delete"));
    }
}
