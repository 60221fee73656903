//! The rows of the table, each held against its leaf.

use std::collections::BTreeSet;

use audit_format::{Attributes, LogRow, Value, digest, kept_until, leaf_hash};
use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::chain::Link;
use crate::log::{Fact, Log};
use crate::pipeline::pipeline;
use crate::source::{Source, SourceError};
use crate::{Class, Finding, Options, Progress, Report};

/// Holds every row of an organisation against its leaf, and every leaf against its row.
pub(crate) fn check(
    source: &Source,
    partitions: Option<&BTreeSet<String>>,
    log: &mut Log,
    options: &Options,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    let org = log.org.clone();
    let mut rows = Rows { log, options, report, seen: 0, waiting: 0 };
    pipeline(
        |send| {
            source.rows(&org, partitions, &mut |page| {
                send(page);
            })
        },
        |page| {
            progress.advance(page.len() as u64);
            page.into_iter().for_each(|row| rows.row(row));
        },
    )?;
    let (seen, waiting) = (rows.seen, rows.waiting);
    if waiting > 0 {
        report.add(Class::EntriesWaiting, &org, format!("{waiting} rows wait for their leaf"));
    }
    let expired = rows_of_leaves(log, options, report);
    let summary = report.summary(&org);
    (summary.rows, summary.waiting, summary.expired) = (seen, waiting, expired);
    Ok(())
}

struct Rows<'a> {
    log: &'a mut Log,
    options: &'a Options,
    report: &'a mut Report,
    seen: u64,
    waiting: u64,
}

