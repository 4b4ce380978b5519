//! Bridges killed at random points, sources and Kafka stopped and started: every message that a source has handed over is
//! in the index once. Five kills; fifty with `MOZDEF_LONG=1`, and Kafka down for thirty seconds. The seed is printed;
//! `MOZDEF_SEED` repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::amqp::Publisher;
use model::config::AmqpConfig;
use model::time::Clock;
use serde_json::json;
use tests::aws::{Aws, entry};
use tests::load::{Kind, Sent};
use tests::oracle;
use tests::process::{send_signal, within};
use tests::random::{Random, seed};
use tests::servers::{Kafka, KafkaOptions, Own, needs};
use tests::site::{Member, Role, Site};
use tokio::task::JoinHandle;

/// Longest time until everything that was sent is in the index: messages of a killed bridge are hidden for a while.
const SETTLED: Duration = Duration::from_secs(180);

fn is_long() -> bool {
    std::env::var_os("MOZDEF_LONG").is_some()
}

/// A site whose bridge dies again and again.
struct Trial {
    site: Arc<Site>,
    role: Role,
    bridge: Option<Member>,
    others: Vec<Member>,
    kafka: Option<Kafka>,
    random: Random,
    _folder: tempfile::TempDir,
}

impl Trial {
    async fn start(role: Role, inputs: &str, seed: u64) -> anyhow::Result<Trial> {
        let folder = tempfile::tempdir()?;
        let kafka = match is_long() {
            true => Some(Kafka::start(&folder.path().join("kafka"), KafkaOptions::default()).await?),
            false => None,
        };
        let brokers = match &kafka {
            Some(kafka) => kafka.bootstrap().to_owned(),
            None => std::env::var("MOZDEF_TEST_KAFKA")?,
        };
        let site = Site::with_inputs(&brokers, 2, "", inputs, "").await?;
        let mut others = Vec::new();
        for role in [Role::Normalizer, Role::Sink] {
            others.push(Member::spawn(&site, role, &site.new_name()).await?);
        }
        for member in &mut others {
            member.ready().await?;
        }
        let bridge = Some(Member::spawn(&site, role, "bridge").await?);
        Ok(Trial { site, role, bridge, others, kafka, random: Random::new(seed), _folder: folder })
    }

    /// kill -9 of the bridge, wherever it is.
    async fn kill(&mut self, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(150 + self.random.below(1400))).await;
            if let Some(bridge) = self.bridge.take() {
                bridge.kill().await?;
            }
            self.bridge = Some(Member::spawn(&self.site, self.role, "bridge").await?);
        }
        Ok(())
    }

    async fn kafka_away(&mut self) -> anyhow::Result<()> {
        let Some(kafka) = &mut self.kafka else { return Ok(()) };
        kafka.stop().await?;
        tokio::time::sleep(Duration::from_secs(30)).await;
        kafka.start_again().await
    }

    /// Each is there once, and nothing is dead.
    async fn settled(&self, acked: &BTreeMap<u64, Sent>, least: usize) -> anyhow::Result<()> {
        ensure!(acked.len() >= least, "only {} events were sent", acked.len());
        let none = BTreeSet::new();
        within(SETTLED, "every event is in the index once", || {
            oracle::each_once(&self.site.index, acked, &none)
        })
        .await?;
        let mut dead = 0.0;
        for member in self.others.iter().chain(&self.bridge) {
            dead += member.metric("mozdef_records_dead_total", "").await?;
        }
        ensure!(dead < 0.5, "{dead} dead letters");
        Ok(())
    }
}

