//! Maintenance: what it makes of what requests leave behind, and of what nobody can explain.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use shared::app::App;
use shared::clock::{self, Deadline};
use shared::config::DEVELOPMENT_JWT_SECRET;
use shared::maintenance::{Kind, Maintenance, Options, Report};

use reqwest::Method;

use crate::damage::{
    Row, Stock, all_damage, all_entries, check_mended, damage, entries_of_each, key, later, number, sha256,
    stored, tag_of, text,
};
use crate::proxy::Fault;
use crate::runtime::{Function, environment};
use crate::uploads;
use crate::world::{JPEG, World, check_chains, line};

/// Of each kind of damage, and objects in the bucket (issue: "It must show").
const OF_EACH: usize = 30;
const OBJECTS: usize = 2_500;
/// Fewer, for what needs no more.
const FEW: usize = 6;
/// More than a page.
const MORE_OBJECTS: usize = 1_100;
/// Long enough for any run of a test.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn app(world: &World) -> App {
    App::new(&world.stack.config(DEVELOPMENT_JWT_SECRET, None)).unwrap()
}

async fn run(app: &App, now: Timestamp) -> Report {
    run_within(app, now, PATIENCE).await
}

async fn run_within(app: &App, now: Timestamp, limit: Duration) -> Report {
    Maintenance::new(app, now, Deadline::after(limit), Options::default()).run().await
}

