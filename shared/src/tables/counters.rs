//! The summary's counters: rows `HOUR#` and `MINUTE#` of `storage_audit_state`, which the sealer keeps.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use jiff::{Timestamp, civil, tz::TimeZone};

use super::positions::integer;
use super::records::{Row, text, within};
use super::{StoreError, Tables};
use crate::audit::Action;
use crate::auth::{Authorised, Log, ReadLog};
use crate::clock::Deadline;

/// What one counter's row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The entries of an hour.
    Hour,
    /// The entries of a minute, kept for two days.
    Minute,
}

/// The entries of an hour or a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// When it began.
    pub at: Timestamp,
    /// How many entries of an action that succeeded, or failed.
    pub counts: Vec<(Action, bool, u64)>,
}

impl Unit {
    /// How long it is.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Minute => 60,
        }
    }

    fn partition(self) -> &'static str {
        match self {
            Self::Hour => "HOUR#",
            Self::Minute => "MINUTE#",
        }
    }

    /// The sort key of the unit that a moment is in.
    fn key(self, at: Timestamp) -> String {
        let form = match self {
            Self::Hour => "%Y-%m-%dT%H",
            Self::Minute => "%Y-%m-%dT%H:%M",
        };
        at.to_zoned(TimeZone::UTC).strftime(form).to_string()
    }
}

impl Tables {
    /// Counts of the caller's organisation from `from` on and before `to`, in order; units without entries are left out.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn counters(
        &self,
        allowed: &Authorised<ReadLog, Log>,
        unit: Unit,
        from: Timestamp,
        to: Timestamp,
        deadline: Deadline,
    ) -> Result<Vec<Counted>, StoreError> {
        let partition = format!("{}{}", unit.partition(), allowed.principal().org().as_str());
        let (mut counted, mut start) = (Vec::new(), None);
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.names.audit_state)
                // BETWEEN holds both its ends: the last one is left out below.
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", text(&partition))
                .expression_attribute_values(":from", text(unit.key(from)))
                .expression_attribute_values(":to", text(unit.key(to)))
                .consistent_read(true)
                .set_exclusive_start_key(start.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = within(deadline, || query.clone().send()).await?;
            let rows = answer.items.unwrap_or_default();
            let malformed = || StoreError::Broken("a counter's row is malformed".into());
            for row in &rows {
                counted.push(read(row).ok_or_else(malformed)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                counted.retain(|unit| unit.at < to);
                return Ok(counted);
            }
        }
    }
}

fn read(row: &Row) -> Option<Counted> {
    let key = row.get("sk")?.as_s().ok()?;
    let padded = if key.len() == "YYYY-MM-DDTHH".len() { format!("{key}:00") } else { key.clone() };
    let at = civil::DateTime::strptime("%Y-%m-%dT%H:%M", padded).ok()?;
    let counts = Action::ALL.iter().flat_map(|action| [(*action, true), (*action, false)]);
    let counts = counts.filter_map(|(action, success)| {
        let failed = if success { "" } else { "FAIL." };
        Some((action, success, integer(row, &format!("{failed}{action}"))?))
    });
    Some(Counted { at: at.to_zoned(TimeZone::UTC).ok()?.timestamp(), counts: counts.collect() })
}
