//! The contract that every log keeps. Each test takes a harness, so that the
//! same tests run over the local log and over those to come.

use std::time::Duration;

use bytes::Bytes;
use model::topic::Topic;
use stream::log::{Extent, FetchLimits, LogError, Polled, RECORD_BYTES_MAX, Transaction};
use stream::record::{Headers, NewRecord};

use crate::kit::{
    ALL, Harness, RETENTION_HOURS, SOON, assigned, ended, keyed, read_all, records, to, values,
};

/// Runs every test of the contract over a harness.
macro_rules! contract {
    ($start:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let mut harness = $start;
                $crate::contract::$name(&mut harness).await;
            }
        )*
    };
}
pub(crate) use contract;

pub async fn records_keep_their_order_and_all_their_parts(h: &mut dyn Harness) {
    let log = h.log();
    for batch in 0..20 {
        let made = (0..50).map(|i| NewRecord {
            key: Bytes::from(format!("k{i}")),
            headers: Headers::new()
                .with("received", format!("{batch}"))
                .with("own-name", vec![i as u8, 0xff]),
            ..to(Topic::Raw, 1, format!("{batch}/{i}"))
        });
        let positions = log.produce(made.collect()).await.unwrap();
        let offsets: Vec<u64> = positions.iter().map(|position| position.offset).collect();
        assert_eq!(offsets, (batch * 50..batch * 50 + 50).collect::<Vec<u64>>());
    }
    let all = read_all(&log, Topic::Raw, 1).await;
    assert_eq!(all.len(), 1000);
    for (index, record) in all.iter().enumerate() {
        let (batch, i) = (index / 50, index % 50);
        assert_eq!((record.offset, record.partition), (index as u64, 1));
        assert_eq!(
            (&record.key[..], &record.value[..]),
            (format!("k{i}").as_bytes(), format!("{batch}/{i}").as_bytes())
        );
        assert_eq!(record.headers.get_str("received"), Some(batch.to_string().as_str()));
        assert_eq!(record.headers.get("own-name").map(Bytes::as_ref), Some(&[i as u8, 0xff][..]));
    }
    assert!(all.is_sorted_by_key(|record| record.appended));
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(0, 0));
}

pub async fn a_key_has_one_partition_and_no_key_goes_in_turn(h: &mut dyn Harness) {
    let log = h.log();
    let record = |key: &str| NewRecord { partition: None, ..keyed(Topic::Raw, 0, key, "v") };
    let first = log.produce(vec![record("a"), record("b"), record("c"), record("d")]).await.unwrap();
    let again = log.produce(vec![record("a"), record("b"), record("c"), record("d")]).await.unwrap();
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first.partition, again.partition);
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        seen.insert(log.produce(vec![record("")]).await.unwrap()[0].partition);
    }
    assert_eq!(seen.len(), log.partitions(Topic::Raw) as usize);
}

pub async fn fetches_keep_their_limits(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..100).map(|_| to(Topic::Raw, 0, vec![b'x'; 1000])).collect()).await.unwrap();
    let fetch =
        |from, records_max, bytes_max| log.fetch(Topic::Raw, 0, from, FetchLimits { records_max, bytes_max });
    assert_eq!(fetch(0, 7, 1 << 20).await.unwrap().records.len(), 7);
    assert_eq!(fetch(0, 100, 3500).await.unwrap().records.len(), 3);
    assert_eq!(fetch(0, 100, 1).await.unwrap().records.len(), 1);
    assert_eq!(fetch(98, 100, 1 << 20).await.unwrap().records.len(), 2);
    assert_eq!(fetch(100, 100, 1 << 20).await.unwrap().records.len(), 0);
    assert_eq!(fetch(10_000, 100, 1 << 20).await.unwrap().records.len(), 0);
    assert_eq!(fetch(0, 0, 1 << 20).await.unwrap().records.len(), 0);
    assert_eq!(fetch(0, 7, 1 << 20).await.unwrap().next, 7);
    assert_eq!(fetch(98, 100, 1 << 20).await.unwrap().next, 100);
    assert_eq!(fetch(100, 100, 1 << 20).await.unwrap().next, 100);
    assert_eq!(fetch(7, 0, 1 << 20).await.unwrap().next, 7);
}

pub async fn a_record_too_large_takes_nothing_with_it(h: &mut dyn Harness) {
    let log = h.log();
    let giant = to(Topic::Raw, 0, vec![0; RECORD_BYTES_MAX + 1]);
    let refused = log.produce(vec![to(Topic::Raw, 0, "small"), giant.clone()]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { bytes, limit }) if bytes == limit + 1), "{refused:?}");
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap().end, 0);
    let largest = to(Topic::Raw, 0, vec![7; RECORD_BYTES_MAX]);
    log.produce(vec![largest, NewRecord { topic: Topic::Dead, ..giant }]).await.unwrap();
    assert_eq!(read_all(&log, Topic::Raw, 0).await[0].value.len(), RECORD_BYTES_MAX);
    assert_eq!(read_all(&log, Topic::Dead, 0).await[0].value.len(), RECORD_BYTES_MAX + 1);
    assert_eq!(log.produce(Vec::new()).await.unwrap(), []);
}

