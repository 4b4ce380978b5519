//! Lines per CPU second through a syslog listener: TCP, lines of 200 bytes, ended by line feeds and with their length in
//! front, over a few connections, against a log in memory, and against the local log.
//!
//! In: nothing, or `--short`. Out: one line a job: messages, seconds of CPU of the whole process less those of the same
//! sender to a reader that only reads, messages per CPU second. Never: a pass without every message counted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at what it does not expect"
)]

#[path = "../tests/it/memory_log.rs"]
mod memory_log;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::intake::Intake;
use model::config::SyslogConfig;
use model::metrics::{Stage, metrics};
use model::time::Clock;
use stream::log::SharedLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use memory_log::{MemoryLog, Mode};

const CONNECTIONS: usize = 4;
/// Lines of one write: what a relay under load hands to the kernel.
const CHUNK: usize = 300;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let chunks = if short { 200 } else { 4_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for (framing, chunk) in [("line feeds", chunk(false)), ("lengths", chunk(true))] {
            let alone = cpu_of(async {
                let (address, reading) = reader().await;
                send(address, &chunk, chunks).await;
                reading.await.unwrap();
            })
            .await;
            for (name, log) in [("memory log", memory()), ("local log", local().await)] {
                let messages = (chunks * CONNECTIONS * CHUNK) as u64;
                let before = metrics().totals(Stage::Gateway).1;
                let cpu = cpu_of(async {
                    send(listener(log).await, &chunk, chunks).await;
                    while metrics().totals(Stage::Gateway).1 - before < messages {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
                .await
                    - alone;
                assert_eq!(metrics().totals(Stage::Gateway).1 - before, messages);
                println!(
                    "syslog over TCP, {framing}, {name}: {messages} messages of 200 B, {cpu:.2} CPU s, {:.0} messages/CPU s",
                    messages as f64 / cpu
                );
            }
            println!("(sender and a reader alone, taken off: {alone:.2} CPU s)");
        }
    });
}

fn chunk(counted: bool) -> Vec<u8> {
    let mut line = "<38>Nov 25 10:11:12 web1 sshd[4242]: Failed password for invalid user admin from 192.0.2.7 port 51234 ssh2 ".to_owned();
    line.push_str(&"x".repeat(200 - line.len()));
    let framed = if counted { format!("{} {line}", line.len()) } else { format!("{line}\n") };
    framed.repeat(CHUNK).into_bytes()
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

async fn listener(log: SharedLog) -> SocketAddr {
    let config = SyslogConfig { listen: "127.0.0.1:0".parse().unwrap(), ..SyslogConfig::default() };
    let listeners = ingest::syslog::bind(&BTreeMap::from([("bench".to_owned(), config)])).await.unwrap();
    let (_, address) = listeners.addresses().pop().unwrap();
    let (trigger, shutdown) = stream::shutdown::channel();
    std::mem::forget(trigger);
    tokio::spawn(ingest::syslog::run(listeners, Intake::new(log, Clock::System, "syslog"), shutdown));
    address.split("://").nth(1).unwrap().parse().unwrap()
}

async fn send(address: SocketAddr, chunk: &[u8], chunks: usize) {
    let chunk: Arc<[u8]> = chunk.into();
    let sending = (0..CONNECTIONS).map(|_| {
        let chunk = chunk.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for _ in 0..chunks {
                stream.write_all(&chunk).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        })
    });
    for task in sending.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Reads as many connections as there are, and forgets.
async fn reader() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reading = tokio::spawn(async move {
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.unwrap();
            tasks.push(tokio::spawn(async move {
                let mut buffer = vec![0_u8; 256 << 10];
                while stream.read(&mut buffer).await.unwrap() > 0 {}
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    (address, reading)
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
