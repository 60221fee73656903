//! Alarms, dashboard and runbook against each other and against what the code measures.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::declared;
use crate::world::endpoints;

const TEMPLATE: &str = include_str!("../../../template.yaml");
const RUNBOOK: &str = include_str!("../../../infra/alarms/README.md");
/// As the template writes it.
const NAMESPACE: &str = "Storage/${AWS::StackName}";

/// A resource of the template, as it stands there.
struct Resource<'t> {
    name: &'t str,
    text: String,
}

/// The resources of a type.
fn resources(kind: &str) -> Vec<Resource<'static>> {
    let mut resources: Vec<Resource<'_>> = Vec::new();
    let (_, text) = TEMPLATE.split_once("\nResources:\n").unwrap();
    for line in text.lines().take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        match name.filter(|name| !name.starts_with([' ', '#'])) {
            Some(name) => resources.push(Resource { name, text: String::new() }),
            None => {
                let Some(last) = resources.last_mut() else { continue };
                last.text += line;
                last.text.push('\n');
            }
        }
    }
    let kind = format!("Type: {kind}\n");
    resources.retain(|resource| resource.text.contains(&kind));
    resources
}

/// What follows a name in a line of a resource, without quotes.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("{name}: "))?;
    let line = rest.lines().next()?;
    Some(line.trim_start_matches("!Sub ").trim_matches('"'))
}

/// Namespaces and names of the metrics in an alarm.
fn metrics(alarm: &str) -> Vec<(&str, &str)> {
    let (mut metrics, mut namespace) = (Vec::new(), "");
    for line in alarm.lines() {
        if let Some(found) = value(line, "Namespace") {
            namespace = found.split(['"', ',']).next().unwrap().trim();
        }
        if let Some(name) = value(line, "MetricName") {
            metrics.push((namespace, name.split([',', ' ']).next().unwrap()));
        }
    }
    metrics
}

/// The widgets' metrics: names, and values of dimensions.
fn dashboard() -> (Value, Vec<Vec<String>>) {
    let [dashboard] = resources("AWS::CloudWatch::Dashboard").try_into().ok().unwrap();
    let (_, body) = dashboard.text.split_once("DashboardBody: !Sub |\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let mut shown = Vec::new();
    for widget in body["widgets"].as_array().unwrap() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let words = metric.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned);
            shown.push(words.collect::<Vec<_>>());
        }
    }
    (body, shown)
}

#[test]
fn every_alarm_has_its_section_in_the_runbook_and_every_section_its_alarm() {
    let alarms = resources("AWS::CloudWatch::Alarm");
    assert!(alarms.len() > 25, "{} alarms", alarms.len());
    let (alarm_sections, _) = RUNBOOK.split_once("\n## Troubleshooting\n").unwrap();
    let sections: BTreeSet<&str> =
        alarm_sections.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: BTreeSet<&str> =
        alarms.iter().map(|alarm| alarm.name.strip_suffix("Alarm").unwrap()).collect();
    assert_eq!(names, sections);
    for Resource { name, text } in &alarms {
        let name = name.strip_suffix("Alarm").unwrap();
        assert_eq!(value(text, "AlarmName"), Some(&*format!("${{AWS::StackName}}-{name}")));
        let description = value(text, "AlarmDescription").unwrap();
        let link = format!(" Runbook: infra/alarms/README.md#{}", name.to_lowercase());
        assert!(description.ends_with(&link), "{name}: {description}");
        let missing = value(text, "TreatMissingData");
        assert!(["notBreaching", "breaching", "ignore"].map(Some).contains(&missing), "{name}: {missing:?}");
        assert!(
            text.contains("AlarmActions: !If [HasAlarmTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]"),
            "{name}"
        );
    }
    for section in alarm_sections.split("\n### ").skip(1) {
        for part in ["**Means**", "**Causes**", "**Check**", "**Remedy**"] {
            assert!(section.contains(part), "{part} is missing in {section}");
        }
    }
}

#[test]
fn every_link_within_the_runbook_leads_somewhere() {
    let headings = RUNBOOK.lines().filter(|line| line.starts_with('#')).map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        text.replace(' ', "-").replace(|letter: char| letter != '-' && !letter.is_alphanumeric(), "")
    });
    let headings: BTreeSet<String> = headings.collect();
    let links = RUNBOOK.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
    for link in links {
        assert!(headings.contains(link), "{link} is none of {headings:?}");
    }
}

#[test]
fn every_alarm_watches_what_is_measured_and_the_dashboard_shows_all_of_it() {
    let (names, values) = declared();
    for Resource { name, text } in resources("AWS::CloudWatch::Alarm") {
        let metrics = metrics(&text);
        assert!(!metrics.is_empty(), "{name} watches nothing");
        for (namespace, metric) in metrics {
            let of_aws = [
                ("AWS/Lambda", "Errors"),
                ("AWS/Lambda", "Throttles"),
                ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
            ];
            if !of_aws.contains(&(namespace, metric)) {
                assert_eq!(namespace, NAMESPACE, "{name}");
                assert!(names.contains(metric), "{name} watches {metric}, which nobody measures");
                // The sum over all of a dimension's values.
                assert!(!text.contains("Dimensions"), "{name}");
            }
        }
    }
    let functions: Vec<&str> = endpoints().iter().map(|endpoint| endpoint.name).collect();
    let mut shown = BTreeSet::new();
    for words in dashboard().1 {
        // What is computed has no name of its own.
        let [namespace, metric, dimension @ ..] = &*words else { continue };
        assert_eq!(namespace, NAMESPACE);
        assert!(names.contains(metric), "the dashboard shows {metric}, which nobody measures");
        if let [key, value] = dimension {
            let exists = match key.as_str() {
                "Function" => functions.contains(&value.as_str()),
                "Operation" | "Class" => values.contains(value),
                _ => false,
            };
            assert!(exists, "{words:?}");
        }
        shown.insert(metric.clone());
    }
    assert_eq!(shown, names);
    // What is measured goes where alarms and dashboard look.
    assert_eq!(value(TEMPLATE, "METRICS_NAMESPACE"), Some(NAMESPACE));
}

#[test]
fn the_dashboard_shows_every_alarm() {
    let (body, _) = dashboard();
    let shown: BTreeSet<&str> = body["widgets"][0]["properties"]["alarms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let alarms = resources("AWS::CloudWatch::Alarm");
    let arn = |alarm: &Resource<'_>| {
        let name = alarm.name.strip_suffix("Alarm").unwrap();
        format!(
            "arn:${{AWS::Partition}}:cloudwatch:${{AWS::Region}}:${{AWS::AccountId}}:alarm:${{AWS::StackName}}-{name}"
        )
    };
    let arns: Vec<String> = alarms.iter().map(arn).collect();
    assert_eq!(shown, arns.iter().map(String::as_str).collect());
}
