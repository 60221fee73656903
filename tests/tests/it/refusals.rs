//! Every route against every caller who may not use it. The routes are the router's own list: one that this table does
//! not know fails it.

use jsonwebtoken::Algorithm;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::audit::{Action, Body};
use shared::config::DEVELOPMENT_JWT_SECRET;
use shared::http::Endpoint;
use shared::ids::UserId;

use crate::raw::{self, bearer};
use crate::world::{Answer, ORG, Snapshot, World, endpoints};

const ZIP: &[u8] = include_bytes!("../../fixtures/files/info-zip.zip");
const OTHER_ORG: &str = "org-999";

/// What the table knows of a route.
struct Route {
    /// A role that may use it, on what [`request`] asks for.
    allowed: &'static str,
    /// A role that may not.
    denied: &'static str,
    action: Action,
    names: Names,
}

/// What a request names, and so what the entry of its refusal says.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    Path,
    /// System, object type and object of a form, which also names an organisation.
    Place(&'static str, &'static str),
    Nothing,
}

fn route(endpoint: &Endpoint) -> Route {
    const RECEIPT: Names = Names::Place("accounting", "receipt");
    let (allowed, denied, action, names) = match endpoint.name {
        "upload" | "uploads" | "receipt-upload" => ("accountant", "member", Action::Upload, RECEIPT),
        "app-zip-upload" => {
            ("developer", "accountant", Action::Upload, Names::Place("app-builder", "source"))
        }
        "signed-url" => ("accountant", "auditor", Action::SignedUrlGenerated, Names::Path),
        "delete" => ("accountant", "auditor", Action::Delete, Names::Path),
        "metadata" => ("auditor", "developer", Action::MetadataRead, Names::Path),
        "audit-logs" => ("auditor", "service", Action::AuditRead, Names::Nothing),
        unknown => panic!("the table does not know the route {unknown}: what is refused there?"),
    };
    Route { allowed, denied, action, names }
}

/// A request that is good but for its caller.
fn request(world: &World, endpoint: &Endpoint, path: &str) -> RequestBuilder {
    let name = endpoint.name;
    let to = |rest: &str| {
        world.http.request(endpoint.routes[0].method.clone(), world.url(&format!("{name}{rest}")))
    };
    match name {
        "upload" => {
            let form = World::receipt(World::jpeg("a.jpg"));
            to("").multipart(form.text("system", "accounting").text("object_type", "receipt"))
        }
        "uploads" => to("").json(&json!({
            "org_id": ORG, "system": "accounting", "object_type": "receipt", "object_id": "receipt-456",
            "filename": "a.jpg", "size_bytes": 20, "mime_type": "image/jpeg",
        })),
        "receipt-upload" => to("").multipart(World::receipt(World::jpeg("a.jpg"))),
        "app-zip-upload" => {
            let file = reqwest::multipart::Part::bytes(ZIP).file_name("app.zip");
            to("").multipart(World::receipt(file))
        }
        "metadata" => to(&format!("/{path}")),
        "audit-logs" => to(""),
        _ => to("").json(&json!({ "file_path": path })),
    }
}

/// Status, code, and the shape that RFC 9457 and the storage guide give a refusal.
#[track_caller]
fn check_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut members: Vec<_> = answer.body.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["code", "detail", "request_id", "status", "success", "title", "type"]);
    assert_eq!(answer.body["success"], false);
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.body["type"], format!("urn:storage:problem:{code}"));
    assert_eq!(answer.body["title"], answer.status.canonical_reason().unwrap());
    for member in ["detail", "request_id"] {
        assert!(!answer.body[member].as_str().unwrap().is_empty(), "{member} says nothing");
    }
}

/// 401, with the challenge that is due, before anything was asked of a store.
#[track_caller]
fn check_unauthenticated(world: &World, answer: &Answer, presented: bool) {
    let (code, challenge) = match presented {
        true => ("invalid_token", "Bearer error=\"invalid_token\""),
        false => ("missing_token", "Bearer"),
    };
    check_problem(answer, 401, code);
    assert_eq!(answer.headers["www-authenticate"], challenge);
    assert!(world.dynamodb.take().is_empty() && world.s3.take().is_empty(), "a store was asked");
}

