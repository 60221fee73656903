//! The store's errors in S3's words: the one place that maps them.

use std::error::Error;

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode, StdError, s3_error};

use super::store::StoreError;

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
            StoreError::NoSuchUpload => s3_error!(
                NoSuchUpload,
                "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have \
                 been aborted or completed."
            ),
            StoreError::InvalidPart(number) => s3_error!(
                InvalidPart,
                "Part {} could not be found, or its entity tag does not match the part's entity tag.",
                number
            ),
            StoreError::InvalidPartOrder => s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ),
            StoreError::PartTooSmall { number, size } => s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size: part {} has {} bytes.",
                number,
                size
            ),
            StoreError::PreconditionFailed => {
                s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
            }
            StoreError::WrongObjectSize { expected, actual } => s3_error!(
                InvalidRequest,
                "The x-amz-mp-object-size is {}, but the parts have {} bytes.",
                expected,
                actual
            ),
            StoreError::Files(_) | StoreError::Index(_) => internal(&error),
        }
    }
}

/// A failure of our own: the log gets the cause, the client does not.
pub(super) fn internal(error: &(dyn Error + 'static)) -> S3Error {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(%error, cause, "the local bucket failed");
    s3_error!(InternalError, "We encountered an internal error. Please try again.")
}

/// Why a request's body could not be read to its end.
///
/// The types of these errors are private to `s3s`; their names in the message are all there is, and a test holds
/// them to it.
pub(super) fn unreadable_body(error: &StdError) -> S3Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    if text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        let mut error = S3Error::with_message(code, message);
        error.set_status_code(StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match.")
    } else {
        s3_error!(IncompleteBody, "The request body could not be read: {}", text)
    }
}
