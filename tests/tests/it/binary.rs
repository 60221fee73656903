//! The functions as executables, started as Lambda starts them and fed with recorded events.

use local::token::Identity;
use serde_json::{Value, json};

use crate::runtime::{Function, Outcome, SECRET, environment};
use crate::world::{JPEG, ORG, World};

const RECEIPT: &str = "org-123/accounting/receipt/receipt-456/IMG_2024.jpg";

fn token(role: &str) -> String {
    let identity = Identity { org: ORG.into(), user: "1".into(), role: role.into(), expires_in: 3600 };
    identity.token(SECRET).unwrap()
}

/// A recorded event, with a token for this role in it.
pub fn recorded(name: &str, role: &str) -> Value {
    let path = format!("{}/fixtures/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws";
    serde_json::from_str(&text.replace("{token}", &token(role)).replace("{host}", host)).unwrap()
}

#[tokio::test]
async fn every_function_answers_recorded_events_of_every_trigger() {
    let world = World::start().await;
    let environment = environment(&world);
    let pdf = "org-123/workspace/pdf/abc-def-123/Bericht_Muller.pdf";

    let mut upload = Function::start("upload", &environment).await;
    let stored = upload.invoke(recorded("function-url-post-base64", "member")).await.ok();
    assert_eq!(stored["file_path"], pdf);
    assert_eq!(stored["metadata"]["original_filename"], "Bericht Müller.pdf");

    let mut receipt_upload = Function::start("receipt-upload", &environment).await;
    let stored = receipt_upload.invoke(recorded("http-api-stage-post-base64", "accountant")).await.ok();
    assert_eq!((&stored["file_path"], &stored["metadata"]["size"]), (&json!(RECEIPT), &json!(JPEG.len())));

    let mut app_zip_upload = Function::start("app-zip-upload", &environment).await;
    let stored = app_zip_upload.invoke(recorded("function-url-post-zip", "developer")).await.ok();
    assert_eq!(stored["file_path"], "org-123/app-builder/source/app-101/app.zip");

    let mut signed_url = Function::start("signed-url", &environment).await;
    let signed = signed_url.invoke(recorded("function-url-post-text", "accountant")).await.ok();
    let file = world.http.get(signed["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!((file.status().as_u16(), file.bytes().await.unwrap().as_ref()), (200, JPEG));
    // No headers, no body, no source address: nothing but what every event has.
    signed_url.invoke(recorded("function-url-minimal", "accountant")).await.refused(401, "missing_token");

    let mut metadata = Function::start("metadata", &environment).await;
    for event in ["function-url-get", "http-api-get-encoded-path"] {
        let shown = metadata.invoke(recorded(event, "accountant")).await.ok();
        assert_eq!((&shown["file_path"], &shown["deleted"]), (&json!(RECEIPT), &json!(false)), "{event}");
    }
    metadata.invoke(recorded("http-api-get-decoded-path", "member")).await.refused(400, "invalid_path");

    let mut audit_logs = Function::start("audit-logs", &environment).await;
    let page = audit_logs.invoke(recorded("http-api-get-cookies", "auditor")).await.ok();
    assert_eq!((&page["count"], &page["logs"][0]["action_type"]), (&json!(2), &json!("UPLOAD")));
    let page = audit_logs.invoke(recorded("http-api-multi-value-headers", "admin")).await.ok();
    assert_eq!(page["count"], 4, "{page}");

    let mut delete = Function::start("delete", &environment).await;
    delete.invoke(recorded("function-url-delete-without-body", "member")).await.ok();
    delete.invoke(recorded("function-url-delete-with-body", "admin")).await.ok();

    assert_eq!(world.objects().await, ["org-123/app-builder/source/app-101/app.zip", pdf]);
    let device = |action: &str, entries: &[shared::audit::Body]| {
        let entry = entries.iter().find(|entry| entry.action.to_string() == action).cloned().unwrap();
        (entry.ip, entry.device)
    };
    let entries = world.entries().await;
    let (ip, device) = device("UPLOAD", &entries);
    assert_eq!(ip, "203.0.113.7", "the host's word, not a header's");
    assert!(device.starts_with("Mozilla/5.0"), "{device}");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_function_survives_every_event_and_answers_it() {
    let world = World::start().await;
    let mut signed_url = Function::start("signed-url", &environment(&world)).await;
    let event = || recorded("function-url-post-text", "accountant");
    let with = |pointer: &str, value: Value| {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let header = |name: &str, value: &str| {
        let mut event = event();
        event["headers"][name] = value.into();
        event
    };

    // What anybody can send: each is answered by the function itself.
    for (event, status, code) in [
        (with("/body", json!("not JSON")), 400, "invalid_body"),
        (with("/body", json!("\u{0}\u{fffd}😀")), 400, "invalid_body"),
        (with("/body", json!("[".repeat(60_000))), 400, "invalid_body"),
        (with("/body", json!("x".repeat(70_000))), 413, "too_large"),
        (with("/rawPath", json!("/no/such/route")), 404, "no_such_route"),
        (with("/rawPath", json!("//[::bad/ ü\\?#")), 404, "no_such_route"),
        (with("/rawPath", json!("")), 404, "file_not_found"),
        (with("/rawQueryString", json!("<\"é{ %zz#")), 404, "file_not_found"),
        (with("/rawQueryString", json!(format!("a={}", "é<".repeat(50_000)))), 404, "file_not_found"),
        (with("/requestContext/http/method", json!("GET")), 405, "method_not_allowed"),
        (with("/requestContext/http/method", json!("BREW")), 405, "method_not_allowed"),
        (header("x-huge", &"x".repeat(1_000_000)), 404, "file_not_found"),
        (header("host", "a b:99999999/<"), 404, "file_not_found"),
        (header("x-forwarded-proto", "https, http"), 404, "file_not_found"),
        (header("user-agent", "Müller/1.0 \u{7f}\r\nx: y"), 404, "file_not_found"),
        (header("not a name", "x"), 404, "file_not_found"),
        (header("authorization", "Bearer é"), 401, "invalid_token"),
        (header("authorization", "Bearer a,Bearer b"), 401, "invalid_token"),
    ] {
        signed_url.invoke(event).await.refused(status, code);
    }
    // What no host sends: the runtime's error, which shows nothing of the event.
    for event in [
        json!(null).to_string(),
        json!({}).to_string(),
        json!({ "Records": [{ "secret": "a patient's name" }] }).to_string(),
        with("/requestContext/http/method", json!("a patient's name")).to_string(),
        with("/body", json!(["a patient's name"])).to_string(),
        with("/isBase64Encoded", json!(true)).to_string(),
        "\"a patient's name".to_owned(),
        String::new(),
    ] {
        let outcome = signed_url.invoke(&event).await;
        let Outcome::Error(error) = outcome else { panic!("{event}: {outcome:?}") };
        assert!(!error.to_string().contains("patient"), "{error}");
    }
    assert!(!signed_url.log().contains("patient"), "{}", signed_url.log());
    assert!(!signed_url.log().contains("panicked"), "{}", signed_url.log());
    signed_url.invoke(event()).await.refused(404, "file_not_found");
}

#[tokio::test]
async fn whoever_puts_a_part_is_not_asked_for_lambdas_own_headers() {
    let world = World::start().await;
    let mut uploads = Function::start("uploads", &environment(&world)).await;
    let mut event = recorded("function-url-post-text", "accountant");
    event["rawPath"] = "/api/storage/uploads".into();
    let body = json!({
        "org_id": ORG, "system": "accounting", "object_type": "receipt", "object_id": "receipt-456",
        "filename": "scan.pdf", "mime_type": "application/pdf", "size_bytes": 9_000_000,
    });
    event["body"] = body.to_string().into();
    let opened = uploads.invoke(event).await.ok();
    assert_eq!(opened["parts"][0]["headers"], json!({}), "the trace of the invocation is ours");
}

#[tokio::test]
async fn a_function_without_its_settings_starts_and_says_so() {
    let world = World::start().await;
    let secret = "a-secret-that-nobody-may-read-0123456789";
    for (name, value, expected) in [
        ("SPACES_ENDPOINT", "", "SPACES_ENDPOINT is not set"),
        ("SPACES_SECRET_KEY", "", "SPACES_SECRET_KEY is not set"),
        ("SPACES_SECRET_KEY", &format!(" {secret}"), "SPACES_SECRET_KEY has white space around it"),
        ("JWT_SECRET", "development-only-secret-never-deploy-this", "JWT_SECRET is the development secret"),
        ("STORAGE_POLICIES", &format!("/{secret}"), "STORAGE_POLICIES names a file that cannot be read"),
    ] {
        let mut environment = environment(&world);
        environment.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            environment.push((name, value.to_owned()));
        }
        let mut upload = Function::start("upload", &environment).await;
        let problem = upload.invoke(recorded("function-url-post-base64", "member")).await;
        let problem = problem.refused(500, "not_configured");
        assert_eq!(problem["detail"], "Storage service not properly configured");
        let log = upload.log();
        assert!(log.contains(expected), "{log}");
        assert!(!log.contains(secret) && !problem.to_string().contains(name), "{log}\n{problem}");
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            let is_log = line["level"].is_string() && line["fields"]["message"].is_string();
            assert!(is_log || line["_aws"].is_object(), "{line}");
        }
    }
    assert_eq!(world.objects().await, [""; 0]);
}

#[tokio::test]
async fn policies_that_are_not_valid_stop_the_start_and_the_line_is_named() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.cedar");
    std::fs::write(&file, "permit (principal, action, resource);\n\npermit (principal, action, resurce);\n")
        .unwrap();
    let mut environment = environment(&world);
    environment.push(("STORAGE_POLICIES", file.to_str().unwrap().to_owned()));
    let (status, log) = Function::start("upload", &environment).await.ended().await;
    assert!(!status.success());
    assert!(log.contains("STORAGE_POLICIES") && log.contains("line 3"), "{log}");
}

#[tokio::test]
async fn a_function_that_does_not_exist_is_not_started() {
    let (status, log) = Function::start("uplaod", &[]).await.ended().await;
    assert!(!status.success());
    assert!(log.starts_with("error: there is no function \"uplaod\"; there are: upload, "), "{log}");
}
