//! The admin listener: metrics, health, and what the commands ask of a running MozDef.
//!
//! In: HTTP on loopback; from elsewhere only where `admin.serves` is `health`. Out: Prometheus text and JSON. Never:
//! changes; this listener has no authentication, so it only reads.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use model::config::AdminServes;
use model::metrics::{Stage, metrics};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::questions::{Failure, Question, Sources};
use crate::readiness::Readiness;

/// What the handlers share.
pub(crate) struct Admin {
    /// What answers come from.
    pub sources: Arc<Sources>,
    /// Whether every stage can do its work.
    pub ready: Arc<Readiness>,
    /// What is answered.
    pub serves: AdminServes,
}

/// Serves until `ended`.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let mut router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz));
    match admin.serves {
        AdminServes::Health => {}
        AdminServes::Everything => {
            router = router.route("/", get(home)).route("/api/status", get(status));
            for path in Question::PATHS {
                router = router.route(path, get(question));
            }
        }
    }
    axum::serve(listener, router.with_state(admin)).with_graceful_shutdown(ended).await
}

async fn question(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    let answered = match Question::of(uri.path(), &parameters) {
        Ok(question) => admin.sources.answer(&question).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(value) => answer(StatusCode::OK, &value),
        Err(failure) => {
            let status = match failure {
                Failure::Bad(_) => StatusCode::BAD_REQUEST,
                Failure::Missing(_) => StatusCode::NOT_FOUND,
                Failure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            answer(status, &json!({"error": failure.into_text()}))
        }
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn home() -> Response {
    let paths =
        ["/metrics", "/healthz", "/readyz", "/api/status", "/api/search?query=*", "/api/alerts", "/api/dead"];
    answer(StatusCode::OK, &json!({"name": "MozDef", "version": env!("CARGO_PKG_VERSION"), "paths": paths}))
}

async fn metrics_text(State(admin): State<Arc<Admin>>) -> Response {
    metrics().ready.set(if admin.ready.reasons().is_empty() { 1.0 } else { 0.0 });
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics().text()).into_response()
}

/// `ready`, or a line for each thing that keeps the process from its work; `?json` gives the same as JSON.
async fn readyz(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    let reasons = admin.ready.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if parameters.contains_key("json") {
        return answer(status, &admin.ready.json());
    }
    if reasons.is_empty() {
        return (status, "ready\n").into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (status, lines).into_response()
}

/// Readiness and the counters of every stage: `in = out + dropped + dead` once it is at rest.
async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let mut status = admin.ready.json();
    if let Some(fields) = status.as_object_mut() {
        fields.insert("stages".to_owned(), stages());
    }
    answer(StatusCode::OK, &status)
}

/// `{stage: {in, out, dropped, dead}}`.
pub(crate) fn stages() -> Value {
    let rows = Stage::ALL.into_iter().map(|stage| {
        let (taken, out, dropped, dead) = metrics().totals(stage);
        (stage.as_str().to_owned(), json!({"in": taken, "out": out, "dropped": dropped, "dead": dead}))
    });
    Value::Object(rows.collect())
}
