//! Papertrail's search API, as its documentation tells it: bounds that include their ends, pages forwards and backwards,
//! the limit of time, the limit of requests, and an index that shows some events late.
//!
//! In: events, requests of `GET /events/search.json`. Out: pages. Never: an event to whoever has no token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::random::Random;

/// The token that it knows.
pub const TOKEN: &str = "papertrail-secret";

/// The service. It ends with the test's runtime.
#[derive(Clone)]
pub struct Papertrail {
    /// Its address: `http://HOST:PORT/api/v1`.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    /// By id: the event, and when the index shows it.
    events: BTreeMap<u64, (Value, Instant)>,
    random: Random,
    faults: bool,
    /// Events that were given out, so often.
    given: BTreeMap<u64, u32>,
    /// Requests that were answered, by status.
    answered: BTreeMap<u16, u32>,
}

impl Papertrail {
    /// Starts one. With `faults` a part of the requests fails.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(seed: u64, faults: bool) -> anyhow::Result<Papertrail> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/api/v1", listener.local_addr()?);
        let shared = Shared {
            events: BTreeMap::new(),
            random: Random::new(seed),
            faults,
            given: BTreeMap::new(),
            answered: BTreeMap::new(),
        };
        let papertrail = Papertrail { url, shared: Arc::new(Mutex::new(shared)) };
        let router =
            Router::new().route("/api/v1/events/search.json", get(search)).with_state(papertrail.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(papertrail)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event that the index shows after a while.
    pub fn add(&self, id: u64, event: Value, after: Duration) {
        let visible = Instant::now().checked_add(after).unwrap_or_else(Instant::now);
        self.lock().events.insert(id, (event, visible));
    }

    /// How often it has answered with a status.
    pub fn answered(&self, status: u16) -> u32 {
        self.lock().answered.get(&status).copied().unwrap_or_default()
    }

    /// Ids that were given out at least once.
    pub fn given(&self) -> Vec<u64> {
        self.lock().given.keys().copied().collect()
    }
}

async fn search(
    State(papertrail): State<Papertrail>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut shared = papertrail.lock();
    let known = headers.get("x-papertrail-token").is_some_and(|token| token.as_bytes() == TOKEN.as_bytes());
    let response = if known {
        match fault(&mut shared) {
            Some(response) => response,
            None => page(&mut shared, &query),
        }
    } else {
        (StatusCode::UNAUTHORIZED, r#"{"message":"invalid token"}"#).into_response()
    };
    *shared.answered.entry(response.status().as_u16()).or_default() += 1;
    response
}

/// Some requests of a hundred fail.
fn fault(shared: &mut Shared) -> Option<Response> {
    if !shared.faults {
        return None;
    }
    match shared.random.below(100) {
        0..=4 => Some((StatusCode::SERVICE_UNAVAILABLE, "try again").into_response()),
        5..=7 => {
            let limits =
                [("x-rate-limit-limit", "25"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "0")];
            Some((StatusCode::TOO_MANY_REQUESTS, limits, "slow down").into_response())
        }
        8..=9 => Some(([("content-type", "application/json")], r#"{"events":[{"id":"1"#).into_response()),
        _ => None,
    }
}

/// Forwards from `min_id` or `min_time` where `tail` is false, else the newest.
fn page(shared: &mut Shared, query: &BTreeMap<String, String>) -> Response {
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<u64>().ok());
    let limit = number("limit").unwrap_or(1000);
    if !(1..=10_000).contains(&limit) {
        return (StatusCode::BAD_REQUEST, "limit").into_response();
    }
    let limit = usize::try_from(limit).unwrap_or(1000);
    let now = Instant::now();
    let least = number("min_id").unwrap_or(0);
    let most = number("max_id").unwrap_or(u64::MAX);
    // Ids of these events are milliseconds since 1970, times 1000.
    let since = number("min_time").unwrap_or(0).saturating_mul(1_000_000);
    let found: Vec<(u64, Value)> = shared
        .events
        .range(least.max(since)..=most)
        .filter(|(_, (_, visible))| *visible <= now)
        .map(|(id, (event, _))| (*id, event.clone()))
        .collect();
    let bounded = query.contains_key("min_id") || query.contains_key("min_time");
    let forwards = bounded && query.get("tail").is_some_and(|tail| tail == "false");
    // Now and then the time is over before the page is full.
    let in_time = if shared.faults && shared.random.below(10) == 0 { limit / 3 } else { limit };
    let take = in_time.min(limit);
    let all = found.len() <= take;
    let events: Vec<(u64, Value)> = if forwards {
        found.into_iter().take(take).collect()
    } else {
        let skipped = found.len().saturating_sub(take);
        found.into_iter().skip(skipped).collect()
    };
    for (id, _) in &events {
        *shared.given.entry(*id).or_default() += 1;
    }
    let mut answer = json!({ "events": events.iter().map(|(_, event)| event).collect::<Vec<_>>() });
    if let Some(answer) = answer.as_object_mut() {
        if let (Some((first, _)), Some((last, _))) = (events.first(), events.last()) {
            answer.insert("min_id".to_owned(), json!(first.to_string()));
            answer.insert("max_id".to_owned(), json!(last.to_string()));
        }
        let word = match (all, forwards, take < limit) {
            (true, true, _) => "reached_end",
            (true, false, _) => "reached_beginning",
            (false, _, true) => "reached_time_limit",
            (false, _, false) => "reached_record_limit",
        };
        answer.insert(word.to_owned(), json!(true));
    }
    ([("content-type", "application/json; charset=utf-8")], answer.to_string()).into_response()
}
