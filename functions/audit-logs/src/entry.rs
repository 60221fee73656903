//! An entry as the storage guide shows it ("Audit Log Fields").

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::audit::{LogRow, kept_until, metadata};
use shared::clock::whole_seconds;

/// An entry, with its position in the sealed log if it has one.
pub(crate) fn log(row: &LogRow, position: Option<u64>) -> Value {
    let body = &row.body;
    let timestamp = Timestamp::from_millisecond(body.timestamp_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut log = json!({
        "id": body.id,
        "user_id": body.user,
        "role": body.role,
        "timestamp": shown(timestamp),
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
        "kept_until": whole_seconds(kept_until(row.at)),
    });
    if let Some(position) = position {
        log["seq"] = json!(position);
    }
    if let Some(sub) = &body.sub {
        log["sub"] = json!(sub);
    }
    log
}

/// A time in milliseconds.
pub(crate) fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
