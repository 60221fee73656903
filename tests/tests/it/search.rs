//! Searching the log, held against a filter that looks at every entry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shared::audit::{Action, Body, Details};
use shared::clock;
use shared::ids::UserId;

use crate::log_rows;
use crate::proxy::Fault;
use crate::world::{Answer, ORG, World};

/// Filters that are tried.
const FILTERS: usize = 64;
/// How many walks go on side by side.
const WALKS: usize = 4;

/// How many entries there are: enough for pages and several reads of one, unless `ENTRIES` says more.
fn count() -> usize {
    std::env::var("ENTRIES").map_or(2_000, |count| count.parse().unwrap())
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap() % end
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

fn path(number: usize) -> String {
    let place = ["accounting/receipt", "epcr/document", "workspace/doc"][number % 3];
    format!("{place}/o-{number}/file-{number}.pdf")
}

/// An entry of a moment, of many users, files and outcomes.
fn some_entry(numbers: &mut Numbers, at: Timestamp) -> Body {
    let action =
        numbers.one(&[Action::View, Action::View, Action::Upload, Action::Delete, Action::MetadataRead]);
    let mut entry = log_rows::entry(ORG, at, action);
    let users = ["ann@example.org", "7", "bob"].map(|text| UserId::Text(text.into()));
    entry.user = match numbers.below(8) {
        number @ 0..3 => users[number].clone(),
        _ => UserId::Number([7, 3, 11][numbers.below(3)]),
    };
    entry.role = numbers.one(&["accountant", "admin", "clinician"]).into();
    entry.ip =
        numbers.one(&["203.0.113.5", "2001:0db8:0000:0000:0000:0000:0000:0001", "198.51.100.7", ""]).into();
    entry.request_id = format!("r-{}", numbers.below(40));
    entry.error = (numbers.below(9) == 0).then(|| "file_not_found: File not found".into());
    entry.path = match numbers.below(12) {
        0 => None,
        1 => Some("/org-9/epcr/document/o-1/theirs.pdf".into()),
        _ => Some(path(numbers.below(20))),
    };
    if entry.path.is_none() {
        entry.details =
            Details { system: Some(numbers.one(&["epcr", "accounting"]).into()), ..Details::default() };
    }
    if numbers.below(3) > 0 {
        entry.related_type = Some(numbers.one(&["invoice", "claim"]).into());
        entry.related_id = (numbers.below(10) > 0).then(|| format!("id-{}", numbers.below(15)));
    }
    entry
}

/// A condition as a query has it, and what it means.
struct Condition {
    query: String,
    means: Box<dyn Fn(&Body) -> bool + Send + Sync>,
}

fn condition(query: impl Into<String>, means: impl Fn(&Body) -> bool + Send + Sync + 'static) -> Condition {
    Condition { query: query.into(), means: Box::new(means) }
}

fn minute_of_day(entry: &Body, offset: i64) -> i64 {
    (entry.timestamp_ms / 60_000 + offset).rem_euclid(24 * 60)
}

fn system(entry: &Body) -> Option<String> {
    match &entry.path {
        Some(path) => path.trim_start_matches("/org-9/").split('/').next().map(str::to_owned),
        None => entry.details.system.clone(),
    }
}

fn conditions(now: Timestamp) -> Vec<Condition> {
    let full = |number: usize| format!("{ORG}/{}", path(number));
    let is = |number: usize| move |entry: &Body| entry.path == Some(path(number));
    let user = |text: &'static str| move |entry: &Body| entry.user.to_string() == text;
    let ago = |days: i64| now - SignedDuration::from_hours(24 * days);
    let (long_ago, lately) = (ago(100), ago(20));
    let (begin, end) = (lately, lately + SignedDuration::from_mins(60));
    vec![
        condition(format!("file_path={}", full(4)), is(4)),
        condition(format!("file_path=/{}", full(5)), is(5)),
        condition("file_path=org-9/epcr/document/o-1/theirs.pdf", |entry| {
            entry.path.as_deref().is_some_and(|path| path.starts_with("/org-9"))
        }),
        condition(format!("not_file_path={}&not_file_path={}", full(4), full(6)), move |entry| {
            !is(4)(entry) && !is(6)(entry)
        }),
        condition("action_type=DELETE", |entry| entry.action == Action::Delete),
        condition("action_type=UPLOAD&action_type=METADATA_READ", |entry| {
            [Action::Upload, Action::MetadataRead].contains(&entry.action)
        }),
        condition("not_action_type=VIEW", |entry| entry.action != Action::View),
        condition("user_id=7", user("7")),
        condition("user_id=ann@example.org", user("ann@example.org")),
        condition("not_user_id=7&not_user_id=bob", move |entry| !user("7")(entry) && !user("bob")(entry)),
        condition("role=admin", |entry| entry.role == "admin"),
        condition("not_role=admin&not_role=clinician", |entry| entry.role == "accountant"),
        condition("success=true", |entry| entry.error.is_none()),
        condition("success=false", |entry| entry.error.is_some()),
        condition("not_success=true", |entry| entry.error.is_some()),
        condition("related_object_type=invoice&related_object_id=id-3", |entry| {
            entry.related_type.as_deref() == Some("invoice") && entry.related_id.as_deref() == Some("id-3")
        }),
        condition("related_object_type=claim", |entry| entry.related_type.as_deref() == Some("claim")),
        condition("not_related_object_type=claim", |entry| entry.related_type.as_deref() != Some("claim")),
        condition("not_related_object_id=id-3&not_related_object_id=id-4", |entry| {
            !["id-3", "id-4"].map(Some).contains(&entry.related_id.as_deref())
        }),
        condition("system=epcr", |entry| system(entry).as_deref() == Some("epcr")),
        condition("not_system=accounting", |entry| system(entry).as_deref() != Some("accounting")),
        condition("ip_address=203.0.113.5", |entry| entry.ip == "203.0.113.5"),
        condition("ip_address=2001:DB8::1", |entry| entry.ip.starts_with("2001")),
        condition("not_ip_address=198.51.100.7", |entry| entry.ip != "198.51.100.7"),
        condition(format!("request_id=r-5&from={begin}&to={end}"), move |entry| {
            let within =
                begin.as_millisecond() <= entry.timestamp_ms && entry.timestamp_ms < end.as_millisecond();
            entry.request_id == "r-5" && within
        }),
        condition(format!("request_id=r-6&file_path={}", full(7)), move |entry| {
            entry.request_id == "r-6" && is(7)(entry)
        }),
        condition("not_request_id=r-5&not_request_id=r-6", |entry| {
            !["r-5", "r-6"].contains(&&*entry.request_id)
        }),
        condition(format!("from={lately}"), move |entry| entry.timestamp_ms >= lately.as_millisecond()),
        condition(format!("to={long_ago}"), move |entry| entry.timestamp_ms < long_ago.as_millisecond()),
        condition(format!("from={long_ago}&to={lately}"), move |entry| {
            long_ago.as_millisecond() <= entry.timestamp_ms && entry.timestamp_ms < lately.as_millisecond()
        }),
        condition("hours=18:00-07:00", |entry| !(7 * 60..18 * 60).contains(&minute_of_day(entry, 0))),
        condition("hours=09:30-17:00&tz=Asia/Kolkata", |entry| {
            (9 * 60 + 30..17 * 60).contains(&minute_of_day(entry, 5 * 60 + 30))
        }),
    ]
}

/// Every condition by itself, and then two, three or four that can stand together.
fn filters(conditions: &[Condition]) -> Vec<Vec<&Condition>> {
    let names = |condition: &Condition| -> BTreeSet<String> {
        let names = condition.query.split('&').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        names.collect()
    };
    let mut numbers = Numbers(2);
    let mut filters: Vec<Vec<&Condition>> = conditions.iter().map(|condition| vec![condition]).collect();
    while filters.len() < FILTERS {
        let (mut filter, mut taken) = (Vec::new(), BTreeSet::new());
        for _ in 0..2 + numbers.below(3) {
            let condition = &conditions[numbers.below(conditions.len())];
            if taken.is_disjoint(&names(condition)) {
                taken.extend(names(condition));
                filter.push(condition);
            }
        }
        if filter.len() > 1 {
            filters.push(filter);
        }
    }
    filters
}

fn ids(answer: &Answer) -> Vec<String> {
    let logs = answer.body["logs"].as_array().unwrap();
    logs.iter().map(|log| log["id"].as_str().unwrap().to_owned()).collect()
}

/// Every id that a query answers, page after page, from the functions at `api`.
async fn walk(world: &World, api: &str, query: &str, limit: usize) -> Vec<String> {
    let token = world.token("auditor");
    let (mut seen, mut next) = (Vec::new(), format!("?limit={limit}&{query}"));
    loop {
        let request =
            world.http.get(format!("{}/audit-logs{next}", api.trim_end_matches('/'))).bearer_auth(&token);
        let page = world.send(request).await.ok();
        let found = ids(&page);
        assert!(found.len() <= limit);
        seen.extend(found);
        let cursor = page.body["next_cursor"].as_str();
        assert_eq!(page.body["complete"], cursor.is_none(), "{query}");
        let Some(cursor) = cursor else { return seen };
        next = format!("?limit={limit}&cursor={cursor}");
    }
}

#[tokio::test]
async fn a_search_finds_what_looking_at_every_entry_finds() {
    let world = World::start().await;
    log_rows::without_stream(&world).await;
    let (count, now, mut numbers) = (count(), clock::now(), Numbers(1));
    // The last 150 days; some at one moment.
    let moment = |number: usize| {
        let share = i64::try_from(150 * 86_400_000 * (number - number % 3) / count).unwrap();
        now - SignedDuration::from_hours(24 * 150) + SignedDuration::from_millis(share - 60_000)
    };
    let entries: Vec<_> = (0..count).map(|number| some_entry(&mut numbers, moment(number))).collect();
    log_rows::insert(&world, &entries).await;
    log_rows::insert(&world, &log_rows::entries("org-1234", 50)).await;

    // Past the proxy, which remembers everything that it sees.
    let api = format!("http://{}/api/storage", world.stack.api);
    let conditions = conditions(now);
    let filters = filters(&conditions);
    let by_id: BTreeMap<_, _> = entries.iter().map(|entry| (entry.id.clone(), entry)).collect();
    let walks = filters.iter().enumerate().map(|(number, filter)| {
        let (world, api, by_id) = (&world, &api, &by_id);
        async move {
            let queries: Vec<_> = filter.iter().map(|condition| condition.query.as_str()).collect();
            let ascending = number % 3 == 0;
            let query = format!("{}&order={}", queries.join("&"), if ascending { "asc" } else { "desc" });
            let seen = walk(world, api, &query, [500, 120, 33][number % 3].max(by_id.len() / 200)).await;
            let sorted = seen.is_sorted_by(|one, next| if ascending { one < next } else { one > next });
            assert!(sorted, "{query}: in order, and each once");
            // What was not there before page one: readings, and what the other task writes.
            let known: BTreeSet<_> = seen.iter().filter(|id| by_id.contains_key(*id)).collect();
            let matches = |entry: &&Body| filter.iter().all(|condition| (condition.means)(entry));
            let expected: BTreeSet<_> =
                by_id.values().copied().filter(matches).map(|entry| &entry.id).collect();
            assert_eq!(known, expected, "{query}");
            expected.len()
        }
    });
    let searching = stream::iter(walks).buffer_unordered(WALKS).collect::<Vec<_>>();
    // Meanwhile entries are written: now, and some that commit late.
    let writing = async {
        let mut numbers = Numbers(3);
        loop {
            let late = SignedDuration::from_millis(i64::try_from(numbers.below(20_000)).unwrap());
            log_rows::insert(&world, &[some_entry(&mut numbers, clock::now() - late)]).await;
            // Not so many that the store does nothing else.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::select! {
        found = searching => found,
        () = writing => unreachable!(),
    };
    assert_eq!(found.len(), FILTERS);
    let with_results = found.iter().filter(|found| **found > 0).count();
    assert!(with_results > FILTERS * 3 / 4, "{with_results} filters find anything: the others prove little");
}

#[tokio::test]
async fn months_before_the_organisations_first_entry_are_not_asked() {
    let world = World::start().await;
    let token = world.token("auditor");
    let entries = log_rows::entries(ORG, 3);
    log_rows::insert(&world, &entries).await;
    let months = |world: &World| {
        let queries = world.dynamodb.take().into_iter().filter(|seen| seen.operation == "Query");
        let keys = queries
            .map(|seen| seen.body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap().to_owned());
        keys.filter(|key| key.starts_with(ORG)).count()
    };
    world.dynamodb.take();
    world.logs(&token, "").await.ok();
    let all = months(&world);
    // As the sealer does when it gives the first position: there may still be earlier rows that it was not told of.
    let number = |at: Timestamp| AttributeValue::N(at.as_millisecond().to_string());
    let put = world.tables().put_item().table_name("storage_audit_state");
    let put = put.item("pk", AttributeValue::S("HEAD".into())).item("sk", AttributeValue::S(ORG.into()));
    let put = put.item("since", number(clock::now()));
    put.clone().send().await.unwrap();
    world.logs(&token, "").await.ok();
    assert_eq!(months(&world), all);
    // And when it has looked at every row.
    put.item("complete_to", number(clock::now())).send().await.unwrap();
    let page = world.logs(&token, "?limit=50").await.ok();
    assert_eq!((ids(&page).len(), &page.body["complete"]), (5, &true.into()));
    let yesterday = clock::now() - SignedDuration::from_hours(24);
    let expected =
        1 + usize::from(shared::audit::month_of(yesterday) != shared::audit::month_of(clock::now()));
    assert_eq!(months(&world), expected);
    assert!(expected < all || clock::now() < "2026-03-01T00:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn a_search_that_runs_out_of_time_says_how_far_it_came() {
    let world = World::start().await;
    let token = world.token("auditor");
    let half_a_year_ago = clock::now() - SignedDuration::from_hours(24 * 180);
    let mut entries = vec![log_rows::entry(ORG, half_a_year_ago, Action::View)];
    entries.extend(log_rows::entries(ORG, 3));
    log_rows::insert(&world, &entries).await;
    // Each month takes so long that the whole year does not fit into one request.
    world.dynamodb.fail("Query", 0, usize::MAX, Fault::Delay(Duration::from_millis(700)));
    let page = world.logs(&token, "?action_type=VIEW").await.ok();
    world.dynamodb.heal();
    assert_eq!(page.body["complete"], false, "{}", page.body);
    let mut seen = ids(&page);
    assert!(seen.len() >= 3);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let rest = world.logs(&token, &format!("?cursor={cursor}")).await.ok();
    assert_eq!(rest.body["complete"], true);
    seen.extend(ids(&rest));
    assert_eq!(seen, entries.iter().rev().map(|entry| entry.id.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_in_an_index_where_it_does_not_belong_is_not_shown() {
    let world = World::start().await;
    let mut entries = log_rows::entries(ORG, 4);
    entries[1].user = UserId::Number(2);
    let foreign = log_rows::entries("org-1234", 1);
    log_rows::insert(&world, &entries).await;
    log_rows::insert(&world, &foreign).await;
    let rows = world.rows("storage_audit_logs").await;
    let row = |id: &str| rows.iter().find(|row| row["sk"].as_s().unwrap() == id).unwrap().clone();
    // An index key altered, and a row of another organisation under this one's.
    for id in [&entries[1].id, &foreign[0].id] {
        let mut row = row(id);
        row.insert("gu".into(), self::row_key(&rows, &entries[0].id));
        world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row)).send().await.unwrap();
    }
    let mut moved = row(&foreign[0].id);
    moved.insert("pk".into(), row(&entries[0].id)["pk"].clone());
    world.tables().put_item().table_name("storage_audit_logs").set_item(Some(moved)).send().await.unwrap();
    let admin = world.token_of(ORG, "9", "admin");
    let expected: Vec<_> = [3, 2, 0].map(|number: usize| entries[number].id.clone()).into();
    assert_eq!(ids(&world.logs(&admin, "?user_id=1").await.ok()), expected);
    let all = ids(&world.logs(&admin, "?not_action_type=AUDIT_READ").await.ok());
    assert_eq!(all, expected, "nor anywhere else: the row is not the one that was written");
}

fn row_key(rows: &[HashMap<String, AttributeValue>], id: &str) -> AttributeValue {
    rows.iter().find(|row| row["sk"].as_s().unwrap() == id).unwrap()["gu"].clone()
}

#[tokio::test]
async fn a_merge_of_partitions_reads_at_most_twice_what_it_returns() {
    let world = World::start().await;
    log_rows::without_stream(&world).await;
    let mut entries = log_rows::entries(ORG, 1_200);
    // In blocks, which is the worst for whoever guesses shares.
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.action = [Action::View, Action::Upload, Action::Delete, Action::MetadataRead][number / 150 % 4];
        entry.error = (number % 7 == 0).then(|| "no".into());
    }
    log_rows::insert(&world, &entries).await;
    for (query, returned) in [
        ("action_type=VIEW&success=true", None),
        ("action_type=VIEW", Some(300)),
        ("action_type=VIEW&action_type=UPLOAD&action_type=DELETE&action_type=METADATA_READ", Some(1_200)),
        ("success=false", Some(172)),
    ] {
        world.dynamodb.take();
        let seen = walk(&world, &world.url(""), query, 100).await.len();
        assert_eq!(seen, returned.unwrap_or(seen), "{query}");
        let log = |seen: &crate::proxy::Seen| seen.body["TableName"] == "storage_audit_logs";
        let queries = world.dynamodb.take().into_iter().filter(|seen| seen.operation == "Query" && log(seen));
        let read: u64 = queries.map(|seen| seen.answer["Count"].as_u64().unwrap()).sum();
        let ratio = read as f64 / seen as f64;
        let most = if query.contains("success=true") { 1.1 } else { 2.0 };
        assert!(ratio <= most, "{query}: {read} rows read for {seen}");
    }
}
