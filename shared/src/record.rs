//! A file's record: one row per path, from the reservation on and for ever. A path is never used twice, so a row is
//! never removed.
//!
//! ```text
//!  reserve        commit         soft delete
//! ───────▶ PENDING ─────▶ ACTIVE ───────────▶ DELETED
//!             │              │ hard delete       │ hard delete
//!             │ undo         ▼                   │
//!             └─────────▶ PURGING ◀──────────────┘
//!                            │ the object is gone from the bucket
//!                            ▼
//!                         PURGED
//! ```
//!
//! An object that has no row, or whose row says that it is gone, becomes a DELETED one (quarantine): so it is in nobody's
//! way, and goes the way that every other goes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::export;
use crate::ids::UserId;

/// How long what nobody can explain is kept.
const QUARANTINE: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Where in its life a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Reserved: invisible to everybody, and not an effect.
    Pending,
    /// Stored.
    Active,
    /// Soft-deleted: the object is still there.
    Deleted,
    /// The object is being removed. Nothing is removed from the bucket in any other state: the fence.
    Purging,
    /// The object is gone.
    Purged,
}

impl State {
    /// The name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Deleted => "DELETED",
            Self::Purging => "PURGING",
            Self::Purged => "PURGED",
        }
    }
}

/// Whether a file's content was held against its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// Not yet: maintenance will.
    Pending,
    /// It is what it should be.
    Verified,
    /// It is not, or it is gone. No URL is signed for it.
    Failed,
}

impl Integrity {
    /// The name in the table and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// A row of `file_records`. Field names are the storage guide's, "File Records", except where noted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `file_path`, the table's key.
    #[serde(rename = "pk")]
    pub file_path: String,
    /// Where in its life the file is. The guide's `deleted` is derived from it.
    pub state: State,
    /// 0 for a reservation, 1 from the commit on.
    pub version: u32,
    /// The attempt that reserved the path: a ULID. Also the guide's `id`.
    pub upload_id: String,
    /// Until when the reservation holds, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
    /// The organisation it belongs to.
    pub org_id: String,
    /// System.
    pub system: String,
    /// Object type.
    pub object_type: String,
    /// Business object.
    pub object_id: String,
    /// The name as the client gave it, verbatim.
    pub original_filename: String,
    /// Size in bytes.
    pub file_size: u64,
    /// The catalog's canonical media type.
    pub mime_type: String,
    /// SHA-256 of the content, hexadecimal: as computed, or while [`Integrity::Pending`] as the client declared it, if it
    /// did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether the content was held against its SHA-256.
    pub integrity: Integrity,
    /// The bucket's id of the multipart upload that brings the bytes; none for a file that came through a function. Nobody
    /// outside hears of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart_id: Option<String>,
    /// The object's entity tag, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What entries show as `user_id` of the uploader.
    pub uploaded_by: UserId,
    /// The uploader's `sub`: what ownership compares.
    pub owner: String,
    /// Upload time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Time of the delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// Who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<UserId>,
    /// When maintenance found the object, of which nobody had told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_at: Option<Timestamp>,
    /// When maintenance removes it for good: an export of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Record {
    /// Whether a file lives or lived here, as opposed to a reservation that never became one.
    #[must_use]
    pub fn was_stored(&self) -> bool {
        self.version > 0
    }

    /// Whether this is a reservation that still holds at `now`.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.state == State::Pending && self.lease.is_some_and(|lease| lease > now.as_millisecond())
    }

    /// Whether the file is deleted, softly or hard.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self.state, State::Deleted | State::Purging | State::Purged)
    }

    /// When its time is over, if it has one.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.expires_at.or_else(|| self.quarantined_at.map(|at| at + QUARANTINE))
    }

    /// Whether it is an export of the log, whose size nobody knows when it is reserved.
    #[must_use]
    pub fn is_export(&self) -> bool {
        self.system == export::SYSTEM
    }

    /// Partition key of the index `by_context` while the file is live.
    #[must_use]
    pub fn context(&self) -> String {
        format!("{}#{}#{}", self.org_id, self.system, self.object_type)
    }

    /// Partition key of the index `by_context` once the file is deleted, so that lists of live files never read dead
    /// rows.
    #[must_use]
    pub fn deleted_context(&self) -> String {
        format!("DEL#{}", self.context())
    }

    /// Sort key of the index `by_context`: with it a partition has the bucket's own byte order.
    #[must_use]
    pub fn context_sort(&self) -> String {
        let name = self.file_path.rsplit('/').next().unwrap_or_default();
        format!("{}/{name}", self.object_id)
    }
}
