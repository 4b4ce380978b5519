//! The whole spine over the simulated log: gateways, normalizers, correlators
//! and sinks, in any number, with their real code.
//!
//! In: a seed. Out: processes that come, go, stand still and are killed.
//! Never: a socket, a thread, or the machine's time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use correlate::match_worker::MatchWorker;
use correlate::window_worker::WindowWorker;
use model::config::{HttpConfig, SinkConfig};
use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::delivery::run_delivery;
use stream::health::Health;
use stream::log::{LogError, SharedLog};
use stream::shutdown::{Shutdown, Trigger, channel};
use stream::simulated::dice::Dice;
use stream::simulated::{Cluster, Process};
use stream::worker::{Worker, WorkerOptions, run_worker};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::index::SimulatedIndex;
use crate::mutants::Mutant;
use crate::oracle;

/// When a history begins: midday, so that no history meets midnight.
pub const START: Timestamp = Timestamp::from_millis(1_700_049_600_000);
/// Steps in which the clocks of the processes go on.
const TICK: Duration = Duration::from_millis(20);
/// How far the clocks of gateways and normalizers may be off, in milliseconds.
pub const SKEW_MS: u64 = 400;

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normalizer,
    Correlator,
    Sink,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Normalizer, Kind::Correlator, Kind::Sink];

    fn name(self) -> &'static str {
        match self {
            Kind::Normalizer => "normalizer",
            Kind::Correlator => "correlator",
            Kind::Sink => "sink",
        }
    }
}

/// A running process of a stage.
pub struct Instance {
    pub kind: Kind,
    pub name: String,
    pub process: Process,
    /// One for each task: two tasks that hear one signal are woken in no certain order.
    triggers: Vec<Trigger>,
    tasks: Vec<JoinHandle<Result<(), LogError>>>,
}

/// The tasks of a process.
#[derive(Default)]
struct Running {
    triggers: Vec<Trigger>,
    tasks: Vec<JoinHandle<Result<(), LogError>>>,
}

