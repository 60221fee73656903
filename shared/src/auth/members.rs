//! A JSON object of a token, with each member once and of the type it must have.
//!
//! Knows which JSON types there are, not what the members mean.

use serde::de::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::TokenError;
use crate::json::unique_members;

/// The members of an object. One that has a name twice is refused: RFC 7519 section 4 leaves the choice between that
/// and the last one, and two readers that choose differently are two opinions about who is calling.
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Whether there is such a member, `null` included.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member of any type; `null` counts as a value, and no claim allows it.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A string, if it is there.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        self.typed(name, Value::as_str)
    }

    /// An array of strings, if it is there.
    pub(super) fn texts(&self, name: &'static str) -> Result<Option<Vec<&str>>, TokenError> {
        self.typed(name, |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// Seconds since 1970, whole or not (NumericDate, RFC 7519 section 2), if they are there.
    ///
    /// Beyond the years that a timestamp can hold it is no date: `1e308` is a mistake of the issuer, not a token that
    /// lives for ever.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<f64>, TokenError> {
        let years = jiff::Timestamp::MIN.as_second() as f64..=jiff::Timestamp::MAX.as_second() as f64;
        self.typed(name, |value| value.as_f64().filter(|seconds| years.contains(seconds)))
    }

    fn typed<'a, T>(
        &'a self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TokenError> {
        self.0.get(name).map(|value| read(value).ok_or(TokenError::Claim { name })).transpose()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unique_members(deserializer).map(Self)
    }
}
