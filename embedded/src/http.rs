//! The API over HTTP/1.
//!
//! In: requests on a listener, gzip bodies too. Out: the replies of `api/`. Never: a body beyond the limit in memory;
//! more requests at work than threads that may block.

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::api::{Reply, Request};
use crate::engine::Index;
use crate::error::ApiError;

/// Largest body, before and after decompression, in bytes.
pub const BODY_BYTES_MAX: usize = 100 << 20;
/// Requests at work at once; others wait.
const AT_WORK_MAX: usize = 16;
/// Bytes of bodies in memory at once, in KiB.
const BODIES_KIB_MAX: usize = 256 << 10;

#[derive(Clone)]
struct Shared {
    index: Arc<Index>,
    at_work: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// Serves the index until `shutdown` is ready, then finishes what has begun.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    index: Arc<Index>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let shared = Shared {
        index,
        at_work: Arc::new(Semaphore::new(AT_WORK_MAX)),
        bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
    };
    let app = axum::Router::new().fallback(answer).with_state(shared);
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn answer(State(shared): State<Shared>, request: HttpRequest) -> Result<Response<Body>, Infallible> {
    let head = request.method() == axum::http::Method::HEAD;
    let reply = answered(shared, request).await.unwrap_or_else(|error| Reply::error(&error));
    Ok(into_response(reply, head))
}

async fn answered(shared: Shared, request: HttpRequest) -> Result<Reply, ApiError> {
    let (parts, body) = request.into_parts();
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    // A body of unknown length may become as large as the limit.
    let kib = u32::try_from(length.unwrap_or(BODY_BYTES_MAX) / 1024).unwrap_or(u32::MAX).saturating_add(1);
    let closed = |_| ApiError::new(503, "node_closed_exception", "the index is shutting down");
    let room = shared
        .bodies
        .acquire_many_owned(kib.min(u32::try_from(BODIES_KIB_MAX).unwrap_or(u32::MAX)))
        .await
        .map_err(closed)?;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("length limit") {
            too_large()
        } else {
            ApiError::new(400, "parse_exception", format!("the body broke off: {text}"))
        }
    })?;
    let encoding =
        parts.headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let turn = shared.at_work.acquire_owned().await.map_err(closed)?;
    let work = move || {
        let plain;
        let body: &[u8] = match encoding.as_deref() {
            None | Some("identity") => &body,
            Some("gzip") => {
                plain = gunzip(&body)?;
                &plain
            }
            Some(other) => {
                return Err(ApiError::new(
                    415,
                    "illegal_argument_exception",
                    format!("content encoding [{other}] is not supported; use gzip"),
                ));
            }
        };
        let request = Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            body,
        };
        let reply = shared.index.handle(&request);
        drop((turn, room));
        Ok(reply)
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ApiError::storage(format!("the request's thread failed: {error}"))))
}

fn too_large() -> ApiError {
    ApiError::new(
        413,
        "content_too_large_exception",
        format!("the body is larger than {BODY_BYTES_MAX} bytes"),
    )
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::new();
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(body).take(limit).read_to_end(&mut out).map_err(|error| {
        ApiError::new(400, "parse_exception", format!("the body is not valid gzip: {error}"))
    })?;
    if out.len() > BODY_BYTES_MAX { Err(too_large()) } else { Ok(out) }
}

fn into_response(reply: Reply, head: bool) -> Response<Body> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(if head { Body::empty() } else { Body::from(reply.body) });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response
}
