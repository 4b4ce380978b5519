//! What the brokers' cleaning does to readers: records that are gone, holes of compaction.
//!
//! A broker's clock cannot be set: age is stood in for by `delete_records`, compaction is hurried by the topic's settings.

use std::time::Duration;

use model::metrics::metrics;
use model::topic::Topic;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::{Offset, TopicPartitionList};
use stream::log::{Extent, Transaction};

use crate::kafka_kit::{Kafka, admin};
use crate::kit::{ALL, Harness, SOON, assigned, keyed, read_all, records, to, values};

/// Everything before `offset` goes, as if it had been too old.
async fn expire(kafka: &Kafka, topic: Topic, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&kafka.config.topic_name(topic), partition, Offset::Offset(offset)).unwrap();
    let options = AdminOptions::new().operation_timeout(Some(SOON));
    admin(&kafka.config.brokers[0]).delete_records(&list, &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_expired_unread_are_counted_and_offsets_go_on() {
    let test = "records_that_expired_unread_are_counted_and_offsets_go_on";
    let Some(kafka) = Kafka::start(test).await else { return };
    let log = kafka.log();
    log.produce((0..10).map(|i| to(Topic::Raw, 0, format!("{i}"))).collect()).await.unwrap();
    let mut consumer = log.subscribe("expired", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    records(&mut *consumer).await;
    consumer.commit(Transaction { outputs: Vec::new(), offsets: vec![(0, 4)] }).await.unwrap();
    drop(consumer);
    expire(&kafka, Topic::Raw, 0, 7).await;
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(7, 10));
    assert_eq!(values(&log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap().records), ["7", "8", "9"]);
    assert_eq!(log.committed("expired", Topic::Raw, 0).await.unwrap(), 7);
    let mut consumer = log.subscribe("expired", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    assert_eq!(values(&records(&mut *consumer).await.1), ["7", "8", "9"]);
    let labels = ["expired", Topic::Raw.name()];
    assert_eq!(metrics().log_expired_unread.with_label_values(&labels).get(), 3);
    expire(&kafka, Topic::Raw, 0, 10).await;
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(10, 10));
    let nothing = log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.next), (0, 10));
    assert_eq!(log.produce(vec![to(Topic::Raw, 0, "new")]).await.unwrap()[0].offset, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_leaves_the_newest_of_each_key_and_readers_pass_the_holes() {
    let test = "compaction_leaves_the_newest_of_each_key_and_readers_pass_the_holes";
    let Some(kafka) = Kafka::start(test).await else { return };
    let log = kafka.log();
    let name = kafka.config.topic_name(Topic::Windows);
    let hurried = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("cleanup.policy", "compact")
        .set("min.cleanable.dirty.ratio", "0.0")
        .set("segment.ms", "200")
        .set("delete.retention.ms", "100")
        .set("max.message.bytes", "9437184");
    let options = AdminOptions::new().operation_timeout(Some(SOON));
    let altered = admin(&kafka.config.brokers[0]).alter_configs(&[hurried], &options).await.unwrap();
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    let mut rounds = 0;
    let compacted = async {
        loop {
            let made = (0..20).map(|key| keyed(Topic::Windows, 1, &format!("k{key}"), format!("{rounds}")));
            log.produce(made.chain([keyed(Topic::Windows, 1, "gone", "")]).collect()).await.unwrap();
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let left = read_all(&log, Topic::Windows, 1).await;
            assert!(left.is_sorted_by_key(|record| record.offset));
            for key in 0..20 {
                let newest = left.iter().rfind(|record| record.key == format!("k{key}")).unwrap();
                assert_eq!(newest.value, format!("{}", rounds - 1));
            }
            if left.len() < rounds * 21 / 2 && rounds > 3 {
                return;
            }
        }
    };
    tokio::time::timeout(SOON * 3, compacted).await.expect("the brokers to compact");
    let end = log.extent(Topic::Windows, 1).await.unwrap();
    assert_eq!((end.stable, end.end), (rounds as u64 * 21, rounds as u64 * 21));
}
