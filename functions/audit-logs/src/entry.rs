//! An entry as the storage guide shows it ("Audit Log Fields").

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use shared::audit::{Body, Details};

pub(crate) fn log(body: &Body) -> Value {
    let timestamp = Timestamp::from_millisecond(body.timestamp_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut log = json!({
        "id": body.id,
        "user_id": body.user,
        "role": body.role,
        "timestamp": timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "ip_address": body.ip,
        "device_info": body.device,
        "action_type": body.action,
        "file_path": body.file_path(),
        "related_object_type": body.related_type,
        "related_object_id": body.related_id,
        "metadata": metadata(&body.details),
        // A text, as the guide shows it (DESIGN section 9, 2).
        "success": if body.error.is_none() { "true" } else { "false" },
        "error_message": body.error,
        "request_id": body.request_id,
    });
    if let Some(sub) = &body.sub {
        log["sub"] = json!(sub);
    }
    log
}

fn metadata(details: &Details) -> Value {
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
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
