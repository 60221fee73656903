//! Reading the log: what a page shows, in which order, and where the next one begins.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use reqwest::Method;
use serde_json::{Value, json};
use shared::audit::{Action, Body};
use shared::clock;

use crate::log_rows;
use crate::proxy::Fault;
use crate::world::{Answer, JPEG, ORG, World};

fn logs(answer: &Answer) -> Vec<Value> {
    let logs = answer.body["logs"].as_array().unwrap().clone();
    assert_eq!(answer.body["count"], logs.len());
    logs
}

fn ids(answer: &Answer) -> Vec<String> {
    logs(answer).iter().map(|log| log["id"].as_str().unwrap().to_owned()).collect()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_entry_has_the_guides_shape_and_types() {
    let world = World::start().await;
    let form = World::receipt(World::jpeg("IMG.jpg")).text("related_object_type", "invoice");
    let upload = world
        .request(Method::POST, "receipt-upload", &world.token("accountant"))
        .header("user-agent", "EMS/1.0")
        .multipart(form.text("related_object_id", "inv-789"));
    let path = world.send(upload).await.ok().path();
    let other = world.token_of(ORG, "ann", "accountant");
    world.sign(&other, &format!("{path}x")).await.refused(404, "file_not_found");

    let answer = world.logs(&world.token("admin"), "").await.ok();
    let members =
        ["complete", "count", "cursor", "logs", "newer_cursor", "scanned", "settled_before", "success"];
    assert_eq!(names(&answer.body), members.into());
    assert_eq!(answer.body["success"], true, "in the envelope it is a boolean");
    assert_eq!((&answer.body["complete"], &answer.body["scanned"]), (&json!(true), &json!(2)));
    let settled: Timestamp = answer.body["settled_before"].as_str().unwrap().parse().unwrap();
    assert!((30..60).contains(&clock::now().duration_since(settled).as_secs()), "{settled}");
    let [failed, stored] = logs(&answer).try_into().unwrap();

    let mut expected = json!({
        "id": stored["id"],
        "user_id": 1,
        "role": "accountant",
        "timestamp": stored["timestamp"],
        "ip_address": "127.0.0.1",
        "device_info": "EMS/1.0",
        "action_type": "UPLOAD",
        "file_path": path,
        "related_object_type": "invoice",
        "related_object_id": "inv-789",
        "metadata": {
            "file_size": JPEG.len(),
            "mime_type": "image/jpeg",
            "sha256": stored["metadata"]["sha256"],
        },
        "success": "true",
        "error_message": null,
        "request_id": stored["request_id"],
        "kept_until": stored["kept_until"],
    });
    assert_eq!(stored, expected);
    assert!(ulid::Ulid::from_string(stored["id"].as_str().unwrap()).is_ok());
    assert_eq!(stored["metadata"]["sha256"].as_str().unwrap().len(), 64);
    let timestamp = stored["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z'), "{timestamp}");
    let written: Timestamp = timestamp.parse().unwrap();
    let age = clock::now().duration_since(written).as_secs();
    assert!((0..60).contains(&age), "{age}");
    let kept = written.to_zoned(TimeZone::UTC).checked_add(7.years().days(30)).unwrap();
    assert_eq!(stored["kept_until"], kept.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());

    for (name, value) in [
        ("id", failed["id"].clone()),
        ("user_id", json!("ann")),
        ("timestamp", failed["timestamp"].clone()),
        ("device_info", json!("")),
        ("action_type", json!("SIGNED_URL_GENERATED")),
        ("file_path", json!(format!("{path}x"))),
        ("related_object_type", Value::Null),
        ("related_object_id", Value::Null),
        ("metadata", json!({ "expires_in": 600 })),
        ("success", json!("false")),
        ("error_message", json!("file_not_found: File not found")),
        ("request_id", failed["request_id"].clone()),
        ("kept_until", failed["kept_until"].clone()),
    ] {
        expected[name] = value;
    }
    assert_eq!(failed, expected);
    assert_ne!(failed["request_id"], stored["request_id"]);
}

#[tokio::test]
async fn a_page_has_as_many_entries_as_asked_for() {
    let world = World::start().await;
    let admin = world.token("admin");
    log_rows::insert(&world, &log_rows::entries(ORG, 510)).await;
    for (query, expected) in [("", 100), ("?limit=1", 1), ("?limit=500", 500), ("?limit=", 100)] {
        let answer = world.logs(&admin, query).await.ok();
        let ids = ids(&answer);
        assert_eq!(ids.len(), expected, "{query}");
        assert!(ids.is_sorted_by(|newer, older| newer > older), "newest first");
        assert!(answer.body["next_cursor"].is_string() && answer.body["complete"] == false);
    }
    for limit in ["0", "501", "-1", "abc", "1.0", "99999999999999999999", "%201"] {
        world.logs(&admin, &format!("?limit={limit}")).await.refused(400, "invalid_limit");
    }
    for cursor in [
        "x",
        "01KB",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01KBUUUUUUUUUUUUUUUUUUUUUU",
        "01kb0000000000000000000000",
        &ulid::Ulid::max().to_string(),
        "%C3%A9%C3%A9",
    ] {
        let answer = world.logs(&admin, &format!("?cursor={cursor}")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_cursor"), "{cursor}");
    }
    for action in ["upload", "FAIL.UPLOAD", "UPLOAD%23", "PRINT"] {
        world.logs(&admin, &format!("?action_type={action}")).await.refused(400, "invalid_action_type");
    }
    world.logs(&admin, "?file_path=..").await.refused(400, "invalid_path");
    world.logs(&admin, "?user=1").await.refused(400, "invalid_query");
    let reads = world.entries().await.into_iter().filter(|entry| entry.action == Action::AuditRead);
    assert_eq!(reads.count(), 4, "what is not understood is not recorded");
}

/// The moment at which the month began that many months ago.
fn month_begins(months_ago: i32) -> Timestamp {
    let first = clock::now().to_zoned(TimeZone::UTC).date().first_of_month();
    first.checked_sub(months_ago.months()).unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp()
}

/// Entries of three months and a gap between them, of several actions, paths and outcomes, some of one millisecond.
fn many_entries() -> Vec<Body> {
    let months = [month_begins(0), month_begins(1), month_begins(3)];
    // The first and the last moments of months, where one partition ends and another begins.
    let mut times: Vec<_> = months.into_iter().flat_map(|begin| [begin - 1.millisecond(), begin]).collect();
    times.extend((0..244).map(|number| {
        months[number % 2 + 1]
            + i64::try_from(number / 3).unwrap().minutes()
            + i64::try_from(number).unwrap().hours()
    }));
    let entries = times.into_iter().enumerate().map(|(number, at)| {
        let action = [Action::View, Action::Upload, Action::View, Action::MetadataRead][number % 4];
        let path = format!("accounting/receipt/r/{}.jpg", ["a", "b", "c"][number % 3]);
        let error = (number % 5 == 0).then(|| "file_not_found: File not found".to_owned());
        Body { error, path: Some(path), ..log_rows::entry(ORG, at, action) }
    });
    let mut entries: Vec<_> = entries.collect();
    let same_moment = entries[7].clone();
    let at = Timestamp::from_millisecond(same_moment.timestamp_ms).unwrap();
    entries.push(log_rows::entry(ORG, at, Action::View));
    entries
}

#[tokio::test]
async fn every_entry_is_on_one_page_and_the_last_page_has_no_cursor() {
    let world = World::start().await;
    let admin = world.token("admin");
    log_rows::insert(&world, &many_entries()).await;
    log_rows::insert(&world, &log_rows::entries("org-1234", 20)).await;
    let path = format!("{ORG}/accounting/receipt/r/a.jpg");
    for (file_path, action) in [
        (None, None),
        (None, Some(Action::View)),
        (None, Some(Action::Upload)),
        (Some(&path), None),
        (Some(&path), Some(Action::View)),
        (Some(&path), Some(Action::Purge)),
    ] {
        let mut filter = String::new();
        filter.extend(file_path.map(|path| format!("&file_path={path}")));
        filter.extend(action.map(|action| format!("&action_type={action}")));
        let wanted = |entry: &Body| {
            let its_path = entry.file_path();
            entry.org == ORG
                && action.is_none_or(|action| entry.action == action)
                && file_path.is_none_or(|path| its_path.as_ref() == Some(path))
        };
        let matching = world.entries().await.iter().filter(|entry| wanted(entry)).count();
        for limit in [matching / 4 + 1, matching.div_ceil(2).max(1), matching.max(1)] {
            let mut expected: Vec<_> =
                world.entries().await.into_iter().filter(wanted).map(|entry| entry.id).collect();
            expected.reverse();
            let mut query = format!("?limit={limit}{filter}");
            loop {
                let page = world.logs(&admin, &query).await.ok();
                let rest = expected.split_off(limit.min(expected.len()));
                assert_eq!(ids(&page), expected, "{query}");
                let next = page.body.get("next_cursor").map(|next| next.as_str().unwrap());
                assert_eq!(next.is_some(), !rest.is_empty(), "{query}: {} are left", rest.len());
                assert_eq!(page.body["complete"], next.is_none());
                let Some(next) = next else { break };
                (query, expected) = (format!("?limit={limit}&cursor={next}"), rest);
            }
        }
    }
}

#[tokio::test]
async fn each_action_can_be_asked_for() {
    let world = World::start().await;
    let admin = world.token("admin");
    let earlier = clock::now() - 1.second();
    for action in Action::ALL {
        let failed = Body { error: Some("no".into()), ..log_rows::entry(ORG, earlier, *action) };
        let entries = [log_rows::entry(ORG, earlier - 1.millisecond(), *action), failed];
        log_rows::insert(&world, &entries).await;
        let page = world.logs(&admin, &format!("?action_type={action}&limit=2")).await.ok();
        let mut newest = logs(&page);
        // Its own reads are the newest of this action.
        if *action != Action::AuditRead {
            assert_eq!(ids(&page), [entries[1].id.clone(), entries[0].id.clone()]);
            assert_eq!([&newest[0]["success"], &newest[1]["success"]], ["false", "true"]);
        }
        assert!(newest.drain(..).all(|log| log["action_type"] == action.name()));
    }
}

#[tokio::test]
async fn a_rare_action_of_one_path_is_found_in_few_reads() {
    let world = World::start().await;
    let mut entries = log_rows::entries(ORG, 400);
    entries[0].action = Action::Upload;
    log_rows::insert(&world, &entries).await;
    let path = entries[0].file_path().unwrap();
    world.dynamodb.take();
    let query = format!("?file_path={path}&action_type=UPLOAD&limit=1");
    let page = world.logs(&world.token("admin"), &query).await.ok();
    assert_eq!(ids(&page), [entries[0].id.clone()]);
    assert!(page.body.get("next_cursor").is_none());
    let operations = world.dynamodb.operations();
    let queries = operations.iter().filter(|operation| *operation == "Query").count();
    assert!(queries <= 4, "{queries} queries for 400 rows");
}

#[tokio::test]
async fn what_lies_further_back_than_one_request_looks_is_reached_by_the_cursor() {
    let world = World::start().await;
    let admin = world.token("admin");
    let mut entries = log_rows::entries(ORG, 2_100);
    entries[0].action = Action::Upload;
    log_rows::insert(&world, &entries).await;
    let query = format!("?action_type=UPLOAD&file_path={}", entries[0].file_path().unwrap());
    let page = world.logs(&admin, &query).await.ok();
    assert_eq!(ids(&page), [""; 0]);
    assert_eq!(page.body["complete"], false, "an empty page is not the end");
    assert!((2_000..2_101).contains(&page.body["scanned"].as_u64().unwrap()), "{}", page.body["scanned"]);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let page = world.logs(&admin, &format!("?cursor={cursor}")).await.ok();
    assert_eq!(ids(&page), [entries[0].id.clone()]);
    assert!(page.body.get("next_cursor").is_none());
}

#[tokio::test]
async fn reading_is_recorded_before_it_happens_and_not_on_its_own_page() {
    let world = World::start().await;
    let admin = world.token("admin");
    let path = world.a_receipt().await;
    world.dynamodb.take();
    let page = world.logs(&admin, &format!("?action_type=UPLOAD&file_path={path}")).await.ok();
    assert_eq!(logs(&page).len(), 1);
    let mut operations = world.dynamodb.operations();
    // How far the log goes back is asked for beside the entry.
    operations[..2].sort_unstable();
    assert_eq!(operations, ["GetItem", "TransactWriteItems", "Query", "BatchGetItem"]);
    let page = world.logs(&admin, "").await.ok();
    let [read, upload] = logs(&page).try_into().unwrap();
    assert_eq!(
        (read["action_type"].as_str(), upload["action_type"].as_str()),
        (Some("AUDIT_READ"), Some("UPLOAD"))
    );
    assert_eq!(read["file_path"], path.as_str());
    assert_eq!(read["metadata"], json!({ "filter": "action_type=UPLOAD" }));
    let page = world.logs(&admin, "?action_type=AUDIT_READ&order=asc").await.ok();
    assert_eq!(logs(&page).len(), 2);

    world.dynamodb.take();
    world.dynamodb.fail("Query", 0, usize::MAX, Fault::error(400, "AccessDeniedException"));
    assert_eq!(world.logs(&admin, "").await.status, 500);
    world.dynamodb.heal();
    let reads: Vec<_> =
        world.entries().await.into_iter().filter(|entry| entry.action == Action::AuditRead).collect();
    assert_eq!(reads.len(), 4, "a reading that failed was tried all the same");

    world.dynamodb.take();
    world.dynamodb.fail("TransactWriteItems", 0, usize::MAX, Fault::error(400, "AccessDeniedException"));
    assert!(world.logs(&admin, "").await.status.as_u16() >= 500);
    assert!(
        !world.dynamodb.operations().contains(&"Query".to_owned()),
        "what cannot be recorded is not read"
    );
}

#[tokio::test]
async fn the_log_of_another_organisation_is_never_shown() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let [admin, stranger] = [ORG, "org-12"].map(|org| world.token_of(org, "9", "admin"));
    world.sign(&stranger, &path).await.refused(404, "file_not_found");
    for query in [
        String::new(),
        format!("?file_path={path}"),
        "?action_type=UPLOAD".into(),
        "?order=asc&not_role=x".into(),
    ] {
        let own = logs(&world.logs(&admin, &query).await.ok());
        assert!(own.iter().all(|log| log["action_type"] != "SIGNED_URL_GENERATED"), "{query}: {own:?}");
        assert!(own.iter().any(|log| log["action_type"] == "UPLOAD"), "{query}");
        let foreign = logs(&world.logs(&stranger, &query).await.ok());
        assert!(foreign.iter().all(|log| log["action_type"] != "UPLOAD"), "{query}: {foreign:?}");
    }
    // What the stranger tried stands in the stranger's own log, under the path that was tried.
    let tried = logs(
        &world.logs(&stranger, &format!("?file_path={path}&action_type=SIGNED_URL_GENERATED")).await.ok(),
    );
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0]["file_path"], path.as_str());
}
