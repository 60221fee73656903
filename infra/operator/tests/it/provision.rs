//! Tables that are set up, and set up again; the order of a bucket's rules for pages. The rest of buckets is set up, against
//! MiniStack, in `infra/operator/check`.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use operator::Stores;
use operator::provision::Plan;
use shared::config::{Config, Needs};

use crate::proxy::Fate;
use crate::setup::{ORIGIN, Setup};

async fn plan(setup: &Setup, stores: &Stores) -> Plan {
    Plan::make(stores, &setup.origins).await.unwrap()
}

#[tokio::test]
async fn what_is_missing_is_made_once() {
    let mut setup = Setup::good().await;
    setup.set("FILE_RECORDS_TABLE", "other_records");
    setup.set("STORAGE_AUDIT_LOGS_TABLE", "other_logs");
    let stores = Stores::new(Config::read(Needs::ALL, &|name| setup.variables.get(name).cloned()).unwrap());
    let first = plan(&setup, &stores).await;
    let text = first.to_string();
    // The local stack sets up what it needs, and no more.
    for line in [
        "+ table other_records: is not there",
        "+ table other_logs: is not there",
        "+ table storage_state: is not protected",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let writes = |seen: &crate::proxy::Seen| !seen.operation().starts_with("Describe");
    assert!(!setup.dynamodb.take().iter().any(writes), "a plan changes nothing");

    let mut done = Vec::new();
    first.apply(&stores, |text| done.push(text.to_owned())).await.unwrap();
    assert!(done.iter().any(|text| text.starts_with("done: table other_logs: is not there")), "{done:?}");
    let second = plan(&setup, &stores).await;
    assert!(second.is_empty() && second.is_possible(), "{second}");
    let report = setup.doctor().await;
    assert!(report.is_good(), "{report}");
}

/// A table with the right key and nothing else, and one row.
async fn bare(setup: &Setup, table: &str) {
    let tables = setup.tables();
    tables.delete_table().table_name(table).send().await.unwrap();
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let text =
        AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S).build();
    let create = tables.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(text.unwrap()).send().await.unwrap();
    let put = tables.put_item().table_name(table).item("pk", AttributeValue::S("row".into()));
    put.item("sweep", AttributeValue::S("0".into()))
        .item("due", AttributeValue::N("1".into()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_added_to_a_table_keeps_its_rows() {
    let setup = Setup::good().await;
    let stores = Stores::new(Config::read(Needs::ALL, &|name| setup.variables.get(name).cloned()).unwrap());
    for table in ["storage_state", "file_records"] {
        bare(&setup, table).await;
    }
    let first = plan(&setup, &stores).await;
    for line in [
        "+ table storage_state: rows do not expire by ttl",
        "+ table file_records: has no index by_context",
        "+ table file_records: has no index sweep",
    ] {
        assert!(first.to_string().contains(line), "{line}:\n{first}");
    }
    first.apply(&stores, |_| {}).await.unwrap();
    let second = plan(&setup, &stores).await;
    assert!(second.is_empty(), "{second}");
    let tables = setup.tables();
    for table in ["storage_state", "file_records"] {
        assert_eq!(tables.scan().table_name(table).send().await.unwrap().count, 1);
    }
    let indexed = tables.scan().table_name("file_records").index_name("sweep").send().await.unwrap();
    assert_eq!(indexed.count, 1, "an index is built from the rows that are there");
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_left() {
    let mut setup = Setup::good().await;
    // It has a sort key, which the state's table has not.
    setup.set("STORAGE_STATE_TABLE", "storage_audit_state");
    let stores = Stores::new(Config::read(Needs::ALL, &|name| setup.variables.get(name).cloned()).unwrap());
    let plan = plan(&setup, &stores).await;
    assert!(!plan.is_possible());
    let line = "! table storage_audit_state: has another key: a table's key cannot be changed";
    assert!(plan.to_string().contains(line), "{plan}");
    setup.dynamodb.take();
    plan.apply(&stores, |_| {}).await.unwrap();
    assert!(!setup.dynamodb.take().iter().any(|seen| seen.operation() == "CreateTable"));
}

fn cors_rule(origin: &str, methods: &[&str], exposed: &str) -> String {
    let methods: String =
        methods.iter().map(|method| format!("<AllowedMethod>{method}</AllowedMethod>")).collect();
    format!(
        "<CORSRule><AllowedOrigin>{origin}</AllowedOrigin>{methods}<AllowedHeader>*</AllowedHeader>{exposed}</CORSRule>"
    )
}

#[tokio::test]
async fn the_first_rule_that_has_a_pages_origin_allows_everything() {
    const ETAG: &str = "<ExposeHeader>ETag</ExposeHeader>";
    let setup = Setup::good().await;
    let stores = Stores::new(Config::read(Needs::ALL, &|name| setup.variables.get(name).cloned()).unwrap());
    // What the embedded bucket has not: rules that can be set.
    let rules = Arc::new(Mutex::new(String::new()));
    let kept = rules.clone();
    setup.s3.follow(move |seen| {
        match seen.query().starts_with("cors") && seen.uri.path().contains("storage") {
            true if seen.method == "PUT" => {
                *kept.lock().unwrap() = String::from_utf8(seen.body.to_vec()).unwrap();
                Fate::Answer(200, String::new())
            }
            true => Fate::Answer(200, kept.lock().unwrap().clone()),
            false => Fate::Pass,
        }
    });
    let step = format!("+ bucket storage: CORS: let pages of {ORIGIN} GET, HEAD and PUT, and read ETag");
    let ours = cors_rule(ORIGIN, &["GET", "HEAD", "PUT"], ETAG);
    let whole = |list: &str| format!("<CORSConfiguration>{list}</CORSConfiguration>");
    for there in [
        String::new(),
        // Two rules, of which some stores see the first.
        cors_rule(ORIGIN, &["GET", "HEAD"], "") + &cors_rule(ORIGIN, &["PUT"], ETAG),
        // Somebody else's before ours.
        cors_rule("*", &["GET"], "") + &ours,
        cors_rule("http://localhost:*", &["GET", "PUT"], ETAG) + &ours,
        cors_rule(ORIGIN, &["GET", "HEAD", "PUT"], ""),
    ] {
        *rules.lock().unwrap() = whole(&there);
        let first = plan(&setup, &stores).await;
        assert!(first.to_string().contains(&step), "{there}:\n{first}");
        first.apply(&stores, |_| {}).await.unwrap();
        let now = rules.lock().unwrap().clone();
        let list: Vec<_> = now.split("<CORSRule>").skip(1).collect();
        for text in [ORIGIN, ">GET<", ">HEAD<", ">PUT<", ">ETag<"] {
            assert!(list[0].contains(text), "{text}: {now}");
        }
        assert_eq!(list.len(), there.matches("<CORSRule>").count() + 1, "what is there stays: {now}");
        let second = plan(&setup, &stores).await;
        assert!(second.is_empty(), "{now}:\n{second}");
    }
    for enough in [
        ours.clone() + &cors_rule("*", &["GET"], ""),
        cors_rule("http://elsewhere.example", &["GET"], "") + &ours,
        cors_rule("*", &["GET", "HEAD", "PUT"], ETAG),
    ] {
        *rules.lock().unwrap() = whole(&enough);
        let plan = plan(&setup, &stores).await;
        assert!(plan.is_empty(), "{enough}:\n{plan}");
    }
}
