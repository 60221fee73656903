//! Set-ups that are broken in one way each, the setup guide's troubleshooting list among them: the check that names it, and how.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use operator::report::Verdict;

use crate::proxy::{Fate, Seen};
use crate::setup::{Setup, failures, finding};

/// Exactly this fails, and says so.
#[track_caller]
fn assert_named(report: &operator::report::Report, id: &str, text: &str) {
    let failures = failures(report);
    assert!(
        failures.len() == 1 && failures[0].0 == id && failures[0].1.contains(text),
        "{id}, {text}:\n{report}"
    );
    assert!(finding(report, id).remedy.is_some(), "nothing to do:\n{report}");
    assert!(!report.is_good());
}

#[tokio::test]
async fn variables() {
    let setup = Setup::good().await;
    for (name, value, text) in [
        ("SPACES_BUCKET", "", "SPACES_BUCKET is not set"),
        ("SPACES_ACCESS_KEY", " local", "SPACES_ACCESS_KEY has white space around it"),
        ("SPACES_SECRET_KEY", "localsecret\n", "SPACES_SECRET_KEY has white space around it"),
        ("SPACES_ENDPOINT", "http://127.0.0.1/my-space", "something after the host"),
        (
            "SPACES_ENDPOINT",
            "https://sfo3.digitaloceanspaces.com",
            "SPACES_REGION is not the region in SPACES_ENDPOINT",
        ),
        ("JWT_SECRET", "tiny", "JWT_SECRET is shorter than 32 bytes"),
        ("AUDIT_SIGNING_KMS_KEY", "key", "AUDIT_SIGNING_KEY and its _FILE and _KMS_KEY: only one of them"),
        ("STORAGE_POLICIES", "/no/such/file", "STORAGE_POLICIES names a file that cannot be read"),
    ] {
        let report = setup.doctor_with(name, value).await;
        assert_named(&report, "variables", text);
        let skipped = finding(&report, "transactions");
        assert_eq!(
            (skipped.verdict, skipped.found.as_str()),
            (Verdict::Skipped, "not looked at, since variables failed")
        );
    }
    assert_eq!(setup.s3.take().len() + setup.dynamodb.take().len(), 0, "nothing is sent with wrong settings");
}

#[tokio::test]
async fn policies_and_signing_key() {
    let mut setup = Setup::good().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "permit(principal, action == Action::\"fly\", resource);").unwrap();
    setup.set("STORAGE_POLICIES", file.path().to_str().unwrap());
    assert_named(&setup.doctor().await, "policies", "line 1");
    setup.variables.remove("STORAGE_POLICIES");
    setup.set("AUDIT_SIGNING_KEY", "c2hvcnQ=");
    assert_named(&setup.doctor().await, "signing-key", "is not the base64 of 32 bytes");
}

#[tokio::test]
async fn endpoints_that_are_none() {
    let setup = Setup::good().await;
    let dynamodb = &setup.variables["DYNAMODB_ENDPOINT"];
    let report = setup.doctor_with("SPACES_ENDPOINT", dynamodb).await;
    assert_named(&report, "endpoint", "not as an S3 store does");
    // A port that was free a moment ago.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    assert_named(&setup.doctor_with("SPACES_ENDPOINT", &closed).await, "endpoint", "refused");
    assert_named(&setup.doctor_with("DYNAMODB_ENDPOINT", &closed).await, "tables-access", "refused");
}

#[tokio::test]
async fn keys_and_buckets() {
    let setup = Setup::good().await;
    for (name, value, id, text) in [
        ("SPACES_ACCESS_KEY", "DO00OTHER", "key", "InvalidAccessKeyId"),
        ("SPACES_SECRET_KEY", "another-secret", "secret", "SignatureDoesNotMatch"),
        ("SPACES_BUCKET", "other-space", "bucket", "NoSuchBucket"),
        ("AUDIT_ARCHIVE_BUCKET", "other-archive", "archive", "status 404"),
        ("AUDIT_ARCHIVE_BUCKET", "storage", "archive", "is the bucket of the files"),
        ("AUDIT_ARCHIVE_OBJECT_LOCK", "true", "object-lock", "AUDIT_ARCHIVE_OBJECT_LOCK is true"),
    ] {
        assert_named(&setup.doctor_with(name, value).await, id, text);
    }
}

