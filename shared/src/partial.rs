//! A file of which only some pieces are in memory: all of them, or those that were read from the bucket.
//!
//! Whoever judges a file reads it through here, so that one judgement serves both. What is not there is an
//! [`Unread`], which says what to read before asking again. This module reads nothing itself, and does not know what
//! the bytes mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// A file of known size, and the pieces of it that were read.
#[derive(Debug)]
pub(crate) struct Partial<'a> {
    size: u64,
    /// By their offsets. They neither overlap nor touch each other.
    pieces: BTreeMap<u64, Cow<'a, [u8]>>,
    /// What [`Partial::insert`] keeps: sorted, without overlaps.
    wanted: Vec<Range<u64>>,
}

/// What must be read before there is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// These ranges; they may overlap, reach behind the end, and hold what was read already.
    Ranges(Vec<Range<u64>>),
    /// The whole file, once, from its beginning.
    Everything,
}

/// Why there is no answer (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop<E> {
    /// Something must be read first.
    Unread(Unread),
    /// The file is refused.
    Refused(E),
}

impl<E> From<Unread> for Stop<E> {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl<'a> Partial<'a> {
    /// A file of which nothing was read yet.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, pieces: BTreeMap::new(), wanted: Vec::new() }
    }

    /// A file that is in memory as a whole. Nothing is copied.
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        let pieces = BTreeMap::from([(0, Cow::Borrowed(bytes))]);
        Self { size: bytes.len() as u64, pieces, wanted: Vec::new() }
    }

    /// How many bytes the file has.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are in memory.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.pieces.values().map(|piece| piece.len() as u64).sum()
    }

    /// The whole file, if it is in memory.
    pub(crate) fn all(&self) -> Option<&[u8]> {
        Some(self.prefix()).filter(|bytes| bytes.len() as u64 == self.size)
    }

    /// What is there of the file from its beginning on.
    pub(crate) fn prefix(&self) -> &[u8] {
        self.pieces.get(&0).map(Cow::as_ref).unwrap_or_default()
    }

    /// The bytes of a range, as far as the file reaches.
    ///
    /// # Errors
    /// [`Unread`], if not all of them were read.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<&[u8], Unread> {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return Ok(&[]);
        }
        self.held(&range).ok_or_else(|| Unread::Ranges(vec![range]))
    }

    /// Several ranges at once, so that they are read at once.
    ///
    /// # Errors
    /// [`Unread`], if not all of their bytes were read.
    pub(crate) fn require(&self, ranges: &[Range<u64>]) -> Result<(), Unread> {
        let is_missing = |range: &&Range<u64>| self.read((*range).clone()).is_err();
        let missing: Vec<_> = ranges.iter().filter(is_missing).cloned().collect();
        if missing.is_empty() { Ok(()) } else { Err(Unread::Ranges(missing)) }
    }

    /// Sets what is kept from now on, and answers it: what is not there of these ranges, sorted and joined.
    pub(crate) fn want(&mut self, ranges: &[Range<u64>]) -> &[Range<u64>] {
        let mut missing: Vec<Range<u64>> = ranges.iter().flat_map(|range| self.missing(range)).collect();
        missing.sort_unstable_by_key(|range| range.start);
        self.wanted.clear();
        for range in missing {
            match self.wanted.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.wanted.push(range),
            }
        }
        &self.wanted
    }

    /// Takes bytes that were read, in pieces of any size and in any order. Only what is wanted is kept, so that
    /// whoever reads more than that, to read less often, fills no memory.
    pub(crate) fn insert(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        let first = self.wanted.partition_point(|range| range.end <= offset);
        let concerned = self.wanted.get(first..).unwrap_or_default();
        let concerned: Vec<_> = concerned.iter().take_while(|range| range.start < end).cloned().collect();
        for range in concerned {
            let (from, to) = (range.start.max(offset), range.end.min(end));
            if let Some(bytes) = slice(bytes, from - offset..to - offset) {
                self.keep(from, bytes, range.end - from);
            }
        }
    }

    /// Drops what lies before an offset. A file that is in memory anyway stays as it is.
    pub(crate) fn forget(&mut self, before: u64) {
        while let Some(entry) = self.pieces.first_entry() {
            let start = *entry.key();
            let Ok(length) = usize::try_from(before.saturating_sub(start)) else { return };
            if length == 0 || matches!(entry.get(), Cow::Borrowed(_)) {
                return;
            }
            let piece = entry.remove();
            if let Some(rest) = piece.get(length..).filter(|rest| !rest.is_empty()) {
                self.pieces.insert(before, Cow::Owned(rest.to_vec()));
                return;
            }
        }
    }

    /// Adds bytes to the piece that they continue, or as a new one, with room for so many in all.
    fn keep(&mut self, offset: u64, bytes: &[u8], room: u64) {
        let touching = |(start, piece): (&u64, &Cow<'_, [u8]>)| {
            Some(*start).filter(|start| start + piece.len() as u64 >= offset)
        };
        let start = self.pieces.range(..=offset).next_back().and_then(touching).unwrap_or(offset);
        let mut piece = match self.pieces.remove(&start) {
            Some(piece) => piece.into_owned(),
            None => Vec::with_capacity(usize::try_from(room).unwrap_or(bytes.len())),
        };
        append(&mut piece, start, offset, bytes);
        while let Some((next, _)) = self.pieces.range(start..=start + piece.len() as u64).next() {
            let next = *next;
            if let Some(following) = self.pieces.remove(&next) {
                append(&mut piece, start, next, &following);
            }
        }
        self.pieces.insert(start, Cow::Owned(piece));
    }

    fn held(&self, range: &Range<u64>) -> Option<&[u8]> {
        let (start, piece) = self.pieces.range(..=range.start).next_back()?;
        slice(piece, range.start - start..range.end - start)
    }

    /// The parts of a range that are in the file and were not read.
    fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let (mut at, end) = (range.start, range.end.min(self.size));
        let mut missing = Vec::new();
        let before = self.pieces.range(..=at).next_back().map_or(at, |(start, _)| *start);
        for (start, piece) in self.pieces.range(before..end.max(before)) {
            if at < *start {
                missing.push(at..*start);
            }
            at = at.max(start + piece.len() as u64);
        }
        if at < end {
            missing.push(at..end);
        }
        missing
    }
}

