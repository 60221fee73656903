//! Whether files are private, and stay as long as they should.

use aws_sdk_s3::types::{ExpirationStatus, Grant, LifecycleRule};
use shared::clock;

use super::checks::{ACL, ANONYMOUS_LIST, ANONYMOUS_READ, EXPIRED_URL, LIFECYCLE, SIGNED_URL};
use super::probe::{BYTES, Probe, SIGNED_DISPOSITION, SIGNED_TYPE};
use crate::Stores;
use crate::provision::lifecycle::{aborts, is_hasty};
use crate::report::{Check, Finding, Report};
use crate::stores::Refusal;
use crate::web::{Answer, Web, address, bucket_address};

const MAKE_PRIVATE: &str =
    "Set the Space's File Listing to Restricted, and remove bucket policies and ACLs that let others in.";

pub(super) async fn examine(probe: &Probe<'_>, key: &str, web: &Web, report: &mut Report) {
    report.push(acl(probe.stores, key).await);
    let signed = match probe.object_url(key, clock::now()).await {
        Ok(signed) => signed,
        Err(text) => return report.push(Finding::failed(&SIGNED_URL, text, "Check SPACES_ENDPOINT.")),
    };
    let object = address(&signed);
    let read = web.send("GET", &object, &[], Vec::new()).await;
    report.push(stranger(&ANONYMOUS_READ, read, MAKE_PRIVATE));
    let bucket = format!("{}/?list-type=2", bucket_address(&object, key));
    let listed = web.send("GET", &bucket, &[], Vec::new()).await;
    report.push(stranger(&ANONYMOUS_LIST, listed, MAKE_PRIVATE));

    let remedy = "Files are had by signed URLs, not direct links. This store, or what stands before it, does not honour them.";
    report.push(match web.send_signed(&signed, &[], Vec::new()).await {
        Ok(answer) => match answer_to_signed(&answer) {
            Ok(()) => Finding::ok(&SIGNED_URL, "the file, its type and name"),
            Err(text) => Finding::failed(&SIGNED_URL, text, remedy),
        },
        Err(text) => Finding::failed(&SIGNED_URL, text, remedy),
    });
    let remedy = "Signed URLs end after 1 to 15 minutes; this store does not keep to it. Use another.";
    report.push(match probe.object_url(key, clock::now() - jiff::SignedDuration::from_hours(1)).await {
        Ok(expired) => stranger(&EXPIRED_URL, web.send_signed(&expired, &[], Vec::new()).await, remedy),
        Err(text) => Finding::failed(&EXPIRED_URL, text, remedy),
    });
}

fn answer_to_signed(answer: &Answer) -> Result<(), String> {
    if answer.status != 200 || answer.body != BYTES {
        return Err(format!("status {}, {} bytes of {}", answer.status, answer.body.len(), BYTES.len()));
    }
    let headers = [("content-type", SIGNED_TYPE), ("content-disposition", SIGNED_DISPOSITION)];
    match headers.into_iter().find(|(name, value)| answer.header(name) != *value) {
        Some((name, _)) => Err(format!("the answer's {name} is not the one that was signed")),
        None => Ok(()),
    }
}

/// Who may not come in must be refused.
pub(super) fn stranger(check: &'static Check, answer: Result<Answer, String>, remedy: &str) -> Finding {
    match answer {
        Ok(answer) if answer.is_refused() => {
            Finding::ok(check, format!("refused (status {})", answer.status))
        }
        Ok(answer) => Finding::failed(check, format!("answered with status {}", answer.status), remedy),
        Err(text) => Finding::failed(check, text, remedy),
    }
}

async fn acl(stores: &Stores, key: &str) -> Finding {
    let bucket = stores.bucket();
    let object = stores.s3.get_object_acl().bucket(bucket).key(key).send().await;
    let object = object.map(|acl| is_public(acl.grants())).map_err(Refusal::from);
    let whole = stores.s3.get_bucket_acl().bucket(bucket).send().await;
    let whole = whole.map(|acl| is_public(acl.grants())).map_err(Refusal::from);
    match (object, whole) {
        (Ok(true), _) => Finding::failed(&ACL, "an object that was stored privately is public", MAKE_PRIVATE),
        (_, Ok(true)) => Finding::failed(&ACL, "the bucket's ACL lets everybody in", MAKE_PRIVATE),
        (Ok(false), Ok(false)) => Finding::ok(&ACL, "both are the owner's"),
        (Ok(false), Err(_)) => {
            Finding::ok(&ACL, "the object is the owner's; the bucket's ACL is not to be read")
        }
        (Err(refusal), _) => Finding::skipped(&ACL, format!("the store does not tell: {}", refusal.text)),
    }
}

/// Whether it lets groups in: everybody, or everybody with an account.
pub(crate) fn is_public(grants: &[Grant]) -> bool {
    let group = |grant: &Grant| grant.grantee().and_then(|grantee| grantee.uri().map(str::to_owned));
    grants
        .iter()
        .filter_map(group)
        .any(|uri| uri.ends_with("/AllUsers") || uri.ends_with("/AuthenticatedUsers"))
}

pub(super) async fn lifecycle(stores: &Stores, report: &mut Report) {
    let rules = stores.s3.get_bucket_lifecycle_configuration().bucket(stores.bucket()).send().await;
    let rules = match rules.map_err(Refusal::from) {
        Ok(rules) => rules.rules.unwrap_or_default(),
        Err(refusal) if refusal.is_missing() => Vec::new(),
        Err(refusal) => {
            let because = format!("the store does not tell: {}", refusal.text);
            return report.push(Finding::skipped(&LIFECYCLE, because));
        }
    };
    report.push(match rules.iter().find(|rule| removes(rule)) {
        Some(rule) => Finding::failed(
            &LIFECYCLE,
            format!("the rule {:?} removes or moves objects", rule.id().unwrap_or_default()),
            "Remove that rule: retention is the service's, which logs what it deletes.",
        ),
        None if rules.iter().any(is_hasty) => Finding::failed(
            &LIFECYCLE,
            "a rule aborts uploads that are still under way",
            "Let that rule wait 7 days; provision does not change it.",
        ),
        None if rules.iter().any(aborts) => Finding::ok(&LIFECYCLE, "uploads that were given up are aborted"),
        None => Finding::warning(
            &LIFECYCLE,
            "no rule aborts uploads that were given up",
            "operator provision --apply adds one; maintenance aborts them as well.",
        ),
    });
}

fn removes(rule: &LifecycleRule) -> bool {
    rule.status() == &ExpirationStatus::Enabled
        && (rule.expiration().is_some_and(|it| it.days().is_some() || it.date().is_some())
            || !rule.transitions().is_empty())
}
