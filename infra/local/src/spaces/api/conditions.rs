//! `If-Match` and its relatives (RFC 9110, section 13).

use hyper::HeaderMap;
use hyper::header::{ETAG, HeaderValue};
use s3s::dto::{ETag, ETagCondition, GetObjectInput, HeadObjectInput, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use crate::spaces::index::Millis;
use crate::spaces::index::objects::Object;
use crate::spaces::store::Condition;

/// The conditions of a read.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    pub(super) fn of_get(input: &mut GetObjectInput) -> Self {
        Self {
            if_match: input.if_match.take(),
            if_none_match: input.if_none_match.take(),
            if_modified_since: input.if_modified_since.take(),
            if_unmodified_since: input.if_unmodified_since.take(),
        }
    }

    pub(super) fn of_head(input: &mut HeadObjectInput) -> Self {
        Self {
            if_match: input.if_match.take(),
            if_none_match: input.if_none_match.take(),
            if_modified_since: input.if_modified_since.take(),
            if_unmodified_since: input.if_unmodified_since.take(),
        }
    }

    /// Whether the object may be sent: else 412, or 304 to a client that has it already.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        let modified = whole_seconds(object.modified);
        let fits =
            |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.value() == object.etag);
        // A date counts only where no ETag was given.
        let unchanged = match (&self.if_match, &self.if_unmodified_since) {
            (Some(etag), _) => fits(etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !unchanged {
            return Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ));
        }
        let is_new = match (&self.if_none_match, &self.if_modified_since) {
            (Some(etag), _) => !fits(etag),
            (None, Some(since)) => modified > *since,
            (None, None) => true,
        };
        if is_new { Ok(()) } else { Err(not_modified(&object.etag)) }
    }
}

/// The condition of a write.
pub(super) fn of_write(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Anything),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(etag), None) => Ok(Condition::Present(etag.into_etag().map(ETag::into_value))),
        (_, Some(_)) => Err(s3_error!(NotImplemented, "A write can have If-Match, or If-None-Match: *")),
    }
}

fn not_modified(etag: &str) -> S3Error {
    let mut error = s3_error!(NotModified, "Not Modified");
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        error.set_headers(HeaderMap::from_iter([(ETAG, etag)]));
    }
    error
}

/// HTTP dates have no fractions.
fn whole_seconds(time: Millis) -> Timestamp {
    Millis(time.0 - time.0.rem_euclid(1000)).to_system_time().into()
}
