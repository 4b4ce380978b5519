//! Shippers: events sent under idempotency keys until each is acknowledged, and the ledger of what was.
//!
//! Three kinds of event: failed logins by SSH from a few busy addresses and from many that come to about ten
//! each, attacks on CloudTrail that alert at once, and noise. Each carries its number in `details.ledger`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::time::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::random::Random;

/// Where requests go; changes when a gateway comes or goes.
pub type Gateways = Arc<RwLock<Vec<String>>>;

/// Time in which the busy addresses stay the same, in milliseconds.
const SEASON_MS: i64 = 20_000;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A failed login from an address.
    Login(String),
    /// CloudTrail's logging is stopped.
    Attack,
    /// Nothing that a rule knows.
    Noise,
}

/// One event, as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its own time.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// What its summary must be in the index.
    pub summary: String,
}

impl Sent {
    /// Draws one.
    pub fn draw(number: u64, random: &mut Random, time: Timestamp) -> Sent {
        let kind = match random.below(100) {
            0 => Kind::Attack,
            1..20 => {
                let season = time.millis().div_euclid(SEASON_MS).rem_euclid(250);
                Kind::Login(format!("198.51.{season}.{}", random.below(12)))
            }
            20..40 => Kind::Login(format!("203.0.{}.{}", random.below(10), random.below(250))),
            _ => Kind::Noise,
        };
        let summary = match &kind {
            Kind::Login(address) => {
                format!("Failed password for root from {address} port {} ssh2", 1024 + number % 60_000)
            }
            Kind::Attack => "198.51.100.23 performed StopLogging in cloudtrail.amazonaws.com".to_owned(),
            Kind::Noise => format!("(root) CMD (run-parts /etc/cron.hourly) {number}"),
        };
        Sent { time, kind, summary }
    }

    /// As a shipper writes it.
    pub fn json(&self, number: u64) -> Value {
        let (time, ledger) = (self.time.to_string(), format!("n{number}"));
        match &self.kind {
            Kind::Attack => json!({
                "eventVersion": "1.09", "eventTime": time, "eventSource": "cloudtrail.amazonaws.com",
                "eventName": "StopLogging", "awsRegion": "eu-central-1", "sourceIPAddress": "198.51.100.23",
                "userAgent": "aws-cli", "eventType": "AwsApiCall", "recipientAccountId": "123456789012",
                "requestParameters": {"name": format!("trail-{number}")}, "ledger": ledger,
            }),
            Kind::Login(_) | Kind::Noise => {
                let program = if self.kind == Kind::Noise { "CRON" } else { "sshd" };
                json!({
                    "timestamp": time, "hostname": format!("host{}", number % 3), "program": program,
                    "processname": program, "category": "syslog", "severity": "INFO", "summary": self.summary,
                    "details": {"program": program, "ledger": ledger},
                })
            }
        }
    }
}

/// What was sent and what came back.
#[derive(Default)]
pub struct Ledger {
    /// Acknowledged events by number.
    pub acked: BTreeMap<u64, Sent>,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Answers 429 and 503 without Retry-After.
    pub without_retry_after: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// When something was last acknowledged.
    pub last_ack: Option<Instant>,
    /// Longest time between two acknowledgements.
    pub longest_pause: Duration,
    /// Longest time that one request took until it was acknowledged.
    pub longest_request: Duration,
}

impl Ledger {
    fn acknowledge(&mut self, sent: &[(u64, Sent)], took: Duration) {
        let now = Instant::now();
        let pause = self.last_ack.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.longest_pause = self.longest_pause.max(pause);
        self.longest_request = self.longest_request.max(took);
        self.last_ack = Some(now);
        self.acked.extend(sent.iter().cloned());
    }
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Senders, each with one request at a time.
    pub senders: u64,
    /// Most events of one request.
    pub batch_max: u64,
    /// Longest pause between two requests of a sender, in milliseconds.
    pub pause_ms_max: u64,
}

