//! A harness over a real Kafka: `$MOZDEF_TEST_KAFKA` names its address.
//!
//! Every test has topics of its own, by a random prefix.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_trait::async_trait;
use model::config::{GroupProtocol, KafkaConfig};
use model::time::Clock;
use model::topic::{Cleanup, Topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use stream::kafka;
use stream::log::SharedLog;

use crate::kit::Harness;

/// A cluster and one log on it.
pub struct Kafka {
    pub config: KafkaConfig,
    log: Option<SharedLog>,
}

/// The address of the brokers; `None` (told, and a failure where they are required) when there are none.
pub fn brokers(test: &str) -> Option<String> {
    let found = std::env::var("MOZDEF_TEST_KAFKA").ok().filter(|brokers| !brokers.is_empty());
    if found.is_none() {
        let required = std::env::var("MOZDEF_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.contains("kafka"), "{test} needs Kafka, and MOZDEF_TEST_KAFKA is not set");
        println!("SKIPPED (needs Kafka) {test}");
    }
    found
}

/// An admin client.
pub fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// Waits until the brokers answer for every partition of a topic.
pub async fn awake(log: &SharedLog, topic: Topic) {
    let answered = async {
        for partition in 0..2 {
            while let Err(error) = log.extent(topic, partition).await {
                assert!(error.is_retryable(), "{error}");
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered).await.expect("the brokers");
}

/// Makes the topics of a configuration, with two partitions each.
pub async fn make_topics(config: &KafkaConfig) {
    let names: Vec<(Topic, String)> = Topic::ALL.into_iter().map(|t| (t, config.topic_name(t))).collect();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|(topic, name)| {
            let made = NewTopic::new(name, 2, TopicReplication::Fixed(1))
                .set("message.timestamp.type", "LogAppendTime")
                .set("max.message.bytes", if *topic == Topic::Dead { "17825792" } else { "9437184" });
            match topic.cleanup() {
                Cleanup::Time => made,
                Cleanup::Compact | Cleanup::CompactTime => made.set("cleanup.policy", "compact"),
            }
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    for made in admin(&config.brokers.join(",")).create_topics(&topics, &options).await.unwrap() {
        made.unwrap();
    }
}

impl Kafka {
    /// Fresh topics, and a log on them; `None` where there is no Kafka.
    pub async fn start(test: &str) -> Option<Kafka> {
        Kafka::start_with(test, GroupProtocol::Auto).await
    }

    pub async fn start_with(test: &str, group_protocol: GroupProtocol) -> Option<Kafka> {
        Some(Kafka::on(brokers(test)?, group_protocol).await)
    }

    /// Fresh topics on these brokers, and a log on them.
    pub async fn on(brokers: String, group_protocol: GroupProtocol) -> Kafka {
        let prefix = format!("t{:016x}.", RandomState::new().hash_one(0_u8));
        let instance = "one".to_owned();
        let config = KafkaConfig {
            brokers: vec![brokers],
            prefix,
            instance,
            group_protocol,
            ..KafkaConfig::default()
        };
        make_topics(&config).await;
        let mut kafka = Kafka { config, log: None };
        kafka.log = Some(kafka.open("one").await);
        kafka
    }

    /// Another process on the same topics.
    pub async fn open(&self, instance: &str) -> SharedLog {
        let config = KafkaConfig { instance: instance.to_owned(), ..self.config.clone() };
        let opened = async {
            loop {
                match kafka::open(&config, Clock::System).await {
                    Ok(log) => return log,
                    // A broker that was just stopped, or is very busy, needs a while to know its topics.
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), opened).await.expect("the brokers")
    }
}

#[async_trait]
impl Harness for Kafka {
    fn log(&self) -> SharedLog {
        self.log.clone().unwrap()
    }

    async fn restart(&mut self) {
        self.log = None;
        self.log = Some(self.open("one").await);
    }

    /// The brokers have their own clock: it goes on by itself, a little.
    fn pass(&self, millis: i64) {
        std::thread::sleep(Duration::from_millis(millis.unsigned_abs().min(5)));
    }

    async fn upkeep(&self) {
        unreachable!("the brokers clean by themselves: such tests are in kafka_cleaning.rs")
    }
}
