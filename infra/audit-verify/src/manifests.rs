//! The log of logs: which logs there were on which day, and how far each had come.

use std::collections::BTreeMap;

use audit_format::archive::LOGS;
use audit_format::{LeafHash, Notice};
use data_encoding::BASE64;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tlog_tiles::Hash;

use crate::log::{self, Claim, Log, ManifestClaims, Opened};
use crate::source::{Source, SourceError};
use crate::verify::Progress;
use crate::{Class, Options, Report, leaves};

/// A leaf of the log of logs, as a bundle of one organisation holds it.
#[derive(Serialize, Deserialize)]
pub(crate) struct OwnLeaf {
    pub(crate) seq: u64,
    /// Base64.
    pub(crate) leaf: String,
}

/// What the log of logs says.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) claims: ManifestClaims,
    /// Whether there is such a log.
    there: bool,
}

pub(crate) fn read(
    source: &Source,
    options: &Options,
    report: &mut Report,
    progress: &dyn Progress,
    notes: &mut BTreeMap<String, String>,
) -> Result<Manifests, SourceError> {
    let Opened { checkpoint, claims, refused } = log::open(source, LOGS, options, report)?;
    let Some((checkpoint, note)) = checkpoint else {
        if !refused && !claims.is_empty() {
            report.add(Class::LogGone, LOGS, "it was there, and is not there any more");
        }
        return Ok(Manifests { there: refused, ..Manifests::default() });
    };
    progress.begin("the log of logs", Some(checkpoint.size));
    let mut log = Log::new(LOGS, options);
    let sizes = log::sizes(&claims);
    let roots = match own_leaves(source, report)? {
        Some(own) => {
            let read = leaves::read_tiles(source, &checkpoint, &own, &sizes, report)?;
            read.map(|(roots, notices)| {
                for (seq, notice) in notices {
                    let said = Some(audit_format::Leaf::Notice(Box::new(notice)));
                    log.leaf(report, options, seq, LeafHash::default(), said);
                }
                roots
            })
        }
        None => leaves::read(
            source,
            LOGS,
            &checkpoint,
            &sizes,
            report,
            progress,
            &mut |report, seq, hash, said| {
                log.leaf(report, options, seq, hash, said);
            },
        )?,
    };
    if let Some(roots) = roots {
        log::hold(LOGS, checkpoint.size, &roots, &claims, report);
        log.fresh(&checkpoint, options, report);
        report.summary(LOGS).leaves = checkpoint.size;
        notes.insert(options.keys.origin(LOGS), note);
    }
    let mut manifests = Manifests { there: true, ..Manifests::default() };
    let mut days: BTreeMap<String, Vec<Date>> = BTreeMap::new();
    for (seq, notice) in &log.manifests {
        let Some((claim, day)) = claim(*seq, notice) else {
            report.add(Class::LeafMalformed, LOGS, format!("leaf {seq} is no manifest"));
            continue;
        };
        manifests.claims.entry(notice.org.clone()).or_default().push(claim);
        days.entry(notice.org.clone()).or_default().push(day);
    }
    days.iter().for_each(|(org, days)| gaps(org, days, report));
    Ok(manifests)
}

fn own_leaves(source: &Source, report: &mut Report) -> Result<Option<BTreeMap<u64, Vec<u8>>>, SourceError> {
    let Some(bytes) = source.own_manifests()? else { return Ok(None) };
    let mut leaves = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let own: Option<OwnLeaf> = serde_json::from_slice(line).ok();
        let leaf = own.and_then(|own| Some((own.seq, BASE64.decode(own.leaf.as_bytes()).ok()?)));
        match leaf {
            Some((seq, leaf)) => drop(leaves.insert(seq, leaf)),
            None => report.add(Class::PartMalformed, LOGS, "a line of manifests.ndjson is no leaf"),
        }
    }
    Ok(Some(leaves))
}

fn claim(seq: u64, notice: &Notice) -> Option<(Claim, Date)> {
    let root = BASE64.decode(notice.root.as_ref()?.as_bytes()).ok()?;
    let day = notice.day.as_ref()?;
    let who = format!("the manifest of {day} (leaf {seq} of {LOGS})");
    Some((Claim { size: notice.size?, root: Hash(root.try_into().ok()?), who }, day.parse().ok()?))
}

fn gaps(org: &str, days: &[Date], report: &mut Report) {
    for pair in days.windows(2) {
        if pair[0].tomorrow().is_ok_and(|next| pair[1] > next) {
            report.add(Class::ManifestGap, org, format!("no manifest between {} and {}", pair[0], pair[1]));
        }
    }
}

impl Manifests {
    /// A log of some age stands in the log of logs; without that, nobody would see it go.
    pub(crate) fn covers(&self, log: &Log, options: &Options, report: &mut Report, age: SignedDuration) {
        let oldest = log.oldest.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if oldest.is_none_or(|oldest| options.now.duration_since(oldest) <= age) {
            return;
        }
        if !self.there {
            report.add(
                Class::PartMissing,
                LOGS,
                format!("there is no log of logs, and {} is older", log.org),
            );
        } else if !self.claims.contains_key(&log.org) {
            report.add(Class::ManifestGap, &log.org, "no manifest names this log");
        }
    }
}
