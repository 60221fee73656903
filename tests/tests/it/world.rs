//! A fresh service for one test: an ephemeral stack whose functions reach their stores through proxies, a client, and a
//! look behind the scenes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use local::stack::{Options, Stack};
use local::stream::Stream;
use local::token::Identity;
use local::{gateway, sealing};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shared::app::App;
use shared::audit::{Body, leaf_hash};
use shared::clock::Deadline;
use shared::config::{Config, DEVELOPMENT_JWT_SECRET, DEVELOPMENT_SIGNING_KEY};
use shared::seal::Sealer;
use shared::sealed::Signer;
use shared::secret::Secret;
use tokio::net::TcpListener;

use crate::contract::Contract;
use crate::proxy::Proxy;

/// The smallest bytes that are a JPEG to everybody who looks at the beginning.
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9";
/// Long enough for whatever the sealer does in a test.
const PATIENCE: Duration = Duration::from_secs(60);
/// The organisation that tests act for unless they say otherwise.
pub const ORG: &str = "org-123";

/// A running service.
pub struct World {
    /// Between the functions and the embedded S3.
    pub s3: Proxy,
    /// Between the functions and the embedded DynamoDB.
    pub dynamodb: Proxy,
    pub stack: Stack,
    /// The functions' configuration.
    pub config: Config,
    api: SocketAddr,
    pub http: reqwest::Client,
    behind: Behind,
    /// The sealer: past the proxies, and only when a test asks for it.
    sealer: App,
    stream: tokio::sync::Mutex<Stream>,
}

/// The stores themselves, without a proxy.
struct Behind {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn path(&self) -> String {
        self.body["file_path"].as_str().unwrap_or_else(|| panic!("no file_path: {}", self.body)).to_owned()
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Whether it was given before, to an earlier request with the same idempotency key.
    pub fn is_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        self
    }
}

/// Makes a request again while it is answered with 503, as clients do: a machine that has much else to do lets some run out of
/// time. Not where a 503 would be what the test looks for.
pub async fn patiently(request: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..20 {
        let answer = request().await;
        if answer.status != 503 {
            return answer;
        }
    }
    request().await
}

