//! `storage_state`: what is neither record nor log. Here: upload sessions and what they reserve.
//!
//! Rows: `UPLOAD#{upload_id}` a session; `OPEN#{org}#{sub}` how many of a user's are open; `RESERVED#{org}` the bytes that an
//! organisation's open sessions may become; `KEY#{hash}` what an idempotency key remembers, see `memory`; and `MAINTENANCE`, see
//! `maintenance`. The counters are raised in the transaction that creates a session and lowered in the one that ends it.

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    Put, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::commit::{CONDITION_FAILED, Cancelled};
use super::failure::Attempt;
use super::memory::KeyWrite;
use super::positions::integer;
use super::records::{self, number, repeated, text, within};
use super::{ATTEMPT_LIMIT, CALL_LIMIT, Names, StoreError, Tables};
use crate::clock::{self, Deadline};
use crate::record::Record;
use crate::retry::Tries;
use crate::session::{MAX_OPEN_PER_USER, MAX_RESERVED_BYTES, Session, SessionState};
use crate::unique;

/// Why a session was not opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// There is a row at the path already.
    #[error("the path is taken")]
    Taken(Box<Record>),
    /// The caller's idempotency key is held by another request.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// The user has [`MAX_OPEN_PER_USER`] open.
    #[error("too many open uploads")]
    TooManyUploads,
    /// The organisation's would be more than [`MAX_RESERVED_BYTES`].
    #[error("too many bytes reserved")]
    TooManyBytes,
    /// The call failed; the session may or may not be there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the open sessions of a user and an organisation hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// How many the user's are.
    pub uploads: i64,
    /// How many bytes the organisation's may become.
    pub bytes: i64,
}

/// Whether a session is ours to complete.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is, until the lease ends; as it was when it became ours.
    Mine(Box<Session>),
    /// It is not; as it is. None: there is none.
    NotMine(Option<Box<Session>>),
}

