//! One history: load, faults, an end of faults, rest, and what then holds.
//!
//! In: a seed. Out: findings, and what happened if somebody wants to know.
//! Never: two runs of one seed that differ.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::headers;
use model::topic::Topic;
use serde_json::Value;
use stream::invariants::{I5, I8};
use stream::simulated::dice::Dice;
use stream::simulated::faults::{Broken, Faults};
use tokio::time::Instant;

use crate::check::{self, Findings};
use crate::index::Rates;
use crate::mutants::Mutant;
use crate::shippers::{Ledger, Shipment, shipments};
use crate::world::{Kind, World};

/// Time within which the events are sent.
const LOAD_MS: u64 = 6_000;
/// Time within which things go wrong.
const FAULTS_MS: u64 = 9_000;
/// After the last fault: session, transaction and stalled requests end, then a fresh event has its ten seconds.
const FRESH: Duration = Duration::from_secs(60);
/// The same where a partition is parked, which is noticed after thirty seconds.
const FRESH_AFTER_PARKING: Duration = Duration::from_secs(110);
/// Time until the watermark has passed the last window.
const WINDOWS: Duration = Duration::from_secs(21);
/// Longest time until everything is at rest after that.
const REST: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// The number of the event that is sent last.
const FRESH_NUMBER: u64 = 999_999;

/// What is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    pub seed: u64,
    pub is_traced: bool,
    pub broken: Option<Broken>,
    pub mutant: Option<Mutant>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub findings: Findings,
    pub trace: Vec<String>,
    pub events: u64,
}

/// Runs one history on a runtime of its own.
pub fn run(plan: Plan) -> Outcome {
    let builder = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = builder().unwrap();
    let mut outcome = Outcome::default();
    let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(history(plan, &mut outcome))));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        outcome.findings.push(text.unwrap_or_else(|| "a panic".to_owned()));
    }
    outcome
}

async fn history(plan: Plan, outcome: &mut Outcome) {
    let mut world = World::new(plan.seed, plan.mutant);
    if plan.is_traced {
        world.cluster.trace();
    }
    let faults = Faults { broken: plan.broken, ..faults(&mut world.dice) };
    world.cluster.note(|| format!("{faults:?}"));
    world.cluster.set_faults(faults.clone());
    let rates = rates(&mut world.dice);
    world.cluster.note(|| format!("{rates:?}"));
    world.index.set_rates(rates);
    for _ in 0..world.dice.between(1, 2) {
        world.add_gateway();
    }
    for kind in Kind::ALL {
        for _ in 0..world.dice.between(1, 2) {
            world.start(kind, None).await;
        }
    }
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let count = world.dice.between(10, 40);
    let all = shipments(&mut world.dice, count, LOAD_MS, crate::world::START);
    let shipping: Vec<_> = all.into_iter().map(|shipment| ship(&mut world, shipment, &ledger)).collect();
    wreck(&mut world).await;
    world.cluster.set_faults(Faults { broken: plan.broken, ..Faults::default() });
    world.index.set_rates(Rates::default());
    world.cluster.note(|| "no more faults".to_owned());
    for kind in Kind::ALL {
        if world.count(kind) == 0 {
            world.start(kind, None).await;
        }
    }
    for shipping in shipping {
        shipping.await.unwrap();
    }
    let patience = if faults.parked > 0 { FRESH_AFTER_PARKING } else { FRESH };
    if !fresh_event_passes(&mut world, &ledger, patience).await {
        outcome.findings.push(format!("{} {}", I5.id, I5.text));
    } else {
        tokio::time::sleep(WINDOWS).await;
        let restless = rests(&world).await;
        outcome.findings.extend(restless.map(|what| format!("{} {}\n    {what}", I5.id, I5.text)));
    }
    if let Some(name) = world.ended() {
        outcome.findings.push(format!("{}: {name} has ended by itself", I8.id));
    }
    while let Some(which) = world.any() {
        world.stop(which).await;
    }
    let ledger = ledger.lock().unwrap().clone();
    outcome.events = ledger.acked.len() as u64;
    if outcome.findings.is_empty() {
        outcome.findings = check::check(&world, &ledger);
    }
    for line in world.index.told() {
        world.cluster.note(|| line);
    }
    outcome.trace = world.cluster.traced();
}

/// A rate: often none, else up to `most`.
fn rate(dice: &mut Dice, most: u64) -> u32 {
    if dice.chance(500) { 0 } else { dice.between(1, most) as u32 }
}

fn faults(dice: &mut Dice) -> Faults {
    Faults {
        latency_ms: dice.below(40),
        marker_ms: [0, 100, 600, 3_000][dice.below(4) as usize],
        subscribe_fails: rate(dice, 200),
        poll_fails: rate(dice, 20),
        short_reads: rate(dice, 400),
        reads_fail: rate(dice, 150),
        empty_fetches: rate(dice, 300),
        parked: if dice.chance(30) { 10 } else { 0 },
        produce_refused: rate(dice, 200),
        produce_cut: rate(dice, 150),
        produce_late: rate(dice, 150),
        duplicates: rate(dice, 200),
        commit_refused: rate(dice, 80),
        commit_cut: rate(dice, 150),
        commit_lost: rate(dice, 100),
        commit_unknown: rate(dice, 150),
        settle_fails: rate(dice, 600),
        commit_slow: rate(dice, 15),
        broken: None,
    }
}

