use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-01-26T15:30:45.5Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn refused(pairs: &[(&str, &str)], code: &str) {
    let error = Filter::parse(pairs.iter().copied(), now()).unwrap_err();
    assert_eq!(error.code, code, "{pairs:?}: {error}");
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (name, value, code) in [
        ("user", "1", "invalid_query"),
        ("not_from", "-1h", "invalid_query"),
        ("not_not_role", "x", "invalid_query"),
        ("file_path", "..", "invalid_path"),
        ("file_path", "", "invalid_path"),
        ("not_file_path", "org-1/nowhere/doc/1/a.pdf", "invalid_system"),
        ("action_type", "upload", "invalid_action_type"),
        ("not_action_type", "", "invalid_action_type"),
        ("user_id", "", "invalid_user_id"),
        ("role", "a\0b", "invalid_role"),
        ("success", "yes", "invalid_success"),
        ("not_success", "TRUE", "invalid_success"),
        ("related_object_type", "", "invalid_related_object_type"),
        ("related_object_id", "1", "invalid_related_object_id"),
        ("system", "nowhere", "invalid_system"),
        ("ip_address", "203.0.113", "invalid_ip_address"),
        ("request_id", "1", "invalid_request_id"),
        ("from", "yesterday", "invalid_from"),
        ("from", "1969-12-31T23:59:59Z", "invalid_from"),
        ("to", "", "invalid_to"),
        ("hours", "18:00", "invalid_hours"),
        ("tz", "Europe/Berlin", "invalid_tz"),
    ] {
        refused(&[(name, value)], code);
    }
    refused(&[("hours", "18:00-07:00"), ("tz", "Berlin")], "invalid_tz");
    refused(&[("from", "-1h"), ("to", "-1h")], "invalid_range");
    refused(&[("from", "-1h"), ("from", "-1h")], "invalid_query");
    refused(&[("user_id", "1"), ("user_id", "2")], "invalid_query");
    refused(&[("request_id", "1"), ("from", "-61m")], "invalid_request_id");
    refused(&[("request_id", "1"), ("to", "-1m")], "invalid_request_id");
    refused(&[("request_id", "1"), ("not_file_path", "o/epcr/document/1/a.pdf")], "invalid_request_id");
    let many: Vec<_> = (0..=MAX_VALUES).map(|number| number.to_string()).collect();
    refused(&many.iter().map(|id| ("not_user_id", id.as_str())).collect::<Vec<_>>(), "invalid_query");
    let long: Vec<_> = (0..10).map(|number| format!("{number}{}", "x".repeat(240))).collect();
    refused(&long.iter().map(|id| ("not_user_id", id.as_str())).collect::<Vec<_>>(), "invalid_query");
}

#[test]
fn relative_times_are_resolved_once_and_rounded_to_what_ids_can_tell() {
    let pairs = [("from", "-24h"), ("to", "2026-01-26T15:30:45.0001Z")];
    let filter = Filter::parse(pairs, now()).unwrap();
    assert_eq!(filter.text(), "from=2026-01-25T15:30:45.5Z&to=2026-01-26T15:30:45.001Z");
    assert_eq!(Filter::from_text(&filter.text()), Ok(filter));
    // A request's range ends now, also when it is read again tomorrow.
    let filter = Filter::parse([("request_id", "r"), ("from", "-1h")], now()).unwrap();
    assert_eq!(filter.text(), format!("request_id=r&from=2026-01-26T14:30:45.5Z&to={NOW}"));
    assert_eq!(Filter::from_text(&filter.text()), Ok(filter));
    assert!(Filter::parse([("request_id", "r"), ("file_path", "o/epcr/document/1/a.pdf")], now()).is_ok());
}

#[test]
fn an_entry_keeps_of_a_filter_what_fits() {
    let ids: Vec<_> = (10..29).map(|number| format!("user-{number}@example.org")).collect();
    let pairs = ids.iter().map(|id| ("not_user_id", id.as_str()));
    let path = ("file_path", "o/epcr/document/1/a.pdf");
    let filter = Filter::parse(pairs.chain([path]), now()).unwrap();
    let kept = filter.entry_text().unwrap();
    assert!(
        kept.starts_with("not_user_id=user-10@example.org&not_user_id=") && kept.ends_with("example.org…")
    );
    assert!((200..=256).contains(&kept.len()), "{kept}");
    assert_eq!(Filter::parse([path], now()).unwrap().entry_text(), None);
    let one = format!("{}é", "x".repeat(254));
    assert_eq!(Filter::parse([("role", one.as_str())], now()).unwrap().entry_text().as_deref(), Some("…"));
}

#[test]
fn actions_are_those_that_can_match() {
    let actions = |pairs: &[(&str, &str)]| Filter::parse(pairs.iter().copied(), now()).unwrap().actions();
    assert_eq!(actions(&[]), None);
    assert_eq!(actions(&[("success", "true")]), None);
    assert_eq!(actions(&[("not_action_type", "VIEW")]), None);
    assert_eq!(actions(&[("success", "false")]).unwrap().len(), Action::ALL.len());
    assert_eq!(
        actions(&[("action_type", "VIEW"), ("action_type", "DELETE"), ("not_action_type", "VIEW")]),
        Some(vec![(Action::Delete, true), (Action::Delete, false)])
    );
    assert_eq!(
        actions(&[("action_type", "VIEW"), ("not_success", "true")]),
        Some(vec![(Action::View, false)])
    );
    assert_eq!(actions(&[("success", "true"), ("not_success", "true")]), Some(vec![]));
}

proptest! {
    #[test]
    fn a_filter_is_the_same_when_its_text_is_read(
        users in proptest::collection::btree_set("[^\\p{Cc}]{1,20}", 0..4),
        role in "[^\\p{Cc}]{1,20}",
        from in proptest::option::of(0_i64..4_000_000_000_000),
        hours in proptest::option::of((0_u16..24, 0_u16..60)),
    ) {
        let mut pairs: Vec<_> = users.iter().map(|user| ("not_user_id", user.clone())).collect();
        pairs.push(("role", role));
        pairs.extend(from.map(|ms| ("from", Timestamp::from_millisecond(ms).unwrap().to_string())));
        pairs.extend(hours.map(|(hour, minute)| ("hours", format!("{hour:02}:{minute:02}-24:00").replace("24:00", "23:59"))));
        if let Ok(filter) = Filter::parse(pairs, now()) {
            prop_assert_eq!(Filter::from_text(&filter.text()), Ok(filter));
        }
    }
}
