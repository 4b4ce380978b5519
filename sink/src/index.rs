//! The connection to OpenSearch, through its official client.
//!
//! In: an address and requests. Out: status and body, or why there is none.
//! Never: a decision about a document; a proxy taken from the environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::error::Verdict;
use opensearch::OpenSearch;
use opensearch::auth::Credentials;
use opensearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use serde_json::Value;
use url::Url;

/// The words of HTTP, for implementors of [`Transport`].
pub use opensearch::http::Method;

/// Longest wait for an answer. A bulk request whose answer is lost is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Milliseconds after which another try makes sense, where nothing else says so.
const RETRY_AFTER_MS: u64 = 1000;
/// Longest part of an error's text that is kept.
const REASON_CHARS_MAX: usize = 500;

/// Why the index did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The address cannot be used.
    #[error("sink.url: {url} is no address such as http://127.0.0.1:9200: {cause}")]
    Address {
        /// As configured.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No connection, or none any more.
    #[error("index at {url} is not reachable: {cause}; is it running? (sink.url)")]
    Unreachable {
        /// Its address.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// No answer in time.
    #[error("index at {url} did not answer in time")]
    TimedOut {
        /// Its address.
        url: String,
    },
    /// An answer that is none.
    #[error("the answer of the index at {url} cannot be read: {cause}")]
    Garbled {
        /// Its address.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It said no.
    #[error("index at {url} answered {status}: {reason}")]
    Refused {
        /// Its address.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        reason: String,
    },
}

impl IndexError {
    /// What happens next to what was asked.
    pub fn verdict(&self) -> Verdict {
        match self {
            IndexError::Address { .. } => Verdict::Halt,
            IndexError::Unreachable { .. }
            | IndexError::TimedOut { .. }
            | IndexError::Garbled { .. }
            | IndexError::Refused { .. } => Verdict::Retry { after_ms: RETRY_AFTER_MS },
        }
    }
}

/// A request to the index.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Where, from the slash on.
    pub path: String,
    /// What is sent along.
    pub body: Option<Bytes>,
    /// What the body is.
    pub content_type: Option<&'static str>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All of the body.
    pub body: Bytes,
}

/// The way to an index: over HTTP, or within the process, as the simulation has it.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`IndexError::Unreachable`] or [`IndexError::TimedOut`]: whether the request took effect is not known.
    async fn send(&self, request: Request) -> Result<Answer, IndexError>;
}

/// OpenSearch's client.
#[derive(Debug)]
struct Http {
    client: OpenSearch,
    url: String,
}

/// The index. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Index {
    transport: Arc<dyn Transport>,
    url: String,
}

