//! What is refused, how, and what the log says of it.

use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use super::service::{Service, all};
use crate::world::{Answer, JPEG};

/// Largest file that a function takes.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
const NOBODYS: &str = "01JZZZZZZZZZZZZZZZZZZZZZZZ";

/// The shape of every refusal (RFC 9457).
#[track_caller]
fn problem(answer: Answer, status: u16, code: &str) -> Answer {
    let answer = answer.refused(status, code);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!((&answer.body["success"], &answer.body["status"]), (&json!(false), &json!(status)));
    for member in ["type", "title", "detail", "request_id"] {
        assert!(!answer.body[member].as_str().unwrap().is_empty(), "{member}");
    }
    answer
}

/// Every function, with a method that it has and one that it has not.
const FUNCTIONS: [(&str, Method, Method, &str); 8] = [
    ("upload", Method::POST, Method::GET, "POST"),
    ("receipt-upload", Method::POST, Method::GET, "POST"),
    ("app-zip-upload", Method::POST, Method::GET, "POST"),
    ("uploads", Method::POST, Method::GET, "POST"),
    ("signed-url", Method::POST, Method::GET, "POST"),
    ("metadata/org-1/accounting/receipt/r-1/a.jpg", Method::GET, Method::POST, "GET"),
    ("delete", Method::DELETE, Method::GET, "DELETE"),
    ("audit-logs", Method::GET, Method::POST, "GET"),
];

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let service = Service::start().await;
    for (path, method, _, _) in FUNCTIONS {
        let request = || service.http.request(method.clone(), service.url(path));
        let answer = problem(service.send(request()).await, 401, "missing_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{path}");
        let answer = problem(service.send(request().bearer_auth("not.a.token")).await, 401, "invalid_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"", "{path}");
    }
}

#[tokio::test]
async fn another_method_is_told_which_there_are() {
    let service = Service::start().await;
    let admin = service.a("admin");
    let upload = format!("uploads/{NOBODYS}");
    let of_uploads = [(upload.as_str(), Method::POST, Method::POST, "GET, DELETE")];
    for (path, _, method, allowed) in FUNCTIONS.into_iter().chain(of_uploads) {
        let answer = service.send(admin.request(method, path)).await;
        assert_eq!(problem(answer, 405, "method_not_allowed").headers["allow"], allowed, "{path}");
    }
}

