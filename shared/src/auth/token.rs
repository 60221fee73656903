//! Tokens: from the text of an `Authorization` header to a [`Principal`], or a refusal.
//!
//! Knows JSON Web Tokens (RFC 7519, with the advice of RFC 8725) and the claims of DESIGN section 4. Does not know
//! where the token came from, how it was issued, what the time is, or what the caller is told: a caller always reads
//! the same words, whichever [`TokenError`] it was.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use thiserror::Error;

use super::Principal;
use super::members::Members;
use super::principal::required;
use crate::secret::Secret;

/// Longest token in bytes. Ours have some 300; API Gateway and function URLs stop at 10 KB for all headers together.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the clocks of issuer and service may be apart (DESIGN section 4).
pub const LEEWAY_SECONDS: u32 = 60;

/// Shortest secret for HS256: as many bytes as the hash has (RFC 7518 section 3.2).
pub const MIN_HS256_SECRET_BYTES: usize = 32;

/// Checks tokens by one algorithm and key, which the configuration fixes.
///
/// A token's header never chooses: its `alg` must be the configured one, `jku`, `x5u`, `x5c` and `jwk` are not looked
/// at, and a token with `crit` or `b64` is refused, since it demands an extension and none is known here.
#[derive(Debug, Clone)]
pub struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Verifier {
    /// Tokens signed by HMAC with SHA-256 and a shared secret. Issuer and audience are required of a token if they
    /// are given here.
    ///
    /// # Errors
    /// [`VerifierError::ShortSecret`] for a secret under [`MIN_HS256_SECRET_BYTES`].
    pub fn hs256(
        secret: &Secret,
        issuer: Option<String>,
        audience: Option<String>,
    ) -> Result<Self, VerifierError> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < MIN_HS256_SECRET_BYTES {
            return Err(VerifierError::ShortSecret { bytes: bytes.len() });
        }
        Ok(Self { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(bytes), issuer, audience })
    }

    /// Who calls, if the token is good at this time.
    ///
    /// # Errors
    /// [`TokenError`], for the operator's log; the caller is told that the token is not valid, and no more.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(MALFORMED_PARTS)?;
        let (header, claims) = message.split_once('.').ok_or(MALFORMED_PARTS)?;
        if claims.contains('.') {
            return Err(MALFORMED_PARTS);
        }

        let (algorithm, key) = self.key_for(&object(header, "header")?)?;
        // The crate's `decode` reads the system's clock and stops at the first claim of an odd type without saying
        // which; so the crate checks the signature here, and the claims are read below, after it.
        let genuine = crypto::verify(signature, message.as_bytes(), key, algorithm)
            .map_err(|_| TokenError::Malformed { part: "signature" })?;
        if !genuine {
            return Err(TokenError::WrongKey);
        }

        let claims = object(claims, "claims")?;
        check_time(&claims, now)?;
        self.check_origin(&claims)?;
        Principal::from_claims(&claims)
    }

    /// The key to check a token with. Further algorithms and key sets come in here; the header may then say which of
    /// our keys (`kid`), never how to use it.
    fn key_for(&self, header: &Members) -> Result<(Algorithm, &DecodingKey), TokenError> {
        if header.has("crit") || header.has("b64") {
            return Err(TokenError::Extension);
        }
        let name = header.text("alg").ok().flatten().ok_or(TokenError::Malformed { part: "header" })?;
        if name.parse().ok() != Some(self.algorithm) {
            return Err(TokenError::WrongAlgorithm);
        }
        Ok((self.algorithm, &self.key))
    }

    /// `iss` and `aud` match what is configured. Their types are checked in any case, and so is that of `jti`.
    fn check_origin(&self, claims: &Members) -> Result<(), TokenError> {
        claims.text("jti")?;
        let issuer = claims.text("iss")?;
        if let Some(expected) = &self.issuer
            && required("iss", issuer)? != expected
        {
            return Err(TokenError::Claim { name: "iss" });
        }
        // One audience may stand alone, without an array (RFC 7519 section 4.1.3).
        let audiences = match claims.text("aud") {
            Ok(one) => one.map(|one| vec![one]),
            Err(_) => claims.texts("aud")?,
        };
        if let Some(expected) = &self.audience
            && !required("aud", audiences)?.contains(&expected.as_str())
        {
            return Err(TokenError::Claim { name: "aud" });
        }
        Ok(())
    }
}

/// The configuration does not make a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifierError {
    /// The operator's secret can be guessed.
    #[error(
        "the secret for HS256 has {bytes} bytes; it needs at least {MIN_HS256_SECRET_BYTES} (RFC 7518 section 3.2)"
    )]
    ShortSecret {
        /// How long it is.
        bytes: usize,
    },
}

/// Why a token is refused. Never holds a part of the token.
///
/// All are the caller's fault or the issuer's; the texts are for the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// More than [`MAX_TOKEN_BYTES`]; it was not looked at.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of unpadded base64url, of which the first two are JSON objects with each member once.
    #[error("the token is malformed: {part}")]
    Malformed {
        /// What is wrong, such as `parts`, `header`, `signature` or `claims`.
        part: &'static str,
    },
    /// The header demands an extension (`crit`, `b64`).
    #[error("the token demands an extension of JWS")]
    Extension,
    /// The header names another algorithm than the configured one; `none` is one of them.
    #[error("the token names another algorithm than the configured one")]
    WrongAlgorithm,
    /// Signed with another key, or changed on the way, or not signed.
    #[error("the token's signature is not by the configured key")]
    WrongKey,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim that must be there is not.
    #[error("the token has no claim {name}")]
    MissingClaim {
        /// The claim.
        name: &'static str,
    },
    /// A claim has a wrong type or a value that is not acceptable.
    #[error("the token's claim {name} is not acceptable")]
    Claim {
        /// The claim.
        name: &'static str,
    },
}

const MALFORMED_PARTS: TokenError = TokenError::Malformed { part: "parts" };

/// Strict base64url: padding, other alphabets and stray bits at the end are refused, so that a token has one spelling.
fn object(encoded: &str, part: &'static str) -> Result<Members, TokenError> {
    let json = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| TokenError::Malformed { part })?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed { part })
}

/// A token is good before `exp` and from `nbf` on (RFC 7519 sections 4.1.4 and 4.1.5), give or take the leeway.
///
/// Floating point is exact enough: it holds today's seconds to a fraction of a microsecond.
fn check_time(claims: &Members, now: Timestamp) -> Result<(), TokenError> {
    let leeway = f64::from(LEEWAY_SECONDS);
    let now = now.as_nanosecond() as f64 / 1e9;
    if now >= required("exp", claims.seconds("exp")?)? + leeway {
        return Err(TokenError::Expired);
    }
    match claims.seconds("nbf")? {
        Some(start) if now < start - leeway => Err(TokenError::NotYetValid),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
