//! Who may call, and what `s3s` lets pass although S3 would not.
//!
//! `s3s` has checked the signature by the time it asks here: that it fits what was signed, and the date. It does not
//! ask whether enough was signed. S3 does, and a presigned URL is only as narrow as that makes it: without these
//! checks, whoever holds an upload URL could add an `x-amz-acl: public-read` of his own.

use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};

use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// The longest life of a presigned URL: seven days.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const MAX_EXPIRES_SECONDS: u32 = 604_800;

/// Query parameters that belong to the signature itself, or that change nothing in the bucket.
const KNOWN_QUERY: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-content-sha256",
    "x-amz-checksum-mode",
    "x-amz-user-agent",
];

/// The one key there is.
pub(super) struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == ACCESS_KEY_ID {
            return Ok(SECRET_ACCESS_KEY.into());
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

/// The access check of every request, after the signature's.
pub(super) struct Gate {
    /// The bucket that this is the gate of.
    pub(super) bucket: &'static str,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        check_signed_enough(cx)?;
        match cx.s3_path() {
            S3Path::Root => Ok(()),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } if &**bucket == self.bucket => Ok(()),
            S3Path::Bucket { .. } | S3Path::Object { .. } => {
                Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
            }
        }
    }
}

fn check_signed_enough(cx: &S3AccessContext<'_>) -> S3Result<()> {
    let query = query_pairs(cx.uri().query().unwrap_or_default());
    let find = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    // A value that is not text cannot have been understood by s3s either.
    let authorization = cx.headers().get("authorization").and_then(|value| value.to_str().ok());

    let presigned = find("X-Amz-Signature").is_some() || find("Signature").is_some();
    if presigned && authorization.is_some() {
        return Err(s3_error!(InvalidArgument, "Only one auth mechanism allowed"));
    }
    let signed_headers = match authorization {
        Some(header) => match header.strip_prefix("AWS4-HMAC-SHA256") {
            Some(fields) => fields
                .split([',', ' '])
                .find_map(|field| field.strip_prefix("SignedHeaders="))
                .unwrap_or_default(),
            // s3s accepts a SigV2 header of any age, that is, a replay.
            None => return Err(s3_error!(InvalidRequest, "Please use AWS4-HMAC-SHA256.")),
        },
        None => match find("X-Amz-SignedHeaders") {
            Some(names) => {
                check_expires(find("X-Amz-Expires"))?;
                check_nothing_hoisted(&query)?;
                names
            }
            // A SigV2 presigned URL: it signs every x-amz- header by definition. boto3 still makes them.
            None => return Ok(()),
        },
    };
    check_headers(cx, signed_headers)
}

fn check_headers(cx: &S3AccessContext<'_>, signed_headers: &str) -> S3Result<()> {
    let is_signed = |name: &str| signed_headers.split(';').any(|signed| signed == name);
    let must_be_signed = |name: &&str| *name == "host" || name.starts_with("x-amz-");
    let unsigned =
        cx.headers().keys().map(|name| name.as_str()).filter(must_be_signed).find(|name| !is_signed(name));
    match unsigned {
        None => Ok(()),
        Some(name) => Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed: {}",
            name
        )),
    }
}

fn check_expires(expires: Option<&str>) -> S3Result<()> {
    match expires.and_then(|seconds| seconds.parse::<u32>().ok()) {
        Some(1..=MAX_EXPIRES_SECONDS) => Ok(()),
        _ => Err(s3_error!(
            AuthorizationQueryParametersError,
            "X-Amz-Expires must be between 1 and 604800 seconds"
        )),
    }
}

/// Some SDKs move headers such as `x-amz-acl` into the query of a presigned URL. S3 honours them there, s3s ignores
/// them: better a refusal than an object without them.
fn check_nothing_hoisted(query: &[(String, String)]) -> S3Result<()> {
    let is_hoisted = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("x-amz-") && !KNOWN_QUERY.contains(&name.as_str())
    };
    match query.iter().find(|(name, _)| is_hoisted(name)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(s3_error!(NotImplemented, "{} is understood as a header, not in the query", name))
        }
    }
}

fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}
