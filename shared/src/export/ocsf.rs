#![doc = include_str!("../../docs/ocsf.md")]

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::audit::{Action, Body, LogRow, metadata};

/// The release of the schema.
const VERSION: &str = "1.7.0";
/// Category "Application Activity".
const CATEGORY: u32 = 6;
/// "Other": then the name says what.
const OTHER: u32 = 99;

/// A class of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// File Hosting Activity.
    FileHosting = 6006,
    /// API Activity.
    Api = 6003,
}

/// The class of an action, its activity, and the activity's name.
fn kind(action: Action) -> (Class, u32, &'static str) {
    use Class::{Api, FileHosting};
    match action {
        Action::Upload => (FileHosting, 1, "Upload"),
        Action::Download => (FileHosting, 2, "Download"),
        Action::Edit => (FileHosting, 3, "Update"),
        Action::Delete => (FileHosting, 4, "Delete"),
        Action::Restore => (FileHosting, 8, "Restore"),
        Action::View => (FileHosting, 9, "Preview"),
        Action::SignedUrlGenerated => (FileHosting, 12, "Share"),
        Action::MetadataRead
        | Action::Purge
        | Action::UploadAborted
        | Action::Verify
        | Action::Quarantine => (FileHosting, OTHER, action.name()),
        Action::AuditRead | Action::AuditExport => (Api, 2, "Read"),
    }
}

/// An entry as an event.
pub(super) fn event(row: &LogRow) -> Value {
    let body = &row.body;
    let (class, activity, activity_name) = kind(body.action);
    let class_uid = class as u32;
    let failed = body.error.is_some();
    let mut event = json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "actor": { "user": {
            "uid": body.user.to_string(),
            "groups": [{ "name": body.role }],
            "org": { "uid": body.org },
        } },
        "category_uid": CATEGORY,
        "class_uid": class_uid,
        "metadata": {
            "correlation_uid": body.request_id,
            "log_name": "storage_audit_logs",
            "product": { "name": "Storage Service" },
            "tenant_uid": body.org,
            "uid": body.id,
            "version": VERSION,
        },
        "severity_id": if failed && body.action == Action::Verify { 4 } else { 1 },
        "src_endpoint": if body.ip.is_empty() {
            json!({ "name": if body.device.is_empty() { "unknown" } else { &body.device } })
        } else {
            json!({ "ip": body.ip })
        },
        "status": if failed { "Failure" } else { "Success" },
        "status_id": if failed { 2 } else { 1 },
        "time": body.timestamp_ms,
        "type_uid": class_uid * 100 + activity,
        "unmapped": unmapped(row),
    });
    if let Some(sub) = &body.sub {
        event["actor"]["user"]["uid_alt"] = json!(sub);
    }
    if let Some(error) = &body.error {
        event["status_detail"] = json!(error);
    }
    if !body.ip.is_empty() && !body.device.is_empty() {
        event["http_request"] = json!({ "user_agent": body.device });
    }
    match class {
        Class::FileHosting => {
            event["file"] = file(body);
            if let Some(life) = body.details.expires_in {
                event["expiration_time"] = json!(body.timestamp_ms + i64::from(life) * 1_000);
            }
        }
        Class::Api => {
            event["api"] = json!({
                "operation": body.action.name(),
                "request": {
                    "uid": body.request_id,
                    "data": { "filter": body.details.filter, "format": body.details.format },
                },
            });
        }
    }
    event
}

fn file(body: &Body) -> Value {
    /// "Regular File".
    const REGULAR: u32 = 1;
    /// "SHA-256".
    const SHA256: u32 = 3;
    let path = body.file_path().or_else(|| body.details.key.clone());
    let name = path.as_deref().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    let mut file = json!({ "name": name.unwrap_or("unknown"), "type_id": REGULAR });
    let hashes = |value: &String| json!([{ "algorithm_id": SHA256, "value": value }]);
    let members = [
        ("path", path.as_ref().map(|path| json!(path))),
        ("size", body.details.file_size.map(|size| json!(size))),
        ("mime_type", body.details.mime_type.as_ref().map(|kind| json!(kind))),
        ("hashes", body.details.sha256.as_ref().map(hashes)),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            file[name] = value;
        }
    }
    file
}

/// What the schema has no place for.
fn unmapped(row: &LogRow) -> Value {
    let body = &row.body;
    let mut unmapped = json!({
        "action_type": body.action,
        "leaf_hash": HEXLOWER.encode(&row.hash),
        "sequence": body.sequence,
        "writer": body.writer,
    });
    let metadata = metadata(&body.details);
    if !metadata.is_empty() {
        unmapped["metadata"] = Value::Object(metadata);
    }
    let related = [("related_object_type", &body.related_type), ("related_object_id", &body.related_id)];
    for (name, value) in related {
        if let Some(value) = value {
            unmapped[name] = json!(value);
        }
    }
    unmapped
}

#[cfg(test)]
mod tests;
