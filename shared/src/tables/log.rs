//! Reading the audit log: newest first, a page at a time.

use audit_format::Value;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use ulid::Ulid;

use super::records::{Row, text, within};
use super::{StoreError, Tables};
use crate::audit::{Action, Body, Index, LogRow, partition};
use crate::auth::{Authorised, Log, ReadLog};
use crate::clock::Deadline;
use crate::ids::OrgId;
use crate::path::FilePath;

/// The first month in which this service can have written anything: before it no month is asked.
const FIRST_MONTH: (i16, i8) = (2026, 1);
/// Rows that one page looks at, at most, where the filter is not the index's own.
const SCAN_LIMIT: usize = 2_000;
/// Rows of one read then, however few are wanted: few round trips, each far below the 1 MB that one query answers.
const SCAN_STEP: usize = 200;

/// Which entries of an organisation's log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Only entries about this path.
    pub file_path: Option<FilePath>,
    /// Only entries of this action.
    pub action: Option<Action>,
    /// Only entries with an id below this one.
    pub below: Ulid,
    /// At most this many.
    pub limit: usize,
}

/// Entries, newest first.
#[derive(Debug, Default)]
pub struct LogPage {
    /// At most as many as were asked for.
    pub entries: Vec<Body>,
    /// If there may be more: go on below this id.
    pub next: Option<Ulid>,
}

impl LogPage {
    fn new(entries: Vec<(Ulid, Body)>, more: bool) -> Self {
        let next = entries.last().filter(|_| more).map(|(id, _)| *id);
        Self { entries: entries.into_iter().map(|(_, entry)| entry).collect(), next }
    }
}

