//! What goes from one request to the next: cursors, what they promise, and which entry stands for what is read with them.

use audit_logs::cursor::{COVERED, Cursor, Place};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use shared::app::App;
use shared::audit::{Action, Body, LogRow, month_of};
use shared::auth::Principal;
use shared::clock;
use shared::unique;
use ulid::Ulid;

use crate::log_rows;
use crate::world::{Answer, ORG, World};

fn ids(answer: &Answer) -> Vec<String> {
    let logs = answer.body["logs"].as_array().unwrap_or_else(|| panic!("no logs: {}", answer.body));
    logs.iter().map(|log| log["id"].as_str().unwrap().to_owned()).collect()
}

fn cursor(answer: &Answer, name: &str) -> String {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.body)).to_owned()
}

async fn reads(world: &World) -> Vec<Body> {
    world.entries().await.into_iter().filter(|entry| entry.action == Action::AuditRead).collect()
}

async fn one(world: &World, token: &str, id: &str, query: &str) -> Answer {
    world.send(world.request(Method::GET, &format!("audit-logs/{id}{query}"), token)).await
}

fn caller(app: &App, token: &str) -> Principal {
    app.tokens().unwrap().verifier.verify(token, clock::now()).unwrap()
}

#[tokio::test]
async fn a_cursor_is_good_for_nobody_else_and_only_as_it_was_given() {
    let world = World::start().await;
    log_rows::insert(&world, &log_rows::entries(ORG, 5)).await;
    let admin = world.token("admin");
    let page = world.logs(&admin, "?limit=2&action_type=VIEW").await.ok();
    for name in ["next_cursor", "newer_cursor", "cursor"] {
        let text = cursor(&page, name);
        for (org, user) in [(ORG, "2"), ("org-12", "1"), ("org-1234", "1")] {
            let other = world.token_of(org, user, "admin");
            world.logs(&other, &format!("?cursor={text}")).await.refused(400, "invalid_cursor");
        }
        // The entry that covers the reading names the role.
        for role in ["auditor", "accountant"] {
            let other = world.token(role);
            world.logs(&other, &format!("?cursor={text}")).await.refused(400, "invalid_cursor");
        }
        for beside in
            ["action_type=VIEW", "not_role=x", "from=-1h", "order=desc", "order=", "hours=08:00-09:00"]
        {
            let mixed = world.logs(&admin, &format!("?cursor={text}&{beside}")).await;
            mixed.refused(400, "invalid_cursor");
        }
        let letters: Vec<char> = text.chars().collect();
        for place in (0..letters.len()).step_by(letters.len() / 24) {
            let mut altered = letters.clone();
            altered[place] = if altered[place] == 'A' { 'B' } else { 'A' };
            let altered: String = altered.into_iter().collect();
            world.logs(&admin, &format!("?cursor={altered}")).await.refused(400, "invalid_cursor");
            let cut = &text[..place];
            world.logs(&admin, &format!("?cursor={cut}")).await.refused(400, "invalid_cursor");
        }
    }
    world.logs(&admin, "?limit=3&limit=3").await.refused(400, "invalid_query");
    let next = cursor(&page, "next_cursor");
    assert_eq!(ids(&world.logs(&admin, &format!("?cursor={next}&limit=1")).await.ok()).len(), 1);
    // Another secret: another service.
    let mut config = world.config.clone();
    config.tokens.as_mut().unwrap().secret =
        shared::secret::Secret::new("another secret of more than 32 bytes".into());
    let (own, other) = (App::new(&world.config).unwrap(), App::new(&config).unwrap());
    let caller = caller(&own, &admin);
    assert!(Cursor::open(&own, &caller, &next).is_ok());
    assert!(Cursor::open(&other, &caller, &next).is_err());
}

