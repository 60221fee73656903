//! Multipart uploads under way and the parts that have arrived.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Attributes, Millis, from_sql, json, to_json, to_sql, utf8};

/// An upload that was neither completed nor aborted.
#[derive(Debug, Clone)]
pub(in crate::spaces) struct Upload {
    pub(in crate::spaces) id: String,
    pub(in crate::spaces) key: String,
    pub(in crate::spaces) initiated: Millis,
}

/// A part that has arrived.
#[derive(Debug, Clone)]
pub(in crate::spaces) struct Part {
    pub(in crate::spaces) number: u32,
    pub(in crate::spaces) file: String,
    pub(in crate::spaces) size: u64,
    /// In hexadecimal: the part's ETag without quotes.
    pub(in crate::spaces) md5: String,
    pub(in crate::spaces) modified: Millis,
}

pub(in crate::spaces) fn create(
    index: &Connection,
    upload: &Upload,
    attributes: &Attributes,
) -> rusqlite::Result<()> {
    index.prepare_cached("INSERT INTO uploads VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        upload.id,
        upload.key.as_bytes(),
        upload.initiated.0,
        to_json(attributes)?
    ])?;
    Ok(())
}

/// What the object will carry; none if there is no such upload for this key.
pub(in crate::spaces) fn find(
    index: &Connection,
    id: &str,
    key: &str,
) -> rusqlite::Result<Option<Attributes>> {
    index
        .prepare_cached("SELECT attributes FROM uploads WHERE id = ?1 AND key = ?2")?
        .query_row(params![id, key.as_bytes()], |row| json(0, &row.get::<_, String>(0)?))
        .optional()
}

/// Every upload whose key has this prefix, by key and then by age.
pub(in crate::spaces) fn list(index: &Connection, prefix: &str) -> rusqlite::Result<Vec<Upload>> {
    // 0xFF lies behind every key with the prefix, see the listing of objects. Ids are ULIDs: their order is their age.
    let end = [prefix.as_bytes(), &[0xFF]].concat();
    index
        .prepare_cached(
            "SELECT id, key, initiated FROM uploads WHERE key >= ?1 AND key < ?2 ORDER BY key, id",
        )?
        .query_map(params![prefix.as_bytes(), end], |row| {
            Ok(Upload { id: row.get(0)?, key: utf8(1, row.get(1)?)?, initiated: Millis(row.get(2)?) })
        })?
        .collect()
}

/// The parts of an upload by number.
pub(in crate::spaces) fn parts(index: &Connection, id: &str) -> rusqlite::Result<Vec<Part>> {
    index
        .prepare_cached(
            "SELECT number, file, size, md5, modified FROM parts WHERE upload = ?1 ORDER BY number",
        )?
        .query_map([id], |row| {
            Ok(Part {
                number: row.get(0)?,
                file: row.get(1)?,
                size: from_sql(row.get(2)?),
                md5: row.get(3)?,
                modified: Millis(row.get(4)?),
            })
        })?
        .collect()
}

/// Puts a part in the place of the one with its number; answers that one's file.
pub(in crate::spaces) fn put_part(
    change: &Transaction<'_>,
    id: &str,
    part: &Part,
) -> rusqlite::Result<Option<String>> {
    let freed = change
        .prepare_cached("SELECT file FROM parts WHERE upload = ?1 AND number = ?2")?
        .query_row(params![id, part.number], |row| row.get(0))
        .optional()?;
    change
        .prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![id, part.number, part.file, to_sql(part.size), part.md5, part.modified.0])?;
    Ok(freed)
}

/// Forgets an upload and its parts.
pub(in crate::spaces) fn remove(change: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    change.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([id])?;
    Ok(())
}