impl Index {
    /// For an address; the connection is made with the first request.
    pub fn new(url: &str, user: Option<&str>, password: Option<&str>) -> Result<Index, IndexError> {
        let wrong = |cause: String| IndexError::Address { url: url.to_owned(), cause };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("{} is not known", parsed.scheme())));
        }
        let pool = SingleNodeConnectionPool::new(parsed);
        let mut builder = TransportBuilder::new(pool).disable_proxy().timeout(REQUEST_TIMEOUT);
        if let Some(user) = user {
            let password = password.unwrap_or_default().to_owned();
            builder = builder.auth(Credentials::Basic(user.to_owned(), password));
        }
        let transport = builder.build().map_err(|error| wrong(error.to_string()))?;
        let http = Http { client: OpenSearch::new(transport), url: url.to_owned() };
        Ok(Index::over(Arc::new(http), url))
    }

    /// By another way. `url`: for messages.
    pub fn over(transport: Arc<dyn Transport>, url: &str) -> Index {
        Index { transport, url: url.to_owned() }
    }

    /// Its address, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Names of the indices that an alias stands for, sorted; none where there is no such alias.
    pub async fn indices_of(&self, alias: &str) -> Result<Vec<String>, IndexError> {
        let found = self
            .json(Method::Get, &format!("/_alias/{}", crate::indices::encoded(alias)), None, &[404])
            .await?;
        let mut names: Vec<String> =
            found.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Sends a bulk body.
    pub(crate) async fn bulk(&self, body: Bytes) -> Result<Answer, IndexError> {
        self.send(Method::Post, "/_bulk", Some(body), Some("application/x-ndjson")).await
    }

    /// Asks with a JSON body and expects JSON; a status in `tolerated` gives null.
    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        tolerated: &[u16],
    ) -> Result<Value, IndexError> {
        let body = body.map(|value| Bytes::from(value.to_string()));
        let answer = self.send(method, path, body, Some("application/json")).await?;
        if tolerated.contains(&answer.status) {
            return Ok(Value::Null);
        }
        let body = self.expect(answer, tolerated)?;
        serde_json::from_slice(&body)
            .map_err(|error| IndexError::Garbled { url: self.url.clone(), cause: error.to_string() })
    }

    /// Sends anything.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        content_type: Option<&'static str>,
    ) -> Result<Answer, IndexError> {
        self.transport.send(Request { method, path: path.to_owned(), body, content_type }).await
    }

    fn expect(&self, answer: Answer, tolerated: &[u16]) -> Result<Bytes, IndexError> {
        if (200..300).contains(&answer.status) || tolerated.contains(&answer.status) {
            return Ok(answer.body);
        }
        Err(IndexError::Refused {
            url: self.url.clone(),
            status: answer.status,
            reason: reason(&answer.body),
        })
    }
}

#[async_trait]
impl Transport for Http {
    async fn send(&self, request: Request) -> Result<Answer, IndexError> {
        let Request { method, path, body, content_type } = request;
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let sent = self.client.send(method, &path, headers, None::<&()>, body, None).await;
        let response = sent.map_err(|error| self.failed(&error))?;
        let status = response.status_code().as_u16();
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        Ok(Answer { status, body })
    }
}

impl Http {
    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> IndexError {
        let mut cause = error.to_string();
        let mut inner = error.source();
        let mut timed_out = cause.contains("timed out");
        // The causes say what happened; the outermost text only repeats the address.
        while let Some(source) = inner {
            cause = source.to_string();
            timed_out |= cause.contains("timed out");
            inner = source.source();
        }
        if timed_out {
            return IndexError::TimedOut { url: self.url.clone() };
        }
        IndexError::Unreachable { url: self.url.clone(), cause }
    }
}

/// The reason in an error's body, shortened.
pub(crate) fn reason(body: &[u8]) -> String {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = parsed.get("error");
    let said = match error {
        Some(Value::String(text)) => Some(text.clone()),
        Some(error) => {
            // The outermost words of a failed search say only that it failed.
            let cause = error.pointer("/root_cause/0").unwrap_or(error);
            let part = |key| cause.get(key).and_then(Value::as_str);
            part("type").map(|kind| format!("{kind}: {}", part("reason").unwrap_or_default()))
        }
        None => None,
    };
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::{Index, reason};

    #[test]
    fn a_wrong_address_is_told() {
        for wrong in ["", "localhost:9200", "ftp://x", "http://"] {
            let error = Index::new(wrong, None, None).unwrap_err().to_string();
            assert!(error.starts_with("sink.url: "), "{wrong}: {error}");
        }
        assert_eq!(
            Index::new("http://127.0.0.1:9200", Some("u"), Some("p")).unwrap().url(),
            "http://127.0.0.1:9200"
        );
    }

    #[test]
    fn the_reason_of_an_error_is_found() {
        assert_eq!(reason(br#"{"error":{"type":"t","reason":"r"},"status":400}"#), "t: r");
        let nested = br#"{"error":{"root_cause":[{"type":"t","reason":"r"}],"type":"outer","reason":"all shards failed"}}"#;
        assert_eq!(reason(nested), "t: r");
        assert_eq!(reason(br#"{"error":"no handler"}"#), "no handler");
        assert_eq!(reason(b"<html>bad gateway"), "<html>bad gateway");
        assert_eq!(reason("é".repeat(2000).as_bytes()).chars().count(), 500);
    }
}
