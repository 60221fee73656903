//! A proxy between the functions and one of their stores. It remembers every request, and makes the wire fail where a
//! test says so.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use data_encoding::BASE64;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// A request that the functions made of a store.
#[derive(Debug, Clone)]
pub struct Seen {
    /// DynamoDB's operation (`TransactWriteItems`), or S3's (`PUT`, `GET`, `DELETE`).
    pub operation: String,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// DynamoDB's request; null for S3.
    pub body: Value,
    pub body_bytes: usize,
    /// DynamoDB's answer; null for S3, or if there was none.
    pub answer: Value,
    /// The answer's status; 0 if there was none.
    pub status: u16,
    pub arrived: Instant,
    /// When the answer was passed on.
    pub answered: Option<Instant>,
}

impl Seen {
    /// Whether its answer came too late, or not at all: it is sent again. A machine that has much else to do has some.
    pub fn is_late(&self) -> bool {
        self.answered.is_none_or(|at| at - self.arrived >= Duration::from_secs(1))
    }

    /// What tells two calls of one operation apart, and stays the same when one is sent again.
    pub fn call(&self) -> String {
        let token = self.body["ClientRequestToken"].as_str();
        match &self.body {
            Value::Null => self.uri.to_string(),
            body => token.map_or_else(|| body.to_string(), str::to_owned),
        }
    }

    /// The audit entry that a transaction writes: its last item.
    pub fn entry(&self) -> shared::audit::Body {
        let items = self.body["TransactItems"].as_array().unwrap();
        let bytes = items.last().unwrap()["Put"]["Item"]["b"]["B"].as_str().unwrap();
        shared::audit::Body::from_bytes(&BASE64.decode(bytes.as_bytes()).unwrap()).unwrap()
    }
}

/// How the wire fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection is closed; the store never sees the request.
    Reset,
    /// The store does what it is asked; its answer is lost.
    CutAfterSending,
    /// The request arrives late.
    Delay(Duration),
    /// The request arrives once the test says so.
    Held(watch::Receiver<bool>),
    /// The store does what it is asked at once; its answer is late.
    DelayAnswer(Duration),
    /// The proxy answers instead of the store.
    Answer(u16, Value),
    /// The same for S3, which speaks XML.
    AnswerXml(u16, &'static str),
    /// S3 does what it is asked, and says of everything that it is of 2026-01-01.
    LongAgo,
    /// The store does what it is asked, and the proxy answers something else.
    AnswerAfter(u16, Value),
    /// Whoever asks dies of it: the request gets here, and to the store if it is to be `done`; then the test is told, and
    /// once it has let go the connection is closed.
    Last { done: bool, reached: Arc<Notify>, release: watch::Receiver<bool> },
}

impl Fault {
    /// DynamoDB's own throttling.
    pub fn throttled() -> Self {
        Self::error(400, "ProvisionedThroughputExceededException")
    }

    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer(
            status,
            json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": code }),
        )
    }

    /// A cancelled transaction with these reasons, one an item.
    pub fn cancelled(reasons: &[&str]) -> Self {
        let reasons: Vec<_> = reasons.iter().map(|code| json!({ "Code": code })).collect();
        let mut body = json!({ "message": "Transaction cancelled", "CancellationReasons": reasons });
        body["__type"] = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException".into();
        Self::Answer(400, body)
    }
}

type Matches = Box<dyn Fn(&Seen) -> bool + Send>;

/// What becomes of a request; several proxies may follow one.
pub type Script = Arc<dyn Fn(&Seen) -> Option<Fault> + Send + Sync>;

struct Rule {
    matches: Matches,
    fault: Fault,
    /// Matching requests that pass unharmed before the first one fails.
    after: usize,
    /// How many fail.
    times: usize,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    /// How many were taken before those.
    taken: usize,
    rules: Vec<Rule>,
    script: Option<Script>,
    /// Requests that have not come to their end yet.
    passing: usize,
}

