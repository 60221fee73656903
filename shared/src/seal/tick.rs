//! What a log needs although nothing is written: publication of what a crash left, the hour's HEARTBEAT and kept checkpoint,
//! the day's MANIFEST in the log of logs.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use futures_util::{StreamExt, stream};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{NewLeaf, SIDE_BY_SIDE, SealError, Sealer, given_up, plan};
use crate::audit::{Leaf, Notice, NoticeKind};
use crate::ids::OrgId;
use crate::metrics::{self, Metric};
use crate::tables::{Head, Noted};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Sealer<'_> {
    /// Does what is due for every log. Answers how many logs there are. Cheap if nothing is due: to be called every minute.
    ///
    /// # Errors
    /// [`SealError`], the first, after all logs had their turn; the next tick goes on.
    pub async fn tick(&self) -> Result<usize, SealError> {
        let heads = self.tables.heads(self.deadline).await?;
        let logs = heads.len();
        self.measure_age(&heads).await;
        let tended = heads.into_iter().map(|(org, head)| async move {
            match self.tend(&org, &head).await {
                Err(error) if error.is_lasting() => {
                    given_up(&org, &error);
                    Ok(())
                }
                tended => tended,
            }
        });
        let tended: Vec<_> = stream::iter(tended).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let daily = self.daily().await;
        tended.into_iter().chain([daily]).collect::<Result<(), _>>()?;
        Ok(logs)
    }

    /// How old the oldest leaf is that no checkpoint covers. Told also if there is none: that nothing is told is what shows that
    /// nobody seals any more.
    async fn measure_age(&self, heads: &[(OrgId, Head)]) {
        let mut times = Vec::new();
        for (org, head) in heads {
            if head.published < head.size {
                times.push(self.waiting_since(org, head));
            }
        }
        let times: Vec<i64> = stream::iter(times).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let age_ms = times.into_iter().min().map_or(0, |oldest| self.now.as_millisecond() - oldest);
        metrics::record(Metric::UnsealedAge, u64::try_from(age_ms / 1_000).unwrap_or_default());
    }

    /// The time of the first leaf that no checkpoint covers, ms since 1970.
    async fn waiting_since(&self, org: &OrgId, head: &Head) -> i64 {
        let leaves = self.tables.leaves(org, head.published, head.published + 1, self.deadline).await;
        match leaves.ok().flatten().and_then(|leaves| Leaf::of(leaves.first()?).ok()) {
            Some(Leaf::Entry(entry)) => entry.at.as_millisecond(),
            Some(Leaf::Notice(notice)) => notice.t,
            // It cannot be read now, or is gone.
            None => head.latest.unwrap_or_default(),
        }
    }

    async fn tend(&self, org: &OrgId, head: &Head) -> Result<(), SealError> {
        let hour = floor(self.now, HOUR);
        if head.heartbeat.is_none_or(|last| last < hour) {
            return self.heartbeat(org, head, hour).await;
        }
        if head.published < head.size {
            self.publish(org, head.size).await?;
        }
        Ok(())
    }

    /// Says that a log is alive, and keeps the checkpoint that covers it.
    async fn heartbeat(&self, org: &OrgId, head: &Head, hour: i64) -> Result<(), SealError> {
        // The log of logs has no rows.
        let complete_to = match *org == OrgId::logs() {
            true => None,
            false => Some(self.reconcile(org, head).await?),
        };
        let notice = Notice::new(NoticeKind::Heartbeat, org.as_str(), self.now.as_millisecond());
        let notice = Notice { complete_to, ..notice };
        let identity = format!("HEARTBEAT#{}", strftime(hour, "%Y-%m-%dT%H"));
        self.sequence(org, &[NewLeaf::notice(identity, notice)]).await?;
        if let Some(checkpoint) = self.checkpoint(org).await? {
            self.log.keep_checkpoint(org.as_str(), &checkpoint, self.now, self.deadline).await?;
            self.tables.note(org, Noted::Heartbeat, hour, self.deadline).await?;
        }
        Ok(())
    }

    /// Once a day: says in the log of logs what every log has come to, and looks for organisations that have no log.
    async fn daily(&self) -> Result<(), SealError> {
        let logs = OrgId::logs();
        let today = floor(self.now, DAY);
        let head = self.tables.head(&logs, self.deadline).await?;
        if head.and_then(|head| head.manifest).is_some_and(|last| last >= today) {
            return Ok(());
        }
        let heads = self.tables.heads(self.deadline).await?;
        let day = strftime(today, "%Y-%m-%d");
        let leaves = heads.iter().filter(|(org, _)| *org != logs);
        let leaves: Vec<NewLeaf> = leaves.filter_map(|(org, head)| self.manifest(&day, org, head)).collect();
        if !leaves.is_empty() {
            self.seal_log(&logs, &leaves).await?;
            self.tables.note(&logs, Noted::Manifest, today, self.deadline).await?;
        }
        self.adopt(&heads.into_iter().map(|(org, _)| org).collect()).await
    }

    fn manifest(&self, day: &str, org: &OrgId, head: &Head) -> Option<NewLeaf> {
        let notice = Notice {
            day: Some(day.to_owned()),
            root: Some(BASE64.encode(&head.root?)),
            size: Some(head.published),
            ..Notice::new(NoticeKind::Manifest, org.as_str(), self.now.as_millisecond())
        };
        Some(NewLeaf::notice(format!("MANIFEST#{day}#{}", org.as_str()), notice))
    }

    /// Begins the logs of organisations that have rows and no log: the stream has not told of a single one.
    async fn adopt(&self, known: &BTreeSet<OrgId>) -> Result<(), SealError> {
        let hour = floor(self.now, HOUR);
        let mut known = known.clone();
        let mut partition = None;
        while let Some(next) = self.tables.partition_behind(partition.as_deref(), self.deadline).await? {
            let org = plan::org_of_partition(&next);
            if !known.contains(&org) {
                self.heartbeat(&org, &Head::default(), hour).await?;
                known.insert(org);
            }
            partition = Some(next);
        }
        Ok(())
    }
}

/// The beginning of the hour or the day of a moment, in ms since 1970.
fn floor(at: Timestamp, unit: SignedDuration) -> i64 {
    let (ms, unit) = (at.as_millisecond(), i64::try_from(unit.as_millis()).unwrap_or(i64::MAX));
    ms - ms.rem_euclid(unit)
}

fn strftime(ms: i64, format: &str) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}
