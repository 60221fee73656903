//! What can be said in the log: who did what to which file, from where, and how it ended.

use audit_format::{Action, Details};
use thiserror::Error;

use crate::idempotency::Fingerprint;
use crate::ids::{OrgId, UserId};
use crate::path::FilePath;

/// A user agent is cut at this many bytes (DESIGN section 6).
const MAX_DEVICE_BYTES: usize = 256;
/// Longest `related_object_type` and `related_object_id`: they stand in entries, whose size is paid for.
const MAX_RELATED_BYTES: usize = 128;
/// An error message is cut at this many bytes, so that one entry stays within one write unit in nearly every case.
const MAX_ERROR_BYTES: usize = 256;

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
