//! Pages of keys in byte order, with prefixes rolled up.
//!
//! A place between two keys is written as bytes, the lower bound of what comes next. Keys are UTF-8, in which 0xFF
//! never occurs: `prefix ++ 0xFF` lies behind every key with that prefix and before all that follow.

use rusqlite::{Connection, params};

use super::{Millis, from_sql, utf8};

/// What to list.
#[derive(Debug, Clone, Default)]
pub(in crate::spaces) struct Query {
    pub(in crate::spaces) prefix: String,
    /// Never empty.
    pub(in crate::spaces) delimiter: Option<String>,
    /// The place to begin at; empty for the beginning.
    pub(in crate::spaces) from: Vec<u8>,
    /// How many entries at most.
    pub(in crate::spaces) limit: usize,
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub(in crate::spaces) enum Entry {
    Object {
        key: String,
        size: u64,
        etag: String,
        modified: Millis,
    },
    /// All keys that begin with this.
    Prefix(String),
}

/// A part of a listing.
#[derive(Debug, Default)]
pub(in crate::spaces) struct Page {
    pub(in crate::spaces) entries: Vec<Entry>,
    /// Where the next page begins; none when this is the last.
    pub(in crate::spaces) next: Option<Vec<u8>>,
}

impl Query {
    /// Begins behind `key`. A key inside a rolled-up prefix skips that prefix, which sorts before the key.
    pub(in crate::spaces) fn start_after(&mut self, key: &str) {
        self.from = match self.rolled_up(key) {
            Some(prefix) => behind_prefix(prefix),
            None => behind_key(key),
        };
    }

    /// The prefix that `key` is listed under, if it is not listed itself.
    fn rolled_up<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref()?;
        let found = key.strip_prefix(self.prefix.as_str())?.find(delimiter)?;
        key.get(..self.prefix.len() + found + delimiter.len())
    }
}

/// One page of objects.
pub(in crate::spaces) fn page(index: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let mut statement = index.prepare_cached(
        "SELECT key, size, etag, modified FROM objects WHERE key >= ?1 AND key < ?2 ORDER BY key",
    )?;
    let end = behind_prefix(&query.prefix);
    let mut place = query.from.clone().max(query.prefix.clone().into_bytes());
    'seek: loop {
        let mut rows = statement.query(params![place, end])?;
        while let Some(row) = rows.next()? {
            if page.entries.len() == query.limit {
                page.next = Some(place);
                return Ok(page);
            }
            let key = utf8(0, row.get(0)?)?;
            if let Some(prefix) = query.rolled_up(&key) {
                place = behind_prefix(prefix);
                page.entries.push(Entry::Prefix(prefix.to_owned()));
                // Over all the keys below it at once.
                continue 'seek;
            }
            place = behind_key(&key);
            let (size, etag, modified) = (from_sql(row.get(1)?), row.get(2)?, Millis(row.get(3)?));
            page.entries.push(Entry::Object { key, size, etag, modified });
        }
        return Ok(page);
    }
}

/// The place right behind a key, where the shortest longer one would be.
fn behind_key(key: &str) -> Vec<u8> {
    [key.as_bytes(), &[0]].concat()
}

/// The place behind all keys with this prefix.
fn behind_prefix(prefix: &str) -> Vec<u8> {
    [prefix.as_bytes(), &[0xFF]].concat()
}
