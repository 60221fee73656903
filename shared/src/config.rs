//! Configuration, and the one place that reads the environment.
//!
//! An error names the variable and what is wrong with it, never its value.

use std::collections::BTreeMap;
use std::fmt;

use lambda_http::http::Uri;
use thiserror::Error;
use tracing::Level;

use crate::aws::SharedHttpClient;
use crate::secret::Secret;
use crate::secrets::{self, SecretError, SecretRef};

/// The secret that `cargo run` signs tokens with. Known to everybody, hence refused by every deployed function.
pub const DEVELOPMENT_JWT_SECRET: &str = "development-only-secret-never-deploy-this";

/// Everything a function needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The object store.
    pub spaces: SpacesConfig,
    /// The tables.
    pub tables: TablesConfig,
    /// Tokens.
    pub tokens: TokenConfig,
    /// `STORAGE_POLICIES`: the text of the Cedar policies in this file instead of the default set.
    pub policies: Option<String>,
    /// The sealed log. None unless `AUDIT_ORIGIN` is set: then entries are not proved, and what asks for a proof says so.
    pub audit: Option<AuditConfig>,
}

/// The sealed audit log.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// `AUDIT_ORIGIN`: what the origins of all logs begin with, such as `audit.example.com`. Never changed: it is signed.
    pub origin: String,
    /// Where tiles and checkpoints are kept.
    pub archive: ArchiveConfig,
    /// What signs checkpoints: one of `AUDIT_SIGNING_KEY`, `AUDIT_SIGNING_KEY_FILE`, `AUDIT_SIGNING_KMS_KEY`. Only the sealer has it.
    pub signing: Option<SigningConfig>,
}

/// The archive: a bucket of its own in any store that speaks S3.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// `AUDIT_ARCHIVE_ENDPOINT`: default none, the region's own S3.
    pub endpoint: Option<String>,
    /// `AUDIT_ARCHIVE_REGION`: default `AWS_REGION`.
    pub region: String,
    /// `AUDIT_ARCHIVE_BUCKET`
    pub bucket: String,
    /// `AUDIT_ARCHIVE_ACCESS_KEY`: default `AWS_ACCESS_KEY_ID`, the function's role.
    pub access_key: Secret,
    /// `AUDIT_ARCHIVE_SECRET_KEY`: default `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Secret,
    /// `AWS_SESSION_TOKEN`, if the key is the role's.
    pub session_token: Option<Secret>,
    /// `AUDIT_ARCHIVE_OBJECT_LOCK`: `true` if the bucket has Object Lock; what is final is then put with COMPLIANCE retention.
    pub object_lock: bool,
}

/// What signs checkpoints.
#[derive(Debug, Clone)]
pub enum SigningConfig {
    /// The 32-byte seed of an Ed25519 key, base64.
    Seed(Secret),
    /// A key in AWS KMS.
    Kms(KmsConfig),
}

/// A signing key in AWS KMS, used with the function's role.
#[derive(Debug, Clone)]
pub struct KmsConfig {
    /// `AUDIT_SIGNING_KMS_KEY`: id or ARN of a key of the specification `ECC_NIST_EDWARDS25519`.
    pub key: String,
    /// `AUDIT_SIGNING_KMS_ENDPOINT`: default none, the region's own.
    pub endpoint: Option<String>,
    /// `AWS_REGION`: set by Lambda.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`: set by Lambda, the function's role.
    pub access_key_id: Secret,
    /// `AWS_SECRET_ACCESS_KEY`: set by Lambda.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`: set by Lambda.
    pub session_token: Option<Secret>,
}

/// The variables that may stand in AWS Secrets Manager instead: with `_ARN` behind the name, each is the ARN of a secret, as ECS writes
/// it, with the member of its JSON where it has some: `arn:aws:secretsmanager:us-east-1:123456789012:secret:spaces-AbCdEf:access_key::`.
pub const SECRETS: [&str; 6] = [
    "SPACES_ACCESS_KEY",
    "SPACES_SECRET_KEY",
    "JWT_SECRET",
    "AUDIT_ARCHIVE_ACCESS_KEY",
    "AUDIT_ARCHIVE_SECRET_KEY",
    "AUDIT_SIGNING_KEY",
];

