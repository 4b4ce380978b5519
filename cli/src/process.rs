//! One process of MozDef: its listeners, its log, the stages that it runs, and its end.
//!
//! In: a configuration and a choice of stages. Out: a running process, until it is told to stop or a stage
//! breaks. Never: an end because something outside is not there yet; that is waited for, and told in `/readyz`.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use model::config::{Config, KafkaConfig};
use model::time::Clock;
use sink::PASSWORD_VARIABLE;
use sink::index::Index;
use sink::search::Searcher;
use stream::kafka::OpenError;
use stream::log::SharedLog;
use stream::shutdown::{Shutdown, Trigger};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::admin::{self, Admin};
use crate::questions::Sources;
use crate::readiness::Readiness;
use crate::stages::{Stage, Start, Tasks};

/// Longest that the stages may take to end; what they have not committed is read again later.
const GRACE: Duration = Duration::from_secs(10);
/// First and longest wait between two attempts to open the log.
const ATTEMPTS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Time between two log lines that say what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Time between two looks at whether everything is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process of MozDef.
pub(crate) struct Process {
    /// Where the gateway listens, if it runs here.
    pub gateway: Option<SocketAddr>,
    /// Names and addresses of the syslog listeners.
    pub syslog: Vec<(String, String)>,
    /// Where the index answers, if it is known.
    pub index: Option<String>,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// What questions are answered from.
    pub sources: Arc<Sources>,
    config: Config,
    stages: Vec<Stage>,
    listeners: Listeners,
    ready: Arc<Readiness>,
    trigger: Trigger,
    shutdown: Shutdown,
    serving: JoinHandle<std::io::Result<()>>,
    tasks: Tasks,
}

/// Listeners are bound before anything else, so that a taken port is told at once.
struct Listeners {
    gateway: Option<TcpListener>,
    syslog: Option<ingest::syslog::Listeners>,
    index: Option<TcpListener>,
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is taken by another program; stop it, or set {key} to another address")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("not allowed to listen on {address}; set {key} to a port above 1023")
        }
        _ => anyhow::anyhow!("cannot listen on {address} ({key}): {error}"),
    })
}

impl Process {
    /// Every stage, with the embedded index where no other is configured.
    pub(crate) async fn whole(config: &Config, clock: Clock) -> anyhow::Result<Process> {
        let index = match config.sink.url {
            Some(_) => None,
            None => Some(bind(config.embedded.listen, "embedded.listen").await?),
        };
        let stages = Stage::ALL.into_iter().filter(|stage| stage.is_configured(config)).collect();
        Process::prepare(config, clock, stages, index).await
    }

    /// One stage.
    pub(crate) async fn alone(config: &Config, clock: Clock, stage: Stage) -> anyhow::Result<Process> {
        let name = stage.name();
        if config.log.kafka.is_none() {
            bail!(
                "`mozdef {name}` needs Kafka, and the configuration has no log.kafka: the local log is for one \
                 process; run `mozdef up`, or set log.kafka.brokers"
            );
        }
        if stage == Stage::Sink && config.sink.url.is_none() {
            bail!("`mozdef sink` needs OpenSearch: the embedded index is for `mozdef up`; set sink.url");
        }
        if !stage.is_configured(config) {
            bail!("`mozdef {name}` has nothing to do: the configuration has no ingest.{name}");
        }
        Process::prepare(config, clock, vec![stage], None).await
    }

    /// Binds what is to be bound and opens a local log; Kafka is waited for later.
    async fn prepare(
        config: &Config,
        clock: Clock,
        stages: Vec<Stage>,
        index: Option<TcpListener>,
    ) -> anyhow::Result<Process> {
        let gateway = match stages.contains(&Stage::Gateway) {
            true => Some(bind(config.ingest.http.listen, "ingest.http.listen").await?),
            false => None,
        };
        let syslog = match stages.contains(&Stage::Syslog) {
            true => Some(ingest::syslog::bind(&config.ingest.syslog).await?),
            false => None,
        };
        let admin = bind(config.admin.listen, "admin.listen").await?;
        let sources = Arc::new(Sources::new(clock.clone()));
        if config.log.kafka.is_none() {
            set(&sources.log, open_local(config, &clock).await?);
        }
        let (trigger, shutdown) = stream::shutdown::channel();
        let ready = Arc::new(Readiness::default());
        let shared = Admin { sources: sources.clone(), ready: ready.clone(), serves: config.admin.serves };
        let (listening, embedded) =
            (admin.local_addr()?, index.as_ref().map(TcpListener::local_addr).transpose()?);
        Ok(Process {
            gateway: gateway.as_ref().map(TcpListener::local_addr).transpose()?,
            syslog: syslog.as_ref().map(ingest::syslog::Listeners::addresses).unwrap_or_default(),
            index: config.sink.url.clone().or_else(|| embedded.map(|address| format!("http://{address}"))),
            admin: listening,
            sources,
            config: config.clone(),
            stages,
            listeners: Listeners { gateway, syslog, index },
            ready,
            trigger,
            shutdown,
            // It answers to the very end: probes are told that the process is draining.
            serving: tokio::spawn(admin::serve(admin, Arc::new(shared), std::future::pending())),
            tasks: Tasks::new(),
        })
    }

