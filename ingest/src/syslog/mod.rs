//! Syslog listeners: datagrams (RFC 5426), streams (RFC 6587), streams in TLS (RFC 5425).
//!
//! In: messages of devices and relays. Out: raw records, one a message, with the sender's address; what is too long or
//! breaks off goes to `mozdef.dead` with the reason. Never: a word to the sender, for syslog has none; memory beyond
//! what is configured; a message of a stream that was read and is not in the log, unless the log is out of reach at the
//! very end.
//!
//! While the log is out of reach nothing is read: streams are held back by TCP, datagrams fill the kernel's buffer, and
//! what does not fit is counted. At shutdown no connection is accepted any more; what senders have sent is read until
//! they pause, and is put into the log before the connections are closed.

mod access;
mod connections;
mod datagrams;
mod frame;
mod lost;
mod receive;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::config::{SyslogConfig, SyslogTransport};
use model::error::Reason;
use model::headers;
use model::metrics::metrics;
use stream::record::{Headers, NewRecord};
use stream::shutdown::{self, Shutdown};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use self::access::Networks;
use self::frame::{Frame, Problem};
use crate::intake::{Intake, IntakeError};
use crate::raw::{Envelope, Source};
use crate::tls::{Tls, TlsError};

/// How long after the shutdown's signal the log is still tried, when it takes nothing.
const LAST_TRIES: Duration = Duration::from_secs(5);
/// What a record takes beside its bytes, at most, in the budget for memory.
const RECORD_BYTES: usize = 1024;
/// Most messages of one produce.
const BATCH_RECORDS_MAX: usize = 2000;
/// Bytes of messages after which a batch is full.
const BATCH_BYTES: usize = 1 << 20;

