//! One of many services on the stores of one [`World`]: an organisation, writers and wires of its own. So a test can try
//! hundreds of failures side by side and still look at what each of them left behind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Bytes;
use axum::http::{Method, Request, header};
use jiff::{SignedDuration, Timestamp};
use local::token::Identity;
use local::{event, gateway};
use serde_json::Value;
use shared::app::App;
use shared::audit::{Body, leaf_hash, month_of, partition};
use shared::clock;
use shared::config::DEVELOPMENT_JWT_SECRET;
use shared::http::{BASE_PATH, Configured};

use crate::proxy::{Proxy, Script};
use crate::world::{Answer, World};

pub struct Lane<'w> {
    pub world: &'w World,
    pub s3: Proxy,
    pub dynamodb: Proxy,
    pub org: String,
    app: Arc<Configured>,
    begun: Timestamp,
    objects: Arc<AtomicUsize>,
}

/// A request, as a client makes it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: Method,
    /// Behind `/api/storage/`.
    pub path: String,
    pub user: &'static str,
    pub role: &'static str,
    pub content_type: &'static str,
    /// Its `Idempotency-Key` headers: none, one, or more than there may be.
    pub keys: Vec<Vec<u8>>,
    pub body: Vec<u8>,
}

/// What is recorded about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub state: String,
    pub version: u32,
    pub upload_id: String,
    pub sha256: Option<String>,
    /// Whether maintenance will look at it, and when.
    pub due: Option<i64>,
    pub lease: Option<i64>,
    pub sweep: Option<String>,
    pub integrity: String,
}

/// Everything that a lane's organisation has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    pub objects: Vec<String>,
    /// Of each object.
    pub etags: BTreeMap<String, String>,
    pub rows: BTreeMap<String, Row>,
    /// Oldest first.
    pub entries: Vec<Body>,
    /// The log's rows as they are.
    pub log: Vec<HashMap<String, AttributeValue>>,
}

impl<'w> Lane<'w> {
    pub async fn beside(world: &'w World) -> Self {
        static LANES: AtomicUsize = AtomicUsize::new(0);
        let org = format!("lane-{}", LANES.fetch_add(1, Ordering::Relaxed));
        Self::new(world, org, clock::now(), Arc::default()).await
    }

    /// Another process that serves the same organisation, with wires of its own.
    pub async fn again(&self) -> Self {
        Self::new(self.world, self.org.clone(), self.begun, self.objects.clone()).await
    }

    async fn new(world: &'w World, org: String, begun: Timestamp, objects: Arc<AtomicUsize>) -> Self {
        let (s3, dynamodb) = (Proxy::start(world.stack.s3).await, Proxy::start(world.stack.dynamodb).await);
        let mut config = world.config.clone();
        config.spaces.endpoint = format!("http://{}", s3.address);
        config.tables.endpoint = Some(format!("http://{}", dynamodb.address));
        let app = Arc::new(Ok(App::new(&config).unwrap()));
        Self { world, s3, dynamodb, org, app, begun, objects }
    }

