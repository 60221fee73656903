//! The archive's bucket: private, and where so configured with versions and Object Lock.

use aws_sdk_s3::types::{
    BucketCannedAcl, BucketVersioningStatus, ObjectLockConfiguration, ObjectLockEnabled,
    VersioningConfiguration,
};

use super::bucket::add_md5;
use super::{Action, Plan, configured, place};
use crate::Stores;
use crate::stores::Refusal;

#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Create,
    Versions,
    ObjectLock,
}

pub(super) async fn plan(stores: &Stores, plan: &mut Plan) -> Result<(), String> {
    let (Some(audit), Some((s3, bucket))) = (&stores.config.audit, &stores.archive) else { return Ok(()) };
    let resource = format!("archive {bucket}");
    let told = |refusal: Refusal| format!("{resource}: {}", refusal.text);
    if configured(s3.head_bucket().bucket(bucket).send().await).map_err(told)?.flatten().is_none() {
        let lock = if audit.archive.object_lock { ", with versions and Object Lock" } else { "" };
        plan.step(
            &resource,
            format!("is not there: make it, private{lock}"),
            Action::Archive(Change::Create),
        );
        return Ok(());
    }
    if audit.archive.object_lock {
        let versions =
            s3.get_bucket_versioning().bucket(bucket).send().await.map_err(|error| told(error.into()))?;
        if versions.status() != Some(&BucketVersioningStatus::Enabled) {
            plan.step(&resource, "keeps no versions: keep them", Action::Archive(Change::Versions));
        }
        match configured(s3.get_object_lock_configuration().bucket(bucket).send().await).map_err(told)? {
            Some(Some(lock)) if is_locked(lock.object_lock_configuration()) => {}
            Some(_) => {
                let text = "has no Object Lock: enable it (nobody can disable it)";
                plan.step(&resource, text, Action::Archive(Change::ObjectLock));
            }
            None => {
                let text =
                    "has no Object Lock, nor has the store: unset AUDIT_ARCHIVE_OBJECT_LOCK, or use AWS S3";
                plan.step(&resource, text, Action::Refused);
            }
        }
    }
    plan.settle(&resource);
    Ok(())
}

fn is_locked(lock: Option<&ObjectLockConfiguration>) -> bool {
    lock.and_then(ObjectLockConfiguration::object_lock_enabled) == Some(&ObjectLockEnabled::Enabled)
}

pub(super) async fn apply(stores: &Stores, change: &Change) -> Result<(), String> {
    let (Some(audit), Some((s3, bucket))) = (&stores.config.audit, &stores.archive) else { return Ok(()) };
    let config = &audit.archive;
    let done = match change {
        Change::Create => {
            let place = place(config.endpoint.as_deref(), &config.region);
            let create = s3.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
            let create = match config.object_lock {
                true => create.object_lock_enabled_for_bucket(true),
                // Amazon's buckets are private, and take no ACL.
                false if config.endpoint.is_none() => create,
                false => create.acl(BucketCannedAcl::Private),
            };
            create.send().await.map(drop).map_err(Refusal::from)
        }
        Change::Versions => {
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let set = s3.put_bucket_versioning().bucket(bucket).versioning_configuration(on);
            set.customize().mutate_request(add_md5).send().await.map(drop).map_err(Refusal::from)
        }
        Change::ObjectLock => {
            let on =
                ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
            let set = s3.put_object_lock_configuration().bucket(bucket).object_lock_configuration(on);
            set.customize().mutate_request(add_md5).send().await.map(drop).map_err(Refusal::from)
        }
    };
    done.map_err(|refusal| refusal.text)
}
