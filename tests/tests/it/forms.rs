//! Upload forms: what browsers and programs send survives byte for byte, and whatever else arrives is refused with a
//! reason.

use reqwest::multipart::{Form, Part};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::raw::{BOUNDARY, Multipart, post_form};
use crate::world::{Answer, JPEG, ORG, World};

/// Lambda's limit for an event, and what this service takes of a file (DESIGN section 8).
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// A form as good as any for `receipt-upload`, to which a case adds what it is about.
fn good() -> Multipart {
    Multipart::default()
        .text("org_id", ORG)
        .text("object_id", "receipt-456")
        .file("; filename=\"a.jpg\"\r\nContent-Type: image/jpeg", JPEG)
}

async fn post(world: &World, body: Vec<u8>) -> Answer {
    post_form(world, "receipt-upload", &world.token("accountant"), body).await
}

/// The bytes that a signed URL leads to.
async fn download(world: &World, path: &str) -> Vec<u8> {
    let signed = world.sign(&world.token("admin"), path).await.ok();
    let answer = world.http.get(signed.body["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn every_byte_of_a_file_arrives() {
    let world = World::start().await;
    let every: Vec<u8> = (0..=255).collect();
    let close_to_the_boundary =
        [b"\r\n--", &BOUNDARY.as_bytes()[..BOUNDARY.len() - 1], b"\r\n--\r\n\r\n--\n--", BOUNDARY.as_bytes()];
    let contents: [Vec<u8>; 6] = [
        every.clone(),
        every.iter().rev().copied().collect(),
        b"\r\n".repeat(3_000),
        b"\r\r\n\n\n\r--\r\n".to_vec(),
        close_to_the_boundary.concat(),
        every.repeat(300),
    ];
    for content in contents {
        // What follows the end of a picture is not looked at, and must be kept.
        let file = [JPEG, &content].concat();
        let form = Multipart::default().text("org_id", ORG).text("object_id", "o");
        let stored = post(&world, form.file("; filename=\"a.jpg\"", &file).end()).await.ok();
        let (path, shown) = (stored.path(), &stored.body["metadata"]);
        assert_eq!(download(&world, &path).await, file);
        assert_eq!(shown["size"], file.len());
        assert_eq!(shown["sha256"], data_encoding::HEXLOWER.encode(&Sha256::digest(&file)));
    }
    // The same through a text, whose line ends nobody may tidy.
    let text = "a,b\r\n1,\"x\ny\"\r\n\r\n--\r\n\tä\u{2028}€\n";
    let form = Multipart::default().text("org_id", ORG).text("system", "accounting").text("object_id", "o");
    let form = form.text("object_type", "export").file("; filename=\"a.csv\"", text.as_bytes());
    let stored = post_form(&world, "upload", &world.token("accountant"), form.end()).await.ok();
    assert_eq!(download(&world, &stored.path()).await, text.as_bytes());
}

#[tokio::test]
async fn fields_may_come_in_any_order_and_as_browsers_write_them() {
    let world = World::start().await;
    let file = |form: Multipart| form.file("; filename=\"a.jpg\"\r\nContent-Type: image/jpeg", JPEG);
    // The storage guide's own JavaScript appends the file first.
    let first = file(Multipart::default()).text("org_id", ORG).text("object_id", "o");
    let between = file(Multipart::default().text("object_id", "o")).text("org_id", ORG);
    let empty_optional = good().text("related_object_type", "").text("add_timestamp", "");
    // A preamble is allowed by RFC 2046, and so is whatever stands behind the end.
    let preamble = [b"This is a form.\r\n".to_vec(), good().end(), b"and an epilogue".to_vec()].concat();
    for body in [first.end(), between.end(), empty_optional.end(), good().end(), preamble] {
        let stored = post(&world, body).await.ok();
        assert_eq!(stored.body["metadata"]["original_filename"], "a.jpg");
    }
    let related = good().text("related_object_type", "invoice").text("related_object_id", "Rechnung Nr. 7/ä");
    post(&world, related.end()).await.ok();
    let logs = world.logs(&world.token("auditor"), "?action_type=UPLOAD&limit=1").await.ok();
    assert_eq!(logs.body["logs"][0]["related_object_type"], "invoice");
    assert_eq!(logs.body["logs"][0]["related_object_id"], "Rechnung Nr. 7/ä");
    for content_type in [
        format!("Multipart/Form-Data; boundary=\"{BOUNDARY}\""),
        format!("multipart/form-data; charset=utf-8; boundary={BOUNDARY}"),
    ] {
        let request = world.request(reqwest::Method::POST, "receipt-upload", &world.token("accountant"));
        let request = request.header("content-type", content_type).body(good().end());
        world.send(request).await.ok();
    }
}

#[tokio::test]
async fn a_form_that_is_not_one_is_refused_with_a_reason() {
    let world = World::start().await;
    let before = world.snapshot().await;
    let no_file = Multipart::default().text("org_id", ORG).text("object_id", "o");
    let fields = || no_file.clone();
    let file = |name: &str| fields().file(name, JPEG).end();
    let nested = "\r\nContent-Type: multipart/mixed; boundary=inner";
    let nested_field = format!("Content-Disposition: form-data; name=\"related_object_id\"{nested}");
    let many = (0..10_000).fold(good(), |form, _| form.text("object_id", "o")).end();
    let many_nameless = (0..10_000).fold(good(), |form, _| form.part(b"X-Nothing: 1", b"")).end();
    let many_files = (0..10_000).fold(good(), |form, _| form.file("; filename=\"a.jpg\"", b"x")).end();
    let headers = (0..1_000).map(|n| format!("X-{n}: 1")).collect::<Vec<_>>().join("\r\n");
    let dangling = [good().end().strip_suffix(b"--\r\n").unwrap(), b"\r\n"].concat();
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("an empty body", vec![], "invalid_form", "incomplete"),
        ("no parts", Multipart::default().end(), "missing_field", "Missing required field: file"),
        ("no file", no_file.clone().end(), "missing_field", "Missing required field: file"),
        (
            "no org_id",
            Multipart::default().text("object_id", "o").file("", JPEG).end(),
            "missing_field",
            "org_id",
        ),
        (
            "no object_id",
            Multipart::default().text("org_id", ORG).file("", JPEG).end(),
            "missing_field",
            "object_id",
        ),
        ("empty object_id", good_but("object_id", ""), "missing_field", "object_id"),
        (
            "an object_id outside the grammar",
            good_but("object_id", "../x"),
            "invalid_object_id",
            "Invalid object_id",
        ),
        (
            "a field twice",
            good().text("object_id", "o").end(),
            "invalid_form",
            "field given twice: object_id",
        ),
        ("the file twice", good().file("", JPEG).end(), "invalid_form", "field given twice: file"),
        (
            "an unknown field",
            good().text("system", "accounting").end(),
            "invalid_form",
            "unknown field: system",
        ),
        (
            "a part without a name",
            good().part(b"X-Nothing: 1", b"x").end(),
            "invalid_form",
            "a part has no name",
        ),
        ("a part without headers", good().part(b"", b"x").end(), "invalid_form", "a part has no name"),
        (
            "nested multipart",
            file(&format!("; filename=\"a.jpg\"{nested}")),
            "invalid_form",
            "is a multipart itself",
        ),
        (
            "a nested field",
            fields().part(nested_field.as_bytes(), b"x").end(),
            "invalid_form",
            "multipart itself",
        ),
        ("10,000 fields", many, "invalid_form", "field given twice"),
        ("10,000 nameless parts", many_nameless, "invalid_form", "a part has no name"),
        ("10,000 files", many_files, "invalid_form", "field given twice: file"),
        (
            "1,000 headers",
            good().part(headers.as_bytes(), b"x").end(),
            "invalid_form",
            "failed to read headers",
        ),
        ("the end is missing", good().cut(), "invalid_form", "incomplete"),
        ("the last boundary is not the end", dangling, "invalid_form", "incomplete"),
        (
            "a CRLF in the name",
            file("; filename=\"a\r\nSet-Cookie: x.jpg\""),
            "invalid_form",
            "broken Content-Disposition",
        ),
        ("a folded header", file("; filename=\"a\r\n b.jpg\""), "invalid_form", "failed to read headers"),
        ("a NUL in the name", file("; filename=\"a\0.jpg\""), "invalid_form", "failed to read headers"),
        ("a name that is not UTF-8", latin1_name(), "invalid_form", "the file's name is not UTF-8"),
        (
            "filename* that is not UTF-8",
            file("; filename*=UTF-8''%ff.jpg"),
            "invalid_form",
            "name is not UTF-8",
        ),
        ("filename* in Latin-1", file("; filename*=iso-8859-1''%e4.jpg"), "invalid_form", "not in UTF-8"),
        ("filename* without a charset", file("; filename*=a.jpg"), "invalid_form", "broken filename*"),
        (
            "a name of 1,025 bytes",
            file(&format!("; filename=\"{}\"", "a".repeat(1025))),
            "invalid_form",
            "1024 bytes",
        ),
        ("a field that is not UTF-8", fields().part(FIELD, b"\xff").end(), "invalid_form", "is not UTF-8"),
        ("a field of 1,025 bytes", good_but("object_id", &"a".repeat(1025)), "invalid_form", "1024 bytes"),
        (
            "related with 129 bytes",
            good().text("related_object_id", &"a".repeat(129)).end(),
            "invalid_field",
            "128",
        ),
        (
            "related with CRLF",
            good().text("related_object_id", "a\r\nb").end(),
            "invalid_field",
            "control characters",
        ),
        (
            "add_timestamp=yes",
            good().text("add_timestamp", "yes").end(),
            "invalid_field",
            "Invalid add_timestamp",
        ),
    ];
    for (what, body, code, detail) in table {
        let answer = post(&world, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{what}: {}", answer.body);
        let said = answer.body["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{what}: {said}");
    }
    assert_eq!(world.snapshot().await, before, "a malformed form leaves no trace");
    post(&world, good().end()).await.ok();
}

const FIELD: &[u8] = b"Content-Disposition: form-data; name=\"related_object_id\"";

/// A good form with another value of one field.
fn good_but(name: &str, value: &str) -> Vec<u8> {
    let other = |field, usual| if name == field { value.to_owned() } else { String::from(usual) };
    let form = Multipart::default().text("org_id", &other("org_id", ORG));
    form.text("object_id", &other("object_id", "o")).file("; filename=\"a.jpg\"", JPEG).end()
}

fn latin1_name() -> Vec<u8> {
    let header = b"Content-Disposition: form-data; name=\"file\"; filename=\"M\xe9nu.jpg\"";
    good_but("", "").replace("Content-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"", header)
}

/// Replaces a piece of a body.
trait Replace {
    fn replace(&self, from: &str, to: impl AsRef<[u8]>) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replace(&self, from: &str, to: impl AsRef<[u8]>) -> Vec<u8> {
        let at = self.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&self[..at], to.as_ref(), &self[at + from.len()..]].concat()
    }
}

#[tokio::test]
async fn a_body_that_is_declared_as_something_else_is_refused() {
    let world = World::start().await;
    let before = world.snapshot().await;
    let too_long = format!("multipart/form-data; boundary={}", "a".repeat(10_000));
    for content_type in [
        None,
        Some(""),
        Some("multipart/form-data"),
        Some("multipart/form-data; boundary="),
        Some("multipart/form-data; boundary=----another"),
        Some("multipart/mixed; boundary=----boundary"),
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("image/jpeg"),
        Some("\u{1f691}"),
        Some(&too_long),
    ] {
        let request = world.request(reqwest::Method::POST, "receipt-upload", &world.token("accountant"));
        let request = request.body(good().end());
        let answer = match content_type {
            Some(content_type) => world.send(request.header("content-type", content_type)).await,
            None => world.send(request).await,
        };
        let answer = answer.refused(400, "invalid_form");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.starts_with("Invalid form: "), "{content_type:?}: {detail}");
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn four_mebibytes_pass_and_one_byte_more_is_told_the_limit() {
    let world = World::start().await;
    let token = world.token("accountant");
    let file = |bytes: usize| {
        let mut file = JPEG.to_vec();
        file.resize(bytes, 0xa5);
        Form::new()
            .part("file", Part::bytes(file).file_name("a.jpg"))
            .text("org_id", ORG)
            .text("object_id", "o")
    };
    let stored = world.upload(&token, "receipt-upload", file(MAX_FILE_BYTES)).await.ok();
    assert_eq!(stored.body["metadata"]["size"], MAX_FILE_BYTES);
    assert_eq!(download(&world, &stored.path()).await.len(), MAX_FILE_BYTES);

    let before = world.snapshot().await;
    let answer = world.upload(&token, "receipt-upload", file(MAX_FILE_BYTES + 1)).await;
    let answer = answer.refused(413, "too_large");
    assert_eq!(answer.body["max_bytes"], json!(4_194_304));
    assert_eq!(answer.headers["content-type"], "application/problem+json");

    // 6 MB of event, in base64, is what Lambda takes: what is larger never reaches the function.
    for bytes in [4_720_000, 7_000_000] {
        let answer = world.upload(&token, "receipt-upload", file(bytes)).await;
        assert_eq!((answer.status.as_u16(), answer.body), (413, json!("Request Entity Too Large")));
        assert_eq!(answer.headers["content-type"], "text/plain");
    }
    assert_eq!(world.snapshot().await, before, "what is too large leaves no trace");
}
