//! What the stream of the log's table says of a row, in the form in which Lambda passes it on.

use audit_format::{Attributes, Value};
use data_encoding::BASE64;
use serde_json::{Map, Value as Json};

/// The service that removes rows whose time is over, as a record of the stream names it.
const TIME_TO_LIVE: (&str, &str) = ("Service", "dynamodb.amazonaws.com");

/// A row of the log's table that was put, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The record's `eventID`: the same each time the record is delivered.
    pub event: String,
    /// The row before; none: there was none.
    pub old: Option<Attributes>,
    /// The row after; none: there is none any more.
    pub new: Option<Attributes>,
    /// Whether the table itself removed it because of its time to live.
    pub expired: bool,
}

impl RowChange {
    /// Reads a record of a stream's event. None if it tells of no row: the stream is not set to new and old images.
    #[must_use]
    pub fn read(record: &Json) -> Option<Self> {
        let row = |name: &str| record["dynamodb"][name].as_object().map(attributes);
        let (old, new) = (row("OldImage"), row("NewImage"));
        let identity = &record["userIdentity"];
        let by = (identity["type"].as_str(), identity["principalId"].as_str());
        (old.is_some() || new.is_some()).then(|| Self {
            event: record["eventID"].as_str().unwrap_or_default().to_owned(),
            old,
            new,
            expired: by == (Some(TIME_TO_LIVE.0), Some(TIME_TO_LIVE.1)),
        })
    }
}

/// The attributes of a row as the table's protocol writes it.
fn attributes(row: &Map<String, Json>) -> Attributes {
    let value = |json: &Json| {
        let known = json.as_object().filter(|members| members.len() == 1).and_then(|members| {
            let (kind, value) = members.iter().next()?;
            let text = value.as_str()?;
            match kind.as_str() {
                "S" => Some(Value::S(text.to_owned())),
                "N" => Some(Value::N(text.to_owned())),
                "B" => BASE64.decode(text.as_bytes()).ok().map(Value::B),
                _ => None,
            }
        });
        known.unwrap_or_else(|| Value::Other(json.to_string()))
    };
    row.iter().map(|(name, json)| (name.clone(), value(json))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_read_as_lambda_passes_it_on() {
        let record = json!({
            "eventID": "7de3041dd709b024af6f29e4fa13d34c", "eventName": "MODIFY", "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_479_499_740, "SequenceNumber": "13021600000000001596893679",
                "SizeBytes": 112, "StreamViewType": "NEW_AND_OLD_IMAGES",
                "Keys": { "pk": { "S": "org-1#2026-01" }, "sk": { "S": "x" } },
                "OldImage": { "pk": { "S": "org-1#2026-01" }, "b": { "B": "AAE=" }, "ttl": { "N": "5" } },
                "NewImage": { "s": { "SS": ["a", "b"] }, "e": { "NULL": true }, "b": { "B": "no base64" } },
            },
        });
        let change = RowChange::read(&record).unwrap();
        assert_eq!(change.event, "7de3041dd709b024af6f29e4fa13d34c");
        assert!(!change.expired);
        let old = change.old.unwrap();
        assert_eq!(old["pk"], Value::S("org-1#2026-01".into()));
        assert_eq!(old["b"], Value::B(vec![0, 1]));
        assert_eq!(old["ttl"], Value::N("5".into()));
        let new = change.new.unwrap();
        assert_eq!(new["s"], Value::Other(r#"{"SS":["a","b"]}"#.into()));
        assert_eq!(new["e"], Value::Other(r#"{"NULL":true}"#.into()));
        assert_eq!(new["b"], Value::Other(r#"{"B":"no base64"}"#.into()));
    }

    #[test]
    fn what_expired_is_told_from_what_somebody_removed() {
        let record = |identity| json!({ "dynamodb": { "OldImage": {} }, "userIdentity": identity });
        let by_ttl = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
        assert!(RowChange::read(&record(by_ttl)).unwrap().expired);
        let by_somebody = json!({ "type": "User", "principalId": "dynamodb.amazonaws.com" });
        assert!(!RowChange::read(&record(by_somebody)).unwrap().expired);
        assert!(!RowChange::read(&record(Json::Null)).unwrap().expired);
        assert_eq!(RowChange::read(&json!({ "dynamodb": { "Keys": {} } })), None);
    }
}
