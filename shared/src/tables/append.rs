//! Positions: the one transaction that gives them to leaves and counts what they say. See [`super::positions`] for the rows.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::records::{number, text};
use super::sealing::{broken, bytes, identities_of, place, positions_of};
use super::{Head, StoreError, Tables};
use crate::audit::{Leaf, LogRow, kept_until, leaf_hash};
use crate::clock::Deadline;
use crate::ids::OrgId;
use crate::seal::NewLeaf;

/// Most items of one transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const TRANSACTION_ITEMS: usize = 100;
/// How long minutes are counted: the summary shows those of the last day.
const MINUTES_KEPT: SignedDuration = SignedDuration::from_hours(48);

/// What became of an attempt to give positions.
#[derive(Debug)]
pub(crate) enum Appended {
    /// So many of the leaves, from the first on, have theirs; this is the head now.
    Given(usize, Head),
    /// None: the head is not what was read, or one of them has a position. Both have to be read again.
    Moved,
}

/// A counter's row and what is added to it.
type Counters = BTreeMap<(String, String), Counter>;

#[derive(Debug)]
struct Counter {
    added: BTreeMap<String, u64>,
    ttl: Timestamp,
}

impl Tables {
    /// Gives positions behind `head` to as many of the leaves as one transaction takes, and counts them.
    ///
    /// # Errors
    /// [`StoreError`]; whether they have positions is then unknown.
    pub(crate) async fn append(
        &self,
        org: &OrgId,
        head: Option<&Head>,
        leaves: &[&NewLeaf],
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Appended, StoreError> {
        let (count, counters) = fitting(org, leaves, now);
        let size = head.map_or(0, |head| head.size);
        let times = leaves[..count].iter().filter_map(|leaf| counted(leaf)).map(|entry| entry.at);
        let earliest = times.map(Timestamp::as_millisecond).min();
        let after = Head {
            size: size + count as u64,
            since: [head.and_then(|head| head.since), earliest].into_iter().flatten().min(),
            latest: Some(now.as_millisecond()),
            ..head.copied().unwrap_or_default()
        };
        let mut items = vec![self.advance(org, head, &after)?];
        for (leaf, seq) in leaves[..count].iter().zip(size..) {
            items.extend(self.rows_of(org, leaf, seq, now)?);
        }
        for ((pk, sk), counter) in counters {
            items.push(self.add(pk, sk, counter)?);
        }
        let written = self.write_unseen(items, deadline).await?;
        Ok(if written.is_ok() { Appended::Given(count, after) } else { Appended::Moved })
    }

    /// The head's new size, on condition that nobody else moved it.
    fn advance(
        &self,
        org: &OrgId,
        before: Option<&Head>,
        after: &Head,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut set = "SET #size = :after, latest = :latest".to_owned();
        let mut update = self
            .head_update(org)
            .expression_attribute_names("#size", "size")
            .expression_attribute_values(":after", number(after.size))
            .expression_attribute_values(":latest", number(after.latest.unwrap_or_default()));
        if let Some(since) = after.since {
            set.push_str(", since = :since");
            update = update.expression_attribute_values(":since", number(since));
        }
        update = match before {
            Some(before) => update
                .condition_expression("#size = :before")
                .expression_attribute_values(":before", number(before.size)),
            None => update.condition_expression("attribute_not_exists(pk)"),
        };
        let update = update.update_expression(set).build().map_err(broken)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn head_update(&self, org: &OrgId) -> UpdateBuilder {
        let update = Update::builder().table_name(&self.names.audit_state);
        update.key("pk", text("HEAD")).key("sk", text(org.as_str()))
    }

    /// A leaf's two rows. They stay as long as an entry that is written now: longer than the leaf's own, which is older.
    fn rows_of(
        &self,
        org: &OrgId,
        leaf: &NewLeaf,
        seq: u64,
        now: Timestamp,
    ) -> Result<[TransactWriteItem; 2], StoreError> {
        let ttl = number(kept_until(now).as_second());
        let identity = &leaf.identity;
        let leaf = leaf.bytes();
        let hash = leaf_hash(&leaf);
        let by_seq = Put::builder()
            .table_name(&self.names.audit_state)
            .item("pk", text(positions_of(org)))
            .item("sk", text(place(seq)))
            .item("b", bytes(leaf))
            .item("id", text(identity))
            .item("ttl", ttl.clone());
        let by_identity = Put::builder()
            .table_name(&self.names.audit_state)
            .item("pk", text(identities_of(org)))
            .item("sk", text(identity))
            .item("seq", number(seq))
            .item("h", bytes(hash))
            .item("ttl", ttl);
        let put = |put: PutBuilder| {
            let put = put.condition_expression("attribute_not_exists(pk)").build().map_err(broken)?;
            Ok::<_, StoreError>(TransactWriteItem::builder().put(put).build())
        };
        Ok([put(by_seq)?, put(by_identity)?])
    }

    fn add(&self, pk: String, sk: String, counter: Counter) -> Result<TransactWriteItem, StoreError> {
        let mut update = Update::builder()
            .table_name(&self.names.audit_state)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", number(counter.ttl.as_second()));
        let mut sums = Vec::new();
        for (index, (name, count)) in counter.added.into_iter().enumerate() {
            sums.push(format!("#c{index} :c{index}"));
            update = update
                .expression_attribute_names(format!("#c{index}"), name)
                .expression_attribute_values(format!(":c{index}"), number(count));
        }
        let update = update.update_expression(format!("SET #ttl = :ttl ADD {}", sums.join(", ")));
        Ok(TransactWriteItem::builder().update(update.build().map_err(broken)?).build())
    }
}

/// As many leaves as fit into one transaction, and what they count for.
fn fitting(org: &OrgId, leaves: &[&NewLeaf], now: Timestamp) -> (usize, Counters) {
    let mut counters = Counters::new();
    for (index, leaf) in leaves.iter().enumerate() {
        let rows = counted(leaf).map(|entry| counter_rows(org, entry, now)).unwrap_or_default();
        let new = rows.iter().filter(|(key, _)| !counters.contains_key(key)).count();
        // The head, two rows a leaf, the counters.
        if 1 + 2 * (index + 1) + counters.len() + new > TRANSACTION_ITEMS {
            return (index, counters);
        }
        for (key, ttl) in rows {
            let Some(entry) = counted(leaf) else { continue };
            let counter = counters.entry(key).or_insert(Counter { added: BTreeMap::new(), ttl });
            *counter.added.entry(counter_name(entry)).or_default() += 1;
        }
    }
    (leaves.len(), counters)
}

/// Only entries are counted.
fn counted(leaf: &NewLeaf) -> Option<&LogRow> {
    match &leaf.leaf {
        Leaf::Entry(entry) => Some(entry),
        Leaf::Notice(_) => None,
    }
}

fn counter_rows(org: &OrgId, entry: &LogRow, now: Timestamp) -> Vec<((String, String), Timestamp)> {
    let at = entry.at.to_zoned(TimeZone::UTC);
    let hour = (format!("HOUR#{}", org.as_str()), at.strftime("%Y-%m-%dT%H").to_string());
    let minute = (format!("MINUTE#{}", org.as_str()), at.strftime("%Y-%m-%dT%H:%M").to_string());
    let until = entry.at.saturating_add(MINUTES_KEPT).unwrap_or(Timestamp::MAX);
    let mut rows = vec![(hour, kept_until(entry.at))];
    if until > now {
        rows.push((minute, until));
    }
    rows
}

fn counter_name(entry: &LogRow) -> String {
    let prefix = if entry.body.error.is_some() { "FAIL." } else { "" };
    format!("{prefix}{}", entry.body.action)
}
