//! Syslog listeners over sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::intake::Intake;
use model::config::{SyslogConfig, SyslogTransport, TlsConfig};
use model::metrics::metrics;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use stream::record::NewRecord;
use stream::shutdown::Trigger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::authority::Authority;
use crate::memory_log::{MemoryLog, Mode};

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener that runs.
struct Listener {
    log: Arc<MemoryLog>,
    address: SocketAddr,
    trigger: Trigger,
    running: JoinHandle<Result<(), ingest::syslog::SyslogError>>,
    raw: Vec<NewRecord>,
    dead: Vec<NewRecord>,
}

impl Listener {
    async fn start(name: &str, config: SyslogConfig) -> Listener {
        let config = SyslogConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let log = Arc::new(MemoryLog::new(Mode::Keeps));
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let listeners = ingest::syslog::bind(&BTreeMap::from([(name.to_owned(), config)])).await.unwrap();
        let (_, address) = listeners.addresses().pop().unwrap();
        let address = address.split("://").nth(1).unwrap().parse().unwrap();
        let (trigger, shutdown) = stream::shutdown::channel();
        let intake = Intake::new(log.clone(), clock, "syslog");
        let running = tokio::spawn(ingest::syslog::run(listeners, intake, shutdown));
        Listener { log, address, trigger, running, raw: Vec::new(), dead: Vec::new() }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn look(&mut self) {
        self.raw.extend(self.log.take(Topic::Raw));
        self.dead.extend(self.log.take(Topic::Dead));
    }

    /// Waits for so many events and dead letters.
    async fn until(&mut self, raw: usize, dead: usize) {
        let start = Instant::now();
        loop {
            self.look();
            if self.raw.len() >= raw && self.dead.len() >= dead {
                break;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{} events, {} dead letters",
                self.raw.len(),
                self.dead.len()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((self.raw.len(), self.dead.len()), (raw, dead));
    }

    fn values(&self) -> Vec<String> {
        self.raw.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
    }

    /// Shuts down; everything that came is then in the log.
    async fn stop(mut self) -> (Vec<NewRecord>, Vec<NewRecord>) {
        self.trigger.fire();
        timeout(PATIENCE, &mut self.running).await.unwrap().unwrap().unwrap();
        self.look();
        (self.raw, self.dead)
    }
}

fn text<'r>(record: &'r NewRecord, name: &str) -> Option<&'r str> {
    record.headers.get_str(name)
}

#[tokio::test]
async fn streams_of_lines_and_lengths_are_cut_and_kept_byte_for_byte() {
    let config = SyslogConfig { message_bytes_max: 1000, zone_minutes: Some(60), ..SyslogConfig::default() };
    let mut listener = Listener::start("edge", config).await;
    let mut stream = listener.connect().await;
    stream.write_all(b"<13>one\r\n8 <13>a\nb\n<13>Gr\xfc\xdfe\n").await.unwrap();
    listener.until(3, 0).await;
    let values: Vec<&[u8]> = listener.raw.iter().map(|record| &*record.value).collect();
    assert_eq!(values, [&b"<13>one"[..], b"<13>a\nb\n", b"<13>Gr\xfc\xdfe"]);
    let first = &listener.raw[0];
    let expected = [
        ("received", "1800000000000"),
        ("input", "syslog"),
        ("principal", "edge"),
        ("peer", "127.0.0.1"),
        ("content-type", "text/x-syslog"),
        ("zone-minutes", "60"),
    ];
    assert_eq!(
        first
            .headers
            .iter()
            .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
            .collect::<Vec<_>>(),
        expected
    );

    // A megabyte, as a line and with its length, and the next message goes through.
    let large = format!("<13>{}", "x".repeat(1 << 20));
    stream.write_all(format!("{large}\n{} {large}<13>next\n", large.len()).as_bytes()).await.unwrap();
    listener.until(4, 2).await;
    assert_eq!(listener.values()[3], "<13>next");
    for dead in &listener.dead {
        assert_eq!((dead.value.len(), text(dead, "reason")), (1000, Some("too_large")));
        let detail = format!("message of {} bytes, the limit is 1000; the first 1000 are kept", large.len());
        assert_eq!(text(dead, "detail"), Some(&*detail));
    }
    // What a closed stream leaves over is a line; what a stream with lengths leaves over is not whole.
    stream.write_all(b"<13>last").await.unwrap();
    drop(stream);
    listener.until(5, 2).await;
    let mut stream = listener.connect().await;
    stream.write_all(b"100 <13>half").await.unwrap();
    drop(stream);
    listener.until(5, 3).await;
    assert_eq!(
        text(&listener.dead[2], "detail"),
        Some("the stream ended after 8 of the message's 100 bytes")
    );
    listener.stop().await;
}

#[tokio::test]
async fn datagrams_are_messages() {
    let config =
        SyslogConfig { transport: SyslogTransport::Udp, message_bytes_max: 2000, ..SyslogConfig::default() };
    let mut listener = Listener::start("udp", config).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(listener.address).await.unwrap();
    for datagram in ["<13>one", " \n", "<13>two\nlines", "", &"y".repeat(3000), "<13>three"] {
        socket.send(datagram.as_bytes()).await.unwrap();
    }
    listener.until(3, 1).await;
    assert_eq!(listener.values(), ["<13>one", "<13>two\nlines", "<13>three"]);
    assert_eq!(
        (text(&listener.raw[0], "peer"), text(&listener.raw[0], "principal")),
        (Some("127.0.0.1"), Some("udp"))
    );
    assert_eq!((listener.dead[0].value.len(), text(&listener.dead[0], "reason")), (2000, Some("too_large")));
    for number in 0..200 {
        socket.send(format!("<13>{number}").as_bytes()).await.unwrap();
    }
    let (raw, _) = listener.stop().await;
    assert_eq!(raw.len(), 203, "what the kernel has at shutdown is taken");
}

#[tokio::test]
async fn while_the_log_is_away_a_sender_is_held_back_and_nothing_is_lost() {
    let config = SyslogConfig { memory_bytes_max: 1 << 20, ..SyslogConfig::default() };
    let mut listener = Listener::start("tcp", config).await;
    listener.log.set(Mode::Away);
    let stream = listener.connect().await;
    let (mut reader, mut writer) = stream.into_split();
    let lines: u64 = 200_000;
    let sending = tokio::spawn(async move {
        for number in 0..lines {
            let line = format!("<13>{number:0>200}\n");
            writer.write_all(line.as_bytes()).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    // 40 MB do not fit into the buffers of two sockets and a megabyte.
    assert!(timeout(Duration::from_millis(1500), reader.read_u8()).await.is_err());
    assert!(!sending.is_finished(), "the sender was not held back");
    listener.log.set(Mode::Keeps);
    listener.until(lines as usize, 0).await;
    sending.await.unwrap();
    let whole =
        listener.values().iter().enumerate().all(|(number, value)| *value == format!("<13>{number:0>200}"));
    assert!(whole, "messages are missing, twice there, or in another order");
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_shutdown_is_in_the_log_once() {
    for round in 0..10_u64 {
        let listener = Listener::start("tcp", SyslogConfig::default()).await;
        let mut sending = Vec::new();
        for sender in 0..4 {
            let mut stream = listener.connect().await;
            sending.push(tokio::spawn(async move {
                let mut sent = Vec::new();
                for number in 0..50_000 {
                    let line = format!("<13>{sender}-{number}");
                    if stream.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                        break;
                    }
                    sent.push(line);
                    if number % 100 == 0 {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                    if number == 500 + round * 97 {
                        break;
                    }
                }
                (sent, stream)
            }));
        }
        let mut sent = Vec::new();
        let mut streams = Vec::new();
        for sender in sending {
            let (lines, mut stream) = sender.await.unwrap();
            stream.write_all(b"<13>half a li").await.unwrap();
            sent.extend(lines);
            streams.push(stream);
        }
        let (raw, dead) = listener.stop().await;
        let mut got: Vec<String> =
            raw.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect();
        got.sort();
        sent.sort();
        assert!(got == sent, "round {round}: {} sent, {} in the log", sent.len(), got.len());
        assert_eq!(dead.len(), 4);
        assert_eq!(text(&dead[0], "detail"), Some("the stream ended inside a message, after 13 bytes"));
        drop(streams);
    }
}

/// Whether the other side has closed it.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    matches!(timeout(PATIENCE, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_are_closed() {
    let config = SyslogConfig {
        connections_max: 3,
        connections_per_address_max: 2,
        idle_timeout_s: 1,
        ..SyslogConfig::default()
    };
    let mut listener = Listener::start("tcp", config).await;
    let (mut first, mut second) = (listener.connect().await, listener.connect().await);
    first.write_all(b"<13>a\n").await.unwrap();
    second.write_all(b"<13>b\n").await.unwrap();
    listener.until(2, 0).await;
    assert!(is_closed(&mut listener.connect().await).await, "one more than an address may have");
    // The silence of both ends in a second; then there is room.
    assert!(is_closed(&mut first).await && is_closed(&mut second).await);
    let mut third = listener.connect().await;
    third.write_all(b"<13>c\n").await.unwrap();
    listener.until(3, 0).await;
    listener.stop().await;

    let config = SyslogConfig { allow: vec!["192.0.2.0/24".to_owned()], ..SyslogConfig::default() };
    let listener = Listener::start("tcp", config).await;
    let mut stream = listener.connect().await;
    assert!(is_closed(&mut stream).await);
    let (raw, dead) = listener.stop().await;
    assert_eq!((raw.len(), dead.len()), (0, 0));
}

#[tokio::test]
async fn datagrams_that_the_kernel_drops_are_counted() {
    let config = SyslogConfig {
        transport: SyslogTransport::Udp,
        memory_bytes_max: 1 << 20,
        receive_buffer_bytes: 4096,
        ..SyslogConfig::default()
    };
    let listener = Listener::start("lossy", config).await;
    listener.log.set(Mode::Away);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(listener.address).await.unwrap();
    let sent: u64 = 20_000;
    for number in 0..sent {
        socket.send(format!("<13>{number:0>500}").as_bytes()).await.unwrap();
    }
    listener.log.set(Mode::Keeps);
    let (raw, _) = listener.stop().await;
    let lost = metrics().syslog_udp_lost.with_label_values(&["lossy"]).get();
    assert!(lost > 0 && raw.len() < sent as usize);
    assert_eq!(raw.len() as u64 + lost, sent, "every datagram is in the log or counted");
}

#[tokio::test]
async fn a_client_certificate_says_who_sends() {
    let authority = Authority::new();
    let server = authority.issue("server", "", &["127.0.0.1"], 1);
    let tls = TlsConfig {
        certificate_file: server.certificate,
        key_file: server.key,
        client_ca_file: Some(authority.certificate()),
        ..TlsConfig::default()
    };
    let config = SyslogConfig { transport: SyslogTransport::Tls, tls: Some(tls), ..SyslogConfig::default() };
    let mut listener = Listener::start("tls", config).await;
    let own = authority.issue("relay", "relay-7", &[], 2);
    let mut stream = authority.connect(listener.address, &own).await;
    stream.write_all(b"7 <13>one<13>two\n").await.unwrap();
    listener.until(2, 0).await;
    assert_eq!(listener.values(), ["<13>one", "<13>two"]);
    assert_eq!(text(&listener.raw[0], "principal"), Some("relay-7"));
    // Somebody who does not speak TLS gets nowhere, and hurts nobody.
    let mut plain = listener.connect().await;
    plain.write_all(b"<13>plain\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(ended.is_err() || answer.len() < 100);
    stream.write_all(b"<13>three\n").await.unwrap();
    listener.until(3, 0).await;
    listener.stop().await;
}
