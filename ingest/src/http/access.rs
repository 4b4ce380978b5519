//! Who may send: tokens and passwords by their SHA-256, and certificates.
//!
//! In: the configuration; the `Authorization` header of a request, the name on the client's certificate. Out: the
//! sender: its name, as it goes into event ids, and its quota. Never: a token in a message.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::config::{Auth, HttpConfig};
use sha2::{Digest, Sha256};

use super::quota::Quota;

/// Sender without a token or certificate.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Longest `Authorization` header that is looked at.
const AUTHORIZATION_BYTES_MAX: usize = 4096;

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
    #[error("ingest.http.{key}: expected a SHA-256 as 64 hex digits")]
    Digest {
        /// Where it stands.
        key: String,
    },
    /// The name is taken.
    #[error("ingest.http.tokens.{owner}: this name stands for senders without a token; choose another")]
    Owner {
        /// The name.
        owner: String,
    },
}

/// Why a sender is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It did not say who it is.
    Nobody,
    /// What it said cannot be read.
    Malformed,
    /// Nobody is known by that.
    Unknown,
}

/// Who sends.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) name: Bytes,
    pub(super) quota: Arc<Quota>,
}

type Sha = [u8; 32];

/// Who is known.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Vec<(Sender, Sha)>,
    users: HashMap<Vec<u8>, (Sender, Sha)>,
    certificates: HashMap<Bytes, Sender>,
    /// The quota of all that have none of their own.
    others: Arc<Quota>,
    required: bool,
}

impl Access {
    pub(super) fn new(config: &HttpConfig) -> Result<Access, AccessError> {
        let mut access = Access {
            tokens: Vec::new(),
            users: HashMap::new(),
            certificates: HashMap::new(),
            others: Arc::new(Quota::new(&config.quota)),
            required: required(config)?,
        };
        for (owner, digest) in &config.tokens {
            let sender = sender(owner, Quota::new(&config.quota))?;
            access.tokens.push((sender, sha(digest, || format!("tokens.{owner}"))?));
        }
        for (owner, source) in &config.sources {
            let sender = match access.tokens.iter().find(|(known, _)| known.name == owner.as_bytes()) {
                // A source may stand in both places; it is one sender.
                Some((known, _)) if source.quota.is_none() => known.clone(),
                _ => sender(owner, Quota::new(source.quota.as_ref().unwrap_or(&config.quota)))?,
            };
            for token in &source.tokens {
                let token = sha(token, || format!("sources.{owner}.tokens"))?;
                access.tokens.push((sender.clone(), token));
            }
            for (user, password) in &source.users {
                let password = sha(password, || format!("sources.{owner}.users.{user}"))?;
                access.users.insert(user.clone().into_bytes(), (sender.clone(), password));
            }
            for name in &source.certificates {
                access.certificates.insert(Bytes::from(name.clone()), sender.clone());
            }
        }
        Ok(access)
    }

    /// The sender: the owner of the token or password, else who is named on the client's certificate. Where neither is
    /// needed, an unknown token is ignored.
    pub(super) fn sender(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<&Bytes>,
    ) -> Result<Sender, Refused> {
        let told = match authorization {
            None => Err(Refused::Nobody),
            Some(header) => credentials(header)
                .ok_or(Refused::Malformed)
                .and_then(|credentials| self.known(&credentials).ok_or(Refused::Unknown)),
        };
        let why = match told {
            Ok(sender) => return Ok(sender),
            Err(why) => why,
        };
        // A certificate must not take the name that stands for nobody.
        if let Some(name) = certificate.filter(|name| ***name != *ANONYMOUS.as_bytes()) {
            let unlisted = || Sender { name: name.clone(), quota: Arc::clone(&self.others) };
            return Ok(self.certificates.get(name).cloned().unwrap_or_else(unlisted));
        }
        if self.required { Err(why) } else { Ok(self.named(ANONYMOUS)) }
    }

