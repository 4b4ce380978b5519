//! What holds when a group gets too large, and when revisions must wait.

use std::sync::Arc;

use model::ids::EventId;

use crate::rule::{Condition, Kind};
use crate::window::folding::BODY_BYTES_MAX;
use crate::window::group::{Group, Step};
use crate::window::histories::Random;
use crate::window::journal::Journal;
use crate::window::oracle;
use crate::window::state::{decode_group, encode_event, encode_head};
use crate::window::{BEGINNING, Entry, Mark, ORIGINS_MAX, Phase, Revision, Sample, Spec};

fn spec(at_least: u64, entries_max: usize) -> Spec {
    let condition = Condition { gte: Some(at_least), ..Condition::default() };
    let (kind, limits) = (Kind::EventCount, Condition::default());
    Spec { timespan_ms: 1_000, kind, condition, limits, samples: 3, revise_ms: 0, entries_max }
}

fn mark(n: u64, time: i64) -> Mark {
    Mark { time, id: EventId::from_position("log", "topic", 0, n, 0) }
}

fn entry(mark: Mark, body: usize) -> Entry {
    let sample = Sample { body: vec![b'x'; body].into(), origin: "o".into(), ..Sample::default() };
    Entry { time: mark.time, id: mark.id, fact: 0, sample: Some(Arc::new(sample)) }
}

fn step<'a>(spec: &'a Spec, now: i64, out: &'a mut Vec<Revision>) -> Step<'a> {
    Step { spec, now, out, journal: None }
}

/// Written and read again.
fn reread(group: &Group, spec: &Spec, marks: &[Mark]) -> Group {
    let event = |mark: &Mark| Some((*mark, encode_event(group, *mark)?));
    let events = marks.iter().filter_map(event).collect::<Vec<_>>();
    let events = events.iter().map(|(mark, bytes)| (*mark, &bytes[..])).collect::<Vec<_>>();
    decode_group(&encode_head(group), &events, spec).unwrap()
}

fn bodies(group: &Group) -> Vec<usize> {
    let samples = group.entries.iter().filter_map(|entry| entry.sample.as_ref());
    samples.map(|sample| sample.body.len()).filter(|bytes| *bytes > 0).collect()
}

fn closed(out: &[Revision]) -> Vec<&Revision> {
    out.iter().filter(|revision| revision.phase == Phase::Closed).collect()
}

/// Entries below the watermark become rows: memory is bounded, and the counts stay exact.
#[test]
fn entries_below_the_watermark_are_folded_without_loss() {
    let mut compared = [0; 3];
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let which = (seed % 3) as usize;
        let kind = [Kind::EventCount, Kind::ValueCount, Kind::Temporal][which];
        let least = [random.range(2, 30), random.range(2, 4), random.range(2, 3)][which] as u64;
        let spec = Spec { timespan_ms: random.range(2, 9), kind, ..spec(least, 12) };
        let (mut group, mut out, mut marks, mut clock) = (Group::new(BEGINNING), Vec::new(), Vec::new(), 0);
        for n in 0..300 {
            clock += if random.chance(3) { random.range(0, 30) } else { i64::from(random.chance(40)) };
            let mark = mark(n, clock - random.range(0, 1));
            marks.push(mark);
            group.advance(clock - 1, &mut step(&spec, 0, &mut out));
            let entry = Entry { fact: oracle::fact(kind, mark), ..entry(mark, 0) };
            assert!(group.insert(entry, &mut step(&spec, 0, &mut out)), "seed {seed}");
            assert!(group.entries.len() <= 12, "seed {seed}");
            if random.chance(10) {
                group = reread(&group, &spec, &marks);
            }
        }
        // Only what had to be folded above the watermark, or into joined rows, may be inexact.
        let approximate = group.more.as_deref().is_some_and(|more| more.approximate);
        group.advance(clock + 10_000, &mut step(&spec, 0, &mut out));
        assert!(group.is_empty(), "seed {seed}");
        if approximate || out.iter().any(|revision| revision.approximate) {
            continue;
        }
        compared[which] += 1;
        let expected = oracle::alerts(&spec, 3, &marks);
        let got = closed(&out).into_iter().map(|r| (r.first, r.last, r.count, r.peak)).collect::<Vec<_>>();
        let expected = expected.iter().map(|e| (e.first, e.last, e.count, e.peak)).collect::<Vec<_>>();
        assert_eq!(got, expected, "seed {seed}");
    }
    assert!(compared.iter().all(|compared| *compared > 10), "{compared:?}");
}