/// AWS Secrets Manager, used with the function's role.
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// `SECRETS_MANAGER_ENDPOINT`: default none, the one of the region in the secret's ARN.
    pub endpoint: Option<String>,
    /// `AWS_ACCESS_KEY_ID`: set by Lambda.
    pub access_key_id: Secret,
    /// `AWS_SECRET_ACCESS_KEY`: set by Lambda.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`: set by Lambda.
    pub session_token: Option<Secret>,
}

/// The object store: DigitalOcean Spaces, or whatever speaks S3.
#[derive(Debug, Clone)]
pub struct SpacesConfig {
    /// `SPACES_ENDPOINT`: `https://{region}.digitaloceanspaces.com`, without the bucket. A trailing slash is dropped.
    pub endpoint: String,
    /// `SPACES_REGION`: the region in the endpoint, such as `nyc3`.
    pub region: String,
    /// `SPACES_BUCKET`
    pub bucket: String,
    /// `SPACES_ACCESS_KEY`
    pub access_key: Secret,
    /// `SPACES_SECRET_KEY`
    pub secret_key: Secret,
}

/// The tables: DynamoDB, or whatever speaks its protocol and has transactions.
#[derive(Debug, Clone)]
pub struct TablesConfig {
    /// `DYNAMODB_ENDPOINT`: default none, the region's own.
    pub endpoint: Option<String>,
    /// `AWS_REGION`: set by Lambda.
    pub region: String,
    /// `FILE_RECORDS_TABLE`: default `file_records`.
    pub records_table: String,
    /// `STORAGE_AUDIT_LOGS_TABLE`: default `storage_audit_logs`.
    pub log_table: String,
    /// `STORAGE_STATE_TABLE`: default `storage_state`.
    pub state_table: String,
    /// `STORAGE_AUDIT_STATE_TABLE`: default `storage_audit_state`. Written by the sealer alone.
    pub audit_state_table: String,
    /// `AWS_ACCESS_KEY_ID`: set by Lambda, the function's role.
    pub access_key_id: Secret,
    /// `AWS_SECRET_ACCESS_KEY`: set by Lambda.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`: set by Lambda.
    pub session_token: Option<Secret>,
}

/// What a token must be to be believed.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// `JWT_SECRET`: at least 32 bytes, for HS256.
    pub secret: Secret,
    /// `JWT_ISSUER`: what `iss` must be; default: not checked.
    pub issuer: Option<String>,
    /// `JWT_AUDIENCE`: what `aud` must be or hold; default: not checked.
    pub audience: Option<String>,
}

/// How a function logs, and measures. Set by Lambda from the function's logging configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `AWS_LAMBDA_LOG_LEVEL`: `TRACE` to `FATAL`; default `INFO`.
    pub level: Level,
    /// `AWS_LAMBDA_LOG_FORMAT`: `JSON` for JSON, with metrics; default: readable lines, without.
    pub json: bool,
    /// `METRICS_NAMESPACE`: where CloudWatch shows the metrics, another for each deployment in an account; default `Storage`.
    pub metrics_namespace: String,
}

/// Everything that is wrong with the configuration, so that it is mended in one go.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// Each problem: a variable, and what is wrong with it.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Variables are missing or wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// Secrets could not be read now.
    #[error("{0}")]
    Unavailable(String),
}

impl Config {
    /// Reads the process's environment, and the secrets that it names (see [`SECRETS`]).
    ///
    /// # Errors
    /// [`LoadError`]
    pub async fn from_env(http: SharedHttpClient) -> Result<Self, LoadError> {
        Self::load(&|name| std::env::var(name).ok(), http).await
    }

