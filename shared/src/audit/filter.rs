//! Which entries of the log are asked for. Read from names and values, so that a search's query and an export's body mean
//! the same; and written again as a text that means the same for ever, relative times resolved.

mod field;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use audit_format::{Action, LogRow};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;
use ulid::Ulid;

pub use field::Field;

use super::{Hours, moment};

/// Values of one name, at most.
pub const MAX_VALUES: usize = 20;
/// Bytes of a whole filter as a text, at most: it travels in every cursor, and thus in a URL.
pub const MAX_FILTER_BYTES: usize = 2_048;
/// Bytes of it that an entry keeps: its size is paid for.
const MAX_ENTRY_BYTES: usize = 256;
/// At the end of a text that was cut.
const CUT: &str = "…";
/// A request's entries lie close together: nobody needs a longer range to find them, and no index has them.
const MAX_REQUEST_RANGE: SignedDuration = SignedDuration::from_hours(1);
/// What need not be escaped in a value, besides letters and digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Why a filter was refused. The text may be shown to a caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct FilterError {
    /// Stable.
    pub code: &'static str,
    detail: String,
}

impl FilterError {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Conditions that entries must all fulfil.
///
/// - of a field's wanted values an entry has one, of its unwanted ones none (an entry without the field has none);
/// - `from` belongs to the range and `to` does not; both are times of ids, in whole milliseconds;
/// - [`Filter::text`] read back is the same filter.
///
/// ```
/// # use shared::audit::Filter;
/// let now = "2026-01-26T15:30:45Z".parse().unwrap();
/// let filter = Filter::parse([("not_user_id", "7"), ("action_type", "DELETE"), ("from", "-1h")], now).unwrap();
/// assert_eq!(filter.text(), "action_type=DELETE&not_user_id=7&from=2026-01-26T14:30:45Z");
/// assert!(Filter::parse([("user", "7")], now).is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: BTreeMap<(Field, Sign), BTreeSet<String>>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    hours: Option<Hours>,
}

/// Whether values are wanted or unwanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Wanted,
    Unwanted,
}

impl Filter {
    /// Whether a parameter of this name belongs to a filter.
    #[must_use]
    pub fn knows(name: &str) -> bool {
        condition(name).is_some() || ["from", "to", "hours", "tz"].contains(&name)
    }