    /// A sender that was let in in another way.
    pub(super) fn named(&self, name: &str) -> Sender {
        Sender { name: Bytes::copy_from_slice(name.as_bytes()), quota: Arc::clone(&self.others) }
    }

    fn known(&self, credentials: &Credentials) -> Option<Sender> {
        match credentials {
            Credentials::Token(token) => self.owner(token),
            Credentials::Password { user, password } => match self.users.get(user) {
                Some((sender, known)) => same(&digest(password), known).then(|| sender.clone()),
                // Clients that know only passwords send a token as one, under any name.
                None => self.owner(password),
            },
        }
    }

    /// Looks at every digest in full, so that the time taken tells nothing.
    fn owner(&self, token: &[u8]) -> Option<Sender> {
        let digest = digest(token);
        let mut found = None;
        for (owner, known) in &self.tokens {
            if same(&digest, known) {
                found = Some(owner);
            }
        }
        found.cloned()
    }
}

fn required(config: &HttpConfig) -> Result<bool, AccessError> {
    let known = config.knows_somebody();
    match config.auth {
        Auth::None => Ok(false),
        Auth::Token if !known => Err(AccessError::Shut),
        Auth::Token => Ok(true),
        Auth::Auto if !known && !config.listen.ip().is_loopback() => {
            Err(AccessError::Open { listen: config.listen })
        }
        Auth::Auto => Ok(known),
    }
}

fn sender(owner: &str, quota: Quota) -> Result<Sender, AccessError> {
    if owner == ANONYMOUS {
        return Err(AccessError::Owner { owner: owner.to_owned() });
    }
    Ok(Sender { name: Bytes::copy_from_slice(owner.as_bytes()), quota: Arc::new(quota) })
}

fn sha(digest: &str, key: impl FnOnce() -> String) -> Result<Sha, AccessError> {
    hex(digest.as_bytes()).ok_or_else(|| AccessError::Digest { key: key() })
}

fn digest(token: &[u8]) -> Sha {
    Sha256::digest(token).into()
}

