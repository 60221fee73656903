//! The local stack's gateway: CORS, Lambda's limits, and that a function's defect is not the stack's end.

use std::sync::Arc;

use local::gateway::{Refusal, invoke};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::app::App;
use shared::config::{DEVELOPMENT_JWT_SECRET, Needs};
use shared::http::{Answer, Call, Endpoint, Handling, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, endpoints};

/// Lambda's limit on events and answers, in bytes of JSON.
const MAX_PAYLOAD_BYTES: usize = 6_291_556;
const ORIGINS: [&str; 2] = ["http://localhost:5173", "http://localhost:3000"];
const OTHER_ORIGINS: [&str; 5] = [
    "http://localhost:5174",
    "https://localhost:5173",
    "http://localhost",
    "http://localhost:3000.evil.example",
    "null",
];

async fn preflight(world: &World, path: &str, origin: &str, method: &str) -> (StatusCode, HeaderMap) {
    let request = world.http.request(Method::OPTIONS, world.url(path)).header("origin", origin);
    let request = request.header("access-control-request-method", method);
    let request =
        request.header("access-control-request-headers", "authorization,content-type,idempotency-key");
    let answer = request.send().await.unwrap();
    (answer.status(), answer.headers().clone())
}

/// What a header lists, in lower case.
fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    let list = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut list: Vec<_> = list.split(',').map(|item| item.trim().to_ascii_lowercase()).collect();
    list.sort_unstable();
    list
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_call_every_function() {
    let world = World::start().await;
    for endpoint in endpoints() {
        for origin in ORIGINS {
            let (status, headers) =
                preflight(&world, endpoint.name, origin, endpoint.routes[0].method.as_str()).await;
            assert!(status.is_success(), "{origin} {}: {status}", endpoint.name);
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(listed(&headers, "access-control-allow-methods"), ["delete", "get", "post"]);
            let allowed = listed(&headers, "access-control-allow-headers");
            assert_eq!(allowed, ["authorization", "content-type", "idempotency-key"]);
        }
    }
    // A page must be able to read an answer, a refusal too.
    let token = world.token("admin");
    for (token, expected) in [(token.as_str(), 200), ("garbage", 401)] {
        let request = world.request(Method::GET, "audit-logs", token).header("origin", ORIGINS[0]);
        let answer = world.send(request).await;
        assert_eq!(answer.status, expected);
        assert_eq!(answer.headers["access-control-allow-origin"], ORIGINS[0]);
        let exposed = listed(&answer.headers, "access-control-expose-headers");
        assert_eq!(exposed, ["idempotent-replayed", "retry-after"]);
        assert!(listed(&answer.headers, "vary").contains(&"origin".to_owned()));
    }
}

