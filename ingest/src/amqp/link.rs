//! The bytes between us and a broker: TCP or TLS, under a gate that stops reading while too much is held.
//!
//! In: addresses, certificates. Out: a connection of AMQP. Never: more unacknowledged bytes in memory than the gate
//! allows, but for one message and what is on its way.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// What runs lapin: tokio, with links of our own.
pub(super) type Kit = RuntimeParts<Tokio, Links>;

/// The runtime for lapin. To be called within tokio.
pub(super) fn runtime() -> Runtime<Kit> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Links(tokio)))
}

/// Stops reading while more is held than it allows. Clones are the same gate.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    held: AtomicUsize,
    allowed: usize,
    reader: AtomicWaker,
}

impl Gate {
    /// A gate for this many bytes.
    pub(super) fn new(allowed: usize) -> Gate {
        Gate(Arc::new(State { held: AtomicUsize::new(0), allowed, reader: AtomicWaker::new() }))
    }

    /// These bytes are held from now on.
    pub(super) fn hold(&self, bytes: usize) {
        self.0.held.fetch_add(bytes, Ordering::SeqCst);
    }

    /// These bytes, which were held, are so no longer.
    pub(super) fn release(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::SeqCst);
        if !self.is_shut() {
            self.0.reader.wake();
        }
    }

    fn is_shut(&self) -> bool {
        self.0.held.load(Ordering::SeqCst) >= self.0.allowed
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if !self.is_shut() {
            return Poll::Ready(());
        }
        self.0.reader.register(context.waker());
        // What was released in between has woken nobody.
        if self.is_shut() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Plain or encrypted.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A wire behind a gate.
pub(super) struct Link {
    wire: Box<dyn Wire>,
    gate: Gate,
}

impl Link {
    /// As lapin reads it.
    pub(super) fn new(wire: Box<dyn Wire>, gate: Gate) -> Compat<Link> {
        Link { wire, gate }.compat()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.gate.poll(context) {
            Poll::Ready(()) => Pin::new(&mut self.wire).poll_read(context, buffer),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

/// What lapin asks of a runtime beside tasks. Links are made by `connect.rs`, not here.
#[derive(Clone, Debug)]
pub(super) struct Links(Tokio);

impl Reactor for Links {
    type TcpStream = Compat<Link>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl futures_util::io::AsyncRead + futures_util::io::AsyncWrite + Send + Unpin + 'static>
    {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::Error::from(io::ErrorKind::Unsupported)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Gate, Link};

    #[tokio::test]
    async fn reading_stops_while_too_much_is_held() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let gate = Gate::new(10);
        let mut link = Link { wire: Box::new(ours), gate: gate.clone() };
        theirs.write_all(b"ab").await.unwrap();
        assert_eq!(link.read_u8().await.unwrap(), b'a');
        gate.hold(10);
        let reading = tokio::spawn(async move { link.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        gate.release(1);
        assert_eq!(reading.await.unwrap(), b'b');
    }
}
