//! What a failed call to the tables means: nobody's fault and worth another try, or broken until somebody mends it; and
//! whether it may have had an effect all the same.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use thiserror::Error;

/// A call that failed. The text is for the operator's log; it holds neither values nor keys.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Not reachable, throttled, or out of time: later it may work.
    #[error("tables unavailable: {0}")]
    Unavailable(String),
    /// Refused for good: wrong credentials, a missing table, a defect of ours.
    #[error("tables refuse the call: {0}")]
    Broken(String),
}

/// What one attempt tells about its effect.
#[derive(Debug, Clone)]
pub(super) enum Attempt {
    /// Certainly no effect; worth another try.
    NotDone(String),
    /// Nobody knows.
    Unknown(String),
    /// Certainly no effect, now or later.
    Refused(String),
}

impl Attempt {
    /// Reads an error of the SDK.
    pub(super) fn of<E: ProvideErrorMetadata + std::fmt::Debug>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ServiceError(service) => {
                let (code, status) =
                    (service.err().code().unwrap_or("unknown"), service.raw().status().as_u16());
                let message = service.err().message().filter(|_| may_be_logged(code)).unwrap_or_default();
                let id = service.err().meta().request_id().unwrap_or("-");
                let text = format!("{code} {message} (status {status}, request {id})");
                match code {
                    "ThrottlingException"
                    | "Throttling"
                    | "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "LimitExceededException"
                    // Somebody else's transaction has the item in hand.
                    | "TransactionConflictException" => Self::NotDone(text),
                    // Nobody else knows our token: that the store has seen it tells of an attempt of ours, whose
                    // outcome we do not know.
                    "TransactionInProgressException" | "IdempotentParameterMismatchException" => {
                        Self::Unknown(text)
                    }
                    "UnknownOperationException" => Self::Refused(format!(
                        "{text}: the store has no TransactWriteItems, without which nothing is safe"
                    )),
                    _ if status == 429 => Self::NotDone(text),
                    _ if status >= 500 => Self::Unknown(text),
                    _ => Self::Refused(text),
                }
            }
            SdkError::TimeoutError(_) => Self::Unknown("no answer in time".into()),
            SdkError::DispatchFailure(failure) => Self::Unknown(match failure.as_connector_error() {
                Some(error) if error.is_timeout() => "no connection or no answer in time".into(),
                Some(error) if error.is_io() => "connection failed".into(),
                _ => "request could not be sent".into(),
            }),
            SdkError::ResponseError(_) => Self::Unknown("answer could not be read".into()),
            SdkError::ConstructionFailure(_) => Self::Refused("request could not be built".into()),
            _ => Self::Unknown("unknown kind of failure".into()),
        }
    }
}

impl From<Attempt> for StoreError {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::NotDone(text) | Attempt::Unknown(text) => Self::Unavailable(text),
            Attempt::Refused(text) => Self::Broken(text),
        }
    }
}

/// Messages of these errors may quote the request, and with it what must not be logged.
fn may_be_logged(code: &str) -> bool {
    !matches!(code, "ValidationException" | "TransactionCanceledException" | "SerializationException")
}