#[tokio::test]
async fn a_page_of_any_other_origin_gets_no_permission() {
    let world = World::start().await;
    let token = world.token("admin");
    for origin in OTHER_ORIGINS {
        let (_, headers) = preflight(&world, "upload", origin, "POST").await;
        assert!(!headers.contains_key("access-control-allow-origin"), "{origin}: {headers:?}");
        let request = world.request(Method::GET, "audit-logs", &token).header("origin", origin);
        let answer = world.send(request).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test]
async fn a_page_may_show_and_fetch_what_a_signed_url_names() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let url = world.sign(&world.token("accountant"), &path).await.ok().body["url"].clone();
    let get = |origin| world.http.get(url.as_str().unwrap()).header("origin", origin).send();
    for origin in ORIGINS {
        let file = get(origin).await.unwrap();
        assert_eq!(file.headers()["access-control-allow-origin"], origin);
        assert_eq!(file.status(), 200);
    }
    for origin in OTHER_ORIGINS {
        let file = get(origin).await.unwrap();
        assert!(!file.headers().contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test]
async fn only_a_page_of_a_listed_origin_may_send_to_the_bucket() {
    let world = World::start().await;
    let put = |origin| {
        let request = world.http.request(Method::OPTIONS, format!("http://{}/storage/a", world.stack.s3));
        request.header("origin", origin).header("access-control-request-method", "PUT").send()
    };
    for origin in ORIGINS {
        let allowed = put(origin).await.unwrap();
        assert_eq!(allowed.status(), 200);
        assert_eq!(allowed.headers()["access-control-allow-origin"], origin);
        assert_eq!(allowed.headers()["access-control-expose-headers"], "ETag");
    }
    for origin in OTHER_ORIGINS {
        assert_eq!(put(origin).await.unwrap().status(), 403, "{origin}");
    }
}

#[tokio::test]
async fn an_event_over_lambdas_limit_reaches_no_function() {
    let world = World::start().await;
    let token = world.token("accountant");
    let post = |bytes: usize| {
        let request = world.request(Method::POST, "upload", &token);
        request.header("content-type", "multipart/form-data; boundary=b").body(vec![b'x'; bytes])
    };
    // Base64 makes four bytes of three; the head takes a few hundred more.
    let fits = MAX_PAYLOAD_BYTES / 4 * 3 - 2_000;
    world.send(post(fits)).await.refused(400, "invalid_form");
    for too_many in [MAX_PAYLOAD_BYTES / 4 * 3, MAX_PAYLOAD_BYTES + 1] {
        let answer = world.send(post(too_many)).await;
        assert_eq!(answer.status, 413);
        assert!(answer.body.is_string(), "Lambda's own answer, not the function's: {}", answer.body);
    }
    // A client that looks for an answer only when it has sent everything.
    let bytes = 5 * MAX_PAYLOAD_BYTES;
    let mut stream = TcpStream::connect(world.stack.api).await.unwrap();
    let head = format!("POST /api/storage/upload HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; bytes]).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Text travels as it is, and every line break in it takes two bytes.
    let text = world.request(Method::POST, "signed-url", &token).header("content-type", "application/json");
    let answer = world.send(text.body("\n".repeat(MAX_PAYLOAD_BYTES / 2))).await;
    assert_eq!(answer.status, 413);
    assert!(world.entries().await.is_empty());
}

#[tokio::test]
async fn headers_that_are_not_ascii_are_no_reason_not_to_answer() {
    let world = World::start().await;
    let user_agent = reqwest::header::HeaderValue::from_bytes("Müller/1.0".as_bytes()).unwrap();
    let request = world.request(Method::GET, "audit-logs", &world.token("admin"));
    world.send(request.header("user-agent", user_agent).header("x-latin", &b"M\xfcller"[..])).await.ok();
    assert_eq!(world.entries().await[0].device, "Müller/1.0");
}

fn endpoint(handler: for<'a> fn(&'a App, Call) -> Handling<'a>) -> Endpoint {
    let routes = Box::leak(Box::new([Route { method: Method::GET, path: "", handler }]));
    Endpoint { name: "test", needs: Needs::ENDPOINT, routes }
}

fn panics(_: &App, _: Call) -> Handling<'_> {
    Box::pin(async { panic!("a defect") })
}

fn answers_too_much(_: &App, _: Call) -> Handling<'_> {
    Box::pin(async { Answer::new(&json!({ "text": "x".repeat(MAX_PAYLOAD_BYTES) })) })
}

fn answers_much(_: &App, _: Call) -> Handling<'_> {
    Box::pin(async { Answer::new(&json!({ "text": "x".repeat(MAX_PAYLOAD_BYTES - 1_000) })) })
}

#[tokio::test]
async fn a_panic_is_answered_like_any_defect_and_an_answer_over_lambdas_limit_not_at_all() {
    let world = World::start().await;
    let app = App::new(&world.stack.config(DEVELOPMENT_JWT_SECRET, None)).unwrap();
    let app = Arc::new(Ok(app));
    let event = json!({
        "rawPath": "/",
        "headers": { "authorization": format!("Bearer {}", world.token("admin")) },
        "requestContext": { "http": { "method": "GET" } },
    });
    let invoke = |handler| invoke(endpoint(handler), app.clone(), event.to_string(), "id".into());
    assert_eq!(invoke(answers_much).await.unwrap().status(), 200);
    let refusal = invoke(answers_too_much).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Broken(_)), "{refusal:?}");

    let answer = invoke(panics).await.unwrap();
    assert_eq!(answer.status(), 500);
    let problem: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("internal"), &json!("Internal server error")));
    assert_eq!(invoke(answers_much).await.unwrap().status(), 200, "the next one is served");
}