/// Everything that is stored: object keys, states of records, entries of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub objects: Vec<String>,
    pub records: BTreeMap<String, String>,
    /// `ACTION ok path` or `ACTION failed: message path`, oldest first.
    pub entries: Vec<String>,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a changed configuration of the functions.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(&Options::default(), change).await
    }

    /// On a stack with these options.
    pub async fn start_on(options: &Options, change: impl FnOnce(&mut Config)) -> Self {
        let mut stack = Stack::start(options).await.unwrap();
        let (s3, dynamodb) = (Proxy::start(stack.s3).await, Proxy::start(stack.dynamodb).await);
        let direct = stack.config(DEVELOPMENT_JWT_SECRET, None);
        let mut config = direct.clone();
        config.spaces.endpoint = format!("http://{}", s3.address);
        config.tables.endpoint = Some(format!("http://{}", dynamodb.address));
        change(&mut config);
        let api = serve(&mut stack, &config).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let sealer = App::new(&direct).unwrap();
        let stream = tokio::sync::Mutex::new(stack.stream());
        Self { s3, dynamodb, config, api, http, behind: Behind::new(&direct), sealer, stream, stack }
    }

    /// Seals and publishes every entry there is.
    pub async fn seal(&self) {
        sealing::drain(&self.sealer, &mut *self.stream.lock().await).await.unwrap();
    }

    /// What the log's stream tells that was not sealed or taken yet: as taken from it, it is not told again.
    pub async fn untold(&self) -> Vec<Value> {
        let mut stream = self.stream.lock().await;
        let mut records = Vec::new();
        while let Some(batch) = stream.next().unwrap() {
            records.extend(batch.event["Records"].as_array().unwrap().clone());
            stream.take(batch).unwrap();
        }
        records
    }

    /// Has the sealer handle records of the stream.
    pub async fn tell(&self, records: &[Value]) {
        sealing::insist(&self.sealer, &json!({ "Records": records })).await.unwrap();
    }

    /// Has the sealer do what is due at a time: heartbeats, comparison, manifest.
    pub async fn tick(&self, now: Timestamp) {
        let sealer = Sealer::start(&self.sealer, now, Deadline::after(PATIENCE)).await.unwrap();
        sealer.tick().await.unwrap();
    }

    /// Serves the functions at one more address, on another configuration.
    pub async fn serve(&mut self, config: &Config) -> SocketAddr {
        serve(&mut self.stack, config).await
    }

    /// A token for somebody of [`ORG`]; the user's id is 1.
    pub fn token(&self, role: &str) -> String {
        self.token_of(ORG, "1", role)
    }

    pub fn token_of(&self, org: &str, user: &str, role: &str) -> String {
        let identity = Identity { org: org.into(), user: user.into(), role: role.into(), expires_in: 3600 };
        identity.token(DEVELOPMENT_JWT_SECRET).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/api/storage/{path}", self.api)
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(token)
    }

    /// Sends a request. Whatever is answered is held against the OpenAPI document.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = self.http.execute(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap().to_vec();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let answer = Answer { status, headers, body, bytes };
        Contract::get().check(&method, &path, &answer);
        answer
    }

    /// An upload form for `accounting/receipt/receipt-456`.
    pub fn receipt(file: Part) -> Form {
        Form::new().part("file", file).text("org_id", ORG).text("object_id", "receipt-456")
    }

    pub fn jpeg(name: &str) -> Part {
        Part::bytes(JPEG).file_name(name.to_owned()).mime_str("image/jpeg").unwrap()
    }

    pub async fn upload(&self, token: &str, function: &str, form: Form) -> Answer {
        self.send(self.request(Method::POST, function, token).multipart(form)).await
    }

    /// Uploads a receipt as an accountant and answers its path.
    pub async fn a_receipt(&self) -> String {
        let form = Self::receipt(Self::jpeg("receipt.jpg"));
        self.upload(&self.token("accountant"), "receipt-upload", form).await.ok().path()
    }

    pub async fn sign(&self, token: &str, path: &str) -> Answer {
        let body = json!({ "file_path": path });
        self.send(self.request(Method::POST, "signed-url", token).json(&body)).await
    }

    pub async fn delete(&self, token: &str, path: &str, hard: bool) -> Answer {
        let body = json!({ "file_path": path, "hard_delete": hard });
        self.send(self.request(Method::DELETE, "delete", token).json(&body)).await
    }

    pub async fn metadata(&self, token: &str, path: &str) -> Answer {
        self.send(self.request(Method::GET, &format!("metadata/{path}"), token)).await
    }

    pub async fn logs(&self, token: &str, query: &str) -> Answer {
        self.send(self.request(Method::GET, &format!("audit-logs{query}"), token)).await
    }

    /// Every entry of every organisation, oldest first, read from the table itself, each checked against its hash.
    pub async fn entries(&self) -> Vec<Body> {
        let rows = self.behind.scan("storage_audit_logs").await;
        let mut entries: Vec<Body> = rows
            .iter()
            .map(|row| {
                let bytes = row["b"].as_b().unwrap().as_ref();
                assert_eq!(row["h"].as_b().unwrap().as_ref(), leaf_hash(bytes), "h is the hash of b");
                Body::from_bytes(bytes).unwrap()
            })
            .collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        entries
    }

    /// Raw rows of a table.
    pub async fn rows(&self, table: &str) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        self.behind.scan(table).await
    }

    pub async fn snapshot(&self) -> Snapshot {
        let records = self.behind.scan("file_records").await;
        let text = |row: &std::collections::HashMap<String, AttributeValue>, name: &str| {
            row[name].as_s().unwrap().clone()
        };
        Snapshot {
            objects: self.objects().await,
            records: records.iter().map(|row| (text(row, "pk"), text(row, "state"))).collect(),
            entries: self.entries().await.iter().map(line).collect(),
        }
    }

    /// The keys in the bucket.
    pub async fn objects(&self) -> Vec<String> {
        let mut pages = self.behind.s3.list_objects_v2().bucket("storage").into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        keys
    }

    /// The bytes of an object.
    pub async fn object(&self, key: &str) -> Vec<u8> {
        let object = self.behind.s3.get_object().bucket("storage").key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    /// The embedded S3 itself.
    pub fn bucket(&self) -> &aws_sdk_s3::Client {
        &self.behind.s3
    }

    /// The embedded DynamoDB itself.
    pub fn tables(&self) -> &aws_sdk_dynamodb::Client {
        &self.behind.dynamodb
    }

    /// Checks what must hold whatever happened: every ACTIVE record's object is there, every object has a record, every
    /// writer's chain is whole (doubts that were named may be absent).
    pub async fn check_invariants(&self) {
        let snapshot = self.snapshot().await;
        for (path, state) in &snapshot.records {
            assert!(state != "ACTIVE" || snapshot.objects.contains(path), "ACTIVE without an object: {path}");
        }
        for key in &snapshot.objects {
            assert!(snapshot.records.contains_key(key), "an object without a record: {key}");
        }
        check_chains(&self.entries().await);
    }
}

