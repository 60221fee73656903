//! The one place that changes what anybody can see. A change and its entry are one transaction: an effect without an
//! entry cannot be written down here.

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem};
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout;
use ulid::Ulid;

use super::failure::Attempt;
use super::records::{Row, text, within};
use super::{ATTEMPT_LIMIT, CALL_LIMIT, Change, KeyWrite, StoreError, Tables, log};
use crate::audit::{Actor, Event, LogRow, Pen};
use crate::clock::{self, Deadline};
use crate::idempotency::Memory;
use crate::retry::Tries;

/// Proof that a change and its entry are stored. Only a commit makes one, or the memory of one that an idempotency key
/// keeps; and it cannot be copied: one entry is good for one URL.
#[derive(Debug)]
#[must_use]
pub struct Committed {
    entry: Ulid,
    at: Timestamp,
}

impl Committed {
    /// What an idempotency key remembers of a commit; none if its answer took no commit.
    #[must_use]
    pub(crate) fn remembered(memory: &Memory) -> Option<Self> {
        let entry = Ulid::from_string(memory.entry.as_deref()?).ok()?;
        Some(Self { entry, at: Timestamp::from_millisecond(memory.at).ok()? })
    }

    /// The entry's id.
    #[must_use]
    pub fn entry(&self) -> Ulid {
        self.entry
    }

    /// The time that record and entry carry.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// Why a change was not made.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The record is not what the change needs. Nothing was written, the entry neither.
    #[error("the record is not what it was")]
    Conflict,
    /// The caller's idempotency key is held by another request. Nothing was written, the entry neither.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// Nothing was written.
    #[error(transparent)]
    Store(StoreError),
    /// Nobody knows whether change and entry were written. Nothing may be undone, and no other entry may speak for this
    /// one.
    #[error("outcome unknown: {0}")]
    InDoubt(String),
}

/// What all attempts together came to, as far as the answers tell.
enum Verdict {
    Stored,
    Conflict,
    KeyTaken,
    Failed(StoreError),
}

impl Tables {
    /// Makes a change and writes its entry, both or neither.
    ///
    /// The entry's id is the transaction's idempotency token, and what is sent again is the identical request.
    ///
    /// # Errors
    /// [`CommitError`]
    pub(crate) async fn commit(
        &self,
        change: Change<'_>,
        key: Option<KeyWrite<'_>>,
        actor: &Actor,
        event: Event,
        deadline: Deadline,
    ) -> Result<Committed, CommitError> {
        let now = clock::now();
        let mut pen = self.writers.take(&actor.org);
        let entry = pen.seal(actor, event, now);
        let built = self.items(change, key, &entry, now);
        let Ok(items) = built else {
            return Err(CommitError::Store(StoreError::Broken("request could not be built".into())));
        };
        let request = self
            .client
            .transact_write_items()
            .client_request_token(entry.id.to_string())
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);

        pen.sending(&entry);
        let (verdict, doubt) = attempts(&request, key.is_some(), deadline).await;
        self.settle(pen, &entry, verdict, doubt, deadline).await?;
        Ok(Committed { entry: entry.id, at: now })
    }

    /// Turns what the attempts told into what is so, and tells the writer.
    async fn settle(
        &self,
        pen: Pen<'_>,
        entry: &LogRow,
        verdict: Verdict,
        doubt: Option<String>,
        deadline: Deadline,
    ) -> Result<(), CommitError> {
        let refusal = match (verdict, &doubt) {
            (Verdict::Stored, _) => {
                pen.committed(entry);
                return Ok(());
            }
            (Verdict::Conflict, None) => {
                pen.unchanged();
                return Err(CommitError::Conflict);
            }
            (Verdict::KeyTaken, None) => {
                pen.unchanged();
                return Err(CommitError::KeyTaken);
            }
            (Verdict::Failed(error), None) => {
                pen.unchanged();
                return Err(CommitError::Store(error));
            }
            // One attempt may have got through although a later one was refused, perhaps because of the first.
            (Verdict::Conflict, Some(_)) => CommitError::Conflict,
            (Verdict::KeyTaken, Some(_)) => CommitError::KeyTaken,
            (Verdict::Failed(_), Some(cause)) => CommitError::InDoubt(cause.clone()),
        };
        match self.is_stored(entry, deadline).await {
            Ok(true) => {
                pen.committed(entry);
                Ok(())
            }
            // Not there now, but a request on its way may still arrive: the pen is dropped in doubt.
            Ok(false) => Err(refusal),
            Err(error) => Err(CommitError::InDoubt(error.to_string())),
        }
    }

    fn items(
        &self,
        change: Change<'_>,
        key: Option<KeyWrite<'_>>,
        entry: &LogRow,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut items = change.items(&self.names, entry.id, now)?;
        if let Some(key) = key {
            items.push(key.item(&self.names.state, Some(entry.id), now)?);
        }
        items.push(self.put(entry)?);
        Ok(items)
    }

    async fn is_stored(&self, entry: &LogRow, deadline: Deadline) -> Result<bool, StoreError> {
        let (pk, sk) = key(entry);
        let get = self.client.get_item().table_name(&self.names.log).key("pk", pk).key("sk", sk);
        let get = get.consistent_read(true).projection_expression("pk");
        let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        Ok(within(deadline, || get.clone().send()).await?.item.is_some())
    }

    fn put(&self, entry: &LogRow) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let put = Put::builder()
            .table_name(&self.names.log)
            .set_item(Some(log::row(entry)))
            .condition_expression("attribute_not_exists(pk)")
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// Sends the identical request until an answer decides or the time is up. Also says whether any attempt may have got
/// through without our seeing its answer, and why.
async fn attempts(
    request: &TransactWriteItemsFluentBuilder,
    has_key: bool,
    deadline: Deadline,
) -> (Verdict, Option<String>) {
    let items = request.get_transact_items().as_ref().map_or(0, Vec::len);
    let mut tries = Tries::within(deadline.cap(CALL_LIMIT), ATTEMPT_LIMIT);
    let mut doubt = None;
    let mut last = StoreError::Unavailable("no time left to try".into());
    while let Some(limit) = tries.next().await {
        let outcome = match timeout(limit, request.clone().send()).await {
            Ok(Ok(_)) => return (Verdict::Stored, doubt),
            Ok(Err(error)) => match cancelled(&error, items, has_key) {
                Some(Ok(verdict)) => return (verdict, doubt),
                Some(Err(retryable)) => retryable,
                None => Attempt::of(&error),
            },
            Err(_) => Attempt::Unknown("no answer in time".into()),
        };
        last = match outcome {
            Attempt::Refused(text) => return (Verdict::Failed(StoreError::Broken(text)), doubt),
            Attempt::NotDone(text) => StoreError::Unavailable(text),
            Attempt::Unknown(text) => {
                doubt = Some(text.clone());
                StoreError::Unavailable(text)
            }
        };
    }
    (Verdict::Failed(last), doubt)
}

