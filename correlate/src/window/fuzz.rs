//! The engine against the batch oracle, over random histories.
//!
//! `MOZDEF_FUZZ_CASES` sets how many; `MOZDEF_FUZZ_SEED` where they begin. A
//! failure prints its seed. Wrong variants must be caught by the same fuzz.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ids::EventId;

use crate::window::histories::{History, Match, Random, Step, history, late};
use crate::window::oracle::{self, Expected};
use crate::window::state::{decode_group, encode_event, encode_head};
use crate::window::store::{Images, Inserted, Store};
use crate::window::watermarks::Watermarks;
use crate::window::{Entry, Mark, Phase, Revision, Sample, Spec};

const SAMPLES: usize = 3;

/// The field that is counted.
const FIELD: u32 = 7;

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number_of("MOZDEF_FUZZ_SEED", 1);
    first..first + number_of("MOZDEF_FUZZ_CASES", default)
}

fn spec(history: &History) -> Spec {
    Spec {
        timespan_ms: history.timespan_ms,
        kind: history.kind,
        condition: history.condition,
        limits: history.limits,
        samples: SAMPLES,
        revise_ms: 0,
        entries_max: 10_000,
    }
}

fn sample(entry: &Match) -> Arc<Sample> {
    let origin = format!("mozdef.raw/{}/{}", entry.id, entry.time).into();
    let values = [(FIELD, oracle::value(Mark { time: entry.time, id: entry.id }).into())].into();
    Arc::new(Sample { origin, body: entry.id.as_bytes()[..].into(), values, ..Sample::default() })
}

/// Ways to be wrong that the fuzz must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Right.
    Nothing,
    /// The watermark is one too high: times are decided too early.
    WatermarkOneAhead,
    /// Lateness is not taken off.
    LatenessIgnored,
    /// The window is one millisecond too long, and so is the gap that ends an episode.
    WindowClosedBelow,
    /// The window is one millisecond too short.
    WindowOpenAbove,
    /// Only ids are compared, so a re-sent event counts once for ever.
    IdsForEver,
    /// What was forgotten is not counted.
    AggregatesLost,
    /// What was not committed stays.
    NoRollback,
    /// Watermarks of a part of the partitions count as all.
    UnheardIgnored,
}

type Log = Vec<(u8, Revision)>;

/// One window partition, as the window worker runs it.
struct Engine {
    store: Store,
    watermarks: Watermarks,
    lateness_ms: i64,
    late: Vec<usize>,
    log: Log,
    wrong: Wrong,
    seen: std::collections::BTreeSet<(u8, EventId)>,
}

