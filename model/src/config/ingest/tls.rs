//! TLS of a listener: the certificate that it shows, and whose certificates it asks for.
//!
//! In: the text of a `tls` section. Out: [`TlsConfig`], and what is wrong with it. Never: keys; files that hold them are
//! named, and read at the start.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS 1.2 and 1.3 of a listener. All files are PEM, and read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate of the listener, with those between it and its authority.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Certificates of the authorities whose clients are let in. Clients are asked for a certificate only where this is
    /// set; its subject's common name, else its first DNS name, URI or mail address, is the name of the sender.
    pub client_ca_file: Option<PathBuf>,
    /// Revoked certificates of clients.
    pub client_crl_file: Option<PathBuf>,
    /// Whether a client may come without a certificate where `client_ca_file` is set.
    pub client_certificate: ClientCertificate,
    /// Longest time for a handshake, in milliseconds.
    #[schemars(range(min = 100, max = 60000))]
    pub handshake_timeout_ms: u64,
    /// Time between two looks at whether a file has changed, in milliseconds.
    #[schemars(range(min = 50, max = 3600000))]
    pub reload_ms: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            client_ca_file: None,
            client_crl_file: None,
            client_certificate: ClientCertificate::Required,
            handshake_timeout_ms: 10_000,
            reload_ms: 5_000,
        }
    }
}

impl TlsConfig {
    /// Whether every client has shown a certificate, and so has a name.
    pub fn names_all_clients(&self) -> bool {
        self.client_ca_file.is_some() && self.client_certificate == ClientCertificate::Required
    }

    /// What is wrong with the values: key below the section (empty for the section itself), what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let mut found = Vec::new();
        for (key, file) in [("certificate_file", &self.certificate_file), ("key_file", &self.key_file)] {
            if file.as_path() == Path::new("") {
                found.push((key, "no file is named", "TLS needs a certificate and its key, as PEM files"));
            }
        }
        if self.client_crl_file.is_some() && self.client_ca_file.is_none() {
            let remedy = "set `client_ca_file` too, or leave this out";
            found.push(("client_crl_file", "clients are not asked for certificates", remedy));
        }
        found
    }
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It may not.
    Required,
    /// It may, and must then say who it is in another way.
    Optional,
}

#[cfg(test)]
mod tests {
    use super::TlsConfig;

    #[test]
    fn files_must_be_named() {
        let keys = |config: &TlsConfig| config.mistakes().iter().map(|m| m.0).collect::<Vec<_>>();
        let mut config = TlsConfig::default();
        assert_eq!(keys(&config), ["certificate_file", "key_file"]);
        config.certificate_file = "/c".into();
        config.key_file = "/k".into();
        assert_eq!(keys(&config), Vec::<&str>::new());
        config.client_crl_file = Some("/r".into());
        assert_eq!(keys(&config), ["client_crl_file"]);
        config.client_ca_file = Some("/a".into());
        assert!(config.mistakes().is_empty() && config.names_all_clients());
    }
}
