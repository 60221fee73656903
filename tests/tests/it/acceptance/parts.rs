//! Files straight into the bucket, in parts.

use reqwest::Method;
use serde_json::{Value, json};

use super::files::sha256;
use super::service::{Caller, Service, all};
use crate::world::Answer;

const MIB: usize = 1024 * 1024;

/// A PDF of more than one part.
fn pdf() -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    file.extend((file.len()..9 * MIB).map(|n| (n / 1_000 % 251) as u8));
    file
}

async fn open(service: &Service, caller: &Caller<'_>, file: &[u8]) -> Answer {
    let announced = json!({
        "org_id": service.org, "system": "workspace", "object_type": "pdf", "object_id": "doc-456",
        "filename": "big.pdf", "size_bytes": file.len(), "mime_type": "application/pdf", "sha256": sha256(file),
    });
    caller.post("uploads", &announced).await.ok()
}

async fn put(service: &Service, part: &Value, bytes: &[u8]) -> u16 {
    let put = service.http.put(part["url"].as_str().unwrap()).body(bytes.to_vec());
    service.send(put).await.status.as_u16()
}

async fn post(service: &Service, caller: &Caller<'_>, path: &str) -> Answer {
    service.send(caller.request(Method::POST, path)).await
}

#[tokio::test]
async fn parts_become_a_file_once_all_of_them_are_there() {
    let service = Service::start().await;
    let (member, file) = (service.a("member"), pdf());
    let opened = open(&service, &member, &file).await;
    let (path, id) = (opened.path(), opened.body["upload_id"].as_str().unwrap());
    assert_eq!((&opened.body["part_size_bytes"], &opened.body["part_count"]), (&json!(8 * MIB), &json!(2)));
    assert_eq!(put(&service, &opened.body["parts"][0], &file[..8 * MIB]).await, 200);
    member.get(&format!("metadata/{path}")).await.refused(404, "file_not_found");
    let shown = member.get(&format!("uploads/{id}")).await.ok();
    assert_eq!((&shown.body["state"], shown.body["parts"].as_array().unwrap().len()), (&json!("open"), 1));

    let complete = format!("uploads/{id}/complete");
    let missing = post(&service, &member, &complete).await.refused(409, "parts_missing");
    assert_eq!(missing.body["missing"], json!([2]));
    let signed = member.post(&format!("uploads/{id}/parts"), &json!({ "part_numbers": [2] })).await.ok();
    assert_eq!(put(&service, &signed.body["parts"][0], &file[8 * MIB..]).await, 200);
    let stored = post(&service, &member, &complete).await.ok();
    assert_eq!((stored.path(), &stored.body["metadata"]["sha256"]), (path.clone(), &json!(sha256(&file))));
    assert_eq!(post(&service, &member, &complete).await.ok().body, stored.body, "twice is once");
    assert_ne!(
        put(&service, &opened.body["parts"][0], &file[..8 * MIB]).await,
        200,
        "no part behind its end"
    );

    let signed = member.post("signed-url", &json!({ "file_path": path })).await.ok();
    assert_eq!(sha256(&service.opened(&signed.body["url"]).await.bytes), sha256(&file));
    service.of(&service.org, 2, "admin").get(&format!("uploads/{id}")).await.refused(404, "upload_not_found");
    let entries = service.a("admin").entries(&format!("file_path={path}"), 4).await;
    assert_eq!(all(&entries, "action_type"), ["METADATA_READ", "UPLOAD", "UPLOAD", "SIGNED_URL_GENERATED"]);
    assert_eq!(all(&entries, "success"), ["false", "false", "true", "true"]);
    assert_eq!(entries[1]["request_id"], missing.body["request_id"]);
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let service = Service::start().await;
    let (member, file) = (service.a("member"), pdf());
    let opened = open(&service, &member, &file).await;
    let (path, id) = (opened.path(), opened.body["upload_id"].as_str().unwrap());
    assert_eq!(put(&service, &opened.body["parts"][1], &file[8 * MIB..]).await, 200);
    let upload = format!("uploads/{id}");
    for _ in 0..2 {
        service.send(member.request(Method::DELETE, &upload)).await.ok();
    }
    assert_eq!(member.get(&upload).await.ok().body["state"], "aborted");
    post(&service, &member, &format!("{upload}/complete")).await.refused(409, "upload_aborted");
    assert_ne!(put(&service, &opened.body["parts"][0], &file[..8 * MIB]).await, 200, "nothing more is taken");
    member.post("signed-url", &json!({ "file_path": path })).await.refused(404, "file_not_found");
    let entries = service.a("admin").entries(&format!("file_path={path}&success=true"), 1).await;
    assert_eq!(all(&entries, "action_type"), ["UPLOAD_ABORTED"]);
}