    /// Reads variables from wherever they are, and the secrets that they name (see [`SECRETS`]).
    ///
    /// # Errors
    /// [`LoadError`]
    pub async fn load(
        variable: &dyn Fn(&str) -> Option<String>,
        http: SharedHttpClient,
    ) -> Result<Self, LoadError> {
        let mut vars = Variables { variable, errors: Vec::new() };
        let named = vars.named_secrets();
        if named.is_empty() && vars.errors.is_empty() {
            return Ok(Self::read(variable)?);
        }
        let config = SecretsConfig::read(&mut vars);
        if !vars.errors.is_empty() {
            return Err(ConfigError(vars.errors).into());
        }
        let mut secrets = BTreeMap::new();
        for (name, text) in secrets::read(&config, &named, http).await {
            match text {
                Ok(text) => drop(secrets.insert(name, text)),
                Err(SecretError::Wrong(what)) => vars.wrong(&format!("{name}_ARN"), &what),
                Err(SecretError::Unavailable(text)) => {
                    return Err(LoadError::Unavailable(format!("{name}_ARN: {text}")));
                }
            }
        }
        if !vars.errors.is_empty() {
            return Err(ConfigError(vars.errors).into());
        }
        Ok(Self::read(&|name| secrets.get(name).cloned().or_else(|| variable(name)))?)
    }

    /// Reads variables from wherever they are; secrets must be among them.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable that is missing or wrong.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut vars = Variables { variable, errors: Vec::new() };
        let config = Self {
            spaces: SpacesConfig::read(&mut vars),
            tables: TablesConfig::read(&mut vars),
            tokens: TokenConfig::read(&mut vars),
            policies: vars.policies(),
            audit: AuditConfig::read(&mut vars),
        };
        if vars.errors.is_empty() { Ok(config) } else { Err(ConfigError(vars.errors)) }
    }
}

impl LogConfig {
    /// Reads the process's environment. What is not understood is the default: a function must start and say so.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let level = match variable("AWS_LAMBDA_LOG_LEVEL").to_ascii_uppercase().as_str() {
            // Rust's libraries know no level above ERROR.
            "FATAL" => Level::ERROR,
            level => level.parse().unwrap_or(Level::INFO),
        };
        let namespace = Some(variable("METRICS_NAMESPACE")).filter(|namespace| !namespace.is_empty());
        Self {
            level,
            json: variable("AWS_LAMBDA_LOG_FORMAT").eq_ignore_ascii_case("json"),
            metrics_namespace: namespace.unwrap_or_else(|| "Storage".into()),
        }
    }
}

impl SecretsConfig {
    fn read(vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.optional("SECRETS_MANAGER_ENDPOINT");
        Self {
            endpoint: endpoint.map(|endpoint| vars.endpoint("SECRETS_MANAGER_ENDPOINT", &endpoint)),
            access_key_id: vars.secret("AWS_ACCESS_KEY_ID"),
            secret_access_key: vars.secret("AWS_SECRET_ACCESS_KEY"),
            session_token: vars.optional("AWS_SESSION_TOKEN").map(Secret::new),
        }
    }
}

impl SpacesConfig {
    fn read(vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.required("SPACES_ENDPOINT");
        let region = vars.required("SPACES_REGION");
        let bucket = vars.required("SPACES_BUCKET");
        let endpoint = vars.endpoint("SPACES_ENDPOINT", &endpoint);
        if let Some(host) =
            host(&endpoint).as_deref().and_then(|host| host.strip_suffix(".digitaloceanspaces.com"))
            && !region.is_empty()
            && host != region
        {
            vars.wrong(
                "SPACES_REGION",
                "is not the region in SPACES_ENDPOINT (https://{region}.digitaloceanspaces.com)",
            );
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        if !bucket.is_empty() && !bucket.bytes().all(fits) {
            vars.wrong("SPACES_BUCKET", "is not a bucket's name: a-z 0-9 . - only");
        }
        let access_key = vars.secret("SPACES_ACCESS_KEY");
        let secret_key = vars.secret("SPACES_SECRET_KEY");
        Self { endpoint, region, bucket, access_key, secret_key }
    }

    /// Whether the store is on this machine: then buckets stand in the path, not in the host's name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        host(&self.endpoint).is_some_and(|host| is_loopback(&host))
    }
}

