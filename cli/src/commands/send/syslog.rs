//! Sends batches as syslog messages, one a line of a file.
//!
//! In: a batch. Out: how many messages were handed over. Never: a word of whether they arrived: syslog says nothing back.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::post::Posted;
use super::read::Batch;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a batch to be taken, and for the other side's goodbye.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Priority of lines that have none: user, notice.
const PRIORITY: &[u8] = b"<13>";

/// What names an authority's, a certificate's and a key's file.
const VARIABLES: [&str; 3] = ["MOZDEF_TLS_CA", "MOZDEF_TLS_CERTIFICATE", "MOZDEF_TLS_KEY"];

/// A connection, in the open or encrypted.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// One connection, or one socket.
pub(crate) struct SyslogSender {
    way: Mutex<Way>,
}

enum Way {
    Stream(Box<dyn Connection>),
    Datagrams(UdpSocket),
}

/// Whether an address is for this sender: `syslog://`, `syslog+tls://`, `syslog+udp://` (or `udp://`, `tcp://`).
pub(crate) fn is_syslog(to: &str) -> bool {
    ["syslog://", "syslog+tcp://", "syslog+tls://", "syslog+udp://", "tcp://", "udp://"]
        .iter()
        .any(|scheme| to.starts_with(scheme))
}

impl SyslogSender {
    /// Connects.
    pub(crate) async fn connect(to: &str) -> anyhow::Result<SyslogSender> {
        let url = url::Url::parse(to)
            .with_context(|| format!("{to} is no address such as syslog://127.0.0.1:5514"))?;
        let host = url.host_str().with_context(|| format!("{to} names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (is_tls, is_udp) = (url.scheme() == "syslog+tls", url.scheme().ends_with("udp"));
        let port = url.port().unwrap_or(if is_tls { 6514 } else { 514 });
        let address = lookup_host((host.as_str(), port)).await?.next();
        let address = address.with_context(|| format!("{host} has no address"))?;
        let way = if is_udp {
            let own: SocketAddr = if address.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
            let socket = UdpSocket::bind(own).await?;
            socket.connect(address).await?;
            Way::Datagrams(socket)
        } else {
            let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            let stream =
                connecting.map_err(anyhow::Error::from).and_then(|stream| Ok(stream?)).with_context(
                    || format!("no connection to {address}; is `mozdef up` running with ingest.syslog?"),
                )?;
            match is_tls {
                true => Way::Stream(Box::new(encrypted(stream, &host).await?)),
                false => Way::Stream(Box::new(stream)),
            }
        };
        Ok(SyslogSender { way: Mutex::new(way) })
    }

    /// Hands a batch over.
    pub(crate) async fn post(&self, batch: &Batch) -> anyhow::Result<Posted> {
        let mut posted = Posted::default();
        let mut way = self.way.lock().await;
        let mut framed = Vec::with_capacity(batch.body.len() + batch.body.len() / 8);
        for (number, line) in batch.body.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let message = with_priority(line);
            match &*way {
                Way::Stream(_) => {
                    framed.extend_from_slice(message.len().to_string().as_bytes());
                    framed.push(b' ');
                    framed.extend_from_slice(&message);
                }
                Way::Datagrams(_) if message.len() > DATAGRAM_BYTES_MAX => {
                    let line = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1);
                    posted
                        .errors
                        .push((line, format!("{} bytes are too many for a datagram", message.len())));
                    continue;
                }
                Way::Datagrams(socket) => {
                    socket.send(&message).await.context("the datagram was refused")?;
                }
            }
            posted.accepted += 1;
        }
        if let Way::Stream(stream) = &mut *way {
            let writing = async {
                stream.write_all(&framed).await?;
                stream.flush().await
            };
            match timeout(WRITE_TIMEOUT, writing).await {
                Ok(written) => written.context("the connection broke; some of the file may have arrived")?,
                Err(_) => bail!("nothing was taken for {} s; is the log away?", WRITE_TIMEOUT.as_secs()),
            }
        }
        Ok(posted)
    }

    /// Says goodbye, and waits for the other side's: it has read all then. A connection that is closed before, with
    /// bytes of the other side unread (tickets of TLS, say), is reset, and what is still under way is thrown away.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let Way::Stream(stream) = &mut *self.way.lock().await else { return Ok(()) };
        let goodbye = async {
            stream.shutdown().await?;
            match tokio::io::copy(stream, &mut tokio::io::sink()).await {
                // Many end a connection of TLS without its goodbye.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
                other => other.map(drop),
            }
        };
        match timeout(WRITE_TIMEOUT, goodbye).await {
            Ok(said) => said.context("the connection broke; the last of the file may not have arrived"),
            Err(_) => bail!("all is sent, but not read to its end in {} s", WRITE_TIMEOUT.as_secs()),
        }
    }
}

/// A message begins with a priority, or its length could not be told from text.
fn with_priority(line: &[u8]) -> Vec<u8> {
    let has = line.strip_prefix(b"<").and_then(|rest| {
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        ((1..=3).contains(&digits) && rest.get(digits) == Some(&b'>')).then_some(())
    });
    match has {
        Some(()) => line.to_vec(),
        None => [PRIORITY, line].concat(),
    }
}

async fn encrypted(
    stream: TcpStream,
    host: &str,
) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let [authority, certificate, key] = VARIABLES
        .map(|variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.as_os_str() != ""));
    let certificates = |file: &Path| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        read.with_context(|| format!("{} holds no certificates in PEM form", file.display()))
    };
    let mut roots = RootCertStore::empty();
    match &authority {
        Some(file) => {
            for authority in certificates(file)? {
                roots.add(authority).with_context(|| format!("{} cannot be used", file.display()))?;
            }
        }
        None => {
            let (_, refused) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if refused > 0 {
                tracing::debug!(refused, "certificates of the system cannot be used");
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match (&certificate, &key) {
        (Some(certificate), Some(key)) => {
            let own = PrivateKeyDer::from_pem_file(key)
                .map_err(|_| anyhow::anyhow!("{} holds no private key in PEM form", key.display()))?;
            builder.with_client_auth_cert(certificates(certificate)?, own)?
        }
        _ => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name"))?;
    let connector = TlsConnector::from(Arc::new(config));
    let shaken = timeout(CONNECT_TIMEOUT, connector.connect(name, stream)).await?;
    shaken.with_context(|| format!("no TLS with {host}; {} names the authority's file", VARIABLES[0]))
}

#[cfg(test)]
mod tests {
    use super::{is_syslog, with_priority};

    #[test]
    fn messages_begin_with_a_priority() {
        for (line, expected) in [
            ("Oct 1 a", "<13>Oct 1 a"),
            ("<34>Oct 1 a", "<34>Oct 1 a"),
            ("<x>a", "<13><x>a"),
            ("<>a", "<13><>a"),
            ("{\"a\":1}", "<13>{\"a\":1}"),
        ] {
            assert_eq!(with_priority(line.as_bytes()), expected.as_bytes());
        }
        assert!(is_syslog("syslog+tls://h:1") && !is_syslog("http://h:1") && !is_syslog("amqp://h"));
    }
}
