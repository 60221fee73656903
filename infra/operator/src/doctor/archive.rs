//! The archive of the audit log.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockEnabled};
use shared::clock;
use shared::config::ArchiveConfig;

use super::checks::{ARCHIVE, ARCHIVE_BUCKET, ARCHIVE_PRIVATE, OBJECT_LOCK};
use super::privacy::stranger;
use crate::Stores;
use crate::report::{Finding, Report, Verdict};
use crate::stores::Refusal;
use crate::web::{Answer, Web, address, bucket_address, life};

/// One key for all runs: where nothing may be removed, there is never more than it.
const KEY: &str = "_doctor/archive.txt";
const BYTES: &[u8] = b"Stored by the doctor of the storage service for a moment.\n";

/// What the bucket says of Object Lock.
struct Lock {
    enabled: bool,
    /// Everything that is stored there is retained.
    by_default: bool,
}

pub(super) async fn examine(stores: &Stores, web: &Web, report: &mut Report) {
    let (Some(audit), Some((s3, bucket))) = (&stores.config.audit, &stores.archive) else {
        return report
            .skip_rest(ARCHIVE, "none is configured: AUDIT_ORIGIN is not set, and the log is not sealed");
    };
    let spaces = &stores.config.spaces;
    if bucket == &spaces.bucket && audit.archive.endpoint.as_ref() == Some(&spaces.endpoint) {
        return report.push(Finding::failed(
            &ARCHIVE_BUCKET,
            "AUDIT_ARCHIVE_BUCKET is the bucket of the files",
            "Give the archive a bucket of its own, best in another store: maintenance looks into every object of the files'.",
        ));
    }
    if let Err(error) = s3.head_bucket().bucket(bucket).send().await {
        return report.push(Finding::failed(
            &ARCHIVE_BUCKET,
            format!("the bucket: {}", Refusal::from(error).text),
            "Check AUDIT_ARCHIVE_BUCKET, _ENDPOINT, _REGION and the archive's key; or make it: operator provision --apply",
        ));
    }
    let lock = lock(s3, bucket).await;
    let address = object_address(s3, bucket).await;
    let mut read = None;
    let stranger = async {
        if let Some(address) = &address {
            read = Some(web.send("GET", address, &[], Vec::new()).await);
        }
    };
    report.push(write(s3, bucket, audit.archive.object_lock, &lock, stranger).await);
    report.push(private(address.as_deref(), read, web).await);
    report.push(object_lock(&audit.archive, lock));
}

async fn lock(s3: &Client, bucket: &str) -> Result<Lock, Refusal> {
    match s3.get_object_lock_configuration().bucket(bucket).send().await.map_err(Refusal::from) {
        Ok(answer) => {
            Ok(answer.object_lock_configuration.map_or(Lock { enabled: false, by_default: false }, |it| {
                Lock {
                    enabled: it.object_lock_enabled() == Some(&ObjectLockEnabled::Enabled),
                    by_default: it.rule().is_some_and(|rule| rule.default_retention().is_some()),
                }
            }))
        }
        Err(refusal) if refusal.is_missing() => Ok(Lock { enabled: false, by_default: false }),
        Err(refusal) => Err(refusal),
    }
}

