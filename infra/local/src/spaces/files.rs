//! The bytes: one file for each object or part, under a name that is used once and never again.
//!
//! A file is written once, by one writer, then only read, then removed. It cannot be changed, so a reader sees the
//! bytes it began with. Knows nothing of keys: which file belongs to what is the index's business.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use ulid::Ulid;

/// A stretch of bytes in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The file's name in the folder.
    pub(super) file: String,
    /// Where the stretch begins, in bytes.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// The folder with all files.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    held: Mutex<HashMap<String, Held>>,
}

/// What is known of a file that someone reads.
#[derive(Debug, Default)]
struct Held {
    readers: usize,
    /// Nobody names the file any more: the last reader removes it.
    discarded: bool,
}

impl Files {
    pub(super) fn open(dir: PathBuf) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&dir)?;
        Ok(Arc::new(Self { dir, held: Mutex::default() }))
    }

    /// Removes every file that is not in `named`: uploads and removals that a crash cut short.
    pub(super) fn remove_all_but(&self, named: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let is_named = entry.file_name().to_str().is_some_and(|name| named.contains(name));
            if !is_named && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new, empty file, which is removed again unless it is [kept](NewFile::keep).
    pub(super) fn create(&self) -> io::Result<NewFile> {
        let name = Ulid::generate().to_string();
        let path = self.dir.join(&name);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(NewFile { name, path, file, size: 0, kept: false })
    }

    /// Holds the files of `segments` for reading. Call it under the lock of the index that named them.
    pub(super) fn hold(self: &Arc<Self>, segments: Vec<Segment>) -> Reader {
        let mut held = self.held();
        for segment in &segments {
            held.entry(segment.file.clone()).or_default().readers += 1;
        }
        drop(held);
        let remaining = segments.iter().map(|segment| segment.size).sum();
        Reader { files: Arc::clone(self), segments, next: 0, open: None, remaining }
    }

    /// Removes files that the index no longer names: now, or when their last reader is done.
    pub(super) fn discard(&self, names: Vec<String>) {
        let mut held = self.held();
        let mut unread = names;
        unread.retain(|name| match held.get_mut(name) {
            Some(file) => {
                file.discarded = true;
                false
            }
            None => true,
        });
        // Nobody can find them any more, so nobody need wait while thousands of parts are removed.
        drop(held);
        for name in unread {
            remove(&self.dir.join(name));
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        // A panic cannot leave the counts half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure costs disk space until the next start, and nothing else.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a file of the local bucket could not be removed");
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct NewFile {
    name: String,
    path: PathBuf,
    file: File,
    size: u64,
    kept: bool,
}

impl NewFile {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Puts the bytes on the disk; the index must not name the file before.
    pub(super) fn sync(&self) -> io::Result<()> {
        // An empty file is never opened, so it does not matter whether a power cut takes it.
        if self.size == 0 { Ok(()) } else { self.file.sync_data() }
    }

    /// The index names the file now.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
    }
}

/// Reads segments one after the other. While it lives, none of their files is removed.
#[derive(Debug)]
pub(super) struct Reader {
    files: Arc<Files>,
    segments: Vec<Segment>,
    next: usize,
    open: Option<(File, u64)>,
    remaining: u64,
}

impl Reader {
    /// The largest piece that is read at once, in bytes.
    const PIECE: u64 = 256 * 1024;

    /// Narrows what is read to `size` bytes from `offset`, counted over all segments.
    pub(super) fn narrow(&mut self, offset: u64, size: u64) {
        let (mut skip, mut left) = (offset, size);
        for segment in &mut self.segments {
            let skipped = skip.min(segment.size);
            skip -= skipped;
            segment.offset += skipped;
            segment.size = (segment.size - skipped).min(left);
            left -= segment.size;
        }
        self.remaining = size - left;
    }

    /// The sizes of the segments in bytes: for an object from a multipart upload, those of its parts.
    pub(super) fn segment_sizes(&self) -> impl ExactSizeIterator<Item = u64> {
        self.segments.iter().map(|segment| segment.size)
    }

    /// The next piece; none at the end.
    pub(super) fn read(&mut self) -> io::Result<Option<Bytes>> {
        while self.remaining > 0 {
            let (file, left) = match &mut self.open {
                Some((file, left)) if *left > 0 => (file, left),
                _ => {
                    self.open_next()?;
                    continue;
                }
            };
            let size = Self::PIECE.min(*left);
            let mut piece = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.take(size).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a file is shorter than the index says",
                ));
            }
            *left -= piece.len() as u64;
            self.remaining -= piece.len() as u64;
            return Ok(Some(Bytes::from(piece)));
        }
        Ok(None)
    }

    fn open_next(&mut self) -> io::Result<()> {
        let Some(segment) = self.segments.get(self.next) else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the segments are shorter than their sum",
            ));
        };
        self.next += 1;
        if segment.size > 0 {
            let mut file = File::open(self.files.dir.join(&segment.file))?;
            file.seek(SeekFrom::Start(segment.offset))?;
            self.open = Some((file, segment.size));
        }
        Ok(())
    }
}

impl Drop for Reader {
    /// Removing a file takes microseconds and happens only after an object was replaced while it was read; so it is
    /// done here, even if the reader is dropped on an async thread.
    fn drop(&mut self) {
        let mut held = self.files.held();
        for segment in &self.segments {
            let Some(file) = held.get_mut(&segment.file) else { continue };
            file.readers -= 1;
            if file.readers == 0 {
                let discarded = file.discarded;
                held.remove(&segment.file);
                if discarded {
                    remove(&self.files.dir.join(&segment.file));
                }
            }
        }
    }
}