impl Rate {
    /// About 500 events a second.
    pub const STEADY: Rate = Rate { senders: 3, batch_max: 30, pause_ms_max: 180 };
    /// As much as comes back acknowledged.
    pub const FULL: Rate = Rate { senders: 6, batch_max: 60, pause_ms_max: 8 };
}

/// Senders at work.
pub struct Load {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts sending.
    pub fn start(gateways: &Gateways, rate: Rate, seed: u64) -> Load {
        let (ledger, stop) = (Arc::new(Mutex::new(Ledger::default())), Arc::new(AtomicBool::new(false)));
        let senders = (0..rate.senders).map(|number| {
            let sender = Sender {
                gateways: gateways.clone(),
                ledger: ledger.clone(),
                stop: stop.clone(),
                next: AtomicU64::new(number * 10_000_000),
                random: Random::new(seed ^ (number + 1)),
                http: client(Duration::from_secs(15)),
            };
            tokio::spawn(sender.run(rate))
        });
        let senders = senders.collect();
        Load { ledger, stop, senders }
    }

    /// Looks at the ledger.
    pub fn look<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops when what is under way is acknowledged; gives the ledger.
    ///
    /// # Errors
    /// A request is not acknowledged within two minutes.
    pub async fn end(self) -> anyhow::Result<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            tokio::time::timeout(Duration::from_secs(120), sender).await??;
        }
        Ok(std::mem::take(&mut *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn client(timeout: Duration) -> reqwest::Client {
    reqwest::Client::builder().timeout(timeout).build().unwrap_or_default()
}

struct Sender {
    gateways: Gateways,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    next: AtomicU64,
    random: Random,
    http: reqwest::Client,
}

impl Sender {
    async fn run(mut self, rate: Rate) {
        while !self.stop.load(Ordering::SeqCst) {
            let count = 1 + self.random.below(rate.batch_max.max(1));
            let now = Clock::System.now();
            let batch: Vec<(u64, Sent)> = (0..count)
                .map(|_| {
                    let number = self.next.fetch_add(1, Ordering::SeqCst);
                    (number, Sent::draw(number, &mut self.random, now))
                })
                .collect();
            self.deliver(batch).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(rate.pause_ms_max.max(1)))).await;
        }
    }

    /// The same request under the same key until it is acknowledged, each time to any of the gateways.
    async fn deliver(&mut self, batch: Vec<(u64, Sent)>) {
        let first = batch.first().map_or(0, |(number, _)| *number);
        let lines: Vec<String> = batch.iter().map(|(number, sent)| sent.json(*number).to_string()).collect();
        let (body, key, started) = (lines.join("\n"), format!("ledger-{first}"), Instant::now());
        loop {
            let gateway = {
                let all = self.gateways.read().unwrap_or_else(PoisonError::into_inner);
                all.get(self.random.below(all.len().max(1) as u64) as usize).cloned()
            };
            let Some(gateway) = gateway else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let request = self.http.post(format!("{gateway}/events"));
            let request =
                request.header("content-type", "application/x-ndjson").header("idempotency-key", &key);
            let answer = request.body(body.clone()).send().await;
            if self.is_acknowledged(answer.ok().as_ref(), &batch, started) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Notes the answer; `true` when the batch is done.
    fn is_acknowledged(
        &self,
        answer: Option<&reqwest::Response>,
        batch: &[(u64, Sent)],
        started: Instant,
    ) -> bool {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(response) = answer else {
            ledger.unanswered += 1;
            return false;
        };
        let status = response.status().as_u16();
        *ledger.answers.entry(status).or_default() += 1;
        let told = response.headers().contains_key("retry-after");
        ledger.without_retry_after += u64::from(matches!(status, 429 | 503) && !told);
        if response.status().is_success() {
            ledger.acknowledge(batch, started.elapsed());
        }
        response.status().is_success()
    }
}
