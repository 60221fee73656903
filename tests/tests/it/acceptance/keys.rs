//! An idempotency key at every endpoint that takes one: what is sent again is done once, and answered the same.

use reqwest::Method;
use serde_json::json;

use super::service::Service;

const PDF: &[u8] = include_bytes!("../../../fixtures/files/reportlab.pdf");
const ZIP: &[u8] = include_bytes!("../../../fixtures/files/info-zip.zip");

#[tokio::test]
async fn an_upload_that_is_sent_again_is_one_file() {
    let service = Service::start().await;
    let admin = service.a("admin");
    for (function, name, media_type, bytes) in
        [("upload", "a.pdf", "application/pdf", PDF), ("app-zip-upload", "a.zip", "application/zip", ZIP)]
    {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut form = service.form("object-1", name, media_type, bytes);
            if function == "upload" {
                form = form.text("system", "epcr").text("object_type", "document");
            }
            let request = admin.request(Method::POST, function).header("idempotency-key", "again");
            answers.push(service.send(request.multipart(form)).await.ok());
        }
        assert!(!answers[0].is_replayed() && answers[1].is_replayed(), "{function}");
        assert_eq!(answers[0].body, answers[1].body, "{function}");
    }
    admin.entries("action_type=UPLOAD", 2).await;
}

#[tokio::test]
async fn what_is_asked_again_gets_the_same_urls() {
    let service = Service::start().await;
    let accountant = service.a("accountant");
    let path = accountant.a_receipt().await;
    let link = json!({ "file_path": path, "expires_in": 300, "purpose": "view" });
    let upload = json!({
        "org_id": service.org, "system": "accounting", "object_type": "receipt", "object_id": "receipt-456",
        "filename": "b.pdf", "mime_type": "application/pdf", "size_bytes": PDF.len(),
    });
    for (function, body) in [("signed-url", link), ("uploads", upload)] {
        let ask = async || {
            let request = accountant.request(Method::POST, function).header("idempotency-key", "again");
            service.send(request.json(&body)).await.ok()
        };
        let (first, again) = (ask().await, ask().await);
        assert_eq!((first.is_replayed(), again.is_replayed()), (false, true), "{function}");
        assert_eq!(first.body, again.body, "{function}");
    }
    service.a("admin").entries("action_type=VIEW", 1).await;
}