pub async fn outputs_and_offsets_take_effect_together(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..10).map(|i| to(Topic::Raw, 0, format!("{i}"))).collect()).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    let (partition, read) = records(&mut *consumer).await;
    assert_eq!((partition, read.len()), (0, 10));
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 0);
    let outputs = vec![to(Topic::Events, 0, "a"), to(Topic::Events, 1, "b"), to(Topic::Dead, 0, "c")];
    consumer.commit(Transaction { outputs, offsets: vec![(0, 7)] }).await.unwrap();
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 7);
    assert_eq!(log.committed("other", Topic::Raw, 0).await.unwrap(), 0);
    for (topic, partition, value) in [(Topic::Events, 0, "a"), (Topic::Events, 1, "b"), (Topic::Dead, 0, "c")]
    {
        assert_eq!(values(&read_all(&log, topic, partition).await), [value]);
    }
    // A commit that is refused has no part that takes effect.
    let outputs = vec![to(Topic::Events, 0, "no"), to(Topic::Events, 0, vec![0; RECORD_BYTES_MAX + 1])];
    let refused = consumer.commit(Transaction { outputs, offsets: vec![(0, 10)] }).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 7);
    assert_eq!(values(&read_all(&log, Topic::Events, 0).await), ["a"]);
}

pub async fn readers_see_batches_whole(h: &mut dyn Harness) {
    let log = h.log();
    let writer = h.log();
    let writing = tokio::spawn(async move {
        for _ in 0..200 {
            writer.produce((0..7).map(|_| to(Topic::Raw, 0, vec![b'x'; 3000])).collect()).await.unwrap();
        }
    });
    let mut looks = 0;
    while !writing.is_finished() {
        let extent = log.extent(Topic::Raw, 0).await.unwrap();
        assert_eq!(extent.end % 7, 0);
        let from = extent.end.saturating_sub(20);
        let read = log.fetch(Topic::Raw, 0, from, ALL).await.unwrap().records;
        assert!(read.iter().map(|record| record.offset).eq(from..from + read.len() as u64));
        assert_eq!((from + read.len() as u64) % 7, 0);
        looks += 1;
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert!(looks > 0);
}

pub async fn an_abort_reads_the_same_records_again(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..10).map(|i| to(Topic::Raw, 0, format!("{i}"))).collect()).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    let first = records(&mut *consumer).await;
    consumer.commit(Transaction { outputs: Vec::new(), offsets: vec![(0, 4)] }).await.unwrap();
    consumer.rewind(0).await.unwrap();
    let again = records(&mut *consumer).await;
    assert_eq!(again.1, first.1[4..]);
}

pub async fn a_group_goes_on_where_it_has_committed(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..10).map(|i| to(Topic::Raw, 1, format!("{i}"))).collect()).await.unwrap();
    for (commit, expected) in [(3, 0), (9, 3), (10, 9)] {
        let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
        assigned(&mut *consumer).await;
        let (_, read) = records(&mut *consumer).await;
        assert_eq!(read[0].offset, expected);
        consumer.commit(Transaction { outputs: Vec::new(), offsets: vec![(1, commit)] }).await.unwrap();
    }
}

pub async fn members_share_partitions_and_hand_them_over(h: &mut dyn Harness) {
    let log = h.log();
    log.produce(vec![to(Topic::Raw, 0, "p0"), to(Topic::Raw, 1, "p1")]).await.unwrap();
    let mut one = log.subscribe("g", Topic::Raw).await.unwrap();
    assert_eq!(assigned(&mut *one).await, [0, 1]);
    let mut two = log.subscribe("g", Topic::Raw).await.unwrap();
    let Polled::Revoked(going) = one.poll(SOON, FetchLimits::PAUSED).await.unwrap() else {
        panic!("not revoked")
    };
    assert_eq!(going.len(), 1);
    let p = going[0];
    // Until the next poll the partition is still ours, to finish with.
    let outputs = vec![to(Topic::Events, 0, "last words")];
    one.commit(Transaction { outputs, offsets: vec![(p, 1)] }).await.unwrap();
    let waiting = two.poll(Duration::ZERO, ALL).await.unwrap();
    assert!(matches!(waiting, Polled::Nothing { .. }), "{waiting:?}");
    one.poll(Duration::ZERO, FetchLimits::PAUSED).await.unwrap();
    assert_eq!(assigned(&mut *two).await, [p]);
    // The new owner begins behind what the old one committed: nothing of p is left.
    ended(&mut *two, &[p], ALL).await;
    let (other, read) = records(&mut *one).await;
    assert_eq!((other, read.len()), (1 - p, 1));
    // Who leaves gives everything back at once.
    drop(one);
    assert_eq!(assigned(&mut *two).await, [1 - p]);
}

