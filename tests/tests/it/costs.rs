//! What an operation costs, compared with the table in `shared/docs/architecture.md`, and how large an entry is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Actor, Body, Details, Related};
use shared::auth::ReadLog;
use shared::clock::{self, Deadline};
use shared::content;
use shared::ids::{OrgId, UserId};
use shared::maintenance::{Kind, Maintenance, Options};
use shared::path::{FilePath, Place};
use shared::problem::{Absence, Problem};

use crate::log_rows;
use crate::proxy::{Fault, Seen};
use crate::world::{Answer, JPEG, World};

const PAGE: &str = include_str!("../../../shared/docs/architecture.md");

const ORG: &str = "0b9f2c1e-6f3a-4d55-9a57-3e1d2c4b5a60";
const OBJECT: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const USER: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
/// 40 bytes.
const NAME: &str = "receipt-of-2026-01-26-gas-station-17.jpg";
/// 140 bytes.
const AGENT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/26.0.1 Mobile/15E148 Safari/604.1 EMS/1";

/// Requests to the stores, which follow each other, and the units that DynamoDB says they consumed.
#[derive(Debug, Clone, PartialEq)]
struct Cost {
    round_trips: usize,
    write_units: f64,
    read_units: f64,
}

impl Cost {
    /// Of everything that went over the wire since the last call.
    fn so_far(world: &World) -> Self {
        let (tables, bucket) = (world.dynamodb.take(), world.s3.take());
        let units = |read: bool| {
            let of_kind = tables.iter().filter(|seen| is_read(seen) == read);
            of_kind.map(consumed).fold(0.0, |sum, units| sum + units)
        };
        let times = || tables.iter().chain(&bucket).map(|seen| (seen.arrived, seen.answered.unwrap()));
        Self { round_trips: sequential(times()), write_units: units(false), read_units: units(true) }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.round_trips, self.write_units, self.read_units)
    }
}

/// How many of these follow each other: what begins before another was answered runs beside it.
fn sequential(times: impl Iterator<Item = (Instant, Instant)>) -> usize {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let mut over: Option<Instant> = None;
    let mut count = 0;
    for (begun, answered) in times {
        if over.is_none_or(|over| begun >= over) {
            count += 1;
        }
        over = over.max(Some(answered));
    }
    count
}

pub fn is_read(seen: &Seen) -> bool {
    ["GetItem", "Query", "Scan", "BatchGetItem"].contains(&seen.operation.as_str())
}

/// The units that DynamoDB says a request consumed.
pub fn consumed(seen: &Seen) -> f64 {
    assert_eq!(seen.body["ReturnConsumedCapacity"], "TOTAL", "{} does not ask what it costs", seen.operation);
    let units = |capacity: &Value| capacity["CapacityUnits"].as_f64().unwrap();
    match &seen.answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        Value::Null => {
            assert_ne!(seen.status, 200, "{} does not say what it cost", seen.operation);
            // A condition that fails is charged for and not accounted for.
            0.0
        }
        capacity => units(capacity),
    }
}

/// Clients like those in the field, whose entries have the usual size.
struct Clients {
    world: World,
    accountant: String,
    admin: String,
}

impl Clients {
    async fn start() -> Self {
        let world = World::start().await;
        let [accountant, admin] = ["accountant", "admin"].map(|role| world.token_of(ORG, USER, role));
        Self { world, accountant, admin }
    }

    fn form(&self, name: &str, bytes: &'static [u8]) -> Form {
        let file = Part::bytes(bytes).file_name(name.to_owned()).mime_str("image/jpeg").unwrap();
        let form = Form::new().part("file", file).text("org_id", ORG).text("object_id", OBJECT);
        form.text("related_object_type", "invoice").text("related_object_id", USER)
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let request = self.world.request(method, path, token).header("user-agent", AGENT);
        self.world
            .send(match body {
                Some(body) => request.json(&body),
                None => request,
            })
            .await
    }

    async fn upload(&self, form: Form) -> Answer {
        let request = self.world.request(Method::POST, "receipt-upload", &self.accountant);
        self.world.send(request.header("user-agent", AGENT).multipart(form)).await
    }

