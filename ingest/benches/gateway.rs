//! Events per CPU second through the gateway: batches of 100 JSON events of
//! 700 bytes, and single events, over keep-alive connections, against a log in
//! memory, and against the local log.
//!
//! In: nothing, or `--short`. Out: one line a job: events, seconds of CPU of
//! the whole process less those of a sender that talks to an empty server,
//! events per CPU second. Never: a pass without every event counted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at what it does not expect"
)]

#[path = "../tests/it/memory_log.rs"]
mod memory_log;

use std::net::SocketAddr;
use std::sync::Arc;

use ingest::intake::Intake;
use model::config::HttpConfig;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use stream::log::SharedLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use memory_log::{MemoryLog, Mode};

const BATCH: usize = 100;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let requests = if short { 480 } else { 9_600 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        run("batches of 100", BATCH, requests, 8).await;
        // Many senders, as single events come: the log makes what comes at once durable at once.
        run("single events", 1, requests * 10, 64).await;
    });
}

async fn run(what: &str, batch: usize, requests: usize, connections: usize) {
    let body = body(batch);
    let sender = cpu_of(send(echo().await, &body, requests, connections)).await;
    let events = (requests * batch) as f64;
    for (name, log) in [("memory log", memory()), ("local log", local().await)] {
        let address = gateway(log).await;
        let before = metrics().totals(Stage::Gateway).1;
        let cpu = cpu_of(send(address, &body, requests, connections)).await - sender;
        assert_eq!(metrics().totals(Stage::Gateway).1 - before, (requests * batch) as u64);
        println!(
            "gateway, {what}, {name}: {events} events of 700 B, {cpu:.2} CPU s, {:.0} events/CPU s",
            events / cpu
        );
    }
    println!("(sender of {what} alone, taken off: {sender:.2} CPU s)");
}

fn memory() -> SharedLog {
    Arc::new(MemoryLog::new(Mode::Forgets))
}

async fn local() -> SharedLog {
    // Kept until the process ends.
    let folder = tempfile::tempdir().unwrap().keep();
    let options = stream::local::LocalOptions {
        folder,
        partitions: 2,
        retention_hours: 72,
        retention_mib: 4096,
        min_free_mib: 16,
        clock: Clock::System,
    };
    stream::local::open(options).await.unwrap().0
}

async fn gateway(log: SharedLog) -> SocketAddr {
    let config = HttpConfig { listen: "127.0.0.1:0".parse().unwrap(), ..HttpConfig::default() };
    let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = stream::shutdown::channel();
    std::mem::forget(trigger);
    tokio::spawn(ingest::http::serve(config, Intake::new(log, Clock::System, "http"), listener, shutdown));
    address
}

/// A CloudTrail-like event of 700 bytes, so many times, as lines.
fn body(batch: usize) -> Vec<u8> {
    let mut event = r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDA000000000EXAMPLE","arn":"arn:aws:iam::000000000000:user/alice","accountId":"000000000000","userName":"alice"},"eventTime":"2024-06-10T06:13:20Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.15","requestParameters":{"bucketName":"example","key":"a/b/c.txt"},"responseElements":null,"readOnly":true,"eventID":"00000000-0000-0000-0000-000000000000","padding":""#.to_owned();
    event.push_str(&"x".repeat(700 - event.len() - 2));
    event.push_str("\"}");
    assert_eq!(event.len(), 700);
    format!("{event}\n").repeat(batch).into_bytes()
}

/// Posts over several connections, each waiting for its answer.
async fn send(address: SocketAddr, body: &[u8], requests: usize, connections: usize) {
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request: Arc<[u8]> = [head.as_bytes(), body].concat().into();
    let sending = (0..connections).map(|_| {
        let request = request.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut answer = [0_u8; 4096];
            for _ in 0..requests / connections {
                stream.write_all(&request).await.unwrap();
                let length = stream.read(&mut answer).await.unwrap();
                let text = std::str::from_utf8(&answer[..length]).unwrap();
                assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            }
        })
    });
    for task in sending.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// A server that reads requests of the size sent and answers at once.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0_u8; 1 << 20];
                loop {
                    let Ok(first) = stream.read(&mut buffer).await else { return };
                    let text = String::from_utf8_lossy(&buffer[..first.min(300)]).into_owned();
                    let Some((head, _)) = text.split_once("\r\n\r\n") else { return };
                    let length = head.rsplit(": ").next().and_then(|n| n.parse::<usize>().ok()).unwrap();
                    let mut left = (head.len() + 4 + length).saturating_sub(first);
                    while left > 0 {
                        left -= stream.read(&mut buffer).await.unwrap();
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    address
}

/// Seconds of CPU that the process spent meanwhile.
async fn cpu_of(work: impl Future<Output = ()>) -> f64 {
    let before = cpu();
    work.await;
    cpu() - before
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // utime and stime, in hundredths of a second on every Linux.
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
