//! What can be said in the log: who did what to which file, from where, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::idempotency::Fingerprint;
use crate::ids::{ObjectId, OrgId, UserId};
use crate::path::{FilePath, Place};

/// A user agent is cut at this many bytes (DESIGN section 6).
const MAX_DEVICE_BYTES: usize = 256;
/// Longest `related_object_type` and `related_object_id`: they stand in entries, whose size is paid for.
const MAX_RELATED_BYTES: usize = 128;
/// An error message is cut at this many bytes, so that one entry stays within one write unit in nearly every case.
const MAX_ERROR_BYTES: usize = 256;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What was done, or tried.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Action { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the log and in the filter of `audit-logs`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    /// A file was stored.
    Upload = "UPLOAD",
    /// A signed URL for looking at a file.
    View = "VIEW",
    /// A new version of a file.
    Edit = "EDIT",
    /// A file was deleted, softly or hard.
    Delete = "DELETE",
    /// A signed URL whose purpose the caller did not say.
    SignedUrlGenerated = "SIGNED_URL_GENERATED",
    /// A signed URL for taking a file away.
    Download = "DOWNLOAD",
    /// A record was shown.
    MetadataRead = "METADATA_READ",
    /// The bytes of a hard-deleted file are gone from the bucket.
    Purge = "PURGE",
    /// A reservation ended without a file and not by its own request's failure.
    UploadAborted = "UPLOAD_ABORTED",
    /// A soft-deleted file came back.
    Restore = "RESTORE",
    /// The log was read.
    AuditRead = "AUDIT_READ",
    /// The log was exported.
    AuditExport = "AUDIT_EXPORT",
    /// A stored file was held against what is recorded about it.
    Verify = "VERIFY",
    /// An object that nobody recorded got a record, under which it is kept for a while and then removed.
    Quarantine = "QUARANTINE",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who acts, and from where. The organisation is the token's; every entry goes to it.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The caller's organisation.
    pub org: OrgId,
    /// What entries show as `user_id`.
    pub user: UserId,
    /// The token's subject.
    pub sub: String,
    /// The role at the time of the action.
    pub role: String,
    /// The client's address, as the gateway saw it.
    pub ip: String,
    /// The client's user agent; see [`Actor::device`].
    pub device: String,
    /// Links everything of one request.
    pub request_id: String,
}

impl Actor {
    /// A user agent as entries keep it: at most 256 bytes.
    #[must_use]
    pub fn device(user_agent: &str) -> String {
        cut(user_agent, MAX_DEVICE_BYTES).to_owned()
    }
}

/// The business object that the caller says the action is about. The caller's words: logged, never trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Related {
    /// `related_object_type`
    pub object_type: Option<String>,
    /// `related_object_id`
    pub object_id: Option<String>,
}

/// A word about the business object does not fit into an entry. The text may be shown to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Invalid {field}: at most {MAX_RELATED_BYTES} bytes, no control characters")]
pub struct RelatedError {
    field: &'static str,
}

impl Related {
    /// Takes the caller's words, within what an entry has room for. Empty ones count as none.
    ///
    /// # Errors
    /// [`RelatedError`] if one is too long or holds control characters.
    pub fn parse(object_type: Option<String>, object_id: Option<String>) -> Result<Self, RelatedError> {
        let word = |field, value: Option<String>| match value.filter(|value| !value.is_empty()) {
            Some(value) if value.len() > MAX_RELATED_BYTES || value.chars().any(char::is_control) => {
                Err(RelatedError { field })
            }
            word => Ok(word),
        };
        Ok(Self {
            object_type: word("related_object_type", object_type)?,
            object_id: word("related_object_id", object_id)?,
        })
    }
}

impl Related {
    /// What makes it the same when it is said again.
    #[must_use]
    pub fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        of.field(self.object_type.as_deref()).field(self.object_id.as_deref())
    }
}

/// What more there is to say about an action; D1's `metadata`.
///
/// Stored under one-letter names, which sort as they stand here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Details {
    /// Filter of a read of the log: action.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub action_type: Option<Action>,
    /// Size in bytes.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Whether a delete was a hard one.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub hard_delete: Option<bool>,
    /// Life of a signed URL in seconds.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u32>,
    /// SHA-256 of the content, hexadecimal.
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether deleted records were asked for.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub include_deleted: Option<bool>,
    /// An object's key that is no file's path.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The stored media type.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Business object of a refused request that named no path.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// What a signed URL is for.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The other organisation that a refused request asked for.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// System of a refused request that named no path.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Object type of a refused request that named no path.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    pub object_type: Option<String>,
    /// Upload session of a refused request, whose path nobody knows.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// Why an upload was given up, or why the service did something by itself.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Details {
    /// Says which place a request was about that named no path.
    pub fn name_place(&mut self, place: &Place) {
        self.system = Some(place.object_type.system.to_owned());
        self.object_type = Some(place.object_type.name.to_owned());
        self.object_id = Some(ObjectId::as_str(&place.object_id).to_owned());
    }
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Success,
    /// It was refused or it failed; the text is the entry's `error_message`.
    Failure(String),
}

impl Outcome {
    /// A failure, its message cut to what an entry keeps.
    #[must_use]
    pub fn failure(message: &str) -> Self {
        Self::Failure(cut(message, MAX_ERROR_BYTES).to_owned())
    }
}

/// One thing to be recorded, before a writer has given it its place in the log.
#[derive(Debug, Clone)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The file, if a path was named or derived.
    pub path: Option<FilePath>,
    /// The caller's business object.
    pub related: Related,
    /// What more there is to say.
    pub details: Details,
    /// How it ended.
    pub outcome: Outcome,
}

/// The longest prefix of `text` that has at most `max` bytes and ends between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cut_between_characters() {
        let agent = "é".repeat(200);
        assert_eq!(Actor::device(&agent).len(), 256);
        assert_eq!(Actor::device("curl/8").as_str(), "curl/8");
    }
}
