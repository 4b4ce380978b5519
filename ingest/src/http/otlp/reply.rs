//! What exporters are told: `ExportLogsServiceResponse` and `Status`, in the form of the request.
//!
//! In: what became of a request. Out: the response. Never: anything but these two messages.

use axum::http::StatusCode;
use axum::response::Response;
use prost::encoding::{WireType, encode_key, encode_varint, int32, int64, string};
use serde_json::{Value, json};

use super::Form;
use crate::http::batch::Problems;
use crate::http::refusal::Refusal;
use crate::http::respond;

/// `INVALID_ARGUMENT`, `UNAUTHENTICATED`, `UNAVAILABLE` and `RESOURCE_EXHAUSTED` of `google.rpc.Code`.
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// All was taken, or how many were not, and why.
pub(in crate::http) fn taken(form: Form, problems: &Problems) -> Response {
    let why = problems.listed.first().map_or_else(String::new, |first| {
        format!("log record {}: {}; kept as dead letters", first.number, first.detail)
    });
    let body = match (form, problems.count) {
        (Form::Protobuf, 0) => Vec::new(),
        (Form::Json, 0) => b"{}".to_vec(),
        (Form::Protobuf, count) => {
            let mut partial = Vec::new();
            int64::encode(1, &i64::try_from(count).unwrap_or(i64::MAX), &mut partial);
            string::encode(2, &why, &mut partial);
            let mut body = Vec::new();
            encode_key(1, WireType::LengthDelimited, &mut body);
            encode_varint(partial.len() as u64, &mut body);
            body.extend(partial);
            body
        }
        // 64-bit numbers are strings in protobuf's JSON.
        (Form::Json, count) => {
            let partial = json!({"rejectedLogRecords": count.to_string(), "errorMessage": why});
            json!({"partialSuccess": partial}).to_string().into_bytes()
        }
    };
    respond::with_body(StatusCode::OK, form.media_type(), body)
}

/// What was not taken.
pub(in crate::http) fn refused(form: Form, refusal: &Refusal) -> Response {
    let status = refusal.status();
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UNAUTHENTICATED,
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INVALID_ARGUMENT,
    };
    let message = refusal.to_string();
    match form {
        Form::Json => respond::refusal_with(refusal, status, &json!({"code": code, "message": message})),
        Form::Protobuf => {
            let mut response = respond::refusal_with(refusal, status, &Value::Null);
            let mut body = Vec::new();
            int32::encode(1, &code, &mut body);
            string::encode(2, &message, &mut body);
            respond::put_body(&mut response, form.media_type(), body);
            response
        }
    }
}