async fn dry_run(app: &App, now: Timestamp) -> Report {
    let options = Options { dry_run: true, ..Options::default() };
    Maintenance::new(app, now, Deadline::after(PATIENCE), options).run().await
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn all_damage_is_found_nothing_else_is_touched_and_a_second_run_finds_nothing() {
    let world = World::start().await;
    damage(&world, OF_EACH, OBJECTS).await;
    let (app, now) = (app(&world), later());
    let before = stored(&world).await;
    assert_eq!(before.objects.len(), OBJECTS + OF_EACH);
    let index = world.tables().scan().table_name("file_records").index_name("by_context").send().await;
    assert!(index.unwrap().last_evaluated_key.is_some(), "more records than a page");

    let dry = dry_run(&app, now).await;
    let mut to_find = all_damage(OF_EACH);
    to_find.remove(&Kind::Verified);
    to_find.insert(Kind::Damaged, OF_EACH as u64);
    to_find.insert(Kind::Unverified, 3 * OF_EACH as u64);
    assert_eq!((dry.complete, dry.counts()), (true, to_find), "{dry}");
    assert_eq!(stored(&world).await, before, "a dry run changes nothing");

    let report = run(&app, now).await;
    assert_eq!((report.complete, report.counts()), (true, all_damage(OF_EACH)), "{report}");
    let after = stored(&world).await;
    check_mended(&before, &after, OF_EACH);
    assert_eq!(entries_of_each(&after), all_entries(OF_EACH));

    let second = run(&app, now).await;
    assert_eq!((second.complete, second.counts()), (true, BTreeMap::new()), "{second}");
    let again = stored(&world).await;
    assert_eq!(
        (&again.records, &again.objects, &again.entries),
        (&after.records, &after.objects, &after.entries)
    );
}

#[tokio::test]
async fn what_is_young_is_left_alone() {
    let world = World::start().await;
    damage(&world, FEW, 100).await;
    let before = stored(&world).await;
    let report = run(&app(&world), clock::now()).await;
    assert_eq!((report.complete, report.counts()), (true, BTreeMap::new()), "{report}");
    let after = stored(&world).await;
    assert_eq!(
        (&after.records, &after.objects, &after.uploads),
        (&before.records, &before.objects, &before.uploads)
    );
    assert!(after.entries.is_empty());
}

#[tokio::test]
async fn two_runs_at_once_do_nothing_twice() {
    let world = World::start().await;
    damage(&world, FEW, 300).await;
    let before = stored(&world).await;
    // Two processes, as far as they know.
    let (one, other, now) = (app(&world), app(&world), later());
    let (first, second) = tokio::join!(run(&one, now), run(&other, now));
    assert!(first.complete || second.complete, "{first} {second}");
    assert_eq!((first.count(Kind::Failed), second.count(Kind::Failed)), (0, 0), "{first} {second}");
    let after = stored(&world).await;
    check_mended(&before, &after, FEW);
    let mut told = entries_of_each(&after);
    // Of an upload that belongs to nothing there is no row that could decide who was first.
    let stale = told.get_mut("multipart UPLOAD_ABORTED ok stale multipart upload").unwrap();
    assert!((FEW..=2 * FEW).contains(stale));
    *stale = FEW;
    assert_eq!(told, all_entries(FEW));
    assert!(run(&one, now).await.found.is_empty());
}

#[tokio::test]
async fn runs_that_are_cut_short_come_to_the_end_together() {
    let world = World::start().await;
    damage(&world, FEW, MORE_OBJECTS).await;
    let (app, now, before) = (app(&world), later(), stored(&world).await);
    let (mut runs, mut found) = (0, BTreeMap::new());
    loop {
        // With less than three seconds left nothing new begins; and each run has a little more time than the last.
        let report = run_within(&app, now, Duration::from_millis(3_200 + 100 * runs)).await;
        assert_eq!(report.count(Kind::Failed), 0, "{report}");
        for (kind, count) in report.counts() {
            *found.entry(kind).or_insert(0) += count;
        }
        runs += 1;
        if report.complete {
            break;
        }
        assert!(runs < 100, "no progress: {report}");
    }
    assert!(runs > 2, "{runs} runs");
    assert_eq!(found, all_damage(FEW));
    let after = stored(&world).await;
    check_mended(&before, &after, FEW);
    assert_eq!(entries_of_each(&after), all_entries(FEW));
}

#[tokio::test]
async fn a_run_goes_on_where_the_last_one_stopped() {
    let world = World::start().await;
    let mut stock = Stock::default();
    for key in ["a", "b", "c"] {
        stock.object(key, JPEG);
    }
    stock.put(&world).await;
    let at = AttributeValue::M(Row::from([("Objects".into(), text("b"))]));
    let row =
        Row::from([("pk".into(), text("MAINTENANCE")), ("version".into(), number(7)), ("at".into(), at)]);
    world.tables().put_item().table_name("storage_state").set_item(Some(row)).send().await.unwrap();
    let (app, now) = (app(&world), later());

    assert_eq!(dry_run(&app, now).await.count(Kind::Unrecorded), 3, "a dry run looks at everything");
    let report = run(&app, now).await;
    assert_eq!((report.complete, &report.found[&Kind::Unrecorded].examples), (true, &vec!["c".into()]));
    assert!(!stored(&world).await.state["MAINTENANCE"].contains_key("at"), "the pass is over");
    let report = run(&app, now).await;
    assert_eq!(report.found[&Kind::Unrecorded].examples, ["a", "b"]);
}

#[tokio::test]
async fn what_nobody_explains_in_thirty_days_is_deleted() {
    let world = World::start().await;
    let (app, path) = (app(&world), "org-123/accounting/receipt/receipt-1/stray.jpg");
    let mut stock = Stock::default();
    for key in [path, "no path/ü\n.txt", "junk.txt"] {
        stock.object(key, JPEG);
    }
    stock.put(&world).await;
    assert_eq!(run(&app, later()).await.count(Kind::Unrecorded), 3);

    // Nobody stores anything there, and only who may purge sees it.
    let (member, admin) = (world.token("accountant"), world.token("admin"));
    world.sign(&admin, path).await.refused(404, "file_not_found");
    world.metadata(&member, &format!("{path}?include_deleted=true")).await.refused(403, "forbidden");
    let shown = world.metadata(&admin, &format!("{path}?include_deleted=true")).await.ok().body;
    assert_eq!((&shown["deleted"], &shown["integrity"]), (&true.into(), &"failed".into()), "{shown}");

    assert!(run(&app, clock::now() + hours(29 * 24)).await.found.is_empty());
    let told = world.entries().await.len();
    let report = run(&app, clock::now() + hours(30 * 24 + 1)).await;
    assert_eq!(report.counts(), BTreeMap::from([(Kind::QuarantineOver, 3)]), "{report}");
    let after = stored(&world).await;
    assert!(after.objects.is_empty());
    assert!(after.records.values().all(|row| row["state"] == text("PURGED")));
    let mut told: Vec<_> = after.entries[told..].iter().map(line).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "_ DELETE ok ",
            "_ DELETE ok ",
            "_ PURGE ok ",
            "_ PURGE ok ",
            &format!("org-123 DELETE ok {path}"),
            &format!("org-123 PURGE ok {path}"),
        ]
    );
    check_chains(&after.entries);
}

