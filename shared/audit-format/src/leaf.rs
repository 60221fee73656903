//! What a leaf of the Merkle log can be.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{LogRow, RowError};

/// A leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// An entry, byte for byte as it stands in the table.
    Entry(Box<LogRow>),
    /// Something that the sealer says about the log.
    Notice(Box<Notice>),
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LeafError {
    /// They are neither a notice nor an entry.
    #[error(transparent)]
    Row(#[from] RowError),
    /// They are a notice's JSON, but not in the one form that there is, or of no known kind.
    #[error("not a notice in canonical form")]
    Notice,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NoticeKind {
    /// A row was changed: `id`, `partition`; `was` is the digest of the row before, `row` of the row after.
    Modified,
    /// A row was removed before its time, or by somebody else than the time to live: `id`, `partition`; `was` is its digest.
    Removed,
    /// A row is not an entry's: `id`, `partition`, `row` its digest, `what` is wrong with it.
    Malformed,
    /// What was written between `from` and `to` and stands after this notice was not heard of in time: `count` entries
    /// that a comparison with the table found.
    Late,
    /// The log is alive: no leaf for an hour. Every row whose id is of a time before `complete_to` has its leaf.
    Heartbeat,
    /// In the log of logs: the log of `org` had `size` leaves and the root `root` on `day`.
    Manifest,
}

/// A notice: canonical JSON, as an entry is. The names sort as they stand here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// HEARTBEAT: ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_to: Option<i64>,
    /// LATE: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// MANIFEST: `YYYY-MM-DD`, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// LATE: time of the earliest entry, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The row's sort key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is about.
    #[serde(rename = "notice")]
    pub kind: NoticeKind,
    /// The organisation: whose log this is, or in a MANIFEST whose log it is about.
    pub org: String,
    /// The row's partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// MANIFEST: the root hash, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// [`digest`](crate::digest) of the row as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// MANIFEST: the tree's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the sealer said so, ms since 1970.
    pub t: i64,
    /// LATE: time of the latest entry, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// [`digest`](crate::digest) of the row as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// MALFORMED: the attribute that is wrong, or why the bytes are no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

impl Notice {
    /// A notice that says nothing yet but its kind, its organisation and its time.
    #[must_use]
    pub fn new(kind: NoticeKind, org: &str, t: i64) -> Self {
        Self {
            complete_to: None,
            count: None,
            day: None,
            from: None,
            id: None,
            kind,
            org: org.to_owned(),
            partition: None,
            root: None,
            row: None,
            size: None,
            t,
            to: None,
            was: None,
            what: None,
        }
    }

    /// The canonical bytes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings and integers always serialize")]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a notice serializes")
    }
}

impl Leaf {
    /// Reads a leaf's bytes. An entry has no member `notice`, and a notice always has one.
    ///
    /// # Errors
    /// [`LeafError`]
    pub fn of(bytes: &[u8]) -> Result<Self, LeafError> {
        match LogRow::of(bytes) {
            Ok(row) => Ok(Self::Entry(Box::new(row))),
            Err(error) => {
                let notice: Option<Notice> = serde_json::from_slice(bytes).ok();
                let notice = notice.ok_or(LeafError::Row(error))?;
                if notice.to_bytes() == bytes {
                    Ok(Self::Notice(Box::new(notice)))
                } else {
                    Err(LeafError::Notice)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notices_members_are_sorted() {
        let text = || Some("x".to_owned());
        let notice = Notice {
            complete_to: Some(1),
            count: Some(2),
            day: text(),
            from: Some(3),
            id: text(),
            partition: text(),
            root: text(),
            row: text(),
            size: Some(4),
            to: Some(5),
            was: text(),
            what: text(),
            ..Notice::new(NoticeKind::Malformed, "org-1", 6)
        };
        let bytes = notice.to_bytes();
        // A map of serde_json is sorted.
        let sorted: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_vec(&sorted).unwrap(), bytes);
        assert_eq!(Leaf::of(&bytes), Ok(Leaf::Notice(Box::new(notice))));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bytes in
            [&b""[..], b"{}", b"{\"notice\":\"HEARTBEAT\"}", b"{\"notice\":\"NEWS\",\"org\":\"o\",\"t\":1}"]
        {
            assert!(Leaf::of(bytes).is_err());
        }
        assert_eq!(Leaf::of(b"{\"notice\":\"LATE\",\"org\":\"o\", \"t\":1}"), Err(LeafError::Notice));
    }
}
