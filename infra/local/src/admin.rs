//! The admin page at `/admin/`, as a host for static files would serve it, and tokens of development identities for it.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Redirect;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::secret::Secret;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

use crate::token::Identity;

/// Where the page's files are. They are read at each request: who edits one sees it on reload.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../admin-ui");

/// What every host must say (`infra/admin/README.md`).
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// Who a newcomer may be, by one click.
const IDENTITIES: [(&str, &str); 3] = [("1", "admin"), ("2", "auditor"), ("3", "member")];
const ORG: &str = "org-123";
const TOKEN_SECONDS: i64 = 3600;

/// The page.
pub(crate) fn page() -> Router {
    let files = ServeDir::new(Path::new(FILES));
    let page = Router::new().route("/admin", get(async || Redirect::permanent("/admin/")));
    hosted(page.nest_service("/admin/", files))
}

/// Static files, with what a host says of them.
pub(crate) fn hosted(files: Router) -> Router {
    files.layer(CompressionLayer::new()).layer(map_response(
        async |mut response: axum::response::Response| {
            for (name, value) in HEADERS {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        },
    ))
}

/// `GET /dev/tokens`: whoever can ask for it from this machine can also read the secret in the code. A page from elsewhere that
/// the developer happens to look at can not, and must not learn it here.
pub(crate) fn tokens(jwt_secret: Secret) -> Router {
    let answer = async move |headers: HeaderMap| match is_ours(&headers) {
        true => match identities(&jwt_secret) {
            Ok(identities) => {
                answer(StatusCode::OK, "application/json", &json!({ "identities": identities }))
            }
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", &error.to_string()),
        },
        false => refusal(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Development tokens are for the page of this address, opened on this machine",
        ),
    };
    Router::new().route("/dev/tokens", get(answer))
}

/// Whether a program asks, or a page of this very origin, by a name that means this machine: somebody else's name that resolves to
/// it (DNS rebinding) makes their page one of the same origin.
fn is_ours(headers: &HeaderMap) -> bool {
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let (Ok(Some(host)), Ok(origin), Ok(site)) =
        (one(header::HOST), one(header::ORIGIN), one(HeaderName::from_static("sec-fetch-site")))
    else {
        return false;
    };
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_loopback = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_port(rest)));
    is_loopback
        && origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
        && site.is_none_or(|site| ["same-origin", "none"].contains(&site))
}

fn identities(jwt_secret: &Secret) -> Result<Vec<Value>, jsonwebtoken::errors::Error> {
    let identity = |(user, role): (&str, &str)| {
        let identity =
            Identity { org: ORG.into(), user: user.into(), role: role.into(), expires_in: TOKEN_SECONDS };
        let end = identity.claims()["exp"].as_i64().and_then(|exp| Timestamp::from_second(exp).ok());
        let token = identity.token(jwt_secret.expose())?;
        Ok(json!({
            "org_id": identity.org,
            "sub": identity.user,
            "role": identity.role,
            "token": token,
            "expires_at": end.map(|end| end.to_string()),
        }))
    };
    IDENTITIES.into_iter().map(identity).collect()
}

fn refusal(status: StatusCode, code: &str, detail: &str) -> Response<Body> {
    let problem = json!({
        "success": false,
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    answer(status, "application/problem+json", &problem)
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
