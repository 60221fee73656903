//! The proof of a file that is not in memory: it says what it wants to have read, and is asked again.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::evidence::Evidence;
use super::{ContentError, mismatch, prove_kind, signature};
use crate::catalog::Kind;
use crate::partial::{Stop, Unread};
use crate::zip_rules::ZipCheck;

/// How often ranges are asked for. A ZIP of 10,000 entries takes 22 to 42 rounds, everything else fewer than 32.
const MAX_ROUNDS: u32 = 128;
/// How many bytes of a file are held at once: a ZIP's largest directory, and what is asked for beside it.
const MAX_HELD_BYTES: u64 = 12 << 20;

/// The proof that a file is of one kind, without having it in memory.
///
/// - It ends: every round makes progress, and there are at most 128 of them.
/// - It holds at most 12 MiB of the file, and about as much again for the names of a ZIP's largest directory.
/// - Its verdict is that of [`super::prove`] on the whole file with the same kind. Only the words in which a refusal
///   names the content may differ, where the content's beginning is text and the rest is not.
///
/// What it cost so far is lost when it is dropped, except what [`PartialProof::checked`] says.
#[derive(Debug)]
pub struct PartialProof {
    kind: &'static Kind,
    evidence: Evidence<'static>,
    rounds: u32,
}

/// What a proof needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the file is of the kind.
    Proved,
    /// These ranges, which are sorted and apart from each other: see [`PartialProof::insert`].
    Fetch(Vec<Range<u64>>),
    /// All bytes from here to the end, in order: see [`PartialProof::stream`]. It is 0 unless some were handed in.
    Stream {
        /// The first byte that is wanted.
        from: u64,
    },
}

impl PartialProof {
    /// The proof that a file of this size is of this kind, which [`super::expect`] gave.
    #[must_use]
    pub fn new(kind: &'static Kind, size_bytes: u64) -> Self {
        Self { kind, evidence: Evidence::new(size_bytes), rounds: 0 }
    }

    /// Goes on where an earlier proof of the same file stopped. The number must be its own: it is believed.
    #[must_use]
    pub fn resume(mut self, checked: u64) -> Self {
        self.evidence.zip = ZipCheck::resume(checked);
        self
    }

    /// How many of a ZIP's entries were checked. It only grows; it stays 0 for what is no ZIP.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.evidence.zip.agreeing()
    }

    /// Judges what is there.
    ///
    /// # Errors
    /// [`ContentError`], if the file is refused. That is final.
    pub fn step(&mut self) -> Result<Step, ContentError> {
        if self.evidence.file.size() == 0 {
            return Err(ContentError::Empty);
        }
        match self.judge() {
            Ok(()) => Ok(Step::Proved),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Unread(Unread::Everything)) => {
                Ok(Step::Stream { from: self.evidence.streamed_bytes() })
            }
            Err(Stop::Unread(Unread::Ranges(ranges))) => {
                let file = &mut self.evidence.file;
                let held_bytes = file.held_bytes();
                let wanted = file.want(&ranges);
                let wanted_bytes: u64 = wanted.iter().map(|range| range.end - range.start).sum();
                self.rounds += 1;
                if self.rounds > MAX_ROUNDS || held_bytes + wanted_bytes > MAX_HELD_BYTES {
                    return Err(ContentError::Uncheckable);
                }
                Ok(Step::Fetch(wanted.to_vec()))
            }
        }
    }

    /// Takes what was read for [`Step::Fetch`]: in pieces of any size, in any order, and more than was asked for if
    /// that takes fewer reads. What was not asked for is not kept.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) {
        self.evidence.file.insert(offset, bytes);
    }

    /// Takes what was read for [`Step::Stream`]: the next bytes, in pieces of any size.
    pub fn stream(&mut self, bytes: &[u8]) {
        self.evidence.stream(bytes);
    }

    fn judge(&mut self) -> Result<(), Stop<ContentError>> {
        if prove_kind(self.kind, &mut self.evidence)? {
            return Ok(());
        }
        // To name it, the beginning is needed in any case.
        self.evidence.head()?;
        Err(Stop::Refused(mismatch(self.kind, signature::describe(&self.evidence)?)))
    }
}
