//! The stages that a process may run, and what each of them is made of.
//!
//! In: the configuration and an open log. Out: running loops, each with a word in the process's readiness.
//! Never: a way from one stage to another but the log.

use anyhow::Context;
use correlate::match_worker::MatchWorker;
use correlate::window_worker::WindowWorker;
use ingest::intake::Intake;
use model::config::Config;
use model::time::Clock;
use model::topic::Topic;
use stream::delivery::run_delivery;
use stream::health::Health;
use stream::log::SharedLog;
use stream::shutdown::Shutdown;
use stream::watched::{probe, watched};
use stream::worker::{Worker, WorkerOptions, run_worker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::readiness::{Part, Readiness};

/// What can be started alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Requests to `mozdef.raw`.
    Gateway,
    /// Syslog messages to `mozdef.raw`.
    Syslog,
    /// Events of Papertrail to `mozdef.raw`.
    Papertrail,
    /// Messages of Google Cloud Pub/Sub to `mozdef.raw`.
    PubSub,
    /// Topics of other programs to `mozdef.raw`.
    Kafka,
    /// `mozdef.raw` to `mozdef.events`.
    Normalizer,
    /// `mozdef.events` to `mozdef.matches`, and on to `mozdef.alerts`.
    Correlator,
    /// Events and alerts to the index.
    Sink,
    /// Queues of AMQP to `mozdef.raw`.
    Amqp,
    /// Queues of SQS to `mozdef.raw`.
    Sqs,
}

impl Stage {
    /// All, against the way of an event: who takes is there before who gives.
    pub(crate) const ALL: [Stage; 10] = [
        Stage::Sink,
        Stage::Correlator,
        Stage::Normalizer,
        Stage::Gateway,
        Stage::Kafka,
        Stage::Amqp,
        Stage::Sqs,
        Stage::Syslog,
        Stage::Papertrail,
        Stage::PubSub,
    ];

    /// Whether the configuration asks for it. Stages of the way from raw to index always run; inputs where they are
    /// configured.
    pub(crate) fn is_configured(self, config: &Config) -> bool {
        match self {
            Stage::Syslog => !config.ingest.syslog.is_empty(),
            Stage::Papertrail => !config.ingest.papertrail.is_empty(),
            Stage::PubSub => !config.ingest.pubsub.is_empty(),
            Stage::Gateway | Stage::Normalizer | Stage::Correlator | Stage::Sink => true,
            Stage::Amqp => !config.ingest.amqp.is_empty(),
            Stage::Sqs => !config.ingest.sqs.is_empty(),
            Stage::Kafka => !config.ingest.kafka.is_empty(),
        }
    }

    /// The subcommand.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Stage::Gateway => "gateway",
            Stage::Syslog => "syslog",
            Stage::Papertrail => "papertrail",
            Stage::PubSub => "pubsub",
            Stage::Kafka => "kafka",
            Stage::Normalizer => "normalizer",
            Stage::Correlator => "correlator",
            Stage::Sink => "sink",
            Stage::Amqp => "amqp",
            Stage::Sqs => "sqs",
        }
    }
}

/// The consumer groups, with the topic that each reads.
pub(crate) const GROUPS: [(&str, Topic); 5] = [
    ("mozdef-normalizer", Topic::Raw),
    ("mozdef-match", Topic::Events),
    ("mozdef-window", Topic::Matches),
    ("mozdef-event-sink", Topic::Events),
    ("mozdef-alert-sink", Topic::Alerts),
];

/// What runs in a process, by name; each ends with its result.
pub(crate) type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// What stages are started with.
pub(crate) struct Start<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The open log.
    pub log: &'a SharedLog,
    /// Address of the index, where there is one.
    pub index: Option<&'a str>,
    /// The gateway's listener, where it runs.
    pub gateway: Option<TcpListener>,
    /// The syslog listeners, where they run.
    pub syslog: Option<ingest::syslog::Listeners>,
    /// The time.
    pub clock: &'a Clock,
    /// Tells the loops to end.
    pub shutdown: &'a Shutdown,
    /// Hears how they fare.
    pub ready: &'a Readiness,
    /// Takes them.
    pub tasks: &'a mut Tasks,
}

