//! What an index holds: the embedded one in this process, or any at an address.

use std::path::Path;

use anyhow::Context;
use model::time::Clock;
use serde_json::{Value, json};

/// Documents of one page.
const PAGE: usize = 10_000;

/// An index at an address.
#[derive(Clone)]
pub struct Index {
    /// Its address, such as `http://127.0.0.1:9200`.
    pub url: String,
    http: reqwest::Client,
}

impl Index {
    /// The index that answers at `url`.
    pub fn at(url: &str, http: &reqwest::Client) -> Index {
        Index { url: url.to_owned(), http: http.clone() }
    }

    /// Serves the embedded index from a folder, in this process, until the runtime ends.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn serve(folder: &Path, http: &reqwest::Client) -> anyhow::Result<Index> {
        let options = embedded::EmbeddedOptions {
            folder: folder.to_owned(),
            writer_mib: 32,
            refresh_ms: 500,
            clock: Clock::System,
        };
        let index = tokio::task::spawn_blocking(move || embedded::open(options)).await??;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(embedded::serve(index, listener, std::future::pending()));
        Ok(Index { url, http: http.clone() })
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// No answer, or none of JSON.
    pub async fn ask(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = self.http.post(&url).header("content-type", "application/json").body(body.to_string());
        let body = request.send().await?.bytes().await?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: {}", String::from_utf8_lossy(&body)))
    }

    /// How many documents an index or alias has; none where it is not there.
    ///
    /// # Errors
    /// No answer.
    pub async fn count(&self, index: &str) -> anyhow::Result<u64> {
        let found = self.ask(&format!("/{index}/_count?ignore_unavailable=true"), &json!({})).await?;
        Ok(found.get("count").and_then(Value::as_u64).unwrap_or(0))
    }

    /// Every document of an index or alias, page by page, in order of a field whose values are (nearly) distinct:
    /// no page may end within equal values. Only these fields of it; all where none are named.
    ///
    /// # Errors
    /// No answer, or one without hits.
    pub async fn documents(&self, index: &str, order: &str, fields: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut after: Option<Value> = None;
        loop {
            let mut body = json!({"size": PAGE, "query": {"match_all": {}}, "sort": [{order: "asc"}]});
            if let Some(object) = body.as_object_mut() {
                object.extend(after.take().map(|after| ("search_after".to_owned(), after)));
                object.extend((!fields.is_empty()).then(|| ("_source".to_owned(), json!(fields))));
            }
            let path = format!("/{index}/_search?ignore_unavailable=true");
            let found = self.ask(&path, &body).await?;
            let hits = found.pointer("/hits/hits").and_then(Value::as_array).cloned();
            let hits = hits.with_context(|| format!("no hits in {found}"))?;
            after = hits.last().and_then(|hit| hit.get("sort").cloned());
            let done = hits.len() < PAGE;
            all.extend(hits);
            if done {
                return Ok(all);
            }
        }
    }
}