#[tokio::test]
async fn a_query_is_recorded_once_and_covers_its_pages_its_tail_and_its_entries() {
    let world = World::start().await;
    let admin = world.token("admin");
    let entries = log_rows::entries(ORG, 6);
    log_rows::insert(&world, &entries).await;
    let mut page = world.logs(&admin, "?limit=2&action_type=VIEW&not_role=admin&from=-24h").await.ok();
    let (tail, query) = (cursor(&page, "newer_cursor"), cursor(&page, "cursor"));
    let mut seen = ids(&page);
    while let Some(next) = page.body["next_cursor"].as_str() {
        page = world.logs(&admin, &format!("?limit=2&cursor={next}")).await.ok();
        seen.extend(ids(&page));
    }
    seen.reverse();
    assert_eq!(seen, entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>());
    world.logs(&admin, &format!("?cursor={tail}")).await.ok();
    assert_eq!(ids(&world.logs(&admin, &format!("?limit=6&cursor={query}")).await.ok()).len(), 6);
    one(&world, &admin, &entries[3].id, &format!("?cursor={query}")).await.ok();
    let read: [Body; 1] = reads(&world).await.try_into().unwrap();
    let filter = read[0].details.filter.as_deref().unwrap();
    assert!(filter.starts_with("action_type=VIEW&not_role=admin&from=20"), "resolved: {filter}");

    // An entry that the query does not ask for is not covered by it, nor is one that is asked for without a cursor.
    let read = &read[0].id;
    one(&world, &admin, read, &format!("?cursor={query}")).await.ok();
    one(&world, &admin, &entries[3].id, "").await.ok();
    let reads = reads(&world).await;
    let filters: Vec<_> = reads[1..].iter().map(|read| read.details.filter.clone().unwrap()).collect();
    assert_eq!(filters, [format!("id={read}"), format!("id={}", entries[3].id)]);
}

#[tokio::test]
async fn after_fifteen_minutes_reading_on_is_recorded_once_more() {
    let world = World::start().await;
    let admin = world.token("admin");
    let entries = log_rows::entries(ORG, 6);
    log_rows::insert(&world, &entries).await;
    let page = world.logs(&admin, "?limit=2&action_type=VIEW").await.ok();
    let app = App::new(&world.config).unwrap();
    let caller = caller(&app, &admin);
    // As it will be when its entry is so old.
    let aged = |name: &str, age: SignedDuration| {
        let fresh = Cursor::open(&app, &caller, &cursor(&page, name)).unwrap();
        let entry = unique::ulid(clock::now() - age);
        Cursor { entry, ..fresh }.close(&app, &caller).unwrap()
    };
    let (young, old) = (COVERED - SignedDuration::from_mins(1), COVERED);
    world.logs(&admin, &format!("?limit=2&cursor={}", aged("next_cursor", young))).await.ok();
    assert_eq!(reads(&world).await.len(), 1);
    let second = world.logs(&admin, &format!("?limit=2&cursor={}", aged("next_cursor", old))).await.ok();
    assert_eq!(ids(&second), [3, 2].map(|number: usize| entries[number].id.clone()));
    assert_eq!(reads(&world).await.len(), 2, "one more");
    assert_eq!(reads(&world).await[1].details.filter.as_deref(), Some("action_type=VIEW"));
    // What that answer gave out is covered by the new entry.
    let third = world.logs(&admin, &format!("?limit=2&cursor={}", cursor(&second, "next_cursor"))).await.ok();
    assert_eq!(ids(&third), [1, 0].map(|number: usize| entries[number].id.clone()));
    let tail = world.logs(&admin, &format!("?cursor={}", cursor(&second, "newer_cursor"))).await.ok();
    one(&world, &admin, &entries[0].id, &format!("?cursor={}", cursor(&tail, "cursor"))).await.ok();
    assert_eq!(reads(&world).await.len(), 2);
    one(&world, &admin, &entries[0].id, &format!("?cursor={}", aged("cursor", old))).await.ok();
    assert_eq!(reads(&world).await.len(), 3);
    // A tail goes on past the entry that was written for it.
    let tail = world.logs(&admin, &format!("?cursor={}", aged("newer_cursor", old))).await.ok();
    assert_eq!(reads(&world).await.len(), 4);
    let newest = log_rows::entries(ORG, 1);
    log_rows::insert(&world, &newest).await;
    let tail = world.logs(&admin, &format!("?cursor={}", cursor(&tail, "newer_cursor"))).await.ok();
    assert!(ids(&tail).contains(&newest[0].id));
}

