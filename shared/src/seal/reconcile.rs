//! What the sealer was not told of: rows that have no leaf. The back-fill of a log that is older than its sealer is the same.

use audit_format::Value;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use ulid::Ulid;

use super::{NewLeaf, SealError, Sealer, plan};
use crate::audit::{Leaf, Notice, NoticeKind, month_of};
use crate::ids::OrgId;
use crate::tables::{Head, Noted};

/// How old rows are that must have their leaf: the stream tells of younger ones.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// The first time that an entry of this service can have: 2026-01-01, in seconds since 1970.
const FIRST: i64 = 1_767_225_600;

impl Sealer<'_> {
    /// Seals what has no leaf and is older than five minutes, behind a notice that says so. Answers the time, ms, before
    /// which every row has its leaf.
    pub(super) async fn reconcile(&self, org: &OrgId, head: &Head) -> Result<i64, SealError> {
        let to = self.now.as_millisecond() - i64::try_from(SETTLED.as_millis()).unwrap_or_default();
        let mut from = head.complete_to.unwrap_or(FIRST * 1_000);
        for month in months(from, to) {
            let bounds = (bound(from, 0), bound(to - 1, u128::MAX));
            let mut after = None;
            while from < to {
                let bounds = (bounds.0.as_str(), bounds.1.as_str());
                let page = self.tables.written(org, &month, bounds, after, self.deadline).await?;
                self.back_fill(org, from, &page.rows).await?;
                let Some(next) = page.next else { break };
                if let Some(at) = time_of(&next).filter(|at| *at > from && *at < to) {
                    self.tables.note(org, Noted::CompleteTo, at, self.deadline).await?;
                    from = at;
                }
                after = Some(next);
            }
        }
        let complete_to = from.max(to);
        self.tables.note(org, Noted::CompleteTo, complete_to, self.deadline).await?;
        Ok(complete_to)
    }

    /// Seals those rows that have no leaf.
    async fn back_fill(
        &self,
        org: &OrgId,
        from: i64,
        rows: &[audit_format::Attributes],
    ) -> Result<(), SealError> {
        let of_rows: Vec<(&str, NewLeaf)> =
            rows.iter().map(|row| (sort_key(row), plan::of_row(row, self.now))).collect();
        let identities = of_rows.iter().flat_map(|(id, leaf)| [*id, leaf.identity.as_str()]);
        let known = self.tables.leaf_hashes(org, identities, self.deadline).await?;
        let has_leaf = |id: &str| known.contains_key(id);
        // A row that changed after it was sealed is the notice's that says so.
        let missing = of_rows.into_iter().filter(|(id, leaf)| !has_leaf(id) && !has_leaf(&leaf.identity));
        let missing: Vec<NewLeaf> = missing.map(|(_, leaf)| leaf).collect();
        let times = missing.iter().filter_map(|leaf| match &leaf.leaf {
            Leaf::Entry(entry) => Some(entry.at.as_millisecond()),
            Leaf::Notice(_) => None,
        });
        let times: Vec<i64> = times.collect();
        let late = times.iter().min().zip(times.iter().max()).map(|(first, last)| {
            let notice = Notice {
                count: Some(times.len() as u64),
                from: Some(*first),
                to: Some(*last),
                ..Notice::new(NoticeKind::Late, org.as_str(), self.now.as_millisecond())
            };
            NewLeaf::notice(format!("LATE#{from}#{first}"), notice)
        });
        let leaves: Vec<NewLeaf> = late.into_iter().chain(missing).collect();
        if !leaves.is_empty() {
            self.sequence(org, &leaves).await?;
        }
        Ok(())
    }
}

/// The months from one time to another, in ms.
fn months(from: i64, to: i64) -> Vec<String> {
    let at = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
    let first = at(from).to_zoned(TimeZone::UTC).date().first_of_month();
    let months = std::iter::successors(Some(first), |month| month.checked_add(1.month()).ok());
    let last = month_of(at(to));
    let months = months.map(|month| format!("{:04}-{:02}", month.year(), month.month()));
    months.take_while(|month| *month <= last).collect()
}

fn bound(ms: i64, random: u128) -> String {
    Ulid::from_parts(u64::try_from(ms).unwrap_or_default(), random).to_string()
}

fn sort_key(row: &audit_format::Attributes) -> &str {
    match row.get("sk") {
        Some(Value::S(sk)) => sk,
        _ => "",
    }
}

/// The time in an id, ms.
fn time_of(id: &str) -> Option<i64> {
    i64::try_from(Ulid::from_string(id).ok()?.timestamp_ms()).ok()
}
