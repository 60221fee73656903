//! The sealed log's part of the configuration.

use super::Needs;
use super::variables::{Variables, at_loopback};
use crate::secret::Secret;

/// The sealed audit log.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// `AUDIT_ORIGIN`: what the origins of all logs begin with, such as `audit.example.com`. Never changed: it is signed.
    pub origin: String,
    /// Where tiles and checkpoints are kept.
    pub archive: ArchiveConfig,
    /// What signs checkpoints: one of `AUDIT_SIGNING_KEY`, `AUDIT_SIGNING_KEY_FILE`, `AUDIT_SIGNING_KMS_KEY`.
    /// None for a function that does not need it.
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

impl AuditConfig {
    pub(super) fn read(needs: Needs, vars: &mut Variables<'_>) -> Option<Self> {
        let origin = vars.optional("AUDIT_ORIGIN")?;
        // It becomes the name of a key in a signed note (C2SP signed-note).
        if origin.chars().any(|c| c.is_whitespace() || c == '+') || origin.ends_with('/') {
            vars.wrong("AUDIT_ORIGIN", "has white space or a plus in it, or ends with a slash");
        }
        let archive = ArchiveConfig::read(vars);
        let signing = if needs.signing { SigningConfig::read(vars) } else { None };
        Some(Self { origin, archive, signing })
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
        self.endpoint.as_deref().is_some_and(at_loopback)
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