#[tokio::test]
async fn a_tail_shows_what_came_since_and_what_committed_late() {
    let world = World::start().await;
    let admin = world.token("admin");
    log_rows::insert(&world, &log_rows::entries(ORG, 3)).await;
    for order in ["desc", "asc"] {
        let first = world.logs(&admin, &format!("?action_type=VIEW&order={order}")).await.ok();
        let late = log_rows::entry(ORG, clock::now() - SignedDuration::from_secs(20), Action::View);
        let fresh = log_rows::entries(ORG, 5);
        log_rows::insert(&world, std::slice::from_ref(&late)).await;
        log_rows::insert(&world, &fresh).await;
        // Three at a time: a full answer goes on where it ended.
        let (mut poll, mut seen) = (first, Vec::new());
        for _ in 0..20 {
            let tail = cursor(&poll, "newer_cursor");
            poll = world.logs(&admin, &format!("?limit=3&cursor={tail}")).await.ok();
            let mut page = ids(&poll);
            assert!(poll.body.get("next_cursor").is_none());
            assert!(page.is_sorted_by(|one, next| (one < next) == (order == "asc")), "{order}: {page:?}");
            if order == "desc" {
                page.reverse();
            }
            seen.extend(page);
            if poll.body["complete"] == true {
                break;
            }
        }
        assert_eq!(poll.body["complete"], true);
        assert!(seen.is_sorted_by(|one, next| one < next), "one run repeats nothing: {seen:?}");
        for entry in fresh.iter().chain([&late]) {
            assert!(seen.contains(&entry.id), "{order}");
        }
        // The next run begins a little before, for what commits late.
        let later = log_rows::entry(ORG, clock::now() - SignedDuration::from_secs(15), Action::View);
        log_rows::insert(&world, std::slice::from_ref(&later)).await;
        let again = world.logs(&admin, &format!("?cursor={}", cursor(&poll, "newer_cursor"))).await.ok();
        assert!(ids(&again).contains(&later.id), "{order}");
        assert!(again.body["settled_before"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }
}

#[tokio::test]
async fn relative_times_are_those_of_page_one() {
    let world = World::start().await;
    let admin = world.token("admin");
    log_rows::insert(&world, &log_rows::entries(ORG, 3)).await;
    let before = clock::now();
    let page = world.logs(&admin, "?limit=1&from=-1h&order=asc").await.ok();
    let app = App::new(&world.config).unwrap();
    let caller = caller(&app, &admin);
    let open = |text: &str| Cursor::open(&app, &caller, text).unwrap();
    let first = open(&cursor(&page, "next_cursor"));
    let from = first.filter.text().strip_prefix("from=").unwrap().parse::<Timestamp>().unwrap();
    let hour = before.duration_since(from).as_secs();
    assert!((3_540..=3_600).contains(&hour), "{hour}");
    let page = world.logs(&admin, &format!("?limit=1&cursor={}", cursor(&page, "next_cursor"))).await.ok();
    let second = open(&cursor(&page, "next_cursor"));
    assert_eq!((&second.filter, second.bound, second.entry), (&first.filter, first.bound, first.entry));
    assert!(matches!((first.place, second.place), (Place::Page(Some(a)), Place::Page(Some(b))) if a < b));
}

#[tokio::test]
async fn one_entry_is_shown_with_its_exact_bytes() {
    let world = World::start().await;
    let admin = world.token("admin");
    world.a_receipt().await;
    let [stored] = world.entries().await.try_into().unwrap();
    let answer = one(&world, &admin, &stored.id, "").await.ok();
    let log = &answer.body["log"];
    let row = LogRow::of(&stored.to_bytes()).unwrap();
    assert_eq!(log["raw"].as_str().unwrap().as_bytes(), row.bytes);
    assert_eq!(log["leaf_hash"], data_encoding::HEXLOWER.encode(&row.hash));
    assert_eq!((&log["id"], &log["action_type"]), (&json!(stored.id), &json!("UPLOAD")));
    assert!(log.get("seq").is_none(), "not sealed yet");
    let [_, read] = world.entries().await.try_into().unwrap();
    assert_eq!(read.details.filter, Some(format!("id={}", stored.id)));

    // Its position, once the sealer gave it one; on pages, too.
    let text = |text: String| AttributeValue::S(text);
    for (number, id) in [(41, &stored.id), (42, &read.id)] {
        let number = AttributeValue::N(number.to_string());
        let put =
            world.tables().put_item().table_name("storage_audit_state").item("pk", text(format!("ID#{ORG}")));
        put.item("sk", text(id.clone())).item("seq", number).send().await.unwrap();
    }
    assert_eq!(one(&world, &admin, &stored.id, "").await.ok().body["log"]["seq"], 41);
    let position = |answer: &Answer, id: &str| -> Value {
        let logs = answer.body["logs"].as_array().unwrap();
        logs.iter().find(|log| log["id"] == id).unwrap().get("seq").cloned().unwrap_or_default()
    };
    for query in ["", "?order=asc", "?not_role=x"] {
        let page = world.logs(&admin, query).await.ok();
        assert_eq!(
            (position(&page, &stored.id), position(&page, &read.id)),
            (json!(41), json!(42)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_entry_that_is_not_there_and_one_of_another_organisation_are_the_same() {
    let world = World::start().await;
    let admin = world.token("admin");
    let foreign = log_rows::entries("org-12", 1);
    log_rows::insert(&world, &foreign).await;
    let absent = unique::ulid(clock::now()).to_string();
    for id in [&foreign[0].id, &absent, &Ulid::nil().to_string(), &Ulid::max().to_string()] {
        one(&world, &admin, id, "").await.refused(404, "entry_not_found");
    }
    assert_eq!(reads(&world).await.len(), 4, "each was tried");
    for id in ["x", "01kb0000000000000000000000", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
        one(&world, &admin, id, "").await.refused(400, "invalid_entry_id");
    }
    one(&world, &admin, &absent, "?cursor=x").await.refused(400, "invalid_cursor");
    one(&world, &admin, &absent, "?limit=1").await.refused(400, "invalid_query");
    assert_eq!(reads(&world).await.len(), 4);
    one(&world, &world.token("accountant"), &foreign[0].id, "").await.refused(403, "forbidden");
    let refused = reads(&world).await.pop().unwrap();
    assert!(refused.error.is_some() && refused.details.filter == Some(format!("id={}", foreign[0].id)));
    // A row that stands where it does not belong: a copy of the foreign entry under this organisation.
    let rows = world.rows("storage_audit_logs").await;
    let mut row = rows.into_iter().find(|row| row["sk"].as_s().unwrap() == &foreign[0].id).unwrap();
    let pk = format!("{ORG}#{}", month_of(clock::now()));
    row.insert("pk".into(), AttributeValue::S(pk));
    world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row)).send().await.unwrap();
    one(&world, &admin, &foreign[0].id, "").await.refused(404, "entry_not_found");
}

#[tokio::test]
async fn a_filter_that_is_not_understood_is_refused_and_leaves_no_trace() {
    let world = World::start().await;
    let admin = world.token("admin");
    for (query, code) in [
        ("user=1", "invalid_query"),
        ("user_id=1&user_id=2", "invalid_query"),
        ("user_id=", "invalid_user_id"),
        ("role=%00", "invalid_role"),
        ("success=1", "invalid_success"),
        ("not_success=maybe", "invalid_success"),
        ("action_type=VIEW&action_type=PRINT", "invalid_action_type"),
        ("not_action_type=view", "invalid_action_type"),
        ("not_file_path=..", "invalid_path"),
        ("system=nowhere", "invalid_system"),
        ("ip_address=localhost", "invalid_ip_address"),
        ("related_object_id=1", "invalid_related_object_id"),
        ("request_id=r", "invalid_request_id"),
        ("request_id=r&from=-2h", "invalid_request_id"),
        ("from=now", "invalid_from"),
        ("to=2026-01-26", "invalid_to"),
        ("from=-1h&to=-2h", "invalid_range"),
        ("hours=18:00-18:00", "invalid_hours"),
        ("hours=18:00-07:00&tz=Mars/Olympus", "invalid_tz"),
        ("tz=UTC", "invalid_tz"),
        ("order=newest", "invalid_order"),
        ("order=asc&order=asc", "invalid_query"),
        ("not_limit=1", "invalid_query"),
    ] {
        world.logs(&admin, &format!("?{query}")).await.refused(400, code);
    }
    assert!(world.entries().await.is_empty());
}
