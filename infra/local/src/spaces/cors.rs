//! What the bucket answers to browsers: CORS as S3 does it, from rules that are a plain value.
//!
//! S3's answer differs from that of the usual middleware: a preflight that no rule allows is a 403, one that a rule
//! allows names that rule's methods, and a simple request from an origin that is not listed is served without a
//! single CORS header. Knows nothing of objects or signatures: preflights carry no credentials.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderName, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};
use s3s::{Body, HttpResponse};

/// One rule of the bucket, in the words of S3's `CORSRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRule {
    /// Origins (`http://localhost:5173`); one `*` in each is a wildcard.
    pub allowed_origins: Vec<String>,
    /// Methods a page may use.
    pub allowed_methods: Vec<Method>,
    /// Request headers a page may send, without regard to case; one `*` in each is a wildcard.
    pub allowed_headers: Vec<String>,
    /// Response headers a page may read beyond the few that browsers always show.
    pub expose_headers: Vec<String>,
    /// Seconds that a browser may remember a preflight.
    pub max_age_seconds: u32,
}

impl CorsRule {
    /// The rule of the Spaces setup guide (step 3), with its two development origins. It lets the same pages send parts of an
    /// upload to presigned URLs: in one rule, since some stores look no further than the first one that has the origin.
    #[must_use]
    pub fn development() -> Self {
        Self {
            allowed_origins: vec!["http://localhost:5173".into(), "http://localhost:3000".into()],
            allowed_methods: vec![Method::GET, Method::HEAD, Method::PUT],
            allowed_headers: vec!["*".into()],
            expose_headers: vec!["ETag".into()],
            max_age_seconds: 3000,
        }
    }

    fn allows(&self, origin: &str, method: &str) -> bool {
        self.allowed_origins.iter().any(|pattern| matches(pattern, origin))
            && self.allowed_methods.iter().any(|allowed| allowed.as_str() == method)
    }

    fn allows_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.allowed_headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name))
    }

    /// What both a preflight and the request itself are told.
    fn write(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let any_origin = self.allowed_origins.iter().any(|allowed| allowed == "*");
        let origin = if any_origin { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert(headers, ACCESS_CONTROL_ALLOW_METHODS, &join(self.allowed_methods.iter().map(Method::as_str)));
        if !self.expose_headers.is_empty() {
            insert(
                headers,
                ACCESS_CONTROL_EXPOSE_HEADERS,
                &join(self.expose_headers.iter().map(String::as_str)),
            );
        }
        insert(headers, ACCESS_CONTROL_MAX_AGE, &self.max_age_seconds.to_string());
        if !any_origin {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
        );
    }
}

/// The answer to `OPTIONS`: 200 with the rule's headers, 400 without an origin, 403 when no rule allows it.
pub(super) fn preflight(rules: &[CorsRule], request: &HeaderMap) -> HttpResponse {
    let Some(origin) = request.get(ORIGIN) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "Insufficient information. Origin request header needed.",
        );
    };
    let method = text(request.get(ACCESS_CONTROL_REQUEST_METHOD));
    let asked = text(request.get(ACCESS_CONTROL_REQUEST_HEADERS));
    let names = || asked.split(',').map(str::trim).filter(|name| !name.is_empty());
    let rule = rules
        .iter()
        .find(|rule| rule.allows(text(Some(origin)), method) && names().all(|name| rule.allows_header(name)));
    let Some(rule) = rule else {
        return refusal(
            StatusCode::FORBIDDEN,
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed: no rule of the bucket lists its origin, method and headers.",
        );
    };
    let mut response = HttpResponse::new(Body::empty());
    rule.write(origin, response.headers_mut());
    let allowed = names().map(str::to_ascii_lowercase).collect::<Vec<_>>().join(", ");
    if !allowed.is_empty() {
        insert(response.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &allowed);
    }
    response
}

/// Adds to the answer of a request from `origin` what the first rule that allows it says; nothing if none does.
pub(super) fn decorate(
    rules: &[CorsRule],
    origin: Option<&HeaderValue>,
    method: &Method,
    response: &mut HttpResponse,
) {
    let Some(origin) = origin else { return };
    if let Some(rule) = rules.iter().find(|rule| rule.allows(text(Some(origin)), method.as_str())) {
        rule.write(origin, response.headers_mut());
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = HttpResponse::new(Body::from(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// A value that is not text matches no rule, as if it were empty.
fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `pattern` may hold one `*`, which stands for any run of characters.
fn matches(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((start, end)) => {
            value.len() >= start.len() + end.len() && value.starts_with(start) && value.ends_with(end)
        }
    }
}

fn join<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// A rule with a value that no header can hold (a line break) simply does not send that header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
