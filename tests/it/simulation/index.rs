//! An index in memory that misbehaves by a seed, as the fault server does over HTTP.
//!
//! In: the sink's requests. Out: answers in OpenSearch's shape, or none.
//! Never: more of OpenSearch than the sink needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use sink::index::{Answer, IndexError, Method, Request, Transport};
use stream::simulated::dice::Dice;

const URL: &str = "simulated";

/// How often each thing goes wrong, of a thousand requests (or documents).
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Longest time of a request, in milliseconds.
    pub latency_ms: u64,
    /// 429, 500, 503 for all of it, with nothing stored.
    pub refused: u32,
    /// All is stored, and the answer is 504, half of one, something else, or none.
    pub stored_unsaid: u32,
    /// No connection.
    pub unreachable: u32,
    /// No answer for long; it may be stored when that is over.
    pub stalled: u32,
    /// 429 or 503 for a document.
    pub item: u32,
    /// More documents than this are too large; none: no limit.
    pub too_large_beyond: Option<usize>,
    /// Everything is forbidden.
    pub is_blocked: bool,
}

#[derive(Debug, Default)]
struct State {
    rates: Rates,
    documents: BTreeMap<(String, String), (u64, Bytes)>,
    indices: BTreeSet<String>,
    /// What does not go as it should; for the trace.
    told: Vec<String>,
}

/// The index.
#[derive(Debug)]
pub struct SimulatedIndex {
    state: Mutex<State>,
    dice: Mutex<Dice>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    Refused(u16),
    Unsaid(u64),
    Unreachable,
    Stalled { seconds: u64, is_stored: bool },
}

impl SimulatedIndex {
    pub fn new(seed: u64) -> Arc<SimulatedIndex> {
        Arc::new(SimulatedIndex { state: Mutex::default(), dice: Mutex::new(Dice::new(seed)) })
    }

    pub fn set_rates(&self, rates: Rates) {
        self.state().rates = rates;
    }

    /// What is stored, by index and id.
    pub fn documents(&self) -> BTreeMap<(String, String), Value> {
        let parsed = |source: &Bytes| serde_json::from_slice(source).unwrap();
        self.state().documents.iter().map(|(key, (_, source))| (key.clone(), parsed(source))).collect()
    }