pub async fn a_replaced_owner_is_fenced(h: &mut dyn Harness) {
    let log = h.log();
    log.produce(vec![to(Topic::Raw, 0, "p0"), to(Topic::Raw, 1, "p1")]).await.unwrap();
    let mut one = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *one).await;
    let mut two = log.subscribe("g", Topic::Raw).await.unwrap();
    let Polled::Revoked(going) = one.poll(SOON, FetchLimits::PAUSED).await.unwrap() else {
        panic!("not revoked")
    };
    one.poll(Duration::ZERO, FetchLimits::PAUSED).await.unwrap();
    assigned(&mut *two).await;
    let outputs = vec![to(Topic::Events, 0, "from the grave")];
    let late = one.commit(Transaction { outputs, offsets: vec![(going[0], 1)] }).await;
    assert!(matches!(late, Err(LogError::Fenced)), "{late:?}");
    assert_eq!(log.extent(Topic::Events, 0).await.unwrap().end, 0);
    assert_eq!(log.committed("g", Topic::Raw, going[0]).await.unwrap(), 0);
    two.commit(Transaction { outputs: Vec::new(), offsets: vec![(going[0], 1)] }).await.unwrap();
    assert_eq!(log.committed("g", Topic::Raw, going[0]).await.unwrap(), 1);
}

pub async fn a_waiting_poll_is_woken_by_new_records(h: &mut dyn Harness) {
    let log = h.log();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    let waiting = tokio::spawn(async move { consumer.poll(SOON, ALL).await.unwrap() });
    tokio::task::yield_now().await;
    let began = std::time::Instant::now();
    log.produce(vec![to(Topic::Raw, 1, "news")]).await.unwrap();
    let polled = waiting.await.unwrap();
    assert!(matches!(&polled, Polled::Records(1, read) if values(read) == ["news"]), "{polled:?}");
    assert!(began.elapsed() < SOON / 4);
}

pub async fn the_end_is_told_with_its_time(h: &mut dyn Harness) {
    let log = h.log();
    log.produce(vec![to(Topic::Raw, 0, "x")]).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    ended(&mut *consumer, &[1], FetchLimits::PAUSED).await;
    let stamp = records(&mut *consumer).await.1[0].appended;
    h.pass(5);
    let (mut at_end, mut times) = (ended(&mut *consumer, &[0, 1], ALL).await, 0);
    while at_end.iter().any(|(_, at)| *at < stamp.plus_millis(5)) {
        assert!(times < 5, "{at_end:?} and no later");
        times += 1;
        at_end = ended(&mut *consumer, &[0, 1], ALL).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

pub async fn everything_is_there_after_a_restart(h: &mut dyn Harness) {
    let id = h.log().id().to_owned();
    let log = h.log();
    log.produce((0..500).map(|i| to(Topic::Raw, i % 2, vec![i as u8; 1000])).collect()).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    consumer
        .commit(Transaction { outputs: vec![to(Topic::Events, 1, "o")], offsets: vec![(0, 12)] })
        .await
        .unwrap();
    let before = (read_all(&log, Topic::Raw, 0).await, read_all(&log, Topic::Raw, 1).await);
    drop((log, consumer));
    h.restart().await;
    let log = h.log();
    assert_eq!(log.id(), id);
    assert_eq!((read_all(&log, Topic::Raw, 0).await, read_all(&log, Topic::Raw, 1).await), before);
    assert_eq!(values(&read_all(&log, Topic::Events, 1).await), ["o"]);
    assert_eq!(log.committed("g", Topic::Raw, 0).await.unwrap(), 12);
    let next = log.produce(vec![to(Topic::Raw, 0, "more")]).await.unwrap();
    assert_eq!(next[0].offset, 250);
}

pub async fn lag_is_the_end_less_what_is_committed(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..9).map(|_| to(Topic::Raw, 0, "x")).collect()).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    consumer.commit(Transaction { outputs: Vec::new(), offsets: vec![(0, 5)] }).await.unwrap();
    let lag = log.extent(Topic::Raw, 0).await.unwrap().end - log.committed("g", Topic::Raw, 0).await.unwrap();
    assert_eq!(lag, 4);
}