    /// Reads a filter. Times relative to `now` are resolved.
    ///
    /// # Errors
    /// [`FilterError`] with what is wrong first.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
        now: Timestamp,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        let mut once = BTreeMap::<&str, String>::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if let Some((field, sign)) = condition(name) {
                let values = filter.conditions.entry((field, sign)).or_default();
                if !(values.is_empty() || sign == Sign::Unwanted || field == Field::ActionType) {
                    return Err(twice(name));
                }
                values.insert(field.value(value)?);
                if values.len() > MAX_VALUES {
                    let detail = format!("Too many values of {name}: at most {MAX_VALUES}");
                    return Err(FilterError::new("invalid_query", detail));
                }
            } else if let Some(known) = ["from", "to", "hours", "tz"].into_iter().find(|known| *known == name)
            {
                if once.insert(known, value.to_owned()).is_some() {
                    return Err(twice(name));
                }
            } else {
                return Err(FilterError::new("invalid_query", format!("Unknown filter: {name}")));
            }
        }
        filter.from = once.get("from").map(|text| bound("invalid_from", text, now)).transpose()?;
        filter.to = once.get("to").map(|text| bound("invalid_to", text, now)).transpose()?;
        filter.hours = hours(once.get("hours"), once.get("tz"))?;
        filter.checked(now)
    }

    /// What is only wrong in company.
    fn checked(mut self, now: Timestamp) -> Result<Self, FilterError> {
        let wanted = |field| self.conditions.contains_key(&(field, Sign::Wanted));
        if wanted(Field::RelatedObjectId) && !wanted(Field::RelatedObjectType) {
            let detail = "Invalid related_object_id: it needs related_object_type";
            return Err(FilterError::new("invalid_related_object_id", detail));
        }
        if wanted(Field::RequestId) && !wanted(Field::FilePath) {
            let to = self.to.unwrap_or(now);
            if self.from.is_none_or(|from| to.duration_since(from) > MAX_REQUEST_RANGE) {
                let detail = "Invalid request_id: it needs file_path, or from and to at most an hour apart";
                return Err(FilterError::new("invalid_request_id", detail));
            }
            // Read again later, the filter must mean the same.
            self.to = Some(up(to));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(FilterError::new("invalid_range", "Invalid range: from is not before to"));
        }
        if self.text().len() > MAX_FILTER_BYTES {
            let detail = format!("The filter is too long: at most {MAX_FILTER_BYTES} bytes");
            return Err(FilterError::new("invalid_query", detail));
        }
        Ok(self)
    }

    /// Reads what [`Filter::text`] wrote.
    ///
    /// # Errors
    /// [`FilterError`] if it did not write that.
    pub fn from_text(text: &str) -> Result<Self, FilterError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name, percent_decode_str(value).decode_utf8_lossy())
        });
        // No time in it is relative.
        Self::parse(pairs, Timestamp::MAX)
    }

    /// The filter as a query, in one form: names in a fixed order, values sorted and percent-encoded, times in UTC.
    #[must_use]
    pub fn text(&self) -> String {
        self.write(&|_| true)
    }

    /// The same as the entry of a reading keeps it: without `file_path`, which the entry has itself, and cut behind the
    /// last condition that fits into 256 bytes, and then ends with `…`. None if there is nothing to keep.
    #[must_use]
    pub fn entry_text(&self) -> Option<String> {
        let mut text = self.write(&|condition| condition != (Field::FilePath, Sign::Wanted));
        if text.len() > MAX_ENTRY_BYTES {
            let fits = text[..=MAX_ENTRY_BYTES - CUT.len()].rfind('&').unwrap_or_default();
            text.truncate(fits);
            text.push_str(CUT);
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn write(&self, shown: &dyn Fn((Field, Sign)) -> bool) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            let and = if text.is_empty() { "" } else { "&" };
            // Writing to a string does not fail.
            let _ = write!(text, "{and}{name}={}", utf8_percent_encode(value, ESCAPED));
        };
        for ((field, sign), values) in self.conditions.iter().filter(|(condition, _)| shown(**condition)) {
            let not = if *sign == Sign::Unwanted { "not_" } else { "" };
            values.iter().for_each(|value| add(&format!("{not}{}", field.name()), value));
        }
        for (name, time) in [("from", self.from), ("to", self.to)] {
            time.iter().for_each(|time| add(name, &time.to_string()));
        }
        if let Some(hours) = &self.hours {
            add("hours", &hours.to_string());
            add("tz", hours.zone_name());
        }
        text
    }

    /// Whether an entry fulfils every condition.
    #[must_use]
    pub fn matches(&self, row: &LogRow) -> bool {
        self.conditions.iter().all(|((field, sign), values)| {
            let among = field.of(&row.body).is_some_and(|value| values.contains(value.as_ref()));
            among == (*sign == Sign::Wanted)
        }) && self.from.is_none_or(|from| from <= row.at)
            && self.to.is_none_or(|to| row.at < to)
            && self.hours.as_ref().is_none_or(|hours| hours.contain(row.at))
    }

    /// The lowest id of its time, and the first one behind it.
    #[must_use]
    pub fn ids(&self) -> (Ulid, Ulid) {
        let first =
            |at: Timestamp| Ulid::from_parts(u64::try_from(at.as_millisecond()).unwrap_or_default(), 0);
        (self.from.map_or(Ulid::nil(), first), self.to.map_or(Ulid::max(), first))
    }

    /// Whether it has no condition, but for its range.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.conditions.is_empty() && self.hours.is_none()
    }

    /// Whether every entry that has one of the wanted values of these fields fulfils it, within its range.
    #[must_use]
    pub fn is_only(&self, fields: &[Field]) -> bool {
        let only = |(field, sign): &(Field, Sign)| *sign == Sign::Wanted && fields.contains(field);
        self.conditions.keys().all(only) && self.hours.is_none()
    }

    /// The one wanted value of a field.
    #[must_use]
    pub fn wanted(&self, field: Field) -> Option<&str> {
        self.conditions.get(&(field, Sign::Wanted))?.first().map(String::as_str)
    }

    /// Whether entries of this action and outcome can fulfil it.
    #[must_use]
    pub fn allows(&self, action: Action, success: bool) -> bool {
        let outcome = if success { "true" } else { "false" };
        [(Field::ActionType, action.name()), (Field::Success, outcome)].into_iter().all(|(field, value)| {
            let has = |sign| self.conditions.get(&(field, sign)).map(|values| values.contains(value));
            has(Sign::Wanted).unwrap_or(true) && !has(Sign::Unwanted).unwrap_or(false)
        })
    }

    /// The actions and outcomes that can fulfil it, if it says anything of either that leaves out most.
    #[must_use]
    pub fn actions(&self) -> Option<Vec<(Action, bool)>> {
        let allows = |field, value: &str| {
            let has = |sign| self.conditions.get(&(field, sign)).map(|values| values.contains(value));
            has(Sign::Wanted).unwrap_or(true) && !has(Sign::Unwanted).unwrap_or(false)
        };
        let [success, failure] = ["true", "false"].map(|value| allows(Field::Success, value));
        // Failures of all actions are still few; successes are nearly everything.
        if self.wanted(Field::ActionType).is_none() && success {
            return None;
        }
        let actions = Action::ALL.iter().filter(|action| allows(Field::ActionType, action.name()));
        let outcomes = [(success, true), (failure, false)].into_iter().filter(|(allowed, _)| *allowed);
        let outcomes: Vec<_> = outcomes.map(|(_, outcome)| outcome).collect();
        Some(actions.flat_map(|action| outcomes.iter().map(|outcome| (*action, *outcome))).collect())
    }
}

