//! How commands talk to a running `mozdef up`: JSON over HTTP to its admin address.
//!
//! In: paths and parameters. Out: JSON, or an error that says what to do.
//! Never: retries; these are questions of a person who can ask again.

use std::time::Duration;

use anyhow::{Context, bail};
use model::config::Config;
use serde_json::Value;

/// Talks to one admin address.
pub(crate) struct AdminClient {
    http: reqwest::Client,
    base: String,
}

/// An HTTP client with the timeouts that all commands use.
pub(crate) fn http() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(60))
        .user_agent(concat!("mozdef/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("cannot set up the HTTP client")
}

impl AdminClient {
    /// For an explicit address, else that of the configuration.
    pub(crate) fn new(explicit: Option<String>, config: &Config) -> anyhow::Result<AdminClient> {
        let base = explicit.unwrap_or_else(|| format!("http://{}", config.admin.listen));
        Ok(AdminClient { http: http()?, base: base.trim_end_matches('/').to_owned() })
    }

    /// Asks one question.
    pub(crate) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = url::Url::parse(&format!("{}{path}", self.base))
            .with_context(|| format!("{} is no address such as http://127.0.0.1:9600", self.base))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let response = self.http.get(url).send().await.map_err(|error| {
            let hint = if error.is_connect() {
                "; is `mozdef up` running? (--admin gives another address)"
            } else {
                ""
            };
            anyhow::anyhow!("cannot reach MozDef at {}{hint}", self.base)
        })?;
        let status = response.status();
        let body =
            response.bytes().await.with_context(|| format!("the answer of {} broke off", self.base))?;
        let value: Value = serde_json::from_slice(&body).with_context(|| {
            format!("{} answered {status}, but not JSON; is it MozDef's admin address?", self.base)
        })?;
        if !status.is_success() {
            bail!("{}", value.get("error").and_then(Value::as_str).unwrap_or("the server could not answer"));
        }
        Ok(value)
    }
}
