//! Who has signed a plugin (Ed25519).
//!
//! In: a file's bytes, what lies beside it as `NAME.wasm.sig`, the keys of the configuration. Out: yes, or why not.
//! Never: an unsigned plugin where the configuration has keys.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A key of the configuration is none.
    #[error("{key} is no Ed25519 public key: 64 hexadecimal digits are")]
    Key {
        /// As it stands there.
        key: String,
    },
    /// There is no signature.
    #[error(
        "it is not signed, and normalize.plugins.keys asks for a signature; sign it with `mozdef plugin push --sign-key`"
    )]
    Missing,
    /// Not made by any of the keys, or for other bytes.
    #[error("its signature was made by none of normalize.plugins.keys, or for another file")]
    Wrong,
}

/// What is signed: the purpose and the digest, so that a signature cannot be taken from elsewhere.
fn message(digest: &str) -> Vec<u8> {
    format!("mozdef plugin sha256 {digest}").into_bytes()
}

/// Whether one of `keys` has signed the file of this digest. Without keys everything is right.
///
/// # Errors
/// See [`SignatureError`].
pub fn check(digest: &str, signature: Option<&str>, keys: &[String]) -> Result<(), SignatureError> {
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<VerifyingKey> = keys.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?;
    let signature = signature.ok_or(SignatureError::Missing)?;
    let bytes: [u8; 64] = from_hex(signature.trim()).ok_or(SignatureError::Wrong)?;
    let signature = Signature::from_bytes(&bytes);
    let message = message(digest);
    if keys.iter().any(|key| key.verify_strict(&message, &signature).is_ok()) {
        Ok(())
    } else {
        Err(SignatureError::Wrong)
    }
}

fn public_key(text: &str) -> Result<VerifyingKey, SignatureError> {
    let wrong = || SignatureError::Key { key: text.to_owned() };
    VerifyingKey::from_bytes(&from_hex(text.trim()).ok_or_else(wrong)?).map_err(|_| wrong())
}

/// The signature of a digest by a secret key of 64 hexadecimal digits, and the public key; `None` where it is none.
pub fn sign(digest: &str, secret: &str) -> Option<(String, String)> {
    let key = SigningKey::from_bytes(&from_hex(secret.trim())?);
    Some((to_hex(&key.sign(&message(digest)).to_bytes()), to_hex(key.verifying_key().as_bytes())))
}

/// Bytes of hexadecimal digits, exactly as many.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N.checked_mul(2)? || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at.checked_add(2)?)?, 16).ok()?;
    }
    Some(bytes)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        if write!(text, "{byte:02x}").is_err() {
            text.clear();
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{SignatureError, check, sign};

    #[test]
    fn only_what_a_known_key_has_signed_counts() {
        let secret = "11".repeat(32);
        let (signature, public) = sign("d1", &secret).unwrap();
        let (_, other) = sign("d1", &"22".repeat(32)).unwrap();
        let keys = [other.clone(), public];
        assert_eq!(check("d1", None, &[]), Ok(()));
        assert_eq!(check("d1", Some(&signature), &keys), Ok(()));
        assert_eq!(check("d1", None, &keys), Err(SignatureError::Missing));
        assert_eq!(check("d2", Some(&signature), &keys), Err(SignatureError::Wrong));
        assert_eq!(check("d1", Some(&signature), &[other]), Err(SignatureError::Wrong));
        assert_eq!(check("d1", Some("zz"), &keys), Err(SignatureError::Wrong));
        assert!(matches!(check("d1", Some(&signature), &["x".to_owned()]), Err(SignatureError::Key { .. })));
        assert!(sign("d1", "short").is_none());
    }
}
