//! A copy of the log, to be taken away: in which formats, and what an export remembers between two calls.
//!
//! An export is an upload session whose bytes the service brings itself, slice by slice, whenever its creator asks. What
//! it stores is a file like any other (catalog `audit/export`). Knows neither bucket nor tables; the work is done in
//! [`crate::files`].

pub mod csv;
pub mod ocsf;
mod progress;

use serde::{Deserialize, Serialize};

use crate::audit::LogRow;

pub use progress::{Export, Manifest, Mark};
pub(crate) use progress::{PART_BYTES, Part};

/// System of the catalog that exports are stored in. Nobody uploads there.
pub const SYSTEM: &str = "audit";
/// Object type of exports.
pub const OBJECT_TYPE: &str = "export";

/// What an export is written as. Entries stand in it oldest first, one a line or row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180, for spreadsheets; see [`csv`].
    Csv,
    /// The entries' exact bytes, one a line: what their hashes are of.
    Ndjson,
    /// Events of the Open Cybersecurity Schema Framework, one a line; see [`ocsf`].
    Ocsf,
}

impl Format {
    /// Every format there is.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Ndjson, Self::Ocsf];

    /// The name in requests and entries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Ocsf => "ocsf",
        }
    }

    /// What a file of this format is called.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "audit-log.csv",
            Self::Ndjson => "audit-log.ndjson",
            Self::Ocsf => "audit-log-ocsf.ndjson",
        }
    }

    /// The catalog's media type of such a file.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Ndjson | Self::Ocsf => "application/x-ndjson",
        }
    }

    /// What stands before the first entry.
    #[must_use]
    pub fn head(self) -> Vec<u8> {
        match self {
            Self::Csv => csv::head(),
            Self::Ndjson | Self::Ocsf => Vec::new(),
        }
    }

    /// Writes one entry.
    pub fn write(self, row: &LogRow, to: &mut Vec<u8>) {
        match self {
            Self::Csv => csv::write(row, to),
            // Canonical JSON escapes every control character, so an entry is one line.
            Self::Ndjson => {
                to.extend_from_slice(&row.bytes);
                to.push(b'\n');
            }
            Self::Ocsf => {
                to.extend_from_slice(ocsf::event(row).to_string().as_bytes());
                to.push(b'\n');
            }
        }
    }
}

#[cfg(test)]
mod tests;