/// Appends what lies behind the piece's end. It grows by what is needed: doubling would cost what is not there.
fn append(piece: &mut Vec<u8>, start: u64, offset: u64, bytes: &[u8]) {
    let known = (start + piece.len() as u64).saturating_sub(offset);
    if let Some(new) = usize::try_from(known).ok().and_then(|known| bytes.get(known..)) {
        piece.reserve_exact(new.len());
        piece.extend_from_slice(new);
    }
}

fn slice(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_wanted_and_inserted_is_there_and_nothing_else(
            wanted in prop::collection::vec((0..300u64, 0..80u64), 1..8),
            inserted in prop::collection::vec((0..300u64, 0..80u64), 0..30),
            forgotten in 0..300u64,
        ) {
            let bytes: Vec<u8> = (0..=255u8).collect();
            let mut file = Partial::new(256);
            let ranges: Vec<_> = wanted.iter().map(|(start, length)| *start..start + length).collect();
            file.want(&ranges);
            let mut there = [false; 256];
            for (start, length) in inserted {
                let (start, end) = (start.min(256), (start + length).min(256));
                file.insert(start, &bytes[start as usize..end as usize]);
                for at in start..end {
                    there[at as usize] |= ranges.iter().any(|range| range.contains(&at));
                }
            }
            file.forget(forgotten);
            there.iter_mut().take(forgotten as usize).for_each(|byte| *byte = false);
            prop_assert_eq!(file.held_bytes(), there.iter().filter(|byte| **byte).count() as u64);
            for (at, is_there) in there.iter().enumerate() {
                let at = at as u64;
                prop_assert_eq!(file.read(at..at + 1).ok(), is_there.then(|| &bytes[at as usize..=at as usize]));
            }
            for (start, length) in wanted {
                let (start, end) = (start.min(256), (start + length).min(256));
                let all = there[start as usize..end as usize].iter().all(|byte| *byte);
                prop_assert_eq!(file.read(start..end).is_ok(), all);
                let range = start..end;
                let missing: u64 = file.want(&[range]).iter().map(|range| range.end - range.start).sum();
                let expected = there[start as usize..end as usize].iter().filter(|byte| !**byte).count();
                prop_assert_eq!(missing, expected as u64);
            }
        }
    }

    #[test]
    fn a_file_in_memory_lacks_nothing_and_forgets_nothing() {
        let mut file = Partial::whole(b"0123456789");
        file.forget(5);
        assert_eq!(file.read(8..u64::MAX), Ok(b"89".as_slice()));
        assert_eq!((file.read(10..12), file.read(20..30)), (Ok([].as_slice()), Ok([].as_slice())));
        assert_eq!(file.all(), Some(b"0123456789".as_slice()));
        assert_eq!(Partial::new(0).all(), Some([].as_slice()));
    }
}
