//! TLS of a listener: certificates from files, read again when they change, and the names of clients.
//!
//! In: accepted connections, and the files of a [`TlsConfig`]. Out: encrypted streams, each with the name on the
//! client's certificate where it showed one. Never: an end because a new file is bad: the last good ones stay in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::config::{ClientCertificate, TlsConfig};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use stream::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Largest file that is read: a bundle of all public authorities has a quarter of a MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Longest name of a client that is taken.
const NAME_BYTES_MAX: usize = 255;

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file} holds no {what} in PEM form{cause}")]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is looked for.
        what: &'static str,
        /// More, where it is known.
        cause: String,
    },
    /// The files do not go together.
    #[error("{file}: {source}")]
    Refused {
        /// The file that is most likely wrong.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The files for clients cannot be used.
    #[error("{file}: {cause}")]
    Clients {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the TLS handshake took longer than {ms} ms")]
    Slow {
        /// The bound.
        ms: u64,
    },
    /// It failed.
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
}

/// Certificates in force, for one listener.
pub struct Tls {
    config: TlsConfig,
    /// Protocols that are offered (ALPN); none where empty.
    protocols: Vec<Vec<u8>>,
    live: ArcSwap<Live>,
}

struct Live {
    server: Arc<ServerConfig>,
    digest: [u8; 32],
}

/// What a look at the files found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The same as before.
    Unchanged,
    /// New ones, which are in force for new connections.
    Loaded,
}

impl Tls {
    /// Reads the files. `protocols` are offered to clients that ask (ALPN), best first.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(config: &TlsConfig, protocols: &[&str]) -> Result<Arc<Tls>, TlsError> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let files = Files::read(config)?;
        let live = Live { server: Arc::new(files.server(config, &protocols)?), digest: files.digest() };
        Ok(Arc::new(Tls { config: config.clone(), protocols, live: ArcSwap::from_pointee(live) }))
    }

    /// Reads the files again, and puts them in force for new connections if they changed and are good.
    ///
    /// # Errors
    /// As [`Tls::load`]; then the last good ones stay in force.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let files = Files::read(&self.config)?;
        let digest = files.digest();
        if digest == self.live.load().digest {
            return Ok(Reload::Unchanged);
        }
        let server = Arc::new(files.server(&self.config, &self.protocols)?);
        self.live.store(Arc::new(Live { server, digest }));
        Ok(Reload::Loaded)
    }

    /// Looks for changed files until shutdown. `listener` names it in messages.
    pub async fn watch(self: Arc<Self>, listener: &'static str, mut shutdown: Shutdown) {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(self.config.reload_ms)) => {}
                () = shutdown.wait() => return,
            }
            let this = Arc::clone(&self);
            // Small files, but perhaps on a slow disk.
            let outcome = tokio::task::spawn_blocking(move || this.reload()).await;
            match outcome {
                Ok(Ok(Reload::Unchanged)) => told.clear(),
                Ok(Ok(Reload::Loaded)) => {
                    told.clear();
                    tracing::info!(listener, "new certificates in force");
                }
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if error != told {
                        tracing::error!(listener, %error, "certificates refused; the last good ones stay in force");
                        told = error;
                    }
                }
                Err(error) => tracing::error!(listener, %error, "certificates could not be looked at"),
            }
        }
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// [`HandshakeError`] where it is too slow, or shows nothing that is let in.
    pub async fn accept<IO>(&self, stream: IO) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.live.load().server));
        let ms = self.config.handshake_timeout_ms;
        let shaking = acceptor.accept(stream);
        match tokio::time::timeout(Duration::from_millis(ms), shaking).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(HandshakeError::Slow { ms }),
        }
    }
}

/// The name on the client's certificate, where it showed one: the subject's common name, else the first DNS name, URI or
/// mail address. `None` too where it has no such name of at most 255 bytes, or one with control characters.
pub fn client_name<IO>(stream: &TlsStream<IO>) -> Option<String> {
    let (_, session) = stream.get_ref();
    certificate_name(session.peer_certificates()?.first()?)
}

