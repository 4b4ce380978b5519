//! Why a request as a whole is not taken, and what the sender is told.
//!
//! In: what went wrong. Out: status, message, when to come back. Never: a
//! stack trace or another sender's data.

use axum::http::StatusCode;
use stream::log::LogError;

use super::access::Refused;
use super::batch::Problems;
use super::hec::Code;
use super::otlp::OtlpError;

/// A request that is not taken. Nothing of it is in the log, except where the log's answer is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The whole body is no event.
    #[error("no event in the body: {}", first(.0))]
    Body(Problems),
    /// A header has a value that cannot be used.
    #[error("header {name}: {what}")]
    Header { name: &'static str, what: String },
    /// A compressed body cannot be read.
    #[error("the body is no valid {encoding}: {cause}")]
    Compression { encoding: &'static str, cause: String },
    /// The connection broke before the body's end.
    #[error("the body ended early: {0}")]
    Incomplete(String),
    #[error("{}", told(*.0))]
    Unauthorized(Refused),
    #[error("{0}: the delivery was not signed with the webhook's secret")]
    Signature(&'static str),
    /// The source has sent more than its quota.
    #[error("the source {source_name} has sent more than its quota; come back in {wait_s} s")]
    OverQuota { source_name: String, wait_s: u64 },
    #[error("{}", .0.told().1)]
    Splunk(Code),
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The body came too slowly.
    #[error("the body did not arrive within {ms} ms")]
    Slow { ms: u128 },
    #[error("the body is larger than {limit} bytes; send less at once (ingest.http.body_bytes_max)")]
    BodyTooLarge { limit: usize },
    #[error("more than {limit} events in one request; send fewer at once")]
    TooManyEvents { limit: usize },
    #[error("a record of {bytes} bytes is more than the log's {limit}")]
    RecordTooLarge { bytes: usize, limit: usize },
    #[error("content encoding {0:?} is not supported; use gzip, deflate or zstd, or none")]
    Encoding(String),
    #[error("content type {0:?} holds no events; send JSON, NDJSON, or text/x-syslog lines")]
    MediaType(String),
    #[error("too many requests are under way; try again")]
    Busy,
    #[error("{0}; try again")]
    Unavailable(String),
    #[error("the log did not confirm within {after_ms} ms; try again")]
    NotConfirmed { after_ms: u64 },
}

impl Refusal {
    /// HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::Body(_)
            | Refusal::Header { .. }
            | Refusal::Compression { .. }
            | Refusal::Splunk(_)
            | Refusal::Incomplete(_) => StatusCode::BAD_REQUEST,
            Refusal::Otlp(OtlpError::Malformed { .. }) => StatusCode::BAD_REQUEST,
            Refusal::Otlp(OtlpError::TooMany { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Unauthorized(_) | Refusal::Signature(_) => StatusCode::UNAUTHORIZED,
            Refusal::OverQuota { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge { .. } | Refusal::TooManyEvents { .. } | Refusal::RecordTooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Refusal::Encoding(_) | Refusal::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Busy | Refusal::Unavailable(_) | Refusal::NotConfirmed { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Seconds after which another try makes sense.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Refusal::Busy => Some(1),
            Refusal::OverQuota { wait_s, .. } => Some(*wait_s),
            Refusal::Unavailable(_) | Refusal::NotConfirmed { .. } => Some(5),
            Refusal::Body(_)
            | Refusal::Header { .. }
            | Refusal::Compression { .. }
            | Refusal::Incomplete(_)
            | Refusal::Unauthorized(_)
            | Refusal::Signature(_)
            | Refusal::Splunk(_)
            | Refusal::Otlp(_)
            | Refusal::Slow { .. }
            | Refusal::BodyTooLarge { .. }
            | Refusal::TooManyEvents { .. }
            | Refusal::RecordTooLarge { .. }
            | Refusal::Encoding(_)
            | Refusal::MediaType(_) => None,
        }
    }

    /// Whether the connection is in no state for another request.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Refusal::Slow { .. } | Refusal::BodyTooLarge { .. } | Refusal::Incomplete(_))
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Refusal {
        match error {
            LogError::TooLarge { bytes, limit } => Refusal::RecordTooLarge { bytes, limit },
            LogError::Unavailable(_)
            | LogError::NoSpace(_)
            | LogError::Fenced
            | LogError::OutcomeUnknown(_)
            | LogError::Broken(_) => Refusal::Unavailable(error.to_string()),
        }
    }
}

fn told(refused: Refused) -> &'static str {
    match refused {
        Refused::Nobody => "say who sends: Authorization: Bearer … (or Splunk …, Basic …, ApiKey …)",
        Refused::Malformed => "the Authorization header cannot be read; send Bearer, Splunk, Basic or ApiKey",
        Refused::Unknown => "nobody is known by this token or password; see ingest.http.tokens and .sources",
    }
}

fn first(problems: &Problems) -> String {
    problems
        .listed
        .first()
        .map_or_else(String::new, |p| format!("line {}, byte {}: {}", p.line, p.byte, p.detail))
}
