//! Writers' chains: each entry names its writer, its place from 0, and the hash of the writer's entry before it.
//!
//! Entries may come in any order. A chain is held against itself as soon as its beginning is known, so that only what came
//! too early is kept.

use std::collections::{BTreeMap, HashMap};

use audit_format::{Body, InDoubt, LeafHash};

use crate::Class;

/// An entry as a link of its writer's chain.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) entry: String,
    pub(crate) writer: String,
    pub(crate) place: u64,
    pub(crate) previous: Option<String>,
    pub(crate) hash: LeafHash,
    pub(crate) replaces: Option<InDoubt>,
    /// Whether every entry that was written before this one must have been seen. Not so for the newest rows of a table
    /// that is written while it is read.
    pub(crate) settled: bool,
}

impl Link {
    pub(crate) fn of(body: Body, hash: LeafHash, settled: bool) -> Self {
        Self {
            entry: body.id,
            writer: body.writer,
            place: body.sequence,
            previous: body.previous,
            hash,
            replaces: body.replaces,
            settled,
        }
    }
}

/// A chain that is not one: the class, the entry where it shows, and what is wrong.
pub(crate) type Break = (Class, String, String);

#[derive(Debug, Default)]
pub(crate) struct Chains {
    writers: HashMap<String, Writer>,
    /// Writers that another one replaced, and the entry that says so.
    doubts: BTreeMap<String, (InDoubt, String)>,
}

#[derive(Debug, Default)]
struct Writer {
    /// The next place, and the last entry.
    next: u64,
    hash: Option<LeafHash>,
    last: String,
    early: BTreeMap<u64, Link>,
}

impl Chains {
    pub(crate) fn writers(&self) -> u64 {
        self.writers.len() as u64
    }

    pub(crate) fn add(&mut self, link: Link) -> Vec<Break> {
        let mut breaks = Vec::new();
        if let Some(doubt) = &link.replaces {
            let known = self.doubts.entry(doubt.writer.clone());
            let (known, _) = known.or_insert_with(|| (doubt.clone(), link.entry.clone()));
            if known != doubt {
                let what = format!("it and another entry disagree on how writer {} ended", doubt.writer);
                breaks.push((Class::ChainBroken, link.entry.clone(), what));
            }
            if link.place != 0 {
                let what = "it is not a writer's first entry, and replaces a writer".to_owned();
                breaks.push((Class::ChainBroken, link.entry.clone(), what));
            }
        }
        // Not by `entry`: it would take a copy of the name for every entry.
        if !self.writers.contains_key(&link.writer) {
            self.writers.insert(link.writer.clone(), Writer::default());
        }
        if let Some(writer) = self.writers.get_mut(&link.writer) {
            writer.add(link, &mut breaks);
        }
        breaks
    }

    /// What shows only when every entry was added.
    pub(crate) fn finish(&self) -> Vec<Break> {
        let gap = |(name, writer): (&String, &Writer)| {
            let behind = writer.early.values().find(|link| link.settled)?;
            let what = format!("place {} of writer {name} is missing before it", writer.next);
            Some((Class::ChainGap, behind.entry.clone(), what))
        };
        let mut breaks: Vec<Break> = self.writers.iter().filter_map(gap).collect();
        breaks.extend(self.doubts.values().filter_map(|(doubt, named_by)| self.ending(doubt, named_by)));
        breaks.sort();
        breaks
    }

    /// A replaced writer ends with its last certain entry, or with the one in doubt behind it.
    fn ending(&self, doubt: &InDoubt, named_by: &str) -> Option<Break> {
        let certain = doubt.sequence.map_or(0, |last| last.saturating_add(1));
        let writer = self.writers.get(&doubt.writer);
        let (length, last) = writer.map_or((0, ""), |writer| (writer.next, writer.last.as_str()));
        if length < certain {
            let what = format!("writer {} ended at place {certain}, and has {length} entries", doubt.writer);
            return Some((Class::ChainGap, named_by.to_owned(), what));
        }
        if length > certain && (length > certain + 1 || last != doubt.id) {
            let what = format!("writer {} was replaced before it", doubt.writer);
            return Some((Class::ChainForked, last.to_owned(), what));
        }
        None
    }
}

impl Writer {
    fn add(&mut self, link: Link, breaks: &mut Vec<Break>) {
        if link.place < self.next || self.early.contains_key(&link.place) {
            let what = format!("place {} of writer {} is taken", link.place, link.writer);
            breaks.push((Class::ChainForked, link.entry, what));
            return;
        }
        if link.place > self.next {
            self.early.insert(link.place, link);
            return;
        }
        self.follow(link, breaks);
        while let Some(link) = self.early.remove(&self.next) {
            self.follow(link, breaks);
        }
    }

    fn follow(&mut self, link: Link, breaks: &mut Vec<Break>) {
        if link.previous != self.hash.as_ref().map(Body::encode_hash) {
            let what = format!("it does not name the entry before it of writer {}", link.writer);
            breaks.push((Class::ChainBroken, link.entry.clone(), what));
        }
        (self.next, self.hash, self.last) = (self.next + 1, Some(link.hash), link.entry);
    }
}
