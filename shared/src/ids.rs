//! Identifiers that come from outside: organisations, business objects, users.

pub use audit_format::UserId;
use thiserror::Error;

/// Longest `org_id` and `object_id` in bytes (DESIGN section 5, "Paths").
pub const MAX_ID_BYTES: usize = 128;

/// The identifier does not fit the grammar. The text may be shown to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "Invalid {field}: 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit, no \"..\""
)]
pub struct IdError {
    /// The field as the caller knows it.
    pub field: &'static str,
}

/// An organisation.
///
/// - 1 to 128 bytes of `[A-Za-z0-9._-]`, the first one alphanumeric;
/// - contains no `..`.
///
/// ```
/// # use shared::ids::OrgId;
/// assert!(OrgId::parse("org-123").is_ok());
/// assert!(OrgId::parse("org/123").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrgId(String);

impl OrgId {
    /// Takes an organisation's id as it is, or refuses it.
    ///
    /// # Errors
    /// [`IdError`] if it does not fit the grammar.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        id(text, "org_id").map(Self)
    }

    /// Whom belongs what belongs to no organisation. No caller can have this id: it does not fit the grammar.
    #[must_use]
    pub fn nobody() -> Self {
        Self("_".into())
    }

    /// The log of logs, which is kept as an organisation's is. No caller can have this id either.
    #[must_use]
    pub fn logs() -> Self {
        Self(audit_format::archive::LOGS.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A business object that files belong to, within an organisation. Same grammar as [`OrgId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId(String);

impl ObjectId {
    /// Takes an object's id as it is, or refuses it.
    ///
    /// # Errors
    /// [`IdError`] if it does not fit the grammar.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        id(text, "object_id").map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The largest integer that every JSON reader holds exactly: 2^53 − 1 (RFC 8259, section 6).
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

fn id(text: &str, field: &'static str) -> Result<String, IdError> {
    let bytes = text.as_bytes();
    let fits = (1..=MAX_ID_BYTES).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        && !text.contains("..");
    if fits { Ok(text.to_owned()) } else { Err(IdError { field }) }
}
