//! Single objects: put, get, head, delete, and their ACL.

use std::ops;
use std::sync::Arc;

use hyper::StatusCode;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, ETag, GetObjectAclInput, GetObjectAclOutput, GetObjectInput,
    GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput, PutObjectOutput, Range,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::conditions::{self, ReadConditions};
use super::{Api, attributes};
use crate::spaces::body::{self, Claims};
use crate::spaces::files::Reader;
use crate::spaces::index::objects::Object;

pub(super) async fn put(api: &Api, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let claims = Claims::of(&request, request.input.content_length);
    let mut input = request.input;
    let attributes = attributes::of_put(&mut input)?;
    let condition = conditions::of_write(input.if_match, input.if_none_match)?;
    let key = input.key;
    let (md5, checksums) =
        body::receive(Arc::clone(&api.store), input.body, claims, move |store, received| {
            store.put(&key, received.file, &received.md5, attributes, &condition)?;
            Ok((received.md5, received.checksums))
        })
        .await?;
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(md5)),
        checksum_crc32: checksums.checksum_crc32,
        checksum_crc32c: checksums.checksum_crc32c,
        checksum_crc64nvme: checksums.checksum_crc64nvme,
        checksum_sha1: checksums.checksum_sha1,
        checksum_sha256: checksums.checksum_sha256,
        ..PutObjectOutput::default()
    })
}

pub(super) async fn get(api: &Api, mut input: GetObjectInput) -> S3Result<GetObjectOutput> {
    let conditions = ReadConditions::of_get(&mut input);
    let key = input.key;
    let (object, mut reader) = api.blocking(move |store| store.get(&key)).await?;
    conditions.check(&object)?;
    let part = select(&reader, &object, input.range, input.part_number)?;
    reader.narrow(part.bytes.start, part.size());
    // The response-* overrides are laid over this by s3s.
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".into()),
        content_length: Some(part.length()?),
        content_range: part.content_range(&object),
        parts_count: part.parts_count,
        e_tag: Some(ETag::Strong(object.etag)),
        last_modified: Some(object.modified.to_system_time().into()),
        expires: attributes::expires(&object.attributes),
        content_type: object
            .attributes
            .content_type
            .or_else(|| Some(attributes::DEFAULT_CONTENT_TYPE.into())),
        cache_control: object.attributes.cache_control,
        content_disposition: object.attributes.content_disposition,
        content_encoding: object.attributes.content_encoding,
        content_language: object.attributes.content_language,
        metadata: Some(object.attributes.metadata.into_iter().collect()),
        body: Some(body::stream(reader)),
        ..GetObjectOutput::default()
    })
}

pub(super) async fn head(api: &Api, mut input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
    let conditions = ReadConditions::of_head(&mut input);
    let key = input.key;
    let (object, reader) = api.blocking(move |store| store.get(&key)).await?;
    conditions.check(&object)?;
    let part = select(&reader, &object, input.range, input.part_number)?;
    let content_range = part.content_range(&object);
    let status = if content_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let stored = object.attributes;
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        content_length: Some(part.length()?),
        content_range,
        parts_count: part.parts_count,
        e_tag: Some(ETag::Strong(object.etag)),
        last_modified: Some(object.modified.to_system_time().into()),
        expires: input.response_expires.or_else(|| attributes::expires(&stored)),
        content_type: input
            .response_content_type
            .or(stored.content_type)
            .or_else(|| Some(attributes::DEFAULT_CONTENT_TYPE.into())),
        cache_control: input.response_cache_control.or(stored.cache_control),
        content_disposition: input.response_content_disposition.or(stored.content_disposition),
        content_encoding: input.response_content_encoding.or(stored.content_encoding),
        content_language: input.response_content_language.or(stored.content_language),
        metadata: Some(stored.metadata.into_iter().collect()),
        ..HeadObjectOutput::default()
    };
    Ok(S3Response::with_status(output, status))
}

pub(super) async fn delete(api: &Api, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    let condition = conditions::of_write(input.if_match, None)?;
    let key = input.key;
    api.blocking(move |store| store.delete(&key, &condition)).await?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn acl(api: &Api, input: GetObjectAclInput) -> S3Result<GetObjectAclOutput> {
    let key = input.key;
    let (object, _) = api.blocking(move |store| store.get(&key)).await?;
    Ok(attributes::grants(&object.attributes))
}

/// The bytes of an object that a read asks for.
struct Selection {
    bytes: ops::Range<u64>,
    is_partial: bool,
    /// How many parts there are, if the read asks for one of them.
    parts_count: Option<i32>,
}

impl Selection {
    fn size(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    fn length(&self) -> S3Result<i64> {
        i64::try_from(self.size()).map_err(S3Error::internal_error)
    }

    fn content_range(&self, object: &Object) -> Option<String> {
        // An empty part has no last byte to name.
        let last = self.bytes.end.checked_sub(1).filter(|last| *last >= self.bytes.start)?;
        self.is_partial.then(|| format!("bytes {}-{}/{}", self.bytes.start, last, object.size))
    }
}

fn select(reader: &Reader, object: &Object, range: Option<Range>, part: Option<i32>) -> S3Result<Selection> {
    match (range, part) {
        (None, None) => Ok(Selection { bytes: 0..object.size, is_partial: false, parts_count: None }),
        (Some(range), None) => {
            let bytes = range.check(object.size).map_err(|_| unsatisfiable())?;
            if bytes.is_empty() {
                return Err(unsatisfiable());
            }
            Ok(Selection { bytes, is_partial: true, parts_count: None })
        }
        (None, Some(number)) => select_part(reader, object, number),
        (Some(_), Some(_)) => {
            Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber."))
        }
    }
}

fn select_part(reader: &Reader, object: &Object, number: i32) -> S3Result<Selection> {
    let no_such_part = || {
        let code = S3ErrorCode::Custom("InvalidPartNumber".into());
        let mut error = S3Error::with_message(code, "The requested partnumber is not satisfiable");
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        error
    };
    let index =
        usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(no_such_part)?;
    let size = reader.segment_sizes().nth(index).ok_or_else(no_such_part)?;
    let start = reader.segment_sizes().take(index).sum::<u64>();
    // Only an object from a multipart upload has parts to count; its ETag tells.
    let parts_count =
        object.etag.contains('-').then(|| i32::try_from(reader.segment_sizes().len())).transpose();
    let parts_count = parts_count.map_err(S3Error::internal_error)?;
    Ok(Selection { bytes: start..start + size, is_partial: true, parts_count })
}

fn unsatisfiable() -> S3Error {
    s3_error!(InvalidRange, "The requested range is not satisfiable")
}
