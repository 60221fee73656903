//! File records: the strong read, and the two writes that nobody can see.

use std::future::Future;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::timeout;

use super::commit::CONDITION_FAILED;
use super::failure::Attempt;
use super::{ATTEMPT_LIMIT, CALL_LIMIT, KeyWrite, StoreError, Tables};
use crate::clock::{self, Deadline};
use crate::path::FilePath;
use crate::record::{Record, State};
use crate::retry::Tries;

/// Why a path was not reserved.
#[derive(Debug, Error)]
pub(crate) enum ReserveError {
    /// There is a row already.
    #[error("the path is taken")]
    Taken(Box<Record>),
    /// The caller's idempotency key is held by another request.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// The call failed; the reservation may or may not be there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tables {
    /// Reads the record of a path, strongly consistent. Whose it is has still to be asked; see `files::find`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn record(
        &self,
        path: &FilePath,
        deadline: Deadline,
    ) -> Result<Option<Record>, StoreError> {
        self.record_at(path.as_str(), deadline).await
    }

    /// The same for a key that need not be a path.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn record_at(
        &self,
        key: &str,
        deadline: Deadline,
    ) -> Result<Option<Record>, StoreError> {
        let get = self.client.get_item().table_name(&self.names.records).key("pk", text(key));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let found = within(deadline, || get.clone().send()).await?;
        found.item.map(read).transpose()
    }

    /// Opens a reservation: a row in state PENDING, if the path was never used. Doing it twice with one `upload_id` is
    /// doing it once. A claim of the caller's idempotency key is made in the same transaction.
    ///
    /// # Errors
    /// [`ReserveError::Taken`] with the row that is there; [`ReserveError::Store`] if nobody knows.
    pub(crate) async fn reserve(
        &self,
        record: &Record,
        claim: Option<KeyWrite<'_>>,
        deadline: Deadline,
    ) -> Result<(), ReserveError> {
        let broken = |_: BuildError| StoreError::Broken("request could not be built".into());
        let put = reservation(&self.names.records, record)?.build().map_err(broken)?;
        let Some(claim) = claim else { return self.put_reservation(put, deadline).await };
        let claim = claim.item(&self.names.state, None, clock::now()).map_err(broken)?;
        let items = vec![TransactWriteItem::builder().put(put).build(), claim];
        let Err(cancelled) = self.write_unseen(items, deadline).await? else { return Ok(()) };
        match cancelled.codes.get(1) {
            Some(code) if code == CONDITION_FAILED => Err(ReserveError::KeyTaken),
            _ => Err(ReserveError::Taken(Box::new(cancelled.record(0)?))),
        }
    }

    /// Outside of a transaction, which would cost twice as much.
    async fn put_reservation(&self, put: Put, deadline: Deadline) -> Result<(), ReserveError> {
        let put = self
            .client
            .put_item()
            .table_name(put.table_name)
            .set_item(Some(put.item))
            .set_condition_expression(put.condition_expression)
            .set_expression_attribute_names(put.expression_attribute_names)
            .set_expression_attribute_values(put.expression_attribute_values)
            .set_return_values_on_condition_check_failure(put.return_values_on_condition_check_failure)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || put.clone().send()).await? {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                let PutItemError::ConditionalCheckFailedException(failed) = service.into_err() else {
                    return Err(StoreError::Broken("condition failed without saying so".into()).into());
                };
                let row = failed
                    .item
                    .ok_or_else(|| StoreError::Broken("condition failed without the row".into()))?;
                Err(ReserveError::Taken(Box::new(read(row)?)))
            }
            Err(error) => Err(StoreError::from(Attempt::of(&error)).into()),
        }
    }

    /// Closes a reservation that never became a file, once its object is certainly gone: PURGING to PURGED.
    ///
    /// The mirror of [`Tables::reserve`], and like it no effect: its condition is that the row was never anything that
    /// anybody could see. A row that is not such a one, or not any more, is left alone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn retire(&self, record: &Record, deadline: Deadline) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.names.records)
            .key("pk", text(&record.file_path))
            .update_expression("SET #state = :purged REMOVE sweep, due, lease")
            .condition_expression("upload_id = :mine AND #state = :purging AND version = :never")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":mine", text(&record.upload_id))
            .expression_attribute_values(":purging", text(State::Purging.name()))
            .expression_attribute_values(":purged", text(State::Purged.name()))
            .expression_attribute_values(":never", number(0))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || update.clone().send()).await? {
            Err(SdkError::ServiceError(service))
                if matches!(service.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(())
            }
            other => other.map(drop).map_err(|error| Attempt::of(&error).into()),
        }
    }

    /// Says whether the store has transactions, without writing anything.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it has none.
    pub async fn check_transactions(&self, deadline: Deadline) -> Result<(), StoreError> {
        check(&self.client, &self.names.records, deadline).await
    }
}

