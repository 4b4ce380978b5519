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
use model::config::HttpConfig;
use model::metrics::metrics;
use stream::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use super::connections::{Place, Places, Use};
use super::proxies::{self, Proxies};
use super::take::Peer;
use crate::tls::{self, Tls};

/// Longest time that requests may take to finish after shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for the header of the PROXY protocol.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after `accept` failed, as it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection goes through before its first request.
#[derive(Clone)]
pub(super) struct Door {
    tls: Option<Arc<Tls>>,
    proxies: Option<Proxies>,
    places: Places,
    idle_timeout: Duration,
}

impl Door {
    pub(super) fn new(config: &HttpConfig, tls: Option<Arc<Tls>>) -> Door {
        Door {
            tls,
            proxies: config.proxies.as_ref().map(Proxies::new),
            places: Places::new(config.connections_max),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
        }
    }
}

/// Accepts until shutdown, then waits for requests that have begun.
pub(super) async fn accept(listener: TcpListener, door: Door, router: Router, mut shutdown: Shutdown) {
    loop {
        let (stream, peer) = tokio::select! {
            next = next(&listener) => next,
            () = shutdown.wait() => break,
        };
        // The connection is there already: it may be a good one, for which an idle one gives up its place.
        let place = tokio::select! {
            place = door.places.take() => place,
            () = shutdown.wait() => break,
        };
        let Some(place) = place else { return };
        let (door, router, shutdown) = (door.clone(), router.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = connection(stream, peer, door, &place, router, shutdown) => {}
                () = place.wanted() => tracing::debug!(%peer, "an idle connection made room for another"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, door.places.all_free()).await.is_err() {
        tracing::warn!("requests did not finish within {} s", DRAIN_TIMEOUT.as_secs());
    }
}

async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    place: &Place,
    router: Router,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let mut address = peer.ip();
    if door.proxies.as_ref().is_some_and(|proxies| proxies.speaks_proxy(address)) {
        match tokio::time::timeout(PROXY_TIMEOUT, proxies::read(&mut stream)).await {
            Ok(Ok(client)) => address = client.unwrap_or(address),
            Ok(Err(error)) => return tracing::warn!(%error, %peer, "a proxy was not understood"),
            Err(_) => return tracing::debug!(%peer, "a proxy said nothing"),
        }
    }
    let Some(tls) = door.tls else {
        let peer = Peer { address, certificate: None };
        return requests(stream, peer, door.idle_timeout, &place.use_of, router, shutdown).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => {
            let peer = Peer { address, certificate: tls::client_name(&stream).map(Bytes::from) };
            requests(stream, peer, door.idle_timeout, &place.use_of, router, shutdown).await;
        }
        Err(error) => tracing::debug!(%error, %peer, "a client was not let in"),
    }
}

async fn requests<IO>(
    stream: IO,
    peer: Peer,
    idle_timeout: Duration,
    use_of: &Arc<Use>,
    router: Router,
    mut shutdown: Shutdown,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answer = router.clone().call(request);
        let use_of = Arc::clone(use_of);
        use_of.begin();
        async move {
            let response = answer.await;
            if let Ok(response) = &response {
                metrics().http_requests.with_label_values(&[response.status().as_str()]).inc();
            }
            use_of.end();
            response
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
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
