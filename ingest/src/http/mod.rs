//! The HTTP gateway: MozDef's loginput, JSON and NDJSON batches, OpenSearch's
//! `_bulk`, and lines of syslog.
//!
//! In: requests. Out: raw records, one an event; an answer that is 2xx only
//! when every record is durable. Never: unbounded memory, time or
//! connections: what does not fit is refused with a reason and a time to come back.
//!
//! | path | takes |
//! |---|---|
//! | POST, PUT `/events`, `/nxlog`, `/cef`, `/custom/<app>` | JSON: an object, an array, lines, values one after another; `text/x-syslog`: lines |
//! | POST, PUT `/_bulk` | the same; or actions and documents, answered as OpenSearch does |
//! | GET `/status`, `/_status`, `/test`, `/` | nothing |

mod access;
mod batch;
mod body;
mod bulk;
mod decompress;
mod listen;
mod media;
mod refusal;
mod respond;
mod routes;
mod split;

use std::sync::Arc;

use axum::Router;
use model::config::HttpConfig;
use stream::shutdown::Shutdown;
use tokio::net::TcpListener;

use crate::intake::Intake;
use crate::tls::{Tls, TlsError};

pub use access::AccessError;

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Who may send is not clear.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Its certificates cannot be used.
    #[error("ingest.http.tls: {0}")]
    Tls(#[from] TlsError),
}

/// Checks what [`serve`] would refuse to start with, but for the files of certificates.
pub fn check(config: &HttpConfig) -> Result<(), HttpError> {
    access::Access::new(config)?;
    Ok(())
}

/// Answers requests until shutdown, then finishes those that have begun and returns.
///
/// # Errors
/// [`HttpError`] where the configuration does not say who may send, or certificates cannot be used.
pub async fn serve(
    config: HttpConfig,
    intake: Intake,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), HttpError> {
    let tls = config.tls.as_ref().map(|tls| Tls::load(tls, &["http/1.1"])).transpose()?;
    let router = router(config, intake)?;
    let watching = tls.clone().map(|tls| tokio::spawn(tls.watch("http", shutdown.clone())));
    listen::accept(listener, tls, router, shutdown).await;
    if let Some(watching) = watching {
        watching.abort();
    }
    Ok(())
}

/// The paths alone, without a listener.
///
/// # Errors
/// [`AccessError`] where the configuration does not say who may send.
pub fn router(config: HttpConfig, intake: Intake) -> Result<Router, AccessError> {
    Ok(routes::router(Arc::new(routes::Gateway::new(config, intake)?)))
}
