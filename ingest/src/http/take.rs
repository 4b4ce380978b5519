//! The way of one request through the gateway: who, what, how large, split, produce, answer.
//!
//! In: a request and where it was sent. Out: the response; 2xx only after the log has confirmed. Never: a body in memory
//! for a sender that is not allowed to send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use model::config::HttpConfig;
use model::event::Limits;
use model::metrics::metrics;
use model::topic::Topic;
use stream::record::Position;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::access::{Access, AccessError, Sender};
use super::batch::{Batch, EVENTS_MAX, Envelope, RECORD_BYTES, Target};
use super::body::{self, Budget, Share};
use super::build;
use super::decompress::{Encoding, decompress};
use super::elastic::Elastic;
use super::hec::{self, Acks};
use super::media::{self, Kind};
use super::otlp::{self, Form};
use super::proxies::Proxies;
use super::refusal::Refusal;
use super::respond;
use crate::intake::Intake;

/// Memory for the bodies and records of all requests, at least; more where one request may be larger.
const MEMORY_BYTES: usize = 256 << 20;
/// Plain bodies up to this size are split on the spot; it takes less than half a millisecond.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// What a record has beside the event's bytes, at most: two contexts of OTLP, and the rest.
const HEADER_BYTES_MAX: usize = 24 << 10;
/// Longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

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
    proxies: Option<Proxies>,
    intake: Intake,
    memory: Budget,
    waiting: Semaphore,
    /// Of one event; the log's own bound counts too.
    limits: Limits,
    pub(super) acks: Acks,
    pub(super) elastic: Elastic,
}

impl Gateway {
    pub(super) fn new(config: HttpConfig, intake: Intake) -> Result<Gateway, AccessError> {
        let access = Access::new(&config)?;
        let largest = config.body_bytes_max.saturating_mul(2).saturating_add(EVENTS_MAX * RECORD_BYTES);
        let memory = Budget::new(MEMORY_BYTES.max(largest));
        let waiting = Semaphore::new(config.requests_in_flight_max);
        let mut limits = Limits::from(config.event);
        let record_bytes_max = intake.log().record_bytes_max(Topic::Raw);
        limits.bytes_max = limits.bytes_max.min(record_bytes_max.saturating_sub(HEADER_BYTES_MAX));
        let proxies = config.proxies.as_ref().map(Proxies::new);
        let elastic = Elastic::new(&config.elasticsearch);
        Ok(Gateway {
            limits,
            proxies,
            config,
            access,
            intake,
            memory,
            waiting,
            acks: Acks::default(),
            elastic,
        })
    }

    /// The way into the log.
    pub(super) fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Whether requests need not wait for others.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.available_permits() > 0
    }

    /// Who sends a request, by its head.
    pub(super) fn sender(&self, request: &Request) -> Result<Sender, Refusal> {
        self.sender_of(request.headers(), request.extensions().get())
    }

    fn sender_of(&self, head: &HeaderMap, peer: Option<&Peer>) -> Result<Sender, Refusal> {
        let authorization = head.get(AUTHORIZATION).map(|value| value.as_bytes());
        let certificate = peer.and_then(|peer| peer.certificate.as_ref());
        self.access.sender(authorization, certificate).map_err(Refusal::Unauthorized)
    }

    fn client(&self, head: &HeaderMap, peer: Option<&Peer>) -> Bytes {
        let Some(peer) = peer else { return Bytes::new() };
        let address = match &self.proxies {
            Some(proxies) => proxies.client(peer.address, head),
            None => peer.address,
        };
        Bytes::from(address.to_string())
    }
}

/// How a sender is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Plain,
    OpenSearch,
    Splunk { wants_ack: bool },
    Otlp(Form),
}

impl Dialect {
    fn of(target: &Target) -> Dialect {
        match target {
            Target::Hec(asked) | Target::HecRaw(asked) => {
                Dialect::Splunk { wants_ack: asked.channel.is_some() }
            }
            Target::Otlp(form) => Dialect::Otlp(*form),
            Target::Document(_) | Target::Bulk { index: Some(_) } => Dialect::OpenSearch,
            Target::Events(_) | Target::Custom(_) | Target::Bulk { index: None } | Target::Github(_) => {
                Dialect::Plain
            }
        }
    }

    /// The answer to what was not taken.
    pub(super) fn refused(self, refusal: &Refusal) -> Response {
        match self {
            Dialect::Plain => respond::refused(refusal),
            Dialect::OpenSearch => respond::refused_as_opensearch(refusal),
            Dialect::Splunk { .. } => hec::refused(refusal),
            Dialect::Otlp(form) => otlp::refused(form, refusal),
        }
    }
}

