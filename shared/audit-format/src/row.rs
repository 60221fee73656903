//! The row of an entry: everything but its bytes follows from them.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;
use ulid::Ulid;

use crate::{Body, Index, IndexKeys, LeafHash, kept_until, leaf_hash, month_of, partition};

/// The value of a row's attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    S(String),
    /// A number, as its decimal.
    N(String),
    /// Bytes.
    B(Vec<u8>),
    /// Anything else, which no row of ours has: its JSON as the table's protocol writes it.
    Other(String),
}

/// The attributes of a row, by name.
pub type Attributes = BTreeMap<String, Value>;

/// An entry with everything that follows from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// What the bytes say.
    pub body: Body,
    /// Attribute `b`: the canonical bytes.
    pub bytes: Vec<u8>,
    /// Attribute `h`: their leaf hash.
    pub hash: LeafHash,
    /// The entry's id.
    pub id: Ulid,
    /// The time in the id: it decides partition, action key and time to live.
    pub at: Timestamp,
}

/// Why bytes are no entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RowError {
    /// They are not an entry's JSON.
    #[error("not an entry")]
    NotAnEntry,
    /// They are an entry's JSON, but not in the one form that there is.
    #[error("not canonical")]
    NotCanonical,
    /// The id is not a ULID in its one form, or its time is none.
    #[error("the id is no ULID")]
    Id,
    /// The timestamp is not the time in the id, on which everything else depends.
    #[error("the timestamp is not the id's")]
    Time,
}

impl LogRow {
    /// The row of an entry's canonical bytes.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn of(bytes: &[u8]) -> Result<Self, RowError> {
        let body = Body::from_bytes(bytes).map_err(|_| RowError::NotAnEntry)?;
        if body.to_bytes() != bytes {
            return Err(RowError::NotCanonical);
        }
        let id = Ulid::from_string(&body.id).ok().filter(|id| id.to_string() == body.id);
        let id = id.ok_or(RowError::Id)?;
        let at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.ok_or(RowError::Id)?;
        if at.as_millisecond() != body.timestamp_ms {
            return Err(RowError::Time);
        }
        Ok(Self { body, bytes: bytes.to_vec(), hash: leaf_hash(bytes), id, at })
    }

    /// Attribute `pk`.
    #[must_use]
    pub fn partition(&self) -> String {
        partition(&self.body.org, &month_of(self.at))
    }

    /// Every attribute of the row. A row that has others, or lacks one, is not ours.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        let keys = IndexKeys::of(&self.body, &month_of(self.at));
        let index = |index: Index, key: [u8; 16]| (index.attribute().to_owned(), Value::B(key.to_vec()));
        let mut attributes = Attributes::from([
            ("pk".to_owned(), Value::S(self.partition())),
            ("sk".to_owned(), Value::S(self.body.id.clone())),
            ("b".to_owned(), Value::B(self.bytes.clone())),
            ("h".to_owned(), Value::B(self.hash.to_vec())),
            ("ttl".to_owned(), Value::N(kept_until(self.at).as_second().to_string())),
            index(Index::User, keys.user),
            index(Index::Action, keys.action),
        ]);
        attributes.extend(keys.file.map(|key| index(Index::File, key)));
        attributes.extend(keys.object.map(|key| index(Index::Object, key)));
        attributes
    }

    /// The first attribute, by name, in which a row as it was found differs from this one. None: it is this row.
    #[must_use]
    pub fn differs<'a>(&self, found: &'a Attributes) -> Option<&'a str> {
        let expected = self.attributes();
        let strange = found.iter().find(|(name, value)| expected.get(*name) != Some(value));
        let missing = || {
            ["b", "ga", "gf", "go", "gu", "h", "pk", "sk", "ttl"]
                .into_iter()
                .find(|name| expected.contains_key(*name) && !found.contains_key(*name))
        };
        strange.map(|(name, _)| name.as_str()).or_else(missing)
    }
}

/// The SHA-256 of a row as it was found, whatever is in it, hexadecimal: what a notice says of a row that is not an entry's.
/// Over JSON with the names sorted: `{"name":{"S":"text"}, …}`, numbers as texts, bytes as base64.
#[must_use]
pub fn digest(found: &Attributes) -> String {
    let value = |value: &Value| match value {
        Value::S(text) => serde_json::json!({ "S": text }).to_string(),
        Value::N(number) => serde_json::json!({ "N": number }).to_string(),
        Value::B(bytes) => serde_json::json!({ "B": BASE64.encode(bytes) }).to_string(),
        Value::Other(json) => json.clone(),
    };
    let members = found.iter().map(|(name, found)| format!("{}:{}", serde_json::json!(name), value(found)));
    let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    HEXLOWER.encode(&Sha256::digest(text))
}
