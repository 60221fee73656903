//! What functions hold in memory: less than a quarter of the smallest that Lambda gives them, whatever they look at.

use reqwest::Method;
use serde_json::{Value, json};

use crate::binary::recorded;
use crate::runtime::{Function, Outcome, environment};
use crate::uploads::{announced, pdf};
use crate::world::{JPEG, ORG, World};

/// What a function's process may take at its peak.
const LIMIT_KIB: u64 = 64 * 1024;
const MIB: usize = 1024 * 1024;

/// A form as an event's body.
fn form(file_name: &str, media_type: &str, file: &[u8], fields: &[(&str, &str)]) -> String {
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\nContent-Type: {media_type}\r\n\r\n"
    );
    let mut body = head.into_bytes();
    body.extend_from_slice(file);
    for (name, value) in fields {
        let part = format!("\r\n--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}");
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(b"\r\n--b--\r\n");
    data_encoding::BASE64.encode(&body)
}

#[tokio::test]
async fn an_upload_of_four_mebibytes_takes_less_than_64_mebibytes() {
    let world = World::start().await;
    let mut upload = Function::start("receipt-upload", &environment(&world)).await;
    let event = |file_name: &str, media_type: &str, file: &[u8]| {
        let mut event = recorded("http-api-stage-post-base64", "accountant");
        event["headers"]["content-type"] = "multipart/form-data; boundary=b".into();
        event["body"] = form(file_name, media_type, file, &[("org_id", ORG), ("object_id", "1")]).into();
        event
    };
    upload.invoke(event("small.jpg", "image/jpeg", JPEG)).await.ok();
    let before = upload.peak_memory_kib();
    let mut jpeg = vec![0xa5; 4 * 1024 * 1024];
    jpeg[..JPEG.len()].copy_from_slice(JPEG);
    let stored = upload.invoke(event("large.jpg", "image/jpeg", &jpeg)).await.ok();
    assert_eq!(stored["metadata"]["size"], 4 * 1024 * 1024);
    let peak = upload.peak_memory_kib();
    println!("peak memory: {before} KiB after a small upload, {peak} KiB after 4 MiB");
    assert!(peak < LIMIT_KIB, "{peak} KiB after an upload of 4 MiB, {before} KiB before");
}

#[tokio::test]
async fn a_hostile_zip_takes_no_more_memory_than_its_own_size() {
    // 42.zip's kind: 64 KiB entries that say they unfold to gigabytes, many of them, in a directory of 4 MiB.
    let mut zip = Vec::new();
    while zip.len() < 4 * 1024 * 1024 - 100 {
        let name = format!("{:08}", zip.len());
        zip.extend_from_slice(b"PK\x01\x02\x14\x00\x14\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00");
        zip.extend_from_slice(&[0x10, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 8, 0, 0, 0, 0, 0]);
        zip.extend_from_slice(&[0; 12]);
        zip.extend_from_slice(name.as_bytes());
    }
    let directory = u32::try_from(zip.len()).unwrap().to_le_bytes();
    zip.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00\xff\xfe\xff\xfe");
    zip.extend_from_slice(&directory);
    zip.extend_from_slice(&[0; 6]);

    let world = World::start().await;
    let mut upload = Function::start("app-zip-upload", &environment(&world)).await;
    let mut event = recorded("function-url-post-zip", "developer");
    event["headers"]["content-type"] = "multipart/form-data; boundary=b".into();
    event["body"] = form("app.zip", "application/zip", &zip, &[("org_id", ORG), ("object_id", "1")]).into();
    upload.invoke(event).await.refused(400, "invalid_zip");
    let peak = upload.peak_memory_kib();
    println!("peak memory: {peak} KiB after a hostile ZIP");
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// A request to `/uploads`, as an event.
fn upload_event(method: Method, rest: &str, body: &Value) -> Value {
    let mut event = recorded("function-url-post-text", "admin");
    event["rawPath"] = format!("/{rest}").into();
    event["requestContext"]["http"]["method"] = method.as_str().into();
    event["body"] = body.to_string().into();
    event
}

/// A file through a session of this function: its parts go to the bucket from here. Answers what is recorded of it.
async fn through_a_session(world: &World, uploads: &mut Function, announced: &Value, file: &[u8]) -> Value {
    let opened = uploads.invoke(upload_event(Method::POST, "", announced)).await.ok();
    let part_bytes = usize::try_from(opened["part_size_bytes"].as_u64().unwrap()).unwrap();
    for (part, bytes) in opened["parts"].as_array().unwrap().iter().zip(file.chunks(part_bytes)) {
        assert_eq!(world.put_part(part, bytes).await, 200);
    }
    let complete = format!("{}/complete", opened["upload_id"].as_str().unwrap());
    // A machine that has much else to do may not get through the file in time; the next call goes on.
    let mut answer = uploads.invoke(upload_event(Method::POST, &complete, &json!({}))).await;
    for _ in 0..5 {
        if matches!(answer, Outcome::Response { status: 503, .. }) {
            answer = uploads.invoke(upload_event(Method::POST, &complete, &json!({}))).await;
        }
    }
    answer.ok()["metadata"].take()
}

/// The announcement of a file of another kind.
fn announced_as(file: &[u8], [system, object_type, name, media_type]: [&str; 4]) -> Value {
    let mut announced = announced(file);
    for (field, value) in
        [("system", system), ("object_type", object_type), ("filename", name), ("mime_type", media_type)]
    {
        announced[field] = value.into();
    }
    announced
}

/// A ZIP of so many entries of so many bytes each, whose names have so many.
fn zip(entries: u16, entry_bytes: u32, name_bytes: u16) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    let data = vec![0x5a; usize::try_from(entry_bytes).unwrap()];
    for number in 0..entries {
        let name = format!("{number:0width$}", width = usize::from(name_bytes));
        let offset = u32::try_from(zip.len()).unwrap();
        // From the version to the length of the extra field, both headers say the same (APPNOTE.TXT, 4.3.7 and 4.3.12).
        let mut fields = [20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0].to_vec();
        fields.extend_from_slice(&entry_bytes.to_le_bytes());
        fields.extend_from_slice(&entry_bytes.to_le_bytes());
        fields.extend_from_slice(&name_bytes.to_le_bytes());
        fields.extend_from_slice(&[0, 0]);
        zip.extend_from_slice(b"PK\x03\x04");
        zip.extend_from_slice(&fields);
        zip.extend_from_slice(name.as_bytes());
        zip.extend_from_slice(&data);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&fields);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let start = u32::try_from(zip.len()).unwrap();
    let size = u32::try_from(directory.len()).unwrap();
    zip.append(&mut directory);
    zip.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    zip.extend_from_slice(&entries.to_le_bytes());
    zip.extend_from_slice(&entries.to_le_bytes());
    zip.extend_from_slice(&size.to_le_bytes());
    zip.extend_from_slice(&start.to_le_bytes());
    zip.extend_from_slice(&[0, 0]);
    zip
}

