//! `storage_audit_state`: what the sealer decided, in the order in which it decided it. Written by the sealer alone; read
//! here.
//!
//! | `pk` | `sk` | attributes |
//! |---|---|---|
//! | `HEAD` | `{org}` | `size`: leaves that have a position; `since`: ms, the time of the earliest entry; `latest`: ms, when the last position was given; `published`: the size under the signed checkpoint, and `root`, its root hash; `complete_to`: ms, see [`Notice`](crate::audit::Notice); `heartbeat`: ms, the hour of the last HEARTBEAT; `manifest`: ms, the day of the last MANIFEST (log of logs); `holder`, `held_until` (ms): who publishes, and until when nobody else may |
//! | `SEQ#{org}` | `{seq}`, 20 digits | `b`: the leaf's bytes; `id`: its identity; `ttl` |
//! | `ID#{org}` | the leaf's identity: an entry's id, or what makes a notice the same when it is made again | `seq`; `h`: the leaf hash; `ttl` |
//! | `HOUR#{org}` | `YYYY-MM-DDTHH`, of the entries' ids, UTC | a counter each of `{action}` and `FAIL.{action}`; `ttl` |
//! | `MINUTE#{org}` | `YYYY-MM-DDTHH:MM` | the same, for two days |
//! | `KEY` | the public key, base64 | `since`: ms, when it first signed |
//!
//! A leaf's rows, its counters and the head's new size are one transaction, on condition that the head's size is what was
//! read and that the identity is new. So positions have no gap and no leaf has two, however often it is delivered.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::records::{Row, text, within};
use super::{StoreError, Tables};
use crate::audit::LeafHash;
use crate::clock::Deadline;
use crate::ids::OrgId;

/// Items of one BatchGetItem, at most.
const BATCH: usize = 100;

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
    /// The root hash of the tree under the signed checkpoint.
    pub root: Option<LeafHash>,
    /// The hour of the last HEARTBEAT, ms since 1970.
    pub heartbeat: Option<i64>,
    /// In the log of logs: the day of the last MANIFEST, ms since 1970.
    pub manifest: Option<i64>,
}

impl Head {
    pub(super) fn of(row: &Row) -> Self {
        let root = row.get("root").and_then(|root| root.as_b().ok());
        Self {
            size: integer(row, "size").unwrap_or_default(),
            published: integer(row, "published").unwrap_or_default(),
            since: integer(row, "since"),
            latest: integer(row, "latest"),
            complete_to: integer(row, "complete_to"),
            root: root.and_then(|root| root.as_ref().try_into().ok()),
            heartbeat: integer(row, "heartbeat"),
            manifest: integer(row, "manifest"),
        }
    }
}

/// An organisation's first entry may have come a little before the first that was sealed.
const SINCE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

impl Head {
    /// Before this id there is nothing of the organisation, as far as the sealer knows; the lowest of all until it has seen every
    /// row.
    #[must_use]
    pub fn first(&self) -> Ulid {
        let seen = self.complete_to.map(|seen| self.since.map_or(seen, |since| since.min(seen)));
        let first =
            seen.and_then(|seen| Timestamp::from_millisecond(seen).ok()?.checked_sub(SINCE_MARGIN).ok());
        let ms = first.and_then(|first| u64::try_from(first.as_millisecond()).ok());
        ms.map_or(Ulid::nil(), |ms| Ulid::from_parts(ms, 0))
    }
}

impl Tables {
    /// How far an organisation's log has come; nothing is sealed yet if there is no row.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn head(&self, org: &OrgId, deadline: Deadline) -> Result<Option<Head>, StoreError> {
        let row = self.audit_state("HEAD", org.as_str(), deadline).await?;
        Ok(row.as_ref().map(Head::of))
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

    /// The positions of the entries among `ids`, which are sorted either way, that have one. `dense`: nothing stands between
    /// them, so that all are read in one piece, which costs a twentieth.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn positions_of(
        &self,
        org: &OrgId,
        ids: &[Ulid],
        dense: bool,
        deadline: Deadline,
    ) -> Result<BTreeMap<Ulid, u64>, StoreError> {
        let (Some(one), Some(other)) = (ids.first(), ids.last()) else { return Ok(BTreeMap::new()) };
        let pk = format!("ID#{}", org.as_str());
        let rows = match dense {
            true => self.positions_between(&pk, *one.min(other), *one.max(other), deadline).await?,
            false => {
                let batches = ids.chunks(BATCH).map(|ids| self.positions_among(&pk, ids, deadline));
                try_join_all(batches).await?.concat()
            }
        };
        let position = |row: &Row| {
            let id = row.get("sk").and_then(|sk| Ulid::from_string(sk.as_s().ok()?).ok())?;
            Some((id, integer(row, "seq")?))
        };
        Ok(rows.iter().filter_map(position).collect())
    }

    async fn positions_between(
        &self,
        pk: &str,
        first: Ulid,
        last: Ulid,
        deadline: Deadline,
    ) -> Result<Vec<Row>, StoreError> {
        let (mut rows, mut from) = (Vec::new(), None);
        loop {
            let read = self
                .client
                .query()
                .table_name(&self.names.audit_state)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(pk))
                .expression_attribute_values(":first", text(first.to_string()))
                .expression_attribute_values(":last", text(last.to_string()))
                .set_exclusive_start_key(from)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = within(deadline, || read.clone().send()).await?;
            rows.extend(answer.items.unwrap_or_default());
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    async fn positions_among(
        &self,
        pk: &str,
        ids: &[Ulid],
        deadline: Deadline,
    ) -> Result<Vec<Row>, StoreError> {
        let table = &self.names.audit_state;
        let key = |id: &Ulid| Row::from([("pk".into(), text(pk)), ("sk".into(), text(id.to_string()))]);
        let keys = KeysAndAttributes::builder().set_keys(Some(ids.iter().map(key).collect())).build();
        let keys = keys.map_err(|_| StoreError::Broken("request could not be built".into()))?;
        let (mut rows, mut left) = (Vec::new(), Some(keys));
        // What it leaves out, because it is busy, is asked for again; a call without any progress ends it.
        while let Some(keys) = left.take() {
            let asked = keys.keys().len();
            let get = self.client.batch_get_item().request_items(table, keys);
            let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = within(deadline, || get.clone().send()).await?;
            rows.extend(answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default());
            left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            if left.as_ref().is_some_and(|left| left.keys().len() == asked) {
                return Err(StoreError::Unavailable("positions are throttled".into()));
            }
        }
        Ok(rows)
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
