//! The functions behind one address, with the admin page beside them. Every request takes the way it takes when deployed: HTTP, event, handler, answer,
//! HTTP, within Lambda's limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, Method, Response, StatusCode, header};
use futures_util::StreamExt;
use jiff::SignedDuration;
use lambda_http::Context;
use shared::clock;
use shared::http::{BASE_PATH, Configured, Endpoint, Event, Reply};
use shared::problem::Problem;
use shared::secret::Secret;
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::admin;
use crate::docs;
use crate::event::{self, Answer, MAX_PAYLOAD_BYTES};

/// The functions' timeout (DESIGN section 8).
const FUNCTION_TIMEOUT: SignedDuration = SignedDuration::from_secs(15);
/// Pages of these origins may call the service (setup guide, "Configure CORS").
pub const ORIGINS: [&str; 2] = ["http://localhost:5173", "http://localhost:3000"];

/// Every endpoint there is. The router's own list: what is not in it is not served.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        upload::ENDPOINT,
        uploads::ENDPOINT,
        signed_url::ENDPOINT,
        delete::ENDPOINT,
        metadata::ENDPOINT,
        receipt_upload::ENDPOINT,
        app_zip_upload::ENDPOINT,
        audit_logs::ENDPOINT,
    ]
}

/// Serves all endpoints, and the admin page, until `shutdown` resolves. Tokens of development identities are signed with the
/// secret.
pub async fn serve(
    listener: TcpListener,
    app: Arc<Configured>,
    jwt_secret: Secret,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(ORIGINS.map(axum::http::HeaderValue::from_static)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
        ])
        // A page must be able to read when it may try again, and whether an answer is an old one.
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static("idempotent-replayed")])
        .max_age(Duration::from_secs(3000));
    let functions = Router::new().fallback(handle).layer(cors).with_state(app);
    // Not for pages of other origins: what stands behind the layer has no part in it.
    let router = functions.merge(admin::page()).merge(docs::page()).merge(admin::tokens(jwt_secret));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

async fn handle(
    State(app): State<Arc<Configured>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let request_id = request_id();
    let Some(endpoint) = endpoint_of(parts.uri.path()) else {
        let body = Problem::NoRoute.body(&request_id).to_string();
        return plain(StatusCode::NOT_FOUND, "application/problem+json", body);
    };
    let Some(body) = read(body).await else { return too_large() };
    let event = event::from_request(&parts, &body, &client.ip().to_string(), &request_id, clock::now());
    drop(body);
    match invoke(endpoint, app, event.to_string(), request_id).await {
        Ok(response) => response.map(Body::from),
        Err(Refusal::EventTooLarge) => too_large(),
        Err(Refusal::Broken(what)) => {
            tracing::error!(what, "a function's invocation failed");
            plain(StatusCode::BAD_GATEWAY, "text/plain", "Internal Server Error")
        }
    }
}

/// Why there is no answer of a function to pass on.
#[derive(Debug)]
pub enum Refusal {
    /// The event is larger than Lambda takes.
    EventTooLarge,
    /// The function panicked, or its answer is too large or not one.
    Broken(&'static str),
}

/// Hands an event to an endpoint, as Lambda does: as text, in a task of its own, with a context that says when it ends.
///
/// # Errors
/// [`Refusal`]
pub async fn invoke(
    endpoint: Endpoint,
    app: Arc<Configured>,
    event: String,
    request_id: String,
) -> Result<Response<Bytes>, Refusal> {
    let end = clock::now().saturating_add(FUNCTION_TIMEOUT).unwrap_or(jiff::Timestamp::MAX);
    invoke_until(endpoint, app, event, request_id, end).await
}

/// The same, for an invocation that ends at `end`.
///
/// # Errors
/// [`Refusal`]
pub async fn invoke_until(
    endpoint: Endpoint,
    app: Arc<Configured>,
    event: String,
    request_id: String,
    end: jiff::Timestamp,
) -> Result<Response<Bytes>, Refusal> {
    if event.len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal::EventTooLarge);
    }
    let mut context = Context::default();
    context.request_id = request_id;
    context.deadline = end.as_millisecond().try_into().unwrap_or_default();

    let payload =
        serde_json::from_str::<Event>(&event).map_err(|_| Refusal::Broken("event not understood"))?;
    drop(event);
    let invocation = tokio::spawn(async move {
        let answer = endpoint.serve(&app, payload.into_request(context)).await;
        serde_json::to_string(&Reply::from(answer))
    });
    let answer = match invocation.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Err(Refusal::Broken("answer cannot be written")),
        Err(_) => return Err(Refusal::Broken("panic")),
    };
    if answer.len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal::Broken("answer too large"));
    }
    let answer = serde_json::from_str::<Answer>(&answer).ok().and_then(Answer::into_response);
    answer.ok_or(Refusal::Broken("answer not understood"))
}

/// A body, unless it alone is larger than any event. Such a one is read to its end all the same: many clients look for
/// an answer only when they have sent everything.
async fn read(body: Body) -> Option<Bytes> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        if bytes.len() <= MAX_PAYLOAD_BYTES {
            bytes.extend_from_slice(&chunk.ok()?);
        }
    }
    (bytes.len() <= MAX_PAYLOAD_BYTES).then(|| bytes.into())
}

fn endpoint_of(path: &str) -> Option<Endpoint> {
    let route = path.strip_prefix(BASE_PATH)?.strip_prefix('/')?;
    let name = route.split('/').next()?;
    endpoints().into_iter().find(|endpoint| endpoint.name == name)
}

/// Lambda's request ids are UUIDs: so are these, from a ULID's bits.
fn request_id() -> String {
    let hex = format!("{:032x}", u128::from(ulid::Ulid::generate()));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn too_large() -> Response<Body> {
    plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "Request Entity Too Large")
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
