//! The archive of the sealed log: a bucket of its own, often in another store than the files'.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockMode};
use jiff::Timestamp;

use super::{Call, PUT_LIMIT, READ_LIMIT, SpacesError, failure, or_answer, repeated, tries};
use crate::aws::credentials;
use crate::clock::Deadline;
use crate::config::ArchiveConfig;
use crate::metrics::Operation;

/// A handle on the archive.
#[derive(Debug)]
pub struct Archive {
    client: Client,
    bucket: String,
    object_lock: bool,
}

/// Whether an object of the archive is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is replaced by what comes after it: a checkpoint, a partial tile.
    Replaced,
    /// It is never written otherwise; where the store has Object Lock nobody can until then.
    Until(Timestamp),
}

impl Archive {
    /// Connects nothing yet: the first call does.
    #[must_use]
    pub fn new(config: &ArchiveConfig, http: SharedHttpClient) -> Self {
        Self {
            client: Self::client(config, http),
            bucket: config.bucket.clone(),
            object_lock: config.object_lock,
        }
    }

    /// The SDK's client as it is used here. For an operator's tool, which sets up and examines the store; functions have a handle.
    #[must_use]
    pub fn client(config: &ArchiveConfig, http: SharedHttpClient) -> Client {
        let credentials = credentials(&config.access_key, &config.secret_key, config.session_token.as_ref());
        let mut sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .force_path_style(config.is_loopback())
            .credentials_provider(credentials)
            .http_client(http)
            // As in `Spaces`: stores other than S3 reject or mishandle the SDK's default.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Attempts and their limits are ours; see `retry`.
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = &config.endpoint {
            sdk = sdk.endpoint_url(endpoint);
        }
        Client::from_conf(sdk.build())
    }

    /// Reads an object. None: there is none.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub async fn get(&self, key: &str, deadline: Deadline) -> Result<Option<Vec<u8>>, SpacesError> {
        let limit: Duration = deadline.cap(READ_LIMIT);
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let read = async || {
            let answer = or_answer(get.clone().send().await.map(Some), |code, _| {
                (code == "NoSuchKey").then_some(None)
            })?;
            let Some(answer) = answer else { return Ok(None) };
            let bytes = answer.body.collect().await;
            let bytes = bytes.map_err(|_| SpacesError::Unanswered("answer could not be read".into()))?;
            Ok(Some(bytes.to_vec()))
        };
        repeated(Call::Archive(Operation::GetObject), tries(limit), read).await.0
    }

    /// Writes an object. Writing the same bytes again changes nothing that anybody reads.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub async fn put(
        &self,
        key: &str,
        bytes: Vec<u8>,
        keep: Keep,
        deadline: Deadline,
    ) -> Result<(), SpacesError> {
        let send = async || {
            let mut put = self.client.put_object().bucket(&self.bucket).key(key);
            if let (Keep::Until(until), true) = (keep, self.object_lock) {
                put = put
                    .object_lock_mode(ObjectLockMode::Compliance)
                    .object_lock_retain_until_date(DateTime::from_secs(until.as_second()))
                    // S3 takes a retention only together with a checksum.
                    .checksum_algorithm(ChecksumAlgorithm::Sha256);
            }
            put.body(ByteStream::from(bytes.clone())).send().await.map(drop).map_err(failure)
        };
        repeated(Call::Archive(Operation::PutObject), tries(deadline.cap(PUT_LIMIT)), send).await.0
    }
}
