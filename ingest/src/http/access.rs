//! Who may send: bearer tokens by their SHA-256, and certificates.
//!
//! In: the configuration; the `Authorization` header of a request, the name on the client's certificate. Out: the
//! sender's name, as it goes into event ids. Never: a token in a message.

use std::net::SocketAddr;

use bytes::Bytes;
use model::config::{Auth, HttpConfig, TlsConfig};
use sha2::{Digest, Sha256};

/// Sender without a token or certificate.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Why the configuration of access cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccessError {
    /// Everybody could send, and nobody said that they may.
    #[error(
        "ingest.http.listen is {listen}, beyond loopback, and there are no tokens; \
         add ingest.http.tokens or ingest.http.tls.client_ca_file, or write ingest.http.auth: none"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// Nobody could send.
    #[error("ingest.http.auth is token, and there are no tokens; add ingest.http.tokens")]
    Shut,
    /// Not a digest.
    #[error("ingest.http.tokens.{owner}: expected the token's SHA-256 as 64 hex digits")]
    Digest {
        /// Whose token.
        owner: String,
    },
    /// The name is taken.
    #[error("ingest.http.tokens.{owner}: this name stands for senders without a token; choose another")]
    Owner {
        /// The name.
        owner: String,
    },
}

/// The header names no known token. The cause is kept from the sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// Tokens in force.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Vec<(Bytes, [u8; 32])>,
    required: bool,
}

impl Access {
    pub(super) fn new(config: &HttpConfig) -> Result<Access, AccessError> {
        let tokens = config
            .tokens
            .iter()
            .map(|(owner, digest)| token(owner, digest))
            .collect::<Result<Vec<_>, _>>()?;
        let known = !tokens.is_empty() || config.tls.as_ref().is_some_and(TlsConfig::names_all_clients);
        let required = match config.auth {
            Auth::None => false,
            Auth::Token if !known => return Err(AccessError::Shut),
            Auth::Token => true,
            Auth::Auto if !known && !config.listen.ip().is_loopback() => {
                return Err(AccessError::Open { listen: config.listen });
            }
            Auth::Auto => known,
        };
        Ok(Access { tokens, required })
    }

    /// The sender's name: that of the token's owner, else that on the client's certificate. Where neither is needed, an
    /// unknown token is ignored.
    pub(super) fn principal(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<&Bytes>,
    ) -> Result<Bytes, Refused> {
        let owner = authorization.and_then(bearer).and_then(|token| self.owner(token));
        // A certificate must not take the name that stands for nobody.
        let certificate = || certificate.filter(|name| name[..] != *ANONYMOUS.as_bytes()).cloned();
        match owner.or_else(certificate) {
            Some(name) => Ok(name),
            None if self.required => Err(Refused),
            None => Ok(Bytes::from_static(ANONYMOUS.as_bytes())),
        }
    }

    /// Looks at every digest in full, so that the time taken tells nothing.
    fn owner(&self, token: &[u8]) -> Option<Bytes> {
        let digest = Sha256::digest(token);
        let mut found = None;
        for (owner, known) in &self.tokens {
            let difference = digest.iter().zip(known).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
            if difference == 0 {
                found = Some(owner);
            }
        }
        found.cloned()
    }
}

fn token(owner: &str, digest: &str) -> Result<(Bytes, [u8; 32]), AccessError> {
    if owner == ANONYMOUS {
        return Err(AccessError::Owner { owner: owner.to_owned() });
    }
    let bytes = hex(digest).ok_or_else(|| AccessError::Digest { owner: owner.to_owned() })?;
    Ok((Bytes::copy_from_slice(owner.as_bytes()), bytes))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0_u8; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use model::config::{Auth, HttpConfig, TlsConfig};

    use super::{Access, AccessError, Refused};

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn config(auth: Auth, listen: &str, tokens: &[(&str, &str)]) -> HttpConfig {
        let tokens: BTreeMap<String, String> =
            tokens.iter().map(|(owner, digest)| ((*owner).to_owned(), (*digest).to_owned())).collect();
        HttpConfig { auth, listen: listen.parse().unwrap(), tokens, ..HttpConfig::default() }
    }

    #[test]
    fn an_open_or_shut_gateway_must_be_meant() {
        let open = "0.0.0.0:80";
        let error = |auth, listen, tokens| Access::new(&config(auth, listen, tokens)).err();
        assert_eq!(error(Auth::Auto, open, &[]), Some(AccessError::Open { listen: open.parse().unwrap() }));
        assert_eq!(error(Auth::Auto, "127.0.0.1:1", &[]), None);
        assert_eq!(error(Auth::Auto, open, &[("a", SECRET)]), None);
        assert_eq!(error(Auth::None, open, &[]), None);
        assert_eq!(error(Auth::Token, "127.0.0.1:1", &[]), Some(AccessError::Shut));
        assert_eq!(
            error(Auth::Auto, open, &[("a", "secret")]),
            Some(AccessError::Digest { owner: "a".to_owned() })
        );
        assert_eq!(
            error(Auth::Auto, open, &[("anonymous", SECRET)]),
            Some(AccessError::Owner { owner: "anonymous".to_owned() })
        );
    }

    #[test]
    fn a_sender_is_known_by_the_token() {
        let access = Access::new(&config(Auth::Auto, "0.0.0.0:80", &[("web", SECRET)])).unwrap();
        assert_eq!(access.principal(Some(b"Bearer secret"), None).unwrap(), "web");
        assert_eq!(access.principal(Some(b"bearer  secret "), None).unwrap(), "web");
        for wrong in [None, Some(&b"Bearer secret2"[..]), Some(b"Basic secret"), Some(b"secret"), Some(b"")] {
            assert_eq!(access.principal(wrong, None), Err(Refused), "{wrong:?}");
        }
        let open = Access::new(&config(Auth::None, "0.0.0.0:80", &[("web", SECRET)])).unwrap();
        assert_eq!(open.principal(None, None).unwrap(), "anonymous");
        assert_eq!(open.principal(Some(b"Bearer wrong"), None).unwrap(), "anonymous");
        assert_eq!(open.principal(Some(b"Bearer secret"), None).unwrap(), "web");
    }

    #[test]
    fn a_sender_is_known_by_the_certificate() {
        let tls = TlsConfig { client_ca_file: Some("/ca".into()), ..TlsConfig::default() };
        let config = HttpConfig { tls: Some(tls), ..config(Auth::Auto, "0.0.0.0:80", &[("web", SECRET)]) };
        let access = Access::new(&config).unwrap();
        let name = Bytes::from_static(b"db-7");
        assert_eq!(access.principal(None, Some(&name)).unwrap(), "db-7");
        assert_eq!(access.principal(Some(b"Bearer secret"), Some(&name)).unwrap(), "web");
        assert_eq!(access.principal(None, Some(&Bytes::from_static(b"anonymous"))), Err(Refused));
        assert!(Access::new(&HttpConfig { tokens: BTreeMap::new(), auth: Auth::Token, ..config }).is_ok());
    }
}
