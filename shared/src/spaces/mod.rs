//! The bucket: DigitalOcean Spaces, or whatever speaks S3. The only place that imports `aws_sdk_s3`.
//!
//! It neither decides whether something may be stored nor records it; see [`crate::files`].

mod archive;
mod listing;
mod multipart;
mod objects;
mod reading;

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, SharedHttpClient,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::DateTime;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout;

use crate::aws::credentials;
use crate::clock::Stopwatch;
use crate::config::{SpacesConfig, SpacesKey};
use crate::metrics::{self, ErrorClass, Metric, Operation};
use crate::retry::Tries;

pub use self::archive::{Archive, Keep};
pub(crate) use self::objects::NotStored;
pub use self::objects::{Presentation, SignedUrl, Stored};
pub(crate) use self::{
    listing::ListedUpload,
    multipart::{Completion, Part},
    objects::Object,
    reading::ReadError,
};

/// All attempts of a PUT together (DESIGN section 8).
const PUT_LIMIT: Duration = Duration::from_secs(5);
/// One attempt of any call: two fit into a PUT.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(2_400);
/// All attempts of a DELETE together.
const DELETE_LIMIT: Duration = Duration::from_millis(2_500);
/// All attempts of a call that only asks.
const READ_LIMIT: Duration = Duration::from_secs(5);

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

impl SpacesError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unanswered(_) => ErrorClass::Unanswered,
            Self::Unavailable(_) => ErrorClass::Unavailable,
            Self::Refused(_) => ErrorClass::Refused,
        }
    }
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
        Self { client: Self::client(config, http), bucket: config.bucket.clone() }
    }

    /// The SDK's client as it is used here. For an operator's tool, which sets up and examines the store; functions have a handle.
    #[must_use]
    pub fn client(config: &SpacesConfig, http: SharedHttpClient) -> Client {
        // Without a key, a call ends before it is sent.
        let credentials = config.key.as_ref().map(|SpacesKey { access, secret }| {
            SharedCredentialsProvider::new(credentials(access, secret, None))
        });
        let mut sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            .force_path_style(config.is_loopback())
            .http_client(http)
            // Stores other than S3 reject or mishandle the SDK's default CRC32; ours is the SHA-256 in the metadata.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Attempts and their limits are ours; see `retry`.
            .retry_config(RetryConfig::disabled());
        sdk.set_credentials_provider(credentials);
        Client::from_conf(sdk.build())
    }
}

/// What is called, for the metrics.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// The files' bucket.
    Spaces(Operation),
    /// The sealed log's.
    Archive(Operation),
}

impl Call {
    fn latency(self) -> Metric {
        match self {
            Self::Spaces(operation) => Metric::SpacesLatency(operation),
            Self::Archive(operation) => Metric::ArchiveLatency(operation),
        }
    }

    fn errors(self, class: Option<ErrorClass>) -> Metric {
        match self {
            Self::Spaces(_) => Metric::SpacesErrors(class),
            Self::Archive(_) => Metric::ArchiveErrors(class),
        }
    }
}

/// Attempts of the usual length, for `limit` in all.
fn tries(limit: Duration) -> Tries {
    Tries::within(limit, ATTEMPT_LIMIT)
}

/// A call, repeated while it fails for a passing reason. Also says whether some attempt had no answer.
async fn repeated<T, F>(kind: Call, mut tries: Tries, call: impl Fn() -> F) -> (Result<T, SpacesError>, bool)
where
    F: Future<Output = Result<T, SpacesError>>,
{
    let mut last = SpacesError::Unavailable("no time left to try".into());
    let mut stray = false;
    while let Some(limit) = tries.next().await {
        last = match attempt(kind, limit, call()).await {
            Ok(answer) => return (Ok(answer), stray),
            Err(error) => error,
        };
        match last {
            SpacesError::Unanswered(_) => stray = true,
            SpacesError::Unavailable(_) => {}
            SpacesError::Refused(_) => break,
        }
    }
    (Err(last), stray)
}

