//! Pub/Sub's REST API, as far as a subscriber needs it.
//!
//! In: requests. Out: answers. Never: a token in a message.

use std::time::Duration;

use bytes::Bytes;
use model::config::PubSubConfig;
use model::time::Clock;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::PubSubError;
use super::credentials::{Credentials, Key};
use super::message::Received;
use crate::fetch::{self, FetchError};

/// A pull may take this long: the server waits for messages.
const PULL_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time of every other request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most ids of one request: it may have 512 KiB.
const IDS_MAX: usize = 1000;

/// One subscription.
pub(super) struct Api {
    http: Client,
    /// Address of the subscription.
    url: String,
    credentials: Option<Credentials>,
}

impl Api {
    /// Reads the key; asks nobody yet.
    pub(super) fn new(name: &str, config: &PubSubConfig, clock: Clock) -> Result<Api, PubSubError> {
        let http = fetch::client(PULL_TIMEOUT)
            .map_err(|source| PubSubError::Client { name: name.to_owned(), source })?;
        let base = config.emulator.as_ref().unwrap_or(&config.url).trim_end_matches('/');
        let credentials = match (&config.emulator, &config.key_file) {
            (Some(_), _) => None,
            (None, Some(file)) => {
                let key =
                    Key::read(file).map_err(|source| PubSubError::Key { name: name.to_owned(), source })?;
                Some(Credentials::of_key(key, http.clone(), clock))
            }
            (None, None) => Some(Credentials::of_machine(http.clone(), clock)),
        };
        Ok(Api { http, url: format!("{base}/v1/{}", config.subscription), credentials })
    }

    /// Messages, perhaps none, after a while.
    pub(super) async fn pull(&self, most: u32) -> Result<Vec<Received>, FetchError> {
        let body = self.post("pull", &json!({ "maxMessages": most }), PULL_TIMEOUT).await?;
        let unreadable = |why: String| FetchError::Later { after: None, why };
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|error| unreadable(format!("its answer is no JSON: {error}")))?;
        let messages = answer.get("receivedMessages").and_then(Value::as_array).into_iter().flatten();
        Ok(messages.filter_map(Received::read).collect())
    }

    /// Messages are done.
    pub(super) async fn acknowledge(&self, ids: &[String]) -> Result<(), FetchError> {
        for ids in ids.chunks(IDS_MAX) {
            self.post("acknowledge", &json!({ "ackIds": ids }), TIMEOUT).await?;
        }
        Ok(())
    }

    /// Messages are ours for so long from now; with zero they are anybody's.
    pub(super) async fn modify_deadline(&self, ids: &[String], deadline: Duration) -> Result<(), FetchError> {
        for ids in ids.chunks(IDS_MAX) {
            let request = json!({ "ackIds": ids, "ackDeadlineSeconds": deadline.as_secs() });
            self.post("modifyAckDeadline", &request, TIMEOUT).await?;
        }
        Ok(())
    }

    /// Once more with a new token, where the old one is not taken.
    async fn post(&self, verb: &str, request: &Value, timeout: Duration) -> Result<Bytes, FetchError> {
        let mut renewed = false;
        loop {
            let mut asking = self
                .http
                .post(format!("{}:{verb}", self.url))
                .timeout(timeout)
                .header(CONTENT_TYPE, "application/json")
                .body(request.to_string());
            let token = match &self.credentials {
                Some(credentials) => credentials.token().await?,
                None => String::new(),
            };
            if self.credentials.is_some() {
                asking = asking.bearer_auth(&token);
            }
            match (fetch::ask(asking, ANSWER_BYTES_MAX).await, &self.credentials) {
                (Err(FetchError::Denied { .. }), Some(credentials)) if !renewed => {
                    renewed = true;
                    credentials.forget(&token).await;
                }
                (answer, _) => return answer,
            }
        }
    }
}
