//! MozDef as its stages over one broker: any number of each, started, stopped and killed at will.
//!
//! In: a broker, an index. Out: processes of the real binary, and a look into the log behind them. Never: more
//! than one site under one prefix.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::ensure;
use model::config::Config;
use model::time::Clock;
use stream::log::SharedLog;

use crate::index::Index;
use crate::load::Gateways;
use crate::process::{PATIENCE, Process};
use crate::server::command;
use crate::servers::fresh_prefix;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Requests to raw records.
    Gateway,
    /// Raw records to events.
    Normalizer,
    /// Events to alerts.
    Correlator,
    /// Events and alerts to the index.
    Sink,
    /// Queues of RabbitMQ to raw records.
    Amqp,
    /// Queues of SQS to raw records.
    Sqs,
}

impl Role {
    /// Every role of a site that takes events by HTTP, in the order of an event's way.
    pub const ALL: [Role; 4] = [Role::Gateway, Role::Normalizer, Role::Correlator, Role::Sink];

    /// The subcommand.
    pub fn command(self) -> &'static str {
        match self {
            Role::Gateway => "gateway",
            Role::Normalizer => "normalizer",
            Role::Correlator => "correlator",
            Role::Sink => "sink",
            Role::Amqp => "amqp",
            Role::Sqs => "sqs",
        }
    }

    /// The stages that it counts as.
    pub fn stages(self) -> &'static [&'static str] {
        match self {
            Role::Gateway | Role::Amqp | Role::Sqs => &["gateway"],
            Role::Normalizer => &["normalizer"],
            Role::Correlator => &["match", "window"],
            Role::Sink => &["event_sink", "alert_sink"],
        }
    }
}

/// What is common to all processes of a site.
pub struct Site {
    /// Its folder: configuration, logs of the processes, the embedded index. It stays with `MOZDEF_TEST_KEEP=1`.
    folder: tempfile::TempDir,
    config: PathBuf,
    /// Begins the names of its topics.
    pub prefix: String,
    /// Where events and alerts end.
    pub index: Index,
    /// Gateways that take requests now.
    pub gateways: Gateways,
    /// The log behind it.
    pub log: SharedLog,
    /// For requests.
    pub http: reqwest::Client,
    names: AtomicU64,
}

impl Site {
    /// A site on a broker under a prefix of its own, with its topics and without processes. `kafka` are more keys of
    /// `log.kafka`, one a line without indentation; `more` are more sections.
    ///
    /// # Errors
    /// The topics cannot be made, or the index cannot be served.
    pub async fn new(brokers: &str, partitions: u32, kafka: &str, more: &str) -> anyhow::Result<Arc<Site>> {
        Site::with_inputs(brokers, partitions, kafka, "", more).await
    }

    /// The same with more inputs: keys of `ingest`, without indentation.
    ///
    /// # Errors
    /// As [`Site::new`].
    pub async fn with_inputs(
        brokers: &str,
        partitions: u32,
        kafka: &str,
        inputs: &str,
        more: &str,
    ) -> anyhow::Result<Arc<Site>> {
        let mut folder = tempfile::Builder::new().prefix("mozdef-site-").tempdir()?;
        folder.disable_cleanup(std::env::var_os("MOZDEF_TEST_KEEP").is_some());
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let index = Index::serve(&folder.path().join("index"), &http).await?;
        let prefix = fresh_prefix();
        let config = folder.path().join("mozdef.yaml");
        let kafka: String = kafka.lines().map(|line| format!("    {line}\n")).collect();
        let inputs: String = inputs.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!(
            "log:\n  kafka:\n    brokers: [\"{brokers}\"]\n    prefix: \"{prefix}\"\n    \
             topics: {{ partitions: {partitions}, replication: 1 }}\n{kafka}\
             admin:\n  listen: 127.0.0.1:0\ningest:\n  http:\n    listen: 127.0.0.1:0\n{inputs}sink:\n  url: {}\n  \
             bulk_wait_ms: 50\ncorrelate:\n  revise_ms: 0\n{more}",
            index.url
        );
        std::fs::write(&config, &text)?;
        apply_topics(&config).await?;
        let parsed = Config::from_yaml(&text).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let kafka = parsed.log.kafka.unwrap_or_default();
        let log = stream::kafka::open(&kafka, Clock::System).await?;
        let gateways = Arc::new(RwLock::new(Vec::new()));
        Ok(Arc::new(Site { folder, config, prefix, index, gateways, log, http, names: AtomicU64::new(0) }))
    }

    /// `mozdef topics apply`.
    ///
    /// # Errors
    /// It fails.
    pub async fn apply_topics(&self) -> anyhow::Result<()> {
        apply_topics(&self.config).await
    }

