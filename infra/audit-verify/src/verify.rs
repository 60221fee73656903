//! Everything in its order: the log of logs, then each organisation's log with its rows.

use std::collections::{BTreeMap, BTreeSet};

use audit_format::archive::LOGS;
use jiff::{SignedDuration, Timestamp};

use crate::log::{self, Claim, Log, Opened};
use crate::manifests::{self, Manifests};
use crate::pins::Pins;
use crate::source::{Partitions, Source, SourceError};
use crate::{Class, Keys, Report, Verdict, leaves, objects, rows};

/// A log that is older than this must stand in a manifest: one a day, and a day for the first.
const MANIFEST_AGE: SignedDuration = SignedDuration::from_hours(48);

/// What to verify, and against what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The keys that are trusted.
    pub keys: Keys,
    /// What the auditor found good before.
    pub pins: Pins,
    /// Whether a log without a pin is not decidable.
    pub require_pins: bool,
    /// Only these organisations; empty: all that there is any sign of.
    pub orgs: BTreeSet<String>,
    /// Notices (organisation and position) that the auditor knows of, and that count no more.
    pub acknowledged: BTreeSet<(String, u64)>,
    /// The moment for which it is verified.
    pub now: Timestamp,
    /// How long an entry may wait for its leaf.
    pub unsealed_limit: SignedDuration,
    /// How old the newest leaf may be.
    pub stale_limit: SignedDuration,
    /// Whether to hold every ACTIVE record against its object, and both against the log.
    pub objects: bool,
}

impl Options {
    /// The usual limits: an entry waits at most 60 s, a log is silent at most 2 h.
    #[must_use]
    pub fn new(keys: Keys, now: Timestamp) -> Self {
        Self {
            keys,
            pins: Pins::default(),
            require_pins: false,
            orgs: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            now,
            unsealed_limit: SignedDuration::from_secs(60),
            stale_limit: SignedDuration::from_hours(2),
            objects: false,
        }
    }
}

/// Who is told how far it has come.
pub trait Progress: Sync {
    /// Something begins that has so many steps, if that is known.
    fn begin(&self, _what: &str, _steps: Option<u64>) {}
    /// So many steps more are done.
    fn advance(&self, _steps: u64) {}
}

/// Nobody is told.
impl Progress for () {}

/// Verifies. Answers what was found, and the pins as they are afterwards: new ones only if everything is proven.
#[must_use]
pub fn verify(source: &Source, options: &Options, progress: &dyn Progress) -> (Report, Pins) {
    let mut report = Report::default();
    let mut pins = options.pins.clone();
    let mut notes = BTreeMap::new();
    if let Err(error) = all(source, options, progress, &mut report, &mut notes) {
        report.add(Class::Unreadable, "", error.to_string());
    }
    if report.verdict() == Verdict::Proven {
        notes.into_iter().for_each(|(origin, note)| pins.set(origin, note));
    }
    (report, pins)
}

fn all(
    source: &Source,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
    notes: &mut BTreeMap<String, String>,
) -> Result<(), SourceError> {
    // What was, before what is: a log that grows meanwhile must not look smaller than others say it was.
    let manifests = manifests::read(source, options, report, progress, notes)?;
    let partitions = match options.orgs.is_empty() {
        true => Some(source.partitions()?),
        false => None,
    };
    let orgs = orgs(source, options, &manifests, partitions.as_ref())?;
    for origin in options.pins.origins().filter(|origin| options.keys.org_of(origin).is_none()) {
        report.add(
            Class::PartMalformed,
            "",
            format!("the pin of {origin} is of another origin than the keys"),
        );
    }
    let known = source.logs()?;
    for org in &orgs {
        let partitions = partitions.as_ref().map(|all| all.get(org).cloned().unwrap_or_default());
        let in_archive = known.contains(org);
        one(source, org, in_archive, partitions.as_ref(), &manifests, options, report, progress, notes)?;
    }
    Ok(())
}

/// Every organisation that there is any sign of.
fn orgs(
    source: &Source,
    options: &Options,
    manifests: &Manifests,
    partitions: Option<&Partitions>,
) -> Result<BTreeSet<String>, SourceError> {
    let Some(partitions) = partitions else { return Ok(options.orgs.clone()) };
    let mut orgs = source.logs()?;
    orgs.extend(partitions.keys().cloned());
    orgs.extend(manifests.claims.keys().cloned());
    orgs.extend(options.pins.origins().filter_map(|origin| options.keys.org_of(origin)).map(str::to_owned));
    orgs.remove(LOGS);
    Ok(orgs)
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call, and a struct of them would only be taken apart again"
)]
fn one(
    source: &Source,
    org: &str,
    in_archive: bool,
    partitions: Option<&BTreeSet<String>>,
    manifests: &Manifests,
    options: &Options,
    report: &mut Report,
    progress: &dyn Progress,
    notes: &mut BTreeMap<String, String>,
) -> Result<(), SourceError> {
    report.summary(org);
    let Opened { checkpoint, mut claims, refused } = log::open(source, org, options, report)?;
    claims.extend(manifests.claims.get(org).cloned().unwrap_or_default());
    if refused {
        return Ok(());
    }
    let mut log = Log::new(org, options);
    match checkpoint {
        Some((checkpoint, note)) => {
            progress.begin(&format!("{org}: leaves"), Some(checkpoint.size));
            let sizes = log::sizes(&claims);
            let roots = leaves::read(
                source,
                org,
                &checkpoint,
                &sizes,
                report,
                progress,
                &mut |report, seq, hash, said| {
                    log.leaf(report, options, seq, hash, said);
                },
            )?;
            let Some(roots) = roots else { return Ok(()) };
            log::hold(org, checkpoint.size, &roots, &claims, report);
            log.sorted(report);
            log.fresh(&checkpoint, options, report);
            manifests.covers(&log, options, report, MANIFEST_AGE);
            let summary = report.summary(org);
            (summary.leaves, summary.entries) = (checkpoint.size, log.facts.len() as u64);
            notes.insert(options.keys.origin(org), note);
        }
        None if !claims.is_empty() => {
            let Claim { who, size, .. } = &claims[0];
            report.add(Class::LogGone, org, format!("{who} has {size} leaves, and the log is not there"));
        }
        None if in_archive => report.add(Class::PartMissing, org, "the checkpoint is not there"),
        // Nothing is sealed yet: its rows say whether that is too long.
        None => {}
    }
    progress.begin(&format!("{org}: rows"), Some(log.facts.len() as u64));
    rows::check(source, partitions, &mut log, options, report, progress)?;
    let breaks = log.chains.finish();
    log.broken(report, breaks);
    report.summary(org).writers = log.chains.writers();
    if options.objects {
        objects::check(source, &log, options, report, progress)?;
    }
    Ok(())
}
