//! One log: its checkpoint, what others say about it, and what its leaves say.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use audit_format::archive::{LOGS, checkpoint_path, kept_checkpoint_path};
use audit_format::{Action, Leaf, LeafHash, LogRow, Notice, NoticeKind};
use jiff::{SignedDuration, Timestamp};
use tlog_tiles::Hash;

use crate::chain::{Break, Chains, Link};
pub(crate) use crate::keys::Checkpoint;
use crate::leaves::{Roots, Said};
use crate::source::{Source, SourceError};
use crate::{Class, Finding, Options, Report};

/// How far clocks may be apart before a time proves anything.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

/// An entry that has a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fact {
    pub(crate) id: u128,
    pub(crate) seq: u64,
    pub(crate) hash: LeafHash,
    pub(crate) has_row: bool,
}

/// That a log once had a root at a size.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) who: String,
}

/// What the leaves of a log say.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) org: String,
    /// Sorted by id once all are there.
    pub(crate) facts: Vec<Fact>,
    pub(crate) chains: Chains,
    /// Rows that a notice calls malformed: partition, sort key, digest.
    pub(crate) malformed: HashSet<(String, String, String)>,
    /// Rows whose removal the auditor has acknowledged.
    pub(crate) removed: HashSet<String>,
    /// Every row of an earlier time has its leaf, ms since 1970.
    pub(crate) complete_to: i64,
    pub(crate) oldest: Option<i64>,
    pub(crate) newest: Option<i64>,
    pub(crate) manifests: Vec<(u64, Notice)>,
    /// The hash of each file's content, as its newest upload has it; kept only if objects are asked for.
    pub(crate) uploads: Option<HashMap<String, (u128, Option<String>)>>,
    late: Option<Late>,
}

/// Leaves that may be older than what was declared complete.
#[derive(Debug)]
struct Late {
    from: i64,
    to: i64,
    left: u64,
}

impl Log {
    pub(crate) fn new(org: &str, options: &Options) -> Self {
        let uploads = options.objects.then(HashMap::new);
        Self { org: org.to_owned(), complete_to: i64::MIN, uploads, ..Self::default() }
    }

    /// Takes the next leaf.
    pub(crate) fn leaf(
        &mut self,
        report: &mut Report,
        options: &Options,
        seq: u64,
        hash: LeafHash,
        said: Said,
    ) {
        match said {
            None => self.report(report, Class::LeafMalformed, seq, "it is neither an entry nor a notice"),
            Some(Leaf::Entry(row)) => self.entry(report, options, seq, hash, *row),
            Some(Leaf::Notice(notice)) => self.notice(report, options, seq, *notice),
        }
    }

    fn entry(&mut self, report: &mut Report, options: &Options, seq: u64, hash: LeafHash, row: LogRow) {
        let about = |class, detail: String| Finding {
            class,
            log: self.org.clone(),
            seq: Some(seq),
            entry: Some(row.body.id.clone()),
            detail,
        };
        if row.body.org != self.org {
            report.push(about(Class::ForeignEntry, format!("it is an entry of {}", row.body.org)));
        }
        let at = row.at.as_millisecond();
        if at < self.complete_to && !self.late.as_mut().is_some_and(|late| late.takes(at)) {
            let what = "the log was declared complete for its time before it came";
            // A clock of the service that was wrong makes the same: somebody has to look, and may then say so.
            let class = match options.acknowledged.contains(&(self.org.clone(), seq)) {
                true => Class::Acknowledged,
                false => Class::EntryBackdated,
            };
            report.push(about(class, what.to_owned()));
        }
        self.heard(at, options.now);
        self.facts.push(Fact { id: row.id.0, seq, hash, has_row: false });
        self.upload(&row);
        let breaks = self.chains.add(Link::of(row.body, hash, true));
        self.broken(report, breaks);
    }

