//! The paths of MozDef's loginput, and the way of one request through the
//! gateway: who, what, how large, split, produce, answer.
//!
//! In: requests. Out: responses; 2xx only after the log has confirmed. Never:
//! a body in memory for a sender that is not allowed to send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use model::config::HttpConfig;
use model::event::Limits;
use model::metrics::metrics;
use model::topic::Topic;
use serde_json::json;
use stream::record::Position;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::access::{Access, AccessError};
use super::batch::{self, Batch, EVENTS_MAX, Envelope, RECORD_BYTES, Target};
use super::body::{self, Budget, Share};
use super::decompress::{Encoding, decompress};
use super::refusal::Refusal;
use super::{media, respond};
use crate::intake::Intake;

/// Memory for the bodies and records of all requests, at least; more where one request may be larger.
const MEMORY_BYTES: usize = 256 << 20;
/// Plain bodies up to this size are split on the spot; it takes less than half a millisecond.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// What monitoring of the original compares byte for byte.
const STATUS: &str = r#"{"status": "ok", "service": "loginput"}"#;
/// Longest time from a request's head to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a record has beside the event's bytes, at most.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;
/// Longest name of an app in `/custom/<app>`.
const APP_BYTES_MAX: usize = 128;

/// The sender, put into each request by the listener.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Name on its certificate, where it showed one.
    pub(super) certificate: Option<Bytes>,
}

/// What requests share.
pub(super) struct Gateway {
    config: HttpConfig,
    access: Access,
    intake: Intake,
    memory: Budget,
    waiting: Semaphore,
    /// Of one event; the log's own bound counts too.
    limits: Limits,
}

impl Gateway {
    pub(super) fn new(config: HttpConfig, intake: Intake) -> Result<Gateway, AccessError> {
        let access = Access::new(&config)?;
        let largest = config.body_bytes_max.saturating_mul(2).saturating_add(EVENTS_MAX * RECORD_BYTES);
        let memory = Budget::new(MEMORY_BYTES.max(largest));
        let waiting = Semaphore::new(config.requests_in_flight_max);
        let mut limits = Limits::from(config.event);
        limits.bytes_max =
            limits.bytes_max.min(intake.log().record_bytes_max(Topic::Raw).saturating_sub(HEADER_BYTES_MAX));
        Ok(Gateway { limits, config, access, intake, memory, waiting })
    }
}

/// All paths. Each is also there with a slash at its end, except `/custom/<app>`, as in the original.
pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    let status = || get(async || respond::with_body(StatusCode::OK, "application/json", STATUS));
    let test = || get(async || respond::taken());
    Router::new()
        .route("/", get(about))
        .route("/status", status())
        .route("/status/", status())
        .route("/_status", status())
        .route("/_status/", status())
        .route("/test", test())
        .route("/test/", test())
        .route("/events", takes(Target::Events("events")))
        .route("/events/", takes(Target::Events("events")))
        .route("/nxlog", takes(Target::Events("events")))
        .route("/nxlog/", takes(Target::Events("events")))
        .route("/cef", takes(Target::Events("cef")))
        .route("/cef/", takes(Target::Events("cef")))
        .route("/_bulk", takes(Target::Bulk))
        .route("/_bulk/", takes(Target::Bulk))
        .route("/custom/{app}", post(custom).put(custom))
        .fallback(async |request: Request| {
            discard(request).await;
            respond::page(StatusCode::NOT_FOUND, "Send events to /events, /_bulk or /custom/&lt;app&gt;.")
        })
        .method_not_allowed_fallback(async |request: Request| {
            discard(request).await;
            respond::page(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.")
        })
        .with_state(gateway)
}

fn takes(target: Target) -> MethodRouter<Arc<Gateway>> {
    let handler =
        move |State(gateway): State<Arc<Gateway>>, request: Request| answer(gateway, target, request);
    post(handler.clone()).put(handler)
}

async fn custom(State(gateway): State<Arc<Gateway>>, Path(app): Path<String>, request: Request) -> Response {
    if app.len() > APP_BYTES_MAX {
        discard(request).await;
        return respond::page(StatusCode::NOT_FOUND, "The name of an app has at most 128 bytes.");
    }
    answer(gateway, Target::Custom(Bytes::from(app)), request).await
}

async fn about() -> Response {
    let about = json!({
        "name": "mozdef gateway", "version": env!("CARGO_PKG_VERSION"),
        "paths": ["/events", "/nxlog", "/cef", "/custom/<app>", "/_bulk", "/status"],
    });
    respond::json(StatusCode::OK, &about)
}

async fn discard(request: Request) {
    let (parts, body) = request.into_parts();
    body::discard(body, &parts.headers).await;
}