/// Stores an object, reads it and removes it; does something else while it is there.
async fn write(
    s3: &Client,
    bucket: &str,
    with_checksum: bool,
    lock: &Result<Lock, Refusal>,
    meanwhile: impl Future<Output = ()>,
) -> Finding {
    if lock.as_ref().is_ok_and(|lock| lock.by_default) {
        let because = "the bucket retains everything by default, and would retain what is tried out";
        return Finding::skipped(&ARCHIVE_BUCKET, because);
    }
    let remedy = "Give the archive's key the rights s3:PutObject and s3:GetObject.";
    let put = s3.put_object().bucket(bucket).key(KEY).body(ByteStream::from_static(BYTES));
    // As what is locked is stored.
    let put = if with_checksum { put.checksum_algorithm(ChecksumAlgorithm::Sha256) } else { put };
    let version = match put.send().await {
        Ok(put) => put.version_id,
        Err(error) => {
            return Finding::failed(&ARCHIVE_BUCKET, format!("PUT: {}", Refusal::from(error).text), remedy);
        }
    };
    let got = match s3.get_object().bucket(bucket).key(KEY).send().await {
        Ok(got) => {
            got.body.collect().await.map(|bytes| bytes.to_vec()).map_err(|_| "it breaks off".to_owned())
        }
        Err(error) => Err(Refusal::from(error).text),
    };
    meanwhile.await;
    // By its version, so that nothing stays, not even a mark that it was there.
    let removed = s3.delete_object().bucket(bucket).key(KEY).set_version_id(version).send().await;
    match (got, removed) {
        (Ok(bytes), Ok(_)) if bytes == BYTES => Finding::ok(&ARCHIVE_BUCKET, "written, read and removed"),
        (Ok(bytes), Err(error)) if bytes == BYTES => Finding::warning(
            &ARCHIVE_BUCKET,
            format!("written and read; {KEY} stays: {}", Refusal::from(error).text),
            "Nothing: the service never removes from the archive, so its key need not be able to.",
        ),
        (Ok(_), _) => Finding::failed(&ARCHIVE_BUCKET, "other bytes come back than were stored", remedy),
        (Err(text), _) => Finding::failed(&ARCHIVE_BUCKET, format!("GET: {text}"), remedy),
    }
}

/// Where the object would be had by who has no key.
async fn object_address(s3: &Client, bucket: &str) -> Option<String> {
    let life = life(clock::now(), 60).ok()?;
    let signed = s3.get_object().bucket(bucket).key(KEY).presigned(life).await.ok()?;
    Some(address(&signed))
}

/// `read` is what a stranger got who asked for the object while it was there.
async fn private(object: Option<&str>, read: Option<Result<Answer, String>>, web: &Web) -> Finding {
    let remedy = "Remove bucket policies and ACLs that let others in.";
    let Some(object) = object else {
        return Finding::skipped(&ARCHIVE_PRIVATE, "its address is not known");
    };
    if let Some(read) = read {
        if read.as_ref().is_ok_and(Answer::is_success) {
            return Finding::failed(&ARCHIVE_PRIVATE, "an object is given to strangers", remedy);
        }
        let finding = stranger(&ARCHIVE_PRIVATE, read, remedy);
        if finding.verdict == Verdict::Failed {
            return finding;
        }
    }
    let listing = format!("{}/?list-type=2", bucket_address(object, KEY));
    stranger(&ARCHIVE_PRIVATE, web.send("GET", &listing, &[], Vec::new()).await, remedy)
}

fn object_lock(config: &ArchiveConfig, lock: Result<Lock, Refusal>) -> Finding {
    let says = if config.object_lock { "true" } else { "false" };
    match (config.object_lock, lock) {
        (true, Ok(Lock { enabled: true, .. })) => Finding::ok(&OBJECT_LOCK, "it has"),
        (true, Ok(_)) => Finding::failed(
            &OBJECT_LOCK,
            "AUDIT_ARCHIVE_OBJECT_LOCK is true, and the bucket has no Object Lock",
            "operator provision --apply enables it, where the store has it (Spaces do not); else set the variable to false.",
        ),
        (true, Err(refusal)) => Finding::failed(
            &OBJECT_LOCK,
            format!("AUDIT_ARCHIVE_OBJECT_LOCK is true, and the store does not tell: {}", refusal.text),
            "Allow this key s3:GetBucketObjectLockConfiguration; if the store has no Object Lock, set the variable to false.",
        ),
        (false, Ok(Lock { enabled: true, .. })) => Finding::warning(
            &OBJECT_LOCK,
            format!("the bucket has it, but AUDIT_ARCHIVE_OBJECT_LOCK is {says}"),
            "Set AUDIT_ARCHIVE_OBJECT_LOCK=true, so that what is final is locked.",
        ),
        (false, _) => Finding::warning(
            &OBJECT_LOCK,
            "the archive has none",
            "Where sealed logs must withstand the archive's own key, use a bucket with Object Lock (AWS S3).",
        ),
    }
}