impl TablesConfig {
    fn read(vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.optional("DYNAMODB_ENDPOINT");
        Self {
            endpoint: endpoint.map(|endpoint| vars.endpoint("DYNAMODB_ENDPOINT", &endpoint)),
            region: vars.required("AWS_REGION"),
            records_table: vars.optional("FILE_RECORDS_TABLE").unwrap_or_else(|| "file_records".into()),
            log_table: vars
                .optional("STORAGE_AUDIT_LOGS_TABLE")
                .unwrap_or_else(|| "storage_audit_logs".into()),
            state_table: vars.optional("STORAGE_STATE_TABLE").unwrap_or_else(|| "storage_state".into()),
            audit_state_table: vars
                .optional("STORAGE_AUDIT_STATE_TABLE")
                .unwrap_or_else(|| "storage_audit_state".into()),
            access_key_id: vars.secret("AWS_ACCESS_KEY_ID"),
            secret_access_key: vars.secret("AWS_SECRET_ACCESS_KEY"),
            session_token: vars.optional("AWS_SESSION_TOKEN").map(Secret::new),
        }
    }
}

impl AuditConfig {
    fn read(vars: &mut Variables<'_>) -> Option<Self> {
        let origin = vars.optional("AUDIT_ORIGIN")?;
        // It becomes the name of a key in a signed note (C2SP signed-note).
        if origin.chars().any(|c| c.is_whitespace() || c == '+') || origin.ends_with('/') {
            vars.wrong("AUDIT_ORIGIN", "has white space or a plus in it, or ends with a slash");
        }
        Some(Self { origin, archive: ArchiveConfig::read(vars), signing: SigningConfig::read(vars) })
    }
}

impl ArchiveConfig {
    fn read(vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.optional("AUDIT_ARCHIVE_ENDPOINT");
        let own_key = vars.optional("AUDIT_ARCHIVE_ACCESS_KEY").is_some();
        let (access, secret) = match own_key {
            true => ("AUDIT_ARCHIVE_ACCESS_KEY", "AUDIT_ARCHIVE_SECRET_KEY"),
            false => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        };
        Self {
            endpoint: endpoint.map(|endpoint| vars.endpoint("AUDIT_ARCHIVE_ENDPOINT", &endpoint)),
            region: match vars.optional("AUDIT_ARCHIVE_REGION") {
                Some(region) => region,
                None => vars.optional("AWS_REGION").unwrap_or_default(),
            },
            bucket: vars.required("AUDIT_ARCHIVE_BUCKET"),
            access_key: vars.secret(access),
            secret_key: vars.secret(secret),
            session_token: vars.optional("AWS_SESSION_TOKEN").filter(|_| !own_key).map(Secret::new),
            object_lock: match vars.optional("AUDIT_ARCHIVE_OBJECT_LOCK").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => {
                    vars.wrong("AUDIT_ARCHIVE_OBJECT_LOCK", "is neither true nor false");
                    false
                }
            },
        }
    }

    /// Whether the store is on this machine: then buckets stand in the path, not in the host's name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.endpoint.as_deref().and_then(host).is_some_and(|host| is_loopback(&host))
    }
}

impl SigningConfig {
    fn read(vars: &mut Variables<'_>) -> Option<Self> {
        let seed = vars.optional("AUDIT_SIGNING_KEY");
        let file = vars.optional("AUDIT_SIGNING_KEY_FILE");
        let kms = vars.optional("AUDIT_SIGNING_KMS_KEY");
        match (seed, file, kms) {
            (None, None, None) => None,
            (Some(seed), None, None) => Some(Self::Seed(Secret::new(seed))),
            (None, Some(file), None) => {
                let text = vars.file("AUDIT_SIGNING_KEY_FILE", &file)?;
                Some(Self::Seed(Secret::new(text.trim().to_owned())))
            }
            (None, None, Some(key)) => Some(Self::Kms(KmsConfig::read(key, vars))),
            _ => {
                vars.wrong("AUDIT_SIGNING_KEY", "and its _FILE and _KMS_KEY: only one of them may be set");
                None
            }
        }
    }
}

