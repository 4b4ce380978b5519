//! The API over the network: the official client, and raw requests.

use std::io::Write;

use model::time::Clock;
use opensearch::http::transport::Transport;
use opensearch::{BulkOperation, BulkParts, OpenSearch, SearchParts};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Server {
    address: String,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

async fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::EmbeddedOptions {
        folder: folder.path().to_owned(),
        writer_mib: 16,
        refresh_ms: 50,
        clock: Clock::System,
    };
    let index = embedded::open(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(embedded::serve(index, listener, async {
        stopped.await.ok();
    }));
    Server { address, stop, task, _folder: folder }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_works() {
    let server = start().await;
    let client = OpenSearch::new(Transport::single_node(&format!("http://{}", server.address)).unwrap());
    let info: Value = client.info().send().await.unwrap().json().await.unwrap();
    assert_eq!(info["version"]["distribution"], "opensearch");
    let operations: Vec<BulkOperation<Value>> = (0..10)
        .map(|n| BulkOperation::create(n.to_string(), json!({"n": n, "host": format!("h{n}")})).into())
        .collect();
    let reply = client
        .bulk(BulkParts::Index("events-1"))
        .refresh(opensearch::params::Refresh::WaitFor)
        .body(operations)
        .send()
        .await
        .unwrap();
    let reply: Value = reply.json().await.unwrap();
    assert_eq!(reply["errors"], false, "{reply}");
    let found = client
        .search(SearchParts::Index(&["events-*"]))
        .size(3)
        .body(json!({"query": {"range": {"n": {"gte": 4}}}, "sort": [{"n": "desc"}]}))
        .send()
        .await
        .unwrap();
    let found: Value = found.json().await.unwrap();
    assert_eq!(found["hits"]["total"]["value"], 6);
    assert_eq!(found["hits"]["hits"][0]["_id"], "9");
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

/// Sends bytes, reads all that comes back.
async fn raw(address: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_may_be_packed_and_are_bounded() {
    let server = start().await;
    let post = |extra: &str, length: usize| {
        format!(
            "POST /_bulk HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\n{extra}content-length: {length}\r\n\r\n"
        )
    };
    let lines = b"{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"x\":1}\n";
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(lines).unwrap();
    let packed = packer.finish().unwrap();
    let reply = raw(&server.address, &post("content-encoding: gzip\r\n", packed.len()), &packed).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"errors\":false"), "{reply}");

    let reply = raw(&server.address, &post("content-encoding: gzip\r\n", 3), b"abc").await;
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("not valid gzip"), "{reply}");
    let reply = raw(&server.address, &post("content-encoding: br\r\n", 3), b"abc").await;
    assert!(reply.starts_with("HTTP/1.1 415"), "{reply}");
    let reply = raw(&server.address, &post("", embedded::BODY_BYTES_MAX + 1), b"").await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");

    // A gigabyte of zeros in a megabyte: refused at the limit.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        packer.write_all(&zeros).unwrap();
    }
    let bomb = packer.finish().unwrap();
    let reply = raw(&server.address, &post("content-encoding: gzip\r\n", bomb.len()), &bomb).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");

    let reply = raw(&server.address, "HEAD /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\n"), "{reply}");
}
