//! What only Kafka has: zombies, transactions without an owner, brokers that
//! stand still, rebalances in the middle of a commit.

use std::process::Command;
use std::time::{Duration, Instant};

use model::config::GroupProtocol;
use model::topic::Topic;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stream::log::{FetchLimits, LogError, Polled, Transaction};

use crate::kafka_kit::{Kafka, awake, brokers};
use crate::kit::{ALL, Harness, SOON, assigned, next, read_all, records, to, values};

/// A producer of another process, in the middle of a transaction.
fn vanished(kafka: &Kafka, id: &str, timeout_ms: u32) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.config.brokers[0])
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout_ms.to_string())
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    producer.begin_transaction().unwrap();
    let topic = kafka.config.topic_name(Topic::Raw);
    producer.send(BaseRecord::<(), [u8]>::to(&topic).partition(0).payload(&b"never"[..])).unwrap();
    producer.flush(SOON).unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_blocks_until_its_time_is_over() {
    let Some(kafka) = Kafka::start("an_open_transaction_blocks_until_its_time_is_over").await else { return };
    let log = kafka.log();
    log.produce(vec![to(Topic::Raw, 0, "before")]).await.unwrap();
    let owner = kafka.config.prefix.clone();
    let vanished = tokio::task::block_in_place(|| vanished(&kafka, &owner, 8000));
    log.produce(vec![to(Topic::Raw, 0, "behind")]).await.unwrap();
    let extent = log.extent(Topic::Raw, 0).await.unwrap();
    assert_eq!((extent.start, extent.stable, extent.end), (0, 1, 3));
    // A reader does not go past it, and knows that it is not at the end.
    let read = log.fetch(Topic::Raw, 0, 0, ALL).await.unwrap();
    assert_eq!((values(&read.records), read.next), (vec!["before".to_owned()], 1));
    let blocked = log.fetch(Topic::Raw, 0, 1, ALL).await.unwrap();
    assert_eq!((blocked.records.len(), blocked.next), (0, 1));
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    assert_eq!(values(&records(&mut *consumer).await.1), ["before"]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        let polled = consumer.poll(Duration::from_millis(200), ALL).await.unwrap();
        let Polled::Nothing { at_end } = polled else { panic!("{polled:?}") };
        assert!(at_end.iter().all(|(partition, _)| *partition != 0), "{at_end:?} behind an open transaction");
        if log.extent(Topic::Raw, 0).await.unwrap().stable > 1 {
            break;
        }
    }
    // Then the brokers abort it, and what lies behind comes.
    assert_eq!(values(&records(&mut *consumer).await.1), ["behind"]);
    let end = log.extent(Topic::Raw, 0).await.unwrap();
    assert_eq!((end.stable, end.end), (4, 4));
    let rest = log.fetch(Topic::Raw, 0, 1, ALL).await.unwrap();
    assert_eq!((values(&rest.records), rest.next), (vec!["behind".to_owned()], 4));
    tokio::task::block_in_place(|| drop(vanished));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_of_the_same_instance_ends_what_was_left_open() {
    let test = "a_successor_of_the_same_instance_ends_what_was_left_open";
    let Some(kafka) = Kafka::start(test).await else { return };
    let log = kafka.log();
    // The id that instance "one" of group g uses for its first member.
    let id = format!("{}g-one", kafka.config.prefix);
    let vanished = tokio::task::block_in_place(|| vanished(&kafka, &id, 600_000));
    log.produce(vec![to(Topic::Matches, 0, "x")]).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Matches).await.unwrap();
    assigned(&mut *consumer).await;
    records(&mut *consumer).await;
    let outputs = vec![to(Topic::Raw, 0, "mine")];
    consumer.commit(Transaction { outputs, offsets: vec![(0, 1)] }).await.unwrap();
    assert_eq!(values(&read_all(&log, Topic::Raw, 0).await), ["mine"]);
    tokio::task::block_in_place(|| drop(vanished));
}

