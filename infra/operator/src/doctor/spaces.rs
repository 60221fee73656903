//! The files' bucket: whether it is reached at all, then everything that is done with it.

use jiff::Timestamp;
use shared::clock;

use super::checks::{BUCKET, CLOCK, DELETE, ENDPOINT, KEY, LIST, REGION, SECRET};
use super::probe::{PREFIX, Probe};
use super::{browsers, objects, parts, privacy};
use crate::Stores;
use crate::report::{Check, Finding, Report};
use crate::stores::Refusal;
use crate::web::{Answer, Web};

/// Seconds that clocks may differ unnoticed: answers have whole seconds, and take their time.
const CLOCK_WARNING: i64 = 10;
/// Seconds from which on a URL of a few minutes is no use. S3's own limit is 15 minutes.
const CLOCK_LIMIT: i64 = 300;

pub(super) async fn examine(stores: &Stores, web: &Web, origins: &[String], report: &mut Report) {
    if !reach(stores, web, report).await || !enter(stores, report).await {
        return;
    }
    let probe = Probe::new(stores);
    let _ = probe.find_leftovers().await;
    let stored = objects::examine(&probe, report).await;
    if let Some(key) = &stored {
        privacy::examine(&probe, key, web, report).await;
        browsers::examine(&probe, key, origins, web, report).await;
        parts::examine(&probe, key, web, report).await;
    }
    privacy::lifecycle(stores, report).await;
    let removed = probe.remove().await;
    if stored.is_some() {
        report.push(match removed {
            Ok(()) => Finding::ok(&DELETE, "removed, and gone"),
            Err(left) => Finding::failed(
                &DELETE,
                left.text,
                match left.is_versioned {
                    true => "Suspend versioning and remove old versions: what is purged must be gone.",
                    false => {
                        "Give the key the right to delete objects, and remove what is left behind by hand."
                    }
                },
            ),
        });
    }
}

/// Whether something answers that speaks S3.
async fn reach(stores: &Stores, web: &Web, report: &mut Report) -> bool {
    let began = clock::now();
    let answer = match web.send("GET", &format!("{}/", stores.config.spaces.endpoint), &[], Vec::new()).await
    {
        Ok(answer) => answer,
        Err(text) => {
            report.push(Finding::failed(
                &ENDPOINT,
                text,
                "Check SPACES_ENDPOINT for a typing error, and that this machine reaches it (DNS, firewall, TLS).",
            ));
            return false;
        }
    };
    if !speaks_s3(&answer) {
        report.push(Finding::failed(
            &ENDPOINT,
            format!("it answers (status {}), but not as an S3 store does", answer.status),
            "SPACES_ENDPOINT is the region's address, https://{region}.digitaloceanspaces.com; not the CDN's, nor this service's.",
        ));
        return false;
    }
    report.push(Finding::ok(&ENDPOINT, "answers as S3 does"));
    report.push(clock_of(&answer, began));
    true
}

fn speaks_s3(answer: &Answer) -> bool {
    // DynamoDB says x-amzn-requestid.
    let has_header = ["x-amz-request-id", "x-amz-id-2"].iter().any(|name| answer.headers.contains_key(*name));
    let text = answer.text();
    let has_body = ["<ListAllMyBucketsResult", "<ListBucketResult"].iter().any(|word| text.contains(word))
        || (text.contains("<Error>") && text.contains("<Code>"));
    has_header || has_body
}

fn clock_of(answer: &Answer, began: Timestamp) -> Finding {
    let Some(date) = answer.date() else {
        return Finding::warning(&CLOCK, "the store does not tell its time", "Compare the clocks yourself.");
    };
    // Between asking and answering any moment will do.
    let now = clock::now();
    let seconds = match date {
        date if date > now => date.as_second() - now.as_second(),
        date if date < began => date.as_second() - began.as_second(),
        _ => 0,
    };
    let found = format!("the store is {} s {}", seconds.abs(), if seconds < 0 { "behind" } else { "ahead" });
    let remedy = "Have this machine set its clock by NTP; on Lambda that is done.";
    match seconds.abs() {
        CLOCK_LIMIT.. => Finding::failed(&CLOCK, found, remedy),
        CLOCK_WARNING.. => Finding::warning(&CLOCK, found, remedy),
        _ => Finding::ok(&CLOCK, "they agree"),
    }
}

/// Whether the key opens the bucket. One request tells: by what is wrong with it.
async fn enter(stores: &Stores, report: &mut Report) -> bool {
    let listed = stores.s3.list_objects_v2().bucket(stores.bucket()).prefix(PREFIX).max_keys(1).send().await;
    let order: [(&'static Check, &str); 5] = [
        (&REGION, "the store takes its signature"),
        (&KEY, "known"),
        (&SECRET, "right"),
        (&BUCKET, "there"),
        (&LIST, "it may"),
    ];
    let failed = listed.map_err(|error| refused(error.into())).err();
    for (check, found) in order {
        match &failed {
            Some(finding) if finding.check == check => {
                report.push(finding.clone());
                return false;
            }
            // A finding of theirs is there already.
            Some(finding) if [&CLOCK, &ENDPOINT].contains(&finding.check) => {
                report.push(finding.clone());
                return false;
            }
            _ if check == &REGION => report.push(region(stores, found).await),
            _ => report.push(Finding::ok(check, found)),
        }
    }
    true
}

fn refused(refusal: Refusal) -> Finding {
    let Refusal { code, status, text } = refusal;
    match (code.as_str(), status) {
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _)
        | (_, 301) => Finding::failed(
            &REGION,
            text,
            "SPACES_REGION must match the endpoint's region, and the bucket must be there.",
        ),
        ("RequestTimeTooSkewed", _) => {
            Finding::failed(&CLOCK, text, "Have this machine set its clock by NTP.")
        }
        ("InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken", _) => Finding::failed(
            &KEY,
            text,
            "Copy SPACES_ACCESS_KEY again from API, Spaces Keys (it begins with DO); it is no key of AWS, nor an API token.",
        ),
        ("SignatureDoesNotMatch", _) => Finding::failed(
            &SECRET,
            text,
            "Copy SPACES_SECRET_KEY again, without spaces; it was shown once, when the key was made. If it is lost, make a new key.",
        ),
        ("NoSuchBucket", _) | (_, 404) => Finding::failed(
            &BUCKET,
            text,
            "Check that SPACES_BUCKET is the Space's name and SPACES_REGION its region; or make it: operator provision --apply",
        ),
        (_, 0 | 500..) => Finding::failed(
            &ENDPOINT,
            format!("asked for the bucket: {text}"),
            "Try again; if it stays, check DNS, firewall and the store's status.",
        ),
        _ => Finding::failed(
            &LIST,
            text,
            "Give the key access to this bucket: read, write and delete (a key limited to buckets must name this one).",
        ),
    }
}

/// What the bucket itself says, where it does; it takes the signature, or a key would be at fault.
async fn region(stores: &Stores, found: &str) -> Finding {
    let head = stores.s3.head_bucket().bucket(stores.bucket()).send().await;
    match head.ok().and_then(|head| head.bucket_region) {
        Some(region) if region != stores.config.spaces.region => Finding::failed(
            &REGION,
            format!("the bucket says that it is in {region}"),
            "Make SPACES_REGION that region, and SPACES_ENDPOINT its endpoint.",
        ),
        _ => Finding::ok(&REGION, found),
    }
}