fn certificate_name(der: &[u8]) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let certificate = certificate.tbs_certificate();
    let common = certificate.subject().common_name().ok().flatten().map(|name| name.value().into_owned());
    let usable = |name: &String| {
        !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
    };
    if common.is_some() {
        // A subject whose name cannot be used is nobody; its other names are not tried.
        return common.filter(usable);
    }
    let (_, others) = certificate.get_extension::<SubjectAltName>().ok().flatten()?;
    let pick = |kind: fn(&GeneralName) -> Option<&str>| others.0.iter().find_map(kind).map(str::to_owned);
    pick(dns).or_else(|| pick(uri)).or_else(|| pick(mail)).filter(usable)
}

fn dns(name: &GeneralName) -> Option<&str> {
    if let GeneralName::DnsName(name) = name { Some(name.as_ref()) } else { None }
}

fn uri(name: &GeneralName) -> Option<&str> {
    if let GeneralName::UniformResourceIdentifier(name) = name { Some(name.as_ref()) } else { None }
}

fn mail(name: &GeneralName) -> Option<&str> {
    if let GeneralName::Rfc822Name(name) = name { Some(name.as_ref()) } else { None }
}

/// The one implementation of cryptography in the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The bytes of all files, read together.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Files, TlsError> {
        let maybe = |file: &Option<PathBuf>| file.as_deref().map(read).transpose();
        Ok(Files {
            certificate: read(&config.certificate_file)?,
            key: read(&config.key_file)?,
            client_ca: maybe(&config.client_ca_file)?,
            client_crl: maybe(&config.client_crl_file)?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        let none = Vec::new();
        for bytes in [
            &self.certificate,
            &self.key,
            self.client_ca.as_ref().unwrap_or(&none),
            self.client_crl.as_ref().unwrap_or(&none),
        ] {
            all.update(Sha256::digest(bytes));
        }
        all.finalize().into()
    }

    fn server(&self, config: &TlsConfig, protocols: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            items(&config.certificate_file, "certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Pem {
            file: config.key_file.clone(),
            what: "private key",
            // The parser's words could hold pieces of the key.
            cause: String::new(),
        })?;
        let provider = provider();
        let refused = |source| TlsError::Refused { file: config.certificate_file.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match (&config.client_ca_file, &self.client_ca) {
            (Some(file), Some(authorities)) => {
                builder.with_client_cert_verifier(self.verifier(config, file, authorities, provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(refused)?;
        server.alpn_protocols = protocols.to_vec();
        // Each connection shows its certificate anew, to the lists that are in force now. And a sender that only writes
        // never reads a ticket: it would close with that unread, the kernel would reset the connection, and what was
        // under way would be lost.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(server)
    }

    fn verifier(
        &self,
        config: &TlsConfig,
        file: &Path,
        authorities: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let clients = |file: &Path, cause: String| TlsError::Clients { file: file.to_owned(), cause };
        let mut roots = RootCertStore::empty();
        for authority in items::<CertificateDer<'static>>(file, "certificate", authorities)? {
            roots.add(authority).map_err(|error| clients(file, error.to_string()))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let (Some(file), Some(revoked)) = (&config.client_crl_file, &self.client_crl) {
            let lists: Vec<CertificateRevocationListDer<'static>> = items(file, "revocation list", revoked)?;
            // A list speaks for its own authority; others' certificates are not suspect without one.
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        if config.client_certificate == ClientCertificate::Optional {
            builder = builder.allow_unauthenticated();
        }
        let file = config.client_crl_file.as_deref().unwrap_or(file);
        builder.build().map_err(|error| clients(file, error.to_string()))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { file: file.to_owned(), source };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        let what = format!("{length} bytes are more than {FILE_BYTES_MAX}");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, what)));
    }
    std::fs::read(file).map_err(failed)
}

/// All items of one kind in a PEM file; at least one.
fn items<T: PemObject>(file: &Path, what: &'static str, pem: &[u8]) -> Result<Vec<T>, TlsError> {
    let wrong = |cause: String| TlsError::Pem { file: file.to_owned(), what, cause };
    let found: Vec<T> =
        T::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| wrong(format!(": {error}")))?;
    if found.is_empty() { Err(wrong(String::new())) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
