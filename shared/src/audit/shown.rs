//! An entry's details as people read them: under D1's names instead of one letter each.

use audit_format::Details;
use serde_json::{Map, Value, json};

/// D1's `metadata`: what there is to say, under full names; empty if there is nothing.
#[must_use]
pub fn metadata(details: &Details) -> Map<String, Value> {
    let Details {
        file_size,
        hard_delete,
        expires_in,
        filter,
        format,
        sha256,
        include_deleted,
        key,
        mime_type,
        object_id,
        purpose,
        org_id,
        system,
        object_type,
        upload_id,
        reason,
    } = details;
    let members = [
        ("file_size", json!(file_size)),
        ("hard_delete", json!(hard_delete)),
        ("expires_in", json!(expires_in)),
        ("filter", json!(filter)),
        ("format", json!(format)),
        ("sha256", json!(sha256)),
        ("include_deleted", json!(include_deleted)),
        ("key", json!(key)),
        ("mime_type", json!(mime_type)),
        ("object_id", json!(object_id)),
        ("purpose", json!(purpose)),
        ("org_id", json!(org_id)),
        ("system", json!(system)),
        ("object_type", json!(object_type)),
        ("upload_id", json!(upload_id)),
        ("reason", json!(reason)),
    ];
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.to_owned(), value)).collect()
}
