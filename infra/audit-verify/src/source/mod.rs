//! Where archive and table are read from. Nothing is ever written.

mod directory;
mod files;
mod json;
mod live;

use std::collections::{BTreeMap, BTreeSet};

use audit_format::Attributes;
use thiserror::Error;

pub use self::directory::Directory;
pub(crate) use self::directory::MADE_AT;
pub(crate) use self::files::Record;
pub(crate) use self::json::{parse as parse_row, write as write_row};
pub use self::live::{Endpoint, Live, LiveOptions};

/// Something that does not answer, or that refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} cannot be read: {why}")]
pub struct SourceError {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl SourceError {
    pub(crate) fn new(what: impl Into<String>, why: impl ToString) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}

/// A row as it was found: None if it has no meaning.
pub(crate) type FoundRow = Option<Attributes>;

/// An organisation's partitions of the table.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<String>>;

/// Archive and table.
#[derive(Debug)]
pub enum Source {
    /// An exported bundle.
    Directory(Directory),
    /// The table and the bucket themselves.
    Live(Box<Live>),
}

impl Source {
    /// Parts of the archive, in the order of `paths`; none for one that is not there.
    pub(crate) fn parts(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, SourceError> {
        match self {
            Self::Directory(directory) => paths.iter().map(|path| directory.part(path)).collect(),
            Self::Live(live) => live.parts(paths),
        }
    }

    /// One part of the archive.
    pub(crate) fn part(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.parts(&[path.to_owned()])?.pop().flatten())
    }

    /// The logs in the archive: whatever stands before the first slash of a path.
    pub(crate) fn logs(&self) -> Result<BTreeSet<String>, SourceError> {
        match self {
            Self::Directory(directory) => directory.names("archive"),
            Self::Live(live) => live.names(""),
        }
    }

    /// The names of an organisation's kept checkpoints.
    pub(crate) fn kept(&self, org: &str) -> Result<BTreeSet<String>, SourceError> {
        match self {
            Self::Directory(directory) => directory.names(&format!("archive/{org}/checkpoints")),
            Self::Live(live) => live.names(&format!("{org}/checkpoints/")),
        }
    }

    /// Leaves of the log of logs that a bundle of one organisation holds instead of all of them, as lines of JSON.
    pub(crate) fn own_manifests(&self) -> Result<Option<Vec<u8>>, SourceError> {
        match self {
            Self::Directory(directory) => directory.file("manifests.ndjson"),
            Self::Live(_) => Ok(None),
        }
    }

    /// Every organisation that has rows, with its partitions. Looks at every row.
    pub(crate) fn partitions(&self) -> Result<Partitions, SourceError> {
        match self {
            Self::Directory(directory) => directory.partitions(),
            Self::Live(live) => live.partitions(),
        }
    }

    /// Reads an organisation's rows, page by page. `partitions` are those that are known; none: whichever there may be.
    pub(crate) fn rows(
        &self,
        org: &str,
        partitions: Option<&BTreeSet<String>>,
        page: &mut dyn FnMut(Vec<FoundRow>),
    ) -> Result<(), SourceError> {
        match self {
            Self::Directory(directory) => directory.rows(org, page),
            Self::Live(live) => live.rows(org, partitions, page),
        }
    }
}

/// Whose rows a partition holds: what stands before the `#`. If that is no organisation's id, they are nobody's: `_`.
pub(crate) fn org_of(partition: &str) -> &str {
    partition.rsplit_once('#').map(|(org, _)| org).filter(|org| is_org(org)).unwrap_or("_")
}

/// Whether a text can be an organisation's id.
fn is_org(text: &str) -> bool {
    let of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(of_id)
        && !text.contains("..")
}
