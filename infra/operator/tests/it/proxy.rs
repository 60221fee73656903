//! A proxy in front of a store. It remembers every request, and answers otherwise where a test says so.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request to the store.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn is_signed(&self) -> bool {
        self.headers.contains_key("authorization") || self.query().contains("X-Amz-Signature")
    }

    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// DynamoDB's operation; empty for S3.
    pub fn operation(&self) -> &str {
        let target = self.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        target.and_then(|target| target.split('.').nth(1)).unwrap_or_default()
    }
}

/// What becomes of a request.
pub enum Fate {
    /// The store answers.
    Pass,
    /// The proxy answers: status and body.
    Answer(u16, String),
    /// The store answers, with another value of a header; none: without it.
    Header(&'static str, Option<String>),
    /// The store answers, with headers more.
    Headers(&'static [(&'static str, &'static str)]),
    /// The store answers, with a word of the body replaced.
    Body(&'static str, &'static str),
}

impl Fate {
    /// S3's own way to refuse.
    pub fn refused(status: u16, code: &str) -> Self {
        Self::Answer(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }
}

type Rule = Box<dyn Fn(&Seen) -> Fate + Send + Sync>;

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    rule: Mutex<Option<Rule>>,
}

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
    _server: JoinSet<()>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let own = state.clone();
        let handler = move |request: Request<Body>| {
            let (state, client) = (own.clone(), client.clone());
            async move { pass(&state, &client, upstream, request).await }
        };
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
        });
        Self { address, state, _server: server }
    }

    /// Has every request's fate decided.
    pub fn follow(&self, rule: impl Fn(&Seen) -> Fate + Send + Sync + 'static) {
        *self.state.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Everything that was seen since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }
}

async fn pass(
    state: &State,
    client: &reqwest::Client,
    upstream: SocketAddr,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let seen = Seen { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    state.seen.lock().unwrap().push(seen.clone());
    let fate = state.rule.lock().unwrap().as_ref().map_or(Fate::Pass, |rule| rule(&seen));
    if let Fate::Answer(status, body) = fate {
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        return response.body(Body::from(body)).unwrap();
    }
    let path = seen.uri.path_and_query().map_or("/", |path| path.as_str());
    // The client signed the proxy's own host: the headers go through as they are.
    let request = client.request(seen.method, format!("http://{upstream}{path}"));
    let answer = request.headers(seen.headers).body(seen.body).send().await.unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let mut body = answer.bytes().await.unwrap();
    match fate {
        Fate::Header(name, Some(value)) => drop(headers.insert(name, value.parse().unwrap())),
        Fate::Header(name, None) => drop(headers.remove(name)),
        Fate::Headers(more) => {
            for (name, value) in more {
                headers.insert(*name, value.parse().unwrap());
            }
        }
        Fate::Body(from, to) => {
            body = String::from_utf8(body.to_vec()).unwrap().replace(from, to).into();
            headers.remove("content-length");
        }
        Fate::Pass | Fate::Answer(..) => {}
    }
    headers.remove("transfer-encoding");
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}
