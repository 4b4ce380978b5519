//! Disks that fail or fill up, callers that push too hard, a log that is closed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::topic::Topic;

use super::{PLENTY, all, open, open_probed, options, record};
use crate::local::append::{PERMIT_BYTES, QUEUE_BYTES};
use crate::log::{Log, LogError, Polled, Transaction};

/// LG-6: no acknowledgement after a failed flush, and none is taken back.
#[tokio::test]
async fn a_failed_flush_breaks_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    log.produce(vec![record(Topic::Raw, 0, "", "acked")]).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assert!(matches!(consumer.poll(Duration::ZERO, PLENTY).await.unwrap(), Polled::Assigned(_)));
    let store = log.core.store().unwrap();
    store.fault.store(true, Ordering::SeqCst);
    let commit = consumer.commit(Transaction { outputs: vec![], offsets: vec![(0, 1)] }).await;
    assert!(matches!(commit, Err(LogError::Broken(_))), "{commit:?}");
    // The disk may say what it likes from here on.
    store.fault.store(false, Ordering::SeqCst);
    drop(store);
    let late = log.produce(vec![record(Topic::Raw, 0, "", "late")]).await;
    assert!(matches!(&late, Err(LogError::Broken(why)) if why.contains("fsync failed")), "{late:?}");
    assert!(matches!(consumer.poll(Duration::ZERO, PLENTY).await, Err(LogError::Broken(_))));
    log.close().await;
    let log = open(options(folder.path())).await;
    let values: Vec<_> = all(&log, Topic::Raw, 0).await.into_iter().map(|record| record.value).collect();
    assert_eq!(values, ["acked"]);
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 0);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_until_there_is_room() {
    static FREE: AtomicU64 = AtomicU64::new(u64::MAX);
    let folder = tempfile::tempdir().unwrap();
    let log = open_probed(options(folder.path()), |_| Ok(FREE.load(Ordering::SeqCst))).await;
    log.produce(vec![record(Topic::Raw, 0, "", "before")]).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assert!(matches!(consumer.poll(Duration::ZERO, PLENTY).await.unwrap(), Polled::Assigned(_)));
    FREE.store(63 << 20, Ordering::SeqCst);
    let refused = log.produce(vec![record(Topic::Raw, 0, "", "no")]).await;
    assert!(matches!(&refused, Err(LogError::NoSpace(why)) if why.contains("63 MiB free")), "{refused:?}");
    let outputs = vec![record(Topic::Events, 0, "", "no")];
    let refused = consumer.commit(Transaction { outputs, offsets: vec![(0, 1)] }).await;
    assert!(matches!(refused, Err(LogError::NoSpace(_))), "{refused:?}");
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 0);
    // Offsets alone pass, so that sinks can finish.
    consumer.commit(Transaction { outputs: vec![], offsets: vec![(0, 1)] }).await.unwrap();
    // With nothing left at all, nothing at all is written.
    FREE.store(1 << 20, Ordering::SeqCst);
    let refused = consumer.commit(Transaction { outputs: vec![], offsets: vec![(0, 1)] }).await;
    assert!(matches!(refused, Err(LogError::NoSpace(_))), "{refused:?}");
    assert!(matches!(log.upkeep().await, Err(LogError::NoSpace(_))));
    FREE.store(u64::MAX, Ordering::SeqCst);
    log.upkeep().await.unwrap();
    assert_eq!(log.produce(vec![record(Topic::Raw, 0, "", "after")]).await.unwrap()[0].offset, 1);
}

#[tokio::test]
async fn callers_wait_while_the_queue_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    let all_room = u32::try_from(QUEUE_BYTES / PERMIT_BYTES).unwrap();
    let taken = log.core.room.clone().acquire_many_owned(all_room).await.unwrap();
    let caller = log.clone();
    let mut waiting = tokio::spawn(async move { caller.produce(vec![record(Topic::Raw, 0, "", "x")]).await });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap().end, 0);
    drop(taken);
    waiting.await.unwrap().unwrap();
    // A call larger than the whole queue passes too, alone.
    let largest = (0..4).map(|_| record(Topic::Raw, 0, "", vec![0; 7 << 20])).collect();
    assert_eq!(log.produce(largest).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_call_that_is_given_up_happens_whole_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    for _ in 0..50 {
        let call = log.produce((0..5).map(|_| record(Topic::Raw, 0, "", "x")).collect());
        tokio::select! {
            biased;
            _ = call => {}
            () = tokio::task::yield_now() => {}
        }
    }
    log.produce(vec![record(Topic::Raw, 1, "", "the queue is in order")]).await.unwrap();
    let end = log.extent(Topic::Raw, 0).await.unwrap().end;
    assert!(end % 5 == 0 && all(&log, Topic::Raw, 0).await.len() as u64 == end, "{end}");
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_wakes_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    let mut consumer = log.subscribe("g", Topic::Events).await.unwrap();
    assert!(matches!(consumer.poll(Duration::ZERO, PLENTY).await.unwrap(), Polled::Assigned(_)));
    let waiting = tokio::spawn(async move { consumer.poll(Duration::from_secs(60), PLENTY).await });
    let calls: Vec<_> = (0..20)
        .map(|i| {
            let log = log.clone();
            tokio::spawn(async move { log.produce(vec![record(Topic::Raw, 0, "", format!("{i}"))]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    log.close().await;
    assert!(matches!(waiting.await.unwrap(), Err(LogError::Unavailable(_))));
    let mut acked = Vec::new();
    for (i, call) in calls.into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(_) => acked.push(format!("{i}")),
            Err(error) => assert!(matches!(error, LogError::Unavailable(_)), "{error}"),
        }
    }
    let log = open(options(folder.path())).await;
    let mut found: Vec<_> = all(&log, Topic::Raw, 0)
        .await
        .iter()
        .map(|r| String::from_utf8_lossy(&r.value).into_owned())
        .collect();
    found.sort();
    acked.sort();
    assert_eq!(found, acked);
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    let refused = log.produce(vec![record(Topic::Raw, 2, "", "x")]).await;
    assert!(
        matches!(&refused, Err(LogError::Broken(why)) if why.contains("has 2 partitions")),
        "{refused:?}"
    );
    assert!(log.fetch(Topic::Raw, 2, 0, PLENTY).await.unwrap().records.is_empty());
    log.produce(vec![record(Topic::Raw, 1, "", "the log itself is well")]).await.unwrap();
}
