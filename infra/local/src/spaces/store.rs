//! The operations of a bucket, each of them one transaction of the index with the files that belong to it.
//!
//! Everything here blocks and is called off the async threads. It speaks of keys, files and parts; XML, headers and
//! checksums in transit are the API's.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use rusqlite::{Connection, TransactionBehavior};
use s3s::crypto::{Checksum as _, Md5};
use ulid::Ulid;

use super::OpenError;
use super::files::{Files, NewFile, Reader, Segment};
use super::index::listing::{self, Page, Query};
use super::index::objects::{self, Object};
use super::index::uploads::{self, Part, Upload};
use super::index::{self, Attributes, Millis};

/// Every part but the last is at least this long. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub(super) const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// The bucket on its folder.
#[derive(Debug)]
pub(super) struct Store {
    index: Mutex<Connection>,
    files: Arc<Files>,
}

/// Why an operation did not happen; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("there is no such object")]
    NoSuchKey,
    #[error("there is no such upload")]
    NoSuchUpload,
    #[error("part {0} has not arrived or has another ETag")]
    InvalidPart(u32),
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {number} has {size} bytes and is not the last")]
    PartTooSmall { number: u32, size: u64 },
    #[error("the object does not meet the condition")]
    PreconditionFailed,
    #[error("the object should have {expected} bytes, its parts have {actual}")]
    WrongObjectSize { expected: u64, actual: u64 },
    #[error("a file of the bucket could not be read or written")]
    Files(#[from] std::io::Error),
    #[error("the index of the bucket failed")]
    Index(#[from] rusqlite::Error),
}

/// What must hold of the object that a write replaces (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Anything,
    Absent,
    /// There is one; with this ETag, if one is given.
    Present(Option<String>),
}

/// A part as `CompleteMultipartUpload` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedPart {
    pub(super) number: u32,
    /// Without quotes.
    pub(super) etag: String,
}

