//! Metrics: what a function's process writes for CloudWatch when something happens that an alarm waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::audit::{Action, Body};
use shared::clock;
use shared::ids::UserId;

use crate::binary::recorded;
use crate::damage::{Stock, number, text};
use crate::log_rows::{entries, entry, insert, row};
use crate::proxy::Fault;
use crate::runtime::{Function, environment};
use crate::uploads;
use crate::world::{JPEG, ORG, World};

/// The only list of what is measured.
const SOURCE: &str = include_str!("../../../shared/src/metrics.rs");
/// The smallest PDF.
const PDF: &str = "%PDF-1.7\n%%EOF\n";
/// The namespace of a deployment.
const NAMESPACE: &str = "Storage/test";
/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Values by metric: `Name`, and `Name{Dimension=Value}`.
type Measured = BTreeMap<String, Vec<u64>>;

/// What stands in the metrics' lines of a log, each of which is checked against the specification.
fn measured(log: &str) -> Measured {
    let mut measured = Measured::new();
    for line in log.lines().filter(|line| line.contains("CloudWatchMetrics")) {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let metadata = &document["_aws"];
        let at = metadata["Timestamp"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        assert!(at.is_some_and(|at| at > "2026-01-01T00:00:00Z".parse().unwrap()), "{line}");
        for directive in metadata["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], NAMESPACE, "{line}");
            let dimensions = directive["Dimensions"].as_array().unwrap();
            let definitions = directive["Metrics"].as_array().unwrap();
            assert!(!dimensions.is_empty() && (1..=100).contains(&definitions.len()), "{line}");
            for definition in definitions {
                let name = definition["Name"].as_str().unwrap();
                assert!(
                    ["Count", "Bytes", "Percent", "Seconds", "Milliseconds", "Microseconds"]
                        .contains(&definition["Unit"].as_str().unwrap()),
                    "{line}"
                );
                let values = document[name].as_array().unwrap();
                assert!((1..=100).contains(&values.len()), "{line}");
                for set in dimensions {
                    let set = set.as_array().unwrap();
                    let value = |key: &Value| {
                        let key = key.as_str().unwrap();
                        format!("{key}={}", document[key].as_str().unwrap())
                    };
                    let set: Vec<String> = set.iter().map(value).collect();
                    let key = match set.is_empty() {
                        true => name.to_owned(),
                        false => format!("{name}{{{}}}", set.join(",")),
                    };
                    let values = values.iter().map(|value| value.as_u64().unwrap());
                    measured.entry(key).or_default().extend(values);
                }
            }
        }
    }
    measured
}

/// What the source says that there is: names, and the values that a dimension can have.
pub fn declared() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
    for line in SOURCE.lines() {
        let Some((_, quoted)) = line.split_once(" => ").filter(|_| line.contains("Self::")) else { continue };
        let word = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
        if quoted.starts_with("(\"") {
            names.insert(word(quoted));
        } else if quoted.starts_with('"') {
            values.insert(word(quoted));
        }
    }
    assert!(names.len() > 25 && values.len() > 10, "the source looks otherwise: {names:?} {values:?}");
    (names, values)
}

/// A function's process, and what it has measured so far.
struct Watched {
    function: Function,
    read: usize,
}

impl Watched {
    async fn start(name: &str, environment: &[(&str, String)]) -> Self {
        let namespace = ("METRICS_NAMESPACE", NAMESPACE.to_owned());
        let environment = [environment, &[namespace]].concat();
        Self { function: Function::start(name, &environment).await, read: 0 }
    }