/// One attempt of a call.
async fn attempt<T>(
    kind: Call,
    limit: Duration,
    call: impl Future<Output = Result<T, SpacesError>>,
) -> Result<T, SpacesError> {
    let begun = Stopwatch::start();
    let answer = timeout(limit, call).await;
    let answer = answer.unwrap_or_else(|_| Err(SpacesError::Unanswered("no answer in time".into())));
    metrics::record(kind.latency(), begun.elapsed_ms());
    let class = answer.as_ref().err().map(SpacesError::class);
    metrics::record(kind.errors(class), class.is_some().into());
    answer
}

/// An error may be the answer to what was asked: `meaning` knows it by its code and status.
fn or_answer<T, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E>>,
    meaning: impl FnOnce(&str, u16) -> Option<T>,
) -> Result<T, SpacesError> {
    result.or_else(|error| {
        let service = error.as_service_error().zip(error.raw_response());
        let answer = service
            .and_then(|(service, raw)| meaning(service.code().unwrap_or_default(), raw.status().as_u16()));
        answer.ok_or_else(|| failure(error))
    })
}

fn failure<E: ProvideErrorMetadata>(error: SdkError<E>) -> SpacesError {
    match error {
        SdkError::ServiceError(service) => {
            let (code, status) = (service.err().code().unwrap_or("unknown"), service.raw().status().as_u16());
            let text = format!("{code} (status {status})");
            match (code, status) {
                // Somebody in between gave up waiting; the store itself may not have. And a completion that takes long
                // is answered 200 before it is done: what failed then may have had its effect.
                (_, 200 | 502 | 504) => SpacesError::Unanswered(text),
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

/// The store left out what every S3 store says.
fn missing(what: &str) -> SpacesError {
    SpacesError::Refused(format!("no {what} in the answer"))
}

fn size(size: Option<i64>) -> Result<u64, SpacesError> {
    size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| missing("size"))
}

fn time(at: Option<DateTime>) -> Result<Timestamp, SpacesError> {
    at.and_then(|at| Timestamp::from_second(at.secs()).ok()).ok_or_else(|| missing("time"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::http::HttpResponse;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn answer(code: &str, status: u16) -> SdkError<CompleteMultipartUploadError> {
        let error = CompleteMultipartUploadError::generic(ErrorMetadata::builder().code(code).build());
        SdkError::service_error(error, HttpResponse::new(status.try_into().unwrap(), SdkBody::empty()))
    }

    #[test]
    fn what_may_still_have_an_effect_is_told_from_what_has_none() {
        for (code, status) in [("InternalError", 200), ("", 502), ("", 504)] {
            let failure = failure(answer(code, status));
            assert!(matches!(failure, SpacesError::Unanswered(_)), "{failure}");
        }
        for (code, status) in [("SlowDown", 503), ("InternalError", 500), ("", 429), ("RequestTimeout", 400)]
        {
            let failure = failure(answer(code, status));
            assert!(matches!(failure, SpacesError::Unavailable(_)), "{failure}");
        }
        for (code, status) in [("AccessDenied", 403), ("NoSuchBucket", 404), ("MalformedXML", 400)] {
            let failure = failure(answer(code, status));
            assert!(matches!(failure, SpacesError::Refused(_)), "{failure}");
        }
    }

    #[test]
    fn an_error_that_is_an_answer_is_no_failure() {
        let meaning = |code: &str, _| (code == "NoSuchUpload").then_some(1);
        // Also one that stands in an answer which began as a success.
        for status in [404, 200] {
            assert!(matches!(or_answer(Err(answer("NoSuchUpload", status)), meaning), Ok(1)));
        }
        assert!(matches!(or_answer(Err(answer("NoSuchKey", 404)), meaning), Err(SpacesError::Refused(_))));
        assert!(matches!(or_answer::<_, CompleteMultipartUploadError>(Ok(2), meaning), Ok(2)));
    }
}
