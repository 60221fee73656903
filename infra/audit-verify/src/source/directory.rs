//! An exported bundle: `archive/…` as in the bucket, `table/{org}.ndjson` with a row a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use jiff::Timestamp;

use super::{FoundRow, Partitions, SourceError, parse_row};

/// Lines of a page.
const PAGE_ROWS: usize = 1_000;

/// The file that says when a bundle was made.
pub(crate) const MADE_AT: &str = "made_at";

/// An exported bundle.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The bundle in a folder.
    ///
    /// # Errors
    /// [`SourceError`] if the folder has no `archive`.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let path = path.into();
        match path.join("archive").is_dir() {
            true => Ok(Self(path)),
            false => Err(SourceError::new(path.display().to_string(), "it has no folder named archive")),
        }
    }

    /// When the bundle was made, if it says so.
    ///
    /// # Errors
    /// [`SourceError`] if what it says is no time.
    pub fn made_at(&self) -> Result<Option<Timestamp>, SourceError> {
        let text = self.file(MADE_AT)?;
        let parse = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).map_err(|error| SourceError::new(MADE_AT, error))?;
            text.trim().parse().map_err(|error: jiff::Error| SourceError::new(MADE_AT, error))
        };
        text.map(parse).transpose()
    }

    pub(super) fn part(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.file(&format!("archive/{path}"))
    }

    pub(super) fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(SourceError::new(path, error)),
        }
    }

    pub(super) fn names(&self, folder: &str) -> Result<BTreeSet<String>, SourceError> {
        let failed = |error: io::Error| SourceError::new(folder, error);
        let entries = match fs::read_dir(self.0.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(error)),
        };
        entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
    }

    pub(super) fn partitions(&self) -> Result<Partitions, SourceError> {
        let files = self.names("table")?;
        let orgs = files.iter().filter_map(|file| file.strip_suffix(".ndjson"));
        Ok(orgs.map(|org| (org.to_owned(), BTreeSet::new())).collect::<BTreeMap<_, _>>())
    }

    pub(super) fn rows(&self, org: &str, page: &mut dyn FnMut(Vec<FoundRow>)) -> Result<(), SourceError> {
        let name = format!("table/{org}.ndjson");
        let file = match File::open(self.0.join(&name)) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(SourceError::new(name, error)),
        };
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut line = Vec::new();
        let mut rows = Vec::new();
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line);
            let ended = read.map_err(|error| SourceError::new(&name, error))? == 0;
            if !ended {
                rows.push(parse_row(&line));
            }
            if rows.len() == PAGE_ROWS || ended {
                page(std::mem::take(&mut rows));
            }
            if ended {
                return Ok(());
            }
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
