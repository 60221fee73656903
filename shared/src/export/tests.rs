use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use ulid::Ulid;

use super::*;
use crate::audit::{Action, Body, Details};
use crate::ids::UserId;

/// An entry that says everything that an entry can say, in these words.
pub(super) fn entry(action: Action, words: [&str; 3]) -> LogRow {
    let [one, two, three] = words.map(str::to_owned);
    let ms = "2026-01-26T15:30:45.123Z".parse::<Timestamp>().unwrap().as_millisecond();
    let id = Ulid::from_parts(ms.try_into().unwrap(), 7).to_string();
    let body = Body {
        action,
        ip: "203.0.113.195".into(),
        device: one.clone(),
        error: Some(two.clone()),
        path: Some("accounting/receipt/receipt-456/a.jpg".into()),
        replaces: None,
        id: id.clone(),
        details: Details {
            file_size: Some(5),
            expires_in: Some(600),
            mime_type: Some("image/jpeg".into()),
            sha256: Some("00".repeat(32)),
            filter: Some(three.clone()),
            format: Some("csv".into()),
            ..Details::default()
        },
        sequence: 3,
        org: "org-123".into(),
        previous: Some("p".into()),
        request_id: two.clone(),
        role: three.clone(),
        sub: Some(one.clone()),
        timestamp_ms: ms,
        user: UserId::Text(three),
        writer: id,
        related_type: Some(one),
        related_id: Some(two),
    };
    LogRow::of(&body.to_bytes()).unwrap()
}

fn written(format: Format, rows: &[LogRow]) -> Vec<u8> {
    let mut bytes = format.head();
    rows.iter().for_each(|row| format.write(row, &mut bytes));
    bytes
}

/// Words that somebody else chose, as nasty as they come.
fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[=+@\\-'\";,\\t\\r\\n {}a-c\\\\é🚑\u{0}\u{1b}]{0,9}", any::<String>()]
}

proptest! {
    #[test]
    fn a_csv_export_is_read_back_as_it_was(words in [word(), word(), word()]) {
        let row = entry(Action::Upload, words.each_ref().map(String::as_str));
        let bytes = written(Format::Csv, &[row.clone(), row]);
        let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let mut count = 0;
        for record in reader.records() {
            let record = record.unwrap();
            let cell = |name: &str| {
                let at = names.iter().position(|it| it == name).unwrap();
                super::csv::unmarked(&record[at])
            };
            let [one, two, three] = &words;
            for (name, expected) in [
                ("device_info", one), ("sub", one), ("related_object_type", one),
                ("error_message", two), ("request_id", two), ("related_object_id", two),
                ("role", three), ("user_id", three),
            ] {
                prop_assert_eq!(&cell(name), expected, "{}", name);
            }
            let metadata: Value = serde_json::from_str(&cell("metadata")).unwrap();
            prop_assert_eq!(metadata["filter"].as_str(), Some(three.as_str()));
            prop_assert_eq!(cell("timestamp"), "2026-01-26T15:30:45.123Z");
            prop_assert_eq!(cell("file_path"), "org-123/accounting/receipt/receipt-456/a.jpg");
            count += 1;
        }
        prop_assert_eq!(count, 2);
    }

    #[test]
    fn ndjson_is_the_entries_byte_for_byte_one_a_line(words in [word(), word(), word()]) {
        let row = entry(Action::Delete, words.each_ref().map(String::as_str));
        let bytes = written(Format::Ndjson, &[row.clone(), row.clone()]);
        let lines: Vec<_> = bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        prop_assert_eq!(lines, [&row.bytes, &row.bytes]);
    }

    #[test]
    fn an_ocsf_event_is_a_line_and_keeps_the_words(words in [word(), word(), word()]) {
        let row = entry(Action::Download, words.each_ref().map(String::as_str));
        let bytes = written(Format::Ocsf, &[row.clone(), row.clone()]);
        let text = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(text.matches('\n').count(), 2);
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let [one, two, three] = &words;
            prop_assert_eq!(event["actor"]["user"]["uid"].as_str(), Some(three.as_str()));
            prop_assert_eq!(event["actor"]["user"]["uid_alt"].as_str(), Some(one.as_str()));
            prop_assert_eq!(event["status_detail"].as_str(), Some(two.as_str()));
            prop_assert_eq!(event["metadata"]["uid"].as_str(), Some(row.body.id.as_str()));
            prop_assert_eq!(event["time"].as_i64(), Some(row.body.timestamp_ms));
        }
    }
}

#[test]
fn lines_end_in_crlf_and_the_header_has_the_guides_names() {
    let text = String::from_utf8(written(Format::Csv, &[entry(Action::View, ["a", "b", "c"])])).unwrap();
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("\"id\",\"user_id\",\"role\",\"timestamp\",\"ip_address\""), "{text}");
    assert_eq!(lines[2], "");
}

#[test]
fn every_format_is_one_that_the_catalog_stores() {
    let object_type = crate::catalog::Catalog::get().object_type(SYSTEM, OBJECT_TYPE).unwrap();
    for format in Format::ALL {
        let kind = object_type.kinds.iter().find(|kind| kind.media_type == format.media_type()).unwrap();
        let extension = crate::file_name::extension(format.file_name()).unwrap();
        assert!(kind.extensions.contains(&extension), "{format:?}");
        assert_eq!(serde_json::to_value(format).unwrap(), format.name());
    }
}
