//! What calls to AWS have in common: the key, how they are repeated, and what their failures mean.

use std::time::Duration;

use aws_sdk_kms::config::Credentials;
pub use aws_sdk_kms::config::SharedHttpClient;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;
use tokio::time::timeout;

use crate::clock::Deadline;
use crate::retry::Tries;
use crate::secret::Secret;

/// All attempts of a call together.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// One attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// A call that failed. The text is for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// It was not reached, answered not in time, or that it cannot now.
    #[error("not available: {0}")]
    Unavailable(String),
    /// It refuses us: what is asked for, credentials or permissions are wrong.
    #[error("refuses the call: {0}")]
    Refused(String),
}

/// A key as the environment gave it; with a token, it is the function's role's.
pub(crate) fn credentials(id: &Secret, secret: &Secret, token: Option<&Secret>) -> Credentials {
    Credentials::new(
        id.expose(),
        secret.expose(),
        token.map(|token| token.expose().to_owned()),
        None,
        "environment",
    )
}

/// A call that does no harm if it is made twice, repeated while it fails for a passing reason.
pub(crate) async fn repeated<T, E, F>(deadline: Deadline, call: impl Fn() -> F) -> Result<T, CallError>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut tries = Tries::within(deadline.cap(CALL_LIMIT), ATTEMPT_LIMIT);
    let mut last = "no time left to try".to_owned();
    while let Some(limit) = tries.next().await {
        last = match timeout(limit, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(SdkError::ServiceError(service))) => {
                let (code, status) =
                    (service.err().code().unwrap_or("unknown"), service.raw().status().as_u16());
                let text = format!("{code} (status {status})");
                // Too slow, too often, or with a session that is over, which the next process is not: a reason that passes.
                let passes = status >= 500
                    || matches!(status, 408 | 429)
                    || matches!(code, "ThrottlingException" | "ExpiredTokenException" | "ExpiredToken");
                if !passes {
                    return Err(CallError::Refused(text));
                }
                text
            }
            Ok(Err(_)) => "connection failed".into(),
            Err(_) => "no answer in time".into(),
        };
    }
    Err(CallError::Unavailable(last))
}