impl Tables {
    /// Opens a reservation and its upload session: nothing that anybody can see yet, but counted.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) async fn open_session(
        &self,
        session: &Session,
        answered: Option<KeyWrite<'_>>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<(), OpenError> {
        let mut items = opened(&self.names, session)?;
        if let Some(answered) = answered {
            items.push(answered.item(&self.names.state, None, now).map_err(broken)?);
        }
        let Err(cancelled) = self.write_unseen(items, deadline).await? else { return Ok(()) };
        let failed = |index: usize| cancelled.codes.get(index).is_some_and(|code| code == CONDITION_FAILED);
        Err(match () {
            () if failed(4) => OpenError::KeyTaken,
            () if failed(0) => OpenError::Taken(Box::new(cancelled.record(0)?)),
            () if failed(2) => OpenError::TooManyUploads,
            () => OpenError::TooManyBytes,
        })
    }

    /// What is held by those who want to open a session: for the metrics, so without certainty and in one attempt. None: it
    /// cannot be read now.
    pub(crate) async fn held(&self, record: &Record, deadline: Deadline) -> Option<Held> {
        let limit = deadline.cap_before_settling(ATTEMPT_LIMIT);
        let read = |Counter { table, row }: Counter<'_>| {
            let get = self.client.get_item().table_name(table).key("pk", text(row));
            get.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        };
        let found = join_all(counters(&self.names.state, record).map(read));
        let found: Result<Vec<_>, _> = timeout(limit, found).await.ok()?.into_iter().collect();
        let found = found.ok()?;
        let mut held = found.iter().map(|row| row.item.as_ref().and_then(|row| integer(row, "held")));
        Some(Held { uploads: held.next()?.unwrap_or_default(), bytes: held.next()?.unwrap_or_default() })
    }

    /// Reads a session, strongly consistent. Whose it is has still to be asked.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn session(&self, id: &str, deadline: Deadline) -> Result<Option<Session>, StoreError> {
        let get = self.client.get_item().table_name(&self.names.state).key("pk", text(session_row(id)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let found = within(deadline, || get.clone().send()).await?;
        // What ends a session whose row had expired leaves a row without one.
        let row = found.item.filter(|row| row.contains_key("record"));
        row.map(|row| read(row, "a session")).transpose()
    }

    /// Makes a session `completer`'s to complete, until `until` (ms): one that is open, or that somebody began to complete and
    /// let go. Doing it twice for one completer is doing it once.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn claim_session(
        &self,
        id: &str,
        completer: &str,
        until: i64,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Claim, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.names.state)
            .key("pk", text(session_row(id)))
            .update_expression("SET #state = :completing, lease = :until, completer = :mine")
            .condition_expression(
                "#state = :open OR (#state = :completing AND (lease <= :now OR completer = :mine))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":mine", text(completer))
            .expression_attribute_values(":open", text(SessionState::Open.name()))
            .expression_attribute_values(":completing", text(SessionState::Completing.name()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":until", number(until))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || update.clone().send()).await? {
            Ok(claimed) => {
                let row =
                    claimed.attributes.ok_or_else(|| StoreError::Broken("no row in an answer".into()))?;
                Ok(Claim::Mine(Box::new(read(row, "a session")?)))
            }
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                let UpdateItemError::ConditionalCheckFailedException(failed) = service.into_err() else {
                    return Err(StoreError::Broken("condition failed without saying so".into()));
                };
                let row = failed.item.filter(|row| !row.is_empty());
                Ok(Claim::NotMine(row.map(|row| read(row, "a session").map(Box::new)).transpose()?))
            }
            Err(error) => Err(Attempt::of(&error).into()),
        }
    }

    /// Lets go of a session that is ours to complete, so that the next `complete` can go on at once. One that is not ours any
    /// more is left alone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn let_go(
        &self,
        session: &Session,
        to: SessionState,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.names.state)
            .key("pk", text(session_row(&session.record.upload_id)))
            .update_expression("SET #state = :to, lease = :over, checked = :checked")
            .condition_expression("#state = :completing AND completer = :mine")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":to", text(to.name()))
            .expression_attribute_values(":over", number(0))
            .expression_attribute_values(":checked", number(session.checked))
            .expression_attribute_values(":completing", text(SessionState::Completing.name()))
            .expression_attribute_values(":mine", text(session.completer.as_deref().unwrap_or_default()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || update.clone().send()).await? {
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            other => other.map(drop).map_err(|error| Attempt::of(&error).into()),
        }
    }

    /// Remembers how far an export that is ours has come, and who has it from now on: nobody else until the session's lease
    /// ends, if it is to stay ours. False: it is not ours any more, and nothing was remembered.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn save_export(
        &self,
        session: &Session,
        to: SessionState,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let export = serde_dynamo::to_attribute_value(&session.export)
            .map_err(|_| StoreError::Broken("an export cannot be written".into()))?;
        let lease = if to == SessionState::Completing { session.lease.unwrap_or_default() } else { 0 };
        let update = self
            .client
            .update_item()
            .table_name(&self.names.state)
            .key("pk", text(session_row(&session.record.upload_id)))
            .update_expression("SET #state = :to, lease = :lease, #export = :export")
            // A second attempt finds what the first one did.
            .condition_expression("(#state = :completing OR #state = :to) AND completer = :mine")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#export", "export")
            .expression_attribute_values(":to", text(to.name()))
            .expression_attribute_values(":lease", number(lease))
            .expression_attribute_values(":export", export)
            .expression_attribute_values(":completing", text(SessionState::Completing.name()))
            .expression_attribute_values(":mine", text(session.completer.as_deref().unwrap_or_default()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || update.clone().send()).await? {
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                Ok(false)
            }
            other => other.map(|_| true).map_err(|error| Attempt::of(&error).into()),
        }
    }

    /// A transaction of which nobody can see anything: without an entry. `Err` tells whose conditions failed.
    pub(super) async fn write_unseen(
        &self,
        items: Vec<TransactWriteItem>,
        deadline: Deadline,
    ) -> Result<Result<(), Cancelled>, StoreError> {
        let count = items.len();
        let request = self
            .client
            .transact_write_items()
            .client_request_token(unique::ulid(clock::now()).to_string())
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut tries = Tries::within(deadline.cap(CALL_LIMIT), ATTEMPT_LIMIT);
        let mut last = StoreError::Unavailable("no time left to try".into());
        while let Some(limit) = tries.next().await {
            let outcome = match timeout(limit, request.clone().send()).await {
                Ok(Ok(_)) => return Ok(Ok(())),
                Ok(Err(error)) => match Cancelled::read(&error, count) {
                    Some(Ok(cancelled)) => return Ok(Err(cancelled)),
                    Some(Err(Err(broken))) => return Err(broken),
                    Some(Err(Ok(attempt))) => attempt,
                    None => Attempt::of(&error),
                },
                Err(_) => Attempt::Unknown("no answer in time".into()),
            };
            match outcome {
                Attempt::Refused(_) => return Err(outcome.into()),
                passing => last = passing.into(),
            }
        }
        Err(last)
    }
}

impl Cancelled {
    /// The record whose condition failed.
    pub(super) fn record(&self, index: usize) -> Result<Record, StoreError> {
        let row = self.rows.get(index).cloned().flatten();
        records::read(row.ok_or_else(|| StoreError::Broken("condition failed without the row".into()))?)
    }
}

