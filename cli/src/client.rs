//! Whom commands ask: a running process, through its admin address; or, with Kafka and OpenSearch, these themselves.
//!
//! In: questions. Out: JSON, or an error that says what to do.
//! Never: retries; these are questions of a person who can ask again.

use std::time::Duration;

use anyhow::{Context, bail};
use model::config::Config;
use model::time::Clock;
use serde_json::Value;

use crate::process::searcher;
use crate::questions::{Question, Sources};

/// Who answers.
pub(crate) enum Asker {
    /// A running process.
    Admin(AdminClient),
    /// This one.
    Own(Sources),
}

impl Asker {
    /// The running process, whatever the configuration says.
    pub(crate) fn running(admin: Option<String>, config: &Config) -> anyhow::Result<Asker> {
        Ok(Asker::Admin(AdminClient::new(admin, config)?))
    }

    /// For questions about the index: it is asked itself where it is for all to reach.
    pub(crate) fn of_index(admin: Option<String>, config: &Config) -> anyhow::Result<Asker> {
        let url = config.sink.url.as_ref().filter(|_| config.log.kafka.is_some());
        let (None, Some(url)) = (&admin, url) else {
            return Asker::running(admin, config);
        };
        let sources = Sources::new(Clock::System);
        if sources.search.set(searcher(config, url)?).is_err() {
            bail!("the index is set twice");
        }
        Ok(Asker::Own(sources))
    }

    /// For questions about the log: Kafka is asked itself.
    pub(crate) async fn of_log(admin: Option<String>, config: &Config) -> anyhow::Result<Asker> {
        let (None, Some(kafka)) = (&admin, &config.log.kafka) else {
            return Asker::running(admin, config);
        };
        let sources = Sources::new(Clock::System);
        if sources.log.set(stream::kafka::open(kafka, Clock::System).await?).is_err() {
            bail!("the log is set twice");
        }
        Ok(Asker::Own(sources))
    }

    /// Asks one question.
    pub(crate) async fn ask(&self, question: &Question) -> anyhow::Result<Value> {
        match self {
            Asker::Admin(client) => client.get(question.path(), &question.parameters()).await,
            Asker::Own(sources) => {
                sources.answer(question).await.map_err(|failure| anyhow::anyhow!("{}", failure.into_text()))
            }
        }
    }
}

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
    fn new(explicit: Option<String>, config: &Config) -> anyhow::Result<AdminClient> {
        let base = explicit.unwrap_or_else(|| format!("http://{}", config.admin.listen));
        Ok(AdminClient { http: http()?, base: base.trim_end_matches('/').to_owned() })
    }

    /// Asks one question.
    async fn get(&self, path: &str, parameters: &[(&'static str, String)]) -> anyhow::Result<Value> {
        let mut url = url::Url::parse(&format!("{}{path}", self.base))
            .with_context(|| format!("{} is no address such as http://127.0.0.1:9600", self.base))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let response = self.http.get(url).send().await.map_err(|error| {
            let hint =
                if error.is_connect() { "; is it running? (--admin gives another address)" } else { "" };
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
