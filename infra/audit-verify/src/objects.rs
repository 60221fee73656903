//! Every ACTIVE record is held against its object, and both against the newest entry that says what was stored.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::log::Log;
use crate::source::{Record, Source, SourceError};
use crate::verify::Progress;
use crate::{Class, Options, Report};

pub(crate) fn check(
    source: &Source,
    log: &Log,
    options: &Options,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    let org = log.org.as_str();
    let Source::Live(live) = source else {
        return Err(SourceError::new("the files", "a bundle has none"));
    };
    progress.begin(&format!("{org}: objects"), None);
    let since = options.now.checked_sub(options.unsealed_limit).unwrap_or(options.now);
    let mut seen = 0;
    live.records(org, &mut |record| {
        seen += 1;
        progress.advance(1);
        if let Some((class, detail)) = wrong(live, log, &record, since)?
            // Somebody may have deleted or replaced it since the page was read.
            && live.record(&record.path)?.as_ref() == Some(&record)
        {
            report.add(class, org, format!("{}: {detail}", record.path));
        }
        Ok(())
    })?;
    report.summary(org).objects = seen;
    Ok(())
}

fn wrong(
    live: &crate::Live,
    log: &Log,
    record: &Record,
    since: Timestamp,
) -> Result<Option<(Class, &'static str)>, SourceError> {
    let logged = log.uploads.as_ref().and_then(|uploads| uploads.get(&record.path));
    let Some((_, logged)) = logged else {
        // Its entry may have come after the rows were read.
        let is_new = record.created_at.is_some_and(|at| at >= since);
        return Ok((!is_new).then_some((Class::RecordUnlogged, "the log does not say that it was stored")));
    };
    if logged.is_some() && record.sha256 != *logged {
        return Ok(Some((Class::RecordAltered, "the record has another hash than the log")));
    }
    let mut hash = Sha256::new();
    if !live.object(&record.path, &mut |bytes| hash.update(bytes))? {
        return Ok(Some((Class::ObjectMissing, "there is no object")));
    }
    let expected = logged.as_ref().or(record.sha256.as_ref());
    let found = HEXLOWER.encode(&hash.finalize());
    Ok(expected
        .is_some_and(|expected| *expected != found)
        .then_some((Class::ObjectAltered, "the object has other content than was logged")))
}