/// The items that open a session: its reservation, itself, and what it counts for.
pub(super) fn opened(names: &Names, session: &Session) -> Result<Vec<TransactWriteItem>, StoreError> {
    let Session { record, .. } = session;
    let mut row: records::Row = serde_dynamo::to_item(session)
        .map_err(|_| StoreError::Broken("a session cannot be written".into()))?;
    row.insert("pk".into(), text(session_row(&record.upload_id)));
    let put = Put::builder().table_name(&names.state).set_item(Some(row)).build().map_err(broken)?;
    let [uploads, bytes] = counters(&names.state, record);
    let uploads = uploads.by(1, Some(MAX_OPEN_PER_USER - 1)).map_err(broken)?;
    let size = reserved(record);
    let bytes = bytes.by(size, Some(MAX_RESERVED_BYTES.saturating_sub(size))).map_err(broken)?;
    let reserved = records::reservation(&names.records, record)?.build().map_err(broken)?;
    Ok(vec![
        TransactWriteItem::builder().put(reserved).build(),
        TransactWriteItem::builder().put(put).build(),
        uploads,
        bytes,
    ])
}

/// What a session's file may take: of an export nobody knows it beforehand.
fn reserved(record: &Record) -> i64 {
    if record.is_export() { 0 } else { i64::try_from(record.file_size).unwrap_or(i64::MAX) }
}

/// The items that end the upload session of a record, if it has one.
pub(super) fn end_session(
    table: &str,
    record: &Record,
    ended: SessionState,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    if record.multipart_id.is_none() {
        return Ok(Vec::new());
    }
    let mut set = "SET #state = :ended, #ttl = if_not_exists(#ttl, :ttl)".to_owned();
    let mut update = Update::builder()
        .table_name(table)
        .key("pk", text(session_row(&record.upload_id)))
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":ended", text(ended.name()))
        // Only for a session whose row is gone already.
        .expression_attribute_values(":ttl", number(record.lease.unwrap_or_default() / 1_000));
    if ended == SessionState::Stored {
        set.push_str(", #record.integrity = :integrity");
        update = update
            .expression_attribute_names("#record", "record")
            .expression_attribute_values(":integrity", text(record.integrity.name()));
        if let Some(end) = record.expires_at {
            set.push_str(", #record.expires_at = :end");
            update = update.expression_attribute_values(":end", text(end.to_string()));
        }
        if let Some(sha256) = &record.sha256 {
            set.push_str(", #record.sha256 = :sha256");
            update = update.expression_attribute_values(":sha256", text(sha256));
        }
    }
    if ended == SessionState::Aborted {
        update = update
            .condition_expression("#state = :open")
            .expression_attribute_values(":open", text(SessionState::Open.name()));
    }
    let update = update.update_expression(set + " REMOVE lease").build()?;
    let [uploads, bytes] = counters(table, record);
    Ok(vec![
        TransactWriteItem::builder().update(update).build(),
        uploads.by(-1, None)?,
        bytes.by(-reserved(record), None)?,
    ])
}

/// A number that several sessions share.
struct Counter<'a> {
    table: &'a str,
    row: String,
}

/// A user's open sessions, and the bytes that an organisation's may become.
fn counters<'a>(table: &'a str, record: &Record) -> [Counter<'a>; 2] {
    [format!("OPEN#{}#{}", record.org_id, record.owner), format!("RESERVED#{}", record.org_id)]
        .map(|row| Counter { table, row })
}

impl Counter<'_> {
    /// Adds to it, on condition that it was at most so much.
    fn by(self, change: i64, at_most: Option<i64>) -> Result<TransactWriteItem, BuildError> {
        let mut update = Update::builder()
            .table_name(self.table)
            .key("pk", text(self.row))
            .update_expression("ADD held :change")
            .expression_attribute_values(":change", number(change));
        if let Some(most) = at_most {
            update = update
                .condition_expression("attribute_not_exists(held) OR held <= :most")
                .expression_attribute_values(":most", number(most));
        }
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }
}

fn session_row(id: &str) -> String {
    format!("UPLOAD#{id}")
}

pub(super) fn read<T: for<'de> Deserialize<'de>>(row: records::Row, what: &str) -> Result<T, StoreError> {
    serde_dynamo::from_item(row).map_err(|_| StoreError::Broken(format!("{what} is malformed")))
}

pub(super) fn broken(_: BuildError) -> StoreError {
    StoreError::Broken("request could not be built".into())
}
