//! Posts one batch until it is answered.
//!
//! In: a batch. Out: how many events are in the log, and why others are not.
//! Never: a second attempt under another `Idempotency-Key`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use model::ids::EventId;
use model::time::Clock;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

use super::read::{Batch, Kind};

/// Attempts before a batch is given up: with the waits below, about two minutes.
const ATTEMPTS_MAX: u32 = 30;

/// Sends batches to one gateway.
pub(crate) struct Poster {
    http: reqwest::Client,
    url: url::Url,
    token: Option<String>,
    backfill: bool,
    run: String,
    batches: AtomicU64,
}

/// What the gateway said of a batch.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Events that are in the log.
    pub accepted: u64,
    /// (line of the batch from 1, reason) of those that are not.
    pub errors: Vec<(u64, String)>,
}

impl Poster {
    /// For a gateway's address; a path other than `/` is used as it is. A token comes from `$MOZDEF_TOKEN`.
    pub(crate) fn new(to: &str, backfill: bool) -> anyhow::Result<Poster> {
        let mut url = url::Url::parse(to)
            .with_context(|| format!("{to} is no address such as http://127.0.0.1:8080"))?;
        if !matches!(url.scheme(), "http" | "https") {
            bail!(
                "cannot send to {to}: known are http, https, amqp, amqps, sqs, kafka, syslog, syslog+tls and syslog+udp"
            );
        }
        if url.path() == "/" {
            url.set_path("/events");
        }
        let seed = format!("{}/{}", std::process::id(), Clock::System.now().micros());
        Ok(Poster {
            http: crate::client::http()?,
            url,
            token: std::env::var("MOZDEF_TOKEN").ok().filter(|token| !token.is_empty()),
            backfill,
            run: EventId::from_client("send", "run", seed.as_bytes(), 0).to_string(),
            batches: AtomicU64::new(0),
        })
    }

    /// Posts until the gateway takes or refuses the batch.
    pub(crate) async fn post(&self, batch: &Batch) -> anyhow::Result<Posted> {
        let key = format!("{}-{}", self.run, self.batches.fetch_add(1, Ordering::Relaxed));
        let mut wait = Duration::from_millis(200);
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(batch, &key).await {
                Attempt::Answered(posted) => return Ok(posted),
                Attempt::Refused(why) => bail!("{why}"),
                Attempt::Later { after, why } => {
                    tracing::debug!(attempt, %why, "the gateway did not take the batch yet");
                    last = why;
                    tokio::time::sleep(after.unwrap_or(wait)).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                    // Nothing was ever there: do not make the user wait for minutes.
                    if attempt == 5 && self.batches.load(Ordering::Relaxed) <= super::IN_FLIGHT_MAX as u64 {
                        break;
                    }
                }
            }
        }
        bail!("{last}; is `mozdef up` running? (--to gives another address)")
    }

    async fn attempt(&self, batch: &Batch, key: &str) -> Attempt {
        let media_type = match batch.kind {
            Kind::Json => "application/x-ndjson",
            Kind::Syslog => model::headers::MEDIA_SYSLOG,
        };
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, media_type)
            .header("Idempotency-Key", key)
            .body(batch.body.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if self.backfill {
            request = request.header("X-MozDef-Backfill", "1");
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => {
                return Attempt::Refused(format!("cannot ask {}: {error}", self.url));
            }
            Err(error) => {
                let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
                return Attempt::Later { after: None, why: format!("{why} from {}", self.url) };
            }
        };
        let status = response.status();
        let after =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        match response.bytes().await {
            Ok(body) => judge(status, after, &body, batch.count, self.url.as_str()),
            Err(_) => Attempt::Later { after: None, why: format!("the answer of {} broke off", self.url) },
        }
    }
}

enum Attempt {
    Answered(Posted),
    Later { after: Option<Duration>, why: String },
    Refused(String),
}

fn judge(status: StatusCode, after_seconds: Option<u64>, body: &[u8], count: u64, url: &str) -> Attempt {
    let reply: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let errors: Vec<(u64, String)> = reply
        .get("errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|error| {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            let reason = text("detail").or_else(|| text("reason")).unwrap_or("refused").to_owned();
            (error.get("line").and_then(Value::as_u64).unwrap_or(1), reason)
        })
        .collect();
    let reason = || {
        let said = reply.get("error").and_then(Value::as_str).map(str::to_owned);
        said.unwrap_or_else(|| format!("{url} answered {status}"))
    };
    match status {
        status if status.is_success() => {
            let accepted = reply
                .get("accepted")
                .and_then(Value::as_u64)
                .unwrap_or(count - (errors.len() as u64).min(count));
            Attempt::Answered(Posted { accepted, errors })
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE if errors.is_empty() => {
            Attempt::Answered(Posted { accepted: 0, errors: vec![(1, reason())] })
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Attempt::Answered(Posted { accepted: 0, errors })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Attempt::Refused(format!("{}; set $MOZDEF_TOKEN to a token of this gateway", reason()))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => later(after_seconds, reason()),
        status if status.is_server_error() => later(after_seconds, reason()),
        _ => Attempt::Refused(reason()),
    }
}

fn later(after_seconds: Option<u64>, why: String) -> Attempt {
    // A gateway that asks for an hour is asked again after half a minute.
    Attempt::Later { after: after_seconds.map(|seconds| Duration::from_secs(seconds.min(30))), why }
}
