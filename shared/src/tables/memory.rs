//! What idempotency keys remember, in `storage_state`.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{Delete, Put, ReturnConsumedCapacity, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::records::{number, text, within};
use super::state::{broken, read};
use super::{StoreError, Tables};
use crate::clock::Deadline;
use crate::idempotency::{Key, MEMORY, Memory, Seed};

/// What happens to the memory under an idempotency key, in the transaction of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyWrite<'a> {
    /// The request runs: nobody else may begin it before `until`.
    Claim {
        /// The caller's key.
        key: &'a Key,
        /// In milliseconds since 1970.
        until: i64,
    },
    /// It was done, and this is what it is answered with.
    Answered {
        /// The caller's key.
        key: &'a Key,
        /// What the answer is made from.
        seed: &'a Seed,
        /// How long the answer is good.
        life: Duration,
    },
    /// It failed: it may be tried again at once.
    Release(&'a Key),
}

#[derive(Serialize, Deserialize)]
struct KeyRow {
    pk: String,
    #[serde(flatten)]
    memory: Memory,
}

impl Tables {
    /// What is remembered under a key.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn memory(&self, key: &Key, deadline: Deadline) -> Result<Option<Memory>, StoreError> {
        let get = self.client.get_item().table_name(&self.names.state).key("pk", text(key_row(key)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let found = within(deadline, || get.clone().send()).await?;
        let row: Option<KeyRow> = found.item.map(|row| read(row, "a memory")).transpose()?;
        Ok(row.map(|row| row.memory))
    }

    /// Remembers an answer that takes no other transaction. False: another request holds the key.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn remember(
        &self,
        key: &Key,
        seed: &Seed,
        life: Duration,
        at: Timestamp,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let item =
            KeyWrite::Answered { key, seed, life }.item(&self.names.state, None, at).map_err(broken)?;
        Ok(self.write_unseen(vec![item], deadline).await?.is_ok())
    }
}

impl KeyWrite<'_> {
    /// As an item of a transaction that is made at `at` and writes `entry`. Its condition fails if another request holds
    /// the key.
    pub(super) fn item(
        self,
        table: &str,
        entry: Option<Ulid>,
        at: Timestamp,
    ) -> Result<TransactWriteItem, BuildError> {
        const FREE: &str = "attribute_not_exists(pk) OR holder = :mine OR #ttl <= :second OR \
                            (lease <= :ms AND fingerprint = :request)";
        let (key, lease, seed, life) = match self {
            Self::Claim { key, until } => (key, Some(until), Seed::default(), MEMORY),
            Self::Answered { key, seed, life } => (key, None, seed.clone(), life),
            Self::Release(key) => {
                let delete = Delete::builder()
                    .table_name(table)
                    .key("pk", text(key_row(key)))
                    .condition_expression("attribute_not_exists(pk) OR holder = :mine")
                    .expression_attribute_values(":mine", text(&key.holder));
                return Ok(TransactWriteItem::builder().delete(delete.build()?).build());
            }
        };
        let memory = Memory {
            fingerprint: key.fingerprint.clone(),
            holder: key.holder.clone(),
            ttl: at.as_second() + i64::try_from(life.as_secs()).unwrap_or(i64::MAX / 2),
            lease,
            at: at.as_millisecond(),
            entry: entry.map(|id| id.to_string()),
            seed,
        };
        let row = serde_dynamo::to_item(KeyRow { pk: key_row(key), memory });
        let put = Put::builder()
            .table_name(table)
            .set_item(row.ok())
            .condition_expression(FREE)
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":mine", text(&key.holder))
            .expression_attribute_values(":second", number(at.as_second()))
            .expression_attribute_values(":ms", number(at.as_millisecond()))
            .expression_attribute_values(":request", text(&key.fingerprint));
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }
}

fn key_row(key: &Key) -> String {
    format!("KEY#{}", key.id)
}
