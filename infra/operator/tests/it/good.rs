//! A set-up in which nothing is wrong, and what the examination leaves there.

use std::collections::BTreeSet;

use operator::doctor::CHECKS;
use operator::report::Verdict;

use crate::proxy::Fate;
use crate::setup::{Setup, failures, finding};

#[tokio::test]
async fn nothing_fails_and_every_check_has_a_verdict() {
    let mut setup = Setup::good().await;
    // The setup guide forbids a trailing slash; it is forgiven.
    let endpoint = format!("{}/", setup.variables["SPACES_ENDPOINT"]);
    setup.set("SPACES_ENDPOINT", &endpoint);
    let report = setup.doctor().await;
    assert!(report.is_good(), "{report}");
    let looked_at: BTreeSet<_> = report.findings.iter().map(|finding| finding.check.id).collect();
    let all: BTreeSet<_> = CHECKS.iter().flat_map(|group| group.iter().map(|check| check.id)).collect();
    assert_eq!(looked_at, all);
    let skipped = report.findings.iter().filter(|finding| finding.verdict == Verdict::Skipped);
    // What the embedded bucket has not.
    assert_eq!(skipped.map(|finding| finding.check.id).collect::<Vec<_>>(), ["lifecycle"], "{report}");
}

#[tokio::test]
async fn nothing_is_left_behind_and_nothing_else_is_touched() {
    let setup = Setup::good().await;
    assert!(setup.doctor().await.is_good());
    let written: Vec<_> = setup
        .s3
        .take()
        .into_iter()
        .filter(|seen| !["GET", "HEAD", "OPTIONS"].contains(&seen.method.as_str()))
        .map(|seen| seen.uri.path().to_owned())
        .collect();
    let is_own =
        |path: &String| path.starts_with("/storage/_doctor/") || path.starts_with("/audit-archive/_doctor/");
    assert!(written.len() > 10 && written.iter().all(is_own), "{written:?}");
    let writes = |operation: &str| !operation.starts_with("Describe") && !operation.starts_with("Get");
    let written: Vec<_> = setup.dynamodb.take().into_iter().filter(|seen| writes(seen.operation())).collect();
    for seen in &written {
        let body = String::from_utf8(seen.body.to_vec()).unwrap();
        let only_asks = !["\"Put\"", "\"Update\"", "\"Delete\""].iter().any(|word| body.contains(word))
            && seen.operation() == "TransactWriteItems";
        assert!(only_asks || body.contains("\"storage_state\""), "{body}");
        assert!(!body.contains("storage_audit_logs"), "the audit log is the service's alone: {body}");
    }
    assert!(!written.is_empty());

    let s3 = setup.bucket();
    for bucket in ["storage", "audit-archive"] {
        let objects = s3.list_objects_v2().bucket(bucket).send().await.unwrap();
        assert_eq!(objects.contents(), [], "{bucket}");
        let uploads = s3.list_multipart_uploads().bucket(bucket).send().await.unwrap();
        assert_eq!(uploads.uploads(), [], "{bucket}");
    }
    let rows = setup.tables().scan().table_name("storage_state").send().await.unwrap();
    assert_eq!(rows.count, 0);
}

#[tokio::test]
async fn what_a_killed_run_left_behind_is_removed_by_the_next() {
    let setup = Setup::good().await;
    let s3 = setup.bucket();
    for key in ["_doctor/killed/object.txt", "org-1/epcr/document/epcr-1/report.pdf"] {
        s3.put_object().bucket("storage").key(key).send().await.unwrap();
    }
    let listed = s3.list_objects_v2().bucket("storage").send().await.unwrap();
    let year = listed.contents()[0].last_modified().unwrap().to_string()[..4].to_owned();
    assert!(setup.doctor().await.is_good());
    let keys = || async {
        let listed = s3.list_objects_v2().bucket("storage").send().await.unwrap();
        listed.contents().iter().map(|object| object.key.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(keys().await.len(), 2, "it may be another run's, under way");
    // As if it had been there for long.
    let year: &'static str = format!("<LastModified>{year}").leak();
    setup.s3.follow(move |seen| match seen.query().contains("list-type=2") {
        true => Fate::Body(year, "<LastModified>2020"),
        false => Fate::Pass,
    });
    assert!(setup.doctor().await.is_good());
    assert_eq!(keys().await, ["org-1/epcr/document/epcr-1/report.pdf"]);
}

#[tokio::test]
async fn a_failure_that_is_allowed_is_a_warning_and_says_so() {
    let mut setup = Setup::good().await;
    setup.origins = vec!["https://app.example.com".into()];
    let mut report = setup.doctor().await;
    assert_eq!(failures(&report).len(), 1, "{report}");
    report.allow(&["copy-source".into()]);
    assert!(!report.is_good(), "something else was allowed");
    report.allow(&["cors".into()]);
    assert!(report.is_good(), "{report}");
    let cors = finding(&report, "cors");
    assert!(cors.verdict == Verdict::Warning && cors.found.ends_with("(allowed)"), "{cors:?}");
}

#[test]
fn the_readme_lists_every_check() {
    let readme = include_str!("../../README.md");
    for check in CHECKS.iter().flat_map(|group| group.iter()) {
        assert!(readme.contains(&format!("| `{}` | {} |", check.id, check.asks)), "{}", check.id);
    }
}
