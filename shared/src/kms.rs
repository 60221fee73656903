//! A signing key in AWS KMS. The only place that imports `aws_sdk_kms`.
//!
//! It does not know what is signed.

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::aws::{CallError, credentials, repeated};
use crate::clock::Deadline;
use crate::config::KmsConfig;

/// What stands before the 32 bytes of an Ed25519 key in its DER (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key in AWS KMS: of the specification `ECC_NIST_EDWARDS25519`, for signing.
#[derive(Debug)]
pub struct KmsKey {
    client: Client,
    key: String,
    public_key: OnceCell<[u8; 32]>,
}

/// KMS did not sign. The text is for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KmsError {
    /// A call failed.
    #[error("KMS: {0}")]
    Call(#[from] CallError),
    /// The key is of another kind.
    #[error("the signing key is no Ed25519 key")]
    NotEd25519,
}

impl KmsKey {
    /// Connects nothing yet: the first call does.
    #[must_use]
    pub fn new(config: &KmsConfig, http: SharedHttpClient) -> Self {
        let credentials =
            credentials(&config.access_key_id, &config.secret_access_key, config.session_token.as_ref());
        let mut sdk = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .http_client(http)
            // Attempts and their limits are ours; see `retry`.
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = &config.endpoint {
            sdk = sdk.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(sdk.build()), key: config.key.clone(), public_key: OnceCell::new() }
    }

    /// The public key, which KMS is asked for once.
    ///
    /// # Errors
    /// [`KmsError`]
    pub(crate) async fn public_key(&self, deadline: Deadline) -> Result<[u8; 32], KmsError> {
        let ask = async || {
            let get = || self.client.get_public_key().key_id(&self.key).send();
            let der = repeated(deadline, get).await?.public_key.map(Blob::into_inner).unwrap_or_default();
            let key = der.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok());
            key.ok_or(KmsError::NotEd25519)
        };
        self.public_key.get_or_try_init(ask).await.copied()
    }

    /// Signs a text (Ed25519, RFC 8032): 64 bytes.
    ///
    /// # Errors
    /// [`KmsError`]
    pub(crate) async fn sign(&self, text: &[u8], deadline: Deadline) -> Result<Vec<u8>, KmsError> {
        let sign = || {
            let sign = self.client.sign().key_id(&self.key).message(Blob::new(text));
            sign.message_type(MessageType::Raw).signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512).send()
        };
        let signature = repeated(deadline, sign).await?.signature;
        signature
            .map(Blob::into_inner)
            .ok_or_else(|| CallError::Refused("no signature in the answer".into()).into())
    }
}
