//! Requests to the APIs of other services: bounded in time and size, and told apart by what to do when they fail.
//!
//! In: a request. Out: the body of a 2xx, or when to ask again. Never: a body larger than the bound; a secret in an error.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait that a service may ask for.
const AFTER_MAX: Duration = Duration::from_secs(300);
/// Most bytes of an error's body that are told.
const TOLD_BYTES_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It may go better later.
    #[error("{why}")]
    Later {
        /// When to ask again, where the service says so.
        after: Option<Duration>,
        /// What went wrong.
        why: String,
    },
    /// It does not know us, or not any more.
    #[error("{why}")]
    Denied {
        /// What it said.
        why: String,
    },
    /// It will not do this until somebody changes something.
    #[error("{why}")]
    Refused {
        /// What it said.
        why: String,
    },
    /// The answer is larger than the bound.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
}

impl FetchError {
    /// The label of `mozdef_input_failures_total`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            FetchError::Later { .. } => "unavailable",
            FetchError::Denied { .. } => "denied",
            FetchError::Refused { .. } => "refused",
            FetchError::TooLarge { .. } => "too_large",
        }
    }

    /// When to ask again, where the service says so; soon no answer will change where somebody has to do something first.
    pub(crate) fn after(&self) -> Option<Duration> {
        match self {
            FetchError::Later { after, .. } => *after,
            FetchError::Denied { .. } | FetchError::Refused { .. } => Some(Duration::from_secs(10)),
            FetchError::TooLarge { .. } => None,
        }
    }
}

/// A client for one service; every request has a bound in time.
///
/// # Errors
/// The TLS library has no roots.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // A redirect would carry the credentials elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mozdef/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends a request and reads its answer.
pub(crate) async fn ask(request: RequestBuilder, limit: usize) -> Result<Bytes, FetchError> {
    let response = request.send().await.map_err(unreached)?;
    let status = response.status();
    if status.is_success() {
        return body(response, limit).await;
    }
    let after = asked_wait(response.headers());
    let said = body(response, 64 << 10).await.unwrap_or_default();
    let said =
        String::from_utf8_lossy(said.get(..said.len().min(TOLD_BYTES_MAX)).unwrap_or_default()).into_owned();
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let why = format!("it answered {status}: {}", said.trim());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FetchError::Denied { why },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
            FetchError::Later { after, why }
        }
        status if status.is_server_error() => FetchError::Later { after, why },
        _ => FetchError::Refused { why },
    })
}

fn unreached(error: reqwest::Error) -> FetchError {
    // The address may hold what is nobody's business.
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        why = format!("{why}: {inner}");
        cause = inner.source();
    }
    FetchError::Later { after: None, why }
}

/// `Retry-After`, or the seconds until Papertrail's limit is lifted.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER).or_else(|| headers.get("x-rate-limit-reset"))?;
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(AFTER_MAX))
}

async fn body(mut response: Response, limit: usize) -> Result<Bytes, FetchError> {
    let mut all = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreached)? {
        if all.len().saturating_add(chunk.len()) > limit {
            return Err(FetchError::TooLarge { limit });
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
