//! The local stack as the admin page's host: its headers, only its files, and tokens for nobody but the page of this machine.

use local::stack::AUDIT_ORIGIN;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::raw;
use crate::world::{World, signing_vkey};

const POLICY: [&str; 10] = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
];
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

#[track_caller]
fn assert_is_guarded(target: &str, headers: &HeaderMap) {
    let policy = headers["content-security-policy"].to_str().unwrap();
    let mut directives: Vec<_> = policy.split(';').map(str::trim).collect();
    directives.sort_unstable();
    let mut expected = POLICY;
    expected.sort_unstable();
    assert_eq!(directives, expected, "{target}");
    for (name, value) in HEADERS {
        assert_eq!(headers[name], value, "{target}");
    }
    assert!(!headers.contains_key("access-control-allow-origin"), "{target}");
}

#[tokio::test]
async fn the_pages_are_served_with_the_headers_that_guard_them() {
    let world = World::start().await;
    for (target, content_type) in [
        ("/admin/", "text/html"),
        ("/admin/index.html", "text/html"),
        ("/admin/index.html?code=1", "text/html"),
        ("/admin/dom.js", "text/javascript"),
        ("/admin/app.css", "text/css"),
        ("/docs/", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/openapi.json", "application/json"),
    ] {
        let origin = ("origin", "http://localhost:5173");
        let answer = raw::get(&world, target, &[origin]).await;
        assert_eq!(answer.status, StatusCode::OK, "{target}");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with(content_type), "{target}");
        assert_is_guarded(target, &answer.headers);
    }
    let answer = raw::get(&world, "/admin", &[]).await;
    assert!(answer.status.is_redirection());
    assert_eq!(answer.headers["location"], "/admin/");
    assert_is_guarded("/admin", &answer.headers);
}

#[tokio::test]
async fn the_page_pins_the_key_with_which_the_local_stack_signs() {
    let world = World::start().await;
    let config = raw::get(&world, "/admin/config.json", &[]).await.ok().body;
    assert_eq!(config["audit_keys"], json!([signing_vkey(AUDIT_ORIGIN).await]));
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again_and_what_is_sent_is_compressed() {
    let world = World::start().await;
    let url = world.url("").replace("/api/storage/", "/admin/dom.js");
    let request = || world.http.get(&url).header("accept-encoding", "gzip");
    let first = request().send().await.unwrap();
    assert_eq!(first.headers()["content-encoding"], "gzip");
    let modified = first.headers()["last-modified"].clone();
    assert_eq!(first.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
    let second = request().header("if-modified-since", modified).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
    assert_is_guarded(&url, second.headers());
}

#[tokio::test]
async fn nothing_but_the_pages_files_is_served() {
    let world = World::start().await;
    let absolute = format!("/admin/{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let twice = format!("/admin//{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    for target in [
        "/admin/nothing.js",
        "/admin/../Cargo.toml",
        "/admin/../../Cargo.toml",
        "/admin/..",
        "/admin/%2e%2e/Cargo.toml",
        "/admin/%2E%2E%2FCargo.toml",
        "/admin/..%2fCargo.toml",
        "/admin/..%5cCargo.toml",
        "/admin/..\\Cargo.toml",
        "/admin/%252e%252e/Cargo.toml",
        "/admin/.%00./Cargo.toml",
        "/admin/dom.js/../../Cargo.toml",
        "/admin/dom.js%00.css",
        "/admin/test/session.test.js",
        "/admin/node_modules/typescript/package.json",
        "/admin/.git/config",
        "/admin/README.md",
        "/docs/%2e%2e/README.md",
        "/docs/README.md",
        &absolute,
        &twice,
    ] {
        let answer = raw::get(&world, target, &[]).await;
        assert!(answer.status.is_client_error(), "{target}: {}", answer.status);
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("[package]"), "{target}");
        assert_is_guarded(target, &answer.headers);
    }
    // Nor is it a place to write to.
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let url = world.url("").replace("/api/storage/", "/admin/dom.js");
        let status = world.http.request(method, url).send().await.unwrap().status();
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn development_tokens_work() {
    let world = World::start().await;
    let answer = raw::get(&world, "/dev/tokens", &[]).await.ok();
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut roles = Vec::new();
    for identity in answer.body["identities"].as_array().unwrap() {
        let text = |name: &str| identity[name].as_str().unwrap();
        let role = text("role");
        roles.push((text("org_id"), text("sub"), role));
        let left = text("expires_at").parse::<jiff::Timestamp>().unwrap().as_second()
            - jiff::Timestamp::now().as_second();
        assert!((3500..=3600).contains(&left), "{left}");
        let status = world.logs(text("token"), "?limit=1").await.status;
        assert_eq!(status, if role == "member" { 403 } else { 200 }, "{role}");
    }
    assert_eq!(roles, [("org-123", "1", "admin"), ("org-123", "2", "auditor"), ("org-123", "3", "member")]);
}

#[tokio::test]
async fn development_tokens_are_for_this_machine_and_this_page() {
    let world = World::start().await;
    let url = world.url("");
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    let own = format!("http://{host}");
    let site = |value| vec![("host", host), ("sec-fetch-site", value)];
    let origin = |value| vec![("host", host), ("origin", value)];
    let cases = [
        (200, vec![("host", host)]),
        (200, vec![("host", "localhost")]),
        (200, vec![("host", "[::1]:8787")]),
        (200, vec![("host", "127.0.0.1:1")]),
        (200, site("same-origin")),
        (200, site("none")),
        (200, origin(&own)),
        // Somebody's name that resolves to this machine.
        (403, vec![("host", "evil.example:8787")]),
        (403, vec![("host", "localhost.evil.example")]),
        (403, vec![("host", "127.0.0.1.evil.example:8787")]),
        (403, vec![("host", "localhost:8787.evil.example")]),
        (403, vec![("host", "localhost:")]),
        (403, vec![("host", "127.0.0.1@evil.example")]),
        (403, vec![("host", "192.168.0.7:8787")]),
        (403, vec![("host", "0.0.0.0:8787")]),
        (403, vec![("host", "")]),
        // Pages of other origins, of this machine too.
        (403, site("cross-site")),
        (403, site("same-site")),
        (403, origin("http://localhost:5173")),
        (403, origin("https://evil.example")),
        (403, origin("null")),
        (403, origin("")),
        (403, vec![("host", host), ("origin", &own), ("origin", "https://evil.example")]),
        (403, vec![("host", host), ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]),
    ];
    for (status, headers) in cases {
        let answer = raw::get_as(&world, "/dev/tokens", &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{headers:?}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{headers:?}");
        if status == 403 {
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert_eq!(answer.code(), "forbidden");
            assert_eq!(answer.body["identities"], Value::Null);
        }
    }
    let preflight = world.http.request(Method::OPTIONS, format!("{own}/dev/tokens"));
    let preflight = preflight.header("origin", "http://localhost:5173");
    let preflight = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    assert!(!preflight.headers().contains_key("access-control-allow-origin"));
}
