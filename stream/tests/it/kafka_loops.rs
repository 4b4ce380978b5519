//! The loop log → log over Kafka: exactly once under faults and rebalances, by both group protocols.

use std::time::Duration;

use model::config::GroupProtocol;

use crate::flaky::Flaky;
use crate::kafka_kit::Kafka;
use crate::kit::Harness;
use crate::worker_loop::counts_once;

async fn every_record_counts_once(protocol: GroupProtocol, test: &str) {
    let Some(kafka) = Kafka::start_with(test, protocol).await else { return };
    let (one, two) = (Flaky::over(kafka.log(), 25), Flaky::over(kafka.open("two").await, 25));
    counts_once(&one, &two, None, Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_counts_once_classic() {
    every_record_counts_once(GroupProtocol::Classic, "every_record_counts_once_classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_counts_once_consumer() {
    every_record_counts_once(GroupProtocol::Consumer, "every_record_counts_once_consumer").await;
}
