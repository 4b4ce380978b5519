//! Splunk's replies.
//!
//! In: what became of a request. Out: the response. Never: a `Success` before the log has confirmed.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Code;
use crate::http::access::Refused;
use crate::http::batch::Problems;
use crate::http::refusal::Refusal;
use crate::http::respond;

/// What was taken; of events that were not, though others were, the first is named.
pub(in crate::http) fn success(accepted: usize, problems: &Problems, ack: Option<u64>) -> Response {
    let mut reply = told(Code::Success);
    if let Some(id) = ack {
        reply.insert("ackId".to_owned(), id.into());
    }
    if let Some(first) = problems.listed.first() {
        reply.insert("accepted".to_owned(), accepted.into());
        reply.insert("rejected".to_owned(), problems.count.into());
        reply.insert("invalid-event-number".to_owned(), first.number.into());
        reply.insert("reason".to_owned(), first.detail.clone().into());
    }
    respond::json(StatusCode::OK, &Value::Object(reply))
}

/// Whether events are taken at the moment.
pub(in crate::http) fn healthy(healthy: bool) -> Response {
    let (status, code) = match healthy {
        true => (StatusCode::OK, Code::Healthy),
        false => (StatusCode::SERVICE_UNAVAILABLE, Code::Unhealthy),
    };
    respond::json(status, &Value::Object(told(code)))
}

/// Which ack ids were given.
pub(in crate::http) fn acks(given: impl Iterator<Item = (u64, bool)>) -> Response {
    let given: Map<String, Value> = given.map(|(id, given)| (id.to_string(), given.into())).collect();
    respond::json(StatusCode::OK, &json!({ "acks": given }))
}

/// What was not taken.
pub(in crate::http) fn refused(refusal: &Refusal) -> Response {
    let code = code(refusal);
    let mut reply = told(code);
    if let Refusal::Body(problems) = refusal
        && let Some(first) = problems.listed.first()
    {
        reply.insert("invalid-event-number".to_owned(), first.number.into());
    }
    reply.insert("reason".to_owned(), refusal.to_string().into());
    let status = match code {
        // Splunk's own choice.
        Code::InvalidToken => StatusCode::FORBIDDEN,
        _ => refusal.status(),
    };
    respond::refusal_with(refusal, status, &Value::Object(reply))
}

fn told(code: Code) -> Map<String, Value> {
    let (number, text) = code.told();
    Map::from_iter([("text".to_owned(), text.into()), ("code".to_owned(), number.into())])
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Splunk(code) => *code,
        Refusal::Body(problems) => problems.listed.first().map_or(Code::NoData, |first| first.splunk),
        Refusal::Unauthorized(Refused::Nobody) => Code::TokenRequired,
        Refusal::Unauthorized(Refused::Malformed) => Code::InvalidAuthorization,
        Refusal::Unauthorized(Refused::Unknown) => Code::InvalidToken,
        Refusal::Header { .. }
        | Refusal::Compression { .. }
        | Refusal::Incomplete(_)
        | Refusal::Slow { .. }
        | Refusal::Encoding(_)
        | Refusal::MediaType(_)
        | Refusal::Otlp(_)
        | Refusal::Signature(_) => Code::InvalidFormat,
        Refusal::BodyTooLarge { .. } | Refusal::TooManyEvents { .. } | Refusal::RecordTooLarge { .. } => {
            Code::TooLarge
        }
        Refusal::Busy
        | Refusal::OverQuota { .. }
        | Refusal::Unavailable(_)
        | Refusal::NotConfirmed { .. } => Code::Busy,
    }
}