/// A reservation's row as an item of a transaction.
pub(super) fn reservation(table: &str, record: &Record) -> Result<PutBuilder, StoreError> {
    debug_assert_eq!((record.state, record.version), (State::Pending, 0));
    let mut item = write(record)?;
    item.insert("sweep".into(), text(sweep_shard(&record.file_path)));
    item.insert("due".into(), number(record.lease.unwrap_or_default()));
    Ok(Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk) OR (upload_id = :mine AND #state = :pending)")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":mine", text(&record.upload_id))
        .expression_attribute_values(":pending", text(State::Pending.name()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
}

/// A call, repeated while it fails for a passing reason, within its limit and what is left of the request. Only for calls
/// that may be made twice.
pub(super) async fn within<T, E, F>(deadline: Deadline, call: impl Fn() -> F) -> Result<T, StoreError>
where
    E: ProvideErrorMetadata + std::fmt::Debug,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    repeated(deadline, call).await?.map_err(|error| Attempt::of(&error).into())
}

/// The same, with the last attempt's error as it came; `Err` if it had no answer.
pub(super) async fn repeated<T, E, F>(
    deadline: Deadline,
    call: impl Fn() -> F,
) -> Result<Result<T, SdkError<E, HttpResponse>>, StoreError>
where
    E: ProvideErrorMetadata + std::fmt::Debug,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let mut tries = Tries::within(deadline.cap(CALL_LIMIT), ATTEMPT_LIMIT);
    let mut last = Err(StoreError::Unavailable("no time left to try".into()));
    while let Some(limit) = tries.next().await {
        last = match timeout(limit, call()).await {
            Ok(Err(error)) if !matches!(Attempt::of(&error), Attempt::Refused(_)) => Ok(Err(error)),
            Ok(decided) => return Ok(decided),
            Err(_) => Err(StoreError::Unavailable("no answer in time".into())),
        };
    }
    last
}

/// The partition of the sparse index `sweep` that a row's due work stands in. Sixteen, so that no single one takes all
/// the writes.
pub(super) fn sweep_shard(path: &str) -> String {
    let digest = Sha256::digest(path);
    format!("{:x}", digest[0] & 0xf)
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) type Row = std::collections::HashMap<String, AttributeValue>;

pub(super) fn read(row: Row) -> Result<Record, StoreError> {
    serde_dynamo::from_item(row).map_err(|_| StoreError::Broken("a file record is malformed".into()))
}

pub(super) fn write(record: &Record) -> Result<Row, StoreError> {
    serde_dynamo::to_item(record).map_err(|_| StoreError::Broken("a file record cannot be written".into()))
}

async fn check(client: &Client, table: &str, deadline: Deadline) -> Result<(), StoreError> {
    use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};
    let condition = ConditionCheck::builder()
        .table_name(table)
        .key("pk", text("no/such/path"))
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .map_err(|_| StoreError::Broken("request could not be built".into()))?;
    let probe = client.transact_write_items();
    let probe = probe.transact_items(TransactWriteItem::builder().condition_check(condition).build());
    within(deadline, || probe.clone().send()).await.map(drop)
}
