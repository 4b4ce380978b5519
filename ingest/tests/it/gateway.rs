//! A gateway over the log in memory, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;

use ingest::intake::Intake;
use model::config::HttpConfig;
use model::time::{Clock, Timestamp};
use reqwest::{Method, Response};
use stream::shutdown::Trigger;
use tokio::task::JoinHandle;

use crate::memory_log::{MemoryLog, Mode};

/// The time of every test: 2024-06-10T06:13:20Z.
pub(crate) const NOW_MS: i64 = 1_718_000_000_000;

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) address: SocketAddr,
    pub(crate) trigger: Trigger,
    pub(crate) running: JoinHandle<()>,
    pub(crate) http: reqwest::Client,
}

/// Status, content type and body of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Answer {
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, content_type) = (response.status().as_u16(), header("content-type").unwrap_or_default());
        let retry_after = header("retry-after");
        Answer { status, content_type, retry_after, body: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Gateway {
    pub(crate) async fn start(config: HttpConfig) -> Gateway {
        let log = Arc::new(MemoryLog::new(Mode::Keeps));
        let config = HttpConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config };
        let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, shutdown) = stream::shutdown::channel();
        let clock = Clock::manual(Timestamp::from_millis(NOW_MS));
        let serving =
            ingest::http::serve(config, Intake::new(log.clone(), clock, "http"), listener, shutdown);
        let running = tokio::spawn(async move { serving.await.unwrap() });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Gateway { log, address, trigger, running, http }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.http.request(method, format!("http://{}{path}", self.address)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.ask("POST", path, &[], body).await
    }
}