fn rates(dice: &mut Dice) -> Rates {
    Rates {
        latency_ms: dice.below(120),
        refused: rate(dice, 200),
        stored_unsaid: rate(dice, 200),
        unreachable: rate(dice, 150),
        stalled: rate(dice, 40),
        item: rate(dice, 200),
        too_large_beyond: dice.chance(200).then(|| dice.between(1, 3) as usize),
        is_blocked: false,
    }
}

fn ship(world: &mut World, shipment: Shipment, ledger: &Arc<Mutex<Ledger>>) -> tokio::task::JoinHandle<()> {
    let which = world.dice.below(world.gateways.len() as u64) as usize;
    let dice = world.dice.split();
    tokio::spawn(shipment.ship(world.gateways[which].clone(), ledger.clone(), dice))
}

/// Processes come and go, stand still, are taken for dead; the index closes and opens.
async fn wreck(world: &mut World) {
    let end = Instant::now() + Duration::from_millis(FAULTS_MS);
    while Instant::now() < end {
        let pause = world.dice.between(100, 1_200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        wreck_once(world).await;
    }
}

async fn wreck_once(world: &mut World) {
    let Some(which) = world.any() else { return };
    let kind = world.instances[which].kind;
    let millis = Duration::from_millis(world.dice.between(500, 14_000));
    match world.dice.below(13) {
        0..=2 => {
            let (kind, name) = world.kill(which).await;
            come_back(world, kind, name).await;
        }
        3 => {
            let (kind, name) = world.stop(which).await;
            come_back(world, kind, name).await;
        }
        4 | 5 if world.count(kind) < 4 => world.start(kind, None).await,
        4 | 5 => drop(world.kill(which).await),
        6 => world.instances[which].process.freeze(millis),
        7 => world.instances[which].process.deafen(millis),
        8 => world.instances[which].process.expel(),
        9 => {
            let groups = [
                ("mozdef-normalizer", Topic::Raw),
                ("mozdef-match", Topic::Events),
                ("mozdef-window", Topic::Matches),
                ("mozdef-event-sink", Topic::Events),
                ("mozdef-alert-sink", Topic::Alerts),
            ];
            let (group, topic) = groups[world.dice.below(5) as usize];
            let partition = world.dice.below(u64::from(world.partitions())) as u32;
            world.cluster.move_partition(group, topic, partition);
        }
        10 => world.jump(which),
        11 => {
            let is_blocked = world.dice.chance(300);
            let rates = Rates { is_blocked, ..rates(&mut world.dice) };
            world.cluster.note(|| format!("{rates:?}"));
            world.index.set_rates(rates);
        }
        // Not that of alerts: the oracle reads every revision.
        _ => world.cluster.compact(Topic::Windows),
    }
}

/// A process that is gone comes back under its name, or under another, or not at all.
async fn come_back(world: &mut World, kind: Kind, name: String) {
    match world.dice.below(10) {
        0..=3 => world.start(kind, Some(name)).await,
        4..=7 => world.start(kind, None).await,
        _ => {}
    }
}

/// Whether an event that is sent now gets into the index.
async fn fresh_event_passes(world: &mut World, ledger: &Arc<Mutex<Ledger>>, patience: Duration) -> bool {
    let began = Instant::now();
    let mut dice = world.dice.split();
    let shipment = Shipment::fresh(&mut dice, FRESH_NUMBER, world.now());
    ship(world, shipment, ledger).await.unwrap();
    while began.elapsed() < patience {
        tokio::time::sleep(LOOK).await;
        let is_there = |document: &Value| document.pointer("/details/n") == Some(&FRESH_NUMBER.into());
        if world.index.documents().values().any(is_there) {
            world.cluster.note(|| format!("a fresh event has passed after {:?}", began.elapsed()));
            return true;
        }
    }
    false
}

/// Waits until every group has read all that is there and every alert is closed. What does not rest, if something does not.
async fn rests(world: &World) -> Option<String> {
    let began = Instant::now();
    loop {
        let restless = restless(world)?;
        if began.elapsed() >= REST {
            return Some(restless);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn restless(world: &World) -> Option<String> {
    let groups = [
        ("mozdef-normalizer", Topic::Raw),
        ("mozdef-match", Topic::Events),
        ("mozdef-window", Topic::Matches),
        ("mozdef-event-sink", Topic::Events),
        ("mozdef-alert-sink", Topic::Alerts),
    ];
    for (group, topic) in groups {
        for record in world.cluster.records(topic) {
            let committed = world.cluster.committed(group, topic, record.partition);
            if record.headers.get(headers::KIND).is_none() && record.offset >= committed {
                return Some(format!("{group} has committed {committed} and not {}", record.origin()));
            }
        }
    }
    // Windows close by watermarks, which no group is asked about above.
    let left = check::groups_left(world);
    (left > 0).then(|| format!("{left} groups or events are left in {}", Topic::Windows))
}