async fn serve(stack: &mut Stack, config: &Config) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    stack.serve(listener, Ok(App::new(config).unwrap()));
    address
}

/// Every writer's entries count from 0 without a gap, and each names the hash of the one before.
pub fn check_chains(entries: &[Body]) {
    let mut writers = BTreeMap::<&str, Vec<&Body>>::new();
    for entry in entries {
        writers.entry(&entry.writer).or_default().push(entry);
    }
    for (writer, mut chain) in writers {
        chain.sort_by_key(|entry| entry.sequence);
        let mut previous = None;
        for (expected, entry) in chain.iter().enumerate() {
            assert_eq!(entry.sequence, expected as u64, "a gap in the chain of writer {writer}");
            assert_eq!(entry.previous, previous, "a broken link in the chain of writer {writer}");
            assert_eq!(entry.org, chain[0].org, "a writer of two organisations");
            previous = Some(Body::encode_hash(&leaf_hash(&entry.to_bytes())));
        }
    }
}

/// The key that the local stack signs with, under a name.
pub async fn signing_vkey(name: &str) -> String {
    let signer = Signer::seed(&Secret::new(DEVELOPMENT_SIGNING_KEY.into())).unwrap();
    let public = signer.public_key(Deadline::after(Duration::from_secs(1))).await.unwrap();
    public.vkey(name)
}

/// An entry in one line.
pub fn line(entry: &Body) -> String {
    let outcome = entry.error.as_ref().map_or("ok".to_owned(), |error| format!("failed: {error}"));
    format!("{} {} {outcome} {}", entry.org, entry.action, entry.file_path().unwrap_or_default())
}

impl Behind {
    fn new(config: &Config) -> Self {
        // The stack has one key for both.
        let (key, secret) = (config.tables.access_key_id.expose(), config.tables.secret_access_key.expose());
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(&config.spaces.endpoint)
            .force_path_style(true)
            .credentials_provider(aws_sdk_s3::config::Credentials::new(key, secret, None, None, "test"));
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .endpoint_url(config.tables.endpoint.as_deref().unwrap_or_default())
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new(
                key, secret, None, None, "test",
            ));
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
        }
    }

    async fn scan(&self, table: &str) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let scan = self.dynamodb.scan().table_name(table).consistent_read(true).into_paginator();
        let mut rows = Vec::new();
        let mut pages = scan.send();
        while let Some(page) = pages.next().await {
            rows.extend(page.unwrap().items.unwrap_or_default());
        }
        rows
    }
}

/// The router's own list of routes.
pub fn endpoints() -> Vec<shared::http::Endpoint> {
    gateway::endpoints()
}