fn condition(name: &str) -> Option<(Field, Sign)> {
    let (name, sign) = name.strip_prefix("not_").map_or((name, Sign::Wanted), |name| (name, Sign::Unwanted));
    Some((Field::ALL.iter().copied().find(|field| field.name() == name)?, sign))
}

fn twice(name: &str) -> FilterError {
    FilterError::new("invalid_query", format!("Query parameter given twice: {name}"))
}

/// Ids have whole milliseconds: the first one that is not before.
fn up(at: Timestamp) -> Timestamp {
    let ms =
        at.as_nanosecond().div_euclid(1_000_000) + i128::from(at.as_nanosecond().rem_euclid(1_000_000) > 0);
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at)
}

fn bound(code: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, FilterError> {
    let name = code.strip_prefix("invalid_").unwrap_or(code);
    let at = moment(text, now).filter(|at| *at >= Timestamp::UNIX_EPOCH).map(up);
    let detail = || format!("Invalid {name}: a time as in RFC 3339, or before now as -30m, -24h or -7d");
    at.ok_or_else(|| FilterError::new(code, detail()))
}

fn hours(hours: Option<&String>, zone: Option<&String>) -> Result<Option<Hours>, FilterError> {
    let zone = match (hours, zone) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(FilterError::new("invalid_tz", "Invalid tz: it needs hours")),
        (Some(_), zone) => Hours::zone(zone.map_or("UTC", String::as_str)),
    };
    let zone = zone.ok_or_else(|| {
        FilterError::new("invalid_tz", "Invalid tz: a name of the IANA database, such as Europe/Berlin")
    })?;
    let hours = hours.and_then(|hours| Hours::parse(hours, zone)).ok_or_else(|| {
        FilterError::new("invalid_hours", "Invalid hours: from and to, not the same, such as 18:00-07:00")
    })?;
    Ok(Some(hours))
}

#[cfg(test)]
mod tests;