    /// Notes what was stored; other entries say nothing of it.
    pub(crate) fn upload(&mut self, row: &LogRow) {
        let Some(uploads) = &mut self.uploads else { return };
        let hash = row.body.details.sha256.clone();
        let stored = match row.body.action {
            Action::Upload | Action::Edit | Action::Quarantine => true,
            // Maintenance computed the hash of what a client had uploaded by itself.
            Action::Verify => hash.is_some(),
            _ => false,
        };
        if let (true, None, Some(path)) = (stored, &row.body.error, row.body.file_path()) {
            let newest = uploads.entry(path).or_insert((row.id.0, hash.clone()));
            if newest.0 < row.id.0 {
                *newest = (row.id.0, hash);
            }
        }
    }

    fn notice(&mut self, report: &mut Report, options: &Options, seq: u64, notice: Notice) {
        let is_manifest = notice.kind == NoticeKind::Manifest;
        if is_manifest != (self.org == LOGS && notice.org != LOGS) || (!is_manifest && notice.org != self.org)
        {
            let what = format!("it is a notice about {}", notice.org);
            self.report(report, Class::ForeignEntry, seq, &what);
            return;
        }
        self.heard(notice.t, options.now);
        let row = notice.id.clone().unwrap_or_default();
        let seen = |class| match options.acknowledged.contains(&(self.org.clone(), seq)) {
            true => Class::Acknowledged,
            false => class,
        };
        match notice.kind {
            NoticeKind::Heartbeat => {
                self.complete_to = self.complete_to.max(notice.complete_to.unwrap_or(i64::MIN));
                self.late = None;
            }
            NoticeKind::Late => {
                let (from, to) = (notice.from.unwrap_or(i64::MAX), notice.to.unwrap_or(i64::MIN));
                self.late = Some(Late { from, to, left: notice.count.unwrap_or_default() });
                let what =
                    format!("the sealer had not heard of {} entries", notice.count.unwrap_or_default());
                self.report(report, Class::Late, seq, &what);
            }
            NoticeKind::Malformed => {
                let partition = notice.partition.unwrap_or_default();
                self.malformed.insert((partition, row, notice.row.unwrap_or_default()));
            }
            NoticeKind::Modified => {
                self.report(
                    report,
                    seen(Class::RowModified),
                    seq,
                    &format!("the sealer saw row {row} change"),
                );
            }
            NoticeKind::Removed => {
                let class = seen(Class::RowRemoved);
                self.report(report, class, seq, &format!("the sealer saw row {row} go"));
                if class == Class::Acknowledged {
                    self.removed.insert(row);
                }
            }
            NoticeKind::Manifest => self.manifests.push((seq, notice)),
        }
    }

    fn heard(&mut self, at: i64, now: Timestamp) {
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        // A time that has not come yet says nothing of when the log was alive.
        if now.checked_add(CLOCK_TOLERANCE).is_ok_and(|latest| at <= latest.as_millisecond()) {
            self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        }
    }

    /// When all leaves are there: sorts them, and looks for one that stands twice.
    pub(crate) fn sorted(&mut self, report: &mut Report) {
        self.facts.sort_unstable();
        let twice = self.facts.windows(2).filter(|pair| pair[0].id == pair[1].id);
        let twice: Vec<_> = twice.map(|pair| pair[1]).collect();
        for fact in twice {
            let entry = Some(ulid::Ulid(fact.id).to_string());
            let detail = "the entry is sealed twice".to_owned();
            let log = self.org.clone();
            report.push(Finding { class: Class::LeafRepeated, log, seq: Some(fact.seq), entry, detail });
        }
    }

    pub(crate) fn broken(&self, report: &mut Report, breaks: Vec<Break>) {
        for (class, entry, detail) in breaks {
            report.push(Finding { class, log: self.org.clone(), seq: None, entry: Some(entry), detail });
        }
    }

    fn report(&self, report: &mut Report, class: Class, seq: u64, detail: &str) {
        let (log, detail) = (self.org.clone(), detail.to_owned());
        report.push(Finding { class, log, seq: Some(seq), entry: None, detail });
    }