    /// What was told since the last call.
    pub fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.state().told)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll<R>(&self, roll: impl FnOnce(&mut Dice) -> R) -> R {
        roll(&mut self.dice.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fate(&self, rates: &Rates) -> Fate {
        self.roll(|dice| {
            if dice.chance(rates.refused) {
                Fate::Refused([429, 500, 503, 502][dice.below(4) as usize])
            } else if dice.chance(rates.stored_unsaid) {
                Fate::Unsaid(dice.below(4))
            } else if dice.chance(rates.unreachable) {
                Fate::Unreachable
            } else if dice.chance(rates.stalled) {
                Fate::Stalled { seconds: dice.between(2, 20), is_stored: dice.chance(500) }
            } else {
                Fate::Good
            }
        })
    }
}

fn unreachable() -> IndexError {
    IndexError::Unreachable { url: URL.to_owned(), cause: "reset".to_owned() }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer { status, body: body.into() }
}

#[async_trait]
impl Transport for SimulatedIndex {
    async fn send(&self, request: Request) -> Result<Answer, IndexError> {
        let rates = self.state().rates.clone();
        if rates.latency_ms > 0 {
            let millis = self.roll(|dice| dice.between(1, rates.latency_ms));
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        let fate = self.fate(&rates);
        match fate {
            Fate::Good => return Ok(self.serve(&request, &rates)),
            Fate::Refused(status) => return Ok(answer(status, r#"{"error":"simulated"}"#)),
            Fate::Unreachable => return Err(unreachable()),
            Fate::Stalled { seconds, is_stored } => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                if is_stored {
                    self.serve(&request, &rates);
                }
                return Err(IndexError::TimedOut { url: URL.to_owned() });
            }
            Fate::Unsaid(how) => {
                let good = self.serve(&request, &rates);
                match how {
                    0 => Ok(answer(504, r#"{"error":"gateway time-out"}"#)),
                    1 => Ok(Answer { body: good.body.slice(..good.body.len() / 2), ..good }),
                    2 => Ok(answer(200, "<html>ok</html>")),
                    _ => Err(unreachable()),
                }
            }
        }
    }
}

impl SimulatedIndex {
    fn serve(&self, request: &Request, rates: &Rates) -> Answer {
        if rates.is_blocked {
            let error =
                json!({"error": {"type": "cluster_block_exception", "reason": "blocked"}, "status": 403});
            return answer(403, error.to_string());
        }
        let body = request.body.as_deref().unwrap_or_default();
        let mut state = self.state();
        match (request.method, request.path.as_str()) {
            (Method::Post, "/_bulk") => {
                let mut refuses =
                    || self.roll(|dice| dice.chance(rates.item).then(|| 429 + 74 * dice.below(2)));
                state.bulk(body, rates.too_large_beyond, &mut refuses)
            }
            (Method::Post, "/_mget") => state.mget(body),
            (Method::Post, "/_aliases") => answer(200, r#"{"acknowledged":true}"#),
            (Method::Put, path) if path.starts_with("/_index_template/") => {
                answer(200, r#"{"acknowledged":true}"#)
            }
            (Method::Put, path) => {
                let is_new = state.indices.insert(path.trim_start_matches('/').to_owned());
                let exists = r#"{"error":{"type":"resource_already_exists_exception","reason":"exists"}}"#;
                if is_new { answer(200, "{}") } else { answer(400, exists) }
            }
            (Method::Get, path) if path.ends_with("/_alias") => {
                let found: serde_json::Map<_, _> =
                    state.indices.iter().map(|index| (index.clone(), json!({"aliases": {}}))).collect();
                answer(200, Value::from(found).to_string())
            }
            (Method::Get, path) if state.indices.contains(path.trim_start_matches('/')) => answer(200, "{}"),
            _ => answer(404, "{}"),
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl State {
    fn mget(&self, body: &[u8]) -> Answer {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let docs = asked["docs"].as_array().unwrap().iter().map(|doc| {
            let key = (text(doc, "_index").to_owned(), text(doc, "_id").to_owned());
            match self.documents.get(&key) {
                Some((_, source)) => {
                    format!(r#"{{"found":true,"_source":{}}}"#, String::from_utf8_lossy(source))
                }
                None => r#"{"found":false}"#.to_owned(),
            }
        });
        let docs: Vec<String> = docs.collect();
        answer(200, format!(r#"{{"docs":[{}]}}"#, docs.join(",")))
    }

    fn bulk(&mut self, body: &[u8], most: Option<usize>, refuses: &mut dyn FnMut() -> Option<u64>) -> Answer {
        let lines: Vec<&[u8]> = body.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let items: Vec<(Value, &[u8])> =
            lines.chunks(2).map(|pair| (serde_json::from_slice(pair[0]).unwrap(), pair[1])).collect();
        if most.is_some_and(|most| items.len() > most) {
            return answer(413, "{}");
        }
        let results: Vec<Value> = items
            .iter()
            .map(|(action, source)| {
                let (verb, target) = action.as_object().unwrap().iter().next().unwrap();
                let result = match refuses() {
                    Some(status) => {
                        json!({"status": status, "error": {"type": "simulated", "reason": "not now"}})
                    }
                    None => self.store(verb, target, source),
                };
                json!({verb: result})
            })
            .collect();
        answer(200, json!({"took": 1, "errors": true, "items": results}).to_string())
    }

    fn store(&mut self, verb: &str, target: &Value, source: &[u8]) -> Value {
        let key = (text(target, "_index").to_owned(), text(target, "_id").to_owned());
        if !self.indices.contains(&key.0) {
            return json!({"status": 404, "error": {"type": "index_not_found_exception", "reason": "no"}});
        }
        let old = self.documents.get(&key).map(|(version, _)| *version);
        let version = target.get("version").and_then(Value::as_u64).unwrap_or(1);
        let is_taken = match (verb, text(target, "version_type"), old) {
            (_, _, None) => true,
            ("create", _, Some(_)) => false,
            (_, "external_gte", Some(old)) => version >= old,
            (_, _, Some(old)) => version > old,
        };
        if !is_taken {
            self.told.push(format!("index: {}/{} is there already", key.0, key.1));
            return json!({"status": 409, "error": {"type": "version_conflict_engine_exception"}});
        }
        let value: Value = serde_json::from_slice(source).unwrap();
        let address = value.pointer("/details/sourceipaddress").and_then(Value::as_str);
        if key.0.starts_with("events")
            && address.is_some_and(|address| address.parse::<std::net::IpAddr>().is_err())
        {
            let reason =
                "failed to parse field [details.sourceipaddress] of type [ip] in document with id 'x'";
            return json!({"status": 400, "error": {"type": "mapper_parsing_exception", "reason": reason}});
        }
        self.told.push(format!("index: {}/{} version {version}", key.0, key.1));
        self.documents.insert(key, (version, Bytes::copy_from_slice(source)));
        json!({"status": 201, "result": "created"})
    }
}
