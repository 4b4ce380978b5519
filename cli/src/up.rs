//! Every stage in one process: the local log, the embedded index, gateway,
//! normalizer, correlator and sinks, and the admin listener.
//!
//! In: a configuration. Out: a running MozDef, until it is told to stop or a
//! stage breaks. Never: an acknowledgement before the log's fsync.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use correlate::match_worker::MatchWorker;
use correlate::window_worker::WindowWorker;
use model::config::Config;
use model::metrics::Stage;
use model::time::Clock;
use model::topic::Topic;
use stream::health::Health;
use stream::log::SharedLog;
use stream::shutdown::{Shutdown, Trigger};
use stream::worker::{Worker, WorkerOptions, run_worker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::admin::{self, Admin, Readiness};

/// A running MozDef.
pub(crate) struct Running {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the index answers.
    pub index: String,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// Events and alerts in the index.
    pub search: sink::search::Searcher,
    ready: Arc<Readiness>,
    trigger: Trigger,
    stages: JoinSet<(&'static str, anyhow::Result<()>)>,
}

/// Listeners are bound before anything else, so that a taken port is told at once.
struct Listeners {
    gateway: TcpListener,
    index: Option<TcpListener>,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Listeners> {
        let index = match config.sink.url {
            Some(_) => None,
            None => Some(bind(config.embedded.listen, "embedded.listen").await?),
        };
        Ok(Listeners {
            gateway: bind(config.ingest.http.listen, "ingest.http.listen").await?,
            index,
            admin: bind(config.admin.listen, "admin.listen").await?,
        })
    }
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

/// Starts everything; when it returns, events are taken.
pub(crate) async fn start(config: &Config, clock: Clock) -> anyhow::Result<Running> {
    let data = config.log.data.clone();
    let listeners = Listeners::bind(config).await?;
    let log = open_log(config, &clock).await?;
    let (trigger, shutdown) = stream::shutdown::channel();
    let mut stages = JoinSet::new();

    let index = match (&config.sink.url, listeners.index) {
        (Some(url), _) => url.clone(),
        (None, Some(listener)) => {
            let url = format!("http://{}", listener.local_addr()?);
            start_index(config, data.join("index"), listener, &clock, &shutdown, &mut stages).await?;
            url
        }
        (None, None) => bail!("no index: neither sink.url nor embedded.listen is in use"),
    };
    let (search, sinks) = start_sinks(config, &index, &log, &clock, &shutdown, &mut stages).await?;
    start_correlator(config, &log, &clock, &shutdown, &mut stages)?;
    start_normalizer(config, &log, &clock, &shutdown, &mut stages)?;

    let gateway = listeners.gateway.local_addr()?;
    let serving = ingest::http::serve(
        config.ingest.http.clone(),
        log.clone(),
        clock.clone(),
        listeners.gateway,
        shutdown.clone(),
    );
    stages.spawn(async move { ("gateway", serving.await.context("the gateway stopped")) });

    let ready = Arc::new(Readiness::default());
    let admin_address = listeners.admin.local_addr()?;
    let shared = Arc::new(Admin {
        log: log.clone(),
        search: search.clone(),
        ready: ready.clone(),
        sinks,
        clock,
        serves: config.admin.serves,
    });
    let serving = admin::serve(listeners.admin, shared, ended(shutdown));
    stages.spawn(async move { ("admin", serving.await.context("the admin listener stopped")) });
    ready.set(true);
    Ok(Running { gateway, index, admin: admin_address, search, ready, trigger, stages })
}

impl Running {
    /// Runs until `stop` is over or a stage breaks; then drains.
    pub(crate) async fn wait(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut result = tokio::select! {
            () = stop => Ok(()),
            Some(ended) = self.stages.join_next() => Err(broken(ended)),
        };
        self.ready.set(false);
        tracing::info!("draining");
        self.trigger.fire();
        while let Some(ended) = self.stages.join_next().await {
            if let Ok((_, Ok(()))) = &ended {
                continue;
            }
            result = result.and(Err(broken(ended)));
        }
        result
    }
}

fn broken(ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok((stage, Ok(()))) => anyhow::anyhow!("{stage} ended too early"),
        Ok((stage, Err(error))) => error.context(stage),
        Err(error) => anyhow::anyhow!("a stage broke: {error}"),
    }
}

async fn ended(mut shutdown: Shutdown) {
    shutdown.wait().await;
}

async fn open_log(config: &Config, clock: &Clock) -> anyhow::Result<SharedLog> {
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

async fn start_index(
    config: &Config,
    folder: PathBuf,
    listener: TcpListener,
    clock: &Clock,
    shutdown: &Shutdown,
    stages: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
) -> anyhow::Result<()> {
    let options = embedded::EmbeddedOptions {
        folder,
        writer_mib: config.embedded.writer_mib,
        refresh_ms: config.embedded.refresh_ms,
        clock: clock.clone(),
    };
    let index = tokio::task::spawn_blocking(move || embedded::open(options)).await??;
    let serving = embedded::serve(index, listener, ended(shutdown.clone()));
    stages.spawn(async move { ("index", serving.await.context("the embedded index stopped")) });
    Ok(())
}

async fn start_sinks(
    config: &Config,
    index: &str,
    log: &SharedLog,
    clock: &Clock,
    shutdown: &Shutdown,
    stages: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
) -> anyhow::Result<(sink::search::Searcher, sink::Readiness)> {
    let parts = sink::start(&config.sink, index).await?;
    for (name, options, delivery) in parts.deliveries {
        let running =
            stream::delivery::run_delivery(log.clone(), options, delivery, clock.clone(), shutdown.clone());
        stages.spawn(async move { (name, running.await.context("the sink stopped")) });
    }
    Ok((parts.search, parts.readiness))
}

fn start_normalizer(
    config: &Config,
    log: &SharedLog,
    clock: &Clock,
    shutdown: &Shutdown,
    stages: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
) -> anyhow::Result<()> {
    let worker = normalize::worker::NormalizerWorker::new(&config.normalize, log.id())?;
    let options = normalize::worker::options();
    let running = run_worker(log.clone(), options, Box::new(worker), clock.clone(), shutdown.clone());
    stages.spawn(async move { ("normalizer", running.await.context("the normalizer stopped")) });
    Ok(())
}

fn start_correlator(
    config: &Config,
    log: &SharedLog,
    clock: &Clock,
    shutdown: &Shutdown,
    stages: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
) -> anyhow::Result<()> {
    let rules = correlate::reload::start(&config.correlate, shutdown.clone())?;
    let matcher = MatchWorker::new(rules.clone(), &config.correlate, log.partitions(Topic::Matches));
    let window = WindowWorker::new(rules, &config.correlate, log.partitions(Topic::Events));
    let workers: [(&'static str, Box<dyn Worker>, WorkerOptions); 2] = [
        (
            "match",
            Box::new(matcher),
            WorkerOptions {
                group: "mozdef-match",
                stage: Stage::Match,
                input: Topic::Events,
                changelog: None,
                health: Health::default(),
            },
        ),
        (
            "window",
            Box::new(window),
            WorkerOptions {
                group: "mozdef-window",
                stage: Stage::Window,
                input: Topic::Matches,
                changelog: Some(Topic::Windows),
                health: Health::default(),
            },
        ),
    ];
    for (name, worker, options) in workers {
        let running = run_worker(log.clone(), options, worker, clock.clone(), shutdown.clone());
        stages.spawn(async move { (name, running.await.context("the correlator stopped")) });
    }
    Ok(())
}
