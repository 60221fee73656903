//! The attributes of a log row that follow from its entry: partition, index keys, time to live. Each can be computed
//! again from the entry's bytes alone.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use sha2::{Digest, Sha256};

use crate::{Action, Body};

/// One of the log's four indexes. Each sorts by ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// By full path.
    File,
    /// By `user_id`, as its decimal or plain text.
    User,
    /// By action, outcome and month.
    Action,
    /// By the caller's business object; rows without one are not in it.
    Object,
}

impl Index {
    /// The index's name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "by_file",
            Self::User => "by_user",
            Self::Action => "by_action",
            Self::Object => "by_object",
        }
    }

    /// The attribute that holds the index's key. Short, since every byte of an item is paid for with every write.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::File => "gf",
            Self::User => "gu",
            Self::Action => "ga",
            Self::Object => "go",
        }
    }

    /// The key under which the rows of one value stand, within one organisation.
    ///
    /// A hash, because index keys surface in metrics and logs (contributor insights, for one) and values must not.
    #[must_use]
    pub fn key(self, org: &str, value: &str) -> [u8; 16] {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.name())
            .chain_update([0])
            .chain_update(org)
            .chain_update([0])
            .chain_update(value)
            .finalize()
            .into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        key
    }

    /// The value of the action index: a month of one action's successes, or of its failures.
    #[must_use]
    pub fn action_value(action: Action, success: bool, month: &str) -> String {
        let prefix = if success { "" } else { "FAIL." };
        format!("{prefix}{action}#{month}")
    }

    /// The value of the object index.
    #[must_use]
    pub fn object_value(object_type: &str, object_id: &str) -> String {
        format!("{object_type}\0{object_id}")
    }
}

/// The index keys of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexKeys {
    /// [`Index::File`]
    pub file: Option<[u8; 16]>,
    /// [`Index::User`]
    pub user: [u8; 16],
    /// [`Index::Action`]
    pub action: [u8; 16],
    /// [`Index::Object`]
    pub object: Option<[u8; 16]>,
}

impl IndexKeys {
    /// The keys that follow from an entry written in `month`.
    #[must_use]
    pub fn of(body: &Body, month: &str) -> Self {
        let org = &body.org;
        let action = Index::action_value(body.action, body.error.is_none(), month);
        let object = body.related_type.as_deref().zip(body.related_id.as_deref());
        Self {
            file: body.file_path().map(|path| Index::File.key(org, &path)),
            user: Index::User.key(org, &body.user.to_string()),
            action: Index::Action.key(org, &action),
            object: object.map(|(kind, id)| Index::Object.key(org, &Index::object_value(kind, id))),
        }
    }
}

/// The month of a moment in UTC, as `YYYY-MM`.
#[must_use]
pub fn month_of(at: Timestamp) -> String {
    let date = at.to_zoned(TimeZone::UTC).date();
    format!("{:04}-{:02}", date.year(), date.month())
}

/// The partition that holds an organisation's month.
#[must_use]
pub fn partition(org: &str, month: &str) -> String {
    format!("{org}#{month}")
}

/// When an entry may go: seven years (storage guide, "Compliance") and 30 days after it was written.
#[must_use]
pub fn kept_until(at: Timestamp) -> Timestamp {
    let zoned = at.to_zoned(TimeZone::UTC);
    zoned.checked_add(7.years().days(30)).map_or(Timestamp::MAX, |until| until.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_key_depends_on_index_organisation_and_value() {
        let key = Index::File.key("org-1", "x");
        assert_ne!(key, Index::User.key("org-1", "x"));
        assert_ne!(key, Index::File.key("org-10", "x"));
        assert_ne!(Index::File.key("a", "b\0c"), Index::File.key("a\0b", "x"));
    }

    #[test]
    fn an_entry_is_kept_for_seven_years_and_thirty_days() {
        let at: Timestamp = "2026-01-26T15:30:45Z".parse().unwrap();
        assert_eq!(kept_until(at).to_string(), "2033-02-25T15:30:45Z");
        assert_eq!(kept_until(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_month_is_that_of_utc() {
        assert_eq!(month_of("2026-12-31T23:59:59.999Z".parse().unwrap()), "2026-12");
    }
}