    async fn sign(&self, token: &str, path: &str) -> Answer {
        self.send(Method::POST, "signed-url", token, Some(json!({ "file_path": path }))).await
    }

    async fn delete(&self, path: &str, hard: bool) -> Answer {
        let body = json!({ "file_path": path, "hard_delete": hard });
        self.send(Method::DELETE, "delete", &self.admin, Some(body)).await
    }
}

/// Measures every row of the table.
async fn measured() -> BTreeMap<&'static str, Cost> {
    let clients = Clients::start().await;
    let (world, form) = (&clients.world, || clients.form(NAME, JPEG));
    let taken = |name| clients.form(name, JPEG).text("add_timestamp", "false");
    // A name of which an earlier attempt left a failed reservation.
    world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    assert_eq!(clients.upload(taken("failed.jpg")).await.status, 503);
    world.s3.heal();
    clients.upload(taken("stored.jpg")).await.ok();
    let file = clients.upload(clients.form("another.jpg", JPEG)).await.ok().path();

    let mut costs = BTreeMap::new();
    let mut row = |operation, cost| assert_eq!(costs.insert(operation, cost), None);
    Cost::so_far(world);
    let stored = clients.upload(form()).await.ok().path();
    row("upload", Cost::so_far(world));
    assert!(clients.upload(taken("failed.jpg")).await.ok().path().ends_with("_2.jpg"));
    row("upload of a taken name, which gets a suffix", Cost::so_far(world));
    clients.upload(taken("stored.jpg")).await.refused(409, "path_exists");
    row("upload of a taken name, 409", Cost::so_far(world));
    let answer = clients.upload(clients.form(NAME, b"no picture")).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    row("upload, 400 for the content", Cost::so_far(world));
    clients.sign(&clients.accountant, &stored).await.ok();
    row("signed-url", Cost::so_far(world));
    clients.sign(&clients.accountant, &format!("{stored}.jpg")).await.refused(404, "file_not_found");
    row("404", Cost::so_far(world));
    clients.send(Method::GET, &format!("metadata/{stored}"), &clients.accountant, None).await.ok();
    row("metadata", Cost::so_far(world));
    clients.sign(&world.token_of(ORG, USER, "auditor"), &stored).await.refused(403, "forbidden");
    row("403", Cost::so_far(world));
    clients.delete(&stored, false).await.ok();
    row("delete, soft", Cost::so_far(world));
    clients.delete(&file, true).await.ok();
    row("delete, hard", Cost::so_far(world));

    with_keys(&clients, &mut row).await;
    sessions(&clients, &mut row).await;

    let usual = |entry: Body| Body {
        device: AGENT.into(),
        path: Some(format!("accounting/receipt/{OBJECT}/20260126_153045_{NAME}")),
        previous: Some(Body::encode_hash(&[1; 32])),
        user: UserId::Text(USER.into()),
        ..entry
    };
    let entries: Vec<_> = log_rows::entries(ORG, 200).into_iter().map(usual).collect();
    log_rows::insert(world, &entries).await;
    let page = clients.send(Method::GET, "audit-logs", &clients.admin, None).await.ok();
    assert_eq!(page.body["count"], 100);
    row("audit-logs, a page of 100", Cost::so_far(world));
    costs
}

