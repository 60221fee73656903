//! HTTP, as a function sees it: which endpoint is meant, who is calling, and how an answer looks. The order of checks up
//! to the handler is here; what the handler then does is its own.

mod body;
mod call;
mod disposition;
mod event;
mod form;
mod store;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;
use lambda_http::http::{Method, StatusCode, header};
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Stopwatch;
use crate::config::{ConfigError, Needs};
use crate::metrics::{self, Metric};
use crate::problem::Problem;

pub use body::{MAX_JSON_BYTES, Query, present};
pub use call::Call;
pub use event::{Event, Reply};
pub use form::{FileField, Form, MAX_FILE_BYTES};
pub use store::{store, stored_answer};

/// Where all endpoints stand together. A function URL has a host of its own, so each also answers without it.
pub const BASE_PATH: &str = "/api/storage";

/// Says that an answer was given before (draft-ietf-httpapi-idempotency-key-header).
const REPLAYED: &str = "idempotent-replayed";

/// What a handler answers when all went well: status 200 and a body, of JSON unless it is a file of another format.
#[derive(Debug)]
pub struct Answer {
    content_type: &'static str,
    body: String,
    replayed: bool,
}

impl Answer {
    /// A body that becomes a JSON object; `success: true` is added to it.
    ///
    /// # Errors
    /// [`Problem::Internal`] if it cannot be written as JSON.
    pub fn new(body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_value(body).map_err(|error| Problem::Internal(error.to_string()))?;
        let mut answer = json!({ "success": true });
        if let (Value::Object(answer), Value::Object(body)) = (&mut answer, body) {
            answer.extend(body);
        }
        Ok(Self { content_type: "application/json", body: answer.to_string(), replayed: false })
    }

    /// A text of another format.
    #[must_use]
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self { content_type, body, replayed: false }
    }

    /// Whether it was given before, to an earlier request with the same idempotency key.
    #[must_use]
    pub fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }
}

/// A handler's future.
pub type Handling<'a> = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send + 'a>>;

/// What one method does at one path.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// What follows the endpoint's name in the path: nothing, or literal segments and at most one in braces, which is handed to
    /// the handler: `{id}` is one segment, `{file_path+}` is all that follows.
    pub path: &'static str,
    /// What it does for a caller whose token was verified.
    pub handler: for<'a> fn(&'a App, Call) -> Handling<'a>,
}

/// One endpoint: the whole of what a function serves.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The function's name, and the first segment of its routes behind [`BASE_PATH`].
    pub name: &'static str,
    /// The secrets that it works with: the tokens' in any case.
    pub needs: Needs,
    /// Its routes. Of several paths that fit the first one is taken, whatever the method: literal ones stand before braces.
    pub routes: &'static [Route],
}

/// A function that is configured, or that says so to everybody who calls it.
pub type Configured = Result<App, ConfigError>;

impl Endpoint {
    /// Answers a request. Whatever happens is an answer.
    pub async fn serve(&self, app: &Configured, request: Request) -> Response<Body> {
        let begun = Stopwatch::start();
        let request_id = request.lambda_context().request_id;
        // A panic is a defect of ours; the process and its connections are none the worse for it.
        let outcome = AssertUnwindSafe(self.answer(app, request)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(Problem::Internal("panic".into())));
        self.log(&outcome, &request_id, begun);
        measure(outcome.as_ref().err());
        match outcome {
            Ok(Answer { content_type, body, replayed }) => {
                let headers = replayed.then(|| (REPLAYED, "true".to_owned()));
                response(200, content_type, headers.as_slice(), body)
            }
            Err(problem) => {
                let body = problem.body(&request_id).to_string();
                response(problem.status(), "application/problem+json", &problem.headers(), body)
            }
        }
    }

    /// The routes of a raw path, whatever their methods, each with what stands in its braces.
    #[must_use]
    pub fn routes_at<'p>(&self, raw_path: &'p str) -> Vec<(&'static Route, &'p str)> {
        let below = raw_path.strip_prefix(BASE_PATH).and_then(|path| path.strip_prefix('/'));
        let rest = match below.and_then(|path| path.strip_prefix(self.name)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => raw_path,
        };
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let mut fitting: Vec<_> =
            self.routes.iter().filter_map(|route| Some((route, route.fits(rest)?))).collect();
        if let Some(path) = fitting.first().map(|(route, _)| route.path) {
            fitting.retain(|(route, _)| route.path == path);
        }
        fitting
    }

    async fn answer(&self, app: &Configured, request: Request) -> Result<Answer, Problem> {
        let path = request.raw_http_path().to_owned();
        let routes = self.routes_at(&path);
        if routes.is_empty() {
            return Err(Problem::NoRoute);
        }
        let Some((route, rest)) = routes.iter().find(|(route, _)| route.method == *request.method()) else {
            let allowed: Vec<_> = routes.iter().map(|(route, _)| route.method.as_str()).collect();
            return Err(Problem::MethodNotAllowed(allowed.join(", ")));
        };
        let app = app.as_ref().map_err(|error| Problem::NotConfigured(error.to_string()))?;
        let call = Call::new(app, request, self.name, route, (*rest).to_owned())?;
        (route.handler)(app, call).await
    }

    /// One line per request. Never in it: tokens, signed URLs, keys, file names and paths (they may tell of a patient).
    fn log(&self, outcome: &Result<Answer, Problem>, request_id: &str, begun: Stopwatch) {
        let (endpoint, duration_ms) = (self.name, begun.elapsed_ms());
        match outcome {
            Ok(_) => tracing::info!(endpoint, request_id, status = 200, duration_ms, "answered"),
            Err(problem) => {
                let (status, code, reason) = (problem.status(), problem.code(), problem.reason());
                if status >= 500 {
                    tracing::error!(endpoint, request_id, status, code, reason, duration_ms, "failed");
                } else {
                    tracing::info!(endpoint, request_id, status, code, reason, duration_ms, "refused");
                }
            }
        }
    }
}

