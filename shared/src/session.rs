//! Upload sessions: a file on its way straight into the bucket, in the parts of one multipart upload.
//!
//! ```text
//!  create          complete                      verified
//! ────────▶ open ───────────▶ completing ─────────────────────▶ stored
//!            │ ▲                 │  │ refused
//!            │ └─────────────────┘  └──────────────────────────▶ failed
//!            │   parts are missing
//!            ├──────────────────────────────────────────────────▶ aborted   by the client
//!            └──────────────────────────────────────────────────▶ expired   after a day
//! ```
//!
//! The file's record is PENDING until the session ends, and leaves that state in the transaction that ends it; so a session
//! ends once. Knows neither the bucket nor the tables.

use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::audit::Related;
use crate::auth::Principal;
use crate::export::Export;
use crate::record::Record;

/// How long a session lives.
pub const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Most sessions that a user may have open: more than a page with a folder full of scans begins at once.
pub const MAX_OPEN_PER_USER: i64 = 50;
/// Most bytes that the open sessions of an organisation may become: 200 of the largest files, more than one user or two can take
/// from the others. What is reserved may be put, and what was put is paid for until the session ends.
pub const MAX_RESERVED_BYTES: i64 = 200 << 30;
/// How long its row is kept after that, for whoever asks what became of it.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Size of a part, unless a file would have more than [`MAX_PARTS`]: what the aws cli takes, large enough to be fast and
/// small enough to send again.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Most parts of a multipart upload. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: u64 = 10_000;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Parts may be put, and it may be aborted.
    Open,
    /// Somebody completes it.
    Completing,
    /// The file is stored.
    Stored,
    /// What was put is not what may be stored.
    Failed,
    /// The client gave it up.
    Aborted,
    /// Nobody completed it in time.
    Expired,
}

impl SessionState {
    /// The name in the table and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completing => "completing",
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
        }
    }
}

/// A session. Its id is the record's `upload_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Where it is.
    pub state: SessionState,
    /// While somebody completes it: until when nobody else may, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
    /// Who completes it: of several requests in one millisecond one holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completer: Option<String>,
    /// Entries of a ZIP that are known to agree with its directory: where a later `complete` goes on.
    #[serde(default)]
    pub checked: u64,
    /// The file's record, as it was reserved; once stored, with the hash that was found.
    pub record: Record,
    /// The export that it is, if the service itself brings the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// `related_object_type` of the entry to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_type: Option<String>,
    /// `related_object_id` of the entry to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_id: Option<String>,
    /// When the row may go, in seconds since 1970.
    pub ttl: i64,
}

impl Session {
    /// An open session for a reservation.
    #[must_use]
    pub fn open(record: Record, related: Related) -> Self {
        let ttl = Timestamp::from_millisecond(record.lease.unwrap_or_default())
            .and_then(|end| end.checked_add(KEPT))
            .map_or(0, Timestamp::as_second);
        let Related { object_type: related_type, object_id: related_id } = related;
        Self {
            state: SessionState::Open,
            lease: None,
            completer: None,
            checked: 0,
            record,
            export: None,
            related_type,
            related_id,
            ttl,
        }
    }

    /// The same, with the entry that records it as the bound of what it exports.
    #[must_use]
    pub(crate) fn bounded(mut self, entry: Ulid) -> Self {
        if let Some(export) = &mut self.export {
            export.bound = entry;
        }
        self
    }

    /// Whether it was opened by this caller.
    #[must_use]
    pub fn is_of(&self, caller: &Principal) -> bool {
        self.record.org_id == caller.org().as_str() && self.record.owner == caller.sub()
    }

    /// When it ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.record.lease.unwrap_or_default()).unwrap_or_default()
    }

    /// The state as it is at `now`: one that nobody ended may be over all the same.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> SessionState {
        match self.state {
            SessionState::Open | SessionState::Completing if self.expires_at() <= now => {
                SessionState::Expired
            }
            state => state,
        }
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> Parts {
        Parts::of(self.record.file_size)
    }

    /// The caller's business object, as it was when the session was created.
    #[must_use]
    pub fn related(&self) -> Related {
        Related { object_type: self.related_type.clone(), object_id: self.related_id.clone() }
    }
}

/// How a file is cut into parts: a function of its size alone.
///
/// - every part but the last has the same size, a whole number of MiB of at least 8;
/// - there are at least 1 and at most 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    file_bytes: u64,
    part_bytes: u64,
}

impl Parts {
    /// The parts of a file of at least one byte.
    #[must_use]
    pub fn of(file_bytes: u64) -> Self {
        const MIB: u64 = 1024 * 1024;
        let least = file_bytes.div_ceil(MAX_PARTS).next_multiple_of(MIB);
        Self { file_bytes, part_bytes: least.max(PART_BYTES) }
    }

    /// Size of every part but the last.
    #[must_use]
    pub fn part_bytes(self) -> u64 {
        self.part_bytes
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::try_from(self.file_bytes.div_ceil(self.part_bytes)).unwrap_or(u32::MAX).max(1)
    }

    /// Size of the part of this number; none if there is no such part.
    #[must_use]
    pub fn size(self, number: u32) -> Option<u64> {
        let number = NonZeroU32::new(number).filter(|number| number.get() <= self.count())?;
        let before = u64::from(number.get() - 1) * self.part_bytes;
        Some((self.file_bytes - before).min(self.part_bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_file_is_one_part() {
        let parts = Parts::of(1);
        assert_eq!((parts.count(), parts.size(1), parts.size(0), parts.size(2)), (1, Some(1), None, None));
    }

    proptest! {
        #[test]
        fn parts_cover_the_file_within_the_bounds_of_s3(file_bytes in 1u64..(5 << 40)) {
            let parts = Parts::of(file_bytes);
            let count = parts.count();
            prop_assert!((1..=10_000).contains(&count));
            prop_assert!(parts.part_bytes() >= 5 << 20 && parts.part_bytes() <= 5 << 30);
            prop_assert!((1..=count).all(|number| parts.size(number).is_some_and(|size| size > 0)));
            prop_assert!((1..count).all(|number| parts.size(number) == Some(parts.part_bytes())));
            let sum: u64 = (1..=count).filter_map(|number| parts.size(number)).sum();
            prop_assert_eq!(sum, file_bytes);
            prop_assert_eq!(parts.size(count + 1), None);
        }
    }
}
