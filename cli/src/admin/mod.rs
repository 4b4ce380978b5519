//! The admin listener: metrics, health, and what the commands ask of a running MozDef.
//!
//! In: HTTP on loopback; from elsewhere only where `admin.serves` is `health`. Out: Prometheus text and JSON. Never:
//! changes; this listener has no authentication, so it only reads.

mod alerts;
mod dead;
mod search;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use model::config::AdminServes;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use serde_json::{Value, json};
use stream::log::SharedLog;
use tokio::net::TcpListener;

/// What the handlers share.
pub(crate) struct Admin {
    /// The log, for dead letters and alerts.
    pub log: SharedLog,
    /// The index, for events and alerts.
    pub search: sink::search::Searcher,
    /// Whether every stage runs.
    pub ready: Arc<Readiness>,
    /// Whether documents get into the index.
    pub sinks: sink::Readiness,
    /// The time.
    pub clock: Clock,
    /// What is answered.
    pub serves: AdminServes,
}

/// Whether the process can do its work, and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    /// Says that every stage runs, or no longer does.
    pub(crate) fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
        metrics().ready.set(if ready { 1.0 } else { 0.0 });
    }

    /// Whether every stage runs.
    pub(crate) fn get(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

/// Serves until `ended`.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let health = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz));
    let router = match admin.serves {
        AdminServes::Health => health,
        AdminServes::Everything => health
            .route("/", get(home))
            .route("/api/status", get(status))
            .route("/api/search", get(search::search))
            .route("/api/alerts", get(alerts::list))
            .route("/api/alerts/next", get(alerts::next))
            .route("/api/dead", get(dead::list))
            .route("/api/dead/show", get(dead::show)),
    };
    let router = router.with_state(admin);
    axum::serve(listener, router).with_graceful_shutdown(ended).await
}

/// An answer that names what went wrong.
pub(crate) struct Failure(StatusCode, String);

impl Failure {
    fn bad(message: impl Into<String>) -> Failure {
        Failure(StatusCode::BAD_REQUEST, message.into())
    }

    fn missing(message: impl Into<String>) -> Failure {
        Failure(StatusCode::NOT_FOUND, message.into())
    }

    fn unavailable(message: impl std::fmt::Display) -> Failure {
        Failure(StatusCode::SERVICE_UNAVAILABLE, message.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        answer(self.0, &json!({"error": self.1}))
    }
}

/// The parameter `size`; 20 where it is not given.
fn size(parameters: &HashMap<String, String>) -> Result<u32, Failure> {
    let Some(text) = parameters.get("size") else { return Ok(20) };
    text.parse().map_err(|_| Failure::bad(format!("size: {text} is no number from 0 to {}", u32::MAX)))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn home() -> Response {
    let paths =
        ["/metrics", "/healthz", "/readyz", "/api/status", "/api/search?query=*", "/api/alerts", "/api/dead"];
    answer(StatusCode::OK, &json!({"name": "MozDef", "version": env!("CARGO_PKG_VERSION"), "paths": paths}))
}

async fn metrics_text() -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics().text()).into_response()
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let why =
        if admin.ready.get() { admin.sinks.get().err() } else { Some("starting or draining".to_owned()) };
    match why {
        None => (StatusCode::OK, "ready\n".to_owned()).into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

/// The counters of every stage: `in = out + dropped + dead` once it is at rest.
async fn status(State(admin): State<Arc<Admin>>) -> Response {
    answer(StatusCode::OK, &json!({"ready": admin.ready.get(), "stages": stages()}))
}

/// `{stage: {in, out, dropped, dead}}`.
pub(crate) fn stages() -> Value {
    let rows = Stage::ALL.into_iter().map(|stage| {
        let (taken, out, dropped, dead) = metrics().totals(stage);
        (stage.as_str().to_owned(), json!({"in": taken, "out": out, "dropped": dropped, "dead": dead}))
    });
    Value::Object(rows.collect())
}
