//! Datagrams: one message each. They are taken from the kernel as fast as memory allows, since the kernel has little room
//! and drops what does not fit.
//!
//! In: a socket. Out: messages in the log, those that arrive together in one produce. Never: more memory than configured;
//! a loss that is not counted.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use stream::record::NewRecord;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

use super::frame::{Frame, Problem};
use super::receive::DRAIN;
use super::{BATCH_BYTES, BATCH_RECORDS_MAX, Shared, lost, record};
use crate::intake::IntakeError;
use crate::raw::Envelope;

/// Largest datagram, in bytes.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Room for datagrams that is made at once, in bytes.
const ARENA_BYTES: usize = 512 << 10;
/// Datagrams that are taken before anything else gets its turn.
const TURN: usize = 500;
/// How long the kernel may take to announce what it has, at shutdown.
const LAST_WAIT: Duration = Duration::from_millis(50);
/// Turns that may wait for the log; memory bounds them before.
const TURNS_MAX: usize = 4096;

/// What was taken in one turn, and its memory.
struct Taken {
    records: Vec<NewRecord>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// A socket with as large a buffer as the kernel allows.
pub(super) async fn bind(address: SocketAddr, buffer_bytes: usize) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await?;
    let options = SockRef::from(&socket);
    if let Err(error) = options.set_recv_buffer_size(buffer_bytes) {
        tracing::warn!(%address, %error, "the kernel's buffer for datagrams stays as it is");
    }
    match options.recv_buffer_size() {
        Ok(given) if given < buffer_bytes => tracing::info!(
            %address, given, wanted = buffer_bytes,
            "the kernel gives less buffer for datagrams than wanted; raise net.core.rmem_max"
        ),
        _ => {}
    }
    Ok(socket)
}

/// Takes datagrams until shutdown, then those that the kernel has.
pub(super) async fn run(socket: UdpSocket, shared: Arc<Shared>) -> Result<(), IntakeError> {
    let socket = Arc::new(socket);
    let counting =
        tokio::spawn(lost::count(Arc::clone(&socket), shared.name.clone(), shared.shutdown.clone()));
    let (sender, receiver) = mpsc::channel(TURNS_MAX);
    let putting = put(receiver, &shared);
    let taking = take(&socket, sender, &shared);
    let ((), result) = tokio::join!(taking, putting);
    if counting.await.is_err() {
        tracing::debug!(listener = shared.name, "lost datagrams were not counted to the end");
    }
    result
}

/// Ends at shutdown, or when nobody puts any more.
async fn take(socket: &UdpSocket, sender: mpsc::Sender<Taken>, shared: &Shared) {
    let mut reader = Reader { shared, arena: BytesMut::new(), envelope: None };
    let mut shutdown = shared.shutdown.clone();
    let mut ending: Option<Instant> = None;
    loop {
        let ready = match ending {
            None => tokio::select! {
                biased;
                () = shutdown.wait() => {
                    ending = Some(Instant::now());
                    continue;
                }
                ready = socket.readable() => ready,
            },
            // What the kernel has may not have been announced yet.
            Some(_) => match timeout(LAST_WAIT, socket.readable()).await {
                Ok(ready) => ready,
                Err(_) => return,
            },
        };
        if let Err(error) = ready {
            tracing::warn!(listener = shared.name, %error, "the socket cannot be waited for");
            return;
        }
        let (records, bytes) = reader.turn(socket);
        if !records.is_empty() {
            let _memory = shared.reserve(records.len(), bytes).await;
            if sender.send(Taken { records, _memory }).await.is_err() {
                return;
            }
        }
        if ending.is_some_and(|since| since.elapsed() >= DRAIN) {
            return;
        }
    }
}

/// Everything that waits goes into the log together.
async fn put(mut receiver: mpsc::Receiver<Taken>, shared: &Shared) -> Result<(), IntakeError> {
    let mut turns = Vec::new();
    while receiver.recv_many(&mut turns, BATCH_RECORDS_MAX / TURN).await > 0 {
        let mut records = Vec::new();
        for taken in &mut turns {
            records.append(&mut taken.records);
        }
        shared.put_records(records).await?;
        turns.clear();
    }
    Ok(())
}

struct Reader<'s> {
    shared: &'s Shared,
    arena: BytesMut,
    /// Headers of the last sender's messages, at a time.
    envelope: Option<(IpAddr, i64, Envelope)>,
}

impl Reader<'_> {
    /// Datagrams that are there, and their bytes.
    fn turn(&mut self, socket: &UdpSocket) -> (Vec<NewRecord>, usize) {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        for _ in 0..TURN {
            if bytes >= BATCH_BYTES {
                break;
            }
            if self.arena.capacity() - self.arena.len() < DATAGRAM_BYTES {
                self.arena.reserve(ARENA_BYTES);
            }
            match socket.try_recv_buf_from(&mut self.arena) {
                Ok((_, peer)) => {
                    let datagram = self.arena.split().freeze();
                    if let Some(record) = self.message(datagram, peer.ip().to_canonical()) {
                        bytes = bytes.saturating_add(record.value.len());
                        records.push(record);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.shared.failure("receive");
                    tracing::debug!(listener = self.shared.name, %error, "a datagram could not be read");
                }
            }
        }
        (records, bytes)
    }

    /// `None` for what is blank, or of somebody who may not send.
    fn message(&mut self, datagram: Bytes, address: IpAddr) -> Option<NewRecord> {
        if !self.shared.allow.contain(address) {
            self.shared.failure("not_allowed");
            return None;
        }
        if datagram.iter().all(|c| c.is_ascii_whitespace() || *c == 0) {
            return None;
        }
        let (bytes, limit) = (datagram.len(), self.shared.config.message_bytes_max);
        let frame = if bytes > limit {
            Frame { bytes: datagram.slice(..limit), problem: Some(Problem::TooLong { bytes, limit }) }
        } else {
            Frame { bytes: datagram, problem: None }
        };
        Some(record(self.envelope(address), frame))
    }

    fn envelope(&mut self, address: IpAddr) -> &Envelope {
        let now = self.shared.intake.now();
        let known = self.envelope.take().filter(|(of, at, _)| *of == address && *at == now.millis());
        let (_, _, envelope) = self.envelope.insert(known.unwrap_or_else(|| {
            let mut source = self.shared.source.clone();
            source.peer = Bytes::from(address.to_string());
            (address, now.millis(), source.received(now))
        }));
        envelope
    }
}