    /// The id of a business object that this lane has not used yet.
    pub fn unused(&self) -> String {
        self.objects.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Answers a request, as Lambda would have it answered.
    pub async fn call(&self, sent: &Sent) -> (Answer, String) {
        self.call_within(sent, SignedDuration::from_secs(15)).await
    }

    /// The same, with so much left of the invocation's time. Also tells the request's id.
    pub async fn call_within(&self, sent: &Sent, left: SignedDuration) -> (Answer, String) {
        let name = sent.path.split(['/', '?']).next().unwrap();
        let endpoint = gateway::endpoints().into_iter().find(|endpoint| endpoint.name == name).unwrap();
        let request_id = format!("request-{}", shared::unique::ulid(clock::now()));
        let event = self.event(sent, &request_id, DEVELOPMENT_JWT_SECRET);
        let answer = gateway::invoke_until(
            endpoint,
            self.app.clone(),
            event.to_string(),
            request_id.clone(),
            clock::now() + left,
        );
        let (parts, body) = answer.await.unwrap().into_parts();
        let (bytes, body) = (body.to_vec(), serde_json::from_slice(&body).unwrap_or(Value::Null));
        (Answer { status: parts.status, headers: parts.headers, body, bytes }, request_id)
    }

    /// A request as the event that Lambda makes of it, with a token that this secret signs.
    pub fn event(&self, sent: &Sent, request_id: &str, secret: &str) -> Value {
        let (org, user, role) = (self.org.clone(), sent.user.to_owned(), sent.role.to_owned());
        let token = Identity { org, user, role, expires_in: 3600 }.token(secret).unwrap();
        let mut request = Request::builder()
            .method(sent.method.clone())
            .uri(format!("{BASE_PATH}/{}", sent.path))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, sent.content_type);
        for key in &sent.keys {
            request = request.header("idempotency-key", key.as_slice());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        event::from_request(&parts, &Bytes::from(sent.body.clone()), "127.0.0.1", request_id, clock::now())
    }

    /// Both wires follow a script.
    pub fn follow(&self, script: &Script) {
        self.s3.follow(script.clone());
        self.dynamodb.follow(script.clone());
    }

    /// The wires are whole again, and nothing is on its way any more.
    pub async fn heal(&self) {
        self.s3.heal();
        self.dynamodb.heal();
        self.s3.idle().await;
        self.dynamodb.idle().await;
    }

    /// What is stored of this lane's organisation, read past the proxies.
    pub async fn stored(&self) -> Stored {
        let prefix = format!("{}/", self.org);
        let list = self.world.bucket().list_objects_v2().bucket("storage").prefix(&prefix);
        let objects = list.send().await.unwrap();
        let etags: BTreeMap<_, _> = objects
            .contents()
            .iter()
            .map(|object| (object.key().unwrap().to_owned(), object.e_tag().unwrap().to_owned()))
            .collect();
        let scan = self.world.tables().scan().table_name("file_records").consistent_read(true);
        let scan = scan.filter_expression("begins_with(pk, :org)");
        let rows = scan.expression_attribute_values(":org", AttributeValue::S(prefix)).send().await.unwrap();
        assert!(rows.last_evaluated_key().is_none(), "more rows than a page has");
        let rows = rows.items().iter().map(|row| {
            let text = |name: &str| row.get(name).map(|value| value.as_s().unwrap().clone());
            let number =
                |name: &str| row.get(name).map(|value| value.as_n().unwrap().parse::<i64>().unwrap());
            let (due, lease, sweep) = (number("due"), number("lease"), text("sweep"));
            let (state, integrity) = (text("state").unwrap(), text("integrity").unwrap());
            let (upload_id, sha256) = (text("upload_id").unwrap(), text("sha256"));
            let version = number("version").unwrap().try_into().unwrap();
            (text("pk").unwrap(), Row { state, version, upload_id, sha256, due, lease, sweep, integrity })
        });
        let rows = rows.collect();
        let log = self.log().await;
        let entries = log.iter().map(entry).collect();
        Stored { objects: etags.keys().cloned().collect(), etags, rows, entries, log }
    }

    /// The organisation's log, oldest first.
    async fn log(&self) -> Vec<HashMap<String, AttributeValue>> {
        let mut months = vec![month_of(self.begun), month_of(clock::now())];
        months.dedup();
        let mut rows = Vec::new();
        for month in months {
            let key = AttributeValue::S(partition(&self.org, &month));
            let query = self.world.tables().query().table_name("storage_audit_logs").consistent_read(true);
            let query = query.key_condition_expression("pk = :pk").expression_attribute_values(":pk", key);
            rows.extend(query.send().await.unwrap().items.unwrap_or_default());
        }
        rows
    }
}

/// A row's entry, checked against its hash.
fn entry(row: &HashMap<String, AttributeValue>) -> Body {
    let bytes = row["b"].as_b().unwrap().as_ref();
    assert_eq!(row["h"].as_b().unwrap().as_ref(), leaf_hash(bytes), "h is the hash of b");
    Body::from_bytes(bytes).unwrap()
}

impl Sent {
    pub fn json(method: Method, path: &str, role: &'static str, body: &Value) -> Self {
        Self::new(method, path, role, "application/json", body.to_string().into_bytes())
    }

