//! OpenSearch's API as plain calls: a request in, a reply out, without a network.
//!
//! In: method, path, parameters, body. Out: status and body in OpenSearch's shapes. Never: an endpoint or a parameter
//! that is taken and not understood.

mod aliases;
mod bulk;
mod bulk_lines;
mod cat;
mod cluster;
mod documents;
mod indices;
mod params;
mod route;
mod search;
mod search_reply;
mod templates;

use serde_json::Value;

use crate::engine::Index;
use crate::error::ApiError;
use params::Params;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `GET`, `POST`, `PUT`, `DELETE` or `HEAD`.
    pub method: &'r str,
    /// Path as it was sent: percent-encoded, without the query.
    pub path: &'r str,
    /// What follows `?`; may be empty.
    pub query: &'r str,
    /// The body, decompressed.
    pub body: &'r [u8],
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Media type of JSON replies.
const JSON: &str = "application/json; charset=UTF-8";
/// Media type of tables.
const TEXT: &str = "text/plain; charset=UTF-8";

impl Reply {
    fn json(status: u16, body: &Value) -> Reply {
        Reply::raw(status, body.to_string().into_bytes())
    }

    fn ok(body: &Value) -> Reply {
        Reply::json(200, body)
    }

    fn acknowledged() -> Reply {
        Reply::ok(&serde_json::json!({"acknowledged": true}))
    }

    /// JSON that is already text.
    fn raw(status: u16, body: Vec<u8>) -> Reply {
        Reply { status, content_type: JSON, body }
    }

    fn text(body: String) -> Reply {
        Reply { status: 200, content_type: TEXT, body: body.into_bytes() }
    }

    /// The reply to `HEAD`: a status alone.
    fn exists(found: bool) -> Reply {
        Reply { status: if found { 200 } else { 404 }, content_type: JSON, body: Vec::new() }
    }

    /// An error.
    pub fn error(error: &ApiError) -> Reply {
        Reply::json(error.status, &error.body_json())
    }
}

impl Index {
    /// Answers a request. It reads and writes files: call it where blocking is allowed.
    pub fn handle(&self, request: &Request<'_>) -> Reply {
        let mut pretty = false;
        let reply = Params::read(request.query)
            .and_then(|mut params| {
                pretty = params.flag("pretty")?.unwrap_or(false);
                route::dispatch(self, request, params)
            })
            .unwrap_or_else(|error| {
                if error.status >= 500 {
                    tracing::error!(method = request.method, path = request.path, %error, "a request failed");
                }
                Reply::error(&error)
            });
        if pretty { prettier(reply) } else { reply }
    }
}

fn prettier(mut reply: Reply) -> Reply {
    // A body that this reader does not take, such as one with a number beyond 64 bits, stays as it is.
    if reply.content_type == JSON
        && let Ok(value) = serde_json::from_slice::<Value>(&reply.body)
        && let Ok(mut text) = serde_json::to_vec_pretty(&value)
    {
        text.push(b'\n');
        reply.body = text;
    }
    reply
}