/// Takes a request and answers it. `owner` names the sender where it was let in in another way than by its head.
pub(super) async fn answer(
    gateway: Arc<Gateway>,
    target: Target,
    owner: Option<&str>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let dialect = Dialect::of(&target);
    let single = matches!(target, Target::Document(_));
    let is_elastic = single || matches!(target, Target::Bulk { .. });
    let head = is_elastic.then(|| request.headers().clone());
    let mut response = match take(&gateway, target, owner, request).await {
        Ok((batch, positions)) => reply(&gateway, dialect, single, &batch, &positions, started.elapsed()),
        Err(refusal) => dialect.refused(&refusal),
    };
    if let Some(head) = head {
        gateway.elastic.mark(&head, &mut response);
    }
    response
}

fn reply(
    gateway: &Gateway,
    dialect: Dialect,
    single: bool,
    batch: &Batch,
    positions: &[Position],
    took: Duration,
) -> Response {
    let log_id = gateway.intake.log().id();
    match (dialect, &batch.items) {
        (Dialect::Splunk { wants_ack }, _) => {
            let ack = wants_ack.then(|| gateway.acks.next(gateway.intake.now()));
            hec::success(batch.accepted, &batch.problems, ack)
        }
        (Dialect::Otlp(form), _) => otlp::taken(form, &batch.problems),
        (_, Some(items)) => match items.first().filter(|_| single) {
            Some(item) => respond::document(item, positions, log_id),
            None => respond::bulk(items, positions, log_id, took),
        },
        (_, None) if batch.problems.count > 0 => respond::partly(batch.accepted, &batch.problems),
        (_, None) => respond::taken(),
    }
}

async fn take(
    gateway: &Gateway,
    target: Target,
    owner: Option<&str>,
    request: Request,
) -> Result<(Batch, Vec<Position>), Refusal> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>();
    let (envelope, encoding) = match admit(gateway, target, owner, &parts.headers, peer) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            body::discard(body, &parts.headers).await;
            return Err(refusal);
        }
    };
    let quota = Arc::clone(&envelope.sender.quota);
    let mut share = gateway.memory.share();
    let limit = gateway.config.body_bytes_max;
    let time = Duration::from_millis(gateway.config.body_timeout_ms);
    let body = body::read(body, &parts.headers, limit, time, &mut share).await?;
    let (mut batch, _share) = if encoding.is_none() && body.len() <= INLINE_BYTES_MAX {
        metrics().http_bytes.inc_by(body.len() as u64);
        (build::build(body, &envelope, &mut share)?, share)
    } else {
        tokio::task::spawn_blocking(move || build_large(&body, encoding, limit, &envelope, share))
            .await
            .map_err(|error| Refusal::Unavailable(format!("the gateway failed: {error}")))??
    };
    quota.take(batch.records.len(), batch.bytes, gateway.intake.now());
    let positions = produce(gateway, &mut batch).await?;
    Ok((batch, positions))
}

/// Everything that the head of a request says; the body is not yet read.
fn admit(
    gateway: &Gateway,
    target: Target,
    owner: Option<&str>,
    head: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<(Envelope, Option<Encoding>), Refusal> {
    let sender = match owner {
        Some(owner) => gateway.access.named(owner),
        None => gateway.sender_of(head, peer)?,
    };
    let received = gateway.intake.now();
    if let Some(wait_s) = sender.quota.wait_s(received) {
        let source_name = String::from_utf8_lossy(&sender.name).into_owned();
        return Err(Refusal::OverQuota { source_name, wait_s });
    }
    let text = |name| head.get(name).and_then(|value| value.to_str().ok());
    if head.get_all(CONTENT_ENCODING).iter().count() > 1 {
        return Err(Refusal::Encoding("several".to_owned()));
    }
    let encoding = Encoding::of(text(CONTENT_ENCODING))?;
    let kind = match &target {
        // Their paths say what the body is, whatever the header says.
        Target::Hec(_) | Target::HecRaw(_) | Target::Otlp(_) | Target::Document(_) => Kind::Json,
        Target::Events(_) | Target::Custom(_) | Target::Bulk { .. } | Target::Github(_) => {
            media::kind(text(CONTENT_TYPE))?
        }
    };
    let envelope = Envelope {
        target,
        kind,
        received,
        sender,
        peer: gateway.client(head, peer),
        idempotency_key: idempotency_key(head)?,
        backfill: backfill(head)?,
        limits: gateway.limits,
    };
    Ok((envelope, encoding))
}

fn idempotency_key(head: &HeaderMap) -> Result<Option<Bytes>, Refusal> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = head.get(NAME) else { return Ok(None) };
    let value = value.as_bytes();
    if value.is_empty() || value.len() > KEY_BYTES_MAX {
        let what = format!("{} bytes; expected 1 to {KEY_BYTES_MAX}", value.len());
        return Err(Refusal::Header { name: NAME, what });
    }
    Ok(Some(Bytes::copy_from_slice(value)))
}

fn backfill(head: &HeaderMap) -> Result<bool, Refusal> {
    const NAME: &str = "X-MozDef-Backfill";
    match head.get(NAME).map(|value| value.as_bytes()) {
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
    let batch = build::build(plain, envelope, &mut share)?;
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
