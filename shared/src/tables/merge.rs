//! Several partitions of the log, each sorted by id, read as one.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures_util::future::try_join_all;
use ulid::Ulid;

use super::log::{Item, Partition};
use super::records::{Row, text, within};
use super::search::Order;
use super::{StoreError, Tables};
use crate::audit::Index;
use crate::clock::Deadline;
use crate::ids::OrgId;

/// A walk through partitions, in the order of ids.
///
/// What is read and not taken is lost, and read again by the next page. Of one partition no more is read than is wanted.
/// Of k partitions each is asked for a share at first: half of what is wanted, all together; and whichever runs dry for
/// half of what it has given so far. So what is lost is at most half a page of first shares and half of what was given: a
/// full walk reads at most twice what it returns, with pages of at least twice as many entries as there are partitions.
pub(super) struct Merge<'a> {
    tables: &'a Tables,
    org: &'a OrgId,
    lanes: Vec<Lane>,
    /// The lowest and the highest id.
    ids: (Ulid, Ulid),
    order: Order,
    deadline: Deadline,
}

struct Lane {
    partition: Partition,
    rows: VecDeque<Item>,
    /// Where the next read begins.
    from: Option<Row>,
    ended: bool,
    given: usize,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        tables: &'a Tables,
        org: &'a OrgId,
        partitions: Vec<Partition>,
        ids: (Ulid, Ulid),
        order: Order,
        deadline: Deadline,
    ) -> Self {
        let lane = |partition| Lane { partition, rows: VecDeque::new(), from: None, ended: false, given: 0 };
        Self { tables, org, lanes: partitions.into_iter().map(lane).collect(), ids, order, deadline }
    }

    /// Whether the next row cannot be told without another read.
    pub(super) fn must_read(&self) -> bool {
        self.lanes.iter().any(Lane::is_dry)
    }

    /// The next row; probably so many will be `wanted`, with this one.
    pub(super) async fn next(&mut self, wanted: usize) -> Result<Option<Item>, StoreError> {
        let share = if self.lanes.len() == 1 { wanted } else { wanted / (2 * self.lanes.len().max(1)) };
        let (ids, order, deadline) = (self.ids, self.order, self.deadline);
        let (tables, org) = (self.tables, self.org);
        let dry = self.lanes.iter_mut().filter(|lane| lane.is_dry());
        try_join_all(dry.map(|lane| {
            let chunk = share.max(lane.given / 2).clamp(1, wanted.max(1));
            lane.fill(tables, org, ids, order, chunk, deadline)
        }))
        .await?;
        let ahead = self.lanes.iter_mut().filter(|lane| !lane.rows.is_empty());
        let id = |lane: &&mut Lane| lane.rows.front().map(|item| item.id);
        let lane = match order {
            Order::Ascending => ahead.min_by_key(id),
            Order::Descending => ahead.max_by_key(id),
        };
        Ok(lane.and_then(|lane| {
            lane.given += 1;
            lane.rows.pop_front()
        }))
    }
}

impl Lane {
    fn is_dry(&self) -> bool {
        self.rows.is_empty() && !self.ended
    }

    /// Reads on until there is a row or the partition has ended.
    async fn fill(
        &mut self,
        tables: &Tables,
        org: &OrgId,
        (first, last): (Ulid, Ulid),
        order: Order,
        chunk: usize,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        while self.is_dry() {
            let Partition { index, key } = &self.partition;
            let read = tables
                .client
                .query()
                .table_name(&tables.names.log)
                .set_index_name(index.map(|index| index.name().to_owned()))
                // An index cannot be read consistently; the table itself shows what was written a moment ago.
                .consistent_read(index.is_none())
                .key_condition_expression("#pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_names("#pk", index.map_or("pk", Index::attribute))
                .expression_attribute_values(":pk", key.clone())
                .expression_attribute_values(":first", text(first.to_string()))
                .expression_attribute_values(":last", text(last.to_string()))
                .scan_index_forward(order == Order::Ascending)
                .limit(i32::try_from(chunk).unwrap_or(i32::MAX))
                .set_exclusive_start_key(self.from.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = within(deadline, || read.clone().send()).await?;
            self.rows.extend(answer.items.unwrap_or_default().iter().filter_map(|row| Item::of(row, org)));
            self.from = answer.last_evaluated_key;
            self.ended = self.from.is_none();
        }
        Ok(())
    }
}
