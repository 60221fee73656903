//! What exists: objects, multipart uploads and their parts, in SQLite.
//!
//! Functions take a connection or a transaction and do one step each; which steps are one transaction is the store's
//! decision. Nothing here touches the files that rows name.

pub(super) mod listing;
pub(super) mod objects;
pub(super) mod uploads;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{BUCKET, OpenError};

/// The layout of the tables; a file with another number is not read.
const LAYOUT: i64 = 1;
/// How long to wait for a store in this process, or another, that is just closing.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Keys are blobs: SQLite compares those byte by byte, which is S3's order.
const TABLES: &str = "
    CREATE TABLE bucket (name TEXT PRIMARY KEY, created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified INTEGER NOT NULL,
        attributes TEXT NOT NULL
    );
    CREATE TABLE segments (
        object INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        file TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (object, position)
    ) WITHOUT ROWID;
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        key BLOB NOT NULL,
        initiated INTEGER NOT NULL,
        attributes TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploads_by_key ON uploads (key, id);
    CREATE TABLE parts (
        upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        file TEXT NOT NULL,
        size INTEGER NOT NULL,
        md5 TEXT NOT NULL,
        modified INTEGER NOT NULL,
        PRIMARY KEY (upload, number)
    ) WITHOUT ROWID;
";

/// What an object carries beside its bytes, as given when it was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    /// As an HTTP date.
    pub(super) expires: Option<String>,
    /// `x-amz-meta-*`, without that prefix.
    pub(super) metadata: BTreeMap<String, String>,
    /// A canned ACL; none is private.
    pub(super) acl: Option<String>,
}

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(pub(super) i64);

impl Millis {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    pub(super) fn to_system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or_default())
    }
}

/// Opens the index and takes it for this process, so that no second store removes files that this one writes.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let mut index = Connection::open(path)?;
    index.busy_timeout(LOCK_WAIT)?;
    index.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    index.pragma_update(None, "journal_mode", "WAL")?;
    // With WAL, a power cut may undo the last changes, each of them whole; a crash of the process undoes none.
    index.pragma_update(None, "synchronous", "NORMAL")?;
    index.pragma_update(None, "foreign_keys", true)?;

    let tables = index.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match tables.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => {
            tables.execute_batch(TABLES)?;
            tables.execute("INSERT INTO bucket VALUES (?1, ?2)", params![BUCKET, Millis::now().0])?;
            tables.pragma_update(None, "user_version", LAYOUT)?;
        }
        LAYOUT => {}
        found => return Err(OpenError::Layout { found, expected: LAYOUT }),
    }
    tables.commit()?;
    Ok(index)
}

/// Every file that an object or a part is made of.
pub(super) fn named_files(index: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut statement = index.prepare("SELECT file FROM segments UNION ALL SELECT file FROM parts")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// When the bucket was made.
pub(super) fn bucket_created(index: &Connection) -> rusqlite::Result<Millis> {
    let created = index
        .query_row("SELECT created FROM bucket WHERE name = ?1", [BUCKET], |row| row.get(0))
        .optional()?;
    Ok(Millis(created.unwrap_or_default()))
}

/// A size in bytes as SQLite keeps it; a file cannot be so long that this cuts anything off.
fn to_sql(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The reverse of [`to_sql`].
fn from_sql(size: i64) -> u64 {
    u64::try_from(size).unwrap_or_default()
}

fn json<T: for<'de> Deserialize<'de>>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn to_json(attributes: &Attributes) -> rusqlite::Result<String> {
    serde_json::to_string(attributes)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn utf8(column: usize, bytes: Vec<u8>) -> rusqlite::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