    /// Hands it an event. Answers what it measured since the last one, once these metrics are there: what a process wrote is read
    /// a little later.
    async fn provoke(&mut self, event: impl ToString, expected: &[&str]) -> Measured {
        self.function.result(&event.to_string()).await;
        let begun = Instant::now();
        loop {
            let log = self.function.log();
            let complete = log.rfind('\n').map_or(0, |end| end + 1);
            let found = measured(&log[self.read..complete]);
            if expected.iter().all(|metric| found.contains_key(*metric)) {
                self.read = complete;
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{expected:?} are not all in {found:?}; it wrote:\n{log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything that it measured, and only of itself.
    fn all(&self, name: &str) -> Measured {
        let log = self.function.log();
        for secret in [ORG, "org-1", "receipt-456", "scan-1", "eyJ"] {
            let metrics = log.lines().filter(|line| line.contains("CloudWatchMetrics"));
            assert!(
                !metrics.clone().any(|line| line.contains(secret)),
                "{secret} stands in a metric:\n{log}"
            );
        }
        let all = measured(&log);
        let functions = all.keys().filter_map(|key| key.split_once("{Function=")).map(|(_, name)| name);
        assert!(functions.clone().all(|of| of == format!("{name}}}")), "{all:?}");
        all
    }
}

/// A world's functions whose calls go through its proxies.
fn through_proxies(world: &World) -> Vec<(&'static str, String)> {
    let (s3, dynamodb) = (world.s3.address, world.dynamodb.address);
    let mut environment = environment(world);
    for (name, value) in &mut environment {
        match *name {
            "SPACES_ENDPOINT" | "AUDIT_ARCHIVE_ENDPOINT" => *value = format!("http://{s3}"),
            "DYNAMODB_ENDPOINT" => *value = format!("http://{dynamodb}"),
            _ => {}
        }
    }
    environment
}

fn event(role: &str, method: &str, path: &str, body: &Value) -> Value {
    let mut event = recorded("function-url-post-text", role);
    event["rawPath"] = path.into();
    event["requestContext"]["http"]["path"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["body"] = if body.is_null() { "".into() } else { body.to_string().into() };
    event
}

/// An upload of a PDF, or of what calls itself one.
fn upload(content: &str) -> Value {
    let fields = [("org_id", ORG), ("system", "workspace"), ("object_type", "pdf"), ("object_id", "scan-1")];
    let mut form = String::new();
    for (name, value) in fields {
        form += &format!("--part\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    form += "--part\r\ncontent-disposition: form-data; name=\"file\"; filename=\"scan.pdf\"\r\n\r\n";
    form += &format!("{content}\r\n--part--\r\n");
    let mut event = event("member", "POST", "/", &Value::Null);
    event["headers"]["content-type"] = "multipart/form-data; boundary=part".into();
    event["body"] = form.into();
    event
}

async fn files() -> Measured {
    let world = World::start().await;
    let environment = through_proxies(&world);
    let mut function = Watched::start("upload", &environment).await;
    let stored = ["Requests{Function=upload}", "UploadsStored{Function=upload}", "UploadedBytes"];
    let found = function.provoke(upload(PDF), &stored).await;
    assert_eq!((&found["UploadedBytes"], &found["Requests"]), (&vec![PDF.len() as u64], &vec![1]));
    assert_eq!(found["SpacesLatency{Operation=PutObject}"].len(), 1);
    for failed in ["ServerErrors", "UploadsFailed", "SpacesErrors"] {
        assert_eq!(found[failed], [0], "nothing failed: {found:?}");
    }
    assert_eq!(found.len(), 13, "{found:?}");

    let found = function.provoke(upload("no PDF"), &["UploadsRefused{Function=upload}"]).await;
    assert!(!found.contains_key("UploadsFailed"), "{found:?}");
    assert_eq!(found["ServerErrors"], [0]);
    for (fault, class) in [(Fault::AnswerXml(503, "SlowDown"), "unavailable"), (Fault::Reset, "unanswered")] {
        world.s3.fail("PUT", 0, 1, fault);
        let error = format!("SpacesErrors{{Class={class}}}");
        let found = function.provoke(upload(PDF), &[&error, "UploadsStored"]).await;
        assert_eq!(found["SpacesLatency"].len(), 2, "one call failed, one did not: {found:?}");
        assert_eq!(found["SpacesErrors"].iter().sum::<u64>(), 1, "{found:?}");
        assert_eq!(found["SpacesErrors"].len(), 2, "{found:?}");
    }
    world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
    let failed =
        ["UploadsFailed{Function=upload}", "ServerErrors{Function=upload}", "SpacesErrors{Class=refused}"];
    let found =
        function.provoke(upload(PDF), &[&failed[..], &["NotConfigured{Function=upload}"]].concat()).await;
    assert_eq!((&found["UploadsFailed"], &found["ServerErrors"]), (&vec![1], &vec![1]));
    assert!(!found.contains_key("UploadsStored"), "{found:?}");
    world.s3.heal();
    let mut all = function.all("upload");

    let path = world.a_receipt().await;
    let sign = || event("accountant", "POST", "/", &json!({ "file_path": path }));
    let mut function = Watched::start("signed-url", &environment).await;
    function.provoke(sign(), &["Requests{Function=signed-url}", "SigningLatency"]).await;
    // The log refuses the entry, and then the entry of that.
    world.dynamodb.fail("TransactWriteItems", 0, usize::MAX, Fault::error(400, "AccessDeniedException"));
    let found = function.provoke(sign(), &["AuditWriteFailures", "ServerErrors{Function=signed-url}"]).await;
    assert_eq!(found["AuditWriteFailures"], [1]);
    all.extend(function.all("signed-url"));
    all
}

async fn sessions() -> Measured {
    let world = World::start().await;
    let mut function = Watched::start("uploads", &through_proxies(&world)).await;
    let announced = uploads::announced(PDF.as_bytes());
    let open = || event("member", "POST", "/", &announced);
    let held = ["OpenUploadsUsed", "ReservedBytesUsed", "SpacesLatency{Operation=CreateMultipartUpload}"];
    let found = function.provoke(open(), &held).await;
    assert_eq!((&found["OpenUploadsUsed"], &found["ReservedBytesUsed"]), (&vec![2], &vec![0]));

    let sessions = async || {
        let rows = world.rows("storage_state").await;
        let keys = rows.iter().map(|row| row["pk"].as_s().unwrap().clone());
        keys.filter_map(|key| key.strip_prefix("UPLOAD#").map(str::to_owned)).collect::<Vec<_>>()
    };
    let id = sessions().await.pop().unwrap();
    let listed = world.bucket().list_multipart_uploads().bucket("storage").send().await.unwrap();
    let multipart = &listed.uploads()[0];
    let part = world.bucket().upload_part().bucket("storage").key(multipart.key().unwrap());
    let part = part.upload_id(multipart.upload_id().unwrap()).part_number(1);
    part.body(PDF.as_bytes().to_vec().into()).send().await.unwrap();
    let of = |method, rest: &str| event("member", method, &format!("/{id}{rest}"), &Value::Null);
    let found = function.provoke(of("GET", ""), &["SpacesLatency{Operation=ListParts}"]).await;
    assert_eq!(found["UploadsFailed"], [0], "one that gets on without storing a file yet");
    let completed = ["CompleteMultipartUpload", "HeadObject", "GetObject"];
    let completed = completed.map(|operation| format!("SpacesLatency{{Operation={operation}}}"));
    let completed: Vec<&str> = completed.iter().map(String::as_str).collect();
    let found = function.provoke(of("POST", "/complete"), &completed).await;
    assert_eq!((&found["UploadsStored"], &found["UploadedBytes"]), (&vec![1], &vec![PDF.len() as u64]));
    assert_eq!(found["UploadsFailed"], [0]);

    function.provoke(open(), &held).await;
    let other = sessions().await.into_iter().find(|other| *other != id).unwrap();
    let aborted = ["SpacesLatency{Operation=AbortMultipartUpload}", "SpacesLatency{Operation=DeleteObject}"];
    function.provoke(event("member", "DELETE", &format!("/{other}"), &Value::Null), &aborted).await;

    // Somebody has as many open as there may be; somebody else's organisation nearly all the bytes.
    let holds = async |key: &str, held: i64| {
        let put = world.tables().put_item().table_name("storage_state");
        put.item("pk", text(key)).item("held", number(held)).send().await.unwrap();
    };
    holds(&format!("RESERVED#{ORG}"), 190 << 30).await;
    assert_eq!(function.provoke(open(), &held).await["ReservedBytesUsed"], [95]);
    holds(&format!("OPEN#{ORG}#1"), 50).await;
    let found = function.provoke(open(), &["QuotaRefusals", "UploadsRefused"]).await;
    assert!(!found.contains_key("OpenUploadsUsed"), "{found:?}");
    assert_eq!(found["ServerErrors"], [0]);
    function.all("uploads")
}

async fn the_log() -> Measured {
    let world = World::start().await;
    world.a_receipt().await;
    let mut function = Watched::start("audit-logs", &through_proxies(&world)).await;
    let export = event("admin", "POST", "/exports", &json!({ "format": "csv" }));
    let found = function.provoke(export, &["SpacesLatency{Operation=UploadPart}", "UploadsStored"]).await;
    assert_eq!(found["UploadsFailed"], [0]);
    let mut malformed = row(&entry(ORG, clock::now(), Action::View));
    malformed.insert("b".into(), text("no bytes"));
    world
        .tables()
        .put_item()
        .table_name("storage_audit_logs")
        .set_item(Some(malformed))
        .send()
        .await
        .unwrap();
    let page = event("admin", "GET", "/", &Value::Null);
    assert_eq!(function.provoke(page, &["RowsMalformed"]).await["RowsMalformed"], [1]);
    function.all("audit-logs")
}

async fn maintenance() -> Measured {
    let world = World::start().await;
    let mut stock = Stock::default();
    let key = |name: &str| format!("org-1/accounting/receipt/{name}/file.jpg");
    for name in ["lapsed", "stuck"] {
        stock
            .due(&key(name), "PENDING", 0, "")
            .extend([("due".into(), number(1)), ("lease".into(), number(1))]);
    }
    let other = stock.due(&key("exchanged"), "ACTIVE", 1, "\"another\"");
    other.extend([("due".into(), number(1)), ("integrity".into(), text("pending"))]);
    for name in ["exchanged", "unknown"] {
        stock.object(&key(name), JPEG);
    }
    stock.put(&world).await;
    let stale = world.bucket().create_multipart_upload().bucket("storage").key(key("stale"));
    stale.send().await.unwrap();
    world.s3.fail_if(
        |seen| seen.operation == "DELETE" && seen.uri.path().contains("stuck"),
        0,
        usize::MAX,
        Fault::AnswerXml(403, "AccessDenied"),
    );
    world.s3.fail_if(
        |seen| ["GET", "HEAD"].contains(&seen.operation.as_str()),
        0,
        usize::MAX,
        Fault::LongAgo,
    );

    let mut function = Watched::start("maintenance", &through_proxies(&world)).await;
    let expected = ["MaintenanceCompleted", "FilesDamaged", "ObjectsQuarantined", "StorageBytes"];
    let found = function.provoke("{}", &expected).await;
    for (metric, value) in [
        ("MaintenanceCompleted", 1),
        ("MaintenanceFailures", 1),
        ("UploadsExpired", 1),
        ("FilesDamaged", 1),
        ("ObjectsQuarantined", 1),
        ("StorageObjects", 2),
        ("StorageBytes", 2 * JPEG.len() as u64),
    ] {
        assert_eq!(found[metric], [value], "{metric} in {found:?}");
    }
    for operation in ["ListObjectsV2", "ListMultipartUploads"] {
        assert!(found.contains_key(&format!("SpacesLatency{{Operation={operation}}}")), "{found:?}");
    }
    let found = function.provoke("{}", &["ComparisonAge", "MaintenanceCompleted"]).await;
    assert!(!found.contains_key("StorageBytes"), "bucket and tables are compared once a day: {found:?}");
    let mut all = function.all("maintenance");

    let mut function = Watched::start("maintenance", &[]).await;
    let found = function.provoke("{}", &["NotConfigured{Function=maintenance}"]).await;
    assert!(!found.contains_key("MaintenanceCompleted"), "{found:?}");
    all.extend(function.all("maintenance"));
    all
}

async fn sealing() -> Measured {
    let world = World::start().await;
    let an_hour_ago = clock::now() - SignedDuration::from_hours(1);
    let old = |org: &str| entry(org, an_hour_ago, Action::View);
    let told = async || json!({ "Records": world.untold().await });
    let mut environment = through_proxies(&world);
    environment.push(("AUDIT_SIGNING_KEY", data_encoding::BASE64.encode(&[7; 32])));
    let mut function = Watched::start("seal", &environment).await;

    let written = entries("org-1", 3);
    insert(&world, &written).await;
    let sealed =
        ["SealingDelay", "ArchiveLatency{Operation=PutObject}", "ArchiveLatency{Operation=GetObject}"];
    let found = function.provoke(told().await, &sealed).await;
    assert_eq!(found["SealingDelay"].len(), 1, "of a batch the longest: {found:?}");
    assert!(found["StreamAge"][0] < 60, "{found:?}");

    // Of these the stream never tells; the day's first tick finds them.
    insert(&world, &[old("org-2"), old("org-2")]).await;
    told().await;
    let found = function.provoke("{}", &["UnsealedAge", "EntriesLate"]).await;
    assert_eq!((&found["UnsealedAge"], &found["EntriesLate"]), (&vec![0], &vec![2]));

    let put = async |row| {
        world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row)).send().await.unwrap();
    };
    put(row(&Body { user: UserId::Number(2), ..written[0].clone() })).await;
    let removed = row(&written[1]);
    let delete = world.tables().delete_item().table_name("storage_audit_logs");
    delete.key("pk", removed["pk"].clone()).key("sk", removed["sk"].clone()).send().await.unwrap();
    put([("pk".to_owned(), removed["pk"].clone()), ("sk".to_owned(), text("no id"))].into()).await;
    let found = function.provoke(told().await, &["RowsModified", "RowsRemoved", "RowsMalformed"]).await;
    assert!(
        ["RowsModified", "RowsRemoved", "RowsMalformed"].iter().all(|kind| found[*kind] == [1]),
        "{found:?}"
    );

    let unread = json!({ "eventID": "1", "dynamodb": { "Keys": {}, "ApproximateCreationDateTime": an_hour_ago.as_second() } });
    let found =
        function.provoke(json!({ "Records": [unread, unread] }), &["StreamUnread", "StreamAge"]).await;
    assert_eq!(found["StreamUnread"], [2]);
    assert!((3_600..3_700).contains(&found["StreamAge"][0]), "{found:?}");

    for (fault, class) in [(Fault::AnswerXml(503, "SlowDown"), "unavailable"), (Fault::Reset, "unanswered")] {
        insert(&world, &entries("org-1", 1)).await;
        world.s3.fail("PUT", 0, 1, fault);
        let error = format!("ArchiveErrors{{Class={class}}}");
        function.provoke(told().await, &[&error, "SealingDelay"]).await;
    }
    // What has its position and no checkpoint yet, an hour old.
    insert(&world, &[old("org-1"), old("org-3")]).await;
    world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
    let found = function.provoke(told().await, &["ArchiveErrors{Class=refused}"]).await;
    assert!(!found.contains_key("SealingDelay"), "{found:?}");
    world.s3.heal();
    // One of the positions is lost.
    let lost = world.tables().delete_item().table_name("storage_audit_state");
    let lost = lost.key("pk", text("SEQ#org-3")).key("sk", text(format!("{:020}", 0)));
    lost.send().await.unwrap();
    let found = function.provoke("{}", &["UnsealedAge", "ArchiveBroken"]).await;
    let age = found["UnsealedAge"][0];
    assert!(age >= 3_600, "{age} s");
    function.all("seal")
}

#[tokio::test]
async fn every_metric_is_written_when_what_it_stands_for_happens() {
    // One after the other: the stores of all would share a thread, and one world's start would keep another's calls waiting.
    let all = [files().await, sessions().await, the_log().await, maintenance().await, sealing().await];
    let all: BTreeSet<String> = all.into_iter().flat_map(BTreeMap::into_keys).collect();
    let (names, values) = declared();
    let written: BTreeSet<String> = all.iter().map(|key| key.split('{').next().unwrap().to_owned()).collect();
    assert_eq!(written, names);
    // A dimension's values are those of the source, or names of functions, and each of them was seen.
    let of_dimensions =
        all.iter().filter_map(|key| key.split_once('=')).map(|(_, value)| value.trim_end_matches('}'));
    let (functions, seen): (BTreeSet<&str>, BTreeSet<&str>) =
        of_dimensions.partition(|value| !values.contains(*value));
    assert_eq!(seen, values.iter().map(String::as_str).collect());
    assert_eq!(functions, BTreeSet::from(["audit-logs", "maintenance", "signed-url", "upload", "uploads"]));
}

#[tokio::test]
async fn where_logs_are_for_people_nothing_is_measured() {
    let world = World::start().await;
    let text = [environment(&world), vec![("AWS_LAMBDA_LOG_FORMAT", "Text".into())]].concat();
    let mut function = Function::start("upload", &text).await;
    // What the first one would have measured stands before what the second one logs.
    for _ in 0..2 {
        function.invoke(upload(PDF)).await.ok();
    }
    let begun = Instant::now();
    while function.log().matches("answered").count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{}", function.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!function.log().contains("CloudWatchMetrics"), "{}", function.log());
}
