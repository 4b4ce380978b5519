//! GitHub's webhooks: who signed a delivery, and what it is.
//!
//! In: the headers and the body of a delivery, the secret. Out: the event's kind and the delivery's id, or why it is not
//! believed. Never: a look into a body that nobody signed.

use std::path::Path;

use axum::http::HeaderMap;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use model::config::GithubConfig;
use sha2::Sha256;

use super::access::hex;
use super::refusal::Refusal;

/// Longest kind of an event, and id of a delivery.
const WORD_BYTES_MAX: usize = 128;
/// Largest file of a secret.
const SECRET_BYTES_MAX: u64 = 4096;

/// A webhook.
pub(super) struct Hook {
    /// Name of the sender.
    pub(super) name: String,
    mac: Hmac<Sha256>,
}

/// A delivery, as far as its headers tell.
#[derive(Clone)]
pub(super) struct Delivery {
    /// Kind of the event.
    pub(super) event: String,
    /// Id of the delivery; the same when it is sent again.
    pub(super) id: Bytes,
    signature: [u8; 32],
    mac: Hmac<Sha256>,
}

/// Why the secret of a webhook cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("ingest.http.github.{name}: {what}")]
pub struct SecretError {
    /// The webhook.
    name: String,
    what: String,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("event", &self.event).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Hook {
    /// Reads the secret from its file or variable.
    pub(super) fn load(name: &str, config: &GithubConfig) -> Result<Hook, SecretError> {
        let fail = |what: String| SecretError { name: name.to_owned(), what };
        let secret = match (&config.secret_file, &config.secret_env) {
            (Some(file), _) => {
                secret_in(file).map_err(|error| fail(format!("{}: {error}", file.display())))?
            }
            (None, Some(variable)) => {
                std::env::var(variable).map_err(|_| fail(format!("the variable {variable} is not set")))?
            }
            (None, None) => return Err(fail("it has no secret; give secret_file or secret_env".to_owned())),
        };
        Hook::new(name, secret.trim().as_bytes()).ok_or_else(|| fail("the secret is empty".to_owned()))
    }

    fn new(name: &str, secret: &[u8]) -> Option<Hook> {
        let mac = Hmac::<Sha256>::new_from_slice(secret).ok().filter(|_| !secret.is_empty())?;
        Some(Hook { name: name.to_owned(), mac })
    }

    /// What the headers say. The body is judged by [`Delivery::is_signed`].
    pub(super) fn delivery(&self, head: &HeaderMap) -> Result<Delivery, Refusal> {
        let word = |name: &'static str| {
            let value = head.get(name).and_then(|value| value.to_str().ok());
            let sound = value.filter(|value| !value.is_empty() && value.len() <= WORD_BYTES_MAX);
            let what = format!("expected 1 to {WORD_BYTES_MAX} characters");
            sound.map(str::to_owned).ok_or(Refusal::Header { name, what })
        };
        let signature = head.get("x-hub-signature-256").map(|value| value.as_bytes());
        let signature = signature.ok_or(Refusal::Signature("the header X-Hub-Signature-256 is missing"))?;
        let digest = signature.strip_prefix(b"sha256=").and_then(hex);
        Ok(Delivery {
            signature: digest.ok_or(Refusal::Signature("X-Hub-Signature-256 is no sha256=… digest"))?,
            event: word("x-github-event")?,
            id: Bytes::from(word("x-github-delivery")?),
            mac: self.mac.clone(),
        })
    }
}

impl Delivery {
    /// Whether the body was signed with the webhook's secret.
    pub(super) fn is_signed(&self, body: &[u8]) -> bool {
        self.mac.clone().chain_update(body).verify_slice(&self.signature).is_ok()
    }
}

fn secret_in(file: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(file)?.len();
    if length > SECRET_BYTES_MAX {
        let what = format!("{length} bytes are more than {SECRET_BYTES_MAX}");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what));
    }
    std::fs::read_to_string(file)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use model::config::GithubConfig;

    use super::Hook;

    /// The example of GitHub's own documentation.
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn head(signature: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            ("x-hub-signature-256".parse().unwrap(), HeaderValue::from_static(signature)),
            ("x-github-event".parse().unwrap(), HeaderValue::from_static("push")),
            ("x-github-delivery".parse().unwrap(), HeaderValue::from_static("72d3162e-cc78")),
        ])
    }

    #[test]
    fn a_body_is_believed_by_its_signature() {
        let hook = Hook::new("acme", b"It's a Secret to Everybody").unwrap();
        let delivery = hook.delivery(&head(SIGNATURE)).unwrap();
        assert_eq!((delivery.event.as_str(), &delivery.id[..]), ("push", &b"72d3162e-cc78"[..]));
        assert!(delivery.is_signed(b"Hello, World!"));
        assert!(!delivery.is_signed(b"Hello, World?") && !delivery.is_signed(b""));
        let other = Hook::new("acme", b"another").unwrap().delivery(&head(SIGNATURE)).unwrap();
        assert!(!other.is_signed(b"Hello, World!"));
    }

    #[test]
    fn a_delivery_without_its_headers_is_refused() {
        let hook = Hook::new("acme", b"x").unwrap();
        for (name, words) in [
            ("x-hub-signature-256", "X-Hub-Signature-256"),
            ("x-github-event", "x-github-event"),
            ("x-github-delivery", "x-github-delivery"),
        ] {
            let mut head = head(SIGNATURE);
            head.remove(name);
            let error = hook.delivery(&head).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(hook.delivery(&head("sha1=0123")).is_err());
    }

    #[test]
    fn secrets_come_from_files_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "It's a Secret to Everybody\n").unwrap();
        let config = GithubConfig { secret_file: Some(file.clone()), ..GithubConfig::default() };
        let hook = Hook::load("acme", &config).unwrap();
        assert!(hook.delivery(&head(SIGNATURE)).unwrap().is_signed(b"Hello, World!"));
        std::fs::write(&file, " \n").unwrap();
        assert!(Hook::load("acme", &config).unwrap_err().to_string().contains("acme: the secret is empty"));
        let unset =
            GithubConfig { secret_env: Some("MOZDEF_NO_SUCH_VARIABLE".into()), ..GithubConfig::default() };
        assert!(Hook::load("acme", &unset).unwrap_err().to_string().contains("MOZDEF_NO_SUCH_VARIABLE"));
    }
}
