//! Searching the log: which index is read, how far, and what of it fulfils the filter.

use audit_format::LogRow;
use ulid::Ulid;

use super::log::{Month, Partition, months};
use super::merge::Merge;
use super::{StoreError, Tables};
use crate::audit::{Action, Field, Filter, Index};
use crate::auth::{Authorised, Log, LogRight};
use crate::clock::Deadline;
use crate::ids::OrgId;

/// Fewest rows that are read at once while nothing was found yet, however few are wanted: few round trips.
const FIRST_STEP: usize = 64;
/// Fewest afterwards, when it is known how many of them fulfil the filter.
const MIN_STEP: usize = 8;
/// Most rows of one read where the filter is not the index's own: each stays below the 1 MB that one query answers.
const MAX_STEP: usize = 500;

/// Which way a search goes through the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Which entries of an organisation's log.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    /// Only entries that fulfil this.
    pub filter: &'a Filter,
    /// Only entries with this id or a higher one. Months before it are not asked.
    pub from: Ulid,
    /// Only entries with an id below this one.
    pub below: Ulid,
    /// Only entries that come behind this id, in the order asked for.
    pub after: Option<Ulid>,
    /// Which way.
    pub order: Order,
    /// At most this many.
    pub limit: usize,
    /// Look at no more rows than about this many.
    pub max_scanned: usize,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// At most as many as were asked for, in the order asked for, each with its exact bytes.
    pub rows: Vec<LogRow>,
    /// If there may be more: go on behind this id.
    pub next: Option<Ulid>,
    /// Whether everything was found: there is no `next`.
    pub complete: bool,
    /// How many rows were looked at.
    pub scanned: usize,
}

impl Tables {
    /// Searches the log of the caller's organisation. The most selective condition picks the index; the others are held
    /// against its rows, as many as `max_scanned` and the deadline allow.
    ///
    /// Shown is what the index has when it is read; an index follows the table by a moment.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn search<R: LogRight>(
        &self,
        allowed: &Authorised<R, Log>,
        scan: &Scan<'_>,
        deadline: Deadline,
    ) -> Result<Found, StoreError> {
        let Some((first, last)) = scan.ids() else { return Ok(Found { complete: true, ..Found::default() }) };
        let org = allowed.principal().org();
        let plan = Plan::of(org, scan.filter);
        let mut search = Search { scan, sifts: plan.sifts, found: Found::default(), deadline };
        // Nothing is behind this id yet.
        let mut position = match scan.order {
            Order::Ascending => Ulid(first.0.saturating_sub(1)),
            Order::Descending => Ulid(last.0.saturating_add(1)),
        };
        for (partitions, end) in plan.steps(first, last, scan.order) {
            let mut merge = Merge::new(self, org, partitions, (first, last), scan.order, deadline);
            if search.take(&mut merge, &mut position).await? {
                return Ok(search.cut(position));
            }
            position = end.unwrap_or(position);
        }
        Ok(Found { complete: true, ..search.found })
    }
}

impl Scan<'_> {
    /// The lowest and the highest id that can be found. None if there is none.
    fn ids(&self) -> Option<(Ulid, Ulid)> {
        let (from, to) = self.filter.ids();
        let (mut first, mut end) = (self.from.max(from), self.below.min(to));
        match (self.after, self.order) {
            (None, _) => {}
            (Some(after), Order::Ascending) => first = first.max(after.increment().ok()?),
            (Some(after), Order::Descending) => end = end.min(after),
        }
        (first < end).then(|| (first, Ulid(end.0 - 1)))
    }
}

struct Search<'a> {
    scan: &'a Scan<'a>,
    sifts: bool,
    found: Found,
    deadline: Deadline,
}

