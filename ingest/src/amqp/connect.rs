//! From a configured queue to an open connection: address, TLS, login.
//!
//! In: one entry of `ingest.amqp`. Out: a connection, behind a gate. Never: a password in an error.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lapin::types::LongString;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use model::config::{AmqpConfig, AmqpTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::link::{Gate, Link, Wire, runtime};
use stream::secret::{self, SecretError};

/// Longest time until a connection is open and logged in.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Time between two signs of life, in seconds.
const HEARTBEAT_SECONDS: u16 = 30;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The password is not known.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file of certificates or keys is of no use.
    #[error("{}: {cause}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// The system has no certificates of authorities.
    #[error("the system names no authorities to trust; set tls.ca_file")]
    NoAuthorities,
    /// Certificate, key and authorities do not fit together.
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The name to be found in the broker's certificate is none.
    #[error("{0}")]
    Name(#[from] InvalidDnsNameError),
    /// The broker cannot be reached, or its certificate is not trusted.
    #[error("{server} cannot be reached: {source}")]
    Reach {
        /// The address.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The broker refuses us.
    #[error("{server} refuses the connection: {source}")]
    Refused {
        /// The address.
        server: String,
        /// Why.
        source: Box<lapin::Error>,
    },
    /// It does not answer.
    #[error("{server} does not answer in time")]
    Silent {
        /// The address.
        server: String,
    },
}

/// Opens a connection to one of the servers.
pub(super) async fn connect(
    config: &AmqpConfig,
    server: &str,
    gate: Gate,
) -> Result<Connection, ConnectError> {
    let silent = || ConnectError::Silent { server: server.to_owned() };
    tokio::time::timeout(CONNECT_MAX, open(config, server, gate)).await.map_err(|_| silent())?
}

async fn open(config: &AmqpConfig, server: &str, gate: Gate) -> Result<Connection, ConnectError> {
    let uri = uri(config, server)?;
    let reach = |source| ConnectError::Reach { server: server.to_owned(), source };
    let stream = TcpStream::connect(server).await.map_err(reach)?;
    stream.set_nodelay(true).map_err(reach)?;
    let wire: Box<dyn Wire> = match &config.tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = tls.server_name.clone().unwrap_or_else(|| uri.authority.host.clone());
            let connector = TlsConnector::from(Arc::new(client_config(tls)?));
            Box::new(connector.connect(ServerName::try_from(name)?, stream).await.map_err(reach)?)
        }
    };
    // lapin asks for the link once; reconnecting is ours.
    let link = std::sync::Mutex::new(Some(Link::new(wire, gate)));
    let connecting = async move |_, _| {
        let link = link.lock().ok().and_then(|mut link| link.take());
        link.map(AsyncTcpStream::Plain).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    let name = LongString::from(format!("mozdef {}", config.principal()));
    let properties = ConnectionProperties::default().with_connection_name(name);
    let opened = Connection::connector(uri, runtime(), connecting, properties).await;
    opened.map_err(|error| ConnectError::Refused { server: server.to_owned(), source: Box::new(error) })
}

/// What a start would fail on: files and variables that are not there.
pub(super) fn check(config: &AmqpConfig) -> Result<(), ConnectError> {
    password(config)?;
    config.tls.as_ref().map_or(Ok(()), |tls| client_config(tls).map(drop))
}

fn password(config: &AmqpConfig) -> Result<String, SecretError> {
    let password =
        secret::read("the password", config.password_file.as_deref(), config.password_env.as_deref())?;
    // As RabbitMQ itself and MozDef have it, for the machine's own broker.
    Ok(password.unwrap_or_else(|| "guest".to_owned()))
}

fn uri(config: &AmqpConfig, server: &str) -> Result<AMQPUri, ConnectError> {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    let userinfo = AMQPUserInfo { username: config.username.clone(), password: password(config)? };
    Ok(AMQPUri {
        // The link is encrypted before lapin sees it.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().unwrap_or_default(),
        },
        vhost: config.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
    })
}

fn client_config(tls: &AmqpTls) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(ConnectError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    match (&tls.certificate_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            let failed = |error: rustls::pki_types::pem::Error| ConnectError::File {
                file: key.clone(),
                cause: error.to_string(),
            };
            let key = PrivateKeyDer::from_pem_file(key).map_err(failed)?;
            Ok(builder.with_client_auth_cert(certificates(certificate)?, key)?)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let failed = |cause: String| ConnectError::File { file: file.to_owned(), cause };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?.collect();
    let found = found.map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("it holds no certificate in PEM form".to_owned())) } else { Ok(found) }
}
