//! The auditor's own pins: for each log, the newest checkpoint that was found good.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use thiserror::Error;

/// Pins, by origin: the signed notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<String, String>);

/// A file of pins that cannot be used.
#[derive(Debug, Error)]
pub enum PinsError {
    /// It cannot be read or written.
    #[error("the pins cannot be read or written: {0}")]
    File(#[from] io::Error),
    /// It is not what this program wrote.
    #[error("the pins are not in their form: {0}")]
    Form(#[from] serde_json::Error),
}

impl Pins {
    /// Reads the pins; there are none if there is no such file.
    ///
    /// # Errors
    /// [`PinsError`]
    pub fn load(path: &Path) -> Result<Self, PinsError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the pins: all or, if it fails, none.
    ///
    /// # Errors
    /// [`PinsError`]
    pub fn save(&self, path: &Path) -> Result<(), PinsError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(&serde_json::to_vec_pretty(&self.0)?)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// The pin of a log.
    #[must_use]
    pub fn get(&self, origin: &str) -> Option<&str> {
        self.0.get(origin).map(String::as_str)
    }

    /// Pins a log.
    pub fn set(&mut self, origin: String, note: String) {
        self.0.insert(origin, note);
    }

    /// The pinned logs.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
