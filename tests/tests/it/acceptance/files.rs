//! The life of a file, and its trail in the log.

use data_encoding::HEXLOWER;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::service::{Service, all};
use crate::world::Answer;

const JPEG: &[u8] = include_bytes!("../../../fixtures/files/pillow.jpg");
const PDF: &[u8] = include_bytes!("../../../fixtures/files/reportlab.pdf");
const ZIP: &[u8] = include_bytes!("../../../fixtures/files/info-zip.zip");

pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn a_receipt_is_stored_opened_shown_hidden_and_removed() {
    let service = Service::start().await;
    let admin = service.a("admin");
    let form = service.form("receipt-456", "Café 1.jpg", "image/jpeg", JPEG);
    let stored = admin.upload("receipt-upload", form).await.ok();
    let path = stored.path();
    let name = path.strip_prefix(&format!("{}/accounting/receipt/receipt-456/", service.org)).unwrap();
    let (time, name) = name.split_at("20260126_153045_".len());
    assert!(time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'), "{path}");
    assert_eq!(name, "Cafe_1.jpg");
    let metadata = &stored.body["metadata"];
    assert_eq!(stored.body["success"], true);
    assert_eq!(
        (&metadata["size"], &metadata["mime_type"], &metadata["original_filename"], &metadata["sha256"]),
        (&json!(JPEG.len()), &json!("image/jpeg"), &json!("Café 1.jpg"), &json!(sha256(JPEG)))
    );

    let mut url = Value::Null;
    for (purpose, disposition) in [("view", "inline"), ("download", "attachment")] {
        let asked = json!({ "file_path": path, "expires_in": 300, "purpose": purpose });
        let signed = admin.post("signed-url", &asked).await.ok();
        let opened = service.opened(&signed.body["url"]).await;
        assert_eq!((opened.status.as_u16(), opened.bytes.as_slice()), (200, JPEG));
        assert_eq!(header(&opened, "content-type"), "image/jpeg");
        assert!(header(&opened, "content-disposition").starts_with(disposition), "{:?}", opened.headers);
        url = signed.body["url"].clone();
    }

    let shown = admin.get(&format!("metadata/{path}")).await.ok();
    for (member, value) in [
        ("file_path", json!(path)),
        ("size", json!(JPEG.len())),
        ("mime_type", json!("image/jpeg")),
        ("uploaded_at", metadata["uploaded_at"].clone()),
        ("original_filename", json!("Café 1.jpg")),
        ("system", json!("accounting")),
        ("object_type", json!("receipt")),
        ("object_id", json!("receipt-456")),
        ("deleted", json!(false)),
        ("uploaded_by", json!(1)),
    ] {
        assert_eq!(shown.body[member], value, "{member}");
    }

    admin.delete("delete", &json!({ "file_path": path })).await.ok();
    let refused =
        admin.post("signed-url", &json!({ "file_path": path })).await.refused(404, "file_not_found");
    let shown = admin.get(&format!("metadata/{path}?include_deleted=true")).await.ok();
    assert_eq!(shown.body["deleted"], true);
    let query =
        format!("delete?file_path={path}&hard_delete=true&related_object_type=claim&related_object_id=7");
    service.send(admin.request(Method::DELETE, &query)).await.ok();
    admin
        .delete("delete", &json!({ "file_path": path, "hard_delete": true }))
        .await
        .refused(404, "file_not_found");
    assert_eq!(service.opened(&url).await.status, 404, "nobody has it any more");

    let entries = admin.entries(&format!("file_path={path}"), 10).await;
    let told = [
        ("UPLOAD", "true"),
        ("VIEW", "true"),
        ("DOWNLOAD", "true"),
        ("METADATA_READ", "true"),
        ("DELETE", "true"),
        ("SIGNED_URL_GENERATED", "false"),
        ("METADATA_READ", "true"),
        ("DELETE", "true"),
        ("PURGE", "true"),
        ("DELETE", "false"),
    ];
    let (actions, outcomes) = (all(&entries, "action_type"), all(&entries, "success"));
    assert_eq!(
        actions.iter().zip(&outcomes).map(|(a, s)| (a.as_str(), s.as_str())).collect::<Vec<_>>(),
        told
    );
    assert_eq!(entries[5]["request_id"], refused.body["request_id"]);
    assert_eq!(entries[5]["error_message"], "file_not_found: File not found");
    assert_eq!(entries[0]["metadata"]["sha256"], json!(sha256(JPEG)));
    assert_eq!(
        (&entries[7]["related_object_type"], &entries[7]["related_object_id"]),
        (&json!("claim"), &json!("7"))
    );
    assert_eq!(
        (&entries[7]["request_id"], &entries[7]["metadata"]["hard_delete"]),
        (&entries[8]["request_id"], &json!(true))
    );
    let mut ids = all(&entries, "id");
    ids.dedup();
    assert!(ids.is_sorted() && ids.len() == entries.len(), "{ids:?}");
    for entry in &entries {
        assert_eq!(
            (&entry["user_id"], &entry["role"], &entry["file_path"]),
            (&json!(1), &json!("admin"), &json!(path))
        );
        assert!(!entry["request_id"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn every_upload_function_stores_what_it_is_for() {
    let service = Service::start().await;
    let place = |form: reqwest::multipart::Form, system: &'static str, object_type: &'static str| {
        form.text("system", system).text("object_type", object_type)
    };
    let pdf = service.form("epcr-456", "report.pdf", "application/pdf", PDF);
    let jpeg = service.form("msg-1", "a.jpg", "image/jpeg", JPEG);
    let receipt = service.form("receipt-1", "a.jpg", "image/jpeg", JPEG);
    let zip = service.form("app-101", "app.zip", "application/zip", ZIP);
    for (role, function, form, system, object_type, bytes) in [
        ("clinician", "upload", place(pdf, "epcr", "document"), "epcr", "document", PDF),
        (
            "member",
            "upload",
            place(jpeg, "communications", "email-attachment"),
            "communications",
            "email-attachment",
            JPEG,
        ),
        ("accountant", "receipt-upload", receipt, "accounting", "receipt", JPEG),
        ("developer", "app-zip-upload", zip, "app-builder", "source", ZIP),
    ] {
        let caller = service.a(role);
        let form = form.text("related_object_type", "invoice").text("related_object_id", "inv-789");
        let path = caller.upload(function, form).await.ok().path();
        assert!(path.starts_with(&format!("{}/{system}/{object_type}/", service.org)), "{path}");
        let signed = caller.post("signed-url", &json!({ "file_path": path })).await.ok();
        assert_eq!(service.opened(&signed.body["url"]).await.bytes, bytes);
        let entries = service.a("auditor").entries(&format!("file_path={path}"), 2).await;
        assert_eq!(all(&entries, "action_type"), ["UPLOAD", "SIGNED_URL_GENERATED"]);
        assert_eq!(all(&entries, "role"), [role, role]);
        assert_eq!(
            (&entries[0]["related_object_type"], &entries[0]["related_object_id"]),
            (&json!("invoice"), &json!("inv-789"))
        );
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_under_its_key_does_nothing_twice() {
    let service = Service::start().await;
    let accountant = service.a("accountant");
    let upload = async |bytes: &[u8]| {
        let form = service.form("receipt-456", "a.jpg", "image/jpeg", bytes);
        let request =
            accountant.request(Method::POST, "receipt-upload").header("idempotency-key", "upload-1");
        service.send(request.multipart(form)).await
    };
    let (first, again) = (upload(JPEG).await.ok(), upload(JPEG).await.ok());
    assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
    assert_eq!(first.body, again.body);
    upload(crate::world::JPEG).await.refused(422, "idempotency_key_reused");

    let path = first.path();
    let delete = async || {
        let request = accountant.request(Method::DELETE, "delete").header("idempotency-key", "delete-1");
        service.send(request.json(&json!({ "file_path": path }))).await.ok()
    };
    let (first, again) = (delete().await, delete().await);
    assert_eq!((first.is_replayed(), again.is_replayed(), &first.body), (false, true, &again.body));
    let entries = service.a("admin").entries(&format!("file_path={path}"), 2).await;
    assert_eq!(all(&entries, "action_type"), ["UPLOAD", "DELETE"]);
}

#[tokio::test]
async fn a_name_is_kept_if_asked_for_and_never_used_twice() {
    let service = Service::start().await;
    let accountant = service.a("accountant");
    let upload = async || {
        let form = service.form("receipt-456", "a.jpg", "image/jpeg", JPEG).text("add_timestamp", "false");
        accountant.upload("receipt-upload", form).await
    };
    let path = upload().await.ok().path();
    assert_eq!(path, format!("{}/accounting/receipt/receipt-456/a.jpg", service.org));
    upload().await.refused(409, "path_exists");
    accountant.delete("delete", &json!({ "file_path": path })).await.ok();
    upload().await.refused(409, "path_exists");
}

#[tokio::test]
async fn slashes_in_a_path_may_be_raw_or_encoded() {
    let service = Service::start().await;
    let accountant = service.a("accountant");
    let path = accountant.a_receipt().await;
    let encoded: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Twice of each: at functions' own URLs, both forms of the path get every spelling.
    for spelled in
        [path.clone(), path.replace('/', "%2F"), path.replace('/', "%2f"), encoded, format!("/{path}")]
    {
        for _ in 0..2 {
            let shown = accountant.get(&format!("metadata/{spelled}")).await.ok();
            assert_eq!(shown.body["file_path"], json!(path), "{spelled}");
        }
    }
    let entries =
        service.a("admin").entries(&format!("file_path={path}&action_type=METADATA_READ"), 10).await;
    assert!(entries.iter().all(|entry| entry["success"] == "true"));
}
