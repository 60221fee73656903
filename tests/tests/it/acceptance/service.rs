//! Where the service is, and people who call it.
//!
//! `ACCEPTANCE` names a file of JSON. All functions behind one address:
//!
//! ```json
//! { "api": "http://127.0.0.1:8787/api/storage", "jwt_secret": "…", "sealed": true }
//! ```
//!
//! Or each at its own URL; `connect`, if it is there, is where all of these hosts are reached:
//!
//! ```json
//! { "functions": { "upload": "http://abc.lambda-url.us-east-1.localhost:4566", … }, "connect": "127.0.0.1:4566",
//!   "jwt_secret": "…", "sealed": true }
//! ```
//!
//! `sealed` says whether something seals the log there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use local::stack::{Options, Stack};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::world::Answer;

/// How long an answer may take: a host may have to build or start a function first.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long what happens behind an answer may take: an index that follows, a log that is sealed.
const SETTLING: Duration = Duration::from_secs(120);
/// How often it is looked whether it did.
const POLL: Duration = Duration::from_millis(250);

/// The service under test, and the organisation that a test acts for.
pub struct Service {
    /// Whether something seals the log.
    pub sealed: bool,
    /// Nobody else's.
    pub org: String,
    pub http: Client,
    address: Address,
    jwt_secret: String,
    /// The embedded stack, for as long as the test.
    _stack: Option<Stack>,
}

enum Address {
    /// Of all functions.
    Api(String),
    /// Of each function. They answer at the root of their URLs and at the long form of their paths: every other request takes the
    /// one, every other the other.
    Functions { urls: Value, requests: AtomicUsize },
}

/// Somebody with a token.
pub struct Caller<'s> {
    service: &'s Service,
    token: String,
}

impl Service {
    pub async fn start() -> Self {
        match std::env::var("ACCEPTANCE") {
            Ok(file) => {
                let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
                Self::described(&serde_json::from_str(&text).unwrap())
            }
            Err(_) => Self::embedded().await,
        }
    }

    async fn embedded() -> Self {
        let options = Options::default();
        let mut stack = Stack::start(&options).await.unwrap();
        stack.seal().unwrap();
        let api = stack.addresses()["api"].clone();
        let described = json!({ "api": api, "jwt_secret": options.jwt_secret, "sealed": true });
        Self { _stack: Some(stack), ..Self::described(&described) }
    }

    fn described(file: &Value) -> Self {
        let text = |name: &str| file[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        let mut http = Client::builder().no_proxy().timeout(PATIENCE);
        let address = match file.get("functions") {
            None => Address::Api(text("api")),
            Some(urls) => {
                let urls = urls.clone();
                if file.get("connect").is_some() {
                    let there: SocketAddr = text("connect").parse().unwrap();
                    for url in urls.as_object().unwrap().values() {
                        let url: reqwest::Url = url.as_str().unwrap().parse().unwrap();
                        http = http.resolve(url.host_str().unwrap(), there);
                    }
                }
                Address::Functions { urls, requests: AtomicUsize::new(0) }
            }
        };
        Self {
            sealed: file["sealed"].as_bool().unwrap(),
            org: format!("acceptance-{}", ulid::Ulid::generate()),
            http: http.build().unwrap(),
            address,
            jwt_secret: text("jwt_secret"),
            _stack: None,
        }
    }

    /// Where a function answers: its name, and what follows it.
    pub fn url(&self, path: &str) -> String {
        let name = path.split(['/', '?']).next().unwrap();
        match &self.address {
            Address::Api(api) => format!("{api}/{path}"),
            Address::Functions { urls, requests } => {
                let url = urls[name].as_str().unwrap_or_else(|| panic!("no URL of {name}"));
                let url = url.trim_end_matches('/');
                match requests.fetch_add(1, Ordering::Relaxed) % 2 {
                    0 => format!("{url}/{}", path[name.len()..].trim_start_matches('/')),
                    _ => format!("{url}/api/storage/{path}"),
                }
            }
        }
    }

    /// User 1 of the test's organisation, in a role.
    pub fn a(&self, role: &str) -> Caller<'_> {
        self.of(&self.org, 1, role)
    }

    /// Somebody.
    pub fn of(&self, org: &str, user: u32, role: &str) -> Caller<'_> {
        let exp = Timestamp::now().as_second() + 3600;
        let claims =
            json!({ "sub": user.to_string(), "user_id": user, "org_id": org, "role": role, "exp": exp });
        let key = EncodingKey::from_secret(self.jwt_secret.as_bytes());
        Caller {
            service: self,
            token: jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap(),
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap().to_vec();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status, headers, body, bytes }
    }

    /// An upload form for an object of the test's organisation.
    pub fn form(&self, object: &str, name: &str, media_type: &str, bytes: &[u8]) -> Form {
        let file = Part::bytes(bytes.to_vec()).file_name(name.to_owned()).mime_str(media_type).unwrap();
        Form::new().part("file", file).text("org_id", self.org.clone()).text("object_id", object.to_owned())
    }

    /// What is behind a signed URL: everybody's who has it.
    pub async fn opened(&self, url: &Value) -> Answer {
        let url = url.as_str().unwrap_or_else(|| panic!("no URL: {url}"));
        self.send(self.http.get(url)).await
    }
}

impl Caller<'_> {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.service.http.request(method, self.service.url(path)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.service.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.service.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str, body: &Value) -> Answer {
        self.service.send(self.request(Method::DELETE, path).json(body)).await
    }

    pub async fn upload(&self, function: &str, form: Form) -> Answer {
        self.service.send(self.request(Method::POST, function).multipart(form)).await
    }

    /// Stores a receipt and answers its path.
    pub async fn a_receipt(&self) -> String {
        let form = self.service.form("receipt-456", "receipt.jpg", "image/jpeg", crate::world::JPEG);
        self.upload("receipt-upload", form).await.ok().path()
    }

    /// The entries of a query, oldest first, readings of the log left out, once there are as many as expected: an index may be a
    /// moment behind.
    pub async fn entries(&self, query: &str, count: usize) -> Vec<Value> {
        let query = format!("audit-logs?order=asc&not_action_type=AUDIT_READ&{query}");
        let answer = eventually(async || self.get(&query).await.ok(), |answer| answer.body["count"] == count);
        let logs = answer.await.body["logs"].as_array().unwrap().clone();
        assert_eq!(logs.len(), count, "{logs:#?}");
        logs
    }
}

/// Asks until the answer is what it must become, within a limit. Answers the last one.
pub async fn eventually(ask: impl AsyncFn() -> Answer, is_there: impl Fn(&Answer) -> bool) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if is_there(&answer) || begun.elapsed() > SETTLING {
            return answer;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A member of each entry, as text.
pub fn all(entries: &[Value], member: &str) -> Vec<String> {
    let text = |entry: &Value| match &entry[member] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    entries.iter().map(text).collect()
}
