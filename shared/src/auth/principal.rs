//! The caller, as a verified token describes them.
//!
//! Knows the claims that say who somebody is (DESIGN section 4), not how a token is signed or how long it lives.

use serde_json::Value;

use super::TokenError;
use super::members::Members;
use crate::ids::{MAX_SAFE_INTEGER, OrgId, UserId};

/// Longest `sub`, role and textual `user_id` in bytes: each stands in audit entries, whose size has a budget
/// (DESIGN section 6).
pub const MAX_NAME_BYTES: usize = 256;

/// The caller. Having one proves that a token was verified: [`Verifier::verify`](super::Verifier::verify) is the only
/// way to it.
///
/// - `sub`, every role and a textual `user_id` have 1 to [`MAX_NAME_BYTES`] bytes and no control characters;
/// - the organisation fits the grammar of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    sub: String,
    org: OrgId,
    roles: Vec<String>,
    user_id: UserId,
}

impl Principal {
    /// The user. Ownership of files is compared by it.
    #[must_use]
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// The organisation, to which every path and every query is bound.
    #[must_use]
    pub fn org(&self) -> &OrgId {
        &self.org
    }

    /// The role at the time of the action, as audit entries show it.
    #[must_use]
    pub fn role(&self) -> &str {
        self.roles.first().map_or("", String::as_str)
    }

    /// Every role, each once: [`Principal::role`] first, then those of the claim `roles`.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// What audit entries show as the user, in the JSON type of the claim.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// Reads the claims of a token whose signature was checked.
    pub(super) fn from_claims(claims: &Members) -> Result<Self, TokenError> {
        let sub = name("sub", required("sub", claims.text("sub")?)?)?;
        let org = OrgId::parse(required("org_id", claims.text("org_id")?)?)
            .map_err(|_| TokenError::Claim { name: "org_id" })?;
        let mut roles = vec![name("role", required("role", claims.text("role")?)?)?];
        for role in claims.texts("roles")?.unwrap_or_default() {
            let role = name("roles", role)?;
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let user_id = match claims.get("user_id") {
            None => UserId::Text(sub.clone()),
            Some(value) => user_id(value)?,
        };
        Ok(Self { sub, org, roles, user_id })
    }
}

pub(super) fn required<T>(name: &'static str, value: Option<T>) -> Result<T, TokenError> {
    value.ok_or(TokenError::MissingClaim { name })
}

fn name(claim: &'static str, text: &str) -> Result<String, TokenError> {
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(TokenError::Claim { name: claim }) }
}

/// `1.0` and `1e0` are the number 1: JSON has one type of number (RFC 8259 section 6), and a serialiser in between may
/// write it either way. What is not whole, or beyond what every reader holds exactly, is refused.
fn user_id(value: &Value) -> Result<UserId, TokenError> {
    const WRONG: TokenError = TokenError::Claim { name: "user_id" };
    const SAFE: std::ops::RangeInclusive<i64> = -MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER;
    match value {
        Value::String(text) => name("user_id", text).map(UserId::Text),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| {
                let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
                // Exact within the range that is checked here first.
                (float.abs() <= MAX_SAFE_INTEGER as f64).then_some(float as i64)
            })
            .filter(|number| SAFE.contains(number))
            .map(UserId::Number)
            .ok_or(WRONG),
        _ => Err(WRONG),
    }
}
