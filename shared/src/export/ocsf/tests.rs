use serde_json::Map;

use super::*;
use crate::export::tests::entry;

/// What release 1.7.0 of the schema asks for, as its data say it.
const SCHEMA: &str = include_str!("schema-1.7.0.json");
const PAGE: &str = include_str!("../../../docs/ocsf.md");

/// The attributes that are objects, and which.
const OBJECTS: &[(&str, &str)] = &[
    ("actor", "actor"),
    ("user", "user"),
    ("groups", "group"),
    ("org", "organization"),
    ("metadata", "metadata"),
    ("product", "product"),
    ("src_endpoint", "network_endpoint"),
    ("file", "file"),
    ("hashes", "fingerprint"),
    ("api", "api"),
    ("request", "request"),
    ("http_request", "http_request"),
];

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Everything required is there, nothing is that the schema does not know, and so on inwards.
fn check(found: &Map<String, Value>, form: &Value, schema: &Value, at: &str) {
    assert!(form.is_object(), "{at} is in no schema");
    for name in texts(&form["required"]) {
        assert!(found.contains_key(name), "{at}.{name} is required");
    }
    let one_of = texts(&form["at_least_one"]);
    assert!(
        one_of.is_empty() || one_of.iter().any(|name| found.contains_key(*name)),
        "{at}: none of {one_of:?}"
    );
    let known = texts(&form["attributes"]);
    for (name, value) in found {
        assert!(known.contains(&name.as_str()), "{at}.{name} is not in the schema");
        let Some((_, object)) = OBJECTS.iter().find(|(attribute, _)| attribute == name) else { continue };
        let list = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
        for value in list {
            let at = format!("{at}.{name}");
            check(value.as_object().unwrap(), &schema["objects"][object], schema, &at);
        }
    }
}

#[test]
fn every_event_has_what_its_class_requires_and_nothing_that_the_schema_does_not_know() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(schema["version"], VERSION);
    for action in Action::ALL {
        let mut full = entry(*action, ["a", "b", "c"]);
        let mut bare = full.clone();
        bare.body = Body {
            ip: String::new(),
            device: String::new(),
            error: None,
            path: None,
            details: crate::audit::Details::default(),
            sub: None,
            related_type: None,
            related_id: None,
            ..bare.body
        };
        for row in [&mut full, &mut bare] {
            let event = event(row);
            let class = if event["class_uid"] == 6006 { "file_hosting" } else { "api_activity" };
            let form = &schema["classes"][class];
            assert_eq!(event["class_uid"], form["uid"]);
            let activity = event["activity_id"].as_u64().unwrap();
            assert_eq!(event["type_uid"], form["uid"].as_u64().unwrap() * 100 + activity);
            if activity != u64::from(OTHER) {
                assert_eq!(event["activity_name"], form["activities"][activity.to_string()]);
            }
            check(event.as_object().unwrap(), form, &schema, class);
        }
    }
}

#[test]
fn the_page_says_of_every_action_what_the_code_does() {
    let line = |action: &Action| {
        let (class, activity, name) = kind(*action);
        format!("| `{action}` | {} | {activity} {name} |", class as u32)
    };
    let expected: Vec<_> = Action::ALL.iter().map(line).collect();
    let written: Vec<_> = PAGE.lines().filter(|line| line.contains(" | 600")).collect();
    assert_eq!(written, expected);
}

#[test]
fn a_failure_says_why_and_a_url_when_it_ends() {
    let event = event(&entry(Action::Download, ["agent", "file_not_found: File not found", "c"]));
    assert_eq!((event["status_id"].as_u64(), event["status"].as_str()), (Some(2), Some("Failure")));
    assert_eq!(event["status_detail"], "file_not_found: File not found");
    assert_eq!(event["expiration_time"].as_i64(), event["time"].as_i64().map(|at| at + 600_000));
    assert_eq!(event["http_request"]["user_agent"], "agent");
    assert_eq!(event["file"]["name"], "a.jpg");
}
