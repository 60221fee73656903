//! An entry's canonical bytes: a subset of the JSON Canonicalization Scheme (RFC 8785) with strings, integers, booleans
//! and objects, members sorted by name, no white space. The hash of these bytes is what the log proves.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Action, Details, UserId};

/// SHA-256 of a leaf.
pub type LeafHash = [u8; 32];

/// The hash of an entry's bytes as a leaf of a Merkle tree: SHA-256(0x00 ‖ bytes) (RFC 6962, section 2.1).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> LeafHash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// An entry as it is hashed. The one-letter names sort as they stand here; the architecture page lists them beside D1's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// `action_type`
    #[serde(rename = "a")]
    pub action: Action,
    /// `ip_address`: the client's.
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// `device_info`
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// `error_message`: there exactly if the action failed; `success` is derived from it.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `file_path`: below the organisation `o`, or with a leading slash if it is another organisation's.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The writer that this one replaces, because the outcome of its last entry is not known.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<InDoubt>,
    /// `id`: a ULID.
    #[serde(rename = "i")]
    pub id: String,
    /// `metadata`
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub details: Details,
    /// Place in the writer's chain, from 0.
    #[serde(rename = "n")]
    pub sequence: u64,
    /// `org_id`
    #[serde(rename = "o")]
    pub org: String,
    /// Leaf hash of the writer's previous entry, base64url; none at 0.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// `request_id`
    #[serde(rename = "q")]
    pub request_id: String,
    /// `role`
    #[serde(rename = "r")]
    pub role: String,
    /// `sub`, where it differs from `user_id`.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `timestamp`: milliseconds since 1970.
    #[serde(rename = "t")]
    pub timestamp_ms: i64,
    /// `user_id`
    #[serde(rename = "u")]
    pub user: UserId,
    /// The writer's id.
    #[serde(rename = "w")]
    pub writer: String,
    /// `related_object_type`
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub related_type: Option<String>,
    /// `related_object_id`
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub related_id: Option<String>,
}

/// A writer that ended with an entry of which nobody knows whether it was stored. A verifier accepts that one entry
/// present or absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InDoubt {
    /// The entry in doubt.
    #[serde(rename = "i")]
    pub id: String,
    /// Sequence of the last entry that is certain; none if there is none.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The writer.
    #[serde(rename = "w")]
    pub writer: String,
}

impl Body {
    /// The canonical bytes.
    ///
    /// `serde_json` escapes strings exactly as RFC 8785 asks and writes members in the order of the fields above.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings, integers, booleans and objects always serialize")]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry's body serializes")
    }

    /// Reads canonical bytes back.
    ///
    /// # Errors
    /// The reader's error if they are not an entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The full path of the file.
    #[must_use]
    pub fn file_path(&self) -> Option<String> {
        let path = self.path.as_deref()?;
        Some(path.strip_prefix('/').map_or_else(|| format!("{}/{path}", self.org), str::to_owned))
    }

    /// A path as the field `f` keeps it for entries of `org`. The inverse of [`Body::file_path`].
    #[must_use]
    pub fn path_within(org: &str, full: &str) -> String {
        match full.strip_prefix(org).and_then(|rest| rest.strip_prefix('/')) {
            Some(below) => below.to_owned(),
            None => format!("/{full}"),
        }
    }

    /// A previous hash as the field `p` keeps it.
    #[must_use]
    pub fn encode_hash(hash: &LeafHash) -> String {
        BASE64URL_NOPAD.encode(hash)
    }
}

fn is_default(details: &Details) -> bool {
    *details == Details::default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Body {
        let text = || "x".to_owned();
        Body {
            action: Action::Upload,
            ip: text(),
            device: "a \"b\" \\ \u{1} \u{7f} é 😀 </script>".into(),
            error: Some(text()),
            path: Some(text()),
            replaces: Some(InDoubt { id: text(), sequence: Some(1), writer: text() }),
            id: text(),
            details: Details {
                file_size: Some(1),
                hard_delete: Some(true),
                expires_in: Some(60),
                filter: Some(text()),
                format: Some(text()),
                sha256: Some(text()),
                include_deleted: Some(true),
                key: Some(text()),
                mime_type: Some(text()),
                object_id: Some(text()),
                purpose: Some(text()),
                org_id: Some(text()),
                system: Some(text()),
                object_type: Some(text()),
                upload_id: Some(text()),
                reason: Some(text()),
            },
            sequence: 7,
            org: text(),
            previous: Some(text()),
            request_id: text(),
            role: text(),
            sub: Some(text()),
            timestamp_ms: 1,
            user: UserId::Number(-5),
            writer: text(),
            related_type: Some(text()),
            related_id: Some(text()),
        }
    }

    #[test]
    fn members_are_sorted_at_every_level() {
        let bytes = full().to_bytes();
        // A map sorted by key writes the same bytes only if ours were sorted already.
        let sorted = sort(&serde_json::from_slice(&bytes).unwrap());
        assert_eq!(String::from_utf8(bytes).unwrap(), sorted);
    }

    #[test]
    fn the_bytes_are_those_that_rfc_8785_gives() {
        let body = full();
        let text = String::from_utf8(body.to_bytes()).unwrap();
        assert!(text.contains(r#""d":"a \"b\" \\ \u0001 "#), "{text}");
        assert!(text.contains("\u{7f} é 😀 </script>"), "nothing else is escaped: {text}");
        assert_eq!(Body::from_bytes(text.as_bytes()).unwrap(), body);
    }

    #[test]
    fn a_leaf_hash_is_that_of_rfc_6962() {
        // The hash of the empty leaf, as the RFC's reference implementation has it.
        let hex = data_encoding::HEXLOWER.encode(&leaf_hash(b""));
        assert_eq!(hex, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn a_path_of_another_organisation_keeps_its_organisation() {
        for (org, full, kept) in [
            ("org-1", "org-1/a/b/c/d", "a/b/c/d"),
            ("org-1", "org-10/a/b/c/d", "/org-10/a/b/c/d"),
            ("org-1", "org-2/a/b/c/d", "/org-2/a/b/c/d"),
        ] {
            let body = Body { org: org.into(), path: Some(Body::path_within(org, full)), ..self::full() };
            assert_eq!(body.path.as_deref(), Some(kept));
            assert_eq!(body.file_path().as_deref(), Some(full));
        }
    }

    proptest! {
        #[test]
        fn any_text_round_trips(device in ".{0,40}", error in ".{0,40}", number in any::<i32>()) {
            let body = Body { device, error: Some(error), user: UserId::Number(number.into()), ..full() };
            prop_assert_eq!(Body::from_bytes(&body.to_bytes()).unwrap(), body);
        }
    }

    fn sort(value: &serde_json::Value) -> String {
        match value {
            serde_json::Value::Object(map) => {
                let mut members: Vec<_> = map.iter().collect();
                members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
                let members: Vec<_> = members.iter().map(|(n, v)| format!("\"{n}\":{}", sort(v))).collect();
                format!("{{{}}}", members.join(","))
            }
            other => other.to_string(),
        }
    }
}
