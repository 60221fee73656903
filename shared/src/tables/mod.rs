//! The tables: file records and the audit log, in any store that speaks DynamoDB's protocol.
//!
//! The only place that imports `aws_sdk_dynamodb`. It offers these ways to write, and none that changes what anybody can
//! see without an entry in the log:
//!
//! - `reserve` opens a reservation: invisible, not an effect; so does `open_session`, together with its upload session;
//! - `commit` makes every change and writes its entry, in one transaction;
//! - `retire` closes a reservation that never became a file;
//! - a session's claim, an export's progress, a key's memory and maintenance's position are rows of `storage_state`, and no file's;
//! - what the sealer decides are rows of `storage_audit_state`, and says nothing about files.

mod append;
mod change;
mod commit;
mod counters;
mod failure;
mod keys;
mod log;
mod maintenance;
mod memory;
mod merge;
mod positions;
mod records;
mod schema;
mod sealing;
mod search;
mod state;
mod written;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedHttpClient};

use crate::audit::Writers;
use crate::aws::credentials;
use crate::config::TablesConfig;

pub(crate) use append::Appended;
pub(crate) use change::Change;
pub use commit::{CommitError, Committed};
pub use counters::{Counted, Unit};
pub use failure::StoreError;
pub use keys::SigningKey;
pub(crate) use maintenance::{FileMark, RecordedFile, SHARDS, Saved};
pub(crate) use memory::KeyWrite;
pub use positions::Head;
pub(crate) use records::ReserveError;
pub use schema::Definition;
pub(crate) use sealing::{Lease, Noted};
pub use search::{Found, Order, Scan};
pub(crate) use state::{Claim, Held, OpenError};

/// One attempt of a table call (DESIGN section 8).
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
/// All attempts of a table call together (DESIGN section 8).
const CALL_LIMIT: Duration = Duration::from_millis(2_500);

/// A handle on the tables. Also holds the process's audit writers, since nothing else may write entries.
#[derive(Debug)]
pub struct Tables {
    client: Client,
    names: Names,
    writers: Writers,
}

/// What the tables are called.
#[derive(Debug)]
struct Names {
    records: String,
    log: String,
    state: String,
    audit_state: String,
}

impl Tables {
    /// Connects nothing yet: the first call does.
    #[must_use]
    pub fn new(config: &TablesConfig, http: SharedHttpClient) -> Self {
        Self {
            client: Self::client(config, http),
            names: Names {
                records: config.records_table.clone(),
                log: config.log_table.clone(),
                state: config.state_table.clone(),
                audit_state: config.audit_state_table.clone(),
            },
            writers: Writers::default(),
        }
    }

    /// The SDK's client as it is used here. For an operator's tool, which sets up and examines the store; functions have a handle.
    #[must_use]
    pub fn client(config: &TablesConfig, http: SharedHttpClient) -> Client {
        let credentials =
            credentials(&config.access_key_id, &config.secret_access_key, config.session_token.as_ref());
        let mut sdk = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .http_client(http)
            // Attempts and their limits are ours; see `retry`.
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = &config.endpoint {
            sdk = sdk.endpoint_url(endpoint);
        }
        Client::from_conf(sdk.build())
    }
}
