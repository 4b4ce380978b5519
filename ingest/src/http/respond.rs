//! Answers: MozDef's empty 200, OpenSearch's bulk reply, and errors that say
//! what to do.
//!
//! In: what became of a request. Out: the response. Never: anything but what
//! the sender sent or needs to know.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use model::ids::EventId;
use model::topic::Topic;
use serde_json::{Map, Value, json};
use stream::record::Position;

use super::batch::{Became, Item, Problems};
use super::refusal::Refusal;

const HTML: &str = "text/html";
const JSON: &str = "application/json";

/// A response with a body.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// MozDef's answer to what was taken whole.
pub(super) fn taken() -> Response {
    with_body(StatusCode::OK, HTML, Body::empty())
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &Value) -> Response {
    with_body(status, JSON, value.to_string())
}

/// What was taken in part.
pub(super) fn partly(accepted: usize, problems: &Problems) -> Response {
    json(StatusCode::OK, &Value::Object(told(accepted, problems)))
}

/// What was not taken.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let mut reply = Map::new();
    if let Refusal::Body(problems) = refusal {
        reply = told(0, problems);
        if let Some(first) = problems.listed.first() {
            reply.insert("byte".to_owned(), first.byte.into());
            reply.insert("line".to_owned(), first.line.into());
            reply.insert("reason".to_owned(), first.reason.as_str().into());
        }
    }
    reply.insert("error".to_owned(), refusal.to_string().into());
    refusal_with(refusal, refusal.status(), &Value::Object(reply))
}

/// What was not taken, as OpenSearch says it.
pub(super) fn refused_as_opensearch(refusal: &Refusal) -> Response {
    let status = refusal.status();
    let kind = match status {
        StatusCode::UNAUTHORIZED => "security_exception",
        StatusCode::TOO_MANY_REQUESTS => "circuit_breaking_exception",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable_shards_exception",
        _ => "illegal_argument_exception",
    };
    let cause = json!({"type": kind, "reason": refusal.to_string()});
    let error = json!({"root_cause": [&cause], "type": kind, "reason": refusal.to_string()});
    refusal_with(refusal, status, &json!({"error": error, "status": status.as_u16()}))
}

/// A refusal in any dialect, with the headers that all have in common.
pub(super) fn refusal_with(refusal: &Refusal, status: StatusCode, reply: &Value) -> Response {
    let mut response = json(status, reply);
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(refusal, Refusal::Unauthorized(_)) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"mozdef\""));
    }
    if refusal.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Puts another body in the place of a response's.
pub(super) fn put_body(response: &mut Response, content_type: &'static str, body: impl Into<Body>) {
    *response.body_mut() = body.into();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// OpenSearch's reply to a bulk request.
pub(super) fn bulk(items: &[Item], positions: &[Position], log_id: &str, took: Duration) -> Response {
    let errors = items.iter().any(|item| matches!(item.became, Became::Refused(_)));
    let mut body = format!("{{\"took\":{},\"errors\":{errors},\"items\":[", took.as_millis());
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            body.push(',');
        }
        body.push_str(&bulk_item(item, positions, log_id).to_string());
    }
    body.push_str("]}");
    with_body(StatusCode::OK, JSON, body)
}

/// OpenSearch's reply to a single document.
pub(super) fn document(item: &Item, positions: &[Position], log_id: &str) -> Response {
    json(StatusCode::CREATED, &result_of(item, positions, log_id))
}

fn bulk_item(item: &Item, positions: &[Position], log_id: &str) -> Value {
    json!({item.action.verb.as_str(): result_of(item, positions, log_id)})
}

fn result_of(item: &Item, positions: &[Position], log_id: &str) -> Value {
    let index = item.action.index.as_deref().unwrap_or("events");
    match &item.became {
        Became::Event(record) => {
            let id = item.action.id.clone().unwrap_or_else(|| event_id(*record, positions, log_id));
            json!({
                "_index": index, "_id": id, "_version": 1, "result": "created",
                "_shards": {"total": 1, "successful": 1, "failed": 0},
                "_seq_no": 0, "_primary_term": 1, "status": 201,
            })
        }
        Became::Refused(why) => json!({
            "_index": index, "_id": item.action.id, "status": 400,
            "error": {"type": "illegal_argument_exception", "reason": why},
        }),
    }
}

/// The id that the event will have, where the client gave none.
fn event_id(record: usize, positions: &[Position], log_id: &str) -> String {
    positions.get(record).map_or_else(String::new, |position| {
        EventId::from_position(log_id, Topic::Raw.name(), position.partition, position.offset, 0).to_string()
    })
}

/// An HTML page, as MozDef's own server answered.
pub(super) fn page(status: StatusCode, what: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let page = format!(
        "\n    <!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n    <html>\n        <head>\n            \
         <title>Error: {code} {title}</title>\n        </head>\n        <body>\n            \
         <h1>Error: {code} {title}</h1>\n            <p>{what}</p>\n        </body>\n    </html>\n",
        code = status.as_u16(),
    );
    with_body(status, HTML, page)
}

/// How many were taken, and why others were not.
fn told(accepted: usize, problems: &Problems) -> Map<String, Value> {
    let each = problems.listed.iter().map(|problem| {
        json!({
            "line": problem.line, "byte": problem.byte,
            "reason": problem.reason.as_str(), "detail": problem.detail,
        })
    });
    let mut told = Map::new();
    told.insert("accepted".to_owned(), accepted.into());
    told.insert("errors".to_owned(), each.collect());
    let unlisted = problems.count.saturating_sub(problems.listed.len());
    if unlisted > 0 {
        told.insert("errors_not_listed".to_owned(), unlisted.into());
    }
    told
}
