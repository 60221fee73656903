//! The log's rows as they stand in the table.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use sha2::{Digest, Sha256};
use shared::audit::Body;

use crate::log_rows;
use crate::world::{ORG, World};

type Row = HashMap<String, AttributeValue>;

fn bytes<'a>(row: &'a Row, name: &str) -> &'a [u8] {
    row[name].as_b().unwrap().as_ref()
}

/// An index's key, from what the design says of it.
fn index_key(index: &str, value: &str) -> Vec<u8> {
    Sha256::digest(format!("{index}\0{ORG}\0{value}"))[..16].to_vec()
}

#[tokio::test]
async fn a_rows_attributes_follow_from_its_bytes_and_index_keys_tell_no_values() {
    let world = World::start().await;
    let user = world.token_of(ORG, "ann@example.org", "accountant");
    let form = World::receipt(World::jpeg("patient.jpg")).text("related_object_type", "invoice");
    let form = form.text("related_object_id", "inv-789");
    let path = world.upload(&user, "receipt-upload", form).await.ok().path();
    world.sign(&user, &path).await.ok();
    world.sign(&user, &format!("{path}x")).await.refused(404, "file_not_found");
    world.delete(&user, &path, false).await.ok();
    world.logs(&world.token("auditor"), "").await.ok();

    let rows = world.rows("storage_audit_logs").await;
    assert_eq!(rows.len(), 5);
    for row in &rows {
        let body = Body::from_bytes(bytes(row, "b")).unwrap();
        let at = Timestamp::from_millisecond(body.timestamp_ms).unwrap();
        let zoned = at.to_zoned(TimeZone::UTC);
        let month = zoned.strftime("%Y-%m").to_string();
        let mut names: BTreeSet<_> = ["pk", "sk", "b", "h", "ttl", "gu", "ga"].into();
        names.extend(body.path.as_ref().map(|_| "gf"));
        names.extend(body.related_id.as_ref().map(|_| "go"));
        assert_eq!(row.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);

        assert_eq!(row["pk"].as_s().unwrap(), &format!("{ORG}#{month}"));
        assert_eq!(row["sk"].as_s().unwrap(), &body.id);
        let mut leaf = vec![0];
        leaf.extend(bytes(row, "b"));
        assert_eq!(bytes(row, "h"), Sha256::digest(&leaf).as_slice(), "SHA-256(0x00 || b)");
        let until = zoned.checked_add(7.years().days(30)).unwrap().timestamp().as_second();
        assert_eq!(row["ttl"].as_n().unwrap(), &until.to_string(), "seven years and thirty days");

        assert_eq!(bytes(row, "gu"), index_key("by_user", &body.user.to_string()));
        let failed = if body.error.is_some() { "FAIL." } else { "" };
        assert_eq!(bytes(row, "ga"), index_key("by_action", &format!("{failed}{}#{month}", body.action)));
        if let Some(path) = body.file_path() {
            assert_eq!(bytes(row, "gf"), index_key("by_file", &path));
        }
        if let Some(id) = &body.related_id {
            assert_eq!(bytes(row, "go"), index_key("by_object", &format!("invoice\0{id}")));
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let world = World::start().await;
    let admin = world.token("admin");
    let entries = log_rows::entries(ORG, 12);
    log_rows::insert(&world, &entries).await;
    let rows = world.rows("storage_audit_logs").await;
    for number in [0, 5, 6, 11] {
        let id = &entries[number].id;
        let mut row = rows.iter().find(|row| row["sk"].as_s().unwrap() == id).unwrap().clone();
        match number {
            5 => drop(row.remove("b")),
            6 => drop(row.insert("b".into(), AttributeValue::S("{}".into()))),
            _ => drop(row.insert("b".into(), AttributeValue::B(Blob::new("{\"a\":\"UPLOAD\"")))),
        }
        let put = world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row));
        put.send().await.unwrap();
    }
    let readable: Vec<_> = (0..12)
        .rev()
        .filter(|number| ![0, 5, 6, 11].contains(number))
        .map(|number| entries[number].id.clone())
        .collect();
    let path = entries[0].file_path().unwrap();
    for filter in [
        "action_type=VIEW".to_owned(),
        format!("file_path={path}"),
        format!("file_path={path}&action_type=VIEW"),
    ] {
        for limit in [3, 7, 8, 9] {
            let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}&{filter}"));
            loop {
                let page = world.logs(&admin, &query).await.ok();
                let logs = page.body["logs"].as_array().unwrap();
                seen.extend(logs.iter().map(|log| log["id"].as_str().unwrap().to_owned()));
                let Some(next) = page.body["next_cursor"].as_str() else { break };
                assert_eq!(logs.len(), limit, "a page is full although rows between cannot be read");
                query = format!("?limit={limit}&cursor={next}");
            }
            // The reads themselves are of the path, too.
            seen.retain(|id| readable.contains(id));
            assert_eq!(seen, readable, "{filter}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn a_row_with_an_attribute_that_does_not_follow_from_its_bytes_is_not_shown() {
    let world = World::start().await;
    let admin = world.token("admin");
    for (name, value) in [
        ("ttl", AttributeValue::N("1".into())),
        ("x", AttributeValue::S("x".into())),
        ("h", AttributeValue::B(Blob::new([0; 32]))),
        ("gu", AttributeValue::B(Blob::new([0; 16]))),
    ] {
        let entry = log_rows::entries(ORG, 1).remove(0);
        let mut row = log_rows::row(&entry);
        row.insert(name.into(), value);
        let put = world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row));
        put.send().await.unwrap();
        let single = world.logs(&admin, &format!("/{}", entry.id)).await;
        single.refused(404, "entry_not_found");
        for filter in ["", "?action_type=VIEW", "?user_id=1"] {
            let page = world.logs(&admin, filter).await.ok();
            let ids = page.body["logs"].as_array().unwrap().iter().map(|log| &log["id"]).collect::<Vec<_>>();
            assert!(!ids.iter().any(|id| *id == entry.id.as_str()), "{name}: {filter}");
        }
    }
}
