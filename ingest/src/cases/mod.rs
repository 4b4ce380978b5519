//! Runs recorded requests to the original's loginput, one at a time: what it
//! answered and published, against what the gateway does.
//!
//! In: one case as JSON, and the listed right value where the recorded one is
//! a defect. Out: passed, failed with the difference, or not yet supported.
//! Never: sockets or files; the request goes straight to the router.

mod recorder;

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use model::config::HttpConfig;
use model::headers;
use model::time::{Clock, Timestamp};
use serde_json::Value;
use stream::record::NewRecord;
use tower_service::Service;

use self::recorder::Recorder;

/// What a case says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As recorded, or as listed.
    Passed,
    /// It needs what is not built yet.
    NotYetSupported(String),
    /// The difference.
    Failed(String),
}

/// What the gateway answered.
struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

/// Runs one case of `http/<file>.jsonl`. `listed`: its row of the deviations, where it has one.
pub async fn run(file: &str, case: &Value, listed: Option<&Value>) -> Outcome {
    if file != "loginput" {
        return Outcome::NotYetSupported(format!("http/{file}"));
    }
    match compare(case, listed).await {
        Ok(()) => Outcome::Passed,
        Err(difference) => Outcome::Failed(difference),
    }
}

/// Whether a deviation's row is the row of this case.
pub fn is_row_of(row: &Value, file: &str, case: &Value) -> bool {
    text(row, "file") == Some(format!("http/{file}.jsonl").as_str()) && row.get("name") == case.get("name")
}

async fn compare(case: &Value, listed: Option<&Value>) -> Result<(), String> {
    let wanted =
        |field| listed.and_then(|row| row.get(field)).or_else(|| case.get(field)).unwrap_or(&Value::Null);
    let log = Arc::new(Recorder::default());
    let answer = ask(case.get("request").unwrap_or(&Value::Null), log.clone()).await?;
    compare_answer(wanted("response"), &answer)?;
    let published: Vec<Value> = log.raw().iter().map(published).collect::<Result<_, _>>()?;
    let bodies: Vec<&Value> =
        wanted("published").as_array().into_iter().flatten().filter_map(|each| each.get("body")).collect();
    if bodies != published.iter().collect::<Vec<_>>() {
        return Err(format!("published {published:?}, expected {bodies:?}"));
    }
    Ok(())
}

async fn ask(request: &Value, log: Arc<Recorder>) -> Result<Answer, String> {
    let part = |field| text(request, field).unwrap_or_default();
    let request = Request::builder()
        .method(part("method"))
        .uri(part("path"))
        .header("content-type", part("content_type"))
        .body(Body::from(part("body").to_owned()))
        .map_err(|error| format!("the case's request cannot be made: {error}"))?;
    let clock = Clock::manual(Timestamp::EPOCH);
    let mut router =
        crate::http::router(HttpConfig::default(), crate::intake::Intake::new(log, clock, "http"))
            .map_err(|error| error.to_string())?;
    let response = router.call(request).await.unwrap_or_else(|never| match never {});
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let (status, content_type) = (response.status().as_u16(), content_type.unwrap_or_default().to_owned());
    let body =
        axum::body::to_bytes(response.into_body(), usize::MAX).await.map_err(|error| error.to_string())?;
    Ok(Answer { status, content_type, body: String::from_utf8_lossy(&body).into_owned() })
}

fn compare_answer(expected: &Value, answer: &Answer) -> Result<(), String> {
    let Answer { status, content_type, body } = answer;
    if expected.get("status") != Some(&Value::from(*status)) {
        return Err(format!("status {status}, expected {expected}; {body}"));
    }
    if text(expected, "content_type") != Some(content_type) {
        return Err(format!("content type {content_type}, expected {expected}"));
    }
    let same = match (text(expected, "body"), expected.get("body_json")) {
        // Pages for people were recorded by their beginning.
        (Some(page), _) if page.ends_with("...(html error page)") => {
            body.starts_with(page.trim_end_matches("...(html error page)"))
        }
        (Some(expected), _) => expected == body,
        (None, Some(expected)) => serde_json::from_str(body).is_ok_and(|body| contains(&body, expected)),
        (None, None) => true,
    };
    if same { Ok(()) } else { Err(format!("body {body:?}, expected {expected}")) }
}

/// Whether everything expected is there; objects may hold more.
fn contains(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => expected
            .iter()
            .all(|(key, expected)| value.get(key).is_some_and(|value| contains(value, expected))),
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len() && value.iter().zip(expected).all(|(a, b)| contains(a, b))
        }
        _ => value == expected,
    }
}

/// A raw record as the original published it: what the gateway knows was part of the event.
fn published(record: &NewRecord) -> Result<Value, String> {
    let mut event: Value = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
    let Some(object) = event.as_object_mut() else { return Err(format!("{event} is no object")) };
    if let Some(endpoint) = record.headers.get_str(headers::ENDPOINT) {
        object.insert("endpoint".to_owned(), endpoint.into());
    }
    if record.headers.get_str(headers::CUSTOM_ENDPOINT) == Some("true") {
        object.insert("customendpoint".to_owned(), true.into());
    }
    Ok(event)
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str)
}
