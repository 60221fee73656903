//! File names: safe in the key, verbatim in the record, and given back to whoever takes the file away.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, header};
use serde_json::json;

use crate::absence::{a_failed_reservation, a_held_reservation};
use crate::raw::{Multipart, post_form};
use crate::world::{Answer, JPEG, ORG, World};

/// What a `Content-Disposition` says to a browser (RFC 6266): the kind, `filename`, and `filename*` decoded (RFC 8187).
struct Disposition {
    kind: String,
    plain: String,
    original: Option<String>,
}

/// Reads the header as RFC 6266 has it, and nothing else.
fn disposition(headers: &header::HeaderMap) -> Disposition {
    assert_eq!(headers.get_all(header::CONTENT_DISPOSITION).iter().count(), 1);
    let value = headers[header::CONTENT_DISPOSITION].to_str().expect("visible ASCII");
    let mut pieces = value.split("; ");
    let kind = pieces.next().unwrap().to_owned();
    let quoted = pieces.next().unwrap().strip_prefix("filename=\"").unwrap();
    let plain = quoted.strip_suffix('"').unwrap().to_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    assert!(plain.chars().all(allowed), "{value}");
    let original = pieces.next().map(|extended| {
        let encoded = extended.strip_prefix("filename*=UTF-8''").unwrap();
        let attr_char = |c: char| c.is_ascii_alphanumeric() || "!#$&+-.^_`|~%".contains(c);
        assert!(encoded.chars().all(attr_char), "{value}");
        percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap().into_owned()
    });
    assert_eq!(pieces.next(), None, "{value}");
    Disposition { kind, plain, original }
}