    /// A name for an instance that none had before.
    pub fn new_name(&self) -> String {
        format!("i{}", self.names.fetch_add(1, Ordering::SeqCst))
    }

    /// Starts one of each role, and waits until all are ready.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start_all(self: &Arc<Site>, each: usize) -> anyhow::Result<Vec<Member>> {
        let mut members = Vec::new();
        for role in Role::ALL {
            for _ in 0..each {
                members.push(Member::spawn(self, role, &self.new_name()).await?);
            }
        }
        for member in &mut members {
            member.ready().await?;
        }
        Ok(members)
    }

    fn set_gateway(&self, old: Option<&str>, new: Option<&str>) {
        let mut gateways = self.gateways.write().unwrap_or_else(PoisonError::into_inner);
        gateways.retain(|gateway| Some(gateway.as_str()) != old);
        gateways.extend(new.map(str::to_owned));
    }
}

/// One process of a site.
pub struct Member {
    site: Arc<Site>,
    /// What it does.
    pub role: Role,
    /// Its instance: part of the ids under which the log knows it.
    pub instance: String,
    process: Process,
    gateway: Option<String>,
}

impl Member {
    /// Starts a process; a gateway is used as soon as it listens.
    ///
    /// # Errors
    /// The process ends at once.
    pub async fn spawn(site: &Arc<Site>, role: Role, instance: &str) -> anyhow::Result<Member> {
        let log = site.folder.path().join(format!("{}-{instance}.log", role.command()));
        let [key, secret] = crate::aws::CREDENTIALS;
        let variables = [("MOZDEF_INSTANCE", instance), key, secret];
        let mut process = Process::spawn(&site.config, role.command(), &variables, &log)?;
        process.read_until("admin").await?;
        let gateway = (role == Role::Gateway).then(|| process.address("gateway"));
        site.set_gateway(None, gateway.as_deref());
        Ok(Member { site: site.clone(), role, instance: instance.to_owned(), process, gateway })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.process.ready().await
    }

    /// kill -9.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.process.kill().await?;
        self.site.set_gateway(self.gateway.as_deref(), None);
        Ok(())
    }

    /// SIGTERM: it must end with 0 within ten seconds. Gives how long it took.
    ///
    /// # Errors
    /// It does not.
    pub async fn terminate(self) -> anyhow::Result<Duration> {
        let (code, took) = self.process.terminate().await?;
        self.site.set_gateway(self.gateway.as_deref(), None);
        ensure!(code == 0, "{} {} ended with {code} after SIGTERM", self.role.command(), self.instance);
        ensure!(took <= Duration::from_secs(10), "{} took {took:?} to end", self.role.command());
        Ok(took)
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Process id; 0 when it has ended.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// What it logged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn logged(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.process.log())?)
    }

    /// GET of the admin listener: status and body.
    ///
    /// # Errors
    /// No answer.
    pub async fn admin(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let url = format!("{}{path}", self.process.address("admin"));
        let response = self.site.http.get(url).timeout(Duration::from_secs(5)).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// The sum of a metric over all series whose text contains `labels`.
    ///
    /// # Errors
    /// No answer.
    pub async fn metric(&self, name: &str, labels: &str) -> anyhow::Result<f64> {
        let (_, text) = self.admin("/metrics").await?;
        Ok(sum_of(&text, name, labels))
    }
}

/// The sum of a metric over all series whose text contains `labels`.
pub fn sum_of(text: &str, name: &str, labels: &str) -> f64 {
    let series = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The counters of each stage add up, over all instances; gives (in, out, dropped, dead) by stage.
///
/// # Errors
/// They do not, or an instance does not answer.
pub async fn counters_add_up(members: &[Member]) -> anyhow::Result<BTreeMap<&'static str, [f64; 4]>> {
    let mut counts: BTreeMap<&'static str, [f64; 4]> = BTreeMap::new();
    for member in members {
        let (_, text) = member.admin("/metrics").await?;
        for stage in member.role.stages() {
            let row = counts.entry(stage).or_default();
            for (total, kind) in row.iter_mut().zip(["in", "out", "dropped", "dead"]) {
                let name = format!("mozdef_records_{kind}_total");
                *total += sum_of(&text, &name, &format!("stage=\"{stage}\""));
            }
        }
    }
    for (stage, [taken, out, dropped, dead]) in &counts {
        ensure!(
            (taken - out - dropped - dead).abs() < 0.5,
            "{stage}: in {taken} = out {out} + dropped {dropped} + dead {dead}"
        );
    }
    Ok(counts)
}

async fn apply_topics(config: &Path) -> anyhow::Result<()> {
    let config = config.display().to_string();
    let (code, out, error) = command(&["--config", &config, "topics", "apply"], None).await?;
    ensure!(code == 0, "topics apply: {code} {out}{error}");
    Ok(())
}
