//! Every operation that leaves an entry in the log: how it is begun, what it says when all is well, and what it leaves.

use axum::http::Method;
use serde_json::json;

use crate::lane::{Lane, Sent, Stored};
use crate::proxy::Fault;
use crate::world::{Answer, JPEG};

const ZIP: &[u8] = include_bytes!("../../fixtures/files/python-zipfile.zip");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Upload,
    Receipt,
    Zip,
    Sign(Option<&'static str>),
    Metadata,
    SoftDelete,
    /// Of a record in this state.
    HardDelete(&'static str),
    AuditLogs,
    /// An upload session, opened.
    Open,
    /// URLs for a part of it.
    Parts,
    /// A session of so many parts, completed.
    Complete(usize),
    Abort,
    /// 403.
    Forbidden,
    /// 404.
    Missing,
    /// 409.
    Taken,
    /// 400, for what the file holds.
    WrongContent,
}

/// An operation, ready to be tried.
#[derive(Debug)]
pub struct Ready {
    pub operation: Operation,
    pub sent: Sent,
    /// The file that it is about, if there is one already.
    pub path: Option<String>,
}

impl Operation {
    pub const UPLOADS: &[Self] = &[Self::Upload, Self::Receipt, Self::Zip];
    pub const READS: &[Self] = &[
        Self::Sign(None),
        Self::Sign(Some("view")),
        Self::Sign(Some("download")),
        Self::Metadata,
        Self::AuditLogs,
    ];
    pub const DELETES: &[Self] = &[
        Self::SoftDelete,
        Self::HardDelete("ACTIVE"),
        Self::HardDelete("DELETED"),
        Self::HardDelete("PURGING"),
    ];
    pub const REFUSALS: &[Self] = &[Self::Forbidden, Self::Missing, Self::Taken, Self::WrongContent];

    pub const SESSIONS: &[Self] =
        &[Self::Open, Self::Parts, Self::Complete(1), Self::Complete(2), Self::Abort];

    /// Brings about what the operation needs.
    pub async fn prepare(self, lane: &Lane<'_>) -> Ready {
        let needs_file = matches!(
            self,
            Self::Sign(_) | Self::Metadata | Self::SoftDelete | Self::HardDelete(_) | Self::Taken
        );
        let object = lane.unused();
        let mut path = None;
        if needs_file {
            let uploaded = lane.call(&receipt(lane, &object, "receipt.jpg", JPEG, "false")).await.0.ok();
            path = Some(uploaded.path());
        }
        let file = path.clone().unwrap_or_else(|| format!("{}/accounting/receipt/1/none.jpg", lane.org));
        match self {
            Self::HardDelete("DELETED") => {
                lane.call(&delete(&file, false)).await.0.ok();
            }
            Self::HardDelete("PURGING") => {
                lane.s3.fail("DELETE", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
                assert_eq!(lane.call(&delete(&file, true)).await.0.status, 500);
                lane.heal().await;
            }
            Self::Parts | Self::Complete(_) | Self::Abort => {
                let parts = if let Self::Complete(parts) = self { parts } else { 1 };
                let opened = lane.call(&open(lane, &object, parts)).await.0.ok();
                if let Self::Complete(_) = self {
                    lane.world.put_all(&opened, &pdf(parts)).await;
                }
                lane.s3.take();
                lane.dynamodb.take();
                let id = opened.body["upload_id"].as_str().unwrap();
                let (method, path, body) = match self {
                    Self::Abort => (Method::DELETE, format!("uploads/{id}"), json!({})),
                    Self::Parts => {
                        (Method::POST, format!("uploads/{id}/parts"), json!({ "part_numbers": [1] }))
                    }
                    _ => (Method::POST, format!("uploads/{id}/complete"), json!({})),
                };
                let sent = Sent::json(method, &path, "member", &body);
                return Ready { operation: self, sent, path: Some(opened.path()) };
            }
            _ => {}
        }
        lane.s3.take();
        lane.dynamodb.take();
        Ready { operation: self, sent: self.sent(lane, &object, &file), path }
    }

    fn sent(self, lane: &Lane<'_>, object: &str, file: &str) -> Sent {
        let org = lane.org.as_str();
        match self {
            Self::Upload => {
                let fields = [
                    ("org_id", org),
                    ("system", "workspace"),
                    ("object_type", "sheet"),
                    ("object_id", object),
                ];
                Sent::form("upload", "member", &fields, "table.csv", b"a,b\r\n1,2\r\n")
            }
            Self::Receipt => receipt(lane, object, "photo.jpg", JPEG, "true"),
            Self::Zip => {
                let fields = [("org_id", org), ("object_id", object)];
                Sent::form("app-zip-upload", "developer", &fields, "app.zip", ZIP)
            }
            Self::Sign(purpose) => {
                let body = json!({ "file_path": file, "purpose": purpose });
                Sent::json(Method::POST, "signed-url", "accountant", &body)
            }
            Self::Metadata => Sent::get(&format!("metadata/{file}"), "accountant"),
            Self::SoftDelete => delete(file, false),
            Self::HardDelete(_) => delete(file, true),
            Self::Open | Self::Parts | Self::Complete(_) | Self::Abort => open(lane, object, 1),
            // About one file: without, every month there is would be a step of its own.
            Self::AuditLogs => Sent::get(&format!("audit-logs?file_path={file}"), "auditor"),
            Self::Forbidden => {
                let body = json!({ "file_path": file });
                Sent::json(Method::POST, "signed-url", "auditor", &body)
            }
            Self::Missing => {
                Sent::json(Method::POST, "signed-url", "accountant", &json!({ "file_path": file }))
            }
            Self::Taken => receipt(lane, object, "receipt.jpg", JPEG, "false"),
            Self::WrongContent => receipt(lane, object, "receipt.jpg", b"not a picture", "true"),
        }
    }

    /// Whether another operation takes the very same steps. The first failures that there are must do for it.
    pub fn is_variant(self) -> bool {
        let same_steps = [
            Self::Receipt,
            Self::Zip,
            Self::Sign(Some("view")),
            Self::Sign(Some("download")),
            Self::Metadata,
            Self::HardDelete("DELETED"),
            Self::HardDelete("PURGING"),
            Self::Forbidden,
        ];
        same_steps.contains(&self)
    }

    /// The answer when all is well.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::Missing => 404,
            Self::Taken => 409,
            Self::WrongContent => 400,
            _ => 200,
        }
    }

    /// The answer when it is asked for once more after it was done.
    pub fn status_again(self) -> u16 {
        match self {
            Self::SoftDelete | Self::HardDelete(_) => 404,
            Self::Abort => 409,
            other => other.status(),
        }
    }

    /// The entries when all is well, sorted.
    pub fn told(self) -> Vec<(String, bool)> {
        let told: &[(&str, bool)] = match self {
            Self::Upload | Self::Receipt | Self::Zip => &[("UPLOAD", true)],
            Self::Sign(None) => &[("SIGNED_URL_GENERATED", true)],
            Self::Sign(Some("view")) => &[("VIEW", true)],
            Self::Sign(Some(_)) => &[("DOWNLOAD", true)],
            Self::Metadata => &[("METADATA_READ", true)],
            Self::SoftDelete => &[("DELETE", true)],
            Self::HardDelete("PURGING") => &[("PURGE", true)],
            Self::HardDelete(_) => &[("DELETE", true), ("PURGE", true)],
            Self::AuditLogs => &[("AUDIT_READ", true)],
            Self::Open | Self::Parts => &[],
            Self::Complete(_) => &[("UPLOAD", true)],
            Self::Abort => &[("UPLOAD_ABORTED", true)],
            Self::Forbidden | Self::Missing => &[("SIGNED_URL_GENERATED", false)],
            Self::Taken | Self::WrongContent => &[("UPLOAD", false)],
        };
        told.iter().map(|(action, success)| ((*action).to_owned(), *success)).collect()
    }
}