async fn answer(gateway: Arc<Gateway>, target: Target, request: Request) -> Response {
    let started = Instant::now();
    match take(&gateway, target, request).await {
        Ok((batch, positions)) => reply(&gateway, &batch, &positions, started.elapsed()),
        Err(refusal) => respond::refused(&refusal),
    }
}

fn reply(gateway: &Gateway, batch: &Batch, positions: &[Position], took: Duration) -> Response {
    match &batch.items {
        Some(items) => respond::bulk(items, positions, gateway.intake.log().id(), took),
        None if batch.problems.count > 0 => respond::partly(batch.accepted, &batch.problems),
        None => respond::taken(),
    }
}

async fn take(
    gateway: &Gateway,
    target: Target,
    request: Request,
) -> Result<(Batch, Vec<Position>), Refusal> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>();
    let (envelope, encoding) = match admit(gateway, target, &parts.headers, peer) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            body::discard(body, &parts.headers).await;
            return Err(refusal);
        }
    };
    let mut share = gateway.memory.share();
    let limit = gateway.config.body_bytes_max;
    let body = body::read(body, &parts.headers, limit, BODY_TIMEOUT, &mut share).await?;
    let (mut batch, _share) = if encoding.is_none() && body.len() <= INLINE_BYTES_MAX {
        metrics().http_bytes.inc_by(body.len() as u64);
        (batch::build(body, &envelope, &mut share)?, share)
    } else {
        tokio::task::spawn_blocking(move || build_large(&body, encoding, limit, &envelope, share))
            .await
            .map_err(|error| Refusal::Unavailable(format!("the gateway failed: {error}")))??
    };
    let positions = produce(gateway, &mut batch).await?;
    Ok((batch, positions))
}

/// Everything that the head of a request says; the body is not yet read.
fn admit(
    gateway: &Gateway,
    target: Target,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<(Envelope, Option<Encoding>), Refusal> {
    let principal = gateway
        .access
        .principal(
            headers.get(AUTHORIZATION).map(|value| value.as_bytes()),
            peer.and_then(|peer| peer.certificate.as_ref()),
        )
        .map_err(|_| Refusal::Unauthorized)?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.get_all(CONTENT_ENCODING).iter().count() > 1 {
        return Err(Refusal::Encoding("several".to_owned()));
    }
    let encoding = Encoding::of(text(CONTENT_ENCODING))?;
    let envelope = Envelope {
        target,
        kind: media::kind(text(CONTENT_TYPE))?,
        received: gateway.intake.now(),
        principal,
        peer: peer.map_or_else(Bytes::new, |peer| Bytes::from(peer.address.to_string())),
        idempotency_key: idempotency_key(headers)?,
        backfill: backfill(headers)?,
        limits: gateway.limits,
    };
    Ok((envelope, encoding))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Bytes>, Refusal> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = headers.get(NAME) else { return Ok(None) };
    let value = value.as_bytes();
    if value.is_empty() || value.len() > KEY_BYTES_MAX {
        let what = format!("{} bytes; expected 1 to {KEY_BYTES_MAX}", value.len());
        return Err(Refusal::Header { name: NAME, what });
    }
    Ok(Some(Bytes::copy_from_slice(value)))
}

fn backfill(headers: &HeaderMap) -> Result<bool, Refusal> {
    const NAME: &str = "X-MozDef-Backfill";
    match headers.get(NAME).map(|value| value.as_bytes()) {
        None | Some(b"0") => Ok(false),
        Some(b"1") => Ok(true),
        Some(_) => Err(Refusal::Header { name: NAME, what: "expected 0 or 1".to_owned() }),
    }
}

fn build_large(
    body: &Bytes,
    encoding: Option<Encoding>,
    limit: usize,
    envelope: &Envelope,
    mut share: Share,
) -> Result<(Batch, Share), Refusal> {
    let held = body.len();
    let plain = match encoding {
        None => body.clone(),
        Some(encoding) => {
            decompress(body, encoding, limit, &mut |bytes| share.grow_to(held.saturating_add(bytes)))?
        }
    };
    metrics().http_bytes.inc_by(plain.len() as u64);
    let batch = batch::build(plain, envelope, &mut share)?;
    Ok((batch, share))
}

async fn produce(gateway: &Gateway, batch: &mut Batch) -> Result<Vec<Position>, Refusal> {
    if batch.records.is_empty() {
        return Ok(Vec::new());
    }
    let _waiting = gateway.waiting.try_acquire().map_err(|_| Refusal::Busy)?;
    let after_ms = gateway.config.ack_timeout_ms;
    let produced = gateway.intake.put(std::mem::take(&mut batch.records));
    match tokio::time::timeout(Duration::from_millis(after_ms), produced).await {
        Ok(result) => result.map_err(|error| {
            tracing::warn!(%error, "the log took no events; senders are told to come back");
            Refusal::from(error)
        }),
        Err(_) => Err(Refusal::NotConfirmed { after_ms }),
    }
}
