//! One stream of messages, from its first byte to its end.
//!
//! In: a connection. Out: its messages in the log, those that arrive together in one produce. Never: a read while what
//! was read before is not in the log.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{End, Framer};
use super::{BATCH_BYTES, BATCH_RECORDS_MAX, Shared};
use crate::intake::IntakeError;
use crate::raw::Source;

/// First and largest room for one read, in bytes; it grows with a sender that fills it.
const READ_BYTES: (usize, usize) = (4 << 10, 256 << 10);
/// A sender that is silent for so long after shutdown began has sent all that it meant to.
const SILENCE: Duration = Duration::from_millis(100);
/// Longest time that a sender is still read after shutdown began.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// Longest time for the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a stream came to its end.
enum Ended {
    /// By its sender.
    Closed,
    /// By an error of the connection.
    Broken,
    /// It was silent for too long.
    Idle,
    /// The process ends.
    Shutdown,
}

/// Reads a stream to its end.
pub(super) async fn read<S>(mut stream: S, source: &Source, shared: &Shared) -> Result<(), IntakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut framer = Framer::new(shared.config.message_bytes_max);
    let ended = until_end(&mut stream, &mut framer, source, shared).await?;
    let end = match ended {
        Ended::Closed => End::Closed,
        Ended::Broken | Ended::Idle => End::Broken,
        Ended::Shutdown => drain(&mut stream, &mut framer, source, shared).await?,
    };
    if let Some(frame) = framer.finish(end) {
        shared.put(source, vec![frame]).await?;
    }
    if timeout(GOODBYE, stream.shutdown()).await.is_err() {
        tracing::debug!(listener = shared.name, "a connection was closed without a goodbye");
    }
    Ok(())
}

async fn until_end<S: AsyncRead + Unpin>(
    stream: &mut S,
    framer: &mut Framer,
    source: &Source,
    shared: &Shared,
) -> Result<Ended, IntakeError> {
    let mut shutdown = shared.shutdown.clone();
    let idle = Duration::from_secs(shared.config.idle_timeout_s);
    let mut room = READ_BYTES.0;
    loop {
        framer.buffer().reserve(room);
        let read = tokio::select! {
            biased;
            () = shutdown.wait() => return Ok(Ended::Shutdown),
            read = timeout(idle, stream.read_buf(framer.buffer())) => read,
        };
        let count = match read {
            Ok(Ok(0)) => return Ok(Ended::Closed),
            Ok(Ok(count)) => count,
            Ok(Err(error)) => {
                tracing::debug!(listener = shared.name, %error, "a connection broke");
                return Ok(Ended::Broken);
            }
            Err(_) => {
                shared.failure("idle");
                return Ok(Ended::Idle);
            }
        };
        room = if count >= room { (room * 2).min(READ_BYTES.1) } else { room.max(READ_BYTES.0) };
        put_whole(framer, source, shared).await?;
    }
}

/// What the sender has sent before it heard of the end.
async fn drain<S: AsyncRead + Unpin>(
    stream: &mut S,
    framer: &mut Framer,
    source: &Source,
    shared: &Shared,
) -> Result<End, IntakeError> {
    let begun = Instant::now();
    let until = |wait| begun.checked_add(wait).unwrap_or(begun);
    let last = until(DRAIN);
    loop {
        framer.buffer().reserve(READ_BYTES.1);
        let pause = begun.elapsed().checked_add(SILENCE).map_or(last, until).min(last);
        match timeout_at(pause, stream.read_buf(framer.buffer())).await {
            Ok(Ok(0)) => return Ok(End::Closed),
            Ok(Ok(_)) => put_whole(framer, source, shared).await?,
            Ok(Err(_)) | Err(_) => return Ok(End::Broken),
        }
        if Instant::now() >= last {
            tracing::warn!(listener = shared.name, "a sender went on after shutdown; the rest is not read");
            return Ok(End::Broken);
        }
    }
}

/// Every message that is whole.
async fn put_whole(framer: &mut Framer, source: &Source, shared: &Shared) -> Result<(), IntakeError> {
    loop {
        let mut frames = Vec::new();
        let mut bytes = 0_usize;
        while frames.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES {
            let Some(frame) = framer.next() else { break };
            bytes = bytes.saturating_add(frame.bytes.len());
            frames.push(frame);
        }
        if frames.is_empty() {
            return Ok(());
        }
        shared.put(source, frames).await?;
    }
}