#[test]
fn a_storm_beyond_the_cap_is_bounded_and_says_that_it_is_approximate() {
    let spec = spec(10, 100);
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    for n in 0..5_000 {
        group.insert(entry(mark(n, (n / 10) as i64), 10), &mut step(&spec, 0, &mut out));
        assert!(group.entries.len() <= 100);
    }
    let more = group.more.as_deref().unwrap();
    assert!(more.approximate && more.rows.len() <= 100 && more.episodes.len() == 1);
    group.advance(10_000, &mut step(&spec, 0, &mut out));
    let closed = closed(&out);
    assert_eq!((closed.len(), closed[0].count, closed[0].approximate), (1, 5_000, true));
    assert_eq!((closed[0].first, closed[0].last.time), (closed[0].events[0].mark, 499));
    assert!(closed[0].events[..3].iter().all(|kept| !kept.sample.as_ref().unwrap().body.is_empty()));
}

#[test]
fn only_the_first_events_keep_bodies_and_origins() {
    let spec = spec(2, 10_000);
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    for n in 0..1_000 {
        group.insert(entry(mark(n, n as i64), 10), &mut step(&spec, 0, &mut out));
        assert!(bodies(&group).len() <= 3);
    }
    let last = out.last().unwrap();
    assert_eq!((last.count, last.events.len()), (1_000, ORIGINS_MAX));
    assert!(last.events.iter().all(|kept| kept.sample.is_some()));
    let kept = group.entries.iter().filter(|entry| entry.sample.is_some()).count();
    assert_eq!(kept, ORIGINS_MAX);
}

#[test]
fn bodies_of_a_group_that_is_not_hot_are_bounded() {
    let spec = spec(1_000, 10_000);
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    for n in 0..20 {
        group.insert(entry(mark(n, n as i64), 1 << 20), &mut step(&spec, 0, &mut out));
    }
    let bytes: usize = bodies(&group).iter().sum();
    assert_eq!(bytes, BODY_BYTES_MAX as usize);
    // Room comes back when entries leave.
    group.advance(1_005, &mut step(&spec, 0, &mut out));
    group.insert(entry(mark(99, 1_100), 1 << 20), &mut step(&spec, 0, &mut out));
    assert!(group.entries.last().unwrap().sample.as_ref().unwrap().body.len() == 1 << 20);
    assert!(out.is_empty());
}

#[test]
fn revisions_are_throttled_but_the_first_and_the_last_are_not() {
    let spec = Spec { revise_ms: 5_000, ..spec(2, 100) };
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    for n in 0..10 {
        group.insert(entry(mark(n, n as i64), 0), &mut step(&spec, 100 + n as i64, &mut out));
    }
    assert_eq!(out.iter().map(|r| (r.number, r.count)).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(group.next_revision(&spec), Some(5_101));
    group.publish(&mut step(&spec, 5_100, &mut out));
    assert_eq!(out.len(), 1);
    group.publish(&mut step(&spec, 5_101, &mut out));
    assert_eq!(out.iter().map(|r| (r.number, r.count)).collect::<Vec<_>>(), [(1, 2), (2, 10)]);
    assert_eq!(group.next_revision(&spec), None);
    group.insert(entry(mark(11, 11), 0), &mut step(&spec, 5_200, &mut out));
    group.advance(2_000, &mut step(&spec, 5_300, &mut out));
    let last = out.last().unwrap();
    assert_eq!((out.len(), last.number, last.count, last.phase), (3, 3, 11, Phase::Closed));
    assert_eq!((last.fired_at, group.is_empty()), (101, true));
}

#[test]
fn extreme_times_do_no_harm() {
    let spec = Spec { timespan_ms: i64::MAX, ..spec(1, 100) };
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    for (n, time) in [i64::MIN, -1, 0, i64::MAX - 1].into_iter().enumerate() {
        group.insert(entry(mark(n as u64, time), 0), &mut step(&spec, i64::MIN, &mut out));
    }
    group.advance(i64::MAX, &mut step(&spec, i64::MAX, &mut out));
    assert!(!out.is_empty());
}

/// An equal entry that names more rules counts for these, is stored, and is taken back with what was not committed.
#[test]
fn an_equal_entry_may_name_more_rules() {
    let spec = Spec { kind: Kind::Temporal, ..spec(2, 100) };
    let (mut group, mut out) = (Group::new(BEGINNING), Vec::new());
    let with = |fact| Entry { fact, ..entry(mark(1, 5), 0) };
    assert!(group.insert(with(0b01), &mut step(&spec, 0, &mut out)));
    let image = group.image();
    let mut journal = Journal::new(None);
    let mut noted = Step { spec: &spec, now: 0, out: &mut out, journal: Some(&mut journal) };
    assert!(!group.insert(with(0b01), &mut noted));
    assert!(group.insert(with(0b10), &mut noted));
    assert_eq!((out.len(), out[0].peak, out[0].count), (1, 2, 1));
    assert_eq!(reread(&group, &spec, &[mark(1, 5)]).entries[0].fact, 0b11);
    group.undo(image, journal.changes);
    assert_eq!((group.entries[0].fact, group.more.is_none()), (0b01, true));
}
