//! What a run found: for a person, and for a program.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::problem::Problem;

/// Examples that are kept of each kind.
const EXAMPLES: usize = 10;

/// What is found. Unless the run is dry, it was also seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A reservation whose time was over: undone.
    ExpiredUpload,
    /// A reservation that was given up and whose object may still have been there: closed.
    UnfinishedUndo,
    /// A hard delete that did not get to its end: finished.
    UnfinishedDelete,
    /// An object that nobody told of for thirty days: deleted.
    QuarantineOver,
    /// An export of the log whose day was over: deleted.
    ExportExpired,
    /// A multipart upload that belongs to nothing: aborted.
    StaleUpload,
    /// A file whose hash has still to be checked: only in a dry run, which does not read it.
    Unverified,
    /// A file that is what it should be.
    Verified,
    /// A file that is not: marked, so that no URL is signed for it.
    Damaged,
    /// A record without its object: marked likewise.
    ObjectMissing,
    /// An object without a record: quarantined.
    Unrecorded,
    /// Something that could not be seen to: the next run tries again.
    Failed,
}

impl Kind {
    /// What a person reads.
    fn text(self) -> &'static str {
        match self {
            Self::ExpiredUpload => "× upload not finished in time",
            Self::UnfinishedUndo => "× failed upload not cleared away",
            Self::UnfinishedDelete => "× hard delete not finished",
            Self::QuarantineOver => "× object in quarantine for thirty days",
            Self::ExportExpired => "× export of the log older than a day",
            Self::StaleUpload => "× multipart upload that belongs to nothing",
            Self::Unverified => "× file whose SHA-256 is to be checked",
            Self::Verified => "× file checked, as it should be",
            Self::Damaged => "× file DAMAGED: no link is made any more",
            Self::ObjectMissing => "× file MISSING in the bucket: no link is made any more",
            Self::Unrecorded => "× object that nobody recorded: to be kept for thirty days",
            Self::Failed => "× could not be seen to",
        }
    }
}

/// How often something was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How often.
    pub count: u64,
    /// The first keys; of what failed also the cause.
    pub examples: Vec<String>,
}

/// What a run came to. It names keys, and with them file names: it is for the operator and not for a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `request_id` of the run's entries.
    pub run_id: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whether everything was looked at. If not, the next run goes on.
    pub complete: bool,
    /// What was found.
    pub found: BTreeMap<Kind, Finding>,
    /// Why it is not complete.
    pub stopped_by: Vec<String>,
}

impl Report {
    pub(super) fn new(run_id: String, dry_run: bool) -> Self {
        Self { run_id, dry_run, complete: true, found: BTreeMap::new(), stopped_by: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, key: &str) {
        let finding = self.found.entry(kind).or_default();
        finding.count += 1;
        if finding.examples.len() < EXAMPLES {
            finding.examples.push(key.to_owned());
        }
    }

    pub(super) fn stopped(&mut self, problem: &Problem) {
        self.complete = false;
        let cause = problem.reason().unwrap_or_else(|| problem.detail());
        if !self.stopped_by.contains(&cause) {
            self.stopped_by.push(cause);
        }
    }

    /// How often something was found.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.found.get(&kind).map_or(0, |finding| finding.count)
    }

    /// Only how often each kind was found: no keys, for logs.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        self.found.iter().map(|(kind, finding)| (*kind, finding.count)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}",
            match (self.found.is_empty(), self.dry_run) {
                (true, _) => "Nothing to do. (What is younger than a day is not compared.)",
                (false, true) => "Found, and left as it is:",
                (false, false) => "Found, and seen to:",
            }
        )?;
        for (kind, Finding { count, examples }) in &self.found {
            writeln!(f, "{count:>8} {}", kind.text())?;
            for key in examples {
                // Whoever stores a key chooses what is in it.
                writeln!(f, "            {}", key.escape_debug())?;
            }
            let more = count.saturating_sub(examples.len() as u64);
            if more > 0 {
                writeln!(f, "            and {more} more")?;
            }
        }
        for cause in &self.stopped_by {
            writeln!(f, "Not complete, the next run goes on: {cause}")?;
        }
        Ok(())
    }
}
