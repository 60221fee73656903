//! The log's rows as the table has them, and the partitions in which they stand.

use audit_format::Value;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use jiff::civil::{self, Date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use ulid::Ulid;

use super::records::{Row, text, within};
use super::search::Order;
use super::written::attributes;
use super::{StoreError, Tables};
use crate::audit::{Index, LogRow, month_of, partition};
use crate::auth::{Authorised, Log, LogRight};
use crate::clock::{self, Deadline};
use crate::ids::OrgId;
use crate::metrics::{self, Metric};

/// The first month in which this service can have written anything: before it no month is asked.
const FIRST_MONTH: Date = civil::date(2026, 1, 1);
/// Months that the log goes back, at most: entries are kept for seven years and thirty days.
const KEPT_MONTHS: i32 = 7 * 12 + 2;
/// Other clocks than ours may have begun the next month already.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

impl Tables {
    /// One entry of the caller's organisation, strongly consistent.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn log_entry<R: LogRight>(
        &self,
        allowed: &Authorised<R, Log>,
        id: Ulid,
        deadline: Deadline,
    ) -> Result<Option<LogRow>, StoreError> {
        let org = allowed.principal().org();
        let get = self.client.get_item().table_name(&self.names.log);
        let get = get.key("pk", text(partition(org.as_str(), &month_of(time_of(id)))));
        let get = get.key("sk", text(id.to_string())).consistent_read(true);
        let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let found = within(deadline, || get.clone().send()).await?.item;
        Ok(found.and_then(|row| Item::of(&row, org)?.row))
    }
}

/// Where entries stand together, sorted by id.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: Option<Index>,
    pub(super) key: AttributeValue,
}

impl Partition {
    /// A month of the table itself.
    pub(super) fn month(org: &OrgId, month: &str) -> Self {
        Self { index: None, key: text(partition(org.as_str(), month)) }
    }

    /// A value of an index.
    pub(super) fn of(index: Index, org: &OrgId, value: &str) -> Self {
        Self { index: Some(index), key: AttributeValue::B(Blob::new(index.key(org.as_str(), value))) }
    }
}

/// A row as it was found.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: Ulid,
    /// None if it cannot be read. It must not hide the others; that it is there is for the operator to see.
    pub(super) row: Option<LogRow>,
}

impl Item {
    /// A row of an organisation's log. None if it has not even an id.
    pub(super) fn of(found: &Row, org: &OrgId) -> Option<Self> {
        let own = |name: &str| found.get(name).and_then(|value| value.as_s().ok());
        let id = own("sk").and_then(|sk| Ulid::from_string(sk).ok());
        let bytes = found.get("b").and_then(|b| b.as_b().ok());
        let row = bytes.and_then(|bytes| LogRow::of(bytes.as_ref()).ok());
        // Whatever stands where its entry does not belong, in table or index, may be another organisation's; and one that is not
        // as its bytes say is not under the log's proof, however well the bytes read.
        let belongs = |row: &LogRow| {
            row.body.org == org.as_str() && Some(row.id) == id && row.differs(&attributes(found)).is_none()
        };
        let row = row.filter(belongs);
        if row.is_none() {
            tracing::error!(
                id = id.map(|id| id.to_string()),
                "audit_row_malformed: a row of the log cannot be read"
            );
            metrics::count(Metric::RowsMalformed);
        }
        Some(Self { id: id?, row })
    }
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

/// A month and the ids in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Month {
    /// `YYYY-MM`
    pub(super) name: String,
    pub(super) first: Ulid,
    pub(super) last: Ulid,
}

/// The months that can hold entries from one id to another, in the order asked for.
pub(super) fn months(from: Ulid, to: Ulid, order: Order) -> Vec<Month> {
    let month = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().first_of_month();
    let this = month(clock::now().checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX));
    let kept = this.checked_sub(KEPT_MONTHS.months()).map_or(FIRST_MONTH, |kept| kept.max(FIRST_MONTH));
    let (first, last) = (month(time_of(from)).max(kept), month(time_of(to)).min(this));
    let next = |month: Date| month.checked_add(1.month()).ok();
    let months = std::iter::successors(Some(first), |month| next(*month)).take_while(|month| *month <= last);
    let mut months: Vec<_> = months
        .map(|month| Month {
            name: format!("{:04}-{:02}", month.year(), month.month()),
            first: begin(month),
            last: next(month).map_or(Ulid::max(), |next| Ulid(begin(next).0.saturating_sub(1))),
        })
        .collect();
    if order == Order::Descending {
        months.reverse();
    }
    months
}

/// The lowest id of a day.
fn begin(day: Date) -> Ulid {
    let at = day.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp());
    Ulid::from_parts(u64::try_from(at.as_millisecond()).unwrap_or_default(), 0)
}

fn time_of(id: Ulid) -> Timestamp {
    let at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_walked_from_the_services_first_to_this_one() {
        let id = |text: &str| {
            let ms = text.parse::<Timestamp>().unwrap().as_millisecond();
            Ulid::from_parts(ms.try_into().unwrap(), 0)
        };
        let names = |from, to, order| -> Vec<_> {
            months(from, to, order).into_iter().map(|month| month.name).collect()
        };
        let march = id("2026-03-15T00:00:00Z");
        assert_eq!(names(Ulid::nil(), march, Order::Descending), ["2026-03", "2026-02", "2026-01"]);
        assert_eq!(names(id("2026-02-28T23:59:59.999Z"), march, Order::Ascending), ["2026-02", "2026-03"]);
        assert_eq!(names(march, id("2026-02-01T00:00:00Z"), Order::Ascending), [""; 0]);
        let this = month_of(clock::now() + CLOCK_SKEW);
        assert_eq!(names(Ulid::nil(), Ulid::max(), Order::Descending).first(), Some(&this));
        assert_eq!(names(Ulid::nil(), Ulid::nil(), Order::Ascending), [""; 0]);
        let february = &months(march, id("2026-02-01T00:00:00Z"), Order::Ascending);
        assert!(february.is_empty());
        let [month] = months(march, march, Order::Ascending).try_into().unwrap();
        assert_eq!(month.first, id("2026-03-01T00:00:00Z"));
        assert_eq!(Ulid(month.last.0 + 1), id("2026-04-01T00:00:00Z"));
    }
}
