//! Objects and the segments that they are made of.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Attributes, Millis, from_sql, json, to_json, to_sql};
use crate::spaces::files::Segment;

/// One object as the index knows it.
#[derive(Debug, Clone)]
pub(in crate::spaces) struct Object {
    pub(in crate::spaces) size: u64,
    /// Without quotes.
    pub(in crate::spaces) etag: String,
    pub(in crate::spaces) modified: Millis,
    pub(in crate::spaces) attributes: Attributes,
}

/// The object with this key and its row's id.
pub(in crate::spaces) fn find(index: &Connection, key: &str) -> rusqlite::Result<Option<(i64, Object)>> {
    index
        .prepare_cached("SELECT id, size, etag, modified, attributes FROM objects WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| {
            let object = Object {
                size: from_sql(row.get(1)?),
                etag: row.get(2)?,
                modified: Millis(row.get(3)?),
                attributes: json(4, &row.get::<_, String>(4)?)?,
            };
            Ok((row.get(0)?, object))
        })
        .optional()
}

/// The segments of a row that [`find`] found, in order.
pub(in crate::spaces) fn segments(index: &Connection, id: i64) -> rusqlite::Result<Vec<Segment>> {
    index
        .prepare_cached("SELECT file, size FROM segments WHERE object = ?1 ORDER BY position")?
        .query_map([id], |row| Ok(Segment { file: row.get(0)?, offset: 0, size: from_sql(row.get(1)?) }))?
        .collect()
}

/// Puts an object in the place of the one with this key, if there is one; answers the files that are free now.
pub(in crate::spaces) fn replace(
    change: &Transaction<'_>,
    key: &str,
    object: &Object,
    segments: &[Segment],
) -> rusqlite::Result<Vec<String>> {
    let freed = remove(change, key)?;
    change
        .prepare_cached(
            "INSERT INTO objects (key, size, etag, modified, attributes) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key.as_bytes(),
            to_sql(object.size),
            object.etag,
            object.modified.0,
            to_json(&object.attributes)?
        ])?;
    let id = change.last_insert_rowid();
    let mut insert = change.prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3, ?4)")?;
    for (position, segment) in (0_i64..).zip(segments) {
        insert.execute(params![id, position, segment.file, to_sql(segment.size)])?;
    }
    Ok(freed)
}

/// Forgets an object; answers the files that are free now, none if there was no such object.
pub(in crate::spaces) fn remove(change: &Transaction<'_>, key: &str) -> rusqlite::Result<Vec<String>> {
    let Some((id, _)) = find(change, key)? else { return Ok(Vec::new()) };
    let files = segments(change, id)?.into_iter().map(|segment| segment.file).collect();
    change.prepare_cached("DELETE FROM objects WHERE id = ?1")?.execute([id])?;
    Ok(files)
}