pub async fn offsets_are_found_by_time(h: &mut dyn Harness) {
    let log = h.log();
    let mut stamps = Vec::new();
    for _ in 0..30 {
        h.pass(60_000);
        let offset =
            log.produce(vec![to(Topic::Raw, 0, "x"), to(Topic::Raw, 0, "y")]).await.unwrap()[0].offset;
        stamps.push((read_all(&log, Topic::Raw, 0).await[offset as usize].appended, offset));
    }
    for (stamp, offset) in &stamps {
        assert_eq!(log.offset_at(Topic::Raw, 0, *stamp).await.unwrap(), *offset);
        assert_eq!(log.offset_at(Topic::Raw, 0, stamp.plus_millis(-1)).await.unwrap(), *offset);
        assert_eq!(log.offset_at(Topic::Raw, 0, stamp.plus_millis(1)).await.unwrap(), offset + 2);
    }
    assert_eq!(log.offset_at(Topic::Raw, 1, stamps[0].0).await.unwrap(), 0);
}

pub async fn old_records_expire_and_offsets_go_on(h: &mut dyn Harness) {
    let log = h.log();
    log.produce((0..10).map(|_| to(Topic::Raw, 0, "old")).collect()).await.unwrap();
    log.produce(vec![to(Topic::Windows, 0, "no key"), keyed(Topic::Windows, 0, "k", "stays")]).await.unwrap();
    h.pass((RETENTION_HOURS - 1) * 3_600_000);
    h.upkeep().await;
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(0, 10));
    log.produce(vec![to(Topic::Raw, 0, "young")]).await.unwrap();
    h.pass(3_600_000 + 1);
    h.upkeep().await;
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(10, 11));
    assert_eq!(values(&log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap().records), ["young"]);
    h.pass(RETENTION_HOURS * 3_600_000);
    h.upkeep().await;
    drop(log);
    h.restart().await;
    let log = h.log();
    assert_eq!(log.extent(Topic::Raw, 0).await.unwrap(), Extent::decided(11, 11));
    let nothing = log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.next), (0, 11));
    // LG-8: an offset is never given twice.
    assert_eq!(log.produce(vec![to(Topic::Raw, 0, "new")]).await.unwrap()[0].offset, 11);
    assert_eq!(log.committed("never", Topic::Raw, 0).await.unwrap(), 11);
    // Compacted topics keep what is newest, however old.
    assert_eq!(values(&read_all(&log, Topic::Windows, 0).await), ["no key", "stays"]);
}

pub async fn a_topic_keeps_to_its_size(h: &mut dyn Harness) {
    let log = h.log();
    for _ in 0..30 {
        log.produce((0..1000).map(|_| to(Topic::Raw, 0, vec![b'x'; 1000])).collect()).await.unwrap();
    }
    h.upkeep().await;
    let Extent { start, end, .. } = log.extent(Topic::Raw, 0).await.unwrap();
    assert_eq!(end, 30_000);
    let (kept, allowed) = (end - start, crate::kit::RETENTION_MIB * 1024 / 2 * 1024 / 1000);
    assert!(kept <= allowed && kept > allowed / 3, "{kept} of {allowed}");
    assert_eq!(log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap().records[0].offset, start);
}

pub async fn compaction_keeps_the_newest_of_each_key(h: &mut dyn Harness) {
    let log = h.log();
    for round in 0..60 {
        let made = (0..100)
            .map(|key| keyed(Topic::Windows, 1, &format!("k{key}"), format!("{round}:{:0>1000}", key)));
        log.produce(made.collect()).await.unwrap();
        if round == 30 {
            let tombstones = (90..100).map(|key| keyed(Topic::Windows, 1, &format!("gone{key}"), ""));
            log.produce(tombstones.collect()).await.unwrap();
            h.pass(2 * 3_600_000);
        }
    }
    h.upkeep().await;
    let end = log.extent(Topic::Windows, 1).await.unwrap().end;
    let all = read_all(&log, Topic::Windows, 1).await;
    assert!(all.is_sorted_by_key(|record| record.offset) && all.len() < 3000, "{} left", all.len());
    let newest = |key: &str| all.iter().rfind(|record| record.key == key.as_bytes()).map(|r| r.value.clone());
    for key in 0..100 {
        assert_eq!(newest(&format!("k{key}")).unwrap(), format!("59:{key:0>1000}"));
    }
    assert_eq!(newest("gone95"), None);
    drop(log);
    h.restart().await;
    let log = h.log();
    assert_eq!(log.extent(Topic::Windows, 1).await.unwrap().end, end);
    assert_eq!(read_all(&log, Topic::Windows, 1).await, all);
    assert_eq!(log.produce(vec![keyed(Topic::Windows, 1, "k1", "x")]).await.unwrap()[0].offset, end);
}
