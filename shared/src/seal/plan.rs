//! What a change of a row becomes: the leaves that have to be there once it is sealed. Whether they are there already is for
//! [`NewLeaf::missing`] to say.

use std::collections::HashMap;

use audit_format::archive::MAX_LEAF_BYTES;
use audit_format::{Attributes, Value, digest};
use jiff::Timestamp;
use ulid::Ulid;

use super::RowChange;
use crate::audit::{Leaf, LeafHash, LogRow, Notice, NoticeKind, kept_until, leaf_hash};
use crate::ids::OrgId;
use crate::metrics::{self, Metric};

/// Most of an attribute's name that a notice repeats.
const MAX_NAME_CHARS: usize = 64;

/// Something that is to be a leaf, unless there is one of its identity.
#[derive(Debug, Clone)]
pub(crate) struct NewLeaf {
    /// An entry's id, or what makes a notice the same when it is made again.
    pub identity: String,
    /// What it says.
    pub leaf: Leaf,
    /// What is to be said if the identity's leaf is another one.
    otherwise: Option<Box<NewLeaf>>,
}

impl NewLeaf {
    fn new(identity: String, leaf: Leaf) -> Self {
        Self { identity, leaf, otherwise: None }
    }

    pub(crate) fn notice(identity: String, notice: Notice) -> Self {
        Self::new(identity, Leaf::Notice(Box::new(notice)))
    }

    /// The leaf's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.leaf {
            Leaf::Entry(row) => row.bytes.clone(),
            Leaf::Notice(notice) => notice.to_bytes(),
        }
    }

    /// Its identity, and that of what is to be said instead.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &str> {
        [Some(self), self.otherwise.as_deref()].into_iter().flatten().map(|leaf| leaf.identity.as_str())
    }

    /// Those that have no leaf yet, where `known` are the hashes of those that have.
    pub(crate) fn missing(wanted: &[Self], mut known: HashMap<String, LeafHash>) -> Vec<&Self> {
        let mut missing = Vec::new();
        for leaf in wanted {
            let Some(found) = known.get(&leaf.identity) else {
                known.insert(leaf.identity.clone(), leaf_hash(&leaf.bytes()));
                missing.push(leaf);
                continue;
            };
            // A notice counts as it was made first: only its time can differ.
            let other = leaf.otherwise.as_deref().filter(|_| *found != leaf_hash(&leaf.bytes()));
            if let Some(other) = other.filter(|other| !known.contains_key(&other.identity)) {
                known.insert(other.identity.clone(), leaf_hash(&other.bytes()));
                missing.push(other);
            }
        }
        missing
    }
}

/// Whose log a row belongs to: the organisation in its partition key, or nobody's.
pub(crate) fn org_of(row: &Attributes) -> OrgId {
    match row.get("pk") {
        Some(Value::S(pk)) => org_of_partition(pk),
        _ => OrgId::nobody(),
    }
}

/// Whose log a partition belongs to.
pub(crate) fn org_of_partition(pk: &str) -> OrgId {
    let org = pk.rsplit_once('#').map(|(org, _)| OrgId::parse(org));
    org.and_then(Result::ok).unwrap_or_else(OrgId::nobody)
}

/// Whose log a change belongs to.
pub(crate) fn org_of_change(change: &RowChange) -> OrgId {
    change.new.as_ref().or(change.old.as_ref()).map_or_else(OrgId::nobody, org_of)
}

/// The leaves that a change asks for, in their order.
pub(crate) fn leaves(change: &RowChange, now: Timestamp) -> Vec<NewLeaf> {
    match (&change.old, &change.new) {
        (None, None) => Vec::new(),
        (None, Some(new)) => {
            let mut leaf = of_row(new, now);
            // A row that was removed and is put anew has its leaf; it should be the same.
            leaf.otherwise = matches!(leaf.leaf, Leaf::Entry(_))
                .then(|| Box::new(changed(change, NoticeKind::Modified, None, Some(new), now)));
            vec![leaf]
        }
        // A put of the same row.
        (Some(old), Some(new)) if old == new => Vec::new(),
        (Some(old), Some(new)) => {
            let notice = changed(change, NoticeKind::Modified, Some(old), Some(new), now);
            [entry(old), Some(notice), entry(new)].into_iter().flatten().collect()
        }
        (Some(old), None) => {
            let sealed = entry(old);
            let time_is_over = matches!(&sealed, Some(NewLeaf { leaf: Leaf::Entry(row), .. })
                if kept_until(row.at) <= now);
            // Its position may have expired as well: it must not get another one.
            if change.expired && time_is_over {
                return Vec::new();
            }
            let notice = changed(change, NoticeKind::Removed, Some(old), None, now);
            [sealed, Some(notice)].into_iter().flatten().collect()
        }
    }
}