impl Ready {
    /// Requests about the same file, session or name, which somebody else may send at the same time.
    pub fn competing(&self, lane: &Lane<'_>) -> Vec<Self> {
        let ready = |operation, sent| Self { operation, sent, path: self.path.clone() };
        if let Some(session) = self.sent.path.strip_prefix("uploads/") {
            let id = session.split('/').next().unwrap();
            let complete = Sent::json(Method::POST, &format!("uploads/{id}/complete"), "member", &json!({}));
            let abort = Sent::json(Method::DELETE, &format!("uploads/{id}"), "member", &json!({}));
            return vec![ready(Operation::Complete(1), complete), ready(Operation::Abort, abort)];
        }
        let Some(file) = &self.path else { return vec![ready(self.operation, self.sent.clone())] };
        let object = file.split('/').nth(3).unwrap();
        let sign = json!({ "file_path": file });
        vec![
            ready(Operation::Sign(None), Sent::json(Method::POST, "signed-url", "accountant", &sign)),
            ready(Operation::SoftDelete, delete(file, false)),
            ready(Operation::HardDelete("ACTIVE"), delete(file, true)),
            ready(Operation::Taken, receipt(lane, object, "receipt.jpg", JPEG, "false")),
        ]
    }

    /// Whether what `action` stands for has happened to what is stored; none for actions that change nothing there.
    pub fn happened(&self, action: &str, before: &Stored, after: &Stored) -> Option<bool> {
        let state = |stored: &Stored| {
            let row = self.path.as_ref().and_then(|path| stored.rows.get(path));
            row.map(|row| row.state.clone()).unwrap_or_default()
        };
        match action {
            "UPLOAD" => {
                let active =
                    |stored: &Stored| stored.rows.values().filter(|row| row.state == "ACTIVE").count();
                Some(active(after) > active(before))
            }
            "DELETE" => Some(state(before) != state(after)),
            "PURGE" => Some(state(after) == "PURGED"),
            _ => None,
        }
    }

