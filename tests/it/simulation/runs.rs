//! The tests: many seeds, one seed again, and stages that are wrong on purpose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::metrics::{Stage, metrics};
use stream::invariants::I8;
use stream::simulated::faults::Broken;

use crate::history::{Outcome, Plan, run};
use crate::mutants::Mutant;

/// Seeds of a usual run: about two minutes on two cores.
const SEEDS: u64 = 10_000;
/// Seeds within which a broken promise must be found.
const SEEDS_BROKEN: u64 = 300;

/// One test at a time: each uses every core, and the metrics are those of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Runs plans on every core until one has findings, or `count` have none. Returns it, and how many events there were.
fn first_finding(count: u64, plan: impl Fn(u64) -> Plan + Sync) -> (Option<(Plan, Outcome)>, u64) {
    let (next, events) = (AtomicU64::new(0), AtomicU64::new(0));
    let found: Mutex<Option<(Plan, Outcome)>> = Mutex::new(None);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= count || found.lock().unwrap().is_some() {
            return;
        }
        let plan = plan(number);
        let outcome = run(plan);
        events.fetch_add(outcome.events, Ordering::SeqCst);
        if !outcome.findings.is_empty() {
            let mut found = found.lock().unwrap();
            // The lowest seed, so that the report does not depend on the threads.
            if found.as_ref().is_none_or(|(other, _)| plan.seed < other.seed) {
                *found = Some((plan, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().unwrap();
    (found, events.into_inner())
}

#[test]
fn every_seed_keeps_the_promises() {
    let _alone = alone();
    if let Some(seed) = number("MOZDEF_SIMULATION_SEED") {
        let outcome = run(Plan { seed, is_traced: true, ..Plan::default() });
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.findings.is_empty(), "seed {seed}:\n{}", outcome.findings.join("\n"));
        return;
    }
    let count = number("MOZDEF_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = number("MOZDEF_SIMULATION_FROM").unwrap_or(0);
    // Stages that are wrong on purpose count in the same process.
    let before = Stage::ALL.map(|stage| metrics().totals(stage));
    let began = Instant::now();
    let (found, events) = first_finding(count, |number| Plan { seed: first + number, ..Plan::default() });
    let seconds = began.elapsed().as_secs_f64();
    if let Some((Plan { seed, .. }, outcome)) = found {
        panic!(
            "seed {seed} breaks a promise; MOZDEF_SIMULATION_SEED={seed} repeats it and tells more:\n{}",
            outcome.findings.join("\n")
        );
    }
    println!("{count} seeds from {first}, {events} events acknowledged, {seconds:.1} s");
    for (stage, before) in Stage::ALL.into_iter().zip(before) {
        let now = metrics().totals(stage);
        let (taken, out, dropped, dead) =
            (now.0 - before.0, now.1 - before.1, now.2 - before.2, now.3 - before.3);
        let sum = out + dropped + dead;
        assert_eq!(taken, sum, "{}: {}: {out} + {dropped} + {dead}", I8.id, stage.as_str());
    }
}

#[test]
fn a_seed_repeats_exactly() {
    let _alone = alone();
    for seed in 0..5 {
        let plan = Plan { seed, is_traced: true, ..Plan::default() };
        let (one, two) = (run(plan).trace, run(plan).trace);
        let differs = one.iter().zip(&two).position(|(one, two)| one != two);
        assert_eq!(differs.map(|at| (&one[at], &two[at])), None, "seed {seed}");
        assert_eq!(one.len(), two.len(), "seed {seed}");
        assert!(one.len() > 50, "seed {seed}: {} lines", one.len());
    }
}

#[track_caller]
fn is_found(what: &str, plan: impl Fn(u64) -> Plan + Sync) {
    let _alone = alone();
    let (found, _) = first_finding(SEEDS_BROKEN, plan);
    let Some((plan, outcome)) = found else { panic!("{what}: not found in {SEEDS_BROKEN} seeds") };
    println!("{what}: found by seed {}: {}", plan.seed, outcome.findings[0]);
}

#[test]
fn a_log_that_breaks_a_promise_is_found() {
    for broken in Broken::ALL {
        is_found(&format!("{broken:?}"), |seed| Plan { seed, broken: Some(broken), ..Plan::default() });
    }
}

#[test]
fn a_stage_that_breaks_a_promise_is_found() {
    for mutant in Mutant::ALL {
        is_found(&format!("{mutant:?}"), |seed| Plan { seed, mutant: Some(mutant), ..Plan::default() });
    }
}