fn is_put(seen: &Seen) -> bool {
    seen.method == "PUT"
        && !seen.query().contains("X-Amz-Signature")
        && seen.uri.path().starts_with("/storage/")
}

fn is_removal(seen: &Seen) -> bool {
    seen.method == "DELETE"
        && seen.query().contains("x-id=DeleteObject")
        && seen.uri.path().starts_with("/storage/")
}

/// How a store behaves: the rule, the check that fails, what it says.
type Case = (fn(&Seen) -> Fate, &'static str, &'static str);

const PUBLIC_ACL: &str = "<AccessControlPolicy><Owner><ID>local</ID></Owner><AccessControlList><Grant><Grantee \
    xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
    <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>\
    </AccessControlList></AccessControlPolicy>";
const EXPIRING: &str = "<LifecycleConfiguration><Rule><ID>tidy</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
    <Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>";
const HASTY: &str = "<LifecycleConfiguration><Rule><ID>tidy</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
    </LifecycleConfiguration>";

const CASES: &[Case] = &[
    // What keys may not do, and where they are not good.
    (
        |seen| if is_put(seen) { Fate::refused(403, "AccessDenied") } else { Fate::Pass },
        "write",
        "AccessDenied",
    ),
    (
        |seen| match seen.query().contains("list-type=2") && seen.is_signed() {
            true => Fate::refused(400, "AuthorizationHeaderMalformed"),
            false => Fate::Pass,
        },
        "region",
        "AuthorizationHeaderMalformed",
    ),
    (
        |seen| match seen.query().contains("list-type=2") && seen.is_signed() {
            true => Fate::refused(403, "AccessDenied"),
            false => Fate::Pass,
        },
        "list",
        "AccessDenied",
    ),
    // No key is at fault where the store fails.
    (
        |seen| match seen.query().contains("list-type=2") && seen.is_signed() {
            true => Fate::refused(503, "SlowDown"),
            false => Fate::Pass,
        },
        "endpoint",
        "asked for the bucket: SlowDown (status 503)",
    ),
    (
        |seen| match seen.method == "HEAD" && seen.uri.path().trim_end_matches('/') == "/storage" {
            true => Fate::Header("x-amz-bucket-region", Some("eu-west-1".into())),
            false => Fate::Pass,
        },
        "region",
        "it is in eu-west-1",
    ),
    // What strangers may.
    (
        |seen| match seen.method == "GET"
            && !seen.is_signed()
            && seen.uri.path().starts_with("/storage/_doctor")
        {
            true => Fate::Answer(200, "a file".into()),
            false => Fate::Pass,
        },
        "anonymous-read",
        "answered with status 200",
    ),
    (
        |seen| match seen.uri.path().starts_with("/storage")
            && seen.query() == "list-type=2"
            && !seen.is_signed()
        {
            true => Fate::Answer(200, "<ListBucketResult/>".into()),
            false => Fate::Pass,
        },
        "anonymous-list",
        "answered with status 200",
    ),
    (
        |seen| match seen.uri.path().starts_with("/audit-archive")
            && seen.query() == "list-type=2"
            && !seen.is_signed()
        {
            true => Fate::Answer(200, "<ListBucketResult/>".into()),
            false => Fate::Pass,
        },
        "archive-private",
        "answered with status 200",
    ),
    (
        |seen| match seen.uri.path() == "/audit-archive/_doctor/archive.txt" && !seen.is_signed() {
            true => Fate::Answer(200, "an object".into()),
            false => Fate::Pass,
        },
        "archive-private",
        "an object is given to strangers",
    ),
    (
        |seen| {
            if seen.query().starts_with("acl") { Fate::Answer(200, PUBLIC_ACL.into()) } else { Fate::Pass }
        },
        "acl",
        "an object that was stored privately is public",
    ),
    // What signed URLs do.
    (
        |seen| match seen.query().contains("response-content-disposition") {
            true => Fate::Header("content-disposition", None),
            false => Fate::Pass,
        },
        "signed-url",
        "the answer's content-disposition is not the one that was signed",
    ),
    (
        |seen| match seen.headers.contains_key("x-amz-copy-source") {
            true => Fate::Answer(200, "<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>".into()),
            false => Fate::Pass,
        },
        "copy-source",
        "honoured",
    ),
    (
        |seen| match seen.headers.get("content-length").is_some_and(|it| it == "15") {
            true => Fate::Answer(200, String::new()),
            false => Fate::Pass,
        },
        "part-length",
        "answered with status 200",
    ),
    // What browsers see.
    (
        |seen| match seen.method == "PUT" && seen.headers.contains_key("origin") {
            true => Fate::Header("access-control-expose-headers", None),
            false => Fate::Pass,
        },
        "cors",
        "a PUT's ETag is not exposed",
    ),
    // What else goes wrong.
    (
        |seen| match seen.method == "DELETE" && seen.query().contains("x-id=DeleteObject") {
            true => Fate::refused(403, "AccessDenied"),
            false => Fate::Pass,
        },
        "delete",
        "/object.txt (AccessDenied (status 403))",
    ),
    (
        |seen| match is_removal(seen) {
            true => {
                Fate::Headers(&[("x-amz-delete-marker", "true"), ("x-amz-version-id", "3HL4kqtJvjVBH40N")])
            }
            false => Fate::Pass,
        },
        "delete",
        "/object.txt (only hidden: the bucket keeps versions)",
    ),
    (
        |seen| {
            if seen.query().starts_with("lifecycle") {
                Fate::Answer(200, EXPIRING.into())
            } else {
                Fate::Pass
            }
        },
        "lifecycle",
        "the rule \"tidy\" removes or moves objects",
    ),
    (
        |seen| match seen.query().starts_with("lifecycle") {
            true => Fate::Answer(200, HASTY.into()),
            false => Fate::Pass,
        },
        "lifecycle",
        "a rule aborts uploads that are still under way",
    ),
    (
        |seen| match seen.uri.path() == "/" {
            true => Fate::Header("date", Some("Sun, 01 Jan 2023 00:00:00 GMT".into())),
            false => Fate::Pass,
        },
        "clock",
        "behind",
    ),
];

