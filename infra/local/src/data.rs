//! Where the local stack keeps its data: a folder that knows its own version, or one that vanishes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thiserror::Error;

/// The version of what stands in a data folder. Raised when an older folder cannot be read any more.
const VERSION: &str = "3";

/// What can be wrong with a data folder. The texts are for the person at the terminal.
#[derive(Debug, Error)]
pub enum DataError {
    /// It cannot be made or written.
    #[error("the data folder {path} cannot be written: {source}")]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another version of the stack made it.
    #[error(
        "the data folder {path} is of version {found}, this stack reads version {VERSION}: remove it, or name another with --data"
    )]
    OtherVersion {
        /// The folder.
        path: PathBuf,
        /// The version found.
        found: String,
    },
    /// Another stack uses it.
    #[error(
        "the data folder {path} is in use by another local stack: stop that one, or name another with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A data folder in use. Dropping it lets others use it; an ephemeral one is removed.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
    _ephemeral: Option<TempDir>,
}

impl DataFolder {
    /// A folder that is kept.
    ///
    /// # Errors
    /// [`DataError`]
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let unwritable = |source| DataError::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritable)?;
        let lock = File::create(path.join("lock")).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let version = path.join("version");
        match fs::read_to_string(&version) {
            Ok(found) if found.trim() == VERSION => {}
            Ok(found) => {
                return Err(DataError::OtherVersion {
                    path: path.to_owned(),
                    found: found.trim().to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&version, VERSION).map_err(unwritable)?
            }
            Err(source) => return Err(unwritable(source)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock, _ephemeral: None })
    }

    /// A folder that is removed at the end.
    ///
    /// # Errors
    /// [`DataError`]
    pub fn ephemeral() -> Result<Self, DataError> {
        let dir = tempfile::tempdir();
        let dir = dir.map_err(|source| DataError::Unwritable { path: std::env::temp_dir(), source })?;
        let folder = Self::open(dir.path())?;
        Ok(Self { _ephemeral: Some(dir), ..folder })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("version"), "0\n").unwrap();
        let error = DataFolder::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is of version 0, this stack reads version 3"), "{error}");
    }

    #[test]
    fn a_folder_in_use_is_refused_until_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataFolder::open(dir.path()).unwrap();
        assert!(matches!(DataFolder::open(dir.path()), Err(DataError::InUse { .. })));
        drop(first);
        assert!(DataFolder::open(dir.path()).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(DataFolder::open(&file.join("below")), Err(DataError::Unwritable { .. })));
    }
}
