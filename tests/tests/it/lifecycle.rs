//! The main flow: upload, look, delete, read the log.

use serde_json::json;

use crate::world::{JPEG, World};

#[tokio::test]
async fn a_receipt_is_uploaded_signed_for_read_deleted_and_all_of_it_is_in_the_log() {
    let world = World::start().await;
    let (accountant, admin) = (world.token("accountant"), world.token("admin"));
    let form = World::receipt(World::jpeg("IMG 2024.jpg")).text("add_timestamp", "false");
    let uploaded = world.upload(&accountant, "receipt-upload", form).await.ok();
    let path = uploaded.path();
    assert_eq!(path, "org-123/accounting/receipt/receipt-456/IMG_2024.jpg");
    assert_eq!(uploaded.body["metadata"]["size"], json!(JPEG.len()));
    assert_eq!(uploaded.body["metadata"]["mime_type"], "image/jpeg");
    assert_eq!(uploaded.body["metadata"]["original_filename"], "IMG 2024.jpg");

    let url = world.sign(&accountant, &path).await.ok().body["url"].as_str().unwrap().to_owned();
    let file = world.http.get(&url).send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "image/jpeg");
    assert_eq!(file.bytes().await.unwrap(), JPEG);
    assert_eq!(world.metadata(&accountant, &path).await.ok().body["deleted"], false);

    world.delete(&accountant, &path, false).await.ok();
    world.metadata(&accountant, &path).await.refused(404, "file_not_found");
    world.sign(&accountant, &path).await.refused(404, "file_not_found");
    assert_eq!(world.objects().await, std::slice::from_ref(&path), "a soft delete leaves the object");

    world.delete(&admin, &path, true).await.ok();
    assert!(world.objects().await.is_empty());

    let logs = world.logs(&admin, "").await.ok();
    let actions: Vec<_> = logs.body["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| format!("{} {}", log["action_type"].as_str().unwrap(), log["success"].as_str().unwrap()))
        .collect();
    let expected = [
        "PURGE true",
        "DELETE true",
        "SIGNED_URL_GENERATED false",
        "METADATA_READ false",
        "DELETE true",
        "METADATA_READ true",
        "SIGNED_URL_GENERATED true",
        "UPLOAD true",
    ];
    assert_eq!(actions, expected);
    world.check_invariants().await;
}
