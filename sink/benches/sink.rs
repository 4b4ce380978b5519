//! Documents per CPU second through the event sink: bulk requests of 1,000
//! events of about 900 bytes against a server that answers at once.
//!
//! In: nothing, or `--short`. Out: documents, seconds of CPU, documents per
//! CPU second. The server's own CPU is measured alone and taken off. Never: a
//! pass without every document done.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at what it does not expect"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use model::config::SinkConfig;
use model::time::Timestamp;
use model::topic::Topic;
use stream::delivery::{Delivery, Outcome};
use stream::record::{Headers, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BATCH: usize = 1000;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let batches = if short { 40 } else { 1000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let address = server().await;
        let parts = sink::start(&SinkConfig::default(), &format!("http://{address}")).await.unwrap();
        let (_, _, delivery) = parts.deliveries.into_iter().next().unwrap();
        let records = Arc::new(records());
        deliver(&delivery, &records, 1).await;
        let before = cpu();
        deliver(&delivery, &records, batches).await;
        let whole = cpu() - before;
        let before = cpu();
        plain_sender(address, &records, batches).await;
        let server_alone = cpu() - before;
        let documents = (batches * BATCH) as f64;
        let own = whole - server_alone;
        println!("sink: {documents} documents, {own:.2} CPU s, {:.0} documents/CPU s", documents / own);
        println!(
            "(with the server and its sockets: {whole:.2} CPU s, {:.0} documents/CPU s; those alone: {server_alone:.2})",
            documents / whole
        );
    });
}

async fn deliver(delivery: &Arc<dyn Delivery>, records: &Arc<Vec<Record>>, batches: usize) {
    let at_once = 4.min(batches);
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (delivery, records) = (delivery.clone(), records.clone());
            tokio::spawn(async move {
                for _ in 0..batches / at_once {
                    let outcomes = delivery.deliver(&records).await;
                    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn records() -> Vec<Record> {
    let event = format!(
        r#"{{"receivedtimestamp":"2024-06-10T06:13:20+00:00","utctimestamp":"2024-06-10T06:13:20+00:00","category":"cloudtrail","hostname":"s3.amazonaws.com","summary":"alice performed GetObject in s3.amazonaws.com","severity":"INFO","source":"cloudtrail","tags":["cloudtrail"],"details":{{"sourceipaddress":"192.0.2.7","text":"{}"}},"mozdef":{{"plugins":["cloudtrail"]}}}}"#,
        "x".repeat(550)
    );
    let received = Bytes::from_static(b"1718000000000");
    (0..BATCH)
        .map(|n| Record {
            topic: Topic::Events,
            partition: 0,
            offset: n as u64,
            appended: Timestamp::EPOCH,
            key: Bytes::from(format!("{n:032x}")),
            value: Bytes::from(event.clone()),
            headers: Headers::new().with("received", received.clone()).with("origin", "mozdef.raw/0/1"),
        })
        .collect()
}

/// Sends bodies of the same size with no client in between: what sockets and server cost.
async fn plain_sender(address: SocketAddr, records: &Arc<Vec<Record>>, batches: usize) {
    let bytes: usize = records.iter().map(|record| record.value.len() + 90).sum();
    let head = format!("POST /_bulk HTTP/1.1\r\nHost: bench\r\nContent-Length: {bytes}\r\n\r\n");
    let request: Arc<[u8]> = [head.into_bytes(), vec![b'\n'; bytes]].concat().into();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let request = request.clone();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut answer = vec![0_u8; 1 << 20];
                for _ in 0..batches / 4 {
                    stream.write_all(&request).await.unwrap();
                    let mut read = 0;
                    while !answer[..read].ends_with(b"]}") {
                        read += stream.read(&mut answer[read..]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Answers every request at once; a bulk request with a thousand created documents.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let item = r#"{"create":{"_index":"events-20240610","_id":"0123456789abcdef0123456789abcdef","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":1,"_primary_term":1,"status":201}}"#;
    let bulk = format!("{{\"took\":1,\"errors\":false,\"items\":[{}]}}", vec![item; BATCH].join(","));
    let bulk: Arc<str> = bulk.into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, bulk.clone()));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, bulk: Arc<str>) {
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let mut read = 0;
        let head_end = loop {
            match stream.read(&mut buffer[read..]).await {
                Ok(0) | Err(_) => return,
                Ok(more) => read += more,
            }
            let head = &buffer[..read.min(2000)];
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_end]).to_ascii_lowercase();
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let mut left = (head_end + length.unwrap_or(0_usize)).saturating_sub(read);
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap();
        }
        let body = if head.starts_with("post /_bulk") { &*bulk } else { "{}" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // utime and stime, in hundredths of a second on every Linux.
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
