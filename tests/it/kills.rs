//! kill -9 of the whole at random points under load: every acknowledged event
//! is in the index once, or dead once; alerts equal those of a naive count.
//!
//! The seed is printed; `MOZDEF_SEED` repeats it. Five kills in `make test`,
//! fifty in `make faults`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use model::time::{Clock, Timestamp};
use serde_json::{Value, json};
use tests::server::{Server, eventually};
use tokio::sync::{Mutex, RwLock};

/// Numbers from a seed (Steele et al., "Fast splittable pseudorandom number generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One attempt at a login, as a shipper sends it.
fn attempt(number: u64, random: &mut Random, now: Timestamp) -> Value {
    let address = format!("198.51.100.{}", random.below(12));
    json!({
        "timestamp": now.to_string(), "hostname": format!("host{}", number % 3), "program": "sshd",
        "processname": "sshd", "category": "syslog", "severity": "INFO",
        "summary": format!("Failed password for root from {address} port {} ssh2", 1024 + number % 60_000),
        "details": {"program": "sshd", "ledger": format!("n{number}")},
    })
}

/// Sends until told to stop; every request is repeated under its key until it is answered.
async fn load(
    gateway: Arc<RwLock<String>>,
    ledger: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
    first: u64,
    seed: u64,
) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut random = Random(seed);
    let next = AtomicU64::new(first);
    while !stop.load(Ordering::SeqCst) {
        let numbers: Vec<u64> =
            (0..1 + random.below(30)).map(|_| next.fetch_add(1, Ordering::SeqCst)).collect();
        let now = Clock::System.now();
        let lines: Vec<String> = numbers.iter().map(|n| attempt(*n, &mut random, now).to_string()).collect();
        let key = format!("ledger-{first}-{}", numbers[0]);
        loop {
            let url = format!("{}/events", gateway.read().await);
            let request =
                http.post(url).header("content-type", "application/x-ndjson").header("idempotency-key", &key);
            match request.body(lines.join("\n")).send().await {
                Ok(response) if response.status().is_success() => break,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        ledger.lock().await.extend(&numbers);
        tokio::time::sleep(Duration::from_millis(random.below(8))).await;
    }
}

/// Episodes of ten or more within two minutes, counted naively from the indexed events: group → (first, last, count).
fn episodes(events: &[Value]) -> Vec<(String, String, String, u64)> {
    let mut groups: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for event in events {
        let source = &event["_source"];
        let time = Timestamp::parse_rfc3339(source["utctimestamp"].as_str().unwrap()).unwrap();
        let address = source["details"]["sourceipaddress"].as_str().unwrap().to_owned();
        groups.entry(address).or_default().push((time.millis(), event["_id"].as_str().unwrap().to_owned()));
    }
    let mut found = Vec::new();
    for (group, mut times) in groups {
        times.sort();
        const T: i64 = 120_000;
        let window = |u: i64| times.iter().filter(move |(t, _)| u - T < *t && *t <= u);
        let hot: Vec<i64> = times.iter().map(|(t, _)| *t).filter(|u| window(*u).count() >= 10).collect();
        let mut runs: Vec<Vec<i64>> = Vec::new();
        for u in hot {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| u - last < T) => run.push(u),
                _ => runs.push(vec![u]),
            }
        }
        for run in runs {
            let in_run: Vec<_> =
                times.iter().filter(|(t, _)| run.iter().any(|u| u - T < *t && t <= u)).collect();
            let (first, last) = (in_run[0].1.clone(), in_run[in_run.len() - 1].1.clone());
            found.push((group.clone(), first, last, in_run.len() as u64));
        }
    }
    found.sort();
    found
}

async fn alerts(server: &Server) -> anyhow::Result<Vec<(String, String, String, u64)>> {
    let mut found = Vec::new();
    for hit in server.documents("alerts*", "utctimestamp").await? {
        let alert = &hit["_source"];
        if alert["classname"] == "ssh_bruteforce" && alert["merged_into"].is_null() {
            let text =
                |path: &str| alert.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let group = text("/group/details.sourceipaddress");
            found.push((
                group,
                text("/first_event/id"),
                text("/last_event/id"),
                alert["count"].as_u64().unwrap_or(0),
            ));
        }
    }
    found.sort();
    Ok(found)
}

async fn each_once(server: &Server, acked: &[u64]) -> anyhow::Result<Vec<Value>> {
    let (dead, letters) = server.dead().await?;
    ensure!(dead == 0, "{dead} dead letters, such as {:?}", letters.first());
    let events = server.documents("events*", "details.ledger").await?;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for event in &events {
        *seen.entry(event["_source"]["details"]["ledger"].as_str().unwrap_or("?").to_owned()).or_default() +=
            1;
    }
    let lost: Vec<&u64> = acked.iter().filter(|n| !seen.contains_key(&format!("n{n}"))).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged events are lost, such as {:?}",
        lost.len(),
        acked.len(),
        lost.first()
    );
    let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(doubled.is_empty(), "doubled: {doubled:?}");
    Ok(events)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_kills_of_the_whole() -> anyhow::Result<()> {
    let kills = tests::data::scaled(5);
    let seed = match std::env::var("MOZDEF_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => Clock::System.now().micros() as u64,
    };
    println!("seed {seed}, {kills} kills");
    let mut random = Random(seed);
    let folder = tempfile::tempdir()?;
    // Revisions are not throttled, so that the index shows the newest state.
    let more = "correlate:\n  revise_ms: 0\n";
    let mut server = Server::start(folder.path(), more).await?;
    let gateway = Arc::new(RwLock::new(server.gateway.clone()));
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3_u64)
        .map(|n| tokio::spawn(load(gateway.clone(), ledger.clone(), stop.clone(), n * 10_000_000, seed ^ n)))
        .collect();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(200 + random.below(1500))).await;
        server.kill().await?;
        server = Server::start(folder.path(), more).await?;
        server.gateway.clone_into(&mut *gateway.write().await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await?;
    }
    let acked = ledger.lock().await.clone();
    ensure!(acked.len() > 50 * kills, "only {} events were sent", acked.len());
    let events =
        eventually("every acknowledged event is in the index once", || each_once(&server, &acked)).await?;
    let expected = episodes(&events);
    ensure!(!expected.is_empty(), "the load holds brute forces");
    eventually("alerts equal the naive count", || async {
        let got = alerts(&server).await?;
        ensure!(got == expected, "alerts {got:?}\nexpected {expected:?}");
        Ok(())
    })
    .await?;
    println!(
        "{} events, {} alerts, {kills} kills: nothing lost, nothing doubled",
        acked.len(),
        expected.len()
    );
    Ok(())
}