/// A running proxy.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _servers: JoinSet<()>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut servers = JoinSet::new();
        let shared = state.clone();
        servers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, client) = (shared.clone(), client.clone());
                connections.spawn(async move {
                    let service =
                        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                            let (state, client) = (state.clone(), client.clone());
                            // A request on its way arrives, whether or not somebody still waits for its answer.
                            let passing = tokio::spawn(pass(state, client, upstream, request.map(Body::new)));
                            async move { passing.await.unwrap_or(Err(Closed)) }
                        });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state, _servers: servers }
    }

    /// Makes requests of one operation fail: after so many that pass, so many times.
    pub fn fail(&self, operation: &str, after: usize, times: usize, fault: Fault) {
        let operation = operation.to_owned();
        self.fail_if(move |seen| operation == "*" || seen.operation == operation, after, times, fault);
    }

    pub fn fail_if(
        &self,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
        after: usize,
        times: usize,
        fault: Fault,
    ) {
        self.state.lock().unwrap().rules.push(Rule { matches: Box::new(matches), fault, after, times });
    }

    /// Has every request's fate decided by a script.
    pub fn follow(&self, script: Script) {
        self.state.lock().unwrap().script = Some(script);
    }

    /// The wire is whole again.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.rules.clear();
        state.script = None;
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Vec<Seen> {
        let mut state = self.state.lock().unwrap();
        state.taken += state.seen.len();
        std::mem::take(&mut state.seen)
    }

    /// Waits until what was seen since the last [`Proxy::take`] is enough.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) {
        let begun = Instant::now();
        while !enough(&self.state.lock().unwrap().seen) {
            assert!(begun.elapsed() < Duration::from_secs(30), "never seen: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until every request has come to its end, also those that nobody waits for any more.
    pub async fn idle(&self) {
        let begun = Instant::now();
        while self.state.lock().unwrap().passing > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "a request does not come to its end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The operations seen since the last call, in order.
    pub fn operations(&self) -> Vec<String> {
        self.take().into_iter().map(|seen| seen.operation).collect()
    }
}

/// Closes the connection.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

async fn pass(
    state: Arc<Mutex<State>>,
    client: reqwest::Client,
    upstream: SocketAddr,
    request: Request<Body>,
) -> Result<Response<Body>, Closed> {
    let _passing = Passing::begin(&state);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Closed)?;
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.split('.').nth(1)).unwrap_or(parts.method.as_str());
    let seen = Seen {
        operation: operation.to_owned(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body: target.and_then(|_| serde_json::from_slice(&body).ok()).unwrap_or_default(),
        body_bytes: body.len(),
        answer: Value::Null,
        status: 0,
        arrived: Instant::now(),
        answered: None,
    };
    let (index, fault) = {
        let mut state = state.lock().unwrap();
        let scripted = state.script.as_ref().and_then(|script| script(&seen));
        let fault = scripted.or_else(|| state.rules.iter_mut().find_map(|rule| rule.apply(&seen)));
        state.seen.push(seen);
        (state.taken + state.seen.len() - 1, fault)
    };
    let forward = || forward(&client, upstream, &parts.method, &parts.uri, &parts.headers, body.clone());
    let answer = match fault {
        None => forward().await,
        Some(Fault::Reset) => return Err(Closed),
        Some(Fault::CutAfterSending) => {
            forward().await;
            return Err(Closed);
        }
        Some(Fault::Last { done, reached, mut release }) => {
            if done {
                forward().await;
            }
            reached.notify_one();
            let _ = release.wait_for(|released| *released).await;
            return Err(Closed);
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            forward().await
        }
        Some(Fault::Held(mut release)) => {
            let _ = release.wait_for(|released| *released).await;
            forward().await
        }
        Some(Fault::DelayAnswer(time)) => {
            let answer = forward().await;
            tokio::time::sleep(time).await;
            answer
        }
        Some(Fault::Answer(status, body)) => answer(status, "application/x-amz-json-1.0", body.to_string()),
        Some(Fault::AnswerXml(status, code)) => answer(
            status,
            "application/xml",
            format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"),
        ),
        Some(Fault::LongAgo) => long_ago(forward().await),
        Some(Fault::AnswerAfter(status, body)) => {
            forward().await;
            answer(status, "application/x-amz-json-1.0", body.to_string())
        }
    };
    let (parts, body) = answer.into_parts();
    let mut state = state.lock().unwrap();
    let taken = state.taken;
    if let Some(seen) = index.checked_sub(taken).and_then(|index| state.seen.get_mut(index)) {
        if target.is_some() {
            seen.answer = serde_json::from_slice(&body).unwrap_or_default();
        }
        (seen.status, seen.answered) = (parts.status.as_u16(), Some(Instant::now()));
    }
    drop(state);
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Counts a request until its end.
struct Passing(Arc<Mutex<State>>);

impl Passing {
    fn begin(state: &Arc<Mutex<State>>) -> Self {
        state.lock().unwrap().passing += 1;
        Self(state.clone())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.lock().unwrap().passing -= 1;
    }
}

impl Rule {
    fn apply(&mut self, seen: &Seen) -> Option<Fault> {
        if self.times == 0 || !(self.matches)(seen) {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault.clone())
    }
}

async fn forward(
    client: &reqwest::Client,
    upstream: SocketAddr,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<Bytes> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // The client signed the proxy's own host: the headers go through as they are.
    let request = client.request(method.clone(), format!("http://{upstream}{path}")).headers(headers.clone());
    let Ok(answer) = request.body(body).send().await else {
        return answer(502, "text/plain", "upstream is gone".into());
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove("transfer-encoding");
    *response.body_mut() = answer.bytes().await.unwrap_or_default();
    response
}

fn answer(status: u16, content_type: &str, body: String) -> Response<Bytes> {
    let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    let response = response.header("content-type", content_type).body(Bytes::from(body));
    response.map_err(|_: axum::http::Error| ()).ok().unwrap_or_default()
}

/// The same answer, with other times in it.
fn long_ago(mut answer: Response<Bytes>) -> Response<Bytes> {
    if let Some(modified) = answer.headers_mut().get_mut("last-modified") {
        *modified = HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT");
    }
    let Ok(mut text) = String::from_utf8(answer.body().to_vec()) else { return answer };
    // The answer to a HEAD says how long another one would be.
    if text.is_empty() {
        return answer;
    }
    for name in ["LastModified", "Initiated"] {
        let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
        let mut pieces = text.split(&begin).map(str::to_owned);
        let mut changed = pieces.next().unwrap_or_default();
        for piece in pieces {
            let (_, rest) = piece.split_once(&end).unwrap();
            changed.push_str(&format!("{begin}2026-01-01T00:00:00.000Z{end}{rest}"));
        }
        text = changed;
    }
    answer.headers_mut().remove("content-length");
    *answer.body_mut() = Bytes::from(text);
    answer
}