#[tokio::test]
async fn a_role_without_the_right_is_refused_and_the_log_says_so() {
    let service = Service::start().await;
    let path = service.a("accountant").a_receipt().await;
    let (member, auditor) = (service.a("member"), service.a("auditor"));
    let receipt = service.form("receipt-456", "a.jpg", "image/jpeg", JPEG);
    let zip = service.form("app-1", "a.zip", "application/zip", JPEG);
    let answers = [
        member.upload("receipt-upload", receipt).await,
        member.upload("app-zip-upload", zip).await,
        member.post("signed-url", &json!({ "file_path": path })).await,
        member.get(&format!("metadata/{path}")).await,
        member.delete("delete", &json!({ "file_path": path })).await,
        service.a("accountant").delete("delete", &json!({ "file_path": path, "hard_delete": true })).await,
        member.get("audit-logs").await,
        member.post("audit-logs/exports", &json!({ "format": "csv" })).await,
    ];
    let answers = answers.map(|answer| problem(answer, 403, "forbidden"));
    // A reading of the log that was refused is among them, which `entries` leaves out.
    let entries = auditor.entries("success=false", 7).await;
    let actions =
        ["UPLOAD", "UPLOAD", "SIGNED_URL_GENERATED", "METADATA_READ", "DELETE", "DELETE", "AUDIT_EXPORT"];
    assert_eq!(all(&entries, "action_type"), actions);
    let ids = answers.iter().filter(|answer| answer.body != answers[6].body);
    let ids: Vec<_> = ids.map(|answer| answer.body["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(all(&entries, "request_id"), ids);
    assert!(all(&entries, "error_message").iter().all(|message| message.contains(" may not ")));
}

#[tokio::test]
async fn another_organisations_file_is_as_absent_as_none() {
    let service = Service::start().await;
    let path = service.a("admin").a_receipt().await;
    let none = path.replace("receipt.jpg", "none.jpg");
    let other = format!("{}-other", service.org);
    let stranger = service.of(&other, 1, "admin");
    let own = service.a("admin");
    let mut bodies = Vec::new();
    for (caller, path) in [(&stranger, &path), (&stranger, &none), (&own, &none)] {
        for answer in [
            caller.post("signed-url", &json!({ "file_path": path })).await,
            caller.get(&format!("metadata/{path}")).await,
            caller.delete("delete", &json!({ "file_path": path })).await,
            caller.delete("delete", &json!({ "file_path": path, "hard_delete": true })).await,
        ] {
            let mut answer = problem(answer, 404, "file_not_found");
            answer.body["request_id"] = Value::Null;
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    // What was tried stands in the log of whoever tried it.
    assert_eq!(stranger.entries(&format!("file_path={path}"), 4).await.len(), 4);
    assert_eq!(all(&own.entries(&format!("file_path={path}"), 1).await, "action_type"), ["UPLOAD"]);

    let form = service.form("receipt-456", "a.jpg", "image/jpeg", JPEG);
    problem(stranger.upload("receipt-upload", form).await, 403, "foreign_organisation");
    let refused = stranger.entries("action_type=UPLOAD", 1).await;
    assert_eq!(refused[0]["metadata"]["org_id"], json!(service.org));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_and_changes_nothing() {
    let service = Service::start().await;
    let admin = service.a("admin");
    let path = admin.a_receipt().await;
    let upload = async |system: &'static str, object_type: &'static str, name: &str| {
        let form = service.form("o-1", name, "application/octet-stream", JPEG);
        admin.upload("upload", form.text("system", system).text("object_type", object_type)).await
    };
    let sign = async |body: Value| admin.post("signed-url", &body).await;
    let no_file = Form::new().text("org_id", service.org.clone()).text("object_id", "o-1");
    for (answer, code) in [
        (upload("invalid-system", "receipt", "a.jpg").await, "invalid_system"),
        (upload("accounting", "invalid-type", "a.jpg").await, "invalid_object_type"),
        (upload("accounting", "receipt", "a.exe").await, "invalid_file_type"),
        (upload("accounting", "receipt", "a.pdf").await, "file_type_mismatch"),
        (
            admin.upload("app-zip-upload", service.form("o-1", "a.zip", "application/zip", JPEG)).await,
            "invalid_zip",
        ),
        (admin.upload("receipt-upload", no_file).await, "missing_field"),
        (sign(json!({ "file_path": path, "expires_in": 59 })).await, "invalid_expires_in"),
        (sign(json!({ "file_path": path, "unknown": 1 })).await, "invalid_body"),
        (sign(json!({ "file_path": "org/../receipt" })).await, "invalid_path"),
        (sign(json!({})).await, "missing_field"),
        (admin.delete("delete", &json!({})).await, "missing_field"),
        (admin.get("metadata/one").await, "invalid_path"),
        (admin.get("uploads/one").await, "invalid_upload_id"),
        (admin.get("audit-logs?limit=501").await, "invalid_limit"),
        (admin.get("audit-logs?unknown=1").await, "invalid_query"),
        (admin.get("audit-logs?cursor=garbage").await, "invalid_cursor"),
        (admin.get("audit-logs/one").await, "invalid_entry_id"),
        (admin.post("audit-logs/exports", &json!({ "format": "pdf" })).await, "invalid_body"),
    ] {
        problem(answer, 400, code);
    }
    let answer = upload("invalid-system", "receipt", "a.jpg").await;
    assert_eq!(answer.body["detail"], "Invalid system: invalid-system");

    // The event of this one fits: the refusal is the function's.
    let large = service.form("o-1", "a.jpg", "image/jpeg", &vec![0xff; MAX_FILE_BYTES + 1]);
    let refused = problem(admin.upload("receipt-upload", large).await, 413, "too_large");
    assert_eq!(refused.body["max_bytes"], MAX_FILE_BYTES);

    // Only what was looked into is in the log.
    let entries = admin.entries("success=false", 3).await;
    assert_eq!(all(&entries, "action_type"), ["UPLOAD"; 3]);
    let messages = all(&entries, "error_message");
    let codes: Vec<_> = messages.iter().map(|message| message.split(':').next().unwrap()).collect();
    assert_eq!(codes, ["invalid_file_type", "file_type_mismatch", "invalid_zip"]);
}
