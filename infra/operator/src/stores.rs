//! The clients of everything that is set up and examined, and what their failures say.

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use shared::app::connection_pool;
use shared::config::Config;
use shared::spaces::{Archive, Spaces};
use shared::tables::Tables;

/// How long one call may take. Somebody waits, and wants to hear why rather than soon.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// Clients of the stores in a configuration. They connect nothing yet.
#[derive(Debug)]
pub struct Stores {
    /// What a function would read.
    pub config: Config,
    pub(crate) s3: aws_sdk_s3::Client,
    /// The archive's bucket, if there is one.
    pub(crate) archive: Option<(aws_sdk_s3::Client, String)>,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) tables: Tables,
}

impl Stores {
    /// The functions' own clients, with a limit of time.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let http = connection_pool();
        let limit = TimeoutConfig::builder().operation_timeout(CALL_LIMIT).build();
        let limited = |client: aws_sdk_s3::Client| {
            let config = client.config().to_builder().timeout_config(limit.clone());
            aws_sdk_s3::Client::from_conf(config.build())
        };
        let dynamodb = Tables::client(&config.tables, http.clone());
        let dynamodb = dynamodb.config().to_builder().timeout_config(limit.clone());
        Self {
            s3: limited(Spaces::client(&config.spaces, http.clone())),
            archive: config.audit.as_ref().map(|audit| {
                let client = limited(Archive::client(&audit.archive, http.clone()));
                (client, audit.archive.bucket.clone())
            }),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            tables: Tables::new(&config.tables, http),
            config,
        }
    }

    /// The bucket of the files.
    pub(crate) fn bucket(&self) -> &str {
        &self.config.spaces.bucket
    }
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The store's own word, such as `AccessDenied`; empty if it said none, or did not answer.
    pub code: String,
    /// The answer's status; 0 if there was none.
    pub status: u16,
    /// For people.
    pub text: String,
}

impl Refusal {
    /// The store has no such operation.
    pub(crate) fn is_unknown_operation(&self) -> bool {
        self.status == 501
            || matches!(
                self.code.as_str(),
                "NotImplemented" | "MethodNotAllowed" | "UnknownOperationException" | "InvalidAction"
            )
    }

    /// There is nothing of the kind.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == 404 || self.code == "ResourceNotFoundException"
    }
}

impl<E: ProvideErrorMetadata> From<SdkError<E, HttpResponse>> for Refusal {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default().to_owned();
                let status = service.raw().status().as_u16();
                let word = if code.is_empty() { "no reason" } else { &code };
                Self { text: format!("{word} (status {status})"), code, status }
            }
            SdkError::DispatchFailure(failure) => {
                let text = failure.as_connector_error().map(|error| chain(error));
                Self::unanswered(text.unwrap_or_else(|| "the request could not be sent".into()))
            }
            SdkError::TimeoutError(_) => Self::unanswered("no answer in 15 s".into()),
            SdkError::ResponseError(_) => Self::unanswered("the answer could not be read".into()),
            _ => Self::unanswered("the request could not be built".into()),
        }
    }
}

impl Refusal {
    fn unanswered(text: String) -> Self {
        Self { code: String::new(), status: 0, text }
    }
}

/// An error and its causes, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|before| before.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}