/// Nothing changed but for one entry, which is of a failure: this one.
async fn the_entry(world: &World, before: &Snapshot) -> Body {
    assert!(world.s3.take().is_empty(), "the object store was asked");
    let after = world.snapshot().await;
    assert_eq!((&after.objects, &after.records), (&before.objects, &before.records));
    let (_, old) = after.entries.split_last().unwrap();
    assert_eq!(old, before.entries, "one more entry, and it is the last");
    world.entries().await.pop().unwrap()
}

/// The entry is the caller's, in the caller's organisation, and says what was tried on what.
#[track_caller]
fn check_entry(entry: &Body, org: &str, role: &str, route: &Route, path: &str) {
    assert_eq!((entry.org.as_str(), entry.role.as_str(), entry.action), (org, role, route.action));
    assert_eq!((&entry.user, entry.ip.as_str()), (&UserId::Number(1), "127.0.0.1"));
    let details = &entry.details;
    let place = (details.system.as_deref(), details.object_type.as_deref(), details.object_id.as_deref());
    match route.names {
        Names::Path => assert_eq!(entry.file_path().as_deref(), Some(path)),
        Names::Place(system, object_type) => {
            assert_eq!(place, (Some(system), Some(object_type), Some("receipt-456")));
            // Whose place it is that was asked for in vain, if it is not the caller's own.
            let asked_for = (org != ORG).then_some(ORG);
            assert_eq!(details.org_id.as_deref(), asked_for);
        }
        Names::Nothing => assert_eq!(entry.file_path(), None),
    }
    if !matches!(route.names, Names::Place(..)) {
        assert_eq!(place, (None, None, None));
    }
}

/// The claims of an admin of [`ORG`], changed.
fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let exp = shared::clock::now().as_second() + 3600;
    let mut claims = json!({ "sub": "1", "user_id": 1, "org_id": ORG, "role": "admin", "exp": exp });
    change(&mut claims);
    claims
}

fn without(member: &str) -> String {
    raw::token(&claims(|claims| {
        claims.as_object_mut().unwrap().remove(member).unwrap();
    }))
}

fn with(member: &str, value: impl Into<Value>) -> String {
    raw::token(&claims(|claims| claims[member] = value.into()))
}

