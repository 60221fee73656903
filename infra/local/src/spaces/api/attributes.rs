//! What an object carries beside its bytes, out of requests: checked, since it will be said again in headers.

use std::collections::BTreeMap;

use s3s::dto::{
    CreateMultipartUploadInput, GetObjectAclOutput, Grant, Grantee, Metadata, ObjectCannedACL, Permission,
    PutObjectInput, Timestamp, TimestampFormat, Type,
};
use s3s::{S3Result, s3_error};

use super::owner;
use crate::spaces::index::Attributes;

/// Names and values of all user metadata of an object.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const MAX_METADATA_BYTES: usize = 2 * 1024;

/// What S3 says of an object without a type.
pub(super) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// The two requests that create an object have the same fields in two types.
macro_rules! take_attributes {
    ($input:expr) => {{
        let input = $input;
        let grants =
            [&input.grant_full_control, &input.grant_read, &input.grant_read_acp, &input.grant_write_acp];
        refuse_grants(&grants)?;
        Ok(Attributes {
            content_type: input.content_type.take(),
            cache_control: input.cache_control.take(),
            content_disposition: input.content_disposition.take(),
            content_encoding: input.content_encoding.take().and_then(|value| without_aws_chunked(&value)),
            content_language: input.content_language.take(),
            expires: input.expires.take().map(|expires| http_date(&expires)).transpose()?,
            metadata: metadata(input.metadata.take())?,
            acl: acl(input.acl.take())?,
        })
    }};
}

/// Takes the attributes out of a `PutObject`.
pub(super) fn of_put(input: &mut PutObjectInput) -> S3Result<Attributes> {
    take_attributes!(input)
}

/// Takes the attributes out of a `CreateMultipartUpload`.
pub(super) fn of_upload(input: &mut CreateMultipartUploadInput) -> S3Result<Attributes> {
    take_attributes!(input)
}

/// The reverse of what [`of_put`] made of `Expires`.
pub(super) fn expires(attributes: &Attributes) -> Option<Timestamp> {
    let date = attributes.expires.as_deref()?;
    Timestamp::parse(TimestampFormat::HttpDate, date).ok()
}

/// The grants that an object's canned ACL stands for.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl>
pub(super) fn grants(attributes: &Attributes) -> GetObjectAclOutput {
    let user = Grantee {
        display_name: owner().display_name,
        email_address: None,
        id: owner().id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let mut grants = vec![grant(user, Permission::FULL_CONTROL)];
    match attributes.acl.as_deref() {
        Some(ObjectCannedACL::PUBLIC_READ) => grants.push(grant(group(ALL_USERS), Permission::READ)),
        Some(ObjectCannedACL::PUBLIC_READ_WRITE) => {
            grants.push(grant(group(ALL_USERS), Permission::READ));
            grants.push(grant(group(ALL_USERS), Permission::WRITE));
        }
        Some(ObjectCannedACL::AUTHENTICATED_READ) => {
            grants.push(grant(group(AUTHENTICATED_USERS), Permission::READ));
        }
        // Private, or for the bucket's owner, who is the object's.
        _ => {}
    }
    GetObjectAclOutput { grants: Some(grants), owner: Some(owner()), request_charged: None }
}

fn grant(grantee: Grantee, permission: &'static str) -> Grant {
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(permission)) }
}

fn group(uri: &str) -> Grantee {
    let type_ = Type::from_static(Type::GROUP);
    Grantee { display_name: None, email_address: None, id: None, type_, uri: Some(uri.into()) }
}

/// Better refused than forgotten: the object would be more, or less, open than its writer believes.
fn refuse_grants(grants: &[&Option<String>]) -> S3Result<()> {
    if grants.iter().any(|grant| grant.is_some()) {
        return Err(s3_error!(NotImplemented, "x-amz-grant-* is not implemented, x-amz-acl is."));
    }
    Ok(())
}

fn acl(acl: Option<ObjectCannedACL>) -> S3Result<Option<String>> {
    const KNOWN: [&str; 7] = [
        ObjectCannedACL::AUTHENTICATED_READ,
        ObjectCannedACL::AWS_EXEC_READ,
        ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL,
        ObjectCannedACL::BUCKET_OWNER_READ,
        ObjectCannedACL::PRIVATE,
        ObjectCannedACL::PUBLIC_READ,
        ObjectCannedACL::PUBLIC_READ_WRITE,
    ];
    match acl {
        Some(acl) if !KNOWN.contains(&acl.as_str()) => {
            Err(s3_error!(InvalidArgument, "There is no such canned ACL."))
        }
        acl => Ok(acl.map(|acl| acl.as_str().to_owned())),
    }
}

fn metadata(metadata: Option<Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<_, _> = metadata.unwrap_or_default().into_iter().collect();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size."
        ));
    }
    Ok(metadata)
}

/// `aws-chunked` is how the body travelled, not what it is.
fn without_aws_chunked(encoding: &str) -> Option<String> {
    let codings: Vec<_> =
        encoding.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    let rest = codings.join(",");
    (!rest.is_empty()).then_some(rest)
}

fn http_date(date: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    let invalid = || s3_error!(InvalidArgument, "Expires is not a date.");
    date.format(TimestampFormat::HttpDate, &mut text).map_err(|_| invalid())?;
    String::from_utf8(text).map_err(|_| invalid())
}
