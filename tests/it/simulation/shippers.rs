//! Shippers: they send events to a gateway until it says that it has them.
//!
//! In: a seed. Out: requests, and a ledger of what was acknowledged. Never:
//! an event sent twice under two ids after an answer that tells nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use model::time::Timestamp;
use stream::simulated::dice::Dice;
use tower_service::Service;

/// What became of the events of a request. Numbers are in `details.n`.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Acknowledged.
    pub acked: Vec<u64>,
    /// Given up after an answer that tells nothing: they may be there.
    pub doubtful: Vec<u64>,
}

/// How a request names its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// `Idempotency-Key`.
    Key,
    /// `_bulk` with `_id`.
    Bulk,
    /// Not at all: it is sent once.
    None,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// When it is first sent, in milliseconds after the beginning.
    pub after_ms: u64,
    naming: Naming,
    key: String,
    numbers: Vec<u64>,
    body: String,
}

/// The requests of a history of about `events` events within `span_ms`; they begin at `start`.
pub fn shipments(dice: &mut Dice, events: u64, span_ms: u64, start: Timestamp) -> Vec<Shipment> {
    let mut all = Vec::new();
    let mut number = 0;
    while number < events {
        let naming = [Naming::Key, Naming::Key, Naming::Bulk, Naming::None][dice.below(4) as usize];
        let after_ms = dice.below(span_ms);
        let now = start.plus_millis(after_ms as i64);
        let numbers: Vec<u64> = (0..dice.between(1, 4)).map(|more| number + more).collect();
        number += numbers.len() as u64;
        let key = format!("key{number}");
        let events: Vec<String> = numbers.iter().map(|n| event(dice, *n, now)).collect();
        let is_repeated = naming != Naming::None && dice.chance(80);
        let body = body(naming, &key, &events);
        let shipment = Shipment { after_ms, naming, key, numbers, body };
        if is_repeated {
            // Another sender, or the same one later, uses the same ids for something else.
            let fakes: Vec<String> =
                shipment.numbers.iter().map(|n| event(dice, n + 1_000_000, now)).collect();
            let body = self::body(naming, &shipment.key, &fakes);
            let numbers = shipment.numbers.iter().map(|n| n + 1_000_000).collect();
            let after_ms = after_ms + dice.below(2_000);
            all.push(Shipment { after_ms, body, numbers, ..shipment.clone() });
        }
        all.push(shipment);
    }
    all
}

fn event(dice: &mut Dice, number: u64, now: Timestamp) -> String {
    let time = match dice.below(10) {
        0 => now.plus_millis(-90_000),
        _ => now.plus_millis(dice.between(0, 3_500) as i64 - 2_000),
    };
    let outcome = if dice.chance(750) { "failed" } else { "ok" };
    let user = if dice.chance(120) { "root" } else { "joe" };
    let address = if dice.chance(60) { "nowhere" } else { "192.0.2.7" };
    let group = dice.below(2);
    format!(
        r#"{{"utctimestamp":"{time}","category":"auth","hostname":"h{group}","summary":"event {number}","details":{{"n":{number},"outcome":"{outcome}","user":"{user}","sourceipaddress":"{address}","group":"g{group}"}}}}"#
    )
}

fn body(naming: Naming, key: &str, events: &[String]) -> String {
    let lines = (0..).zip(events).map(|(index, event)| match naming {
        Naming::Bulk => format!("{{\"index\":{{\"_index\":\"x\",\"_id\":\"{key}-{index}\"}}}}\n{event}\n"),
        Naming::Key | Naming::None => format!("{event}\n"),
    });
    lines.collect()
}

impl Shipment {
    /// One event, now.
    pub fn fresh(dice: &mut Dice, number: u64, now: Timestamp) -> Shipment {
        let (naming, key) = (Naming::Key, "fresh".to_owned());
        let body = body(naming, &key, &[event(dice, number, now)]);
        Shipment { after_ms: 0, naming, key, numbers: vec![number], body }
    }

    /// Sends until it is acknowledged, or may not be sent again.
    pub async fn ship(self, mut gateway: Router, ledger: Arc<Mutex<Ledger>>, mut dice: Dice) {
        tokio::time::sleep(Duration::from_millis(self.after_ms)).await;
        loop {
            let (path, kind) = match self.naming {
                Naming::Bulk => ("/_bulk", "application/x-ndjson"),
                Naming::Key | Naming::None => ("/events", "application/json"),
            };
            let mut request = Request::builder().method("POST").uri(path).header("content-type", kind);
            if self.naming == Naming::Key {
                request = request.header("Idempotency-Key", &self.key);
            }
            let request = request.body(Body::from(self.body.clone())).unwrap();
            let response = gateway.call(request).await.unwrap_or_else(|never| match never {});
            let status = response.status();
            assert!(status.is_success() || status.as_u16() == 503, "{status} for {}", self.body);
            let mut ledger = ledger.lock().unwrap();
            // The answer may be lost on its way: it is sent again, and is one event all the same.
            let is_heard = self.naming == Naming::None || !dice.chance(100);
            if status.is_success() && is_heard {
                ledger.acked.extend(&self.numbers);
                return;
            }
            if self.naming == Naming::None {
                ledger.doubtful.extend(&self.numbers);
                return;
            }
            drop(ledger);
            tokio::time::sleep(Duration::from_millis(dice.between(100, 1_000))).await;
        }
    }
}