/// What an idempotency key adds.
async fn with_keys(clients: &Clients, row: &mut impl FnMut(&'static str, Cost)) {
    let world = &clients.world;
    let keyed = |method, path: &str, token: &str, key: &str| {
        let request = world.request(method, path, token).header("user-agent", AGENT);
        request.header("idempotency-key", key.to_owned())
    };
    Cost::so_far(world);
    let upload = keyed(Method::POST, "receipt-upload", &clients.accountant, "upload");
    let stored = world
        .send(upload.multipart(clients.form("receipt-of-2026-01-26-gas-station-18.jpg", JPEG)))
        .await
        .ok()
        .path();
    row("upload, with an idempotency key", Cost::so_far(world));
    let body = json!({ "file_path": stored });
    let sign = || keyed(Method::POST, "signed-url", &clients.accountant, "sign").json(&body);
    world.send(sign()).await.ok();
    row("signed-url, with an idempotency key", Cost::so_far(world));
    assert!(world.send(sign()).await.ok().headers.contains_key("idempotent-replayed"));
    row("signed-url, replayed", Cost::so_far(world));
    world.send(keyed(Method::DELETE, "delete", &clients.admin, "delete").json(&body)).await.ok();
    row("delete, soft, with an idempotency key", Cost::so_far(world));
    let body = json!({ "file_path": stored, "hard_delete": true });
    world.send(keyed(Method::DELETE, "delete", &clients.admin, "hard").json(&body)).await.ok();
    row("delete, hard, with an idempotency key", Cost::so_far(world));
}

async fn sessions(clients: &Clients, row: &mut impl FnMut(&'static str, Cost)) {
    let world = &clients.world;
    let announced = json!({
        "org_id": ORG, "system": "accounting", "object_type": "receipt", "object_id": USER,
        "filename": NAME, "size_bytes": JPEG.len(), "mime_type": "image/jpeg",
        "related_object_type": "invoice", "related_object_id": USER,
    });
    let mut ids = Vec::new();
    for first in [true, false] {
        let opened =
            clients.send(Method::POST, "uploads", &clients.accountant, Some(announced.clone())).await.ok();
        let cost = Cost::so_far(world);
        if first {
            row("uploads, opened", cost);
        }
        assert_eq!(world.put_part(&opened.body["parts"][0], JPEG).await, 200);
        ids.push(opened.body["upload_id"].as_str().unwrap().to_owned());
        Cost::so_far(world);
    }
    let to = |id: &str, rest: &str| format!("uploads/{id}{rest}");
    let numbers = Some(json!({ "part_numbers": [1] }));
    clients.send(Method::POST, &to(&ids[0], "/parts"), &clients.accountant, numbers).await.ok();
    row("uploads, part URLs", Cost::so_far(world));
    clients.send(Method::GET, &to(&ids[0], ""), &clients.accountant, None).await.ok();
    row("uploads, shown", Cost::so_far(world));
    clients.send(Method::POST, &to(&ids[0], "/complete"), &clients.accountant, None).await.ok();
    row("uploads, completed", Cost::so_far(world));
    clients.send(Method::DELETE, &to(&ids[1], ""), &clients.accountant, None).await.ok();
    row("uploads, aborted", Cost::so_far(world));

    let app = App::new(&world.config).unwrap();
    let later = clock::now() + SignedDuration::from_hours(48);
    let maintain =
        || Maintenance::new(&app, later, Deadline::after(Duration::from_secs(60)), Options::default()).run();
    assert_eq!(maintain().await.count(Kind::Failed), 0);
    Cost::so_far(world);
    assert!(maintain().await.found.is_empty());
    row("maintenance, with a comparison, finding nothing", Cost::so_far(world));
    clients.send(Method::POST, "uploads", &clients.accountant, Some(announced)).await.ok();
    Cost::so_far(world);
    assert_eq!(maintain().await.count(Kind::ExpiredUpload), 1);
    row("maintenance, the same, ending one lapsed upload", Cost::so_far(world));
}

#[tokio::test]
async fn every_operation_costs_what_the_documents_say() {
    let measured = measured().await;
    let line = |(operation, cost): (&&str, &Cost)| format!("| {operation} | {cost} |");
    let mut measured_lines: Vec<_> = measured.iter().map(line).collect();
    measured_lines.sort_unstable();
    let (_, table) = PAGE.split_once("| operation | sequential round trips |").unwrap();
    let mut documented: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with("| ")).collect();
    documented.sort_unstable();
    assert_eq!(documented, measured_lines, "\nmeasured:\n{}\n", measured_lines.join("\n"));

    assert!(measured["signed-url"].round_trips <= 2);
    assert!(measured["upload"].round_trips <= 2 + 1, "two besides the PUT");
}

/// An item's size as DynamoDB counts it: names and values (developer guide, "DynamoDB item sizes and formats").
fn size(row: &std::collections::HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        other => panic!("the log has no such attribute: {other:?}"),
    };
    row.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}