/// Compares in constant time.
fn same(a: &Sha, b: &Sha) -> bool {
    a.iter().zip(b).fold(0_u8, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// 32 bytes from 64 hex digits.
pub(super) fn hex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0_u8; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// What a sender says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Credentials {
    Token(Vec<u8>),
    Password { user: Vec<u8>, password: Vec<u8> },
}

/// Bearer tokens, Splunk's tokens, Elasticsearch's API keys (`id:key`), and passwords.
fn credentials(authorization: &[u8]) -> Option<Credentials> {
    let header = authorization.trim_ascii();
    let space = header.iter().position(|b| *b == b' ').filter(|_| header.len() <= AUTHORIZATION_BYTES_MAX)?;
    let (scheme, value) = header.split_at_checked(space)?;
    let value = value.trim_ascii();
    if value.is_empty() {
        return None;
    }
    if scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"splunk") {
        return Some(Credentials::Token(value.to_vec()));
    }
    if scheme.eq_ignore_ascii_case(b"apikey") {
        return Some(Credentials::Token(STANDARD.decode(value).unwrap_or_else(|_| value.to_vec())));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(value).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    let (user, password) = pair.split_at_checked(colon)?;
    Some(Credentials::Password { user: user.to_vec(), password: password.get(1..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use model::config::{Auth, HttpConfig, QuotaConfig, SourceConfig, TlsConfig};
    use model::time::Timestamp;

    use super::{Access, AccessError, Refused};

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    /// SHA-256 of `other`.
    const OTHER: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

    fn config(auth: Auth, listen: &str, tokens: &[(&str, &str)]) -> HttpConfig {
        let tokens: BTreeMap<String, String> =
            tokens.iter().map(|(owner, digest)| ((*owner).to_owned(), (*digest).to_owned())).collect();
        HttpConfig { auth, listen: listen.parse().unwrap(), tokens, ..HttpConfig::default() }
    }

    fn name(access: &Access, authorization: &str) -> Result<String, Refused> {
        let sender = access.sender(Some(authorization.as_bytes()), None)?;
        Ok(String::from_utf8(sender.name.to_vec()).unwrap())
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
            Some(AccessError::Digest { key: "tokens.a".to_owned() })
        );
        assert_eq!(
            error(Auth::Auto, open, &[("anonymous", SECRET)]),
            Some(AccessError::Owner { owner: "anonymous".to_owned() })
        );
    }

    #[test]
    fn a_sender_is_known_by_the_token() {
        let access = Access::new(&config(Auth::Auto, "0.0.0.0:80", &[("web", SECRET)])).unwrap();
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for good in ["Bearer secret", "bearer  secret ", "Splunk secret", "ApiKey c2VjcmV0"] {
            assert_eq!(name(&access, good).as_deref(), Ok("web"), "{good}");
        }
        assert_eq!(name(&access, &basic("any:secret")).as_deref(), Ok("web"));
        assert_eq!(access.sender(None, None).err(), Some(Refused::Nobody));
        for malformed in
            ["secret", "", "Bearer", "Bearer ", "Basic secret", "Digest secret", "Basic c2VjcmV0"]
        {
            assert_eq!(name(&access, malformed), Err(Refused::Malformed), "{malformed}");
        }
        for wrong in ["Bearer secret2", "Splunk c2VjcmV0", "ApiKey b3RoZXI=", &basic("secret:x")] {
            assert_eq!(name(&access, wrong), Err(Refused::Unknown), "{wrong}");
        }
        let open = Access::new(&config(Auth::None, "0.0.0.0:80", &[("web", SECRET)])).unwrap();
        assert_eq!(&open.sender(None, None).unwrap().name[..], b"anonymous");
        assert_eq!(name(&open, "Bearer wrong").as_deref(), Ok("anonymous"));
        assert_eq!(name(&open, "Bearer secret").as_deref(), Ok("web"));
    }

    #[test]
    fn a_source_has_tokens_users_certificates_and_a_quota() {
        let source = SourceConfig {
            tokens: vec![SECRET.to_owned(), OTHER.to_owned()],
            users: BTreeMap::from([("me".to_owned(), SECRET.to_owned())]),
            certificates: vec!["db-7.example.org".to_owned()],
            quota: Some(QuotaConfig { events_per_second: Some(1), bytes_per_second: None }),
        };
        let sources = BTreeMap::from([("db".to_owned(), source)]);
        let tls = TlsConfig { client_ca_file: Some("/ca".into()), ..TlsConfig::default() };
        let config = HttpConfig { sources, tls: Some(tls), ..config(Auth::Auto, "0.0.0.0:80", &[]) };
        let access = Access::new(&config).unwrap();
        for good in ["Bearer secret", "Bearer other", "Basic bWU6c2VjcmV0"] {
            assert_eq!(name(&access, good).as_deref(), Ok("db"), "{good}");
        }
        // A user's name is not a way around its password.
        assert_eq!(name(&access, "Basic bWU6b3RoZXI="), Err(Refused::Unknown));
        let now = Timestamp::from_millis(0);
        access.sender(Some(b"Bearer other"), None).unwrap().quota.take(20, 0, now);
        let by_certificate = access.sender(None, Some(&Bytes::from_static(b"db-7.example.org"))).unwrap();
        assert_eq!(&by_certificate.name[..], b"db");
        assert!(by_certificate.quota.wait_s(now).is_some());
        let stranger = access.sender(None, Some(&Bytes::from_static(b"web-1"))).unwrap();
        assert_eq!((&stranger.name[..], stranger.quota.wait_s(now)), (&b"web-1"[..], None));
        assert_eq!(access.sender(None, Some(&Bytes::from_static(b"anonymous"))).err(), Some(Refused::Nobody));
    }
}
