//! Google Cloud Pub/Sub.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mistake;

/// A subscription whose messages are fetched, each a JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PubSubConfig {
    /// The subscription's full name: `projects/PROJECT/subscriptions/NAME`.
    pub subscription: String,
    /// Key file (JSON) of a service account. Without it the machine's own account is asked of the metadata server.
    pub key_file: Option<PathBuf>,
    /// Address of an emulator, such as `http://127.0.0.1:8085`. Nobody is asked for credentials then.
    pub emulator: Option<String>,
    /// Messages of one answer.
    #[schemars(range(min = 1, max = 1000))]
    pub page: u32,
    /// Pulls under way at once.
    #[schemars(range(min = 1, max = 32))]
    pub pulls: u32,
    /// How long a message is ours before Pub/Sub gives it to somebody else, in seconds. It is asked for again while the log
    /// is out of reach.
    #[schemars(range(min = 10, max = 600))]
    pub ack_deadline_s: u32,
    /// Address of the API.
    pub url: String,
}

impl Default for PubSubConfig {
    fn default() -> Self {
        PubSubConfig {
            subscription: String::new(),
            key_file: None,
            emulator: None,
            page: 1000,
            pulls: 2,
            ack_deadline_s: 60,
            url: "https://pubsub.googleapis.com".to_owned(),
        }
    }
}

impl PubSubConfig {
    /// What is wrong with the values: key, what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        let parts: Vec<_> = self.subscription.split('/').collect();
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.~+%:".contains(&c))
        };
        match parts.as_slice() {
            ["projects", project, "subscriptions", name] if is_name(project) && is_name(name) => {}
            _ => found.push((
                "subscription".to_owned(),
                format!("{:?} is no subscription's full name", self.subscription),
                "write projects/PROJECT/subscriptions/NAME".to_owned(),
            )),
        }
        if self.emulator.is_some() && self.key_file.is_some() {
            let remedy = "remove one of them".to_owned();
            found.push(("key_file".to_owned(), "an emulator asks for no credentials".to_owned(), remedy));
        }
        for (key, url) in [("url", Some(&self.url)), ("emulator", self.emulator.as_ref())] {
            if let Some(url) = url.filter(|url| !super::is_http(url)) {
                let remedy = "begin with https:// or http://".to_owned();
                found.push((key.to_owned(), format!("{url:?} is no http address"), remedy));
            }
        }
        found
    }
}