    /// Starts the stages, once the log is there.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let clock = self.sources.clock.clone();
        if let Some(listener) = self.listeners.index.take() {
            start_index(&self.config, listener, &clock, &self.shutdown, &mut self.tasks).await?;
        }
        if let Some(url) = &self.index {
            set(&self.sources.search, searcher(&self.config, url)?);
        }
        if let Some(kafka) = &self.config.log.kafka {
            set(&self.sources.log, open_kafka(kafka, &clock, &self.ready).await?);
        }
        let mut start = Start {
            config: &self.config,
            log: self.sources.log.get().context("no log is open")?,
            index: self.index.as_deref(),
            gateway: self.listeners.gateway.take(),
            syslog: self.listeners.syslog.take(),
            clock: &clock,
            shutdown: &self.shutdown,
            ready: &self.ready,
            tasks: &mut self.tasks,
        };
        start.look_after_log();
        for stage in &self.stages {
            start.stage(*stage).await?;
        }
        self.ready.running();
        Ok(())
    }

    /// Waits until every stage can do its work.
    pub(crate) async fn until_ready(&self) {
        until_ready(&self.ready).await;
    }

    /// Starts the stages and runs them until `stop` is over or one breaks; then drains. `told` is called once, when all
    /// is ready.
    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        told: impl FnOnce(),
    ) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let started = tokio::select! {
            biased;
            () = &mut stop => return self.drain(Ok(())).await,
            started = self.start() => started,
        };
        if started.is_err() {
            return self.drain(started).await;
        }
        let ready = self.ready.clone();
        let told = async move {
            until_ready(&ready).await;
            told();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = self.wait(stop) => result,
            () = told => Ok(()),
        }
    }

    /// Runs what was started until `stop` is over or a stage breaks; then drains.
    pub(crate) async fn wait(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let result = tokio::select! {
            () = stop => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(broken(ended)),
            ended = &mut self.serving => Err(broken(ended.map(|result| ("admin listener", result.map_err(Into::into))))),
        };
        self.drain(result).await
    }

    /// Lets the stages finish and commit what is under way, within the grace time.
    async fn drain(mut self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        let mut result = result;
        self.ready.draining();
        tracing::info!("draining");
        self.trigger.fire();
        let deadline = Instant::now().checked_add(GRACE).unwrap_or_else(Instant::now);
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(Ok((_, Ok(()))))) => {}
                Ok(Some(ended)) => result = result.and(Err(broken(ended))),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        "not all was finished within {} s; it is done again later",
                        GRACE.as_secs()
                    );
                    self.tasks.shutdown().await;
                    break;
                }
            }
        }
        self.serving.abort();
        result
    }
}

async fn until_ready(ready: &Readiness) {
    while !ready.reasons().is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is over with the first SIGTERM or Ctrl-C from now on.
pub(crate) fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = tokio::signal::ctrl_c() => tracing::info!("Ctrl-C"),
        }
    })
}

fn broken(ended: Result<(&'static str, anyhow::Result<()>), JoinError>) -> anyhow::Error {
    match ended {
        Ok((stage, Ok(()))) => anyhow::anyhow!("{stage} ended too early"),
        Ok((stage, Err(error))) => error.context(stage),
        Err(error) => anyhow::anyhow!("a stage broke: {error}"),
    }
}

/// Fills what is filled once.
fn set<T>(cell: &std::sync::OnceLock<T>, value: T) {
    // It is empty: only the process fills it, once.
    if cell.set(value).is_err() {
        tracing::debug!("it was there already");
    }
}

/// Asks the index of an address.
pub(crate) fn searcher(config: &Config, url: &str) -> anyhow::Result<Searcher> {
    let password = std::env::var(PASSWORD_VARIABLE).ok();
    Ok(Searcher::new(Index::new(url, config.sink.user.as_deref(), password.as_deref())?))
}

async fn open_local(config: &Config, clock: &Clock) -> anyhow::Result<SharedLog> {
    let options = stream::local::LocalOptions {
        folder: config.log.data.join("log"),
        partitions: config.log.partitions,
        retention_hours: config.log.retention_hours,
        retention_mib: config.log.retention_mib,
        min_free_mib: config.log.min_free_mib,
        clock: clock.clone(),
    };
    let (log, _local) = stream::local::open(options).await?;
    Ok(log)
}

/// Opens the log on Kafka. Brokers and topics that are not there, or refuse us, are waited for: whoever starts the
/// processes need not start them in an order.
async fn open_kafka(config: &KafkaConfig, clock: &Clock, ready: &Readiness) -> anyhow::Result<SharedLog> {
    let (mut wait, wait_max) = ATTEMPTS;
    let mut told: Option<(String, Instant)> = None;
    loop {
        let error = match stream::kafka::open(config, clock.clone()).await {
            Ok(log) => return Ok(log),
            Err(error @ OpenError::Settings(_)) => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        let is_news = told.as_ref().is_none_or(|(last, at)| *last != error || at.elapsed() >= TELL_EVERY);
        if is_news {
            tracing::warn!("waiting for Kafka: {error}");
            told = Some((error.clone(), Instant::now()));
        }
        ready.waiting(error);
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(wait_max);
    }
}

async fn start_index(
    config: &Config,
    listener: TcpListener,
    clock: &Clock,
    shutdown: &Shutdown,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let folder: PathBuf = config.log.data.join("index");
    let options = embedded::EmbeddedOptions {
        folder,
        writer_mib: config.embedded.writer_mib,
        refresh_ms: config.embedded.refresh_ms,
        clock: clock.clone(),
    };
    let index = tokio::task::spawn_blocking(move || embedded::open(options)).await??;
    let mut shutdown = shutdown.clone();
    let ended = async move { shutdown.wait().await };
    let serving = embedded::serve(index, listener, ended);
    tasks.spawn(async move { ("index", serving.await.context("the embedded index stopped")) });
    Ok(())
}
