//! Tokens for the local stack, as the platform's identity provider issues them.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Who a token is for.
#[derive(Debug, Clone, clap::Args)]
pub struct Identity {
    /// The organisation (claim `org_id`)
    #[arg(long)]
    pub org: String,
    /// The user (claim `sub`; if it is all digits, also the number `user_id`)
    #[arg(long)]
    pub user: String,
    /// The role: member, accountant, clinician, developer, admin, auditor, service
    #[arg(long)]
    pub role: String,
    /// Seconds until the token ends; the service allows clocks to differ by 60 more
    #[arg(long, default_value_t = 3600)]
    pub expires_in: i64,
}

impl Identity {
    /// The token's claims (DESIGN section 4).
    #[must_use]
    pub fn claims(&self) -> Value {
        let now = shared::clock::now().as_second();
        let mut claims = json!({
            "sub": self.user,
            "org_id": self.org,
            "role": self.role,
            "iat": now,
            "exp": now.saturating_add(self.expires_in),
        });
        if self.user.bytes().all(|b| b.is_ascii_digit())
            && let Ok(number) = self.user.parse::<i64>()
        {
            claims["user_id"] = number.into();
        }
        claims
    }

    /// The token, signed with HS256.
    ///
    /// # Errors
    /// The library's error if it cannot be signed.
    pub fn token(&self, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &self.claims(), &key)
    }
}
