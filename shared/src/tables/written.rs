//! Rows of the log as they are: what the sealer compares with the positions that it gave.

use audit_format::{Attributes, Value};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use data_encoding::BASE64;
use serde_json::{Map, Value as Json, json};

use super::records::{Row, text, within};
use super::{StoreError, Tables};
use crate::audit::partition;
use crate::clock::Deadline;
use crate::ids::OrgId;

/// Rows of a page, at most: what is sealed at once if it has no position.
const PAGE_ROWS: i32 = 500;

/// Rows of a month, as they are.
#[derive(Debug, Default)]
pub(crate) struct WrittenPage {
    /// By sort key.
    pub rows: Vec<Attributes>,
    /// If there may be more: the sort key to go on behind.
    pub next: Option<String>,
}

impl Tables {
    /// Rows of one month of an organisation whose sort keys are between two others, both included: one page, oldest first,
    /// whatever is in them. Strongly consistent.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn written(
        &self,
        org: &OrgId,
        month: &str,
        (from, to): (&str, &str),
        after: Option<String>,
        deadline: Deadline,
    ) -> Result<WrittenPage, StoreError> {
        let pk = text(partition(org.as_str(), month));
        let after = after.map(|sk| Row::from([("pk".into(), pk.clone()), ("sk".into(), text(sk))]));
        let read = self
            .client
            .query()
            .table_name(&self.names.log)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", pk)
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
            .set_exclusive_start_key(after)
            .limit(PAGE_ROWS)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = within(deadline, || read.clone().send()).await?;
        let next = page.last_evaluated_key.and_then(|key| key.get("sk")?.as_s().ok().cloned());
        Ok(WrittenPage { rows: page.items.unwrap_or_default().iter().map(attributes).collect(), next })
    }

    /// The partition of the log that stands behind another one, in the store's order. It costs the read of one row.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn partition_behind(
        &self,
        partition: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<String>, StoreError> {
        /// Bytes of the longest sort key. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
        const MAX_SORT_BYTES: usize = 1024;
        // No sort key stands behind this one.
        let highest = char::MAX.to_string().repeat(MAX_SORT_BYTES / char::MAX.len_utf8());
        let last = |pk: &str| Row::from([("pk".into(), text(pk)), ("sk".into(), text(&highest))]);
        let scan = self
            .client
            .scan()
            .table_name(&self.names.log)
            .projection_expression("pk")
            .set_exclusive_start_key(partition.map(last))
            .limit(1)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = within(deadline, || scan.clone().send()).await?;
        Ok(page.items.unwrap_or_default().first().and_then(|row| row.get("pk")?.as_s().ok().cloned()))
    }
}

/// A row as the log's form names its values.
pub(super) fn attributes(row: &Row) -> Attributes {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => Value::S(text.clone()),
        AttributeValue::N(number) => Value::N(number.clone()),
        AttributeValue::B(bytes) => Value::B(bytes.as_ref().to_vec()),
        other => Value::Other(json(other).to_string()),
    };
    row.iter().map(|(name, attribute)| (name.clone(), value(attribute))).collect()
}

/// A value as the table's protocol writes it.
fn json(value: &AttributeValue) -> Json {
    let base64 = |bytes: &Blob| BASE64.encode(bytes.as_ref());
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": base64(bytes) }),
        AttributeValue::Bool(bool) => json!({ "BOOL": bool }),
        AttributeValue::Null(_) => json!({ "NULL": true }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(all) => json!({ "BS": all.iter().map(base64).collect::<Vec<_>>() }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => {
            let members = map.iter().map(|(name, value)| (name.clone(), json(value)));
            json!({ "M": members.collect::<Map<_, _>>() })
        }
        _ => Json::Null,
    }
}