fn actor(ip: &str, role: &str) -> Actor {
    Actor {
        org: OrgId::parse(ORG).unwrap(),
        user: UserId::Text(USER.into()),
        sub: USER.into(),
        role: role.into(),
        ip: ip.into(),
        device: AGENT.into(),
        request_id: "8f14e45f-ceea-467f-ab2e-1d6f0c9b7a11".into(),
    }
}

fn describe(attempt: &mut Attempt<'_>, mime_type: &str) {
    let action = attempt.action;
    let path = format!("{ORG}/accounting/receipt/{OBJECT}/20260126_153045_{NAME}");
    let upload = action == Action::Upload;
    let url = [Action::View, Action::Download, Action::SignedUrlGenerated].contains(&action);
    let related = Related { object_type: Some("invoice".into()), object_id: Some(USER.into()) };
    attempt.path =
        (!matches!(action, Action::AuditRead | Action::AuditExport)).then(|| FilePath::parse(&path).unwrap());
    attempt.related = if upload { related } else { Related::default() };
    attempt.details = Details {
        file_size: upload.then_some(2_456_780),
        mime_type: upload.then(|| mime_type.to_owned()),
        sha256: upload.then(|| "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        expires_in: url.then_some(600),
        purpose: (url && action != Action::SignedUrlGenerated).then(|| "download".into()),
        hard_delete: (action == Action::Delete).then_some(false),
        filter: (action == Action::AuditRead).then(|| "action_type=UPLOAD".into()),
        ..Details::default()
    };
}

#[tokio::test]
async fn an_entry_fits_into_one_write_unit() {
    const ONE_UNIT_BYTES: usize = 1_024;
    let world = World::start().await;
    let app = App::new(&world.config).unwrap();
    let principal = app.tokens().unwrap().verifier.verify(&world.token("accountant"), clock::now()).unwrap();
    let denied = app.policies.authorise_log::<ReadLog>(&principal);
    let receipt = Place::parse(ORG, "accounting", "receipt", OBJECT).unwrap().object_type;
    let failures = [
        Problem::NotFound(Absence::Missing),
        Problem::PathExists,
        Problem::Unavailable(String::new()),
        Problem::Forbidden(denied.unwrap_err().to_string()),
        Problem::Content(content::prove(receipt, Some(NAME), None, b"no picture").unwrap_err()),
    ];
    let types = [
        "image/jpeg",
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ];
    // How often an action is seen, of a hundred; the rest are rare.
    let often =
        [(Action::Upload, 25), (Action::View, 30), (Action::Download, 10), (Action::MetadataRead, 20)];
    let mut number = 0;
    for action in Action::ALL {
        let times = often.iter().find(|(often, _)| often == action).map_or(2, |(_, times)| *times);
        for time in 0..times {
            number += 1;
            let ip = ["203.113.110.195", "2001:0db8:85a3:08d3:1319:8a2e:0370:7344"][number % 2];
            // Every tenth fails, and of each action at least one.
            let deadline = Deadline::after(Duration::from_secs(10));
            let actor = actor(ip, ["accountant", "clinician"][time % 2]);
            let mut attempt = Attempt::new(&app.tables, &actor, deadline, *action);
            describe(&mut attempt, types[time % types.len()]);
            if time % 10 == 1 {
                let failure = failures[number % failures.len()].clone();
                attempt.settle(Err::<(), _>(failure)).await.unwrap_err();
            } else {
                let _ = attempt.record().await.unwrap();
                attempt.settle(Ok(())).await.unwrap();
            }
        }
    }
    let rows = world.rows("storage_audit_logs").await;
    let mut sizes: Vec<_> = rows.iter().map(size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes.len(), number);
    let at = |percent: usize| sizes[(sizes.len() * percent).div_ceil(100) - 1];
    println!("bytes of an entry: p50 {}, p95 {}, max {}", at(50), at(95), at(100));
    assert!(at(95) <= ONE_UNIT_BYTES, "p95 is {} bytes", at(95));
}
