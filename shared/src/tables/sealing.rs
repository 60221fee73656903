//! What only the sealer asks and notes: heads, leases, the leaves in their order. See [`super::positions`] for the rows, and
//! [`super::append`] for how they come to be.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue};
use jiff::Timestamp;

use super::failure::Attempt;
use super::records::{Row, number, repeated, text, within};
use super::{Head, StoreError, Tables};
use crate::audit::LeafHash;
use crate::clock::Deadline;
use crate::ids::OrgId;

/// Most keys of one `BatchGetItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const BATCH_KEYS: usize = 100;

/// Who publishes a log, and until when nobody else does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease<'l> {
    pub holder: &'l str,
    /// ms since 1970.
    pub until: i64,
}

/// What a head remembers of a log's regular work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Noted {
    /// Every row of an earlier time has its leaf.
    CompleteTo,
    /// The hour of the last HEARTBEAT.
    Heartbeat,
    /// The day of the last MANIFEST.
    Manifest,
}

impl Noted {
    fn attribute(self) -> &'static str {
        match self {
            Self::CompleteTo => "complete_to",
            Self::Heartbeat => "heartbeat",
            Self::Manifest => "manifest",
        }
    }
}

impl Tables {
    /// The head of every log there is. Not strongly consistent: whatever is done about one reads it again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn heads(&self, deadline: Deadline) -> Result<Vec<(OrgId, Head)>, StoreError> {
        let rows = self.audit_rows("HEAD", None, deadline).await?;
        let head = |row: &Row| {
            let org = row.get("sk")?.as_s().ok()?;
            let own = [OrgId::nobody(), OrgId::logs()].into_iter().find(|own| own.as_str() == org);
            Some((own.or_else(|| OrgId::parse(org).ok())?, Head::of(row)))
        };
        Ok(rows.iter().filter_map(head).collect())
    }

    /// The hashes of the leaves of these identities, where they have one. Strongly consistent.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn leaf_hashes<'i>(
        &self,
        org: &OrgId,
        identities: impl IntoIterator<Item = &'i str>,
        deadline: Deadline,
    ) -> Result<HashMap<String, LeafHash>, StoreError> {
        let mut distinct: Vec<&str> = identities.into_iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut hashes = HashMap::new();
        for identities in distinct.chunks(BATCH_KEYS) {
            let key = |identity: &&str| {
                Row::from([("pk".into(), text(identities_of(org))), ("sk".into(), text(*identity))])
            };
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(identities.iter().map(key).collect()))
                .consistent_read(true)
                .projection_expression("sk, h")
                .build()
                .map_err(broken)?;
            let mut left = Some(HashMap::from([(self.names.audit_state.clone(), wanted)]));
            while let Some(wanted) = left.filter(|left| !left.is_empty()) {
                let get = self.client.batch_get_item().set_request_items(Some(wanted));
                let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
                let answer = within(deadline, || get.clone().send()).await?;
                for row in answer.responses.unwrap_or_default().into_values().flatten() {
                    let identity = row.get("sk").and_then(|sk| sk.as_s().ok());
                    let hash = row.get("h").and_then(|h| h.as_b().ok()?.as_ref().try_into().ok());
                    let (Some(identity), Some(hash)) = (identity, hash) else {
                        return Err(StoreError::Broken("a position is malformed".into()));
                    };
                    hashes.insert(identity.clone(), hash);
                }
                left = answer.unprocessed_keys;
            }
        }
        Ok(hashes)
    }

    /// The bytes of the leaves from one position up to another. Strongly consistent. None: one is not there.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn leaves(
        &self,
        org: &OrgId,
        from: u64,
        to: u64,
        deadline: Deadline,
    ) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let rows = self.audit_rows(&positions_of(org), Some((from, to)), deadline).await?;
        let leaf = |(row, seq): (Row, u64)| {
            let sk = row.get("sk")?.as_s().ok()?;
            let bytes = row.get("b")?.as_b().ok()?;
            (*sk == place(seq)).then(|| bytes.as_ref().to_vec())
        };
        let leaves: Option<Vec<_>> = rows.into_iter().zip(from..to).map(leaf).collect();
        Ok(leaves.filter(|leaves| leaves.len() as u64 == to - from))
    }

    /// The rows of a partition; between two positions if they are given.
    async fn audit_rows(
        &self,
        pk: &str,
        range: Option<(u64, u64)>,
        deadline: Deadline,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut from: Option<Row> = None;
        loop {
            let mut query = self
                .client
                .query()
                .table_name(&self.names.audit_state)
                .consistent_read(range.is_some())
                .expression_attribute_values(":pk", text(pk))
                .set_exclusive_start_key(from.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            query = match range {
                None => query.key_condition_expression("pk = :pk"),
                Some((from, to)) => query
                    .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :last")
                    .expression_attribute_values(":from", text(place(from)))
                    .expression_attribute_values(":last", text(place(to.saturating_sub(1)))),
            };
            let page = within(deadline, || query.clone().send()).await?;
            rows.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Makes a log this holder's to publish, if nobody else publishes it, and answers its head. Doing it twice for one holder
    /// is doing it once. None: somebody else does, or there is no such log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn lease(
        &self,
        org: &OrgId,
        lease: Lease<'_>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Head>, StoreError> {
        let update = self
            .change_head(org)
            .update_expression("SET holder = :mine, held_until = :until")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(holder) OR holder = :mine OR held_until < :now)",
            )
            .expression_attribute_values(":mine", text(lease.holder))
            .expression_attribute_values(":until", number(lease.until))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .return_values(ReturnValue::AllNew);
        let answer = held(&update, deadline).await?;
        Ok(answer.and_then(|answer| answer.attributes).as_ref().map(Head::of))
    }

    /// Notes what a holder has published, and gives the lease back if that was all. False: the lease was lost.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn published(
        &self,
        org: &OrgId,
        holder: &str,
        (size, root): (u64, LeafHash),
        done: bool,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let remove = if done { " REMOVE holder, held_until" } else { "" };
        let update = self
            .change_head(org)
            .update_expression(format!("SET published = :size, #root = :root{remove}"))
            // The second time for one holder, the lease is given back already.
            .condition_expression("holder = :mine OR published = :size")
            .expression_attribute_names("#root", "root")
            .expression_attribute_values(":mine", text(holder))
            .expression_attribute_values(":size", number(size))
            .expression_attribute_values(":root", bytes(root));
        Ok(held(&update, deadline).await?.is_some())
    }

    /// Gives a lease back without anything published.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn release(
        &self,
        org: &OrgId,
        holder: &str,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let update = self
            .change_head(org)
            .update_expression("REMOVE holder, held_until")
            .condition_expression("holder = :mine")
            .expression_attribute_values(":mine", text(holder));
        held(&update, deadline).await.map(drop)
    }

    /// Notes that the hour's HEARTBEAT or the day's MANIFEST is in the log, or how far every row has its leaf.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn note(
        &self,
        org: &OrgId,
        noted: Noted,
        at: i64,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        // What a slower sealer notes is not news.
        let update = self
            .change_head(org)
            .update_expression("SET #noted = :at")
            .condition_expression("attribute_exists(pk) AND (attribute_not_exists(#noted) OR #noted < :at)")
            .expression_attribute_names("#noted", noted.attribute())
            .expression_attribute_values(":at", number(at));
        held(&update, deadline).await.map(drop)
    }

    fn change_head(&self, org: &OrgId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.names.audit_state)
            .key("pk", text("HEAD"))
            .key("sk", text(org.as_str()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }
}

/// An update of a head, unless its condition does not hold.
async fn held(
    update: &UpdateItemFluentBuilder,
    deadline: Deadline,
) -> Result<Option<UpdateItemOutput>, StoreError> {
    match repeated(deadline, || update.clone().send()).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
        {
            Ok(None)
        }
        Err(error) => Err(Attempt::of(&error).into()),
    }
}

pub(super) fn identities_of(org: &OrgId) -> String {
    format!("ID#{}", org.as_str())
}

pub(super) fn positions_of(org: &OrgId) -> String {
    format!("SEQ#{}", org.as_str())
}

/// A position as it sorts.
pub(super) fn place(seq: u64) -> String {
    format!("{seq:020}")
}

pub(super) fn bytes(bytes: impl AsRef<[u8]>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes.as_ref()))
}

pub(super) fn broken(_: BuildError) -> StoreError {
    StoreError::Broken("request could not be built".into())
}