impl Start<'_> {
    /// Starts one.
    pub(crate) async fn stage(&mut self, stage: Stage) -> anyhow::Result<()> {
        match stage {
            Stage::Gateway => self.gateway(),
            Stage::Syslog => self.syslog(),
            Stage::Papertrail => self.papertrail(),
            Stage::PubSub => self.pubsub(),
            Stage::Kafka => self.kafka(),
            Stage::Normalizer => self.normalizer(),
            Stage::Correlator => self.correlator(),
            Stage::Sink => self.sink().await,
            Stage::Amqp => self.amqp(),
            Stage::Sqs => self.sqs(),
        }
    }

    fn gateway(&mut self) -> anyhow::Result<()> {
        let listener = self.gateway.take().context("the gateway has no listener")?;
        let (http, intake) = (self.config.ingest.http.clone(), self.intake("gateway", "http"));
        let serving = ingest::http::serve(http, intake, listener, self.shutdown.clone());
        self.tasks.spawn(async move { ("gateway", serving.await.context("the gateway stopped")) });
        Ok(())
    }

    fn kafka(&mut self) -> anyhow::Result<()> {
        let (sources, log) = (self.config.ingest.kafka.clone(), self.config.log.kafka.clone());
        let intake = self.intake("kafka", "kafka");
        let running = ingest::kafka::run(sources, log, intake, self.shutdown.clone());
        self.tasks.spawn(async move { ("kafka", running.await.context("the Kafka sources stopped")) });
        Ok(())
    }

    /// Looks after the log and all its topics: loops that have nothing to do would not notice that it is gone.
    pub(crate) fn look_after_log(&mut self) {
        let health = Health::default();
        self.ready.add(Part::Way("log", health.clone()));
        self.probe(&Topic::ALL, health);
    }

    fn probe(&mut self, topics: &'static [Topic], health: Health) {
        let probing = probe(self.log.clone(), topics, health, self.shutdown.clone());
        self.tasks.spawn(async move {
            probing.await;
            ("the log's probe", Ok(()))
        });
    }

    fn amqp(&mut self) -> anyhow::Result<()> {
        let (queues, intake) = (self.config.ingest.amqp.clone(), self.intake("amqp", "amqp"));
        ingest::amqp::check(&queues)?;
        let running = ingest::amqp::run(queues, intake, self.shutdown.clone());
        self.tasks.spawn(async move { ("amqp", running.await.context("the AMQP bridge stopped")) });
        Ok(())
    }

    fn sqs(&mut self) -> anyhow::Result<()> {
        let (queues, intake) = (self.config.ingest.sqs.clone(), self.intake("sqs", "sqs"));
        let running = ingest::sqs::run(queues, intake, self.shutdown.clone());
        self.tasks.spawn(async move { ("sqs", running.await.context("the SQS bridge stopped")) });
        Ok(())
    }

    fn syslog(&mut self) -> anyhow::Result<()> {
        let listeners = self.syslog.take().context("there are no syslog listeners")?;
        let running = ingest::syslog::run(listeners, self.intake("syslog", "syslog"), self.shutdown.clone());
        self.tasks.spawn(async move { ("syslog", running.await.context("the syslog listeners stopped")) });
        Ok(())
    }

    fn papertrail(&mut self) -> anyhow::Result<()> {
        let config = self.config.ingest.papertrail.clone();
        let intake = self.intake("papertrail", "papertrail");
        let running = ingest::papertrail::run(config, intake, self.shutdown.clone());
        self.tasks.spawn(async move { ("papertrail", running.await.context("Papertrail's puller stopped")) });
        Ok(())
    }

    fn pubsub(&mut self) -> anyhow::Result<()> {
        let config = self.config.ingest.pubsub.clone();
        let running = ingest::pubsub::run(config, self.intake("pubsub", "pubsub"), self.shutdown.clone());
        self.tasks.spawn(async move { ("pubsub", running.await.context("Pub/Sub's puller stopped")) });
        Ok(())
    }

    /// The way into the log of one input, with its word in the readiness.
    fn intake(&mut self, stage: &'static str, input: &'static str) -> Intake {
        let health = Health::default();
        self.ready.add(Part::Way(stage, health.clone()));
        self.probe(&[Topic::Raw, Topic::Dead], health.clone());
        Intake::new(watched(self.log.clone(), health), self.clock.clone(), input)
    }

    fn normalizer(&mut self) -> anyhow::Result<()> {
        let worker = normalize::worker::NormalizerWorker::new(&self.config.normalize, self.log.id())?;
        self.worker("normalizer", Box::new(worker), normalize::worker::options());
        Ok(())
    }

    fn correlator(&mut self) -> anyhow::Result<()> {
        let config = &self.config.correlate;
        let rules = correlate::reload::start(config, self.shutdown.clone())?;
        let matcher = MatchWorker::new(rules.clone(), config, self.log.partitions(Topic::Matches));
        let window = WindowWorker::new(rules, config, self.log.partitions(Topic::Events));
        let options = WorkerOptions {
            group: "mozdef-match",
            stage: model::metrics::Stage::Match,
            input: Topic::Events,
            changelog: None,
            health: Health::default(),
        };
        self.worker("match", Box::new(matcher), options);
        let options = WorkerOptions {
            group: "mozdef-window",
            stage: model::metrics::Stage::Window,
            input: Topic::Matches,
            changelog: Some(Topic::Windows),
            health: Health::default(),
        };
        self.worker("window", Box::new(window), options);
        Ok(())
    }

    async fn sink(&mut self) -> anyhow::Result<()> {
        let index = self.index.context("the sink has no index; set sink.url")?;
        let parts = sink::start(&self.config.sink, index).await?;
        self.ready.add(Part::Index(parts.readiness));
        for (name, options, delivery) in parts.deliveries {
            self.ready.add(Part::Loop(name, options.health.clone()));
            let (log, clock, shutdown) = (self.log.clone(), self.clock.clone(), self.shutdown.clone());
            let running = run_delivery(log, options, delivery, clock, shutdown);
            self.tasks.spawn(async move { (name, running.await.context("the sink stopped")) });
        }
        Ok(())
    }

    fn worker(&mut self, name: &'static str, worker: Box<dyn Worker>, options: WorkerOptions) {
        self.ready.add(Part::Loop(name, options.health.clone()));
        let (log, clock, shutdown) = (self.log.clone(), self.clock.clone(), self.shutdown.clone());
        let running = run_worker(log, options, worker, clock, shutdown);
        self.tasks.spawn(async move { (name, running.await.with_context(|| format!("{name} stopped"))) });
    }
}
