//! Files of real programs, declared as browsers declare them, through the whole service; and their impostors. Every
//! proof has its own tests beside the code: here is what the caller, the store and the log see of it.

use std::path::Path;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::world::{Answer, ORG, World};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/files").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn store(world: &World, place: &str, name: &str, declared: &str, content: Vec<u8>) -> Answer {
    let (system, object_type) = place.split_once('/').unwrap();
    let mut file = Part::bytes(content).file_name(name.to_owned());
    if !declared.is_empty() {
        file = file.mime_str(declared).unwrap();
    }
    let form = Form::new().part("file", file).text("org_id", ORG).text("object_id", "o-1");
    let form = form.text("system", system.to_owned()).text("object_type", object_type.to_owned());
    world.upload(&world.token("service"), "upload", form).await
}

const OCTETS: &str = "application/octet-stream";
const OFFICE: &str = "application/vnd.openxmlformats-officedocument";

#[tokio::test]
async fn files_of_real_programs_are_stored_and_served_under_their_canonical_type() {
    let world = World::start().await;
    let (docx, xlsx, pptx) = (
        format!("{OFFICE}.wordprocessingml.document"),
        format!("{OFFICE}.spreadsheetml.sheet"),
        format!("{OFFICE}.presentationml.presentation"),
    );
    let table = [
        ("workspace/doc", "libreoffice-text.docx", docx.as_str(), docx.as_str()),
        ("workspace/doc", "word-order.docx", OCTETS, &docx),
        ("epcr/document", "python-docx.docx", "application/zip", &docx),
        ("workspace/doc", "libreoffice-text.odt", "", "application/vnd.oasis.opendocument.text"),
        ("workspace/doc", "libreoffice-text.doc", "application/msword", "application/msword"),
        ("workspace/doc", "libreoffice-text.rtf", "application/msword", "application/rtf"),
        ("workspace/sheet", "openpyxl.xlsx", "application/x-zip-compressed", &xlsx),
        ("workspace/sheet", "libreoffice-table.xls", "application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("workspace/sheet", "excel-windows-1252.csv", "application/vnd.ms-excel", "text/csv"),
        ("accounting/export", "python.csv", "text/csv; charset=utf-8", "text/csv"),
        ("accounting/export", "info-zip.zip", "application/x-zip-compressed", "application/zip"),
        ("workspace/slide", "python-pptx.pptx", "", &pptx),
        ("accounting/receipt", "pillow.jpg", "image/jpg", "image/jpeg"),
        ("accounting/receipt", "pillow-heif.heic", "image/heif", "image/heic"),
        ("accounting/receipt", "pillow.webp", OCTETS, "image/webp"),
        ("billing/invoice", "reportlab.pdf", "APPLICATION/PDF", "application/pdf"),
        ("billing/claim", "claim.837", "text/plain", "application/edi-x12"),
        ("billing/remittance", "remittance.835", OCTETS, "application/edi-x12"),
        ("fax/inbound", "pillow-fax-g4.tif", "image/tiff", "image/tiff"),
        ("communications/email-attachment", "python.eml", "message/rfc822", "message/rfc822"),
        ("communications/message-attachment", "pillow.gif", "image/gif", "image/gif"),
    ];
    for (place, name, declared, canonical) in table {
        let content = fixture(name);
        let stored = store(&world, place, name, declared, content.clone()).await;
        assert_eq!(stored.status, 200, "{name} as {declared:?} in {place}: {}", stored.body);
        let path = stored.path();
        assert_eq!(stored.body["metadata"]["mime_type"], canonical, "{name} as {declared:?}");
        assert_eq!(world.metadata(&world.token("service"), &path).await.ok().body["mime_type"], canonical);
        let head = world.bucket().head_object().bucket("storage").key(&path).send().await.unwrap();
        assert_eq!(head.content_type(), Some(canonical), "{name} in the bucket");
        let signed = world.sign(&world.token("service"), &path).await.ok();
        let served = world.http.get(signed.body["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(served.headers()["content-type"], canonical, "{name} through the signed URL");
        assert_eq!(served.bytes().await.unwrap(), content, "{name}");
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn an_impostor_is_refused_and_the_log_says_where_it_would_have_been() {
    let world = World::start().await;
    let table = [
        ("accounting/receipt", "a.jpg", "image/jpeg", fixture("reportlab.pdf"), "file_type_mismatch"),
        ("accounting/receipt", "a.jpg", "image/jpeg", b"<html><script>".to_vec(), "file_type_mismatch"),
        ("accounting/receipt", "a.jpg", "application/pdf", fixture("pillow.jpg"), "file_type_mismatch"),
        ("accounting/receipt", "a.exe", "image/jpeg", fixture("pillow.jpg"), "invalid_file_type"),
        ("accounting/receipt", "a.jpg.exe", "", fixture("pillow.jpg"), "invalid_file_type"),
        ("accounting/receipt", "a.gif", "image/gif", fixture("pillow.gif"), "invalid_file_type"),
        ("accounting/receipt", "a", "text/html", fixture("pillow.jpg"), "invalid_file_type"),
        ("accounting/receipt", "a.jpg", "", Vec::new(), "empty_file"),
        ("workspace/doc", "a.docx", "", fixture("openpyxl.xlsx"), "file_type_mismatch"),
        ("workspace/doc", "a.docx", "", fixture("info-zip.zip"), "file_type_mismatch"),
        ("workspace/doc", "a.docx", "", fixture("macro.docm"), "invalid_file_type"),
        ("workspace/doc", "a.txt", "text/plain", fixture("reportlab.pdf"), "file_type_mismatch"),
        ("workspace/doc", "a.txt", "text/plain", b"a\0b".to_vec(), "file_type_mismatch"),
        ("workspace/sheet", "a.csv", "text/csv", b"#!/bin/sh\nrm -rf /\n".to_vec(), "file_type_mismatch"),
        ("workspace/pdf", "a.pdf", "", b"MZ\x90\0\x03 %PDF-1.7".to_vec(), "file_type_mismatch"),
        ("billing/claim", "a.837", "", b"GS*HC*".to_vec(), "file_type_mismatch"),
        ("app-builder/build", "a.zip", "", fixture("pillow.jpg"), "invalid_zip"),
    ];
    for (place, name, declared, content, code) in table {
        let before = world.snapshot().await;
        world.dynamodb.take();
        world.s3.take();
        let answer = store(&world, place, name, declared, content).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{place}, {name}: {}", answer.body);
        check_refused_content(&world, &before.entries, &answer, &format!("org-123/{place}/o-1/"), name).await;
        let after = world.snapshot().await;
        assert_eq!((after.objects, after.records), (before.objects, before.records), "{place}, {name}");
    }
}

/// One entry, of an upload that failed, whose path is the key that was derived; and nothing else was written anywhere.
async fn check_refused_content(world: &World, before: &[String], answer: &Answer, folder: &str, name: &str) {
    assert!(world.s3.take().is_empty(), "the object store was asked");
    assert_eq!(world.dynamodb.operations(), ["TransactWriteItems"]);
    let entries = world.entries().await;
    assert_eq!(entries.len(), before.len() + 1);
    let entry = entries.last().unwrap();
    assert_eq!(entry.action.name(), "UPLOAD");
    let path = entry.file_path().unwrap();
    let derived = path.strip_prefix(folder).unwrap_or_else(|| panic!("{path} is not in {folder}"));
    assert_eq!(derived.split_at(16).1, name);
    assert!(entry.details.file_size.is_some() && entry.details.sha256.is_some(), "it says which file it was");
    let expected = format!("{}: {}", answer.code(), answer.body["detail"].as_str().unwrap());
    assert!(expected.starts_with(entry.error.as_deref().unwrap()), "{expected} is not {:?}", entry.error);
}

async fn store_app(world: &World, name: &str, content: Vec<u8>) -> Answer {
    let file = Part::bytes(content).file_name(name.to_owned());
    let form = Form::new().part("file", file).text("org_id", ORG).text("object_id", "app-101");
    world.upload(&world.token("developer"), "app-zip-upload", form).await
}

#[tokio::test]
async fn zips_that_people_make_pass_as_apps() {
    let world = World::start().await;
    for name in [
        "info-zip.zip",
        "info-zip-comment.zip",
        "info-zip-streamed.zip",
        "info-zip-zip64.zip",
        "python-zipfile.zip",
        "python-zipfile-streamed.zip",
        "jszip-deflated.zip",
        "jszip-stored.zip",
        "jszip-streamed.zip",
        "fflate.zip",
        "fflate-streamed.zip",
    ] {
        let stored = store_app(&world, name, fixture(name)).await;
        assert_eq!(stored.status, 200, "{name}: {}", stored.body);
        assert!(stored.path().starts_with("org-123/app-builder/source/app-101/"));
        assert_eq!(stored.body["metadata"]["mime_type"], "application/zip");
    }
}

#[tokio::test]
async fn zips_that_harm_are_refused_and_recorded() {
    let world = World::start().await;
    let good = fixture("python-zipfile.zip");
    let stored = fixture("jszip-stored.zip");
    let end = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
    let table = [
        ("not a ZIP", b"this is no archive".to_vec()),
        ("only an end record", end),
        ("cut off", good[..good.len() / 2].to_vec()),
        ("junk behind", [good.as_slice(), b"junk"].concat()),
        ("junk in front", [b"junk", good.as_slice()].concat()),
        ("a ZIP in front", [stored.as_slice(), &good].concat()),
        ("a path out", renamed(&good, b"../")),
        ("an absolute path", renamed(&good, b"/ab")),
        ("a name with a NUL", renamed(&good, b"a\0b")),
        ("another name inside than in the directory", renamed_once(&good, b"zzz")),
        ("a document called ZIP", fixture("reportlab.pdf")),
    ];
    for (what, content) in table {
        let before = world.snapshot().await;
        world.dynamodb.take();
        world.s3.take();
        let answer = store_app(&world, "app.zip", content).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_zip"), "{what}: {}", answer.body);
        let folder = "org-123/app-builder/source/app-101/";
        check_refused_content(&world, &before.entries, &answer, folder, "app.zip").await;
    }
    // The storage guide's own example of a refusal: not called a ZIP.
    store_app(&world, "app.tar.gz", good.clone()).await.refused(400, "invalid_file_type");
    store_app(&world, "app.jar", good).await.refused(400, "invalid_file_type");
    // An unknown place is named as the storage guide names it.
    let form = Form::new().part("file", World::jpeg("a.jpg")).text("org_id", ORG).text("object_id", "o");
    let form = form.text("system", "invalid-system").text("object_type", "receipt");
    let answer = world.upload(&world.token("admin"), "upload", form).await.refused(400, "invalid_system");
    assert_eq!(answer.body["detail"], "Invalid system: invalid-system");
    assert!(world.objects().await.is_empty());
    let signed = world.request(Method::POST, "signed-url", &world.token("admin"));
    let body = json!({ "file_path": "org-123/accounting/photo/o/a.jpg" });
    world.send(signed.json(&body)).await.refused(400, "invalid_object_type");
}

/// The archive with the first three bytes of its first entry's name changed, in both places.
fn renamed(zip: &[u8], start: &[u8; 3]) -> Vec<u8> {
    let mut zip = renamed_once(zip, start);
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[directory + 46..directory + 49].copy_from_slice(start);
    zip
}

/// The same in the entry alone.
fn renamed_once(zip: &[u8], start: &[u8; 3]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    zip[30..33].copy_from_slice(start);
    zip
}