impl Running {
    fn spawn<F>(&mut self, task: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output = Result<(), LogError>> + Send + 'static,
    {
        let (trigger, shutdown) = channel();
        self.triggers.push(trigger);
        self.tasks.push(tokio::spawn(task(shutdown)));
    }
}

/// Clocks with how far they are off, in milliseconds.
type Clocks = Arc<Mutex<Vec<(String, Clock, i64)>>>;

/// Everything.
pub struct World {
    pub cluster: Cluster,
    pub index: Arc<SimulatedIndex>,
    pub dice: Dice,
    pub instances: Vec<Instance>,
    pub gateways: Vec<Router>,
    began: Instant,
    clocks: Clocks,
    keeper: JoinHandle<()>,
    partitions: u32,
    revise_ms: u64,
    numbered: u32,
    mutant: Option<Mutant>,
}

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let mut dice = Dice::new(seed);
        let clock = Clock::manual(START);
        let partitions = dice.between(1, 3) as u32;
        let cluster = Cluster::start(dice.roll(), partitions, clock.clone());
        let clocks: Clocks = Arc::new(Mutex::new(vec![("broker".to_owned(), clock, 0)]));
        let began = Instant::now();
        let keeper = tokio::spawn(keep_time(clocks.clone(), began));
        let index = SimulatedIndex::new(dice.roll());
        let revise_ms = if dice.chance(500) { 0 } else { 1_500 };
        World {
            cluster,
            index,
            instances: Vec::new(),
            gateways: Vec::new(),
            began,
            clocks,
            keeper,
            partitions,
            revise_ms,
            numbered: 0,
            mutant,
            dice,
        }
    }

    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The time, without any skew.
    pub fn now(&self) -> Timestamp {
        time(self.began, 0)
    }

    fn clock(&mut self, name: &str, off_ms: i64) -> Clock {
        let clock = Clock::manual(time(self.began, off_ms));
        self.clocks.lock().unwrap().push((name.to_owned(), clock.clone(), off_ms));
        clock
    }

    fn small_skew(&mut self) -> i64 {
        self.dice.between(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64
    }

    /// Starts a gateway.
    pub fn add_gateway(&mut self) {
        let name = format!("gateway-{}", self.gateways.len());
        let skew = self.small_skew();
        let clock = self.clock(&name, skew);
        let (log, _process) = self.cluster.client(&name, clock.clone());
        let config = HttpConfig { ack_timeout_ms: 1_500, ..HttpConfig::default() };
        self.gateways
            .push(ingest::http::router(config, ingest::intake::Intake::new(log, clock, "http")).unwrap());
    }

    /// Starts a process of a stage; `name`: that of one that is gone, whose transactions it ends.
    pub async fn start(&mut self, kind: Kind, name: Option<String>) {
        self.numbered += 1;
        let name = name.unwrap_or_else(|| format!("{}-{}", kind.name(), self.numbered));
        let off_ms = match kind {
            Kind::Normalizer => self.small_skew(),
            Kind::Correlator | Kind::Sink => self.small_skew() * self.dice.between(1, 2_000) as i64,
        };
        let clock = self.clock(&name, off_ms);
        let (log, process) = self.cluster.client(&name, clock.clone());
        let mut running = Running::default();
        match kind {
            Kind::Normalizer => {
                let (options, worker) = (normalize::worker::options(), Box::new(oracle::normalizer()));
                running.spawn(|shutdown| run_worker(log, options, worker, clock, shutdown));
            }
            Kind::Correlator => {
                for (options, worker) in self.correlator(&log) {
                    let (log, clock) = (log.clone(), clock.clone());
                    running.spawn(|shutdown| run_worker(log, options, worker, clock, shutdown));
                }
            }
            Kind::Sink => {
                for (_, options, delivery) in self.sinks().await.deliveries {
                    let delivery = self.mutant.map_or(delivery.clone(), |mutant| mutant.delivery(delivery));
                    let (log, clock) = (log.clone(), clock.clone());
                    running.spawn(|shutdown| run_delivery(log, options, delivery, clock, shutdown));
                }
            }
        }
        let Running { triggers, tasks } = running;
        self.cluster.note(|| format!("{name} starts, its clock {off_ms} ms off"));
        self.instances.push(Instance { kind, name, process, triggers, tasks });
    }

    async fn sinks(&mut self) -> sink::Parts {
        let index = sink::index::Index::over(self.index.clone(), "the simulated index");
        sink::start_over(&SinkConfig::default(), index, self.dice.roll()).await
    }

    fn correlator(&self, log: &SharedLog) -> [(WorkerOptions, Box<dyn Worker>); 2] {
        let config = oracle::correlation(self.revise_ms);
        let matcher = MatchWorker::new(oracle::rules(), &config, log.partitions(Topic::Matches));
        let window = WindowWorker::new(oracle::rules(), &config, log.partitions(Topic::Events));
        let options = |group, stage, input, changelog| WorkerOptions {
            group,
            stage,
            input,
            changelog,
            health: Health::default(),
        };
        let window: Box<dyn Worker> = match self.mutant {
            Some(mutant) => mutant.worker(Box::new(window)),
            None => Box::new(window),
        };
        [
            (
                options("mozdef-match", Stage::Match, Topic::Events, None),
                Box::new(matcher) as Box<dyn Worker>,
            ),
            (options("mozdef-window", Stage::Window, Topic::Matches, Some(Topic::Windows)), window),
        ]
    }

    /// How many processes of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.instances.iter().filter(|instance| instance.kind == kind).count()
    }

    /// One of the processes.
    pub fn any(&mut self) -> Option<usize> {
        let count = self.instances.len() as u64;
        (count > 0).then(|| self.dice.below(count) as usize)
    }

    /// A process ends without a word, wherever it stands.
    pub async fn kill(&mut self, which: usize) -> (Kind, String) {
        let instance = self.instances.swap_remove(which);
        instance.process.kill();
        for task in &instance.tasks {
            task.abort();
        }
        for task in instance.tasks {
            assert_good(&instance.name, task.await);
        }
        (instance.kind, instance.name)
    }

    /// A process is told to end, and drains.
    pub async fn stop(&mut self, which: usize) -> (Kind, String) {
        let instance = self.instances.swap_remove(which);
        self.cluster.note(|| format!("{} is told to end", instance.name));
        instance.triggers.iter().for_each(Trigger::fire);
        for task in instance.tasks {
            assert_good(&instance.name, task.await);
        }
        self.cluster.note(|| format!("{} has ended", instance.name));
        (instance.kind, instance.name)
    }

    /// The clock of a process jumps.
    pub fn jump(&mut self, which: usize) {
        let instance = &self.instances[which];
        let off = match instance.kind {
            Kind::Normalizer => self.dice.between(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64,
            Kind::Correlator | Kind::Sink => self.dice.between(0, 7_200_000) as i64 - 3_600_000,
        };
        let name = &instance.name;
        self.cluster.note(|| format!("the clock of {name} jumps: {off} ms off"));
        for (_, _, old) in self.clocks.lock().unwrap().iter_mut().filter(|(owner, _, _)| owner == name) {
            *old = off;
        }
    }

    /// A stage that has ended by itself, if one has.
    pub fn ended(&self) -> Option<&str> {
        let is_over = |instance: &&Instance| instance.tasks.iter().any(JoinHandle::is_finished);
        self.instances.iter().find(is_over).map(|instance| instance.name.as_str())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn assert_good(name: &str, ended: Result<Result<(), LogError>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{name} has ended: {error}"),
        Err(error) => assert!(error.is_cancelled(), "{name} has panicked: {error}"),
    }
}

fn time(began: Instant, off_ms: i64) -> Timestamp {
    let passed = i64::try_from(began.elapsed().as_millis()).unwrap();
    START.plus_millis(passed + off_ms)
}

async fn keep_time(clocks: Clocks, began: Instant) {
    loop {
        tokio::time::sleep(TICK).await;
        for (_, clock, off_ms) in clocks.lock().unwrap().iter() {
            clock.set(time(began, *off_ms));
        }
    }
}