#[tokio::test]
async fn completing_an_upload_takes_less_than_64_mebibytes() {
    const SOURCE: [&str; 4] = ["app-builder", "source", "app.zip", "application/zip"];
    const SHEET: [&str; 4] = ["workspace", "sheet", "all.csv", "text/csv"];
    let row = b"2026-01-26T15:30:45Z;M\xc3\xbcller;\"a line of a table\";12.50\r\n";
    let csv = row.repeat(20 * MIB / row.len());
    let mut scan = pdf(1_000);
    scan.resize(64 * MIB, 0xa5);
    let world = World::start().await;
    for (what, kind, file) in [
        ("a PDF of 64 MiB, hashed", None, scan),
        ("a ZIP of 10,000 entries over 60 MiB", Some(SOURCE), zip(10_000, 6_000, 20)),
        ("a ZIP with a directory of 8 MB", Some(SOURCE), zip(10_000, 100, 780)),
        ("a CSV of 20 MiB", Some(SHEET), csv),
    ] {
        // A process for each, since a peak stays.
        let mut uploads = Function::start("uploads", &environment(&world)).await;
        let announced = kind.map_or_else(|| announced(&file), |kind| announced_as(&file, kind));
        let stored = through_a_session(&world, &mut uploads, &announced, &file).await;
        assert_eq!(stored["size"], file.len(), "{what}: {stored}");
        if file.len() <= 64 * MIB {
            assert_eq!(stored["integrity"], "verified", "{what}: its hash was not read");
        }
        let peak = uploads.peak_memory_kib();
        println!("peak memory: {peak} KiB after {what}");
        assert!(peak < LIMIT_KIB, "{peak} KiB after {what}");
    }
}

#[tokio::test]
async fn opening_and_signing_a_hundred_parts_takes_less_than_64_mebibytes() {
    let world = World::start().await;
    let mut uploads = Function::start("uploads", &environment(&world)).await;
    let mut announced = announced_as(b"", ["app-builder", "source", "app.zip", "application/zip"]);
    announced["size_bytes"] = (1 << 30).into();
    let opened = uploads.invoke(upload_event(Method::POST, "", &announced)).await.ok();
    assert_eq!((&opened["part_count"], opened["parts"].as_array().unwrap().len()), (&json!(128), 100));
    let parts = format!("{}/parts", opened["upload_id"].as_str().unwrap());
    let body = json!({ "part_numbers": (29..=128).collect::<Vec<_>>() });
    let signed = uploads.invoke(upload_event(Method::POST, &parts, &body)).await.ok();
    assert_eq!(signed["parts"].as_array().unwrap().len(), 100);
    let peak = uploads.peak_memory_kib();
    println!("peak memory: {peak} KiB after signing 200 parts");
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}
