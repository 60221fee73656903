//! What a function holds for its whole life: everything that is built once, before the first request.

use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use thiserror::Error;

use crate::auth::{Policies, PolicyError, Verifier, VerifierError};
use crate::config::Config;
use crate::spaces::{Archive, Spaces};
use crate::tables::Tables;

/// The parts that requests share.
#[derive(Debug)]
pub struct App {
    /// Turns tokens into principals.
    pub verifier: Verifier,
    /// Decides what a principal may do.
    pub policies: Policies,
    /// Records and log.
    pub tables: Tables,
    /// The bucket.
    pub spaces: Spaces,
    /// The sealed log, where one is configured.
    pub log: Option<SealedLog>,
}

/// The sealed log: what is needed to read it.
#[derive(Debug)]
pub struct SealedLog {
    /// What the origins of all logs begin with.
    pub origin: String,
    /// Tiles and checkpoints.
    pub archive: Archive,
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
}

impl App {
    /// Builds the clients. No call is made.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn new(config: &Config) -> Result<Self, StartError> {
        // One connection pool for both clients.
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
            .build_https();
        let tokens = &config.tokens;
        Ok(Self {
            verifier: Verifier::hs256(&tokens.secret, tokens.issuer.clone(), tokens.audience.clone())?,
            policies: match &config.policies {
                Some(text) => Policies::parse(text)?,
                None => Policies::default_set()?,
            },
            tables: Tables::new(&config.tables, http.clone()),
            log: config.audit.as_ref().map(|audit| SealedLog {
                origin: audit.origin.clone(),
                archive: Archive::new(&audit.archive, http.clone()),
            }),
            spaces: Spaces::new(&config.spaces, http),
        })
    }
}