/// The leaf of a row that is there: its entry, or that it is none.
pub(crate) fn of_row(row: &Attributes, now: Timestamp) -> NewLeaf {
    let found = match read(row) {
        Ok(entry) => return NewLeaf::new(entry.body.id.clone(), Leaf::Entry(Box::new(entry))),
        Err(what) => what,
    };
    let digest = digest(row);
    let mut notice = about(NoticeKind::Malformed, row, now);
    notice.row = Some(digest.clone());
    notice.what = Some(found);
    NewLeaf::notice(format!("MALFORMED#{digest}"), notice)
}

/// The leaf of a row that is an entry's.
fn entry(row: &Attributes) -> Option<NewLeaf> {
    let entry = read(row).ok()?;
    Some(NewLeaf::new(entry.body.id.clone(), Leaf::Entry(Box::new(entry))))
}

/// A row's entry, or the attribute that is wrong, or why its bytes are no entry.
fn read(row: &Attributes) -> Result<LogRow, String> {
    let bytes = match row.get("b") {
        Some(Value::B(bytes)) if bytes.len() <= MAX_LEAF_BYTES => bytes,
        _ => return Err("b".to_owned()),
    };
    let entry = LogRow::of(bytes).map_err(|error| error.to_string())?;
    match entry.differs(row) {
        // Whoever can put a row can give it attributes of any name.
        Some(attribute) => Err(attribute.chars().take(MAX_NAME_CHARS).collect()),
        None if entry.body.org != org_of(row).as_str() => Err("pk".to_owned()),
        None => Ok(entry),
    }
}

/// A notice of a row that was changed or removed.
fn changed(
    change: &RowChange,
    kind: NoticeKind,
    old: Option<&Attributes>,
    new: Option<&Attributes>,
    now: Timestamp,
) -> NewLeaf {
    let (was, row) = (old.map(digest), new.map(digest));
    let digest = row.as_ref().or(was.as_ref()).map_or("", String::as_str);
    let name = if kind == NoticeKind::Removed { "REMOVED" } else { "MODIFIED" };
    let identity = format!("{name}#{}#{digest}", change.event);
    let notice = new.or(old).map_or_else(
        || Notice::new(kind, OrgId::nobody().as_str(), now.as_millisecond()),
        |row| about(kind, row, now),
    );
    NewLeaf::notice(identity, Notice { was, row, ..notice })
}

/// A notice about a row.
fn about(kind: NoticeKind, row: &Attributes, now: Timestamp) -> Notice {
    let text = |name: &str| match row.get(name) {
        Some(Value::S(text)) => Some(text.clone()),
        _ => None,
    };
    Notice {
        id: text("sk"),
        partition: text("pk"),
        ..Notice::new(kind, org_of(row).as_str(), now.as_millisecond())
    }
}

/// Tells the operator of what should never be. Never what stands in the row.
pub(crate) fn alarm(leaf: &NewLeaf) {
    let Leaf::Notice(notice) = &leaf.leaf else { return };
    let org = &notice.org;
    // A sort key that is no id can hold anything.
    let id = notice.id.as_deref().filter(|id| Ulid::from_string(id).is_ok());
    let row = notice.row.as_ref().or(notice.was.as_ref());
    match notice.kind {
        NoticeKind::Modified => {
            tracing::error!(org, id, row, "audit_row_modified: a row of the log was changed");
            metrics::count(Metric::RowsModified);
        }
        NoticeKind::Removed => {
            tracing::error!(org, id, row, "audit_row_removed: a row of the log was removed");
            metrics::count(Metric::RowsRemoved);
        }
        NoticeKind::Malformed => {
            tracing::error!(org, id, row, "audit_row_malformed: a row of the log is not an entry's");
            metrics::count(Metric::RowsMalformed);
        }
        NoticeKind::Late => {
            let count = notice.count;
            tracing::error!(org, count, "audit_late: entries that the sealer was not told of");
            metrics::record(Metric::EntriesLate, count.unwrap_or_default());
        }
        NoticeKind::Heartbeat | NoticeKind::Manifest => {}
    }
}