/// Reads a cancelled transaction's reasons by position; the entry stands last, and the idempotency key before it. `Err` is
/// worth another try.
fn cancelled(
    error: &SdkError<TransactWriteItemsError>,
    items: usize,
    has_key: bool,
) -> Option<Result<Verdict, Attempt>> {
    let codes = match Cancelled::read(error, items)? {
        Ok(Cancelled { codes, .. }) => codes,
        Err(attempt) => return Some(attempt.map_or_else(|broken| Ok(Verdict::Failed(broken)), Err)),
    };
    let failed = |code: &String| code == CONDITION_FAILED;
    Some(Ok(match codes.split_last() {
        // Its id is new with every commit: an entry that is there already is this one, stored by an attempt of ours.
        Some((entry, _)) if failed(entry) => Verdict::Stored,
        Some((_, [.., key])) if has_key && failed(key) => Verdict::KeyTaken,
        _ => Verdict::Conflict,
    }))
}

/// Why a transaction was cancelled of which at least one condition failed: a code for each of its items.
pub(super) struct Cancelled {
    pub(super) codes: Vec<String>,
    /// The rows whose conditions failed, where they were asked for.
    pub(super) rows: Vec<Option<Row>>,
}

pub(super) const CONDITION_FAILED: &str = "ConditionalCheckFailed";

impl Cancelled {
    /// None if the transaction was not cancelled; an error if none of its conditions failed: `Ok` of it is worth another
    /// try.
    pub(super) fn read(
        error: &SdkError<TransactWriteItemsError>,
        items: usize,
    ) -> Option<Result<Self, Result<Attempt, StoreError>>> {
        let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.as_service_error()?
        else {
            return None;
        };
        // An item that did not object may have no code at all: the others must not move up into its place.
        let reasons = cancelled.cancellation_reasons();
        let codes: Vec<String> =
            reasons.iter().map(|reason| reason.code().unwrap_or("None").to_owned()).collect();
        let told = codes.join(", ");
        Some(if codes.len() != items {
            Err(Err(StoreError::Broken(format!("transaction of {items} cancelled: {told}"))))
        } else if codes.iter().any(|code| code == CONDITION_FAILED) {
            Ok(Self { codes, rows: reasons.iter().map(|reason| reason.item().cloned()).collect() })
        } else if codes.iter().all(|code| RETRYABLE.contains(&code.as_str())) {
            Err(Ok(Attempt::NotDone(format!("transaction cancelled: {told}"))))
        } else {
            Err(Err(StoreError::Broken(format!("transaction of {items} cancelled: {told}"))))
        })
    }
}

/// Reasons that pass: somebody else's transaction, or too many requests. "None" is an item that did not object.
const RETRYABLE: [&str; 4] =
    ["None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];

fn key(entry: &LogRow) -> (AttributeValue, AttributeValue) {
    (text(entry.partition()), text(entry.id.to_string()))
}
