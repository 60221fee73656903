//! How far an export has come.
//!
//! ```text
//!  begun                reached
//!    │ part n (unfinished)  │
//!  ──┴──────────────────────┴─ ▶ the log, oldest first, up to the bound
//!    └─ the tail: these bytes are kept in the bucket ─┘
//! ```
//!
//! A part of a multipart upload has 5 MiB at least, and a slice may end before it is full. What was written of it is then
//! kept as an ordinary object under the file's own key (the tail), and the next slice goes on behind it; if the object is
//! not the tail that is remembered, at the part's begin.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::Format;
use crate::audit::Filter;

/// A part is full from this size on. Entries are not cut, so it is a little larger.
pub(crate) const PART_BYTES: usize = 8 << 20;
/// Most parts, so that the row that remembers them stays below the 400 KB that an item may have: each takes about 150 bytes.
/// 16 GiB, some twenty million entries.
const MAX_PARTS: usize = 2_000;

/// An export, as its session remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// What it is written as.
    pub(crate) format: Format,
    /// Which entries: the filter's text, relative times resolved.
    pub(crate) filter: String,
    /// Only entries below this id: that of the entry which records the export.
    pub(crate) bound: Ulid,
    /// Parts that are in the bucket.
    #[serde(default)]
    pub(crate) parts: Vec<Part>,
    /// Where the unfinished part begins.
    #[serde(default)]
    pub(crate) begun: Mark,
    /// What is kept of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<Tail>,
    /// SHA-256 of all parts, as far as it has got: the hash's own state, hexadecimal.
    #[serde(default)]
    hash: String,
    /// Every entry is in a part: what is left is to put them together.
    #[serde(default)]
    pub(crate) complete: bool,
}

/// A place in the log, and what is before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Entries up to this one are behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Ulid>,
    /// Entries that were looked at.
    pub scanned: u64,
    /// Entries that were written.
    pub written: u64,
}

/// A part in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub bytes: u64,
    pub sha256: String,
    pub etag: String,
}

/// What is kept of an unfinished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub bytes: u64,
    pub sha256: String,
    /// The place behind it.
    pub reached: Mark,
}

impl Export {
    /// One of which nothing is written yet.
    #[must_use]
    pub(crate) fn new(format: Format, filter: String) -> Self {
        Self {
            format,
            filter,
            bound: Ulid::nil(),
            parts: Vec::new(),
            begun: Mark::default(),
            tail: None,
            hash: String::new(),
            complete: false,
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn reached(&self) -> Mark {
        self.tail.as_ref().map_or(self.begun, |tail| tail.reached)
    }

    /// Bytes that are in the bucket.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.bytes).sum();
        parts + self.tail.as_ref().map_or(0, |tail| tail.bytes)
    }

    /// Whether there may be one part more.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.parts.len() < MAX_PARTS
    }

    /// The next part is in the bucket, and the one behind it begins here.
    pub(crate) fn add_part(&mut self, bytes: &[u8], etag: String, reached: Mark) {
        let hash = self.state().chain_update(bytes);
        self.hash = HEXLOWER.encode(&hash.serialize());
        self.parts.push(Part { bytes: bytes.len() as u64, sha256: sha256(bytes), etag });
        self.begun = reached;
        self.tail = None;
    }

    /// What is written of the next part is in the bucket.
    pub(crate) fn keep_tail(&mut self, bytes: &[u8], reached: Mark) {
        self.tail = Some(Tail { bytes: bytes.len() as u64, sha256: sha256(bytes), reached });
    }

    /// SHA-256 of all parts, one behind the other.
    #[must_use]
    pub(crate) fn sha256(&self) -> String {
        HEXLOWER.encode(&self.state().finalize())
    }

    fn state(&self) -> Sha256 {
        let state = HEXLOWER.decode(self.hash.as_bytes()).unwrap_or_default();
        let state = state.as_slice().try_into().ok();
        state.and_then(|state| Sha256::deserialize(state).ok()).unwrap_or_default()
    }
}

/// What an export holds, for whoever wants to check it.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// What it is written as.
    pub format: Format,
    /// Which entries, as a query.
    pub filter: String,
    /// Only entries below this id: that of the entry which records the export.
    pub bound: Ulid,
    /// Only entries of this time and later; none if the filter says nothing of it.
    pub from: Option<Timestamp>,
    /// Only entries before this time: the filter's, or the bound's.
    pub to: Option<Timestamp>,
    /// Number of entries.
    pub count: u64,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The file, piece by piece.
    pub parts: Vec<ManifestPart>,
}

/// A piece of an export. The pieces follow each other.
#[derive(Debug, Clone, Serialize)]
pub struct ManifestPart {
    /// From 1.
    pub number: u32,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl Export {
    /// What it holds; none before everything is written.
    #[must_use]
    pub fn manifest(&self) -> Option<Manifest> {
        let part = |(number, part): (u32, &Part)| ManifestPart {
            number,
            bytes: part.bytes,
            sha256: part.sha256.clone(),
        };
        let (first, end) = Filter::from_text(&self.filter).map_or((Ulid::nil(), Ulid::max()), |it| it.ids());
        self.complete.then(|| Manifest {
            format: self.format,
            filter: self.filter.clone(),
            bound: self.bound,
            from: time(first).filter(|_| first > Ulid::nil()),
            to: time(end.min(self.bound)),
            count: self.begun.written,
            bytes: self.bytes(),
            sha256: self.sha256(),
            parts: (1..).zip(&self.parts).map(part).collect(),
        })
    }
}

impl Tail {
    /// Whether these bytes are it.
    #[must_use]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == sha256(bytes)
    }
}

fn time(id: Ulid) -> Option<Timestamp> {
    i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_whole_hash_is_that_of_the_parts_together(parts in vec(vec(any::<u8>(), 0..200), 0..6)) {
            let mut export = Export::new(Format::Csv, String::new());
            for (number, part) in (1..).zip(&parts) {
                export.keep_tail(&part[..part.len() / 2], Mark::default());
                export.add_part(part, "etag".into(), Mark { written: number, ..Mark::default() });
                // As the next call finds it.
                export = serde_json::from_str(&serde_json::to_string(&export).unwrap()).unwrap();
                prop_assert_eq!(export.reached().written, number);
            }
            let whole = parts.concat();
            prop_assert_eq!(export.sha256(), sha256(&whole));
            prop_assert_eq!(export.bytes(), whole.len() as u64);
        }
    }
}