impl Store {
    /// Opens the bucket in `dir` and removes what a crash left behind.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let files = Files::open(dir.join("data"))?;
        let index = index::open(&dir.join("index.sqlite"))?;
        files.remove_all_but(&index::named_files(&index)?)?;
        Ok(Self { index: Mutex::new(index), files })
    }

    pub(super) fn created(&self) -> Result<Millis, StoreError> {
        Ok(index::bucket_created(&self.index())?)
    }

    /// A file for bytes that are still to arrive.
    pub(super) fn new_file(&self) -> Result<NewFile, StoreError> {
        Ok(self.files.create()?)
    }

    pub(super) fn put(
        &self,
        key: &str,
        file: NewFile,
        md5: &str,
        attributes: Attributes,
        condition: &Condition,
    ) -> Result<(), StoreError> {
        file.sync()?;
        let object = Object { size: file.size(), etag: md5.to_owned(), modified: Millis::now(), attributes };
        let segment = Segment { file: file.name().to_owned(), offset: 0, size: file.size() };
        let mut index = self.index();
        let change = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        condition.check(&change, key)?;
        let freed = objects::replace(&change, key, &object, &[segment])?;
        change.commit()?;
        file.keep();
        drop(index);
        self.files.discard(freed);
        Ok(())
    }

    /// The object, and its bytes as they are now, whatever happens to it while they are read.
    pub(super) fn get(&self, key: &str) -> Result<(Object, Reader), StoreError> {
        let index = self.index();
        let (id, object) = objects::find(&index, key)?.ok_or(StoreError::NoSuchKey)?;
        let segments = objects::segments(&index, id)?;
        // Under the lock: once it is released, the files may be removed.
        let reader = self.files.hold(segments);
        Ok((object, reader))
    }

    /// Removes the object if there is one.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<(), StoreError> {
        let mut index = self.index();
        let change = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        condition.check(&change, key)?;
        let freed = objects::remove(&change, key)?;
        change.commit()?;
        drop(index);
        self.files.discard(freed);
        Ok(())
    }

    pub(super) fn list(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(listing::page(&self.index(), query)?)
    }

    pub(super) fn create_upload(&self, key: &str, attributes: &Attributes) -> Result<String, StoreError> {
        let id = Ulid::generate().to_string();
        let upload = Upload { id: id.clone(), key: key.to_owned(), initiated: Millis::now() };
        uploads::create(&self.index(), &upload, attributes)?;
        Ok(id)
    }

    pub(super) fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        Ok(uploads::list(&self.index(), prefix)?)
    }

    pub(super) fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        file: NewFile,
        md5: &str,
    ) -> Result<(), StoreError> {
        file.sync()?;
        let part = Part {
            number,
            file: file.name().to_owned(),
            size: file.size(),
            md5: md5.to_owned(),
            modified: Millis::now(),
        };
        let mut index = self.index();
        let change = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Only now: the upload may have ended while the bytes arrived.
        uploads::find(&change, upload, key)?.ok_or(StoreError::NoSuchUpload)?;
        let freed = uploads::put_part(&change, upload, &part)?;
        change.commit()?;
        file.keep();
        drop(index);
        self.files.discard(freed.into_iter().collect());
        Ok(())
    }

    pub(super) fn parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, StoreError> {
        let index = self.index();
        uploads::find(&index, upload, key)?.ok_or(StoreError::NoSuchUpload)?;
        Ok(uploads::parts(&index, upload)?)
    }

    /// Makes the object out of the listed parts, without copying a byte; answers its ETag.
    pub(super) fn complete(
        &self,
        key: &str,
        upload: &str,
        listed: &[ListedPart],
        expected_size: Option<u64>,
        condition: &Condition,
    ) -> Result<String, StoreError> {
        let mut index = self.index();
        let change = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let attributes = uploads::find(&change, upload, key)?.ok_or(StoreError::NoSuchUpload)?;
        let mut arrived: HashMap<u32, Part> =
            uploads::parts(&change, upload)?.into_iter().map(|part| (part.number, part)).collect();
        let parts = choose(&mut arrived, listed)?;
        let size = parts.iter().map(|part| part.size).sum();
        if let Some(expected) = expected_size.filter(|expected| *expected != size) {
            return Err(StoreError::WrongObjectSize { expected, actual: size });
        }
        condition.check(&change, key)?;

        let object = Object { size, etag: multipart_etag(&parts), modified: Millis::now(), attributes };
        let segments: Vec<_> =
            parts.into_iter().map(|part| Segment { file: part.file, offset: 0, size: part.size }).collect();
        let mut freed = objects::replace(&change, key, &object, &segments)?;
        uploads::remove(&change, upload)?;
        change.commit()?;
        drop(index);
        freed.extend(arrived.into_values().map(|unused| unused.file));
        self.files.discard(freed);
        Ok(object.etag)
    }

    pub(super) fn abort(&self, key: &str, upload: &str) -> Result<(), StoreError> {
        let mut index = self.index();
        let change = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        uploads::find(&change, upload, key)?.ok_or(StoreError::NoSuchUpload)?;
        let freed = uploads::parts(&change, upload)?.into_iter().map(|part| part.file).collect();
        uploads::remove(&change, upload)?;
        change.commit()?;
        drop(index);
        self.files.discard(freed);
        Ok(())
    }

    fn index(&self) -> MutexGuard<'_, Connection> {
        // A panic rolls its transaction back, so the connection is as good as before.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    fn check(&self, index: &Connection, key: &str) -> Result<(), StoreError> {
        if *self == Self::Anything {
            return Ok(());
        }
        let current = objects::find(index, key)?.map(|(_, object)| object.etag);
        match (self, current) {
            (Self::Anything | Self::Present(None), Some(_)) | (Self::Anything | Self::Absent, None) => Ok(()),
            (Self::Present(Some(expected)), Some(etag)) if *expected == etag => Ok(()),
            // S3 tells a writer that what it wants to replace is gone.
            (Self::Present(_), None) => Err(StoreError::NoSuchKey),
            (Self::Absent | Self::Present(Some(_)), Some(_)) => Err(StoreError::PreconditionFailed),
        }
    }
}

/// Takes the listed parts out of those that arrived, or says what is wrong with the list.
fn choose(arrived: &mut HashMap<u32, Part>, listed: &[ListedPart]) -> Result<Vec<Part>, StoreError> {
    if !listed.is_sorted_by(|a, b| a.number < b.number) {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut parts = Vec::with_capacity(listed.len());
    for ListedPart { number, etag } in listed {
        match arrived.remove(number) {
            Some(part) if part.md5 == *etag => parts.push(part),
            _ => return Err(StoreError::InvalidPart(*number)),
        }
    }
    let all_but_last = parts.split_last().map(|(_, rest)| rest).unwrap_or_default();
    match all_but_last.iter().find(|part| part.size < MIN_PART_BYTES) {
        Some(part) => Err(StoreError::PartTooSmall { number: part.number, size: part.size }),
        None => Ok(parts),
    }
}

/// The MD5 of the parts' MD5s, and their number.
fn multipart_etag(parts: &[Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        // We wrote it in hexadecimal ourselves.
        md5.update(&HEXLOWER.decode(part.md5.as_bytes()).unwrap_or_default());
    }
    format!("{}-{}", HEXLOWER.encode(&md5.finalize()), parts.len())
}
