//! The window engine alone: matches per CPU second and bytes per key, with
//! 1,000 and 100,000 live keys; and the window worker with its changelog.
//!
//! `cargo bench -p correlate --bench window [-- MATCHES [KEYS]]`. Prints one line a
//! case. The number of alerts must not move: it is printed and checked.

#![allow(clippy::print_stdout, reason = "a benchmark reports on the terminal")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "input of its own")]

use std::sync::Arc;

use model::ids::EventId;

use correlate::rule::{Condition, Kind};
use correlate::window::store::{Images, Store};
use correlate::window::{BEGINNING, Entry, Phase, Revision, Sample, Spec};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMESPAN_MS: i64 = 120_000;
const LATENESS_MS: i64 = 150_000;

fn main() {
    let mut numbers = std::env::args().filter_map(|text| text.parse::<u64>().ok());
    let matches = numbers.next().unwrap_or(3_000_000);
    let only = numbers.next();
    // Memory first: what is freed would be used again, unseen.
    if only.is_none() {
        memory(1_000_000);
    }
    for keys in [1_000, 10_000, 100_000].into_iter().filter(|keys| only.is_none_or(|only| only == *keys)) {
        for images in [Images::None, Images::Keep] {
            throughput(keys, matches, images);
        }
    }
}

fn spec() -> Spec {
    let condition = Condition { gte: Some(10), ..Condition::default() };
    let (kind, limits) = (Kind::EventCount, Condition::default());
    let (samples, revise_ms, entries_max) = (10, i64::MAX, 10_000);
    Spec { timespan_ms: TIMESPAN_MS, kind, condition, limits, samples, revise_ms, entries_max }
}

/// Keys and ids without pattern.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn entry(n: u64, time: i64, sample: Option<&Arc<Sample>>) -> Entry {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(n).to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Entry { time, id: EventId::from_bytes(bytes), fact: 0, sample: sample.cloned() }
}

/// First and last revisions only, as rules over history make them; what lies between costs its alert document.
///
/// One match each millisecond on a random key, a hundredth of them up to two seconds old; the watermark each second,
/// a commit each 50 ms. With 1,000 keys every key is hot all the time, with 100,000 none ever is.
fn throughput(keys: u64, matches: u64, images: Images) {
    let mut store = Store::new(spec(), images, BEGINNING);
    let (mut fired, mut revisions) = (0_u64, 0_u64);
    let mut out = |_: &[u8], revision: Revision| {
        fired += u64::from(revision.number == 1 && !matches!(revision.phase, Phase::Merged(_)));
        revisions += 1;
    };
    let started = cpu_seconds();
    for n in 0..matches {
        let now = n as i64;
        let key = (mix(n ^ 77) % keys).to_be_bytes();
        let old = if n % 100 == 0 { (mix(n) % 2_000) as i64 } else { 0 };
        store.insert(&key, entry(n, now - old, None), now, &mut out);
        if n % 1_000 == 0 {
            store.advance(now - LATENESS_MS, now, &mut out);
            store.publish(now, &mut out);
        }
        if n % 50 == 0 {
            store.flush(|_| {});
            store.commit();
        }
    }
    let seconds = cpu_seconds() - started;
    let rate = matches as f64 / seconds / 1e6;
    let groups = store.len();
    println!(
        "engine keys={keys} images={images:?}: {rate:.2} M matches/CPU s, {groups} groups, {fired} alerts, {revisions} revisions"
    );
}

/// Resident bytes for each key with 1, 3 and 5 entries; the allocator's own losses are in it.
fn memory(keys: u64) {
    let mut store = Store::new(spec(), Images::None, BEGINNING);
    let before = resident_bytes();
    for round in 0..5 {
        for key in 0..keys {
            let n = round * keys + key;
            store.insert(&mix(key).to_be_bytes(), entry(n, (n / 100_000) as i64, None), 0, &mut |_, _| {});
        }
        if round % 2 == 0 {
            let bytes = (resident_bytes() - before) as f64 / keys as f64;
            println!(
                "memory keys={keys} entries={}: {bytes:.0} bytes a key, {} groups",
                round + 1,
                store.len()
            );
        }
    }
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("statm") * 4096
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("schedstat") / 1e9
}
