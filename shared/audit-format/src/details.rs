//! What more there is to say about an action.

use serde::{Deserialize, Serialize};

/// What more there is to say about an action; D1's `metadata`.
///
/// Stored under one-letter names, which sort as they stand here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Details {
    /// Size in bytes.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Whether a delete was a hard one.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub hard_delete: Option<bool>,
    /// Life of a signed URL in seconds.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u32>,
    /// Which entries a read or an export of the log is about, as a query: `action_type=DELETE&not_user_id=7`.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The format of an export of the log.
    #[serde(rename = "g", skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
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
