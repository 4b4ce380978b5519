//! Connections: accepted up to a number, read until they end, finished at shutdown.
//!
//! In: a listener. Out: streams of messages. Never: an end because one connection, or one `accept`, failed; a connection
//! that waits unread: one too many is closed, so that its sender does not take what it writes for sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::headers;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::access::Places;
use super::{Shared, receive};
use crate::intake::IntakeError;
use crate::tls::{Tls, client_name};

/// Pause after `accept` failed, as it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections are still taken after shutdown began: those that the kernel has made already.
const LAST_ACCEPT: Duration = Duration::from_millis(20);
/// A peer that says nothing is asked whether it lives after this time.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Accepts until shutdown, then waits for the connections to finish.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
) -> Result<(), IntakeError> {
    let watching =
        tls.clone().map(|tls| tokio::spawn(tls.watch(headers::INPUT_SYSLOG, shared.shutdown.clone())));
    let ended = accept(listener, tls.as_ref(), &shared).await;
    if let Some(watching) = watching {
        watching.abort();
    }
    ended
}

async fn accept(
    listener: TcpListener,
    tls: Option<&Arc<Tls>>,
    shared: &Arc<Shared>,
) -> Result<(), IntakeError> {
    let places = Places::new(shared.config.connections_max, shared.config.connections_per_address_max);
    let mut tasks = JoinSet::new();
    let mut shutdown = shared.shutdown.clone();
    loop {
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => broken(ended)?,
            () = shutdown.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => begin((stream, peer), tls, shared, &places, &mut tasks),
                Err(error) => {
                    shared.failure("accept");
                    tracing::warn!(listener = shared.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(LAST_ACCEPT, listener.accept()).await {
        begin((stream, peer), tls, shared, &places, &mut tasks);
    }
    drop(listener);
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        outcome = outcome.and(broken(ended));
    }
    outcome
}

/// A connection that panicked ends alone; one that the log failed ends the listener.
fn broken(ended: Result<Result<(), IntakeError>, tokio::task::JoinError>) -> Result<(), IntakeError> {
    ended.unwrap_or(Ok(()))
}

fn begin(
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<&Arc<Tls>>,
    shared: &Arc<Shared>,
    places: &Arc<Places>,
    tasks: &mut JoinSet<Result<(), IntakeError>>,
) {
    let address = peer.ip().to_canonical();
    if !shared.allow.contain(address) {
        shared.failure("not_allowed");
        tracing::warn!(listener = shared.name, %address, "not allowed to send (ingest.syslog.*.allow)");
        return;
    }
    let Some(place) = places.take(address) else {
        shared.failure("too_many_connections");
        tracing::warn!(
            listener = shared.name,
            %address,
            "too many connections (connections_max, connections_per_address_max); this one is closed"
        );
        return;
    };
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, %address, "no keep-alive");
    }
    let (shared, tls) = (Arc::clone(shared), tls.cloned());
    tasks.spawn(async move {
        let result = connection(stream, address, tls, &shared).await;
        drop(place);
        result
    });
}

async fn connection(
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Arc<Tls>>,
    shared: &Shared,
) -> Result<(), IntakeError> {
    let mut source = shared.source.clone();
    source.peer = Bytes::from(address.to_string());
    let Some(tls) = tls else { return receive::read(stream, &source, shared).await };
    match tls.accept(stream).await {
        Ok(stream) => {
            if let Some(name) = client_name(&stream) {
                source.principal = Bytes::from(name);
            }
            receive::read(stream, &source, shared).await
        }
        Err(error) => {
            shared.failure("tls");
            tracing::warn!(listener = shared.name, %address, %error, "a client was not let in");
            Ok(())
        }
    }
}
