//! The embedded DynamoDB's data and the streams of its tables, read as Lambda's event source mapping reads them, and kept
//! small and quick.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynoxide::Database;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use shared::{clock, unique};
use thiserror::Error;

/// Records of one batch (the template's `BatchSize`).
pub const BATCH_SIZE: usize = 256;
/// How long a stream keeps a record (DynamoDB developer guide, "Change data capture for DynamoDB Streams").
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the database's own writes are waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// The embedded DynamoDB does not do what is asked.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct StreamError(String);

/// The embedded DynamoDB's data.
#[derive(Clone)]
pub struct Embedded {
    database: Database,
    path: String,
}

/// Reads the stream of a table, batch by batch.
#[derive(Debug)]
pub struct Stream {
    embedded: Embedded,
    table: &'static str,
    /// Where the position is kept; none: it is not.
    kept: Option<PathBuf>,
    /// Sequence number of the last record that was taken.
    position: Option<String>,
}

/// Records that were read and not taken yet.
#[derive(Debug)]
pub struct Batch {
    /// Lambda's event.
    pub event: Value,
    /// Its records.
    pub len: usize,
    last: String,
}

impl Embedded {
    /// Data in a file.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn open(path: &Path) -> Result<Self, StreamError> {
        Self::at(path.to_string_lossy().into_owned())
    }

    /// Data in memory, in a file system of SQLite's own: there, too, a second connection finds them by a name.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn memory() -> Result<Self, StreamError> {
        Self::at(format!("file:/{}?vfs=memdb", unique::ulid(clock::now())))
    }

    /// Each write asks for the last sequence number: the index spares it a look at every record.
    fn at(path: String) -> Result<Self, StreamError> {
        let database = Database::new(&path).map_err(failed)?;
        let embedded = Self { database, path };
        embedded
            .connection()?
            .execute_batch(
                "CREATE INDEX IF NOT EXISTS stream_position
                 ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
            )
            .map_err(failed)?;
        Ok(embedded)
    }

    /// A handle on the database.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// The stream of a table, from the position that is kept in a file, else from the oldest record on.
    #[must_use]
    pub fn stream(&self, table: &'static str, kept: Option<PathBuf>) -> Stream {
        let position = kept.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Stream { embedded: self.clone(), table, kept, position }
    }

    /// Drops what a stream does not keep any more.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn trim(&self) -> Result<(), StreamError> {
        let kept = i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX);
        let before = clock::now().as_second() - kept;
        let delete = "DELETE FROM _stream_records WHERE created_at < ?1";
        self.connection()?.execute(delete, params![before]).map(drop).map_err(failed)
    }

    fn connection(&self) -> Result<Connection, StreamError> {
        let connection = Connection::open(&self.path).map_err(failed)?;
        connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
        Ok(connection)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Stream {
    /// The next records, at most [`BATCH_SIZE`]; the same until they are taken. None: there are none.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn next(&self) -> Result<Option<Batch>, StreamError> {
        let database = &self.embedded.database;
        let streams = ListStreamsRequest { table_name: Some(self.table.into()), ..Default::default() };
        let streams = database.list_streams(streams).map_err(failed)?.streams;
        let Some(stream) = streams.into_iter().next() else { return Ok(None) };
        let describe = DescribeStreamRequest { stream_arn: stream.stream_arn.clone(), ..Default::default() };
        let shards = database.describe_stream(describe).map_err(failed)?.stream_description.shards;
        let Some(shard) = shards.into_iter().next() else { return Ok(None) };
        let iterator = GetShardIteratorRequest {
            stream_arn: stream.stream_arn,
            shard_id: shard.shard_id,
            shard_iterator_type: match self.position {
                Some(_) => "AFTER_SEQUENCE_NUMBER".into(),
                None => "TRIM_HORIZON".into(),
            },
            sequence_number: self.position.clone(),
        };
        let iterator = database.get_shard_iterator(iterator).map_err(failed)?.shard_iterator;
        let records =
            GetRecordsRequest { shard_iterator: iterator.unwrap_or_default(), limit: Some(BATCH_SIZE) };
        let records = database.get_records(records).map_err(failed)?.records;
        let Some(last) = records.last().map(|record| record.dynamodb.sequence_number.clone()) else {
            return Ok(None);
        };
        let event = json!({ "Records": serde_json::to_value(&records).map_err(failed)? });
        Ok(Some(Batch { event, len: records.len(), last }))
    }

    /// Goes on behind a batch.
    ///
    /// # Errors
    /// [`StreamError`] if the position cannot be kept; after a restart the batch is read again then.
    pub fn take(&mut self, batch: Batch) -> Result<(), StreamError> {
        let kept = self.kept.as_ref().map(|file| std::fs::write(file, &batch.last));
        self.position = Some(batch.last);
        kept.unwrap_or(Ok(())).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> StreamError {
    StreamError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_dropped_after_a_day_and_no_earlier() {
        let embedded = Embedded::memory().unwrap();
        let connection = embedded.connection().unwrap();
        let insert = "INSERT INTO _stream_records
             (table_name, event_name, keys_json, sequence_number, shard_id, created_at)
             VALUES ('t', 'INSERT', '{}', ?1, 's', ?2)";
        let now = clock::now().as_second();
        for (number, age_s) in [(1, 24 * 60 * 60 + 60), (2, 24 * 60 * 60 - 60), (3, 0)] {
            connection.execute(insert, params![number, now - age_s]).unwrap();
        }
        embedded.trim().unwrap();
        let left: i64 =
            connection.query_row("SELECT count(*) FROM _stream_records", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 2);
    }

    #[test]
    fn the_last_sequence_number_is_found_without_a_look_at_every_record() {
        let connection = Embedded::memory().unwrap().connection().unwrap();
        // As the embedded DynamoDB asks for it.
        let ask = "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1
             FROM _stream_records WHERE table_name = 't'";
        let plan: String = connection.query_row(ask, [], |row| row.get("detail")).unwrap();
        assert!(plan.contains("INDEX stream_position"), "{plan}");
    }
}