    /// Whether the log has been heard of lately, and was signed by a key of its time.
    pub(crate) fn fresh(&self, checkpoint: &Checkpoint, options: &Options, report: &mut Report) {
        let Some(newest) = self.newest.and_then(|ms| Timestamp::from_millisecond(ms).ok()) else { return };
        if options.now.duration_since(newest) > options.stale_limit {
            report.add(Class::LogStale, &self.org, format!("the newest leaf is of {newest}"));
        }
        if checkpoint.key_until.is_some_and(|until| newest.duration_since(until) > CLOCK_TOLERANCE) {
            let what = format!("the checkpoint has leaves of {newest}, when its key was no longer in use");
            report.add(Class::KeyRetired, &self.org, what);
        }
    }
}

impl Late {
    fn takes(&mut self, at: i64) -> bool {
        let takes = self.left > 0 && (self.from..=self.to).contains(&at);
        self.left -= u64::from(takes);
        takes
    }
}

/// The newest checkpoint of a log, and what the archive and the pins claim about it.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) checkpoint: Option<(Checkpoint, String)>,
    pub(crate) claims: Vec<Claim>,
    /// Whether the checkpoint is there but cannot be gone by: the report says why.
    pub(crate) refused: bool,
}

pub(crate) fn open(
    source: &Source,
    org: &str,
    options: &Options,
    report: &mut Report,
) -> Result<Opened, SourceError> {
    let mut opened = Opened::default();
    let origin = options.keys.origin(org);
    match options.pins.get(&origin) {
        Some(pin) => match options.keys.open(org, pin.as_bytes()) {
            Ok(pin) => {
                opened.claims.push(Claim { size: pin.size, root: pin.root, who: "the pin".to_owned() })
            }
            Err(refused) => {
                // The auditor's own file: whatever is wrong with it says nothing about the log.
                let class =
                    if refused.class == Class::KeyUnknown { Class::KeyUnknown } else { Class::PartMalformed };
                report.add(class, org, format!("the pin: {}", refused.why));
            }
        },
        None if options.require_pins => report.add(Class::PinRequired, org, "there is no pin"),
        None => report.add(Class::NotPinned, org, "without a pin, rollback and fork cannot be seen"),
    }
    // The kept ones first: a log that grows meanwhile must not look smaller than they are.
    for name in source.kept(org)? {
        let path = format!("{org}/checkpoints/{name}");
        let note = source.part(&path)?.unwrap_or_default();
        match options.keys.open(org, &note) {
            Ok(kept) if kept_checkpoint_path(org, kept.size) == path => {
                opened.claims.push(Claim { size: kept.size, root: kept.root, who: path });
            }
            Ok(_) => report.add(Class::CheckpointMoved, org, format!("{path} has another size")),
            Err(refused) => report.add(refused.class, org, format!("{path}: {}", refused.why)),
        }
    }
    let Some(note) = source.part(&checkpoint_path(org))? else { return Ok(opened) };
    match options.keys.open(org, &note) {
        Ok(checkpoint) => {
            opened.checkpoint = Some((checkpoint, String::from_utf8_lossy(&note).into_owned()));
        }
        Err(refused) => {
            report.add(refused.class, org, refused.why);
            opened.refused = true;
        }
    }
    Ok(opened)
}

/// Holds what was claimed about a log against the roots that its leaves give.
pub(crate) fn hold(org: &str, size: u64, roots: &Roots, claims: &[Claim], report: &mut Report) {
    for Claim { size: claimed, root, who } in claims {
        if *claimed > size {
            report.add(Class::Rollback, org, format!("{who} has {claimed} leaves, the log {size}"));
        } else if roots.proven && roots.at.get(claimed) != Some(root) {
            report.add(Class::Fork, org, format!("{who} has another root at size {claimed}"));
        }
    }
}

/// The sizes at which a root is needed.
pub(crate) fn sizes(claims: &[Claim]) -> Vec<u64> {
    claims.iter().map(|claim| claim.size).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Claims of the manifests, by organisation.
pub(crate) type ManifestClaims = BTreeMap<String, Vec<Claim>>;
