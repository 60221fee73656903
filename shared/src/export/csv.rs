//! CSV (RFC 4180): a header with D1's names, every cell in quotes, lines that end in CRLF, UTF-8.
//!
//! **No cell is a formula**, in whichever spreadsheet. A spreadsheet takes what begins with `=`, `+`, `-` or `@` for one, some
//! also behind white space or as full-width characters (OWASP, "CSV Injection"); and one that expects semicolons or tabs
//! between cells sees the beginning of a cell behind each of them. So an apostrophe is written
//!
//! - before a cell that begins with anything but a letter, a digit, `{` or `_`;
//! - within a cell, behind a semicolon, tab, CR or LF, before `=`, `+`, `-`, `@`, their full-width forms, `'` and `"` (a cell in quotes
//!   begins there), also if white space stands between.
//!
//! Whoever reads the file takes away one apostrophe at the beginning of a cell and one behind each semicolon, tab, CR and
//! LF, and has every byte as it was: in Python, `re.sub(r"(\A|[;\t\r\n])'", r"\1", cell)`. An empty cell is a value that is
//! not there.

use std::borrow::Cow;

use csv::{QuoteStyle, Terminator, WriterBuilder};
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{LogRow, metadata};

const COLUMNS: [&str; 15] = [
    "id",
    "user_id",
    "role",
    "timestamp",
    "ip_address",
    "device_info",
    "action_type",
    "file_path",
    "related_object_type",
    "related_object_id",
    "metadata",
    "success",
    "error_message",
    "request_id",
    "sub",
];

/// The header.
pub(super) fn head() -> Vec<u8> {
    let mut line = Vec::new();
    write_line(&COLUMNS.map(String::from), &mut line);
    line
}

/// An entry's line.
pub(super) fn write(row: &LogRow, to: &mut Vec<u8>) {
    let body = &row.body;
    let timestamp = Timestamp::from_millisecond(body.timestamp_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let metadata = metadata(&body.details);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let cells = [
        body.id.clone(),
        body.user.to_string(),
        body.role.clone(),
        timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        body.ip.clone(),
        body.device.clone(),
        body.action.name().to_owned(),
        body.file_path().unwrap_or_default(),
        text(&body.related_type),
        text(&body.related_id),
        if metadata.is_empty() { String::new() } else { Value::Object(metadata).to_string() },
        if body.error.is_none() { "true" } else { "false" }.to_owned(),
        text(&body.error),
        body.request_id.clone(),
        text(&body.sub),
    ];
    write_line(&cells, to);
}

#[expect(
    clippy::expect_used,
    reason = "memory can always be written to, and a line has as many cells as it has"
)]
fn write_line(cells: &[String; COLUMNS.len()], to: &mut Vec<u8>) {
    let mut writer =
        WriterBuilder::new().quote_style(QuoteStyle::Always).terminator(Terminator::CRLF).from_writer(to);
    writer.write_record(cells.iter().map(|cell| harmless(cell).into_owned())).expect("a line is written");
    writer.flush().expect("a line is written");
}

/// What separates cells for somebody.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// A cell that no spreadsheet takes for a formula.
fn harmless(cell: &str) -> Cow<'_, str> {
    let begins_well = |c: char| c.is_alphanumeric() || matches!(c, '{' | '_');
    let is_trigger = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\'' | '"');
    let is_space = |c: char| c.is_whitespace() && !SEPARATORS.contains(&c);
    let mut out = String::new();
    let mut before = None;
    for (at, c) in cell.char_indices() {
        let is_marked = match before {
            None => !begins_well(c),
            Some(before) => {
                SEPARATORS.contains(&before)
                    && cell[at..].trim_start_matches(is_space).starts_with(is_trigger)
            }
        };
        if is_marked {
            out.push('\'');
        }
        out.push(c);
        before = Some(c);
    }
    if out.len() == cell.len() { Cow::Borrowed(cell) } else { Cow::Owned(out) }
}

/// The cell as it was.
#[cfg(test)]
pub(super) fn unmarked(cell: &str) -> String {
    let mut out = String::new();
    let mut begins = true;
    for c in cell.chars() {
        if !(begins && c == '\'') {
            out.push(c);
        }
        begins = !(begins && c == '\'') && SEPARATORS.contains(&c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_marked_and_what_does_not_is_as_it_was() {
        for (cell, written) in [
            ("", ""),
            ("org-1/a/b", "org-1/a/b"),
            ("203.0.113.5", "203.0.113.5"),
            ("{\"a\":1}", "{\"a\":1}"),
            ("Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)"),
            ("=1+1", "'=1+1"),
            ("-5", "'-5"),
            (" =1", "' =1"),
            ("\t=1", "'\t'=1"),
            ("＝1", "'＝1"),
            ("'x", "''x"),
            ("\u{feff}=1", "'\u{feff}=1"),
            ("a;=1", "a;'=1"),
            ("a; =1", "a;' =1"),
            ("a;\"=1+1\";b", "a;'\"=1+1\";b"),
            ("a\n@x;'y", "a\n'@x;''y"),
        ] {
            assert_eq!(harmless(cell), written, "{cell:?}");
            assert_eq!(unmarked(written), cell, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_nothing_begins_like_a_formula(cell in "[=+@'; a\\-\\t\\r\\n＝é\"]{0,12}") {
            let written = harmless(&cell);
            prop_assert_eq!(unmarked(&written), cell.as_str());
            for part in written.split(SEPARATORS) {
                prop_assert!(!part.trim_start().starts_with(['=', '+', '-', '@', '＝', '"']), "{written:?}");
            }
        }
    }
}
