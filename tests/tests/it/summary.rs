//! The summary of the log, held against a count of the entries themselves.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use shared::audit::{Action, Body};
use shared::clock;
use ulid::Ulid;

use crate::log_rows;
use crate::world::{Answer, ORG, World};

async fn summary(world: &World, query: &str) -> Answer {
    let token = world.token("auditor");
    world.send(world.request(Method::GET, &format!("audit-logs/summary{query}"), &token)).await
}

/// Entries of the last three days, of every action and outcome, as unevenly as they come.
fn scattered(count: u64) -> Vec<Body> {
    let now = clock::now();
    let entry = |number: u64| {
        let seconds = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let before = SignedDuration::from_secs((seconds % (3 * 24 * 3_600)).try_into().unwrap());
        let action = Action::ALL[usize::try_from(number % 7).unwrap()];
        let mut entry = log_rows::entry(ORG, now - before, action);
        entry.error = number.is_multiple_of(3).then(|| "file_not_found: File not found".into());
        entry
    };
    (0..count).map(entry).collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn at(entry: &Body) -> Timestamp {
    let ms = Ulid::from_string(&entry.id).unwrap().timestamp_ms();
    Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap()
}

/// Checks every bar against the entries that `wanted` lets through; answers how many were counted.
fn check(answer: &Value, entries: &[Body], interval: i64, wanted: impl Fn(&Body) -> bool) -> u64 {
    let bars = answer["bars"].as_array().unwrap();
    let (mut next, mut total) = (time(&answer["from"]), 0);
    for bar in bars {
        let (from, to) = (time(&bar["from"]), time(&bar["to"]));
        assert_eq!(from, next, "bars stand side by side");
        let length = to.duration_since(from).as_secs();
        assert!(length == interval || (length < interval && to == time(&answer["to"])));
        let mut expected = BTreeMap::<&str, [u64; 2]>::new();
        for entry in entries.iter().filter(|entry| (from..to).contains(&at(entry)) && wanted(entry)) {
            expected.entry(entry.action.name()).or_default()[usize::from(entry.error.is_some())] += 1;
        }
        let count: u64 = expected.values().flatten().sum();
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(action, [done, failed])| (*action, json!({ "succeeded": done, "failed": failed })))
            .collect();
        assert_eq!((&bar["actions"], &bar["count"]), (&json!(expected), &json!(count)));
        (next, total) = (to, total + count);
    }
    assert_eq!(next, time(&answer["to"]));
    total
}

#[tokio::test]
async fn a_summary_is_what_counting_the_entries_gives() {
    let world = World::start().await;
    log_rows::insert(&world, &scattered(500)).await;
    world.seal().await;
    let entries = world.entries().await;
    let now = clock::now();
    let day = now - SignedDuration::from_hours(30);
    type Wanted = fn(&Body) -> bool;
    let all: Wanted = |_| true;
    let cases: [(String, i64, Wanted); 9] = [
        ("?from=-72h&interval=1h".into(), 3_600, all),
        ("?from=-4d&interval=24h".into(), 24 * 3_600, all),
        ("?from=-4d&interval=1d&success=true".into(), 24 * 3_600, |entry| entry.error.is_none()),
        ("?from=-72h&interval=7h&success=false".into(), 7 * 3_600, |entry| entry.error.is_some()),
        ("?interval=5m&action_type=UPLOAD&action_type=VIEW".into(), 300, |entry| {
            matches!(entry.action, Action::Upload | Action::View)
        }),
        ("?from=-24h&interval=1m".into(), 60, all),
        (format!("?from={day}&to=-10h"), 3_600, all),
        ("?from=-3d&interval=1d&not_action_type=UPLOAD&not_success=true".into(), 24 * 3_600, |entry| {
            entry.action != Action::Upload && entry.error.is_some()
        }),
        ("?from=-5d&to=-4d".into(), 3_600, all),
    ];
    for (query, interval, wanted) in cases {
        let answer = summary(&world, &query).await.ok().body;
        let total = check(&answer, &entries, interval, wanted);
        assert_eq!(total == 0, query.contains("to=-4d"), "{query} counts nothing");
        assert_eq!(answer["as_of"]["tree_size"], 500);
        assert!((now - time(&answer["as_of"]["time"])).get_seconds() < 60);
    }
    let all = summary(&world, "?from=-4d&interval=4d").await.ok().body;
    let counts: u64 = all["bars"].as_array().unwrap().iter().map(|bar| bar["count"].as_u64().unwrap()).sum();
    assert_eq!(counts, 500);
    assert_eq!(world.entries().await.len(), 500, "a summary is no reading of an entry");
}

#[tokio::test]
async fn a_summary_costs_what_its_bars_cost_and_not_what_its_entries_do() {
    let world = World::start().await;
    let hour = clock::now() - SignedDuration::from_hours(2);
    let mut costs = Vec::new();
    for count in [4, 200] {
        let entries: Vec<_> = (0..count).map(|_| log_rows::entry(ORG, hour, Action::View)).collect();
        log_rows::insert(&world, &entries).await;
        world.seal().await;
        world.dynamodb.take();
        summary(&world, "").await.ok();
        let seen = world.dynamodb.take();
        let cost = |seen: &crate::proxy::Seen| seen.answer["ConsumedCapacity"]["CapacityUnits"].clone();
        costs.push(seen.iter().map(|seen| (seen.operation.clone(), cost(seen))).collect::<Vec<_>>());
    }
    assert_eq!(costs[0].len(), 2, "the head and the counters: {costs:?}");
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn what_a_summary_cannot_show_is_refused() {
    let world = World::start().await;
    for (query, code) in [
        ("?interval=0h", "invalid_interval"),
        ("?interval=h", "invalid_interval"),
        ("?interval=1w", "invalid_interval"),
        ("?interval=-1h", "invalid_interval"),
        ("?interval=90s", "invalid_interval"),
        ("?from=-48h&interval=5m", "invalid_interval"),
        ("?from=-48h&interval=90m", "invalid_interval"),
        ("?from=-100d&interval=1h", "invalid_interval"),
        ("?from=-400d&interval=1d", "invalid_range"),
        ("?from=-1h&to=-2h", "invalid_range"),
        ("?from=2200-01-01T00:00:00Z", "invalid_range"),
        ("?from=yesterday", "invalid_from"),
        ("?action_type=LOOK", "invalid_action_type"),
        ("?success=maybe", "invalid_success"),
        ("?interval=1h&interval=2h", "invalid_query"),
        ("?user_id=1", "invalid_query"),
        ("?cursor=x", "invalid_query"),
    ] {
        let answer = summary(&world, query).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{query}: {}", answer.body);
    }
    // Before anything is sealed there is nothing to count, and the answer says so.
    let answer = summary(&world, "?from=-2h").await.ok().body;
    assert_eq!(answer["as_of"], json!({ "tree_size": 0, "time": null }));
    assert!(world.entries().await.is_empty());
}
