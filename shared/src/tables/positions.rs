//! `storage_audit_state`: what the sealer decided, in the order in which it decided it. Written by the sealer alone; read
//! here.
//!
//! | `pk` | `sk` | attributes |
//! |---|---|---|
//! | `HEAD` | `{org}` | `size`: leaves that have a position; `since`: ms, the time of the earliest entry; `latest`: ms, when the last position was given; `published`: the size under the signed checkpoint; `complete_to`: ms, see [`Notice`](crate::audit::Notice) |
//! | `SEQ#{org}` | `{seq}`, 20 digits | `b`: the leaf's bytes; `id`: its identity; `ttl` |
//! | `ID#{org}` | the leaf's identity: an entry's id, or what makes a notice the same when it is made again | `seq`; `h`: the leaf hash; `ttl` |
//! | `HOUR#{org}` | `YYYY-MM-DDTHH` | a counter each of `{action}` and `FAIL.{action}`; `ttl` |
//! | `MINUTE#{org}` | `YYYY-MM-DDTHH:MM` | the same, for two days |
//! | `KEY` | the public key, base64 | `since`: ms, when it first signed |
//!
//! A leaf's rows, its counters and the head's new size are one transaction, on condition that the head's size is what was
//! read and that the identity is new. So positions have no gap and no leaf has two, however often it is delivered.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use super::records::{Row, text, within};
use super::{StoreError, Tables};
use crate::clock::Deadline;
use crate::ids::OrgId;

/// How far an organisation's log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Leaves that have a position.
    pub size: u64,
    /// Leaves under the signed checkpoint.
    pub published: u64,
    /// The time of the earliest entry, ms since 1970.
    pub since: Option<i64>,
    /// When the last position was given, ms since 1970.
    pub latest: Option<i64>,
    /// Every row whose id is of an earlier time has its leaf, ms since 1970.
    pub complete_to: Option<i64>,
}

impl Tables {
    /// How far an organisation's log has come; nothing is sealed yet if there is no row.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn head(&self, org: &OrgId, deadline: Deadline) -> Result<Option<Head>, StoreError> {
        let row = self.audit_state("HEAD", org.as_str(), deadline).await?;
        Ok(row.map(|row| Head {
            size: integer(&row, "size").unwrap_or_default(),
            published: integer(&row, "published").unwrap_or_default(),
            since: integer(&row, "since"),
            latest: integer(&row, "latest"),
            complete_to: integer(&row, "complete_to"),
        }))
    }

    /// The position of a leaf, if it has one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn leaf_position(
        &self,
        org: &OrgId,
        identity: &str,
        deadline: Deadline,
    ) -> Result<Option<u64>, StoreError> {
        let row = self.audit_state(&format!("ID#{}", org.as_str()), identity, deadline).await?;
        Ok(row.and_then(|row| integer(&row, "seq")))
    }

    async fn audit_state(&self, pk: &str, sk: &str, deadline: Deadline) -> Result<Option<Row>, StoreError> {
        let get = self.client.get_item().table_name(&self.names.audit_state);
        let get = get.key("pk", text(pk)).key("sk", text(sk)).consistent_read(true);
        let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        Ok(within(deadline, || get.clone().send()).await?.item)
    }
}

pub(super) fn integer<T: std::str::FromStr>(row: &Row, name: &str) -> Option<T> {
    row.get(name)?.as_n().ok()?.parse().ok()
}