impl Engine {
    fn new(history: &History, wrong: Wrong) -> Engine {
        let mut spec = spec(history);
        match wrong {
            Wrong::WindowClosedBelow => spec.timespan_ms += 1,
            Wrong::WindowOpenAbove => spec.timespan_ms -= 1,
            _ => {}
        }
        let partitions = if wrong == Wrong::UnheardIgnored { 1 } else { history.partitions };
        Engine {
            store: Store::new(spec, Images::Keep, crate::window::BEGINNING),
            watermarks: Watermarks::new(partitions),
            lateness_ms: if wrong == Wrong::LatenessIgnored { 0 } else { history.lateness_ms },
            late: Vec::new(),
            log: Vec::new(),
            wrong,
            seen: Default::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        let log = &mut self.log;
        let mut out = |key: &[u8], revision| log.push((key[0], revision));
        match step {
            Step::Watermarks(map) => {
                self.watermarks.hear(map.iter().map(|(&partition, &time)| (partition, time)));
                let ahead = i64::from(self.wrong == Wrong::WatermarkOneAhead);
                let low = self.watermarks.low().saturating_sub(self.lateness_ms).saturating_add(ahead);
                self.store.advance(low, 0, &mut out);
            }
            Step::Match(entry) => {
                if self.wrong == Wrong::IdsForEver && !self.seen.insert((entry.group, entry.id)) {
                    return;
                }
                let Match { group, time, id, number } = *entry;
                let fact = oracle::fact(self.store.spec().kind, Mark { time, id });
                let entry = Entry { time, id, fact, sample: Some(sample(entry)) };
                if let Inserted::Late(by) = self.store.insert(&[group], entry, 0, &mut out) {
                    assert!(by > 0);
                    self.late.push(number);
                }
            }
        }
    }

    /// What the changelog holds, updated by what changed.
    fn flush(&mut self, changelog: &mut Changelog) {
        self.store.flush(|change| {
            let key = change.key[0];
            changelog.heads.remove(&key);
            if !change.group.is_empty() {
                changelog.heads.insert(key, encode_head(change.group));
            }
            for mark in change.events {
                changelog.events.remove(&(key, mark));
                if let Some(event) = encode_event(change.group, mark) {
                    changelog.events.insert((key, mark), event);
                }
            }
        });
    }

    fn restore(&mut self, history: &History, changelog: &Changelog) {
        let mut store = Store::new(spec(history), Images::Keep, changelog.watermark);
        for (&key, head) in &changelog.heads {
            let events = changelog.events.iter().filter(|((group, _), _)| *group == key);
            let events = events.map(|((_, mark), bytes)| (*mark, &bytes[..])).collect::<Vec<_>>();
            let mut group = decode_group(head, &events, store.spec()).unwrap();
            if self.wrong == Wrong::AggregatesLost
                && let Some(more) = group.more.as_deref_mut()
            {
                more.episodes.iter_mut().for_each(|episode| episode.count = 0);
            }
            store.restore(&[key], group);
        }
        self.store = store;
        self.watermarks = Watermarks::restore(history.partitions, changelog.heard.clone(), changelog.low);
    }
}

#[derive(Clone, Default)]
struct Changelog {
    heads: BTreeMap<u8, Vec<u8>>,
    events: BTreeMap<(u8, Mark), Vec<u8>>,
    heard: BTreeMap<u32, i64>,
    low: i64,
    watermark: i64,
}

/// Runs with commits, aborts and crashes at random steps, as `chaos` says; without, straight through.
fn run(history: &History, wrong: Wrong, mut chaos: Option<Random>) -> Engine {
    let mut engine = Engine::new(history, wrong);
    let beginning = crate::window::BEGINNING;
    let mut changelog = Changelog { low: beginning, watermark: beginning, ..Changelog::default() };
    let (mut next, mut committed, mut faults) = (0, (0, 0, 0), 0);
    while let Some(step) = history.steps.get(next) {
        engine.step(step);
        next += 1;
        let Some(random) = &mut chaos else { continue };
        if random.chance(20) {
            engine.flush(&mut changelog);
            engine.store.commit();
            changelog.heard = engine.watermarks.heard().clone();
            changelog.low = engine.watermarks.low();
            changelog.watermark = engine.store.watermark();
            committed = (next, engine.log.len(), engine.late.len());
        } else if random.chance(12) && faults < 12 {
            faults += 1;
            if random.chance(50) {
                engine.restore(history, &changelog);
            } else if wrong != Wrong::NoRollback {
                engine.store.rollback();
                engine.watermarks =
                    Watermarks::restore(history.partitions, changelog.heard.clone(), changelog.low);
            }
            next = committed.0;
            engine.log.truncate(committed.1);
            engine.late.truncate(committed.2);
        }
    }
    engine.flush(&mut changelog);
    engine.store.commit();
    assert!(wrong != Wrong::Nothing || engine.store.is_empty(), "groups are left: {:?}", engine.store);
    assert!(
        wrong != Wrong::Nothing || (changelog.heads.is_empty() && changelog.events.is_empty()),
        "left in the changelog: {:?} {:?}",
        changelog.heads,
        changelog.events
    );
    engine
}

/// The final unmerged alerts by group, as the oracle states them.
fn finals(log: &Log) -> Vec<(u8, Expected)> {
    let closed = log.iter().filter(|(_, revision)| revision.phase == Phase::Closed);
    let mut alerts = closed
        .map(|(group, r)| {
            let samples = r.events.iter().take(SAMPLES).map(|kept| kept.mark).collect();
            let tops = r.tops.of(FIELD);
            let tops = tops.into_iter().map(|one| (one.value.to_string(), one.count, one.first)).collect();
            let expected =
                Expected { first: r.first, last: r.last, count: r.count, samples, peak: r.peak, tops };
            (*group, expected)
        })
        .collect::<Vec<_>>();
    alerts.sort();
    alerts
}

/// Groups go their own ways: only the order within each is certain.
fn by_group(log: &Log) -> Log {
    let mut log = log.clone();
    log.sort_by_key(|(group, _)| *group);
    log
}

fn expected(history: &History) -> Vec<(u8, Expected)> {
    let late = late(history);
    let mut groups = BTreeMap::<u8, Vec<Mark>>::new();
    for step in &history.steps {
        if let Step::Match(m) = step
            && !late.contains(&m.number)
        {
            groups.entry(m.group).or_default().push(Mark { time: m.time, id: m.id });
        }
    }
    let alerts = |(group, marks): (&u8, &Vec<Mark>)| {
        let alerts = oracle::alerts(&spec(history), SAMPLES, marks);
        alerts.into_iter().map(|alert| (*group, alert)).collect::<Vec<_>>()
    };
    groups.iter().flat_map(alerts).collect()
}

fn wrong_somewhere(history: &History, engine: &Engine) -> bool {
    finals(&engine.log) != expected(history) || engine.late != late(history)
}

/// Revisions count up by one, only the last is not open, and samples have their events.
fn check_revisions(seed: u64, log: &Log) {
    let mut open = BTreeMap::<(u8, Mark), u64>::new();
    for (group, revision) in log {
        let number = open.remove(&(*group, revision.firing)).unwrap_or(0) + 1;
        assert_eq!(revision.number, number, "seed {seed}: {revision:?}");
        if revision.phase == Phase::Open {
            open.insert((*group, revision.firing), number);
        }
        for (rank, kept) in revision.events.iter().enumerate() {
            let sample = kept.sample.as_ref().unwrap_or_else(|| panic!("seed {seed}: {kept:?}"));
            let expected = if rank < SAMPLES { &kept.mark.id.as_bytes()[..] } else { &[] };
            assert!(rank >= SAMPLES || &*sample.body == expected, "seed {seed}: {kept:?}");
        }
    }
    assert!(open.is_empty(), "seed {seed}: not closed: {open:?}");
}

#[test]
fn alerts_equal_the_oracle_and_crashes_change_nothing() {
    let (mut alerts, mut merges, mut lates) = (0, 0, 0);
    let mut kinds = BTreeMap::<String, usize>::new();
    for seed in seeds(6_000) {
        let history = history(seed);
        let straight = run(&history, Wrong::Nothing, None);
        assert_eq!(finals(&straight.log), expected(&history), "seed {seed}: {history:?}");
        assert_eq!(straight.late, late(&history), "seed {seed}");
        check_revisions(seed, &straight.log);
        let shaken = run(&history, Wrong::Nothing, Some(Random::new(seed ^ 0x5eed)));
        for (shaken, straight) in by_group(&shaken.log).iter().zip(&by_group(&straight.log)) {
            assert_eq!(shaken, straight, "seed {seed}: crashes changed something");
        }
        assert_eq!(shaken.log.len(), straight.log.len(), "seed {seed}: crashes changed something");
        assert_eq!(shaken.late, straight.late, "seed {seed}");
        let fired = finals(&straight.log).len();
        *kinds.entry(format!("{:?}", history.kind)).or_default() += fired;
        alerts += fired;
        merges += straight.log.iter().filter(|(_, r)| matches!(r.phase, Phase::Merged(_))).count();
        lates += straight.late.len();
    }
    println!("{alerts} alerts, {merges} merged, {lates} late; by kind {kinds:?}");
    assert!(alerts > 3_000 && merges > 100 && lates > 1_000, "{alerts} {merges} {lates}: dull histories");
    assert!(kinds.len() >= 11 && kinds.values().all(|fired| *fired > 20), "{kinds:?}: dull histories");
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    for seed in seeds(1_500) {
        let mut history = history(seed);
        let last = history.steps.pop().unwrap();
        history.steps.retain(|step| matches!(step, Step::Match(_)));
        let mut shuffled = history.clone();
        Random::new(seed ^ 0x0dd).shuffle(&mut shuffled.steps);
        history.steps.push(last.clone());
        shuffled.steps.push(last);
        let (a, b) = (run(&history, Wrong::Nothing, None), run(&shuffled, Wrong::Nothing, None));
        assert_eq!(finals(&a.log), finals(&b.log), "seed {seed}");
        assert_eq!(finals(&a.log), expected(&history), "seed {seed}");
    }
}

#[test]
fn every_wrong_variant_is_caught() {
    use Wrong::{
        AggregatesLost, IdsForEver, LatenessIgnored, NoRollback, UnheardIgnored, WatermarkOneAhead,
        WindowClosedBelow, WindowOpenAbove,
    };
    for wrong in [
        WatermarkOneAhead,
        LatenessIgnored,
        WindowClosedBelow,
        WindowOpenAbove,
        IdsForEver,
        AggregatesLost,
        NoRollback,
        UnheardIgnored,
    ] {
        let caught = (1..2_000).find(|&seed| {
            let history = history(seed);
            let chaos = matches!(wrong, AggregatesLost | NoRollback).then(|| Random::new(seed ^ 0x5eed));
            wrong_somewhere(&history, &run(&history, wrong, chaos))
        });
        assert!(caught.is_some(), "{wrong:?} is not noticed");
    }
}