impl Rows<'_> {
    fn row(&mut self, found: Option<Attributes>) {
        self.seen += 1;
        let Some(found) = found else {
            self.report.add(
                Class::PartMalformed,
                &self.log.org,
                format!("line {} of the table is no row", self.seen),
            );
            return;
        };
        let row = match found.get("b") {
            Some(Value::B(bytes)) => LogRow::of(bytes).ok(),
            _ => None,
        };
        match row {
            Some(row) if row.differs(&found).is_none() && row.body.org == self.log.org => {
                self.well_formed(row)
            }
            row => self.strange(row, &found),
        }
    }

    /// A row that is an entry's, whole and in its place.
    fn well_formed(&mut self, row: LogRow) {
        if let Some(fact) = self.fact(row.id.0) {
            fact.has_row = true;
            if fact.hash != row.hash {
                let seq = Some(fact.seq);
                let detail = "bytes, hash and keys are not those that were sealed";
                self.report(Class::BodyAndHashAltered, seq, &row.body.id, detail);
            }
            return;
        }
        let settled = self.is_old(row.at);
        self.log.upload(&row);
        self.unsealed(row.at, &row.body.id);
        let breaks = self.log.chains.add(Link::of(row.body, row.hash, settled));
        self.log.broken(self.report, breaks);
    }

    /// A row that is not what its bytes say.
    fn strange(&mut self, row: Option<LogRow>, found: &Attributes) {
        let text = |name: &str| match found.get(name) {
            Some(Value::S(text)) => text.as_str(),
            _ => "",
        };
        let (partition, key) = (text("pk"), text("sk"));
        let id = Ulid::from_string(key).ok().filter(|id| id.to_string() == key);
        if let Some(fact) = id.and_then(|id| self.fact(id.0)) {
            fact.has_row = true;
            let fact = *fact;
            let (class, detail) = self.altered(&fact, row.as_ref(), found);
            self.report(class, Some(fact.seq), key, &detail);
            return;
        }
        let original = row.as_ref().and_then(|row| self.fact(row.id.0).filter(|fact| fact.hash == row.hash));
        if let Some(seq) = original.map(|fact| fact.seq) {
            self.report(Class::EntryCopied, Some(seq), key, "it holds the bytes of another entry");
            return;
        }
        // Bytes of an entry that no writer ever stored so: not a stranger's row, but one made to look like ours.
        if let Some(name) = row
            .filter(|row| row.body.org == self.log.org)
            .and_then(|row| row.differs(found).map(str::to_owned))
        {
            let detail = format!("it was never sealed, and attribute {name} does not follow from its bytes");
            self.report(class_of(&name), None, key, &detail);
            return;
        }
        if self.log.malformed.contains(&(partition.to_owned(), key.to_owned(), digest(found))) {
            self.report(Class::MalformedRow, None, key, "it is no entry, and the log says so");
            return;
        }
        match id.and_then(|id| Timestamp::from_millisecond(i64::try_from(id.timestamp_ms()).ok()?).ok()) {
            Some(at) => self.unsealed(at, key),
            None => {
                self.report(Class::EntryUnsealed, None, key, "it is no entry, and the log does not say so")
            }
        }
    }

    /// What was done to a row that has a leaf.
    fn altered(&mut self, fact: &Fact, row: Option<&LogRow>, found: &Attributes) -> (Class, String) {
        let bytes = match found.get("b") {
            Some(Value::B(bytes)) => bytes.as_slice(),
            _ => &[],
        };
        let hash = leaf_hash(bytes);
        if hash != fact.hash {
            if row.is_some_and(|row| row.id.0 != fact.id && self.fact(row.id.0).is_some()) {
                return (Class::RowsSwapped, "it holds the bytes of another entry".to_owned());
            }
            return match found.get("h") == Some(&Value::B(hash.to_vec())) {
                true => {
                    (Class::BodyAndHashAltered, "bytes and hash are not those that were sealed".to_owned())
                }
                false => (Class::BodyAltered, "the bytes are not those that were sealed".to_owned()),
            };
        }
        let name = row.and_then(|row| row.differs(found)).unwrap_or("pk");
        (class_of(name), format!("attribute {name} does not follow from its bytes"))
    }

    /// A row without a leaf.
    fn unsealed(&mut self, at: Timestamp, id: &str) {
        if at.as_millisecond() < self.log.complete_to {
            let detail = "it has no leaf, and the log was declared complete for its time";
            self.report(Class::EntryInserted, None, id, detail);
        } else if self.is_old(at) {
            self.report(Class::EntryUnsealed, None, id, "it has no leaf yet");
        } else {
            self.waiting += 1;
        }
    }

    fn is_old(&self, at: Timestamp) -> bool {
        self.options.now.duration_since(at) > self.options.unsealed_limit
    }

    fn fact(&mut self, id: u128) -> Option<&mut Fact> {
        let at = self.log.facts.binary_search_by_key(&id, |fact| fact.id).ok()?;
        self.log.facts.get_mut(at)
    }

    fn report(&mut self, class: Class, seq: Option<u64>, entry: &str, detail: &str) {
        let (log, entry, detail) = (self.log.org.clone(), Some(entry.to_owned()), detail.to_owned());
        self.report.push(Finding { class, log, seq, entry, detail });
    }
}

/// What it means that an attribute does not follow from a row's bytes.
fn class_of(attribute: &str) -> Class {
    match attribute {
        "h" => Class::HashAltered,
        "ga" | "gf" | "go" | "gu" => Class::IndexAltered,
        "ttl" => Class::TtlAltered,
        "pk" | "sk" => Class::RowMoved,
        _ => Class::AttributeAdded,
    }
}

/// Every leaf has its row until its time is over. Answers how many had none and needed none.
fn rows_of_leaves(log: &Log, options: &Options, report: &mut Report) -> u64 {
    let mut expired = 0;
    let young = options.now - SignedDuration::from_hours(24 * 365);
    for fact in log.facts.iter().filter(|fact| !fact.has_row) {
        let id = Ulid(fact.id);
        let at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        // The calendar is asked only if it can matter.
        if at.is_some_and(|at| at < young && kept_until(at) <= options.now)
            || log.removed.contains(&id.to_string())
        {
            expired += 1;
            continue;
        }
        let (log, entry) = (log.org.clone(), Some(id.to_string()));
        let detail = "it was sealed, and has no row".to_owned();
        report.push(Finding { class: Class::EntryRemoved, log, seq: Some(fact.seq), entry, detail });
    }
    expired
}
