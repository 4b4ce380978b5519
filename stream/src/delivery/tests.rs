//! Tests that need a hand inside the driver: a delivery that never ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use model::topic::Topic;
use tokio::sync::mpsc;

use super::driver::Driver;
use super::{Delivery, DeliveryOptions, Outcome};
use crate::health::Health;
use crate::local::{LocalOptions, open};
use crate::record::{Headers, NewRecord, Record};
use crate::shutdown::channel;
use crate::watchdog::Watchdog;

/// Delivers what is small at once, and the rest never.
struct Hangs(mpsc::UnboundedSender<()>);

#[async_trait]
impl Delivery for Hangs {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        if records.iter().any(|record| record.value == "hang") {
            self.0.send(()).unwrap();
            std::future::pending::<()>().await;
        }
        vec![Outcome::Done; records.len()]
    }
}

#[tokio::test]
async fn a_hanging_delivery_is_told_and_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocalOptions {
        folder: folder.path().to_owned(),
        partitions: 1,
        retention_hours: 1,
        retention_mib: 8,
        min_free_mib: 0,
        clock: Clock::System,
    };
    let (log, _local) = open(options).await.unwrap();
    let record = |value: &'static str| NewRecord {
        topic: Topic::Events,
        partition: Some(0),
        key: Bytes::new(),
        value: Bytes::from(value),
        headers: Headers::new(),
    };
    let values = ["a", "b", "hang", "c", "d"];
    log.produce(values.into_iter().map(record).collect()).await.unwrap();
    let (sender, mut hung) = mpsc::unbounded_channel();
    let health = Health::default();
    let options = DeliveryOptions {
        group: "hangs",
        stage: Stage::AlertSink,
        input: Topic::Events,
        batch_records_max: 1,
        batch_bytes_max: 1 << 20,
        batch_wait_ms: 1,
        in_flight_max: 2,
        health: health.clone(),
    };
    let (trigger, shutdown) = channel();
    let mut driver = Driver::new(log.clone(), options, Arc::new(Hangs(sender)), Clock::System, shutdown);
    driver.grace = Duration::from_millis(100);
    driver.watchdog = Watchdog::new(Duration::from_millis(200));
    let running = tokio::spawn(driver.run());
    hung.recv().await.unwrap();
    let stalls = || metrics().stalled.with_label_values(&["hangs"]).get();
    let told = async {
        while stalls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the stall to be told");
    assert_eq!(health.reasons(), ["partition 0 stands still for 0 s, 3 records behind"]);
    // A new consumer would not help: the delivery is left alone, and is asked only once.
    assert!(hung.try_recv().is_err());
    trigger.fire();
    running.await.unwrap().unwrap();
    assert_eq!(log.committed("hangs", Topic::Events, 0).await.unwrap(), 2);
}
