//! Configuration, and the one place that reads the environment.
//!
//! An error names the variable and what is wrong with it, never its value.

use std::fmt;

use lambda_http::http::Uri;
use thiserror::Error;
use tracing::Level;

use crate::secret::Secret;

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

/// How a function logs. Set by Lambda from the function's logging configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `AWS_LAMBDA_LOG_LEVEL`: `TRACE` to `FATAL`; default `INFO`.
    pub level: Level,
    /// `AWS_LAMBDA_LOG_FORMAT`: `JSON` for JSON; default: readable lines.
    pub json: bool,
}

/// Everything that is wrong with the configuration, so that it is mended in one go.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable that is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads variables from wherever they are.
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
        Self { level, json: variable("AWS_LAMBDA_LOG_FORMAT").eq_ignore_ascii_case("json") }
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
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com"),
        ("SPACES_REGION", "nyc3"),
        ("SPACES_BUCKET", "fusonems-quantum-storage"),
        ("SPACES_ACCESS_KEY", "DO00EXAMPLE"),
        ("SPACES_SECRET_KEY", "the-spaces-secret"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "role"),
        ("AWS_SECRET_ACCESS_KEY", "the-role-secret"),
        ("JWT_SECRET", "the-token-secret-0123456789abcdef"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let find = |list: &[(&str, &str)], name: &str| {
            list.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Config::read(&|name| find(changes, name).or_else(|| find(GOOD, name)))
    }

    #[test]
    fn the_guides_settings_are_accepted() {
        let config = read(&[]).unwrap();
        assert_eq!(config.tables.records_table, "file_records");
        assert_eq!(config.tables.log_table, "storage_audit_logs");
        assert_eq!(config.tables.state_table, "storage_state");
        assert!(!config.spaces.is_loopback());
    }

    #[test]
    fn a_trailing_slash_is_dropped() {
        let config = read(&[("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com/")]).unwrap();
        assert_eq!(config.spaces.endpoint, "https://nyc3.digitaloceanspaces.com");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_variable_and_never_by_its_value() {
        let table: &[(&str, &str, &str)] = &[
            ("SPACES_ENDPOINT", "", "is not set"),
            ("SPACES_ENDPOINT", "nyc3.digitaloceanspaces.com", "is not an https:// address"),
            ("SPACES_ENDPOINT", "http://nyc3.digitaloceanspaces.com", "plain http"),
            ("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com/my-space", "after the host"),
            ("SPACES_ENDPOINT", "ftp://nyc3.digitaloceanspaces.com", "is not an https:// address"),
            ("SPACES_ENDPOINT", "https://me:pw@nyc3.digitaloceanspaces.com", "has a user in it"),
            ("SPACES_REGION", "sfo3", "is not the region in SPACES_ENDPOINT"),
            ("SPACES_BUCKET", "", "is not set"),
            ("SPACES_BUCKET", "My Space", "is not a bucket's name"),
            ("SPACES_ACCESS_KEY", "", "is not set"),
            ("SPACES_ACCESS_KEY", "DO00EXAMPLE ", "white space"),
            ("SPACES_SECRET_KEY", "\tthe-spaces-secret", "white space"),
            ("DYNAMODB_ENDPOINT", "http://dynamodb.internal:8000", "plain http"),
            ("JWT_SECRET", "", "is not set"),
            ("JWT_SECRET", "tiny-secret", "shorter than 32 bytes"),
            ("JWT_SECRET", DEVELOPMENT_JWT_SECRET, "development secret"),
            ("STORAGE_POLICIES", "/no/such/file.cedar", "cannot be read"),
        ];
        for (name, value, expected) in table {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "{name}={value}: {error}");
            assert!(value.is_empty() || !error.contains(value), "{name}: the value is told: {error}");
        }
    }

    #[test]
    fn plain_http_is_fine_on_this_machine() {
        for endpoint in ["http://127.0.0.1:8788", "http://localhost:4566", "http://[::1]:4566"] {
            assert!(read(&[("SPACES_ENDPOINT", endpoint)]).unwrap().spaces.is_loopback(), "{endpoint}");
        }
    }

    #[test]
    fn every_error_is_told_at_once() {
        let error = read(&[("SPACES_BUCKET", ""), ("JWT_SECRET", "")]).unwrap_err().to_string();
        assert_eq!(error, "SPACES_BUCKET is not set; JWT_SECRET is not set");
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?}", read(&[]).unwrap());
        assert!(!printed.contains("the-spaces-secret") && !printed.contains("the-token-secret"), "{printed}");
    }
}