impl KmsConfig {
    fn read(key: String, vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.optional("AUDIT_SIGNING_KMS_ENDPOINT");
        Self {
            key,
            endpoint: endpoint.map(|endpoint| vars.endpoint("AUDIT_SIGNING_KMS_ENDPOINT", &endpoint)),
            // Their absence is told where the tables are configured.
            region: vars.optional("AWS_REGION").unwrap_or_default(),
            access_key_id: Secret::new(vars.optional("AWS_ACCESS_KEY_ID").unwrap_or_default()),
            secret_access_key: Secret::new(vars.optional("AWS_SECRET_ACCESS_KEY").unwrap_or_default()),
            session_token: vars.optional("AWS_SESSION_TOKEN").map(Secret::new),
        }
    }
}

impl TokenConfig {
    fn read(vars: &mut Variables<'_>) -> Self {
        let secret = vars.secret("JWT_SECRET");
        if secret.expose() == DEVELOPMENT_JWT_SECRET {
            vars.wrong("JWT_SECRET", "is the development secret, which everybody knows");
        } else if !secret.expose().is_empty() && secret.expose().len() < 32 {
            vars.wrong("JWT_SECRET", "is shorter than 32 bytes (RFC 7518, section 3.2)");
        }
        Self { secret, issuer: vars.optional("JWT_ISSUER"), audience: vars.optional("JWT_AUDIENCE") }
    }
}

struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<String>,
}

impl Variables<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &'static str) -> String {
        let Some(value) = self.optional(name) else {
            self.wrong(name, "is not set");
            return String::new();
        };
        if value.trim() != value {
            self.wrong(name, "has white space around it");
        }
        value
    }

    fn secret(&mut self, name: &'static str) -> Secret {
        Secret::new(self.required(name))
    }

    /// The secrets of which only the ARN is given.
    fn named_secrets(&mut self) -> BTreeMap<&'static str, SecretRef> {
        let mut named = BTreeMap::new();
        for name in SECRETS {
            let variable = format!("{name}_ARN");
            let Some(arn) = self.optional(&variable) else { continue };
            match SecretRef::parse(&arn) {
                _ if self.optional(name).is_some() => {
                    self.wrong(name, "and its _ARN: only one of them may be set");
                }
                Some(secret) => drop(named.insert(name, secret)),
                None => self.wrong(&variable, "is not the ARN of a secret of AWS Secrets Manager"),
            }
        }
        named
    }

    /// An origin: scheme, host, perhaps a port. Plain http only to this machine.
    fn endpoint(&mut self, name: &'static str, text: &str) -> String {
        let origin = text.trim_end_matches('/');
        match origin.parse::<Uri>() {
            _ if text.is_empty() => {}
            Ok(uri) if uri.host().is_none() || uri.scheme().is_none() => {
                self.wrong(name, "is not an https:// address")
            }
            Ok(uri) if uri.path() != "/" || uri.query().is_some() => {
                self.wrong(name, "has something after the host; the bucket does not belong there");
            }
            Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
                self.wrong(name, "has a user in it; keys have variables of their own");
            }
            Ok(uri) => match uri.scheme_str() {
                Some("https") => {}
                Some("http") if uri.host().is_some_and(is_loopback) => {}
                Some("http") => self.wrong(name, "is plain http to another machine; use https"),
                _ => self.wrong(name, "is not an https:// address"),
            },
            Err(_) => self.wrong(name, "is not an address"),
        }
        origin.to_owned()
    }

    fn policies(&mut self) -> Option<String> {
        let file = self.optional("STORAGE_POLICIES")?;
        self.file("STORAGE_POLICIES", &file)
    }

    fn file(&mut self, name: &str, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(file);
        text.map_err(|error| {
            self.wrong(name, &format!("names a file that cannot be read ({})", error.kind()))
        })
        .ok()
    }

    fn wrong(&mut self, name: &str, what: &str) {
        self.errors.push(format!("{name} {what}"));
    }
}

fn host(endpoint: &str) -> Option<String> {
    endpoint.parse::<Uri>().ok()?.host().map(str::to_owned)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
