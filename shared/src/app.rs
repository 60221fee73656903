//! What a function holds for its whole life: everything that is built once, before the first request.

use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use thiserror::Error;

use crate::auth::{Policies, PolicyError, Verifier, VerifierError};
use crate::aws::SharedHttpClient;
use crate::config::{Config, SigningConfig, TokenConfig};
use crate::kms::KmsKey;
use crate::opaque::Opaque;
use crate::problem::Problem;
use crate::sealed::{SeedError, Signer};
use crate::spaces::{Archive, Spaces};
use crate::tables::Tables;

/// The parts that requests share.
#[derive(Debug)]
pub struct App {
    /// Decides what a principal may do.
    pub policies: Policies,
    /// Records and log.
    pub tables: Tables,
    /// The bucket.
    pub spaces: Spaces,
    /// The sealed log, where one is configured.
    pub log: Option<SealedLog>,
    /// What signs its checkpoints: only the sealer has it.
    pub signer: Option<Signer>,
    tokens: Option<Tokens>,
}

/// What comes of the secret of the callers' tokens.
#[derive(Debug)]
pub struct Tokens {
    /// Turns tokens into principals.
    pub verifier: Verifier,
    /// Closes the cursors of the audit log.
    pub cursors: Opaque,
}

impl Tokens {
    fn new(config: &TokenConfig) -> Result<Self, VerifierError> {
        let TokenConfig { secret, issuer, audience } = config;
        Ok(Self {
            verifier: Verifier::hs256(secret, issuer.clone(), audience.clone())?,
            cursors: Opaque::new(secret, "audit-logs cursor 1"),
        })
    }
}

/// The sealed log: what is needed to read it.
#[derive(Debug)]
pub struct SealedLog {
    /// What the origins of all logs begin with.
    pub origin: String,
    /// Tiles and checkpoints.
    pub archive: Archive,
}

impl SealedLog {
    /// The origin of a log's checkpoints, and the name of the key that signs them.
    #[must_use]
    pub fn origin_of(&self, org: &str) -> String {
        audit_format::archive::origin(&self.origin, org)
    }
}

/// Why a function does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The policies are not valid.
    #[error("STORAGE_POLICIES: {0}")]
    Policies(#[from] PolicyError),
    /// The token's settings do not fit together.
    #[error("JWT_SECRET: {0}")]
    Tokens(#[from] VerifierError),
    /// The signing key is none.
    #[error("AUDIT_SIGNING_KEY: {0}")]
    Signing(#[from] SeedError),
    /// Secrets could not be read now. The next start may succeed.
    #[error("{0}")]
    Secrets(String),
}

/// The one connection pool for all clients.
#[must_use]
pub fn connection_pool() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
}

impl App {
    /// Builds the clients, with a connection pool of their own. No call is made.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn new(config: &Config) -> Result<Self, StartError> {
        Self::with_pool(config, connection_pool())
    }

    /// Builds the clients. No call is made.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn with_pool(config: &Config, http: SharedHttpClient) -> Result<Self, StartError> {
        let signer = match config.audit.as_ref().and_then(|audit| audit.signing.as_ref()) {
            None => None,
            Some(SigningConfig::Seed(seed)) => Some(Signer::seed(seed)?),
            Some(SigningConfig::Kms(key)) => Some(Signer::kms(KmsKey::new(key, http.clone()))),
        };
        Ok(Self {
            policies: match &config.policies {
                Some(text) => Policies::parse(text)?,
                None => Policies::default_set()?,
            },
            tables: Tables::new(&config.tables, http.clone()),
            tokens: config.tokens.as_ref().map(Tokens::new).transpose()?,
            log: config.audit.as_ref().map(|audit| SealedLog {
                origin: audit.origin.clone(),
                archive: Archive::new(&audit.archive, http.clone()),
            }),
            signer,
            spaces: Spaces::new(&config.spaces, http),
        })
    }

    /// What callers' tokens are verified with.
    ///
    /// # Errors
    /// [`Problem::Internal`] in a function that was started without.
    pub fn tokens(&self) -> Result<&Tokens, Problem> {
        self.tokens.as_ref().ok_or_else(|| Problem::Internal("started without the tokens' secret".into()))
    }
}