#[tokio::test]
async fn stores_that_misbehave() {
    let setup = Setup::good().await;
    for (rule, id, text) in CASES {
        setup.s3.follow(rule);
        assert_named(&setup.doctor().await, id, text);
    }
}

#[tokio::test]
async fn a_bucket_that_kept_versions_once() {
    let setup = Setup::good().await;
    let remedy = |report: &operator::report::Report| finding(report, "delete").remedy.clone();
    setup.s3.follow(|seen| match is_removal(seen) {
        true => Fate::Headers(&[("x-amz-delete-marker", "true"), ("x-amz-version-id", "some")]),
        false => Fate::Pass,
    });
    let report = setup.doctor().await;
    let suspend = "Suspend versioning and remove old versions: what is purged must be gone.";
    assert_eq!(remedy(&report).as_deref(), Some(suspend), "{report}");
    // Suspended: the mark is in the object's place.
    setup.s3.follow(|seen| match is_removal(seen) {
        true => Fate::Headers(&[("x-amz-delete-marker", "true"), ("x-amz-version-id", "null")]),
        false => Fate::Pass,
    });
    let report = setup.doctor().await;
    assert!(report.is_good(), "{report}");
}

#[tokio::test]
async fn the_archives_object_is_asked_for_while_it_is_there() {
    let setup = Setup::good().await;
    assert!(setup.doctor().await.is_good());
    let seen = setup.s3.take();
    let of_object = seen.iter().filter(|seen| seen.uri.path() == "/audit-archive/_doctor/archive.txt");
    let order: Vec<_> = of_object.map(|seen| (seen.method.as_str(), seen.is_signed())).collect();
    assert_eq!(order, [("PUT", true), ("GET", true), ("GET", false), ("DELETE", true)]);
}

