//! Secrets that the environment names and does not hold: `JWT_SECRET_ARN` in place of `JWT_SECRET`. The only place that imports
//! `aws_sdk_secretsmanager`.
//!
//! It does not know what a secret is for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Region, SharedHttpClient};
use futures_util::future::join_all;
use serde_json::Value;

use crate::aws::{CallError, credentials, repeated};
use crate::clock::Deadline;
use crate::config::SecretsConfig;

/// Lambda gives a function 10 s to start.
const LIMIT: Duration = Duration::from_secs(6);

/// Where a secret's text is: an ARN, as ECS writes it into a task's definition.
/// `arn:aws:secretsmanager:{region}:{account}:secret:{name}` is the whole text of a secret; with `:{member}:{stage}:{version}` behind it,
/// of which each may be empty, that member of its JSON, of that stage or version instead of the current one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretRef {
    version: VersionRef,
    member: Option<String>,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VersionRef {
    region: String,
    arn: String,
    stage: Option<String>,
    id: Option<String>,
}

impl SecretRef {
    /// None if it is no such ARN.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [arn, partition, service, region, account, secret, name, rest @ ..] = parts.as_slice() else {
            return None;
        };
        let is_secret = (*arn, *service, *secret) == ("arn", "secretsmanager", "secret");
        let is_whole = [partition, region, account, name].iter().all(|part| !part.is_empty());
        if !is_secret || !is_whole || !matches!(rest.len(), 0 | 1 | 3) {
            return None;
        }
        let part = |at: usize| rest.get(at).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
        let version = VersionRef {
            region: (*region).to_owned(),
            arn: parts[..7].join(":"),
            stage: part(1),
            id: part(2),
        };
        Some(Self { version, member: part(0) })
    }
}

/// Why a secret was not read. Never shows anything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// For a passing reason: another start may succeed.
    Unavailable(String),
    /// What is wrong with the variable that names it.
    Wrong(String),
}

/// Reads secrets, each once and all at the same time.
pub(crate) async fn read(
    config: &SecretsConfig,
    secrets: &BTreeMap<&'static str, SecretRef>,
    http: SharedHttpClient,
) -> HashMap<&'static str, Result<String, SecretError>> {
    let deadline = Deadline::after(LIMIT);
    let mut versions: Vec<&VersionRef> = secrets.values().map(|secret| &secret.version).collect();
    versions.sort();
    versions.dedup();
    let texts = join_all(versions.iter().map(|version| text(config, version, http.clone(), deadline))).await;
    let texts: BTreeMap<_, _> = versions.into_iter().zip(texts).collect();
    let pick = |secret: &SecretRef| match (&texts[&secret.version], &secret.member) {
        (Ok(text), None) => Ok(text.clone()),
        (Ok(text), Some(member)) => self::member(text, member),
        (Err(error), _) => Err(error.clone()),
    };
    secrets.iter().map(|(name, secret)| (*name, pick(secret))).collect()
}

async fn text(
    config: &SecretsConfig,
    version: &VersionRef,
    http: SharedHttpClient,
    deadline: Deadline,
) -> Result<String, SecretError> {
    let credentials =
        credentials(&config.access_key_id, &config.secret_access_key, config.session_token.as_ref());
    let mut sdk = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(version.region.clone()))
        .credentials_provider(credentials)
        .http_client(http)
        // Attempts and their limits are ours; see `retry`.
        .retry_config(RetryConfig::disabled());
    if let Some(endpoint) = &config.endpoint {
        sdk = sdk.endpoint_url(endpoint);
    }
    let client = Client::from_conf(sdk.build());
    let get = client.get_secret_value().secret_id(&version.arn);
    let get = get.set_version_stage(version.stage.clone()).set_version_id(version.id.clone());
    let secret = repeated(deadline, || get.clone().send()).await.map_err(|error| match error {
        CallError::Unavailable(text) => {
            SecretError::Unavailable(format!("Secrets Manager is not available: {text}"))
        }
        // What a new role may do takes a while to be known everywhere.
        CallError::Refused(text) if text.starts_with("AccessDenied") => {
            SecretError::Unavailable(format!("Secrets Manager refuses this role: {text}"))
        }
        CallError::Refused(text) => SecretError::Wrong(format!("names a secret that cannot be read: {text}")),
    })?;
    secret.secret_string.ok_or_else(|| SecretError::Wrong("names a secret that is no text".into()))
}

/// A member of a secret that is a JSON object.
fn member(text: &str, name: &str) -> Result<String, SecretError> {
    let object: Value = serde_json::from_str(text).unwrap_or_default();
    let member = object.get(name).and_then(Value::as_str);
    member.map(str::to_owned).ok_or_else(|| {
        SecretError::Wrong("names a member that the secret does not have, or that is no text".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:storage/spaces-AbCdEf";

    #[test]
    fn an_arn_names_a_whole_secret_or_a_member_of_one() {
        let whole = SecretRef::parse(ARN).unwrap();
        assert_eq!((whole.version.arn.as_str(), whole.version.region.as_str()), (ARN, "us-east-1"));
        assert_eq!(whole.member, None);
        for (suffix, member, stage, id) in [
            (":access_key", Some("access_key"), None, None),
            (":access_key::", Some("access_key"), None, None),
            (":access_key:AWSPREVIOUS:", Some("access_key"), Some("AWSPREVIOUS"), None),
            (":::9d4cb84b", None, None, Some("9d4cb84b")),
        ] {
            let secret = SecretRef::parse(&format!("{ARN}{suffix}")).unwrap();
            assert_eq!(secret.member.as_deref(), member, "{suffix}");
            assert_eq!(secret.version.stage.as_deref(), stage, "{suffix}");
            assert_eq!(secret.version.id.as_deref(), id, "{suffix}");
            assert_eq!(secret.version.arn, ARN, "{suffix}");
        }
    }

    #[test]
    fn anything_else_is_no_arn_of_a_secret() {
        for text in [
            "",
            "storage/spaces",
            "arn:aws:ssm:us-east-1:123456789012:parameter/storage",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:",
            "arn:aws:secretsmanager::123456789012:secret:storage",
            &format!("{ARN}:access_key:AWSCURRENT"),
            &format!("{ARN}:access_key:::"),
        ] {
            assert_eq!(SecretRef::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_member_is_a_text_of_a_json_object() {
        assert_eq!(member(r#"{"a": "x", "b": 1}"#, "a"), Ok("x".into()));
        for (text, name) in [(r#"{"a": "x", "b": 1}"#, "b"), (r#"{"a": "x"}"#, "c"), ("x", "a"), ("[]", "a")]
        {
            assert!(matches!(member(text, name), Err(SecretError::Wrong(_))), "{text} {name}");
        }
    }
}
