//! `mozdef topics` against a real broker: made, seen, changed, grown, refused, kept.

use std::hash::{BuildHasher, RandomState};

use model::config::{KafkaConfig, TopicOverride};
use model::time::Clock;
use model::topic::Topic;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use stream::kafka::topics::{Change, TopicAdmin, TopicsError, plan};
use stream::kafka::{self, OpenError};

use crate::kafka_kit::{admin, brokers};

fn config(brokers: &str) -> KafkaConfig {
    let mut config = KafkaConfig { brokers: vec![brokers.to_owned()], ..KafkaConfig::default() };
    config.prefix = format!("topics-{:x}.", RandomState::new().hash_one(0));
    config.topics.partitions = 2;
    config.topics.replication = 1;
    config
}

/// Applies what is to be done; which topics were touched, in order.
async fn apply(config: &KafkaConfig) -> Vec<Topic> {
    let topics = TopicAdmin::new(config).unwrap();
    let cluster = topics.cluster().await.unwrap();
    let plan = plan(config, &cluster);
    assert_eq!(plan.refusals, []);
    let mut touched = Vec::new();
    topics.apply(&plan, &cluster, &mut |topic, _| touched.push(topic)).await.unwrap();
    touched
}

#[tokio::test]
async fn topics_are_made_and_follow_the_configuration() {
    let Some(brokers) = brokers("topics_are_made_and_follow_the_configuration") else { return };
    let mut config = config(&brokers);
    let Err(OpenError::NoTopics { topics }) = kafka::open(&config, Clock::System).await else {
        panic!("a log without topics")
    };
    assert!(topics.contains(&config.topic_name(Topic::Raw)), "{topics}");
    assert_eq!(apply(&config).await, Topic::ALL);
    assert_eq!(apply(&config).await, []);
    assert!(kafka::open(&config, Clock::System).await.is_ok());

    // A setting of somebody else's stays when ours change.
    let raw = config.topic_name(Topic::Raw);
    let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&raw)).set("flush.ms", "77000");
    let settings = stream::kafka::topics::desired(&config, Topic::Raw).settings;
    for (key, value) in &settings {
        altered = altered.set(key, value);
    }
    admin(&brokers).alter_configs([&altered], &AdminOptions::new()).await.unwrap();
    config.topics.retention_hours = 5;
    let six = TopicOverride { partitions: Some(6), ..TopicOverride::default() };
    config.topics.by_topic.insert("dead".to_owned(), six);
    let touched = apply(&config).await;
    assert!(touched.contains(&Topic::Raw) && !touched.contains(&Topic::Windows), "{touched:?}");
    let cluster = TopicAdmin::new(&config).unwrap().cluster().await.unwrap();
    let setting = |topic, key: &str| cluster.topics[&topic].settings[key].value.clone();
    assert_eq!(setting(Topic::Raw, "flush.ms"), "77000");
    assert_eq!(setting(Topic::Raw, "retention.ms"), "18000000");
    assert_eq!(setting(Topic::Raw, "message.timestamp.type"), "LogAppendTime");
    assert_eq!(setting(Topic::Windows, "cleanup.policy"), "compact");
    assert_eq!(cluster.topics[&Topic::Dead].count(), 6);
    assert!(cluster.topics.values().all(|topic| topic.partitions.iter().all(|p| p.leader.is_some())));
}

#[tokio::test]
async fn nothing_shrinks() {
    let Some(brokers) = brokers("nothing_shrinks") else { return };
    let mut config = config(&brokers);
    apply(&config).await;
    config.topics.partitions = 1;
    let cluster = TopicAdmin::new(&config).unwrap().cluster().await.unwrap();
    let shrunk = plan(&config, &cluster);
    assert_eq!((shrunk.refusals.len(), shrunk.changes.len()), (8, 0));
    config.topics.partitions = 3;
    let grown = plan(&config, &cluster);
    let refused: Vec<Topic> = grown.refusals.iter().map(|refusal| refusal.topic).collect();
    assert_eq!(refused, [Topic::Matches, Topic::Windows]);
    assert!(grown.changes.contains(&(Topic::Raw, Change::Grow { from: 2, to: 3 })));
}

#[tokio::test]
async fn a_cluster_that_is_away_is_named_with_the_remedy() {
    let error = TopicAdmin::new(&config("127.0.0.1:1")).unwrap().cluster().await.unwrap_err();
    assert!(matches!(error, TopicsError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("check log.kafka.brokers"), "{error}");
}
