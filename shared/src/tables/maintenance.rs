//! What only maintenance asks: which rows are due, which files there should be, and how far it came.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::records::{Row, number, repeated, text, within};
use super::{StoreError, Tables};
use crate::clock::Deadline;
use crate::record::{Integrity, State};

/// Partitions of the index `sweep`.
pub(crate) const SHARDS: u8 = 16;
/// Most keys of one `BatchGetItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const BATCH: usize = 100;
/// Rows of a page: what a store that is busy reads within one attempt.
const PAGE_ROWS: i32 = 500;
/// Where maintenance's position stands in `storage_state`.
const POSITION_ROW: &str = "MAINTENANCE";

/// Rows that are due, by time.
#[derive(Debug)]
pub(crate) struct DuePage {
    /// Keys of rows. An index lags: each has still to be read.
    pub keys: Vec<String>,
    /// If there may be more: what the next page begins behind.
    pub next: Option<DueMark>,
}

/// A row in the index `sweep`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DueMark {
    pk: String,
    sweep: String,
    due: i64,
}

/// Files that there are or were, as the index `by_context` has them.
#[derive(Debug)]
pub(crate) struct FilesPage {
    /// In no order that means anything.
    pub files: Vec<RecordedFile>,
    /// If there are more: what the next page begins behind.
    pub next: Option<FileMark>,
}

/// What the comparison needs to know of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordedFile {
    #[serde(rename = "pk")]
    pub file_path: String,
    pub state: State,
    pub integrity: Integrity,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub etag: Option<String>,
}

/// A row in the index `by_context`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMark {
    pk: String,
    context: String,
    context_sort: String,
}

#[derive(Deserialize)]
struct KeyOnly {
    pk: String,
}

#[derive(Deserialize)]
struct KeyAndState {
    pk: String,
    state: State,
}

/// Something that is kept between runs, with the number of times that it was written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved<T> {
    /// How often it was written; 0: never.
    pub version: u64,
    /// What is kept.
    #[serde(flatten)]
    pub value: T,
}

impl Tables {
    /// Rows of one partition of `sweep` that are due at `now`: one page.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn due(
        &self,
        shard: u8,
        now: Timestamp,
        after: Option<DueMark>,
        deadline: Deadline,
    ) -> Result<DuePage, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.names.records)
            .index_name("sweep")
            .key_condition_expression("sweep = :shard AND due <= :now")
            .expression_attribute_values(":shard", text(format!("{shard:x}")))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .set_exclusive_start_key(after.map(mark).transpose()?)
            .limit(PAGE_ROWS)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = within(deadline, || query.clone().send()).await?;
        let rows = page.items.unwrap_or_default().into_iter().map(read::<KeyOnly>);
        let keys = rows.map(|row| row.map(|row| row.pk)).collect::<Result<_, _>>()?;
        Ok(DuePage { keys, next: page.last_evaluated_key.map(read).transpose()? })
    }

    /// The states of the rows at these keys, where there are rows. Not strongly consistent.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn states(
        &self,
        keys: &[&str],
        deadline: Deadline,
    ) -> Result<HashMap<String, State>, StoreError> {
        let mut states = HashMap::new();
        for keys in keys.chunks(BATCH) {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys.iter().map(|key| Row::from([("pk".into(), text(*key))])).collect()))
                .projection_expression("pk, #state")
                .expression_attribute_names("#state", "state")
                .build()
                .map_err(|_| StoreError::Broken("request could not be built".into()))?;
            let mut left = Some(HashMap::from([(self.names.records.clone(), wanted)]));
            while let Some(wanted) = left.filter(|left| !left.is_empty()) {
                let get = self.client.batch_get_item().set_request_items(Some(wanted));
                let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
                let found = within(deadline, || get.clone().send()).await?;
                for row in found.responses.unwrap_or_default().into_values().flatten() {
                    let KeyAndState { pk, state } = read(row)?;
                    states.insert(pk, state);
                }
                left = found.unprocessed_keys;
            }
        }
        Ok(states)
    }

    /// Every file that there is or was, context by context: one page.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn files(
        &self,
        after: Option<FileMark>,
        deadline: Deadline,
    ) -> Result<FilesPage, StoreError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.names.records)
            .index_name("by_context")
            .projection_expression("pk, #state, integrity, updated_at, etag")
            .expression_attribute_names("#state", "state")
            .set_exclusive_start_key(after.map(mark).transpose()?)
            .limit(PAGE_ROWS)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = within(deadline, || scan.clone().send()).await?;
        let files = page.items.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(FilesPage { files, next: page.last_evaluated_key.map(read).transpose()? })
    }

    /// What maintenance kept of its last run.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn position<T: DeserializeOwned + Default>(
        &self,
        deadline: Deadline,
    ) -> Result<Saved<T>, StoreError> {
        let get = self.client.get_item().table_name(&self.names.state).key("pk", text(POSITION_ROW));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let found = within(deadline, || get.clone().send()).await?;
        Ok(found.item.map(read).transpose()?.unwrap_or_default())
    }

    /// Keeps it, if nobody else did since it was read. False: somebody did.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn keep_position<T: Serialize>(
        &self,
        saved: &Saved<T>,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let mut row = mark(saved)?;
        row.insert("pk".into(), text(POSITION_ROW));
        row.insert("version".into(), number(saved.version + 1));
        let put = self
            .client
            .put_item()
            .table_name(&self.names.state)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(pk) OR version = :read")
            .expression_attribute_values(":read", number(saved.version))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match repeated(deadline, || put.clone().send()).await? {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(super::failure::Attempt::of(&error).into()),
        }
    }
}

fn mark(key: impl Serialize) -> Result<Row, StoreError> {
    serde_dynamo::to_item(key).map_err(|_| StoreError::Broken("a position cannot be written".into()))
}

fn read<T: DeserializeOwned>(row: Row) -> Result<T, StoreError> {
    serde_dynamo::from_item(row).map_err(|_| StoreError::Broken("a row is malformed".into()))
}
