//! What pages of the log cost, and that it does not depend on how long the log is. `infra/bench/log` runs it for large ones
//! and shows the table.

use audit_logs::cursor::{Cursor, Place};
use jiff::SignedDuration;
use local::stack::Options;
use shared::app::App;
use shared::audit::{Action, Body};
use shared::clock;
use ulid::Ulid;

use crate::costs::{consumed, is_read};
use crate::log_rows;
use crate::proxy::Seen;
use crate::world::{ORG, World};

/// Entries of one file, whatever the size.
const PER_FILE: usize = 250;
/// Days that entries are of: three months, or four.
const DAYS: i64 = 75;
/// Entries of one insert.
const CHUNK: usize = 5_000;
/// Pages of one walk, at most: a tenth of a log of a million entries.
const MAX_PAGES: usize = 1_000;
/// Entries on a page.
const PAGE: usize = 100;

/// The sizes: `PAGE_COSTS=1000,100000,1000000`.
fn sizes() -> Vec<usize> {
    let sizes = std::env::var("PAGE_COSTS").unwrap_or_else(|_| "1000,3000".into());
    sizes.split(',').map(|size| size.trim().parse().unwrap()).collect()
}

fn file(number: usize) -> String {
    format!("accounting/receipt/receipt-{}/20260126_153045_IMG_2024.jpg", number / PER_FILE)
}

/// The entry of that number of a log of that size, oldest first: of every file some all the time.
fn entry(number: usize, size: usize) -> Body {
    let share = i64::try_from(number).unwrap() * DAYS * 86_400_000 / i64::try_from(size).unwrap();
    let at = clock::now() - SignedDuration::from_hours(24 * DAYS) + SignedDuration::from_millis(share);
    // A stride without a common factor with the size spreads files over time.
    let spread = number * 7_919 % size;
    let action = [Action::View, Action::Upload, Action::View, Action::MetadataRead, Action::Download];
    let mut entry = log_rows::entry(ORG, at, action[spread % 5]);
    entry.error = spread.is_multiple_of(11).then(|| "file_not_found: File not found".into());
    entry.user = shared::ids::UserId::Number(i64::try_from(spread % 10).unwrap());
    entry.path = Some(file(spread));
    entry
}

/// Units and rows of everything that was read since the last call.
fn reads(world: &World) -> (f64, u64) {
    let seen: Vec<Seen> = world.dynamodb.take().into_iter().filter(is_read).collect();
    let rows = |seen: &Seen| seen.answer["Count"].as_u64().unwrap_or_default();
    let of_log = seen.iter().filter(|seen| seen.body["TableName"] == "storage_audit_logs");
    let rows = of_log.map(rows).sum();
    (seen.iter().map(consumed).sum(), rows)
}

/// Rows read for each that is returned, page after page; and how many pages.
async fn walk(world: &World, token: &str, query: &str) -> (f64, usize, bool) {
    reads(world);
    let (mut returned, mut read, mut pages) = (0, 0, 0);
    let mut next = format!("?limit={PAGE}&{query}");
    loop {
        let page = world.logs(token, &next).await.ok();
        returned += page.body["count"].as_u64().unwrap();
        read += reads(world).1;
        pages += 1;
        match page.body["next_cursor"].as_str() {
            Some(cursor) if pages < MAX_PAGES => next = format!("?limit={PAGE}&cursor={cursor}"),
            cursor => return (read as f64 / returned.max(1) as f64, pages, cursor.is_none()),
        }
    }
}

/// Read units of the first page, of one far back, of one of a file.
async fn pages(world: &World, token: &str, deep: Ulid) -> [f64; 3] {
    let by_file = format!("?file_path={ORG}/{}", file(0));
    reads(world);
    let first = world.logs(token, "").await.ok();
    assert_eq!(first.body["count"], PAGE);
    let first_units = reads(world).0;
    let app = App::new(&world.config).unwrap();
    let caller = app.tokens().unwrap().verifier.verify(token, clock::now()).unwrap();
    let query = Cursor::open(&app, &caller, first.body["cursor"].as_str().unwrap()).unwrap();
    let deep = Cursor { place: Place::Page(Some(deep)), ..query }.close(&app, &caller).unwrap();
    assert_eq!(world.logs(token, &format!("?cursor={deep}")).await.ok().body["count"], PAGE);
    let deep_units = reads(world).0;
    assert_eq!(world.logs(token, &by_file).await.ok().body["count"], PAGE);
    [first_units, deep_units, reads(world).0]
}

/// What is walked: whether it is one partition a month, or how many are merged.
fn walks() -> Vec<(&'static str, String, usize)> {
    vec![
        ("everything", String::new(), 1),
        ("a file", format!("file_path={ORG}/{}", file(0)), 1),
        ("a user", "user_id=3".into(), 1),
        ("an action that succeeded", "action_type=DOWNLOAD&success=true".into(), 1),
        ("an action", "action_type=DOWNLOAD".into(), 2),
        ("two actions", "action_type=DOWNLOAD&action_type=VIEW".into(), 4),
        (
            "four actions",
            "action_type=DOWNLOAD&action_type=VIEW&action_type=UPLOAD&action_type=METADATA_READ".into(),
            8,
        ),
        ("what failed", "success=false".into(), Action::ALL.len()),
    ]
}

#[tokio::test]
async fn a_page_costs_the_same_however_long_the_log_is() {
    let mut first_of_all: Option<[f64; 3]> = None;
    for size in sizes() {
        let folder = tempfile::tempdir().unwrap();
        // A large log does not fit into memory.
        let data = (size > 100_000).then(|| folder.path().join("data"));
        let world = World::start_on(&Options { data, ..Options::default() }, |_| {}).await;
        log_rows::without_stream(&world).await;
        let mut deep = None;
        for begin in (0..size).step_by(CHUNK) {
            let entries: Vec<_> =
                (begin..size.min(begin + CHUNK)).map(|number| entry(number, size)).collect();
            log_rows::insert(&world, &entries).await;
            let at = (size / 4).checked_sub(begin).and_then(|at| entries.get(at));
            deep = at.map(|entry| Ulid::from_string(&entry.id).unwrap()).or(deep);
        }
        let token = world.token("auditor");
        let units = pages(&world, &token, deep.unwrap()).await;
        println!("\n{size} entries; read units of a page of {PAGE}:");
        println!("  first {}, deep {}, by file {}", units[0], units[1], units[2]);
        println!("rows read for each that a full walk returns, with k partitions a month:");
        let expected = *first_of_all.get_or_insert(units);
        for (units, expected) in units.into_iter().zip(expected) {
            assert!(
                (units / expected - 1.0).abs() <= 0.2,
                "{units} read units, and {expected} of a short log"
            );
        }
        for (what, query, merged) in walks() {
            let (ratio, pages, ended) = walk(&world, &token, &query).await;
            let cut = if ended { "" } else { ", not to the end" };
            println!("  {ratio:.3} k={merged:<2} {what} ({pages} pages{cut})");
            let most = if merged == 1 { 1.1 } else { 2.0 };
            assert!(ratio <= most, "{what}: {ratio} rows are read for each that is returned");
        }
    }
}
