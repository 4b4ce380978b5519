//! The HTTP gateway: MozDef's loginput, and the ways in that shippers know from Elasticsearch, Splunk, OpenTelemetry and
//! GitHub.
//!
//! In: requests. Out: raw records, one an event; an answer that is 2xx only
//! when every record is durable. Never: unbounded memory, time or
//! connections: what does not fit is refused with a reason and a time to come back.
//!
//! | path | takes |
//! |---|---|
//! | POST, PUT `/events`, `/nxlog`, `/cef`, `/custom/<app>` | JSON: an object, an array, lines, values one after another; `text/x-syslog`: lines |
//! | POST, PUT `/_bulk`, `/<index>/_bulk` | the same; or actions and documents, answered as OpenSearch does |
//! | POST, PUT `/<index>/_doc[/<id>]`, `/<index>/_create/<id>` | one document |
//! | POST `/services/collector[/event]`, `…/raw`, `…/ack` | Splunk's events, lines, questions about acknowledgements |
//! | POST `/v1/logs` | OTLP's log records, protobuf or JSON |
//! | POST, by configuration | GitHub's webhooks |
//! | GET `/status`, `/_status`, `/test`, `/`, `/services/collector/health`, `/_cluster/health`, … | nothing |
//!
//! A request goes through `listen` (connections), `routes` (what it is), `take` (who sends, how much), `build` (its
//! records) and back through the reply of its dialect.

mod access;
mod batch;
mod body;
mod build;
mod bulk;
mod connections;
mod decompress;
mod elastic;
mod github;
mod hec;
mod listen;
mod media;
mod otlp;
mod proxies;
mod quota;
mod refusal;
mod respond;
mod routes;
pub(crate) mod split;
mod take;

use std::sync::Arc;

use axum::Router;
use model::config::HttpConfig;
use stream::shutdown::Shutdown;
use tokio::net::TcpListener;

use crate::intake::Intake;
use crate::tls::{Tls, TlsError};

pub use access::AccessError;
pub use github::SecretError;

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Who may send is not clear.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Its certificates cannot be used.
    #[error("ingest.http.tls: {0}")]
    Tls(#[from] TlsError),
    /// The secret of a webhook is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Checks what [`serve`] would refuse to start with, but for the files of certificates and secrets.
pub fn check(config: &HttpConfig) -> Result<(), HttpError> {
    access::Access::new(config)?;
    Ok(())
}

/// Answers requests until shutdown, then finishes those that have begun and returns.
///
/// # Errors
/// [`HttpError`] where the configuration does not say who may send, or certificates or secrets cannot be used.
pub async fn serve(
    config: HttpConfig,
    intake: Intake,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), HttpError> {
    let tls = config.tls.as_ref().map(|tls| Tls::load(tls, &["http/1.1"])).transpose()?;
    let door = listen::Door::new(&config, tls.clone());
    let router = router(config, intake)?;
    let watching = tls.map(|tls| tokio::spawn(tls.watch("http", shutdown.clone())));
    listen::accept(listener, door, router, shutdown).await;
    if let Some(watching) = watching {
        watching.abort();
    }
    Ok(())
}

/// The paths alone, without a listener.
///
/// # Errors
/// [`HttpError`] where the configuration does not say who may send, or a webhook has no secret.
pub fn router(config: HttpConfig, intake: Intake) -> Result<Router, HttpError> {
    let mut hooks = Vec::with_capacity(config.github.len());
    for (name, hook) in &config.github {
        hooks.push((hook.path.clone(), Arc::new(github::Hook::load(name, hook)?)));
    }
    Ok(routes::router(Arc::new(take::Gateway::new(config, intake)?), hooks))
}
