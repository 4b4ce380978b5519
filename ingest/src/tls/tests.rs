//! Handshakes over memory, and files that change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::config::{ClientCertificate, TlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::{HandshakeError, Reload, Tls, client_name, provider};

#[path = "../../tests/it/authority.rs"]
mod authority;

use authority::{Authority, Pair};

fn config(pair: &Pair) -> TlsConfig {
    TlsConfig {
        certificate_file: pair.certificate.clone(),
        key_file: pair.key.clone(),
        ..TlsConfig::default()
    }
}

fn client(authority: &Authority, own: Option<&Pair>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der())).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_file(&pair.certificate).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&pair.key).unwrap()).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands, sends a byte back; what the client is called, or why it was not let in. With the server's certificate.
async fn meet(
    tls: &Arc<Tls>,
    authority: &Authority,
    own: Option<&Pair>,
) -> (Result<Option<String>, HandshakeError>, Option<Vec<u8>>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = client(authority, own);
    let asking = async move {
        let mut stream = connector.connect(name, near).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        // A client that never reads would leave a ticket unread, and lose its last bytes to a reset.
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        Some(shown)
    };
    let serving = async {
        let mut stream = tls.accept(far).await?;
        let called = client_name(&stream);
        stream.write_all(b"!").await?;
        Ok(called)
    };
    tokio::join!(serving, asking)
}

#[tokio::test]
async fn a_client_is_let_in_by_its_certificate_and_called_by_its_name() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let server = authority.issue("server", "localhost", &["localhost"], 1);
    let open = Tls::load(&config(&server), &[]).unwrap();
    assert_eq!(meet(&open, &authority, None).await.0.unwrap(), None);
    let mut asking = config(&server);
    asking.client_ca_file = Some(authority.certificate());
    let tls = Tls::load(&asking, &[]).unwrap();
    for (common, others, name) in [
        ("web-7", &["x.example.org"][..], Some("web-7")),
        ("", &["10.0.0.1", "x.example.org", "y.example.org"], Some("x.example.org")),
        ("a\nb", &["x.example.org"], None),
        ("", &["10.0.0.1"], None),
        ("K\u{f6}ln", &[], Some("K\u{f6}ln")),
    ] {
        let own = authority.issue("client", common, others, 2);
        let (called, shown) = meet(&tls, &authority, Some(&own)).await;
        assert_eq!(called.unwrap().as_deref(), name, "{common:?} {others:?}");
        assert!(shown.is_some());
    }
    assert!(meet(&tls, &authority, None).await.0.is_err());
    let foreign = stranger.issue("client", "web-7", &[], 2);
    assert!(matches!(meet(&tls, &authority, Some(&foreign)).await.0, Err(HandshakeError::Failed(_))));
    asking.client_certificate = ClientCertificate::Optional;
    let tls = Tls::load(&asking, &[]).unwrap();
    assert_eq!(meet(&tls, &authority, None).await.0.unwrap(), None);
    assert!(meet(&tls, &authority, Some(&foreign)).await.0.is_err());
}

#[tokio::test]
async fn a_revoked_certificate_opens_nothing() {
    let authority = Authority::new();
    let server = authority.issue("server", "localhost", &["localhost"], 1);
    let config = TlsConfig {
        client_ca_file: Some(authority.certificate()),
        client_crl_file: Some(authority.revoke(66)),
        ..config(&server)
    };
    let tls = Tls::load(&config, &[]).unwrap();
    let good = authority.issue("good", "good", &[], 65);
    let bad = authority.issue("bad", "bad", &[], 66);
    assert_eq!(meet(&tls, &authority, Some(&good)).await.0.unwrap().as_deref(), Some("good"));
    assert!(meet(&tls, &authority, Some(&bad)).await.0.is_err());
}

#[tokio::test]
async fn changed_files_are_in_force_for_the_next_connection_if_they_are_good() {
    let authority = Authority::new();
    let pair = authority.issue("server", "localhost", &["localhost"], 1);
    let tls = Tls::load(&TlsConfig { reload_ms: 50, ..config(&pair) }, &[]).unwrap();
    assert_eq!(tls.reload().unwrap(), Reload::Unchanged);
    let shown = |(_, shown): (_, Option<Vec<u8>>)| shown.unwrap();
    let first = shown(meet(&tls, &authority, None).await);
    std::fs::write(&pair.certificate, "gone wrong").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("certificate"), "{error}");
    assert_eq!(shown(meet(&tls, &authority, None).await), first);

    let (trigger, shutdown) = stream::shutdown::channel();
    let watching = tokio::spawn(tls.clone().watch("test", shutdown));
    let pair = authority.issue("server", "localhost", &["localhost"], 2);
    let second = CertificateDer::from_pem_file(&pair.certificate).unwrap().to_vec();
    // Between the two writes the key does not fit, which is told and tried again.
    while shown(meet(&tls, &authority, None).await) != second {
        tokio::task::yield_now().await;
    }
    trigger.fire();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up() {
    let authority = Authority::new();
    let pair = authority.issue("server", "localhost", &["localhost"], 1);
    let tls = Tls::load(&TlsConfig { handshake_timeout_ms: 100, ..config(&pair) }, &[]).unwrap();
    let (_near, far) = tokio::io::duplex(64);
    assert!(matches!(tls.accept(far).await, Err(HandshakeError::Slow { ms: 100 })));
}

#[track_caller]
fn check_refused(config: &TlsConfig, file: &Path, words: &str) {
    let error = Tls::load(config, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&*file.to_string_lossy()) && error.contains(words), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let good = authority.issue("server", "localhost", &[], 1);
    let other = authority.issue("other", "localhost", &[], 2);
    let nowhere = PathBuf::from("/nowhere/cert.pem");
    let with = |change: &dyn Fn(&mut TlsConfig)| {
        let mut config = config(&good);
        change(&mut config);
        config
    };
    check_refused(&with(&|c| c.certificate_file.clone_from(&nowhere)), &nowhere, "cannot be read");
    check_refused(&with(&|c| c.certificate_file.clone_from(&good.key)), &good.key, "no certificate");
    check_refused(&with(&|c| c.key_file.clone_from(&good.certificate)), &good.certificate, "no private key");
    check_refused(&with(&|c| c.key_file.clone_from(&other.key)), &good.certificate, "");
    check_refused(&with(&|c| c.client_ca_file = Some(good.key.clone())), &good.key, "no certificate");
    let ca = Some(authority.certificate());
    let wrong = |c: &mut TlsConfig| (c.client_ca_file, c.client_crl_file) = (ca.clone(), ca.clone());
    check_refused(&with(&wrong), &authority.certificate(), "no revocation list");
}

#[test]
fn hostile_certificates_have_no_name() {
    for der in [&b""[..], b"\x30\x80", &[0x30; 1000], &[0xff; 100]] {
        assert_eq!(super::certificate_name(der), None);
    }
}