    pub fn get(path: &str, role: &'static str) -> Self {
        Self::new(Method::GET, path, role, "text/plain", Vec::new())
    }

    fn new(
        method: Method,
        path: &str,
        role: &'static str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Self {
        Self { method, path: path.into(), user: "1", role, content_type, keys: Vec::new(), body }
    }

    /// The same request with an idempotency key.
    pub fn under(&self, key: &str) -> Self {
        Self { keys: vec![key.into()], ..self.clone() }
    }

    /// A form with fields and one file.
    pub fn form(path: &str, role: &'static str, fields: &[(&str, &str)], name: &str, file: &[u8]) -> Self {
        let mut body = Vec::new();
        for (name, value) in fields {
            let head =
                format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(head.as_bytes());
        }
        let head = format!(
            "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--line--\r\n");
        Self::new(Method::POST, path, role, "multipart/form-data; boundary=line", body)
    }
}

impl Stored {
    /// What one request left in the log: its actions, and whether they succeeded.
    pub fn told_by(&self, request_id: &str) -> Vec<(String, bool)> {
        let told = self.entries.iter().filter(|entry| entry.request_id == request_id);
        told.map(|entry| (entry.action.name().to_owned(), entry.error.is_none())).collect()
    }

    /// Checks what must hold whatever happened to the wire.
    #[track_caller]
    pub fn check(&self, what: &str) {
        for (path, row) in &self.rows {
            let has_object = self.objects.contains(path);
            let is_due = row.sweep.is_some() && row.due.is_some();
            match row.state.as_str() {
                "ACTIVE" | "DELETED" => {
                    // Whoever put it has not waited for its hash.
                    let is_unverified = row.integrity == "pending";
                    assert!(has_object && is_due == is_unverified, "{what}: {path} {row:?}");
                }
                "PENDING" => assert!(is_due && row.lease.is_some(), "{what}: {path} {row:?}"),
                "PURGING" => assert!(is_due, "{what}: {path} {row:?}"),
                "PURGED" => assert!(!has_object && !is_due, "{what}: {path} {row:?}"),
                state => panic!("{what}: {path} is {state}"),
            }
        }
        for key in &self.objects {
            assert!(self.rows.contains_key(key), "{what}: an object without a record: {key}");
        }
        self.check_chains(what);
    }

    /// Every writer's entries count from 0 without a gap and name the one before; and who is named as replaced ended
    /// where the naming says, with the entry in doubt or without it.
    #[track_caller]
    fn check_chains(&self, what: &str) {
        let mut chains = BTreeMap::<&str, Vec<&Body>>::new();
        for entry in &self.entries {
            chains.entry(&entry.writer).or_default().push(entry);
        }
        for (writer, chain) in &mut chains {
            chain.sort_by_key(|entry| entry.sequence);
            let mut previous = None;
            for (expected, entry) in (0..).zip(chain.iter()) {
                assert_eq!(entry.sequence, expected, "{what}: a gap in the chain of {writer}");
                assert_eq!(entry.previous, previous, "{what}: a broken link in the chain of {writer}");
                assert!(
                    expected == 0 || entry.replaces.is_none(),
                    "{what}: only a first entry names another"
                );
                previous = Some(Body::encode_hash(&leaf_hash(&entry.to_bytes())));
            }
        }
        let mut named = std::collections::BTreeSet::new();
        for doubt in self.entries.iter().filter_map(|entry| entry.replaces.as_ref()) {
            assert!(named.insert(&doubt.id), "{what}: one doubt is named twice");
            let chain = chains.get(doubt.writer.as_str()).map_or(&[][..], Vec::as_slice);
            let certain = doubt.sequence.map_or(0, |last| usize::try_from(last).unwrap() + 1);
            let ends = chain.get(certain).is_none_or(|last| last.id == doubt.id);
            let whole = chain.len() == certain || (chain.len() == certain + 1 && ends);
            assert!(whole, "{what}: {doubt:?} does not fit a chain of {} entries", chain.len());
        }
    }
}
