//! The bucket: DigitalOcean Spaces, or whatever speaks S3. The only place that imports `aws_sdk_s3`.
//!
//! It neither decides whether something may be stored nor records it; see [`crate::files`].

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::ObjectCannedAcl;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout;

use crate::clock::{self, Deadline};
use crate::config::SpacesConfig;
use crate::record::Record;
use crate::retry::Tries;
use crate::tables::Committed;

/// All attempts of a PUT together (DESIGN section 8).
const PUT_LIMIT: Duration = Duration::from_secs(5);
/// One attempt of any call: two fit into a PUT.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(2_400);
/// All attempts of a DELETE together.
const DELETE_LIMIT: Duration = Duration::from_millis(2_500);

/// A call to the bucket that failed. The text is for the operator's log.
#[derive(Debug, Clone, Error)]
pub enum SpacesError {
    /// Not reachable, or no answer in time: the call may still have an effect later.
    #[error("spaces did not answer: {0}")]
    Unanswered(String),
    /// It answered that it cannot now: whatever the call did, it has done.
    #[error("spaces unavailable: {0}")]
    Unavailable(String),
    /// It refuses us: credentials, bucket or permissions are wrong.
    #[error("spaces refuse the call: {0}")]
    Refused(String),
}

/// An object that was stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its entity tag.
    pub(crate) etag: String,
    /// Whether an attempt before had no answer: it may still arrive, also after the object was removed again.
    pub(crate) stray: bool,
}

/// An object that was not stored, as far as anybody knows.
#[derive(Debug, Clone, Error)]
#[error("{error}")]
pub(crate) struct NotStored {
    /// Why.
    pub error: SpacesError,
    /// Whether an attempt had no answer: it may still arrive.
    pub stray: bool,
}

/// How a signed URL makes the store answer.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// `response-content-type`
    pub content_type: String,
    /// `response-content-disposition`
    pub disposition: String,
}

/// A signed URL. It is the grant itself: never logged, never stored.
pub struct SignedUrl {
    /// The URL.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A handle on the bucket.
#[derive(Debug)]
pub struct Spaces {
    client: Client,
    bucket: String,
}

impl Spaces {
    /// Connects nothing yet: the first call does.
    #[must_use]
    pub fn new(config: &SpacesConfig, http: SharedHttpClient) -> Self {
        let (key, secret) = (config.access_key.expose(), config.secret_key.expose());
        let sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            .force_path_style(config.is_loopback())
            .credentials_provider(Credentials::new(key, secret, None, None, "environment"))
            .http_client(http)
            // Stores other than S3 reject or mishandle the SDK's default CRC32; ours is the SHA-256 in the metadata.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Attempts and their limits are ours; see `retry`.
            .retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(sdk.build()), bucket: config.bucket.clone() }
    }

    /// Stores the bytes of a reservation, privately.
    ///
    /// # Errors
    /// [`NotStored`]
    pub(crate) async fn put(
        &self,
        record: &Record,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<Stored, NotStored> {
        let body = SdkBody::from(bytes);
        let put = || {
            let put = self.client.put_object().bucket(&self.bucket).key(&record.file_path);
            put.acl(ObjectCannedAcl::Private)
                .content_type(&record.mime_type)
                .metadata("sha256", record.sha256.as_deref().unwrap_or_default())
                .metadata("upload-id", &record.upload_id)
                // Bytes in memory can be sent any number of times; a body that was taken cannot be sent at all.
                .body(ByteStream::new(body.try_clone().unwrap_or_else(SdkBody::taken)))
                .send()
        };
        let (put, stray) = repeated(deadline.cap_before_settling(PUT_LIMIT), put).await;
        let no_tag = || SpacesError::Refused("no entity tag in the answer to a PUT".into());
        match put.and_then(|put| put.e_tag.ok_or_else(no_tag)) {
            Ok(etag) => Ok(Stored { etag, stray }),
            Err(error) => Err(NotStored { error, stray }),
        }
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// Only to be called for a record in state PURGING: the fence.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn delete(&self, record: &Record, deadline: Deadline) -> Result<(), SpacesError> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(&record.file_path);
        repeated(deadline.cap(DELETE_LIMIT), || delete.clone().send()).await.0.map(drop)
    }

    /// Signs a URL for an object. It takes the proof that the URL's entry is in the log, since without one there must
    /// be no URL. No call is made.
    ///
    /// # Errors
    /// [`SpacesError::Refused`] if the request cannot be signed.
    pub(crate) async fn sign(
        &self,
        record: &Record,
        presentation: Presentation,
        life: Duration,
        recorded: Committed,
    ) -> Result<SignedUrl, SpacesError> {
        let refused = |what: &str| SpacesError::Refused(format!("a URL cannot be signed: {what}"));
        // A signature's time has whole seconds, and so has the end of its life.
        let from = clock::whole_seconds(recorded.at());
        let signing = PresigningConfig::builder().start_time(from.into()).expires_in(life).build();
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&record.file_path)
            .response_content_type(presentation.content_type)
            .response_content_disposition(presentation.disposition)
            .presigned(signing.map_err(|_| refused("life"))?)
            .await
            .map_err(|_| refused("request"))?;
        let expires_at = from.checked_add(life).map_err(|_| refused("time"))?;
        Ok(SignedUrl { url: get.uri().to_owned(), expires_at })
    }
}

/// A call, repeated while it fails for a passing reason. Also says whether some attempt had no answer.
async fn repeated<T, E, F>(limit: Duration, call: impl Fn() -> F) -> (Result<T, SpacesError>, bool)
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut tries = Tries::within(limit, ATTEMPT_LIMIT);
    let mut last = SpacesError::Unavailable("no time left to try".into());
    let mut stray = false;
    while let Some(limit) = tries.next().await {
        last = match timeout(limit, call()).await {
            Ok(Ok(answer)) => return (Ok(answer), stray),
            Ok(Err(error)) => failure(&error),
            Err(_) => SpacesError::Unanswered("no answer in time".into()),
        };
        match last {
            SpacesError::Unanswered(_) => stray = true,
            SpacesError::Unavailable(_) => {}
            SpacesError::Refused(_) => break,
        }
    }
    (Err(last), stray)
}

fn failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> SpacesError {
    match error {
        SdkError::ServiceError(service) => {
            let (code, status) = (service.err().code().unwrap_or("unknown"), service.raw().status().as_u16());
            let text = format!("{code} (status {status})");
            match (code, status) {
                // Somebody in between gave up waiting; the store itself may not have.
                (_, 502 | 504) => SpacesError::Unanswered(text),
                (_, 500.. | 408 | 409 | 429) | ("RequestTimeout", _) => SpacesError::Unavailable(text),
                _ => SpacesError::Refused(text),
            }
        }
        SdkError::ConstructionFailure(_) => SpacesError::Refused("request could not be built".into()),
        SdkError::TimeoutError(_) => SpacesError::Unanswered("no answer in time".into()),
        SdkError::DispatchFailure(_) => SpacesError::Unanswered("connection failed".into()),
        _ => SpacesError::Unanswered("answer could not be read".into()),
    }
}
