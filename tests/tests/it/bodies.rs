//! JSON bodies and query strings: what is not understood is refused, and leaves no trace.

use reqwest::Method;
use serde_json::{Value, json};

use crate::raw::{self, bearer};
use crate::world::{Answer, World};

const PATH: &str = "org-123/accounting/receipt/receipt-456/a.jpg";

async fn send(world: &World, method: Method, target: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = world.request(method, target, &world.token("admin"));
    world.send(request.header("content-type", "application/json").body(body)).await
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_refused_with_a_reason() {
    let world = World::start().await;
    let before = world.snapshot().await;
    let deep = format!("{{\"file_path\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let any = [
        ("", "expected an object"),
        ("{", "EOF while parsing"),
        ("file_path=x", "expected an object"),
        ("null", "expected an object"),
        ("[]", "expected an object"),
        // The fields in their order, as some libraries write a record.
        ("[\"org-123/accounting/receipt/receipt-456/a.jpg\", 600, null, null, null]", "expected an object"),
        (" [\"org-123/accounting/receipt/receipt-456/a.jpg\", true, null, null]", "expected an object"),
        ("\"x\"", "expected an object"),
        ("{\"file_path\": 1}", "invalid type: integer"),
        ("{\"file_path\": [\"a\"]}", "invalid type: sequence"),
        ("{\"file_path\": \"a\", \"file_path\": \"b\"}", "duplicate field"),
        ("{\"file_path\": \"a\", \"org_id\": \"org-999\"}", "unknown field `org_id`"),
        ("{\"file_path\": \"a\", \"FILE_PATH\": \"b\"}", "unknown field `FILE_PATH`"),
        ("{\"file_path\": \"a\"} {}", "trailing characters"),
        ("{\"file_path\": \"a\",}", "trailing comma"),
        ("{\"file_path\": \"\\ud800\"}", "hex escape"),
        (&deep, "invalid type: sequence"),
    ];
    for (method, function) in [(Method::POST, "signed-url"), (Method::DELETE, "delete")] {
        for (body, reason) in any.iter().filter(|(body, _)| function != "delete" || !body.is_empty()) {
            let answer = send(&world, method.clone(), function, body.to_string()).await;
            let said = answer.refused(400, "invalid_body").body["detail"].as_str().unwrap().to_owned();
            assert!(said.starts_with("Invalid JSON body: ") && said.contains(reason), "{function}: {said}");
        }
        for none in ["{}", "{\"file_path\": null}"] {
            send(&world, method.clone(), function, none).await.refused(400, "missing_field");
        }
        let not_utf8 = b"{\"file_path\": \"a\xff\"}".as_slice();
        send(&world, method.clone(), function, not_utf8).await.refused(400, "invalid_body");
        let file = json!({ "file_path": "x".repeat(64 * 1024) }).to_string();
        let answer = send(&world, method.clone(), function, file).await.refused(413, "too_large");
        assert_eq!(answer.body["max_bytes"], 65_536);
        // At the limit it is read: 64 KiB of spaces are no JSON, but no reason to stop reading.
        let padded = format!("{{\"file_path\": \"x\"{}}}", " ".repeat(64 * 1024 - 18));
        send(&world, method, function, padded).await.refused(400, "invalid_path");
    }
    send(&world, Method::DELETE, "delete", "").await.refused(400, "missing_field");
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_field_of_another_type_or_outside_its_range_is_refused() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let before = world.snapshot().await;
    for (field, value, code) in [
        ("expires_in", json!(59), "invalid_expires_in"),
        ("expires_in", json!(901), "invalid_expires_in"),
        ("expires_in", json!(0), "invalid_expires_in"),
        ("expires_in", json!(-1), "invalid_expires_in"),
        ("expires_in", json!(i64::MIN), "invalid_expires_in"),
        ("expires_in", json!(4_294_967_296_i64 + 60), "invalid_expires_in"),
        ("expires_in", json!("600"), "invalid_expires_in"),
        ("expires_in", json!(1.5), "invalid_expires_in"),
        ("expires_in", json!(1e300), "invalid_expires_in"),
        ("expires_in", json!(u64::MAX), "invalid_expires_in"),
        ("expires_in", json!(true), "invalid_expires_in"),
        ("purpose", json!("DOWNLOAD"), "invalid_body"),
        ("purpose", json!("edit"), "invalid_body"),
        ("purpose", json!(""), "invalid_body"),
        ("purpose", json!(1), "invalid_body"),
        ("hard_delete", json!(true), "invalid_body"),
        ("related_object_type", json!("x".repeat(129)), "invalid_field"),
        ("related_object_id", json!("a\r\nb"), "invalid_field"),
        ("related_object_id", json!("a\u{85}b"), "invalid_field"),
        ("related_object_id", json!(7), "invalid_body"),
    ] {
        let body = json!({ "file_path": path, field: value });
        let answer = send(&world, Method::POST, "signed-url", body.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{field}: {value}: {}", answer.body);
    }
    for value in [json!("true"), json!(1), json!(null), json!("")] {
        let body = json!({ "file_path": path, "hard_delete": value }).to_string();
        send(&world, Method::DELETE, "delete", body).await.refused(400, "invalid_body");
    }
    assert_eq!(world.snapshot().await, before);
    let life = |signed: &Answer| {
        let at = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
        at(&signed.body["expires_at"]) - shared::clock::now().as_second()
    };
    for (asked, seconds) in [(json!(60), 60), (json!(900), 900), (json!(300.0), 300), (json!(null), 600)] {
        let body = json!({ "file_path": path, "expires_in": asked }).to_string();
        let signed = send(&world, Method::POST, "signed-url", body).await.ok();
        assert!((seconds - 30..=seconds).contains(&life(&signed)), "{asked}: {}", life(&signed));
        let url = reqwest::Url::parse(signed.body["url"].as_str().unwrap()).unwrap();
        let expires = url.query_pairs().find(|(name, _)| name == "X-Amz-Expires").unwrap().1.into_owned();
        assert_eq!(expires, seconds.to_string(), "the store counts the same seconds");
        assert_eq!(world.entries().await.pop().unwrap().details.expires_in, Some(seconds as u32));
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let before = world.snapshot().await;
    let metadata = |query: &str| format!("metadata/{path}{query}");
    let delete = |query: &str| format!("delete{query}");
    let table = [
        (Method::GET, metadata("?include_deleted=yes"), "invalid_field"),
        (Method::GET, metadata("?include_deleted=true&include_deleted=true"), "invalid_query"),
        (Method::GET, metadata("?deleted=true"), "invalid_query"),
        (Method::GET, metadata("?include%5Fdeleted=true&x"), "invalid_query"),
        (Method::GET, metadata("?include_deleted=%ff"), "invalid_query"),
        (Method::DELETE, delete(""), "missing_field"),
        (Method::DELETE, delete("?file_path="), "missing_field"),
        (Method::DELETE, delete("?hard_delete=true"), "missing_field"),
        (Method::DELETE, delete(&format!("?file_path={path}&hard_delete=1")), "invalid_field"),
        (Method::DELETE, delete(&format!("?file_path={path}&force=true")), "invalid_query"),
        (Method::DELETE, delete(&format!("?file_path={path}&file_path={path}")), "invalid_query"),
        (Method::GET, "audit-logs?org_id=org-999".into(), "invalid_query"),
        (Method::GET, "audit-logs?limit=0".into(), "invalid_limit"),
        (Method::GET, "audit-logs?limit=501".into(), "invalid_limit"),
        (Method::GET, "audit-logs?limit=-1".into(), "invalid_limit"),
        (Method::GET, "audit-logs?limit=ten".into(), "invalid_limit"),
        (Method::GET, "audit-logs?action_type=upload".into(), "invalid_action_type"),
        // A filter whose value got lost must not show everything.
        (Method::GET, "audit-logs?action_type=".into(), "invalid_action_type"),
        (Method::GET, "audit-logs?file_path=".into(), "invalid_path"),
        (Method::GET, "audit-logs?action_type=%00".into(), "invalid_action_type"),
        (Method::GET, "audit-logs?cursor=x".into(), "invalid_cursor"),
        (Method::GET, "audit-logs?cursor=8ZZZZZZZZZZZZZZZZZZZZZZZZZ".into(), "invalid_cursor"),
    ];
    for (method, target, code) in table {
        let answer = world.send(world.request(method, &target, &world.token("admin"))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{target}: {}", answer.body);
    }
    // The same fields twice over: which would count?
    let both = format!("delete?file_path={path}");
    let body = json!({ "file_path": path }).to_string();
    send(&world, Method::DELETE, &both, body.clone()).await.refused(400, "invalid_query");
    send(&world, Method::DELETE, "delete?hard_delete=true", body).await.refused(400, "invalid_query");
    assert_eq!(world.snapshot().await, before);

    let by_query = format!("delete?file_path={path}&related_object_type=receipt&related_object_id=a+b%2Fc");
    world.send(world.request(Method::DELETE, &by_query, &world.token("accountant"))).await.ok();
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.related_id.as_deref(), entry.file_path()), (Some("a b/c"), Some(path.clone())));
    let hard = format!("delete?file_path={}&hard_delete=true", path.replace('/', "%2F"));
    world.send(world.request(Method::DELETE, &hard, &world.token("admin"))).await.ok();
    assert!(world.objects().await.is_empty());
}

#[tokio::test]
async fn a_path_in_a_url_is_decoded_once() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let token = bearer(&world.token("admin"));
    let get = async |path: &str| {
        let target = format!("/metadata/{path}");
        raw::send(&world, &Method::GET, &target, &[("authorization", &token)]).await
    };
    let all: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for same in [path.clone(), format!("/{path}"), path.replace('/', "%2F"), path.replace('/', "%2f"), all] {
        assert_eq!(get(&same).await.ok().body["file_path"], path, "{same}");
    }
    let before = world.snapshot().await;
    for other in [
        path.replace('/', "%252F"),
        path.replace(".jpg", "%252ejpg"),
        path.replace(".jpg", "%2"),
        path.replace(".jpg", "%zz"),
        path.replace(".jpg", "%ff.jpg"),
        path.replace(".jpg", "%c0%ae.jpg"),
        path.replace(".jpg", "+.jpg"),
        format!("{path}/"),
        format!("{path}%2F"),
        format!("//{path}"),
        format!("%2F%2F{path}"),
    ] {
        get(&other).await.refused(400, "invalid_path");
    }
    assert_eq!(world.snapshot().await, before);
    // What follows a question mark is the query, and what is not a path's is refused with it.
    get(&format!("{path}?x")).await.refused(400, "invalid_query");
    get(PATH).await.refused(404, "file_not_found");
}
