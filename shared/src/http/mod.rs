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
use crate::config::ConfigError;
use crate::problem::Problem;

pub use body::{MAX_JSON_BYTES, Query, present};
pub use call::Call;
pub use event::{Event, Reply};
pub use form::{FileField, Form, MAX_FILE_BYTES};
pub use store::store;

/// Where all endpoints stand together. A function URL has a host of its own, so each also answers without it.
pub const BASE_PATH: &str = "/api/storage";

/// What a handler answers when all went well: status 200 and a JSON body.
#[derive(Debug)]
pub struct Answer(Value);

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
        Ok(Self(answer))
    }
}

/// A handler's future.
pub type Handling<'a> = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send + 'a>>;

/// One endpoint: the whole of what a function serves.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The function's name, and the last segment of its route.
    pub name: &'static str,
    /// The one method it knows.
    pub method: Method,
    /// Whether a file's path follows the route.
    pub takes_path: bool,
    /// What it does for a caller whose token was verified.
    pub handler: for<'a> fn(&'a App, Call) -> Handling<'a>,
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
        match outcome {
            Ok(Answer(body)) => response(200, "application/json", &[], &body),
            Err(problem) => {
                let body = problem.body(&request_id);
                response(problem.status(), "application/problem+json", &problem.headers(), &body)
            }
        }
    }

    /// What follows this endpoint's route in a raw path, if the path is this endpoint's at all.
    #[must_use]
    pub fn rest_of<'p>(&self, raw_path: &'p str) -> Option<&'p str> {
        let route = raw_path.strip_prefix(BASE_PATH).and_then(|path| path.strip_prefix('/'));
        let rest = match route.and_then(|path| path.strip_prefix(self.name)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => raw_path,
        };
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        (self.takes_path || rest.is_empty()).then_some(rest)
    }

    async fn answer(&self, app: &Configured, request: Request) -> Result<Answer, Problem> {
        let rest = self.rest_of(request.raw_http_path()).ok_or(Problem::NoRoute)?.to_owned();
        if request.method() != self.method {
            return Err(Problem::MethodNotAllowed(self.allow()));
        }
        let app = app.as_ref().map_err(|error| Problem::NotConfigured(error.to_string()))?;
        let call = Call::new(app, request, rest)?;
        (self.handler)(app, call).await
    }

    fn allow(&self) -> &'static str {
        match self.method {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            _ => "POST",
        }
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

fn response(
    status: u16,
    content_type: &str,
    headers: &[(&'static str, String)],
    body: &Value,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::Text(body.to_string())).unwrap_or_else(|_| {
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
        let endpoint = |takes_path| Endpoint {
            name: "metadata",
            method: Method::GET,
            takes_path,
            handler: |_, _| Box::pin(async { Err(Problem::NoRoute) }),
        };
        for (path, rest, rest_with_path) in [
            ("/", Some(""), Some("")),
            ("", Some(""), Some("")),
            ("/api/storage/metadata", Some(""), Some("")),
            ("/api/storage/metadata/", Some(""), Some("")),
            ("/api/storage/metadata/o/s/t/i/f", None, Some("o/s/t/i/f")),
            ("/o/s/t/i/f", None, Some("o/s/t/i/f")),
            ("/api/storage/metadatax", None, Some("api/storage/metadatax")),
            ("//evil", None, Some("/evil")),
        ] {
            assert_eq!(endpoint(false).rest_of(path), rest, "{path}");
            assert_eq!(endpoint(true).rest_of(path), rest_with_path, "{path}");
        }
    }
}
