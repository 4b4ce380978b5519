//! Connections: accepted up to a number, given up when slow, finished at shutdown.
//!
//! In: a listener. Out: requests to the router, each with its sender's
//! address. Never: an end because one connection, or one `accept`, failed.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::metrics::metrics;
use stream::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::routes::Peer;
use crate::tls::{self, Tls};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: u32 = 1024;
/// Longest time for a request's head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that requests may take to finish after shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after `accept` failed, as it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until shutdown, then waits for requests that have begun.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    mut shutdown: Shutdown,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
                tokio::spawn(async move {
                    connection(stream, peer, tls, router, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, places.acquire_many(CONNECTIONS_MAX)).await.is_err() {
        tracing::warn!("requests did not finish within {} s", DRAIN_TIMEOUT.as_secs());
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    router: Router,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let address = peer.ip();
    let Some(tls) = tls else {
        return requests(stream, Peer { address, certificate: None }, router, shutdown).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => {
            let certificate = tls::client_name(&stream).map(Bytes::from);
            requests(stream, Peer { address, certificate }, router, shutdown).await;
        }
        Err(error) => tracing::debug!(%error, %peer, "a client was not let in"),
    }
}

async fn requests<IO>(stream: IO, peer: Peer, router: Router, mut shutdown: Shutdown)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answer = router.clone().call(request);
        async move {
            let response = answer.await;
            if let Ok(response) = &response {
                metrics().http_requests.with_label_values(&[response.status().as_str()]).inc();
            }
            response
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.wait() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, peer = %address, "connection ended");
    }
}