#[tokio::test]
async fn expired_urls_that_still_work() {
    let setup = Setup::good().await;
    // The second one that is sent.
    let count = std::sync::atomic::AtomicUsize::new(0);
    setup.s3.follow(move |seen| {
        let is_url =
            seen.query().contains("response-content-disposition") && seen.headers.get("origin").is_none();
        match is_url && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            true => Fate::Answer(200, "the file".into()),
            false => Fate::Pass,
        }
    });
    assert_named(&setup.doctor().await, "expired-url", "answered with status 200");
}

#[tokio::test]
async fn a_page_that_no_rule_names() {
    let mut setup = Setup::good().await;
    setup.origins.push("https://app.example.com".into());
    let report = setup.doctor().await;
    assert_named(&report, "cors", "a preflight for GET is not allowed");
    let remedies: Vec<_> = report.findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
    assert!(remedies.contains(&"operator provision --apply --origin https://app.example.com"), "{report}");
}

#[tokio::test]
async fn tables_that_are_missing_or_others() {
    let setup = Setup::good().await;
    let tables = setup.tables();
    for name in ["file_records", "storage_audit_logs"] {
        tables.delete_table().table_name(name).send().await.unwrap();
    }
    // The key is right, of another type; no index, no stream.
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let create =
        tables.create_table().table_name("storage_audit_logs").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(key("pk", KeyType::Hash)).key_schema(key("sk", KeyType::Range));
    let create = create.attribute_definitions(attribute("pk", ScalarAttributeType::S));
    create.attribute_definitions(attribute("sk", ScalarAttributeType::B)).send().await.unwrap();

    let report = setup.doctor().await;
    let texts = failures(&report);
    assert!(texts[0].1.contains("is not there"), "{report}");
    for text in ["has another key", "has no index by_file", "rows do not expire by ttl", "has no stream"] {
        assert!(texts[1].1.contains(text), "{text}:\n{report}");
    }
    assert!(texts.len() == 2 && texts.iter().all(|(id, _)| *id == "tables"), "{report}");
    let remedies: Vec<_> = report.findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
    let left = "provision does not mend it: a table's key cannot be changed. Keep the table and its rows.";
    assert!(remedies.contains(&left), "{report}");
}

#[tokio::test]
async fn an_index_that_is_still_being_built() {
    let setup = Setup::good().await;
    setup.dynamodb.follow(|seen| {
        let is_it = seen.operation() == "DescribeTable"
            && String::from_utf8_lossy(&seen.body).contains("storage_audit_logs");
        match is_it {
            true => Fate::Body("\"IndexStatus\":\"ACTIVE\"", "\"IndexStatus\":\"CREATING\""),
            false => Fate::Pass,
        }
    });
    let report = setup.doctor().await;
    assert_named(&report, "tables", "is still being built");
    let remedy = finding(&report, "tables").remedy.as_deref().unwrap_or_default();
    assert!(remedy.contains("it has to be waited for") && remedy.contains("Keep the table"), "{remedy}");
}

#[tokio::test]
async fn stores_without_transactions() {
    let setup = Setup::good().await;
    setup.dynamodb.follow(|seen| match seen.operation() {
        "TransactWriteItems" => {
            Fate::Answer(400, "{\"__type\":\"com.amazon.coral.service#UnknownOperationException\"}".into())
        }
        _ => Fate::Pass,
    });
    assert_named(&setup.doctor().await, "transactions", "no TransactWriteItems");
    // One that forgets tokens sees a repetition as another request.
    let setup = Setup::good().await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    setup.dynamodb.follow(move |seen| {
        let is_ours = seen.operation() == "TransactWriteItems" && seen.body.windows(7).any(|it| it == b"DOCTOR#");
        match is_ours && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            true => Fate::Answer(
                400,
                "{\"__type\":\"com.amazonaws.dynamodb.v20120810#TransactionCanceledException\",\"message\":\"\",\
                 \"CancellationReasons\":[{\"Code\":\"ConditionalCheckFailed\"}]}"
                    .into(),
            ),
            false => Fate::Pass,
        }
    });
    assert_named(&setup.doctor().await, "transactions", "ClientRequestToken is ignored");
}
