//! An index for tests that misbehaves by a script.
//!
//! In: the requests that the sink makes. Out: answers in OpenSearch's shape,
//! or none. Never: more of OpenSearch than the sink needs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "only tests have it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

/// What happens to one bulk request; without a step it is done as asked.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// This status, nothing stored.
    Whole(u16),
    /// These ids get this status and error, the others are stored.
    Items { ids: Vec<String>, status: u16, error: Value },
    /// All is stored, and the connection breaks in the middle of the answer.
    StoreThenReset,
    /// All is stored, and the answer is half of it.
    StoreThenTruncate,
    /// All is stored, and the answer is something else.
    StoreThenGarble,
    /// Nothing is stored, and the connection breaks.
    Reset,
}

impl Step {
    pub(crate) fn items(ids: &[&str], status: u16, kind: &str, reason: &str) -> Step {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Step::Items { ids, status, error: json!({"type": kind, "reason": reason}) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    script: VecDeque<Step>,
    documents: BTreeMap<(String, String), (u64, Bytes)>,
    indices: BTreeSet<String>,
    requests: Vec<Vec<String>>,
    setup: Vec<String>,
    shut: bool,
}

/// The index. Ends with the test's runtime.
pub(crate) struct FakeIndex {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl FakeIndex {
    pub(crate) async fn start(script: Vec<Step>) -> FakeIndex {
        let inner = Arc::new(Mutex::new(Inner { script: script.into(), ..Inner::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        FakeIndex { address, inner }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is stored, by index and id.
    pub(crate) fn documents(&self) -> BTreeMap<(String, String), Bytes> {
        self.inner().documents.iter().map(|(key, (_, source))| (key.clone(), source.clone())).collect()
    }

    /// Ids of each bulk request.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.inner().requests.clone()
    }

    /// Other requests that change something.
    pub(crate) fn setup(&self) -> Vec<String> {
        self.inner().setup.clone()
    }

    /// Whether everything is answered 403.
    pub(crate) fn shut(&self, shut: bool) {
        self.inner().shut = shut;
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut inner = inner.lock().unwrap();
    let path = parts.uri.path().to_owned();
    if inner.shut {
        return (StatusCode::FORBIDDEN, "{}").into_response();
    }
    match (&parts.method, path.as_str()) {
        (&Method::POST, "/_bulk") => inner.bulk(&body),
        (&Method::POST, "/_mget") => inner.mget(&body),
        (&Method::POST, "/_aliases") => inner.note(&parts.method, &path),
        (&Method::PUT, _) if path.starts_with("/_index_template/") => inner.note(&parts.method, &path),
        (&Method::PUT, _) => inner.make(&parts.method, &path),
        (&Method::GET, _) if path.ends_with("/_alias") => {
            let found: serde_json::Map<_, _> =
                inner.indices.iter().map(|index| (index.clone(), json!({"aliases": {}}))).collect();
            Value::from(found).to_string().into_response()
        }
        (&Method::GET, _) if inner.indices.contains(path.trim_start_matches('/')) => "{}".into_response(),
        _ => (StatusCode::NOT_FOUND, "{}").into_response(),
    }
}

impl Inner {
    fn note(&mut self, method: &Method, path: &str) -> Response {
        self.setup.push(format!("{method} {path}"));
        "{\"acknowledged\":true}".into_response()
    }

    fn make(&mut self, method: &Method, path: &str) -> Response {
        let name = path.trim_start_matches('/');
        let bad = name.contains(['%', ' ']) || name.chars().any(char::is_uppercase);
        if bad || !self.indices.insert(name.to_owned()) {
            return (StatusCode::BAD_REQUEST, "{\"error\":{\"type\":\"x\",\"reason\":\"no\"}}")
                .into_response();
        }
        self.note(method, path)
    }

    fn mget(&self, body: &[u8]) -> Response {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let docs = asked["docs"].as_array().unwrap().iter().map(|doc| {
            let key = (doc["_index"].as_str().unwrap().to_owned(), doc["_id"].as_str().unwrap().to_owned());
            match self.documents.get(&key) {
                Some((_, source)) => {
                    format!("{{\"found\":true,\"_source\":{}}}", String::from_utf8_lossy(source))
                }
                None => "{\"found\":false}".to_owned(),
            }
        });
        format!("{{\"docs\":[{}]}}", docs.collect::<Vec<_>>().join(",")).into_response()
    }

    fn bulk(&mut self, body: &[u8]) -> Response {
        let lines: Vec<&[u8]> = body.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').collect();
        assert!(lines.len().is_multiple_of(2), "a line feed in a document");
        let items: Vec<(Value, Bytes)> = lines
            .chunks(2)
            .map(|pair| (serde_json::from_slice(pair[0]).unwrap(), Bytes::copy_from_slice(pair[1])))
            .collect();
        let id = |action: &Value| {
            action.as_object().unwrap().values().next().unwrap()["_id"].as_str().unwrap().to_owned()
        };
        self.requests.push(items.iter().map(|(action, _)| id(action)).collect());
        let step = self.script.pop_front();
        if let Some(Step::Whole(status)) = step {
            return (StatusCode::from_u16(status).unwrap(), "{\"error\":\"scripted\"}").into_response();
        }
        if matches!(step, Some(Step::Reset)) {
            return broken("");
        }
        let results: Vec<Value> = items
            .iter()
            .map(|(action, source)| match &step {
                Some(Step::Items { ids, status, error }) if ids.contains(&id(action)) => {
                    let verb = action.as_object().unwrap().keys().next().unwrap();
                    json!({verb: {"status": status, "error": error}})
                }
                _ => self.store(action, source),
            })
            .collect();
        let reply = json!({"took": 1, "errors": true, "items": results}).to_string();
        match step {
            Some(Step::StoreThenReset) => broken(&reply[..reply.len() / 2]),
            Some(Step::StoreThenTruncate) => reply[..reply.len() / 2].to_owned().into_response(),
            Some(Step::StoreThenGarble) => "<html>ok</html>".into_response(),
            _ => reply.into_response(),
        }
    }

    fn store(&mut self, action: &Value, source: &Bytes) -> Value {
        let (verb, target) = action.as_object().unwrap().iter().next().unwrap();
        let key = (target["_index"].as_str().unwrap().to_owned(), target["_id"].as_str().unwrap().to_owned());
        let old = self.documents.get(&key).map(|(version, _)| *version);
        let version = target["version"].as_u64().unwrap_or(1);
        let taken = match (verb.as_str(), target["version_type"].as_str(), old) {
            (_, _, None) => true,
            ("create", _, Some(_)) => false,
            (_, Some("external_gte"), Some(old)) => version >= old,
            (_, _, Some(old)) => version > old,
        };
        if !taken {
            return json!({verb: {"status": 409, "error": {"type": "version_conflict_engine_exception"}}});
        }
        let value: Value = serde_json::from_slice(source).unwrap_or_default();
        if let Some(address) = value.pointer("/details/sourceipaddress").and_then(Value::as_str)
            && address.parse::<std::net::IpAddr>().is_err()
        {
            let reason =
                "failed to parse field [details.sourceipaddress] of type [ip] in document with id 'x'";
            return json!({verb: {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": reason}}});
        }
        self.documents.insert(key, (version, source.clone()));
        json!({verb: {"_index": "x", "status": 201, "result": "created"}})
    }
}

/// An answer that ends with the connection.
fn broken(half: &str) -> Response {
    let half = Bytes::copy_from_slice(half.as_bytes());
    let parts = [Ok(half), Err(std::io::Error::other("scripted reset"))];
    Body::from_stream(futures_util::stream::iter(parts)).into_response()
}