    /// A success must show what was asked for, and nothing else may.
    #[track_caller]
    pub fn check_answer(&self, answer: &Answer, what: &str) {
        let shows =
            ["url", "file_path", "logs", "message"].iter().any(|name| answer.body.get(name).is_some());
        assert_eq!(shows, answer.status == 200, "{what}: {}", answer.body);
        let may_try_again = answer.status != 503 || answer.headers.contains_key("retry-after");
        assert!(may_try_again, "{what}: 503 without Retry-After");
    }
}

fn receipt(lane: &Lane<'_>, object: &str, name: &str, file: &[u8], add_timestamp: &str) -> Sent {
    let fields = [("org_id", lane.org.as_str()), ("object_id", object), ("add_timestamp", add_timestamp)];
    Sent::form("receipt-upload", "accountant", &fields, name, file)
}

/// A session for a PDF of so many parts.
fn open(lane: &Lane<'_>, object: &str, parts: usize) -> Sent {
    let body = json!({
        "org_id": lane.org, "system": "workspace", "object_type": "pdf", "object_id": object,
        "filename": "scan.pdf", "size_bytes": pdf(parts).len(), "mime_type": "application/pdf",
    });
    Sent::json(Method::POST, "uploads", "member", &body)
}

/// A PDF of so many parts, the last of which has as few bytes as it may.
fn pdf(parts: usize) -> Vec<u8> {
    const PART_BYTES: usize = 8 * 1024 * 1024;
    let mut file = b"%PDF-1.7\n".to_vec();
    file.resize(if parts == 1 { 2_000 } else { (parts - 1) * PART_BYTES + 1 }, b' ');
    file
}

fn delete(path: &str, hard: bool) -> Sent {
    let body = json!({ "file_path": path, "hard_delete": hard });
    Sent::json(Method::DELETE, "delete", "admin", &body)
}