/// Why the listeners cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// An address cannot be used.
    #[error(
        "cannot listen on {address} (ingest.syslog.{name}.listen): {source}; set another address or port"
    )]
    Listen {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Not a network.
    #[error("ingest.syslog.{name}.allow: {network:?} is no network; write networks such as 10.0.0.0/8")]
    Network {
        /// The listener's name.
        name: String,
        /// What is no network.
        network: String,
    },
    /// Certificate or key cannot be used.
    #[error("ingest.syslog.{name}.tls: {source}")]
    Tls {
        /// The listener's name.
        name: String,
        /// Why not.
        source: TlsError,
    },
    /// There is no certificate.
    #[error("ingest.syslog.{name}.tls: there is no certificate; name certificate_file and key_file")]
    NoCertificate {
        /// The listener's name.
        name: String,
    },
    /// The log takes nothing more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Listeners that are bound, so that their addresses are known; they read nothing yet.
pub struct Listeners(Vec<Bound>);

struct Bound {
    name: String,
    config: SyslogConfig,
    allow: Networks,
    socket: Socket,
}

enum Socket {
    Datagrams(UdpSocket),
    Stream(TcpListener, Option<Arc<Tls>>),
}

/// Checks what [`bind`] would refuse.
///
/// # Errors
/// [`SyslogError`] but for addresses that are taken.
pub fn check(config: &BTreeMap<String, SyslogConfig>) -> Result<(), SyslogError> {
    config.iter().try_for_each(|(name, config)| {
        Networks::read(name, &config.allow)?;
        certificates(name, config).map(|_| ())
    })
}

fn certificates(name: &str, config: &SyslogConfig) -> Result<Option<Arc<Tls>>, SyslogError> {
    if config.transport != SyslogTransport::Tls {
        return Ok(None);
    }
    let Some(tls) = &config.tls else { return Err(SyslogError::NoCertificate { name: name.to_owned() }) };
    Tls::load(tls, &[]).map(Some).map_err(|source| SyslogError::Tls { name: name.to_owned(), source })
}

/// Binds every listener.
///
/// # Errors
/// [`SyslogError`] for the first that cannot be.
pub async fn bind(config: &BTreeMap<String, SyslogConfig>) -> Result<Listeners, SyslogError> {
    let mut listeners = Vec::with_capacity(config.len());
    for (name, config) in config {
        let allow = Networks::read(name, &config.allow)?;
        let listen = |source| SyslogError::Listen { name: name.clone(), address: config.listen, source };
        let socket = match config.transport {
            SyslogTransport::Udp => Socket::Datagrams(
                datagrams::bind(config.listen, config.receive_buffer_bytes).await.map_err(listen)?,
            ),
            SyslogTransport::Tcp | SyslogTransport::Tls => {
                let tls = certificates(name, config)?;
                Socket::Stream(TcpListener::bind(config.listen).await.map_err(listen)?, tls)
            }
        };
        listeners.push(Bound { name: name.clone(), config: config.clone(), allow, socket });
    }
    Ok(Listeners(listeners))
}

impl Listeners {
    /// Name and address of each, such as `tcp://127.0.0.1:5514`.
    pub fn addresses(&self) -> Vec<(String, String)> {
        let address = |bound: &Bound| {
            let (scheme, local) = match &bound.socket {
                Socket::Datagrams(socket) => ("udp", socket.local_addr()),
                Socket::Stream(listener, Some(_)) => ("tls", listener.local_addr()),
                Socket::Stream(listener, None) => ("tcp", listener.local_addr()),
            };
            (bound.name.clone(), format!("{scheme}://{}", local.unwrap_or(bound.config.listen)))
        };
        self.0.iter().map(address).collect()
    }
}

/// Takes messages until shutdown, then what senders have sent before it.
///
/// # Errors
/// [`SyslogError::Intake`] when the log takes nothing more.
pub async fn run(listeners: Listeners, intake: Intake, shutdown: Shutdown) -> Result<(), SyslogError> {
    let (last, late) = shutdown::channel();
    let mut signal = shutdown.clone();
    let ending = tokio::spawn(async move {
        signal.wait().await;
        tokio::time::sleep(LAST_TRIES).await;
        last.fire();
    });
    let mut tasks = JoinSet::new();
    for Bound { name, config, allow, socket } in listeners.0 {
        let shared = Arc::new(Shared {
            budget: Arc::new(Semaphore::new(config.memory_bytes_max)),
            source: source(&name, &config),
            name,
            config,
            allow,
            intake: intake.clone(),
            shutdown: shutdown.clone(),
            late: late.clone(),
        });
        tasks.spawn(async move {
            let up = metrics().input_up.with_label_values(&[headers::INPUT_SYSLOG, &shared.name]);
            up.set(1);
            let ended = match socket {
                Socket::Datagrams(socket) => datagrams::run(socket, shared).await,
                Socket::Stream(listener, tls) => connections::run(listener, tls, shared).await,
            };
            up.set(0);
            ended
        });
    }
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        // A task that panicked has said so; its listener is gone, and so the process should be.
        let ended = ended.unwrap_or(Err(IntakeError::Stopped));
        if ended.is_err() && outcome.is_ok() {
            outcome = ended;
            if !shutdown.is_set() {
                break;
            }
        }
    }
    ending.abort();
    match outcome {
        // What could not be put into the log in time was told and counted.
        Err(IntakeError::Stopped) if shutdown.is_set() => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// What all messages of a listener have in common.
fn source(name: &str, config: &SyslogConfig) -> Source {
    let mut more = Headers::new().with(headers::CONTENT_TYPE, headers::MEDIA_SYSLOG);
    if let Some(minutes) = config.zone_minutes {
        more.push(headers::ZONE_MINUTES, minutes.to_string());
    }
    let principal = Bytes::copy_from_slice(name.as_bytes());
    Source { input: headers::INPUT_SYSLOG, principal, peer: Bytes::new(), more }
}

/// What the tasks of one listener share.
struct Shared {
    name: String,
    config: SyslogConfig,
    allow: Networks,
    source: Source,
    intake: Intake,
    /// Bytes of memory that may still be used.
    budget: Arc<Semaphore>,
    /// Nothing more is to be taken.
    shutdown: Shutdown,
    /// The log is to be tried no more.
    late: Shutdown,
}

impl Shared {
    /// Memory for messages of so many bytes in all; waits until there is some.
    async fn reserve(&self, messages: usize, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let cost = messages.saturating_mul(RECORD_BYTES).saturating_add(bytes);
        let cost = u32::try_from(cost.min(self.config.memory_bytes_max)).unwrap_or(u32::MAX);
        // The budget is never closed.
        Arc::clone(&self.budget).acquire_many_owned(cost).await.ok()
    }

    /// Messages of one sender, into the log.
    async fn put(&self, source: &Source, frames: Vec<Frame>) -> Result<(), IntakeError> {
        let bytes = frames.iter().map(|frame| frame.bytes.len()).sum();
        let held = self.reserve(frames.len(), bytes).await;
        let envelope = source.received(self.intake.now());
        let records = frames.into_iter().map(|frame| record(&envelope, frame)).collect();
        let result = self.put_records(records).await;
        drop(held);
        result
    }

    async fn put_records(&self, records: Vec<NewRecord>) -> Result<(), IntakeError> {
        let count = records.len();
        match self.intake.put_until(records, &mut self.late.clone()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let lost =
                    metrics().input_failures.with_label_values(&[headers::INPUT_SYSLOG, "lost_at_shutdown"]);
                lost.inc_by(count as u64);
                tracing::error!(listener = self.name, messages = count, %error, "messages were read and are lost");
                Err(error)
            }
        }
    }

    fn failure(&self, kind: &str) {
        metrics().input_failures.with_label_values(&[headers::INPUT_SYSLOG, kind]).inc();
    }
}

/// A message as a record.
fn record(envelope: &Envelope, frame: Frame) -> NewRecord {
    match frame.problem {
        None => envelope.event(frame.bytes, None),
        Some(Problem::TooLong { bytes, limit }) => {
            let detail =
                format!("message of {bytes} bytes, the limit is {limit}; the first {limit} are kept");
            envelope.dead(frame.bytes, None, Reason::TooLarge, &detail)
        }
        Some(Problem::BrokenOff { expected }) => {
            let got = frame.bytes.len();
            let detail = match expected {
                Some(expected) => format!("the stream ended after {got} of the message's {expected} bytes"),
                None => format!("the stream ended inside a message, after {got} bytes"),
            };
            envelope.dead(frame.bytes, None, Reason::MalformedRecord, &detail)
        }
    }
}
