//! Idempotency keys: a caller who sends a request again under the same key gets the answer that the first one got, and
//! nothing happens twice (draft-ietf-httpapi-idempotency-key-header).
//!
//! What is remembered of an answer is its seed: when it was given, and which path or upload it named. Everything else follows
//! from the record; URLs are signed again, for the same time. Knows neither HTTP nor how memories are stored.

use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::auth::Principal;
use crate::clock;
use crate::problem::Problem;
use crate::unique;

/// How long an answer is remembered, unless it holds URLs, which live shorter.
pub const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest key.
const MAX_KEY_BYTES: usize = 128;

/// A key does not fit. The text may be shown to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Invalid Idempotency-Key: one, of 1 to {MAX_KEY_BYTES} visible ASCII characters, without commas")]
pub struct KeyError;

/// What makes two requests the same one: the parsed fields, in the order in which the code names them. Never the raw bytes,
/// since a form that is sent again has another boundary.
#[derive(Debug, Clone)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of a request to this route.
    #[must_use]
    pub fn of(route: &str) -> Self {
        Self(Sha256::new()).field(Some(route))
    }

    /// The next field. One that is not there is not one that is empty.
    #[must_use]
    pub fn field(self, value: Option<&str>) -> Self {
        let length = value.map_or(u64::MAX, |value| value.len() as u64);
        Self(self.0.chain_update(length.to_be_bytes()).chain_update(value.unwrap_or_default()))
    }
}

/// A caller's key, for one request.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where its memory is kept: a hash of organisation, subject, route and key, so that no key stands in a table.
    pub(crate) id: String,
    /// Of the request.
    pub(crate) fingerprint: String,
    /// This attempt at the request: of several that run at once, one may hold the key.
    pub(crate) holder: String,
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// See [`Key`].
    pub fingerprint: String,
    /// See [`Key`].
    pub holder: String,
    /// Until when it is kept, in seconds since 1970.
    pub ttl: i64,
    /// While the request runs: until when it is believed to, in milliseconds since 1970. None: it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
    /// When it was answered, in milliseconds since 1970.
    pub at: i64,
    /// The entry of the log that speaks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// What the answer named.
    #[serde(flatten)]
    pub seed: Seed,
}

/// What an answer is made from again, besides its time and the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
    /// The upload session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
}

impl Key {
    /// A caller's key for a request.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn new(caller: &Principal, route: &str, key: &str, request: Fingerprint) -> Result<Self, KeyError> {
        // A function URL joins the values of several headers with commas: no key may look like two.
        let fits = (1..=MAX_KEY_BYTES).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !fits {
            return Err(KeyError);
        }
        let scope = Fingerprint::of(route);
        let scope = [caller.org().as_str(), caller.sub(), key]
            .into_iter()
            .fold(scope, |scope, part| scope.field(Some(part)));
        let hex = |Fingerprint(hash)| HEXLOWER.encode(&Sha256::finalize(hash));
        Ok(Self { id: hex(scope), fingerprint: hex(request), holder: unique::ulid(clock::now()).to_string() })
    }

    /// Holds what is kept under the key against this request: the answer to give again, or none if it is to be done.
    ///
    /// # Errors
    /// [`Problem::KeyReused`] for another request's key, [`Problem::RequestInProgress`] while the first one runs.
    pub(crate) fn judge(&self, kept: Option<Memory>, now: Timestamp) -> Result<Option<Memory>, Problem> {
        let Some(kept) = kept.filter(|kept| kept.ttl > now.as_second() && kept.holder != self.holder) else {
            return Ok(None);
        };
        if kept.fingerprint != self.fingerprint {
            return Err(Problem::KeyReused);
        }
        let Some(lease) = kept.lease else { return Ok(Some(kept)) };
        let left_ms = u64::try_from(lease - now.as_millisecond()).unwrap_or_default();
        if left_ms == 0 {
            return Ok(None);
        }
        Err(Problem::RequestInProgress { retry_after: left_ms.div_ceil(1_000) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fingerprint: &str) -> Key {
        Key { id: String::new(), fingerprint: fingerprint.into(), holder: "mine".into() }
    }

    fn kept(holder: &str, lease: Option<i64>) -> Memory {
        let (fingerprint, holder, seed) = ("a".to_owned(), holder.to_owned(), Seed::default());
        Memory { fingerprint, holder, ttl: 100, lease, at: 0, entry: None, seed }
    }

    #[test]
    fn a_field_that_is_not_there_is_not_one_that_is_empty_and_none_runs_into_the_next() {
        let hash = |fields: &[Option<&str>]| {
            let Fingerprint(hash) =
                fields.iter().fold(Fingerprint::of("r"), |print, field| print.field(*field));
            hash.finalize()
        };
        let different = [
            &[None][..],
            &[Some("")],
            &[Some("a"), Some("b")],
            &[Some("ab"), Some("")],
            &[Some("a"), None, Some("b")],
        ];
        for (n, one) in different.iter().enumerate() {
            assert_eq!(hash(one), hash(one));
            assert!(different[n + 1..].iter().all(|other| hash(one) != hash(other)), "{one:?}");
        }
    }

    #[test]
    fn a_memory_decides_what_a_second_request_gets() {
        let now = Timestamp::from_second(50).unwrap();
        let running = Problem::RequestInProgress { retry_after: 1 };
        for (case, mine, memory, expected) in [
            ("nothing is kept", "a", None, Ok(false)),
            ("it was answered", "a", Some(kept("other", None)), Ok(true)),
            ("another request", "b", Some(kept("other", None)), Err(Problem::KeyReused)),
            ("it runs", "a", Some(kept("other", Some(50_999))), Err(running)),
            ("another request's runs", "b", Some(kept("other", Some(50_999))), Err(Problem::KeyReused)),
            ("it ran and died", "a", Some(kept("other", Some(50_000))), Ok(false)),
            ("my own claim", "a", Some(kept("mine", Some(60_000))), Ok(false)),
            ("it was too long ago", "b", Some(Memory { ttl: 50, ..kept("other", None) }), Ok(false)),
        ] {
            let judged = key(mine).judge(memory, now).map(|answer| answer.is_some());
            assert_eq!(judged, expected, "{case}");
        }
    }
}
