//! A set-up for one test: the local stack's stores behind proxies, and the variables that lead there.

use std::collections::BTreeMap;

use local::stack::{Options, Stack};
use operator::doctor;
use operator::report::{Finding, Report, Verdict};
use shared::app::connection_pool;
use shared::spaces::Spaces;
use shared::tables::Tables;

use crate::proxy::Proxy;

/// An origin that the embedded bucket's rules name.
pub const ORIGIN: &str = "http://localhost:5173";

pub struct Setup {
    pub s3: Proxy,
    pub dynamodb: Proxy,
    pub variables: BTreeMap<String, String>,
    pub origins: Vec<String>,
    pub stack: Stack,
}

impl Setup {
    /// One in which nothing is wrong.
    pub async fn good() -> Self {
        let stack = Stack::start(&Options::default()).await.unwrap();
        let (s3, dynamodb) = (Proxy::start(stack.s3).await, Proxy::start(stack.dynamodb).await);
        let (spaces, tables) = (format!("http://{}", s3.address), format!("http://{}", dynamodb.address));
        let variables = [
            ("SPACES_ENDPOINT", spaces.as_str()),
            ("SPACES_REGION", "us-east-1"),
            ("SPACES_BUCKET", "storage"),
            ("SPACES_ACCESS_KEY", "local"),
            ("SPACES_SECRET_KEY", "localsecret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "localsecret"),
            ("DYNAMODB_ENDPOINT", &tables),
            ("JWT_SECRET", "a-secret-of-at-least-32-bytes-for-a-test"),
            ("AUDIT_ORIGIN", "audit.example.com"),
            ("AUDIT_ARCHIVE_ENDPOINT", &spaces),
            ("AUDIT_ARCHIVE_BUCKET", "audit-archive"),
            ("AUDIT_SIGNING_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { s3, dynamodb, variables, origins: vec![ORIGIN.to_owned()], stack }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub async fn doctor(&self) -> Report {
        self.doctor_with("", "").await
    }

    /// With another value of one variable.
    pub async fn doctor_with(&self, name: &str, value: &str) -> Report {
        let variable = |asked: &str| match asked == name {
            true => Some(value.to_owned()),
            false => self.variables.get(asked).cloned(),
        };
        let report = doctor::examine(&variable, &self.origins).await.unwrap();
        for finding in &report.findings {
            assert!(!finding.found.contains("localsecret"), "a secret is told: {finding:?}");
        }
        report
    }

    /// The embedded S3 itself.
    pub fn bucket(&self) -> aws_sdk_s3::Client {
        Spaces::client(&self.stack.config("", None).spaces, connection_pool())
    }

    /// The embedded DynamoDB itself.
    pub fn tables(&self) -> aws_sdk_dynamodb::Client {
        Tables::client(&self.stack.config("", None).tables, connection_pool())
    }
}

/// What failed: each check with what was found.
pub fn failures(report: &Report) -> Vec<(&'static str, &str)> {
    let failed = |finding: &&Finding| finding.verdict == Verdict::Failed;
    report.findings.iter().filter(failed).map(|finding| (finding.check.id, finding.found.as_str())).collect()
}

/// The finding of a check; of several that which failed.
#[track_caller]
pub fn finding<'a>(report: &'a Report, id: &str) -> &'a Finding {
    let of_check = || report.findings.iter().filter(|finding| finding.check.id == id);
    let failed = of_check().find(|finding| finding.verdict == Verdict::Failed);
    failed.or_else(|| of_check().next()).unwrap_or_else(|| panic!("no {id}:\n{report}"))
}
