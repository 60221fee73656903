//! What was found, and what follows from it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Findings of one class that are listed for one log; all are counted.
const LISTED: u64 = 20;

/// What a finding, or all findings together, come to. The first of these that applies is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something was changed, removed, slipped in or rolled back.
    Tampered,
    /// What would show it is missing, unreadable or not believed.
    Undecided,
    /// Entries have waited too long for their seal, or the log has not been heard of for too long.
    Unsealed,
    /// Everything is what was sealed.
    Proven,
}

impl Verdict {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Tampered => 1,
            Self::Undecided => 2,
            Self::Unsealed => 3,
        }
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $verdict:ident;)*) => {
        /// What kind of thing was found. The names are those of the output.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Class { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Class {
            /// Every class there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the output.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What one finding of this class comes to; [`Verdict::Proven`] is a remark.
            #[must_use]
            pub fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

classes! {
    /// A row's bytes are not those that were sealed; its hash still is.
    BodyAltered = "body_altered", Tampered;
    /// A row's bytes are not those that were sealed, and its hash was made to fit.
    BodyAndHashAltered = "body_and_hash_altered", Tampered;
    /// Only a row's hash was changed.
    HashAltered = "hash_altered", Tampered;
    /// Only an index key was changed, added or taken away: the row is hidden from a view, or shown in a wrong one.
    IndexAltered = "index_altered", Tampered;
    /// Only the time to live was changed.
    TtlAltered = "ttl_altered", Tampered;
    /// A row has an attribute that no row has.
    AttributeAdded = "attribute_added", Tampered;
    /// A row holds another sealed entry's bytes.
    RowsSwapped = "rows_swapped", Tampered;
    /// A sealed entry's row stands in another partition.
    RowMoved = "row_moved", Tampered;
    /// A sealed entry has no row, and its time has not come.
    EntryRemoved = "entry_removed", Tampered;
    /// A row holds the bytes of an entry that is sealed under another key.
    EntryCopied = "entry_copied", Tampered;
    /// A row is older than what the log declared complete, and has no leaf.
    EntryInserted = "entry_inserted", Tampered;
    /// A leaf is older than what the log had declared complete before it, and no notice says that it came late.
    EntryBackdated = "entry_backdated", Tampered;
    /// An entry does not continue its writer's chain.
    ChainBroken = "chain_broken", Tampered;
    /// An entry of a writer's chain is missing.
    ChainGap = "chain_gap", Tampered;
    /// Two entries have one place in a writer's chain.
    ChainForked = "chain_forked", Tampered;
    /// An entry of another organisation stands in this log.
    ForeignEntry = "foreign_entry", Tampered;
    /// A leaf is neither an entry nor a notice.
    LeafMalformed = "leaf_malformed", Tampered;
    /// An entry is sealed twice.
    LeafRepeated = "leaf_repeated", Tampered;
    /// A bundle's leaf is not the one under the signed root.
    LeafAltered = "leaf_altered", Tampered;
    /// Neither bundles nor tiles give the signed root.
    LogRewritten = "log_rewritten", Tampered;
    /// A tile is not the one that the leaves under the signed root give.
    TileAltered = "tile_altered", Tampered;
    /// A checkpoint names a known key, which did not sign it.
    SignatureInvalid = "signature_invalid", Tampered;
    /// A checkpoint was signed by a key after that key's time.
    KeyRetired = "key_retired", Tampered;
    /// A checkpoint stands in the place of another log's or another size's.
    CheckpointMoved = "checkpoint_moved", Tampered;
    /// The log is smaller than it was.
    Rollback = "rollback", Tampered;
    /// The log's beginning is not what it was.
    Fork = "fork", Tampered;
    /// A log that was pinned, or that a manifest names, is not there.
    LogGone = "log_gone", Tampered;
    /// The sealer saw that a row was changed.
    RowModified = "row_modified", Tampered;
    /// The sealer saw that a row was removed before its time.
    RowRemoved = "row_removed", Tampered;
    /// An ACTIVE record has no object.
    ObjectMissing = "object_missing", Tampered;
    /// An ACTIVE record's object has other content than was logged.
    ObjectAltered = "object_altered", Tampered;
    /// An ACTIVE record has another hash than was logged.
    RecordAltered = "record_altered", Tampered;
    /// The log does not say that an ACTIVE record's object was ever stored.
    RecordUnlogged = "record_unlogged", Tampered;
    /// A store or a folder does not answer.
    Unreadable = "unreadable", Undecided;
    /// A part of the archive is not there.
    PartMissing = "part_missing", Undecided;
    /// A part of the archive, the table or the pins has no meaning.
    PartMalformed = "part_malformed", Undecided;
    /// No given key signed a checkpoint.
    KeyUnknown = "key_unknown", Undecided;
    /// A pin is required, and there is none.
    PinRequired = "pin_required", Undecided;
    /// A row has no leaf, and is older than the limit.
    EntryUnsealed = "entry_unsealed", Unsealed;
    /// The newest leaf is older than the limit.
    LogStale = "log_stale", Unsealed;
    /// No pin: rollback and fork cannot be seen.
    NotPinned = "not_pinned", Proven;
    /// Rows that have no leaf yet.
    EntriesWaiting = "entries_waiting", Proven;
    /// A malformed row that the sealer has named.
    MalformedRow = "malformed_row", Proven;
    /// Entries of which the sealer heard late.
    Late = "late", Proven;
    /// A notice that the auditor has acknowledged.
    Acknowledged = "acknowledged", Proven;
    /// A day without a manifest, or no manifest at all.
    ManifestGap = "manifest_gap", Proven;
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub class: Class,
    /// Whose log.
    pub log: String,
    /// The leaf, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The entry's id, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// What is wrong, for people.
    pub detail: String,
}

/// What was held against what, in one log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Leaves under the checkpoint.
    pub leaves: u64,
    /// Entries among them.
    pub entries: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Rows without a leaf that may still wait.
    pub waiting: u64,
    /// Entries whose rows went when their time had come.
    pub expired: u64,
    /// Writers.
    pub writers: u64,
    /// Records held against their objects.
    pub objects: u64,
}

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings, at most 20 of a class for each log.
    pub findings: Vec<Finding>,
    /// How many there are of each class.
    pub counts: BTreeMap<Class, u64>,
    /// Each log.
    pub logs: BTreeMap<String, Summary>,
    #[serde(skip)]
    listed: BTreeMap<(String, Class), u64>,
}

impl Report {
    /// The answer.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.counts.keys().map(|class| class.verdict()).min().unwrap_or(Verdict::Proven)
    }

    /// Whether there is a finding of this class.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        self.counts.contains_key(&class)
    }

    pub(crate) fn summary(&mut self, log: &str) -> &mut Summary {
        self.logs.entry(log.to_owned()).or_default()
    }

    pub(crate) fn add(&mut self, class: Class, log: &str, detail: impl Into<String>) {
        self.push(Finding { class, log: log.to_owned(), seq: None, entry: None, detail: detail.into() });
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        *self.counts.entry(finding.class).or_default() += 1;
        let listed = self.listed.entry((finding.log.clone(), finding.class)).or_default();
        *listed += 1;
        if *listed <= LISTED {
            self.findings.push(finding);
        }
    }
}