/// Tokens of an admin that are not good.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let now = shared::clock::now().as_second();
    let good = raw::token(&claims(|_| {}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let foreign = raw::token(&claims(|claims| claims["org_id"] = OTHER_ORG.into()));
    vec![
        ("garbage", "garbage".into()),
        ("three times garbage", "a.b.c".into()),
        ("without its signature", format!("{head}.")),
        ("with its header alone", head.split('.').next().unwrap().into()),
        ("with another token's signature", format!("{}.{signature}", foreign.rsplit_once('.').unwrap().0)),
        ("expired", with("exp", now - 61)),
        ("exp as a string", with("exp", (now + 3600).to_string())),
        ("exp as a boolean", with("exp", true)),
        ("exp as null", with("exp", Value::Null)),
        ("no exp", without("exp")),
        ("not valid yet", with("nbf", now + 3600)),
        ("alg none", raw::unsigned("none", &claims(|_| {}), "")),
        ("alg NONE", raw::unsigned("NONE", &claims(|_| {}), "")),
        ("alg none, signed", raw::unsigned("none", &claims(|_| {}), signature)),
        ("alg RS256, signed by the secret", raw::unsigned("RS256", &claims(|_| {}), signature)),
        ("other key", raw::signed(&claims(|_| {}), "another secret of thirty-two bytes", Algorithm::HS256)),
        ("other algorithm", raw::signed(&claims(|_| {}), DEVELOPMENT_JWT_SECRET, Algorithm::HS512)),
        ("no sub", without("sub")),
        ("sub empty", with("sub", "")),
        ("no organisation", without("org_id")),
        ("organisation outside the grammar", with("org_id", "org-123/..")),
        ("organisation as a list", with("org_id", json!([ORG]))),
        ("no role", without("role")),
        ("role as a list", with("role", json!(["admin"]))),
        ("roles as a string", with("roles", "admin")),
    ]
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let (before, tokens) = (world.snapshot().await, bad_tokens());
    let good = raw::token(&claims(|_| {}));
    let bad_headers = ["Bearer", "Bearer ", "Basic YTpi", &good, &format!("Bearer {good}, Bearer {good}")];
    world.dynamodb.take();
    world.s3.take();
    for endpoint in endpoints() {
        let request = || request(&world, &endpoint, &path);
        check_unauthenticated(&world, &world.send(request()).await, false);
        for (what, token) in &tokens {
            let answer = world.send(request().bearer_auth(token)).await;
            assert_eq!(answer.status, 401, "{}, {what}: {}", endpoint.name, answer.body);
            check_unauthenticated(&world, &answer, true);
        }
        for header in bad_headers {
            let answer = world.send(request().header("authorization", header)).await;
            check_unauthenticated(&world, &answer, true);
        }
    }
    assert_eq!(world.snapshot().await, before, "a 401 leaves no trace");
    for endpoint in endpoints() {
        let path = world.a_receipt().await;
        let answer = world.send(request(&world, &endpoint, &path).bearer_auth(&good)).await;
        assert_eq!(answer.status, 200, "{}: what was refused was the token: {}", endpoint.name, answer.body);
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn the_wrong_method_is_refused_before_the_caller_is_looked_at() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let before = world.snapshot().await;
    world.dynamodb.take();
    world.s3.take();
    for endpoint in endpoints() {
        let takes_path = endpoint.routes[0].path == "{file_path+}";
        let target = if takes_path { format!("{}/{path}", endpoint.name) } else { endpoint.name.into() };
        let known = &endpoint.routes[0].method;
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::TRACE,
        ];
        for method in methods.into_iter().filter(|method| method != known) {
            let bare = world.http.request(method.clone(), world.url(&target));
            let as_admin = world.request(method.clone(), &target, &world.token("admin"));
            for request in [bare, as_admin] {
                let answer = world.send(request).await;
                assert_eq!(answer.status, 405, "{method} {target}");
                assert_eq!(answer.headers["allow"], known.as_str());
                if method != Method::HEAD {
                    check_problem(&answer, 405, "method_not_allowed");
                }
            }
        }
    }
    assert!(world.dynamodb.take().is_empty() && world.s3.take().is_empty(), "a store was asked");
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn another_organisation_gets_nothing_and_its_own_log_says_that_it_tried() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    for endpoint in endpoints() {
        let route = route(&endpoint);
        let token = world.token_of(OTHER_ORG, "1", route.allowed);
        let before = world.snapshot().await;
        world.s3.take();
        let answer = world.send(request(&world, &endpoint, &path).bearer_auth(token)).await;
        let expected = match route.names {
            // Everybody has a log of their own; none of our entries is in it, not even of what the other tried.
            Names::Nothing => {
                let logs = answer.ok().body["logs"].as_array().unwrap().clone();
                assert!(logs.iter().all(|log| log["success"] == "false"), "{logs:?}");
                assert_eq!(the_entry(&world, &before).await.org, OTHER_ORG);
                continue;
            }
            Names::Path => (404, "file_not_found", "file_not_found: File not found"),
            Names::Place(..) => (
                403,
                "foreign_organisation",
                "foreign_organisation: org_id is not the organisation of the access token",
            ),
        };
        check_problem(&answer, expected.0, expected.1);
        let entry = the_entry(&world, &before).await;
        check_entry(&entry, OTHER_ORG, route.allowed, &route, &path);
        assert_eq!(entry.error.as_deref(), Some(expected.2));
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn a_role_without_the_right_is_refused_before_anything_is_read() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    for endpoint in endpoints() {
        let route = route(&endpoint);
        for role in [route.denied, "unknown", "Admin"] {
            let before = world.snapshot().await;
            world.s3.take();
            world.dynamodb.take();
            let request = request(&world, &endpoint, &path).bearer_auth(world.token(role));
            let answer = world.send(request).await;
            check_problem(&answer, 403, "forbidden");
            assert_eq!(answer.body["detail"], "Your role may not do this");
            assert_eq!(world.dynamodb.operations(), ["TransactWriteItems"], "only the entry is written");
            let entry = the_entry(&world, &before).await;
            check_entry(&entry, ORG, role, &route, &path);
            let error = entry.error.unwrap();
            assert!(error.starts_with(&format!("role {role} may not ")), "{error}");
            assert!(error.ends_with("(no policy permits it)"), "{error}");
        }
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn whoever_had_a_good_token_is_told_that_it_has_expired_and_nobody_is_told_more() {
    let world = World::start().await;
    let now = shared::clock::now().as_second();
    let expired = raw::token(&claims(|claims| claims["exp"] = (now - 61).into()));
    let answer = world.logs(&expired, "").await.refused(401, "invalid_token");
    assert_eq!(answer.body["detail"], "The access token has expired");
    // Of a forged one it is not told: without a genuine signature its claims are nobody's.
    for (what, token) in bad_tokens().into_iter().filter(|(what, _)| *what != "expired") {
        let answer = world.logs(&token, "").await.refused(401, "invalid_token");
        assert_eq!(answer.body["detail"], "The access token is not valid", "{what}");
    }
}

#[tokio::test]
async fn a_session_cookie_counts_only_in_the_pages_own_requests() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let token = raw::token(&claims(|_| {}));
    let session = format!("theme=dark; __Host-session={token}; lang=en");
    for endpoint in endpoints() {
        for site in ["cross-site", "same-site", "Same-Origin", ""] {
            let before = world.snapshot().await;
            world.s3.take();
            world.dynamodb.take();
            let request = request(&world, &endpoint, &path).header("cookie", &session);
            let answer = world.send(request.header("sec-fetch-site", site)).await;
            check_unauthenticated(&world, &answer, false);
            assert_eq!(world.snapshot().await, before);
        }
        // A browser too old to say whose request it is may send one of another site's.
        let answer = world.send(request(&world, &endpoint, &path).header("cookie", &session)).await;
        check_problem(&answer, 401, "missing_token");
        let others = [format!("session={token}"), format!("__host-session={token}"), "__Host-session".into()];
        for cookie in others {
            let answer = world.send(request(&world, &endpoint, &path).header("cookie", cookie)).await;
            check_problem(&answer, 401, "missing_token");
        }
        for (_, bad) in bad_tokens() {
            let cookie = format!("__Host-session={bad}");
            let request = request(&world, &endpoint, &path).header("sec-fetch-site", "same-origin");
            let answer = world.send(request.header("cookie", cookie)).await;
            check_problem(&answer, 401, "invalid_token");
        }
    }
    for site in ["same-origin", "none"] {
        for endpoint in endpoints() {
            let path = world.a_receipt().await;
            let request = request(&world, &endpoint, &path).header("cookie", &session);
            world.send(request.header("sec-fetch-site", site)).await.ok();
        }
    }
    // An Authorization header is never helped out by a cookie.
    let request = request(&world, &endpoints()[0], &path).header("cookie", &session);
    world.send(request.header("authorization", bearer("garbage"))).await.refused(401, "invalid_token");
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_a_503() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let before = world.snapshot().await;
    let refused = crate::proxy::Fault::error(400, "ResourceNotFoundException");
    world.dynamodb.fail("TransactWriteItems", 0, usize::MAX, refused);
    for endpoint in endpoints() {
        let route = route(&endpoint);
        let request = request(&world, &endpoint, &path).bearer_auth(world.token(route.denied));
        let answer = world.send(request).await;
        check_problem(&answer, 503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    world.dynamodb.heal();
    assert_eq!(world.snapshot().await, before);
}
