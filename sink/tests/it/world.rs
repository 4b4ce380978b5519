//! The sink over an index: the embedded one, or the real OpenSearch that the environment names.
//!
//! In: which. Out: deliveries, and a look into the index. Never: two tests at once on the real server.

use std::sync::Arc;

use bytes::Bytes;
use model::config::SinkConfig;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use opensearch::OpenSearch;
use opensearch::http::Method;
use opensearch::http::headers::HeaderMap;
use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use serde_json::json;
use sink::search::Searcher;
use stream::delivery::Delivery;
use stream::record::{Headers, Record};

/// 2024-06-10T06:13:20Z.
pub(crate) const RECEIVED_MS: i64 = 1_718_000_000_000;
pub(crate) const DAY_MS: i64 = 86_400_000;

/// The real server is one test's at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) struct World {
    pub(crate) events: Arc<dyn Delivery>,
    pub(crate) alerts: Arc<dyn Delivery>,
    pub(crate) search: Searcher,
    pub(crate) readiness: sink::Readiness,
    pub(crate) index: sink::index::Index,
    pub(crate) client: OpenSearch,
    _folder: tempfile::TempDir,
    _turn: Option<tokio::sync::MutexGuard<'static, ()>>,
}

/// Over the real server, emptied; `None`, said loudly, where the environment names none.
pub(crate) async fn real() -> Option<World> {
    let Ok(url) = std::env::var("MOZDEF_TEST_OPENSEARCH") else {
        let required = std::env::var("MOZDEF_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.contains("opensearch"), "MOZDEF_TEST_REQUIRE names opensearch");
        eprintln!("SKIPPED (needs opensearch)");
        return None;
    };
    let turn = TURN.lock().await;
    let client = client(&url);
    for path in ["/_index_template/*", "/*"] {
        let sent = client.send(Method::Delete, path, HeaderMap::new(), None::<&()>, None::<String>, None);
        assert!(matches!(sent.await.unwrap().status_code().as_u16(), 200 | 404), "{path}");
    }
    Some(over(&url, tempfile::tempdir().unwrap(), Some(turn)).await)
}

/// Over the embedded index.
pub(crate) async fn embedded() -> World {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::EmbeddedOptions {
        folder: folder.path().to_owned(),
        writer_mib: 32,
        refresh_ms: 50,
        clock: Clock::System,
    };
    let index = tokio::task::spawn_blocking(|| embedded::open(options)).await.unwrap().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(embedded::serve(index, listener, std::future::pending::<()>()));
    over(&url, folder, None).await
}

fn client(url: &str) -> OpenSearch {
    let pool = SingleNodeConnectionPool::new(url.parse().unwrap());
    OpenSearch::new(TransportBuilder::new(pool).disable_proxy().build().unwrap())
}

async fn over(
    url: &str,
    folder: tempfile::TempDir,
    turn: Option<tokio::sync::MutexGuard<'static, ()>>,
) -> World {
    let parts = sink::start(&SinkConfig::default(), url).await.unwrap();
    let [(_, _, events), (_, _, alerts)] = <[_; 2]>::try_from(parts.deliveries).ok().unwrap();
    let index = sink::index::Index::new(url, None, None).unwrap();
    let (search, readiness) = (parts.search, parts.readiness);
    World { events, alerts, search, readiness, index, client: client(url), _folder: folder, _turn: turn }
}

/// Runs a test over the embedded index and over the real one.
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::world::embedded().await).await;
            })*
        }
        mod real {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(world) = $crate::world::real().await {
                    super::$name(world).await;
                }
            })*
        }
    };
}
pub(crate) use over_both;

pub(crate) fn record(
    topic: Topic,
    key: &str,
    value: &serde_json::Value,
    headers: &[(&'static str, String)],
) -> Record {
    let headers = headers.iter().fold(Headers::new(), |all, (name, value)| all.with(*name, value.clone()));
    let (partition, offset, appended) = (0, 0, Timestamp::EPOCH);
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_string()));
    Record { topic, partition, offset, appended, key, value, headers }
}

pub(crate) fn event(id: &str, received_ms: i64, summary: &str, details: serde_json::Value) -> Record {
    let time = Timestamp::from_millis(received_ms).to_string();
    let event = json!({
        "receivedtimestamp": time, "utctimestamp": time, "timestamp": time, "mozdefhostname": "h", "type": "event",
        "category": "test", "hostname": "web1", "processid": "1", "processname": "p", "severity": "INFO",
        "source": "s", "summary": summary, "tags": ["a"], "details": details, "mozdef": {"plugins": []},
    });
    record(Topic::Events, id, &event, &[("received", received_ms.to_string())])
}

pub(crate) fn alert(id: &str, revision: u64, summary: &str) -> Record {
    let alert =
        json!({"utctimestamp": "2024-06-10T06:13:20+00:00", "summary": summary, "revision": revision});
    record(Topic::Alerts, id, &alert, &[("revision", revision.to_string())])
}

/// Asks until as many are found: a document is searchable only after a refresh.
pub(crate) async fn found(search: &Searcher, query: &str, total: u64) -> sink::search::Found {
    for _ in 0..200 {
        let found = search.events(query, None, None, 100).await.unwrap();
        if found.total == total {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{query}: {:?}, expected {total}", search.events(query, None, None, 100).await.unwrap());
}