/// A session as the service opens one: its reservation, its row, what it reserves, and a part that was put.
async fn session(world: &World, path: &str) -> String {
    let create = world.bucket().create_multipart_upload().bucket("storage").key(path);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = world.bucket().upload_part().bucket("storage").key(path).upload_id(&id).part_number(1);
    part.body(JPEG.to_vec().into()).send().await.unwrap();
    let mut stock = Stock::default();
    let row = stock.due(path, "PENDING", 0, "");
    row.extend([("multipart_id".into(), text(&id)), ("integrity".into(), text("pending"))]);
    row.remove("sha256");
    let record: Row = row
        .iter()
        .filter(|(name, _)| !["sweep", "due"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let upload_id = record["upload_id"].as_s().unwrap().clone();
    stock.put(world).await;
    let rows: [(String, Row); 3] = [
        (
            format!("UPLOAD#{upload_id}"),
            Row::from([
                ("state".into(), text("open")),
                ("checked".into(), number(0)),
                ("record".into(), AttributeValue::M(record)),
                ("related_type".into(), text("receipt")),
                ("related_id".into(), text("456")),
                ("ttl".into(), number(4_000_000_000_u64)),
            ]),
        ),
        ("OPEN#org-123#1".into(), Row::from([("held".into(), number(1))])),
        ("RESERVED#org-123".into(), Row::from([("held".into(), number(JPEG.len()))])),
    ];
    for (key, mut row) in rows {
        row.insert("pk".into(), text(key));
        world.tables().put_item().table_name("storage_state").set_item(Some(row)).send().await.unwrap();
    }
    id
}

#[tokio::test]
async fn a_session_that_lapses_ends_with_one_entry_and_frees_what_it_held() {
    let world = World::start().await;
    let path = "org-123/accounting/receipt/receipt-1/scan.jpg";
    let id = session(&world, path).await;
    let (app, now) = (app(&world), later());
    let report = run(&app, now).await;
    assert_eq!(report.counts(), BTreeMap::from([(Kind::ExpiredUpload, 1)]), "{report}");

    let after = stored(&world).await;
    assert!(after.uploads.is_empty() && after.objects.is_empty());
    assert_eq!(after.records[path]["state"], text("PURGED"));
    for (key, row) in &after.state {
        match key.split('#').next().unwrap() {
            "UPLOAD" => assert_eq!(row["state"], text("expired")),
            "OPEN" | "RESERVED" => assert_eq!(row["held"], number(0), "{key}"),
            _ => assert_eq!(key, "MAINTENANCE"),
        }
    }
    let [entry] = after.entries.try_into().unwrap();
    assert_eq!(line(&entry), format!("org-123 UPLOAD_ABORTED ok {path}"));
    assert_eq!(entry.details.reason.as_deref(), Some("expired"));
    assert_eq!((entry.related_type.as_deref(), entry.related_id.as_deref()), (Some("receipt"), Some("456")));

    let late = world.bucket().complete_multipart_upload().bucket("storage").key(path).upload_id(id);
    late.send().await.expect_err("no late completion brings the object back");
    assert!(run(&app, now).await.found.is_empty());
}

#[tokio::test]
async fn a_file_of_any_size_is_hashed_and_one_that_was_exchanged_is_damaged() {
    let world = World::start().await;
    let (large, other) = (vec![7; 20 << 20], b"other".to_vec());
    let mut stock = Stock::default();
    for (name, tag) in [
        ("large", tag_of(&world, &large).await),
        ("other", tag_of(&world, JPEG).await),
        ("deleted", tag_of(&world, &other).await),
    ] {
        let state = if name == "deleted" { "DELETED" } else { "ACTIVE" };
        let row = stock.due(&key(name, 0), state, 1, &tag);
        row.insert("integrity".into(), text("pending"));
        row.remove("sha256");
    }
    stock.object(&key("large", 0), &large);
    stock.object(&key("other", 0), &other);
    stock.object(&key("deleted", 0), &other);
    stock.put(&world).await;
    let report = run(&app(&world), later()).await;
    assert_eq!(report.counts(), BTreeMap::from([(Kind::Verified, 2), (Kind::Damaged, 1)]), "{report}");
    let after = stored(&world).await;
    assert_eq!(after.records[&key("large", 0)]["sha256"], text(sha256(&large)));
    assert_eq!(after.records[&key("deleted", 0)]["integrity"], text("verified"));
    assert_eq!(after.records[&key("other", 0)]["integrity"], text("failed"));
    // In that organisation nobody gets a link any more.
    let token = world.token_of("org-a", "1", "admin");
    world.sign(&token, &key("large", 0)).await.ok();
    world.sign(&token, &key("other", 0)).await.refused(409, "integrity_failed");
}

#[tokio::test]
async fn an_aborted_session_that_was_not_cleared_away_is_so_within_minutes() {
    let world = World::start().await;
    let member = world.token("member");
    let opened = world.open(&member, &uploads::announced(&uploads::pdf(100))).await.ok();
    world.s3.fail("DELETE", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    world.of_upload(Method::DELETE, uploads::id(&opened), "", &member).await.ok();
    world.s3.heal();
    assert_eq!(stored(&world).await.uploads.len(), 1);
    let report = run(&app(&world), clock::now() + SignedDuration::from_mins(3)).await;
    assert_eq!(report.counts(), BTreeMap::from([(Kind::UnfinishedUndo, 1)]), "{report}");
    let after = stored(&world).await;
    assert!(after.uploads.is_empty());
    assert_eq!(after.records[&opened.path()]["state"], text("PURGED"));
}

#[tokio::test]
async fn a_wrong_bucket_is_not_taken_for_a_loss() {
    let world = World::start().await;
    let mut stock = Stock::default();
    for n in 0..60 {
        stock.row(&key("missing", n), "ACTIVE", 1, "\"tag\"");
    }
    stock.put(&world).await;
    let before = stored(&world).await;
    let report = run(&app(&world), later()).await;
    assert_eq!(report.counts(), BTreeMap::from([(Kind::Failed, 1)]), "{report}");
    assert!(report.to_string().contains("is this the right bucket?"), "{report}");
    let after = stored(&world).await;
    assert_eq!((&after.records, after.entries.len()), (&before.records, 0));
}

#[tokio::test]
async fn the_function_answers_a_schedule_with_counts_and_no_keys() {
    let world = World::start().await;
    damage(&world, 1, 40).await;
    let mut function = Function::start("maintenance", &environment(&world)).await;
    let event = r#"{"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}"#;
    let result = function.result(event).await;
    // Everything is younger than the grace.
    assert_eq!((&result["complete"], &result["found"]), (&true.into(), &serde_json::json!({})), "{result}");
    let log = function.log();
    assert!(log.contains("maintenance") && !log.contains("ERROR"), "{log}");

    let before = stored(&world).await;
    let again = function.result("{}").await;
    assert_eq!(again["complete"], true);
    assert_eq!(stored(&world).await, before, "bucket and table are compared once a day");

    let mut unconfigured = Function::start("maintenance", &[]).await;
    let error = unconfigured.result("{}").await;
    assert_eq!(error["errorMessage"], "Storage service not properly configured", "{error}");
}
