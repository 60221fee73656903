//! The rule by which a bucket aborts uploads in parts that were given up.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
};

/// Days after which an upload is given up: a session lives one, and maintenance gets some to end it with an entry in the log.
pub(crate) const DAYS: i32 = 7;
/// A rule below this could abort what a session still completes; stores count days from midnight.
const LEAST_DAYS: i32 = 2;

/// Whether a rule does it, for the whole bucket.
pub(crate) fn aborts(rule: &LifecycleRule) -> bool {
    rule.status() == &ExpirationStatus::Enabled
        && is_whole(rule)
        && days(rule).is_some_and(|days| days >= LEAST_DAYS)
}

/// Whether a rule aborts what may still be completed.
pub(crate) fn is_hasty(rule: &LifecycleRule) -> bool {
    rule.status() == &ExpirationStatus::Enabled && days(rule).is_some_and(|days| days < LEAST_DAYS)
}

pub(super) fn rule() -> Option<LifecycleRule> {
    LifecycleRule::builder()
        .id("abort-uploads-given-up")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(DAYS).build(),
        )
        .build()
        .ok()
}

fn days(rule: &LifecycleRule) -> Option<i32> {
    rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation())
}

fn is_whole(rule: &LifecycleRule) -> bool {
    let Some(filter) = rule.filter() else {
        #[expect(deprecated, reason = "stores still answer with it")]
        return rule.prefix().is_none_or(str::is_empty);
    };
    let narrows =
        filter.tag().is_some() || filter.and().is_some() || filter.object_size_greater_than().is_some();
    filter.prefix().is_none_or(str::is_empty) && !narrows && filter.object_size_less_than().is_none()
}