/// A member that does not poll is replaced; what it commits afterwards has no effect, also where others are still its own.
async fn zombie(protocol: GroupProtocol, test: &str) {
    let Some(kafka) = Kafka::start_with(test, protocol).await else { return };
    let (log, other) = (kafka.log(), kafka.open("two").await);
    log.produce(vec![to(Topic::Raw, 0, "p0"), to(Topic::Raw, 1, "p1")]).await.unwrap();
    let mut one = log.subscribe("g", Topic::Raw).await.unwrap();
    let mut all = assigned(&mut *one).await;
    all.sort_unstable();
    assert_eq!(all, [0, 1]);
    for _ in 0..2 {
        records(&mut *one).await;
    }
    let first = vec![to(Topic::Events, 0, "first")];
    one.commit(Transaction { outputs: first, offsets: vec![(0, 0), (1, 0)] }).await.unwrap();
    let mut two = other.subscribe("g", Topic::Raw).await.unwrap();
    // One is told to give a partition up, and goes on without coming back for 20 s.
    let Polled::Revoked(going) = next(&mut *one).await else { panic!("not revoked") };
    let waiting = tokio::spawn(async move {
        let taken = tokio::time::timeout(SOON * 3, async {
            loop {
                if let Polled::Assigned(taken) =
                    two.poll(Duration::from_secs(1), FetchLimits::PAUSED).await.unwrap()
                {
                    return taken;
                }
            }
        });
        (taken.await.expect("a successor"), two)
    });
    let (taken, mut two) = waiting.await.unwrap();
    assert_eq!(taken, going);
    let outputs = vec![to(Topic::Events, 0, "from the grave")];
    let offsets = vec![(going[0], 1), (1 - going[0], 1)];
    let late = one.commit(Transaction { outputs, offsets }).await;
    assert!(matches!(late, Err(LogError::Fenced)), "{late:?}");
    assert_eq!(log.committed("g", Topic::Raw, 1 - going[0]).await.unwrap(), 0);
    let outputs = vec![to(Topic::Events, 0, "by the heir")];
    two.commit(Transaction { outputs, offsets: vec![(going[0], 1)] }).await.unwrap();
    assert_eq!(values(&read_all(&log, Topic::Events, 0).await), ["first", "by the heir"]);
    // What is left to one is still good for commits.
    assert!(matches!(next(&mut *one).await, Polled::Lost(lost) if lost == going));
    let outputs = vec![to(Topic::Events, 0, "still mine")];
    one.commit(Transaction { outputs, offsets: vec![(1 - going[0], 1)] }).await.unwrap();
    assert_eq!(read_all(&log, Topic::Events, 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_is_fenced_classic() {
    zombie(GroupProtocol::Classic, "a_zombie_is_fenced_classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_is_fenced_consumer() {
    zombie(GroupProtocol::Consumer, "a_zombie_is_fenced_consumer").await;
}

/// A broker of this test alone, as it is stopped in the middle.
struct Broker(tempfile::TempDir);

impl Broker {
    fn run(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/servers/kafka");
        let folder = self.0.path().to_str().unwrap();
        let output = Command::new(script).arg(arguments[0]).arg(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn start() -> (Broker, String) {
        let broker = Broker(tempfile::tempdir().unwrap());
        let line = broker.run(&["start"]);
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("bootstrap=")).unwrap();
        (broker, address.to_owned())
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.0.path().join("pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run(&["kill"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_costs_time_and_nothing_else() {
    let test = "a_broker_that_stands_still_costs_time_and_nothing_else";
    if brokers(test).is_none() {
        return;
    }
    let (broker, address) = tokio::task::block_in_place(Broker::start);
    let kafka = Kafka::on(address, GroupProtocol::Auto).await;
    let log = kafka.log();
    log.produce((0..50).map(|i| to(Topic::Raw, 0, format!("{i}"))).collect()).await.unwrap();
    let mut consumer = log.subscribe("g", Topic::Raw).await.unwrap();
    assigned(&mut *consumer).await;
    records(&mut *consumer).await;
    let first = vec![to(Topic::Events, 0, "first")];
    consumer.commit(Transaction { outputs: first, offsets: vec![(0, 10)] }).await.unwrap();
    broker.signal("-STOP");
    let began = Instant::now();
    let produced = log.produce(vec![to(Topic::Raw, 1, "meanwhile")]);
    let going_on = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        broker.signal("-CONT");
    };
    let (produced, (), outcome) = tokio::join!(produced, going_on, async {
        let outputs = vec![to(Topic::Events, 0, "second")];
        let mut outcome = consumer.commit(Transaction { outputs, offsets: vec![(0, 50)] }).await;
        while let Err(LogError::OutcomeUnknown(_)) = outcome {
            outcome = consumer.settle().await;
        }
        outcome
    });
    println!("after {:?}: produced {produced:?}, committed {outcome:?}", began.elapsed());
    let (committed, expected) = match outcome {
        Ok(()) => (50, vec!["first", "second"]),
        Err(error) if error.is_retryable() => (10, vec!["first"]),
        Err(error) => panic!("{error}"),
    };
    let asked = async {
        loop {
            match log.committed("g", Topic::Raw, 0).await {
                Ok(committed) => return committed,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, asked).await.unwrap(), committed);
    awake(&log, Topic::Events).await;
    assert_eq!(values(&read_all(&log, Topic::Events, 0).await), expected);
    // Life goes on, with the same consumer.
    consumer.rewind(0).await.unwrap();
    let outputs = vec![to(Topic::Events, 0, "third")];
    let again = async {
        let mut offsets = vec![(0, 50)];
        loop {
            match consumer.commit(Transaction { outputs: outputs.clone(), offsets: offsets.clone() }).await {
                Ok(()) => return,
                Err(LogError::OutcomeUnknown(_)) => {}
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            match consumer.poll(Duration::from_millis(100), FetchLimits::PAUSED).await {
                Ok(Polled::Assigned(ours)) => offsets = vec![(ours[0], 50)],
                Ok(_) => {}
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    tokio::time::timeout(SOON, again).await.expect("a commit after the pause");
}