impl Route {
    /// What stands in the braces of a path that fits; empty if there are none.
    fn fits<'p>(&self, rest: &'p str) -> Option<&'p str> {
        let Some((before, after)) = self.path.split_once('{') else {
            return (rest == self.path).then_some("");
        };
        let (name, after) = after.split_once('}')?;
        let held = rest.strip_prefix(before)?.strip_suffix(after)?;
        (name.ends_with('+') || (!held.is_empty() && !held.contains('/'))).then_some(held)
    }
}

/// Counts an answer.
fn measure(problem: Option<&Problem>) {
    metrics::count(Metric::Requests);
    match problem {
        Some(Problem::TooManyUploads | Problem::TooManyBytes) => metrics::count(Metric::QuotaRefusals),
        Some(Problem::NotConfigured(_)) => metrics::count(Metric::NotConfigured),
        _ => {}
    }
    let failed = problem.is_some_and(|problem| problem.status() >= 500);
    metrics::record(Metric::ServerErrors, failed.into());
}

fn response(
    status: u16,
    content_type: &str,
    headers: &[(&'static str, String)],
    body: String,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::Text(body)).unwrap_or_else(|_| {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_answers_at_its_route_and_at_the_root() {
        const fn route(method: Method, path: &'static str) -> Route {
            Route { method, path, handler: |_, _| Box::pin(async { Err(Problem::NoRoute) }) }
        }
        const METADATA: Endpoint = Endpoint {
            name: "metadata",
            needs: Needs::ENDPOINT,
            routes: &[route(Method::GET, "{file_path+}")],
        };
        const UPLOADS: Endpoint = Endpoint {
            name: "uploads",
            needs: Needs::ENDPOINT,
            routes: &[
                route(Method::POST, ""),
                route(Method::GET, "{id}"),
                route(Method::DELETE, "{id}"),
                route(Method::POST, "{id}/parts"),
            ],
        };
        const LOGS: Endpoint = Endpoint {
            name: "audit-logs",
            needs: Needs::ENDPOINT,
            routes: &[
                route(Method::POST, "exports"),
                route(Method::GET, "exports/{id}"),
                route(Method::DELETE, "exports/{id}"),
                route(Method::GET, "{id}"),
                route(Method::GET, "{id}/proof"),
            ],
        };
        for (path, rest) in [
            ("/", ""),
            ("", ""),
            ("/api/storage/metadata", ""),
            ("/api/storage/metadata/", ""),
            ("/api/storage/metadata/o/s/t/i/f", "o/s/t/i/f"),
            ("/o/s/t/i/f", "o/s/t/i/f"),
            ("/api/storage/metadatax", "api/storage/metadatax"),
            ("//evil", "/evil"),
        ] {
            assert_eq!(METADATA.routes_at(path)[0].1, rest, "{path}");
        }
        for (path, methods, held) in [
            ("/", "POST", ""),
            ("/api/storage/uploads", "POST", ""),
            ("/api/storage/uploads/", "POST", ""),
            ("/api/storage/uploads/01J", "GET DELETE", "01J"),
            ("/01J", "GET DELETE", "01J"),
            ("/api/storage/uploads/01J/parts", "POST", "01J"),
            ("/api/storage/uploads//parts", "", ""),
            ("/api/storage/uploads/a/b", "", ""),
            ("/api/storage/uploadsx", "", ""),
            // A path that is written out is not one of those in braces.
            ("/api/storage/audit-logs/exports", "POST", ""),
            ("/api/storage/audit-logs/exports/proof", "GET DELETE", "proof"),
            ("/api/storage/audit-logs/01J/proof", "GET", "01J"),
            ("/api/storage/audit-logs/01J", "GET", "01J"),
        ] {
            let endpoint = if path.contains("audit-logs") { LOGS } else { UPLOADS };
            let found = endpoint.routes_at(path);
            let names: Vec<_> = found.iter().map(|(route, _)| route.method.as_str()).collect();
            assert_eq!(names.join(" "), methods, "{path}");
            assert!(found.iter().all(|(_, rest)| *rest == held), "{path}");
        }
    }
}
