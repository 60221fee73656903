//! Rows of the audit log as nobody but a test writes them: of any time and any number.

use std::collections::HashMap;

use audit_format::Value;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, StreamSpecification, WriteRequest};
use jiff::{SignedDuration, Timestamp};
use shared::audit::{Action, Body, Details, LogRow};
use shared::clock;
use shared::ids::UserId;
use ulid::Ulid;

use crate::world::World;

/// An entry of a moment.
pub fn entry(org: &str, at: Timestamp, action: Action) -> Body {
    let ms = at.as_millisecond();
    let id = Ulid::from_parts(ms.try_into().unwrap(), Ulid::generate().random());
    Body {
        action,
        ip: "203.113.110.195".into(),
        device: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        error: None,
        path: Some("accounting/receipt/receipt-456/20260126_153045_IMG_2024.jpg".into()),
        replaces: None,
        id: id.to_string(),
        details: Details::default(),
        sequence: 0,
        org: org.into(),
        previous: None,
        request_id: "8f14e45f-ceea-467f-ab2e-1d6f0c9b7a11".into(),
        role: "accountant".into(),
        sub: None,
        timestamp_ms: ms,
        user: UserId::Number(1),
        // No entry is the next one of another's writer.
        writer: id.to_string(),
        related_type: None,
        related_id: None,
    }
}

/// So many entries of the last moments, oldest first, all of one size.
pub fn entries(org: &str, count: u32) -> Vec<Body> {
    let before = |number: u32| clock::now() - SignedDuration::from_millis((count - number).into());
    (0..count).map(|number| entry(org, before(number), Action::View)).collect()
}

/// Puts entries into the table, past the service.
pub async fn insert(world: &World, entries: &[Body]) {
    for batch in entries.chunks(25) {
        let puts = batch.iter().map(|entry| {
            let put = PutRequest::builder().set_item(Some(row(entry))).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let write = world.tables().batch_write_item().request_items("storage_audit_logs", puts.collect());
        let left = write.send().await.unwrap().unprocessed_items.unwrap_or_default();
        assert!(left.is_empty());
    }
}

/// Turns the table's stream off: it makes the embedded store slower with every row, and nobody reads it here.
pub async fn without_stream(world: &World) {
    let off = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    let update = world.tables().update_table().table_name("storage_audit_logs").stream_specification(off);
    update.send().await.unwrap();
}

/// An entry's row.
pub fn row(entry: &Body) -> HashMap<String, AttributeValue> {
    let value = |value| match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(number) => AttributeValue::N(number),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        Value::Other(json) => panic!("{json}"),
    };
    let row = LogRow::of(&entry.to_bytes()).unwrap();
    row.attributes().into_iter().map(|(name, attribute)| (name, value(attribute))).collect()
}
