//! Configuration, and the one place that reads the environment.
//!
//! An error names the variable and what is wrong with it, never its value.

mod audit;
mod variables;

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use tracing::Level;

use crate::aws::SharedHttpClient;
use crate::secret::Secret;
use crate::secrets::{self, SecretError};
use variables::{Variables, at_loopback};

pub use audit::{ArchiveConfig, AuditConfig, KmsConfig, SigningConfig};

/// The secret that `cargo run` signs tokens with. Known to everybody, hence refused by every deployed function.
pub const DEVELOPMENT_JWT_SECRET: &str = "development-only-secret-never-deploy-this";

/// The seed of the key that `cargo run` signs checkpoints with, and emulators of AWS do (`infra/localstack/environment`), base64.
/// It proves nothing to anybody.
pub const DEVELOPMENT_SIGNING_KEY: &str = "bG9jYWwtc3RhY2stb25seS1uZXZlci1kZXBsb3ktbWU=";

/// The secret of tokens and the signing key on an emulator of AWS. Known to everybody, hence refused where the store is not on this
/// machine.
const EMULATOR_SECRETS: [&str; 2] = ["emulator-only-secret-never-deploy-this", DEVELOPMENT_SIGNING_KEY];

/// Which of these secrets a function works with. The others it does not read, wherever its environment has them or names them, so that
/// its role need not be allowed to. A key of the archive's own, where one is set, is read by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The key of the Space.
    pub spaces: bool,
    /// The secret of the callers' tokens.
    pub tokens: bool,
    /// The key that signs the log's checkpoints.
    pub signing: bool,
}

impl Needs {
    /// Of no function: an operator's tool looks at all of them.
    pub const ALL: Self = Self { spaces: true, tokens: true, signing: true };
    /// An endpoint's: its callers have tokens.
    pub const ENDPOINT: Self = Self { spaces: false, tokens: true, signing: false };
    /// A task's: nobody calls it.
    pub const TASK: Self = Self { spaces: false, tokens: false, signing: false };
    /// The key of the Space, too.
    #[must_use]
    pub const fn and_spaces(self) -> Self {
        Self { spaces: true, ..self }
    }
    /// The key that signs, too.
    #[must_use]
    pub const fn and_signing(self) -> Self {
        Self { signing: true, ..self }
    }
}

/// Everything a function needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The object store.
    pub spaces: SpacesConfig,
    /// The tables.
    pub tables: TablesConfig,
    /// Tokens. None for a function that does not need them.
    pub tokens: Option<TokenConfig>,
    /// `STORAGE_POLICIES`: the text of the Cedar policies in this file instead of the default set.
    pub policies: Option<String>,
    /// The sealed log. None unless `AUDIT_ORIGIN` is set: then entries are not proved, and what asks for a proof says so.
    pub audit: Option<AuditConfig>,
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
    /// None for a function that does not need it.
    pub key: Option<SpacesKey>,
}

/// The key of a Space.
#[derive(Debug, Clone)]
pub struct SpacesKey {
    /// `SPACES_ACCESS_KEY`
    pub access: Secret,
    /// `SPACES_SECRET_KEY`
    pub secret: Secret,
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
    /// Reads the process's environment, and of the secrets that it names (see [`SECRETS`]) those that are needed.
    ///
    /// # Errors
    /// [`LoadError`]
    pub async fn from_env(needs: Needs, http: SharedHttpClient) -> Result<Self, LoadError> {
        Self::load(needs, &|name| std::env::var(name).ok(), http).await
    }

    /// Reads variables from wherever they are, and of the secrets that they name (see [`SECRETS`]) those that are needed.
    ///
    /// # Errors
    /// [`LoadError`]
    pub async fn load(
        needs: Needs,
        variable: &dyn Fn(&str) -> Option<String>,
        http: SharedHttpClient,
    ) -> Result<Self, LoadError> {
        let mut vars = Variables::new(variable);
        let named = vars.named_secrets(needs);
        if named.is_empty() && vars.errors.is_empty() {
            return Ok(Self::read(needs, variable)?);
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
        Ok(Self::read(needs, &|name| secrets.get(name).cloned().or_else(|| variable(name)))?)
    }

    /// Reads variables from wherever they are; secrets must be among them.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable that is missing or wrong.
    pub fn read(needs: Needs, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut vars = Variables::new(variable);
        let config = Self {
            spaces: SpacesConfig::read(needs, &mut vars),
            tables: TablesConfig::read(&mut vars),
            tokens: needs.tokens.then(|| TokenConfig::read(&mut vars)),
            policies: vars.policies(),
            audit: AuditConfig::read(needs, &mut vars),
        };
        config.refuse_published(&mut vars);
        if vars.errors.is_empty() { Ok(config) } else { Err(ConfigError(vars.errors)) }
    }

    fn refuse_published(&self, vars: &mut Variables<'_>) {
        if self.spaces.is_loopback() {
            return;
        }
        let tokens = self.tokens.as_ref().map(|tokens| ("JWT_SECRET", &tokens.secret));
        let signing = match self.audit.as_ref().and_then(|audit| audit.signing.as_ref()) {
            Some(SigningConfig::Seed(seed)) => Some(("AUDIT_SIGNING_KEY", seed)),
            _ => None,
        };
        for (name, secret) in [tokens, signing].into_iter().flatten() {
            if EMULATOR_SECRETS.contains(&secret.expose()) {
                vars.wrong(name, "is the one for emulators, which everybody knows");
            }
        }
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
    fn read(needs: Needs, vars: &mut Variables<'_>) -> Self {
        let endpoint = vars.required("SPACES_ENDPOINT");
        let region = vars.required("SPACES_REGION");
        let bucket = vars.required("SPACES_BUCKET");
        let endpoint = vars.endpoint("SPACES_ENDPOINT", &endpoint);
        if let Some(host) = variables::host(&endpoint)
            .as_deref()
            .and_then(|host| host.strip_suffix(".digitaloceanspaces.com"))
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
        let key = needs.spaces.then(|| SpacesKey {
            access: vars.secret("SPACES_ACCESS_KEY"),
            secret: vars.secret("SPACES_SECRET_KEY"),
        });
        Self { endpoint, region, bucket, key }
    }

    /// Whether the store is on this machine: then buckets stand in the path, not in the host's name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        at_loopback(&self.endpoint)
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

#[cfg(test)]
mod tests;