impl Search<'_> {
    /// Goes on through the rows of one step. Whether it stopped before their end.
    async fn take(&mut self, merge: &mut Merge<'_>, position: &mut Ulid) -> Result<bool, StoreError> {
        // One more than asked for tells whether there is one more. What was read is looked at in any case.
        while self.found.rows.len() <= self.scan.limit && !(merge.must_read() && self.is_over()) {
            let Some(item) = merge.next(self.wanted()).await? else { return Ok(false) };
            self.found.scanned += 1;
            *position = item.id;
            self.found.rows.extend(item.row.filter(|row| self.scan.filter.matches(row)));
        }
        Ok(true)
    }

    /// How many rows it will probably take.
    fn wanted(&self) -> usize {
        let (found, scanned) = (self.found.rows.len(), self.found.scanned);
        let missing = (self.scan.limit + 1).saturating_sub(found);
        let wanted = match found {
            _ if !self.sifts => missing,
            0 => missing.max(2 * scanned).clamp(FIRST_STEP, MAX_STEP),
            _ => (missing * scanned).div_ceil(found).clamp(MIN_STEP, MAX_STEP),
        };
        wanted.min(self.scan.max_scanned.saturating_sub(scanned)).max(1)
    }

    /// No time, or looked far enough.
    fn is_over(&self) -> bool {
        self.found.scanned >= self.scan.max_scanned || self.deadline.before_settling().left().is_zero()
    }

    /// What was found when it stopped behind `position`.
    fn cut(mut self, position: Ulid) -> Found {
        let more = self.found.rows.len() > self.scan.limit;
        self.found.rows.truncate(self.scan.limit);
        // Whoever wants to look further goes on where this search stopped looking.
        let last = self.found.rows.last().filter(|_| more).map(|row| row.id);
        self.found.next = last.or(Some(position));
        self.found
    }
}

/// Where the entries stand that can fulfil a filter.
struct Plan<'a> {
    org: &'a OrgId,
    place: Place,
    /// Whether not all of them do.
    sifts: bool,
}

enum Place {
    /// One partition for all time.
    One(Index, String),
    /// These actions and outcomes, month by month.
    Actions(Vec<(Action, bool)>),
    /// The organisation's months.
    Months,
}

impl<'a> Plan<'a> {
    fn of(org: &'a OrgId, filter: &Filter) -> Self {
        const OBJECT: [Field; 2] = [Field::RelatedObjectType, Field::RelatedObjectId];
        let wanted = |field| filter.wanted(field);
        let (place, fields): (_, &[Field]) = if let Some(path) = wanted(Field::FilePath) {
            (Place::One(Index::File, path.to_owned()), &[Field::FilePath])
        } else if let [Some(kind), Some(id)] = OBJECT.map(wanted) {
            (Place::One(Index::Object, Index::object_value(kind, id)), &OBJECT)
        } else if let Some(user) = wanted(Field::UserId) {
            (Place::One(Index::User, user.to_owned()), &[Field::UserId])
        } else if let Some(actions) = filter.actions() {
            (Place::Actions(actions), &[Field::ActionType, Field::Success])
        } else {
            (Place::Months, &[])
        };
        Self { org, place, sifts: !filter.is_only(fields) }
    }

    /// The partitions that are read together, one group after the other, each with the id behind which nothing of it is
    /// left.
    fn steps(&self, first: Ulid, last: Ulid, order: Order) -> Vec<(Vec<Partition>, Option<Ulid>)> {
        if let Place::One(index, value) = &self.place {
            return vec![(vec![Partition::of(*index, self.org, value)], None)];
        }
        let step = |month: Month| {
            let end = if order == Order::Ascending { month.last } else { month.first };
            (self.partitions(&month.name), Some(end))
        };
        months(first, last, order).into_iter().map(step).collect()
    }

    fn partitions(&self, month: &str) -> Vec<Partition> {
        match &self.place {
            Place::One(index, value) => vec![Partition::of(*index, self.org, value)],
            Place::Months => vec![Partition::month(self.org, month)],
            Place::Actions(actions) => {
                let values =
                    actions.iter().map(|(action, success)| Index::action_value(*action, *success, month));
                values.map(|value| Partition::of(Index::Action, self.org, &value)).collect()
            }
        }
    }
}
