//! Access tokens: of a service account by its key (a signed JWT), or of the machine by its metadata server.
//!
//! In: a key file, or nothing. Out: a token that is valid for another minute at least. Never: the key or a token in a message.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::time::{Clock, Timestamp};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::fetch::{self, FetchError};

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";
/// Where tokens are had, where the key does not say so.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Longest life of a JWT, in seconds.
const JWT_SECONDS: i64 = 3600;
/// A token is renewed so long before its end, in milliseconds.
const SPARE_MS: i64 = 60_000;
/// Longest time to get one.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest key file and answer.
const BYTES_MAX: usize = 1 << 20;
/// Environment variable with the metadata server's address, as Google's own clients know it.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what Google gives out.
    #[error("{} is no key of a service account: {cause}; download one as JSON", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: Option<String>,
}

/// A service account's key.
pub(super) struct Key {
    email: String,
    id: String,
    token_uri: String,
    key: Arc<dyn SigningKey>,
}

impl Key {
    /// Reads a key file.
    pub(super) fn read(file: &Path) -> Result<Key, KeyError> {
        let content = |cause: String| KeyError::Content { file: file.to_owned(), cause };
        let bytes = std::fs::read(file).map_err(|source| KeyError::Read { file: file.to_owned(), source })?;
        if bytes.len() > BYTES_MAX {
            return Err(content(format!("it has {} bytes", bytes.len())));
        }
        // The parser's words could hold pieces of the key: only where it stopped is told.
        let parsed: KeyFile = serde_json::from_slice(&bytes)
            .map_err(|error| content(format!("wrong at line {}, column {}", error.line(), error.column())))?;
        let der = PrivateKeyDer::from_pem_slice(parsed.private_key.as_bytes())
            .map_err(|_| content("private_key is no key in PEM form".to_owned()))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
            .map_err(|_| content("private_key is of no kind that is known".to_owned()))?;
        if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
            return Err(content("private_key is no RSA key".to_owned()));
        }
        let token_uri = parsed.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        Ok(Key { email: parsed.client_email, id: parsed.private_key_id, token_uri, key })
    }

    /// A JWT that says who we are and what we want (RFC 7523).
    fn assertion(&self, now: Timestamp) -> Result<String, FetchError> {
        let issued = now.millis() / 1000;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.id });
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri,
            "iat": issued, "exp": issued.saturating_add(JWT_SECONDS),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let unsigned = |why: &str| FetchError::Refused { why: why.to_owned() };
        let signer = self
            .key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or_else(|| unsigned("the key of the service account is no RSA key"))?;
        let signature = signer
            .sign(signed.as_bytes())
            .map_err(|_| unsigned("the key of the service account does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

enum Account {
    Key(Key),
    Machine,
}

/// Where tokens come from, and the last one.
pub(super) struct Credentials {
    account: Account,
    http: Client,
    clock: Clock,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    /// When it is to be renewed.
    until: Timestamp,
}

impl Credentials {
    pub(super) fn of_key(key: Key, http: Client, clock: Clock) -> Credentials {
        Credentials { account: Account::Key(key), http, clock, token: Mutex::default() }
    }

    pub(super) fn of_machine(http: Client, clock: Clock) -> Credentials {
        Credentials { account: Account::Machine, http, clock, token: Mutex::default() }
    }

    /// A token; asked for once by however many want it.
    pub(super) async fn token(&self) -> Result<String, FetchError> {
        let mut known = self.token.lock().await;
        if let Some(token) = known.as_ref().filter(|token| self.clock.now() < token.until) {
            return Ok(token.text.clone());
        }
        let asked = self.clock.now();
        let token = self.ask(asked).await?;
        Ok(known.insert(token).text.clone())
    }

    /// A token is not taken any more; one that somebody has got in the meantime stays.
    pub(super) async fn forget(&self, used: &str) {
        let mut known = self.token.lock().await;
        if known.as_ref().is_some_and(|token| token.text == used) {
            *known = None;
        }
    }

    async fn ask(&self, now: Timestamp) -> Result<Token, FetchError> {
        let request = match &self.account {
            Account::Key(key) => {
                let assertion = key.assertion(now)?;
                // Neither has a character that would have to be escaped, but for the colons of the name.
                let body = format!(
                    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
                );
                self.http
                    .post(&key.token_uri)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body)
            }
            Account::Machine => {
                let host = std::env::var(METADATA_VARIABLE);
                let host = host.unwrap_or_else(|_| "metadata.google.internal".to_owned());
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                self.http.get(format!("http://{host}/{path}")).header("Metadata-Flavor", "Google")
            }
        };
        let body = fetch::ask(request.timeout(TIMEOUT), BYTES_MAX).await.map_err(|error| match error {
            // Google says 400 to a key that was deleted.
            FetchError::Refused { why } => FetchError::Denied { why: format!("no access token: {why}") },
            FetchError::Later { after, why } => {
                FetchError::Later { after, why: format!("no access token: {why}") }
            }
            other => other,
        })?;
        let unreadable =
            || FetchError::Later { after: None, why: "the answer holds no access token".to_owned() };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let text = answer.get("access_token").and_then(Value::as_str).ok_or_else(unreadable)?.to_owned();
        let seconds = answer.get("expires_in").and_then(Value::as_i64).unwrap_or(JWT_SECONDS);
        let until = now.plus_millis(seconds.saturating_mul(1000).saturating_sub(SPARE_MS));
        Ok(Token { text, until })
    }
}
