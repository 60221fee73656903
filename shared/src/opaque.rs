//! What a client carries for us: it can neither read nor alter it, and nobody else can use it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

use crate::problem::Problem;
use crate::secret::Secret;

/// Closes bytes into texts and opens them again (AES-256-GCM, a random nonce each).
///
/// - the key is that of one purpose: HMAC-SHA-256 of the purpose under the secret;
/// - a text is good for one owner, who is no part of it.
///
/// ```
/// # use shared::{opaque::Opaque, secret::Secret};
/// let opaque = Opaque::new(&Secret::new("a secret of at least 32 bytes, say".into()), "example");
/// let text = opaque.close("ann", b"page 2").unwrap();
/// assert_eq!(opaque.open("ann", &text).as_deref(), Some(b"page 2".as_slice()));
/// assert_eq!(opaque.open("bob", &text), None);
/// ```
pub struct Opaque([u8; 32]);

impl Opaque {
    /// Of one purpose.
    #[must_use]
    pub fn new(secret: &Secret, purpose: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let mut derived = [0; 32];
        derived.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        Self(derived)
    }

    /// A text that only this owner can bring back.
    ///
    /// # Errors
    /// [`Problem::Internal`] if the library refuses, which it does for 64 GiB.
    pub fn close(&self, owner: &str, bytes: &[u8]) -> Result<String, Problem> {
        let broken = |_| Problem::Internal("a text cannot be closed".into());
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(broken)?;
        let mut closed = bytes.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(owner), &mut closed).map_err(broken)?;
        Ok(BASE64URL_NOPAD.encode(&[nonce.as_ref().as_slice(), &closed].concat()))
    }

    /// What [`Opaque::close`] was given. None if it did not make this text, or made it for another owner.
    #[must_use]
    pub fn open(&self, owner: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (nonce, closed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()?;
        let mut opened = closed.to_vec();
        key.open_in_place(nonce, Aad::from(owner), &mut opened).ok().map(|bytes| bytes.to_vec())
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opaque(secret: &str, purpose: &str) -> Opaque {
        Opaque::new(&Secret::new(secret.into()), purpose)
    }

    #[test]
    fn only_what_it_closed_for_the_same_owner_and_purpose_is_opened() {
        let closing = opaque("secret", "one");
        let text = closing.close("owner", b"bytes").unwrap();
        assert_ne!(text, closing.close("owner", b"bytes").unwrap(), "each with its own nonce");
        assert_eq!(closing.open("owner", &text).as_deref(), Some(b"bytes".as_slice()));
        for (other, owner) in [
            (&closing, "another"),
            (&closing, ""),
            (&opaque("secret", "two"), "owner"),
            (&opaque("secrets", "one"), "owner"),
        ] {
            assert_eq!(other.open(owner, &text), None);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(closing.open("owner", &BASE64URL_NOPAD.encode(&altered)), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(closing.open("owner", &BASE64URL_NOPAD.encode(&bytes[..length])), None);
        }
        for text in ["", "=", "x", "é", &format!("{text}="), &format!("{text}A"), &format!(" {text}")] {
            assert_eq!(closing.open("owner", text), None, "{text}");
        }
        assert_eq!(format!("{closing:?}"), "[redacted]");
    }
}