impl Tables {
    /// Reads a page of the log. A filter by path or action is an index's own; both together read the path's and leave
    /// out the other actions.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn log(
        &self,
        allowed: &Authorised<ReadLog, Log>,
        query: &LogQuery,
        deadline: Deadline,
    ) -> Result<LogPage, StoreError> {
        let org = allowed.principal().org();
        match (&query.file_path, query.action) {
            (Some(path), None) => {
                let partition = [Partition::index(Index::File, org, path.as_str())];
                let (entries, more) = self.merged(&partition, query.below, query.limit, deadline).await?;
                Ok(LogPage::new(entries, more))
            }
            (Some(path), Some(action)) => {
                let partition = [Partition::index(Index::File, org, path.as_str())];
                self.filtered(&partition, action, query, deadline).await
            }
            (None, action) => self.by_month(org, action, query, deadline).await,
        }
    }

    /// Month after month, back to the first, until the page is full.
    async fn by_month(
        &self,
        org: &OrgId,
        action: Option<Action>,
        query: &LogQuery,
        deadline: Deadline,
    ) -> Result<LogPage, StoreError> {
        let mut entries = Vec::new();
        for month in months(query.below) {
            let partitions = match action {
                None => vec![Partition::table(org, &month)],
                Some(action) => [true, false]
                    .map(|success| Index::action_value(action, success, &month))
                    .map(|value| Partition::index(Index::Action, org, &value))
                    .into(),
            };
            let limit = query.limit - entries.len();
            let (found, more) = self.merged(&partitions, query.below, limit, deadline).await?;
            entries.extend(found);
            if more {
                return Ok(LogPage::new(entries, true));
            }
        }
        Ok(LogPage::new(entries, false))
    }

    /// A partition's entries of one action, read in pages and sifted here, at most about [`SCAN_LIMIT`] of them.
    async fn filtered(
        &self,
        partition: &[Partition],
        action: Action,
        query: &LogQuery,
        deadline: Deadline,
    ) -> Result<LogPage, StoreError> {
        let (mut below, mut entries, mut scanned) = (query.below, Vec::new(), 0);
        loop {
            let (found, more) = self.merged(partition, below, SCAN_STEP, deadline).await?;
            scanned += found.len();
            below = found.last().map_or(below, |(id, _)| *id);
            entries.extend(found.into_iter().filter(|(_, entry)| entry.action == action));
            if entries.len() > query.limit || !more {
                let more = entries.len() > query.limit;
                entries.truncate(query.limit);
                return Ok(LogPage::new(entries, more));
            }
            if scanned >= SCAN_LIMIT {
                // Whoever wants to look further goes on where this page stopped looking.
                return Ok(LogPage { next: Some(below), ..LogPage::new(entries, false) });
            }
        }
    }

    /// The newest entries of several partitions together, and whether there are more.
    async fn merged(
        &self,
        partitions: &[Partition],
        below: Ulid,
        limit: usize,
        deadline: Deadline,
    ) -> Result<(Vec<(Ulid, Body)>, bool), StoreError> {
        // One more than asked for tells whether there is one more.
        let reads = partitions.iter().map(|partition| self.newest(partition, below, limit + 1, deadline));
        let mut entries = futures_util::future::try_join_all(reads).await?.concat();
        entries.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok((entries, more))
    }

    async fn newest(
        &self,
        partition: &Partition,
        below: Ulid,
        wanted: usize,
        deadline: Deadline,
    ) -> Result<Vec<(Ulid, Body)>, StoreError> {
        let mut entries = Vec::new();
        let mut from: Option<Row> = None;
        loop {
            let read = self
                .client
                .query()
                .table_name(&self.names.log)
                .set_index_name(partition.index.map(|index| index.name().to_owned()))
                // An index cannot be read consistently; the table itself shows what was written a moment ago.
                .consistent_read(partition.index.is_none())
                .key_condition_expression("#pk = :pk AND sk < :below")
                .expression_attribute_names("#pk", partition.index.map_or("pk", Index::attribute))
                .expression_attribute_values(":pk", partition.key.clone())
                .expression_attribute_values(":below", text(below.to_string()))
                .scan_index_forward(false)
                .limit(i32::try_from(wanted - entries.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = within(deadline, || read.clone().send()).await?;
            entries.extend(answer.items.unwrap_or_default().iter().filter_map(entry));
            from = answer.last_evaluated_key;
            if from.is_none() || entries.len() >= wanted {
                return Ok(entries);
            }
        }
    }
}

struct Partition {
    index: Option<Index>,
    key: AttributeValue,
}

impl Partition {
    fn table(org: &OrgId, month: &str) -> Self {
        Self { index: None, key: text(partition(org.as_str(), month)) }
    }

    fn index(index: Index, org: &OrgId, value: &str) -> Self {
        Self { index: Some(index), key: AttributeValue::B(Blob::new(index.key(org.as_str(), value))) }
    }
}

/// An entry that cannot be read must not hide the others; that it is there is for the operator to see.
fn entry(row: &Row) -> Option<(Ulid, Body)> {
    let id = row.get("sk").and_then(|sk| sk.as_s().ok()).and_then(|sk| Ulid::from_string(sk).ok());
    let bytes = row.get("b").and_then(|b| b.as_b().ok());
    let read = id.zip(bytes.and_then(|bytes| Body::from_bytes(bytes.as_ref()).ok()));
    if read.is_none() {
        tracing::error!(
            id = id.map(|id| id.to_string()),
            "audit_row_malformed: a row of the log cannot be read"
        );
    }
    read
}

/// The row of an entry as the table takes it.
pub(super) fn row(entry: &LogRow) -> Row {
    let value = |value| match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(number) => AttributeValue::N(number),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        // No row of ours has any.
        Value::Other(_) => AttributeValue::Null(true),
    };
    entry.attributes().into_iter().map(|(name, attribute)| (name, value(attribute))).collect()
}

/// Months that the log goes back, at most: entries are kept for seven years and thirty days.
const KEPT_MONTHS: i32 = 7 * 12 + 2;

/// The months that can hold entries below an id, newest first.
fn months(below: Ulid) -> impl Iterator<Item = String> {
    let at = i64::try_from(below.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let month = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().first_of_month();
    let this = month(crate::clock::now());
    let last = at.map_or(this, month).min(this);
    let first = civil::date(FIRST_MONTH.0, FIRST_MONTH.1, 1);
    let first = this.checked_sub(KEPT_MONTHS.months()).map_or(first, |kept| kept.max(first));
    std::iter::successors(Some(last), |month| month.checked_sub(1.month()).ok())
        .take_while(move |month| *month >= first)
        .map(|month| format!("{:04}-{:02}", month.year(), month.month()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::month_of;

    #[test]
    fn months_are_walked_back_to_the_services_first() {
        let ms = "2026-03-15T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        let below = Ulid::from_parts(ms.try_into().unwrap(), 0);
        assert_eq!(months(below).collect::<Vec<_>>(), ["2026-03", "2026-02", "2026-01"]);
        assert_eq!(months(Ulid::max()).next(), Some(month_of(crate::clock::now())));
        assert_eq!(months(Ulid::nil()).count(), 0);
    }
}