/// What was handed over, and whether more is wanted.
#[derive(Default)]
struct Feed {
    acked: Mutex<BTreeMap<u64, Sent>>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Feed {
    fn draw(&self, random: &mut Random, count: u64, attack: bool) -> Vec<(u64, Sent)> {
        let now = Clock::System.now();
        let one = |_| {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let mut sent = Sent::draw(number, random, now);
            while (sent.kind == Kind::Attack) != attack {
                sent = Sent::draw(number, random, now);
            }
            (number, sent)
        };
        (0..count).map(one).collect()
    }

    fn handed_over(&self, sent: Vec<(u64, Sent)>) {
        self.acked.lock().unwrap().extend(sent);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    async fn end(&self, tasks: Vec<JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<BTreeMap<u64, Sent>> {
        self.stop.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await??;
        }
        Ok(std::mem::take(&mut *self.acked.lock().unwrap()))
    }
}

/// Sends until the broker confirms, over any number of connections; the ids stay the same.
async fn feed_amqp(feed: Arc<Feed>, config: AmqpConfig, seed: u64) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    let mut publisher = None;
    while !feed.is_over() {
        let count = 1 + random.below(60);
        let batch = feed.draw(&mut random, count, false);
        let messages: Vec<(String, Vec<u8>)> = batch
            .iter()
            .map(|(number, sent)| (format!("n{number}"), sent.json(*number).to_string().into_bytes()))
            .collect();
        loop {
            let sender = match publisher.take() {
                Some(sender) => Ok(sender),
                None => Publisher::connect(config.clone()).await,
            };
            if let Ok(sender) = sender
                && sender.send(&messages).await.is_ok()
            {
                publisher = Some(sender);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        feed.handed_over(batch);
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_rabbitmq_are_in_the_index_once_over_kills() -> anyhow::Result<()> {
    if needs("rabbitmq").is_none() || needs("kafka").is_none() {
        return Ok(());
    }
    let (kills, seed, folder) = (tests::data::scaled(5), seed()?, tempfile::tempdir()?);
    println!("seed {seed}, {kills} kills");
    let mut broker = Own::start("rabbitmq", folder.path(), "amqp", &[]).await?;
    let server = broker.said("amqp").to_owned();
    let mut trial =
        Trial::start(Role::Amqp, &format!("amqp: {{here: {{servers: ['{server}']}}}}"), seed).await?;
    let feed = Arc::new(Feed::default());
    let config = AmqpConfig { servers: vec![server], ..AmqpConfig::default() };
    let feeding = vec![tokio::spawn(feed_amqp(feed.clone(), config.clone(), seed))];
    trial.kill(kills / 2).await?;
    broker.kill().await?;
    broker.start_again().await?;
    trial.kafka_away().await?;
    trial.kill(kills - kills / 2).await?;
    let acked = feed.end(feeding).await?;
    trial.settled(&acked, 50 * kills).await?;
    let left = Publisher::connect(config).await?.waiting().await?;
    ensure!(left == 0, "{left} messages stay in the queue");
    println!(
        "{} messages, {kills} kills, the broker killed once: nothing lost, nothing doubled",
        acked.len()
    );
    Ok(())
}

async fn feed_queue(feed: Arc<Feed>, aws: Aws, queue: String, seed: u64) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    while !feed.is_over() {
        let count = 1 + random.below(3);
        let batch = feed.draw(&mut random, count, false);
        let events: Vec<_> = batch.iter().map(|(number, sent)| sent.json(*number)).collect();
        aws.send(&queue, &json!(events).to_string()).await?;
        feed.handed_over(batch);
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
    Ok(())
}

/// Objects of CloudTrail; of each third one the bridge is told twice, by different messages.
async fn feed_bucket(feed: Arc<Feed>, aws: Aws, queue: String, seed: u64) -> anyhow::Result<()> {
    let mut random = Random::new(seed ^ 1);
    while !feed.is_over() {
        let count = 1 + random.below(400);
        let batch = feed.draw(&mut random, count, true);
        let records: Vec<_> = batch.iter().map(|(number, sent)| sent.json(*number)).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(json!({ "Records": records }).to_string().as_bytes())?;
        let key = format!("AWSLogs/{}.json.gz", batch[0].0);
        aws.object("trail", &key, gzip.finish()?).await?;
        let message = json!({"s3Bucket": "trail", "s3ObjectKey": [key]}).to_string();
        for _ in 0..1 + u8::from(random.below(3) == 0) {
            aws.send(&queue, &json!({"Type": "Notification", "Message": message}).to_string()).await?;
        }
        feed.handed_over(batch);
        tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_objects_of_aws_are_in_the_index_once_over_kills() -> anyhow::Result<()> {
    if needs("aws").is_none() || needs("kafka").is_none() {
        return Ok(());
    }
    let (kills, seed, folder) = (tests::data::scaled(5), seed()?, tempfile::tempdir()?);
    println!("seed {seed}, {kills} kills");
    let server = Own::start("aws", folder.path(), "aws", &[]).await?;
    let aws = Aws::at(server.said("aws"));
    let (events, trail) = (aws.queue("events").await?, aws.queue("trail").await?);
    aws.bucket("trail").await?;
    let inputs = format!(
        "sqs: {{a: {}, b: {}}}",
        entry(&aws, &events, "events", ""),
        entry(&aws, &trail, "cloudtrail", "")
    );
    let mut trial = Trial::start(Role::Sqs, &inputs, seed).await?;
    let feed = Arc::new(Feed::default());
    let feeding = vec![
        tokio::spawn(feed_queue(feed.clone(), aws.clone(), events.clone(), seed)),
        tokio::spawn(feed_bucket(feed.clone(), aws.clone(), trail.clone(), seed)),
    ];
    trial.kill(kills / 2).await?;
    let id = server.id().unwrap_or(0);
    send_signal(id, "STOP").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    send_signal(id, "CONT").await?;
    trial.kafka_away().await?;
    trial.kill(kills - kills / 2).await?;
    let acked = feed.end(feeding).await?;
    trial.settled(&acked, 50 * kills).await?;
    for queue in [&events, &trail] {
        within(SETTLED, "messages are deleted", || async {
            let left = aws.waiting(queue).await?;
            ensure!(left == 0, "{left} messages stay in {queue}");
            Ok(())
        })
        .await?;
    }
    println!("{} events, {kills} kills, SQS halted once: nothing lost, nothing doubled", acked.len());
    Ok(())
}
