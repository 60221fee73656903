//! The key that signs checkpoints: Ed25519, in the process or in AWS KMS.

use aws_lc_rs::signature::{ED25519 as ED25519_VERIFICATION, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;
use signed_note::{Signature, StandardVerifier, key_id};
use thiserror::Error;

use crate::clock::Deadline;
use crate::kms::{KmsError, KmsKey};
use crate::secret::Secret;

/// The algorithm's number in a verifier key (C2SP `signed-note`, "Signature types").
const ED25519: u8 = 1;

/// Signs checkpoints.
#[derive(Debug)]
pub struct Signer(Key);

#[derive(Debug)]
enum Key {
    Pair(Ed25519KeyPair),
    Kms(KmsKey),
}

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// The seed is not the base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not the base64 of 32 bytes")]
pub struct SeedError;

impl Signer {
    /// The key of a seed: 32 bytes as base64.
    ///
    /// # Errors
    /// [`SeedError`]
    pub fn seed(seed: &Secret) -> Result<Self, SeedError> {
        let seed = BASE64.decode(seed.expose().as_bytes()).map_err(|_| SeedError)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Key::Pair).map(Self).map_err(|_| SeedError)
    }

    /// A key in AWS KMS. No call is made.
    #[must_use]
    pub fn kms(key: KmsKey) -> Self {
        Self(Key::Kms(key))
    }

    /// What its signatures are verified with.
    ///
    /// # Errors
    /// [`KmsError`] if KMS has to be asked, as it is once.
    pub async fn public_key(&self, deadline: Deadline) -> Result<PublicKey, KmsError> {
        match &self.0 {
            Key::Pair(pair) => PublicKey::of(pair.public_key().as_ref()).ok_or(KmsError::NotEd25519),
            Key::Kms(key) => key.public_key(deadline).await.map(PublicKey),
        }
    }

    /// Whether it signs, and the signature is its key's. What it signs is no checkpoint.
    ///
    /// # Errors
    /// [`KmsError`]
    pub async fn check(&self, deadline: Deadline) -> Result<PublicKey, KmsError> {
        const TEXT: &[u8] = b"signing is tried out\n";
        let key = self.public_key(deadline).await?;
        let signature = self.signature(TEXT, deadline).await?;
        let verified = UnparsedPublicKey::new(&ED25519_VERIFICATION, key.0).verify(TEXT, &signature);
        verified.map(|()| key).map_err(|_| KmsError::NotEd25519)
    }

    /// Signs a text as `name`.
    ///
    /// # Errors
    /// [`KmsError`]
    pub(super) async fn sign(
        &self,
        name: &str,
        text: &[u8],
        deadline: Deadline,
    ) -> Result<Option<Signature>, KmsError> {
        let key = self.public_key(deadline).await?;
        let signature = self.signature(text, deadline).await?;
        Ok(Signature::new(name.to_owned(), key_id(name, &key.numbered()), signature).ok())
    }

    async fn signature(&self, text: &[u8], deadline: Deadline) -> Result<Vec<u8>, KmsError> {
        match &self.0 {
            Key::Pair(pair) => Ok(pair.sign(text).as_ref().to_vec()),
            Key::Kms(key) => key.sign(text, deadline).await,
        }
    }
}

impl PublicKey {
    fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads [`PublicKey::to_base64`].
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Self::of(&BASE64.decode(text.as_bytes()).ok()?)
    }

    /// Its 32 bytes (RFC 8032), base64.
    #[must_use]
    pub fn to_base64(self) -> String {
        BASE64.encode(&self.0)
    }

    /// As verifiers take it (C2SP `signed-note`; Go's `sumdb/note`): `{origin}+{key id}+{base64}`.
    #[must_use]
    pub fn vkey(self, origin: &str) -> String {
        let key = self.numbered();
        format!("{origin}+{:08x}+{}", key_id(origin, &key), BASE64.encode(&key))
    }

    pub(super) fn verifier(self, origin: &str) -> Option<StandardVerifier> {
        StandardVerifier::new(&self.vkey(origin)).ok()
    }

    /// The key behind its algorithm's number.
    fn numbered(self) -> Vec<u8> {
        [&[ED25519][..], &self.0].concat()
    }
}