/// The store's answer to a URL signed for this purpose.
async fn open(world: &World, path: &str, purpose: Option<&str>) -> reqwest::Response {
    let mut body = json!({ "file_path": path });
    if let Some(purpose) = purpose {
        body["purpose"] = purpose.into();
    }
    let request = world.request(Method::POST, "signed-url", &world.token("admin"));
    let signed = world.send(request.json(&body)).await.ok();
    let answer = world.http.get(signed.body["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert!(!answer.headers().contains_key("set-cookie"));
    answer
}

#[tokio::test]
async fn any_name_is_safe_in_the_key_and_comes_back_as_it_was() {
    let world = World::start().await;
    let long = format!("{}.jpg", "a".repeat(296));
    let long_words = format!("{}.jpg", "Über ".repeat(59));
    let crlf = "a\r\nSet-Cookie: x";
    let injected = "a\"; filename=\"evil.exe\"; x=\".jpg";
    // What stands behind `name="file"`, the name that it means, and the end of the key.
    let table: Vec<(String, &str, String)> = vec![
        (plain("receipt.jpg"), "receipt.jpg", "receipt.jpg".into()),
        (plain("Ménü 2024 (final).JPG"), "Ménü 2024 (final).JPG", "Menu_2024_final.JPG".into()),
        (plain("🚑.jpg"), "🚑.jpg", "ambulance.jpg".into()),
        (plain(&long), &long, format!("{}.jpg", "a".repeat(117 - 16))),
        (plain(&long_words), &long_words, String::new()),
        (plain("a%0D%0ASet-Cookie: x"), crlf, "a_Set-Cookie_x.jpg".into()),
        (
            "; filename=\"b\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x".into(),
            crlf,
            "a_Set-Cookie_x.jpg".into(),
        ),
        (plain("a%22; filename=%22evil.exe%22; x=%22.jpg"), injected, String::new()),
        (plain("100%25 %41.jpg"), "100%25 %41.jpg", String::new()),
        (plain(".htaccess"), ".htaccess", "htaccess.jpg".into()),
        (plain("CON"), "CON", "_CON.jpg".into()),
        (plain("../../etc/passwd.jpg"), "../../etc/passwd.jpg", "passwd.jpg".into()),
        (plain("C:\\Users\\me\\scan.jpg"), "C:\\Users\\me\\scan.jpg", "scan.jpg".into()),
        (plain("\u{202e}gpj.jpg"), "\u{202e}gpj.jpg", "gpj.jpg".into()),
        (plain("ｆｕｌｌ．ｊｐｇ"), "ｆｕｌｌ．ｊｐｇ", "full.jpg".into()),
        (plain("'$(rm -rf)`;<script>&.jpg"), "'$(rm -rf)`;<script>&.jpg", String::new()),
        (plain(""), "", "file.jpg".into()),
        (String::new(), "", "file.jpg".into()),
    ];
    for (row, (header, original, end)) in table.into_iter().enumerate() {
        let object = format!("o-{row}");
        let form =
            Multipart::default().text("org_id", ORG).text("object_id", &object).file(&header, JPEG).end();
        let stored = post_form(&world, "receipt-upload", &world.token("accountant"), form).await.ok();
        let path = stored.path();
        let name = path.strip_prefix(&format!("org-123/accounting/receipt/{object}/")).unwrap();
        assert!(name.len() <= 128, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
        assert!(!name.contains("..") && name.to_ascii_lowercase().ends_with(".jpg"), "{name}");
        let (stamp, rest) = name.split_at(16);
        assert!(stamp.bytes().enumerate().all(|(at, b)| if at == 8 || at == 15 {
            b == b'_'
        } else {
            b.is_ascii_digit()
        }));
        assert!(end.is_empty() || rest == end, "{original:?} is called {rest}");

        assert_eq!(stored.body["metadata"]["original_filename"], original);
        let shown = world.metadata(&world.token("admin"), &path).await.ok();
        assert_eq!(shown.body["original_filename"], original);
        let answer = open(&world, &path, Some("download")).await;
        let header = disposition(answer.headers());
        assert_eq!((header.kind.as_str(), header.plain.as_str()), ("attachment", name));
        assert_eq!(header.original.unwrap_or_default(), original);
        assert_eq!(answer.bytes().await.unwrap(), JPEG);
    }
    let names = world.snapshot().await;
    assert_eq!(names.objects.len(), names.records.len());
    world.check_invariants().await;
}

fn plain(name: &str) -> String {
    format!("; filename=\"{name}\"")
}

#[tokio::test]
async fn only_what_cannot_run_in_a_browser_opens_in_it() {
    let world = World::start().await;
    for (name, content, media_type, inline) in [
        ("a.jpg", JPEG, "image/jpeg", true),
        ("a.pdf", b"%PDF-1.7\n", "application/pdf", true),
        ("a.txt", b"alert(1)", "text/plain", true),
        ("a.html", b"<!doctype html><script>alert(1)</script>", "text/html", false),
        ("a.htm", b"<html><body onload=alert(1)>", "text/html", false),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml", false),
        (
            "a.xml",
            b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>",
            "application/xml",
            false,
        ),
        ("a.json", b"{\"alert\": 1}", "application/json", false),
        ("a.csv", b"=cmd|' /C calc'!A0,1\n", "text/csv", false),
        (
            "a.eml",
            b"From: a@example.com\r\nContent-Type: text/html\r\n\r\n<script>\r\n",
            "message/rfc822",
            false,
        ),
        ("a.vcf", b"BEGIN:VCARD\r\nEND:VCARD\r\n", "text/vcard", false),
    ] as [(&str, &[u8], &str, bool); 11]
    {
        let form = Form::new().part("file", Part::bytes(content).file_name(name)).text("org_id", ORG);
        let form = form.text("system", "communications").text("object_type", "email-attachment");
        let stored = world.upload(&world.token("member"), "upload", form.text("object_id", "m-1")).await.ok();
        let expected = |purpose| if inline && purpose != Some("download") { "inline" } else { "attachment" };
        for purpose in [None, Some("view"), Some("download")] {
            let answer = open(&world, &stored.path(), purpose).await;
            let header = disposition(answer.headers());
            assert_eq!(header.kind, expected(purpose), "{name}, {purpose:?}");
            assert_eq!(header.original.as_deref(), Some(name));
            assert_eq!(answer.headers()["content-type"], media_type);
        }
    }
    let actions: Vec<_> = world.entries().await.iter().map(|entry| entry.action.name()).take(4).collect();
    assert_eq!(actions, ["UPLOAD", "SIGNED_URL_GENERATED", "VIEW", "DOWNLOAD"]);
}

/// Uploads a receipt under a name that may be taken.
async fn again(world: &World, name: &str, add_timestamp: &str) -> Answer {
    let form = World::receipt(World::jpeg(name)).text("add_timestamp", add_timestamp.to_owned());
    world.upload(&world.token("accountant"), "receipt-upload", form).await
}

fn at(name: &str) -> String {
    format!("org-123/accounting/receipt/receipt-456/{name}")
}

#[tokio::test]
async fn files_of_one_name_in_one_second_get_suffixes_and_none_is_lost() {
    let world = World::start().await;
    let mut by_second = std::collections::BTreeMap::<String, Vec<String>>::new();
    // A second ends when it ends, so the next one may have to do.
    while !by_second.values().any(|names| names.len() >= 4) {
        assert!(by_second.len() < 60, "not four uploads a second");
        let path = again(&world, "a.jpg", "true").await.ok().path();
        let (stamp, rest) = path.strip_prefix(&at("")).unwrap().split_at(15);
        by_second.entry(stamp.to_owned()).or_default().push(rest.to_owned());
    }
    for names in by_second.values() {
        for (taken, name) in names.iter().enumerate() {
            match taken {
                0 => assert_eq!(name, "_a.jpg"),
                1 => assert_eq!(name, "_a_2.jpg"),
                _ => {
                    let random = name.strip_prefix("_a_").unwrap().strip_suffix(".jpg").unwrap();
                    assert_eq!(random.len(), 6);
                    assert!(random.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
                }
            }
        }
    }
    let count = by_second.values().flatten().count();
    assert_eq!(world.objects().await.len(), count, "every one is there");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_name_without_a_time_is_this_name_or_none() {
    let world = World::start().await;
    let admin = world.token("admin");
    for (life, gone) in [("live.jpg", None), ("deleted.jpg", Some(false)), ("purged.jpg", Some(true))] {
        let path = again(&world, life, "false").await.ok().path();
        assert_eq!(path, at(life));
        if let Some(hard) = gone {
            world.delete(&admin, &path, hard).await.ok();
        }
        let before = world.snapshot().await;
        again(&world, life, "false").await.refused(409, "path_exists");
        let after = world.snapshot().await;
        assert_eq!((&after.objects, &after.records), (&before.objects, &before.records));
        let entry = world.entries().await.pop().unwrap();
        assert_eq!(entry.file_path(), Some(path.clone()));
        assert_eq!(entry.error.as_deref(), Some("path_exists: A file of this name exists or existed here"));
    }

    let held = a_held_reservation(&world, "held.jpg").await;
    let before = world.snapshot().await;
    let answer = again(&world, "held.jpg", "false").await.refused(409, "upload_in_progress");
    let retry_after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after), "{retry_after}");
    assert_eq!(world.snapshot().await.records, before.records);
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.file_path(), entry.error.is_some()), (Some(held), true));

    a_failed_reservation(&world, "failed.jpg").await;
    assert_eq!(again(&world, "failed.jpg", "false").await.ok().path(), at("failed_2.jpg"));
    let third = again(&world, "failed.jpg", "false").await.ok().path();
    assert!(third.starts_with(&at("failed_")) && !third.ends_with("_2.jpg"), "{third}");
    world.check_invariants().await;
}
