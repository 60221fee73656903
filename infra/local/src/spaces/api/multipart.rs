//! Multipart uploads: create, upload a part, complete, abort.

use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ETag, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::{Api, attributes, conditions};
use crate::spaces::body::{self, Claims};
use crate::spaces::store::ListedPart;

/// Part numbers begin at 1. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PART_NUMBER: u32 = 10_000;

pub(super) async fn create(
    api: &Api,
    mut input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    let attributes = attributes::of_upload(&mut input)?;
    let key = input.key.clone();
    let upload_id = api.blocking(move |store| store.create_upload(&key, &attributes)).await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(api.bucket.into()),
        key: Some(input.key),
        upload_id: Some(upload_id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    })
}

pub(super) async fn upload_part(
    api: &Api,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let claims = Claims::of(&request, request.input.content_length);
    let input = request.input;
    let number = part_number(input.part_number)?;
    let (key, upload_id) = (input.key, input.upload_id);
    let (md5, checksums) =
        body::receive(Arc::clone(&api.store), input.body, claims, move |store, received| {
            store.put_part(&key, &upload_id, number, received.file, &received.md5)?;
            Ok((received.md5, received.checksums))
        })
        .await?;
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(md5)),
        checksum_crc32: checksums.checksum_crc32,
        checksum_crc32c: checksums.checksum_crc32c,
        checksum_crc64nvme: checksums.checksum_crc64nvme,
        checksum_sha1: checksums.checksum_sha1,
        checksum_sha256: checksums.checksum_sha256,
        ..UploadPartOutput::default()
    })
}

pub(super) async fn complete(
    api: &Api,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let parts = parts.into_iter().map(listed_part).collect::<S3Result<Vec<_>>>()?;
    let condition = conditions::of_write(input.if_match, input.if_none_match)?;
    let size = input.mpu_object_size.and_then(|size| u64::try_from(size).ok());
    let (key, upload_id) = (input.key.clone(), input.upload_id);
    let etag = api.blocking(move |store| store.complete(&key, &upload_id, &parts, size, &condition)).await?;
    Ok(CompleteMultipartUploadOutput {
        bucket: Some(api.bucket.into()),
        location: Some(format!("/{}/{}", api.bucket, input.key)),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(etag)),
        ..CompleteMultipartUploadOutput::default()
    })
}

pub(super) async fn abort(
    api: &Api,
    input: AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    let (key, upload_id) = (input.key, input.upload_id);
    api.blocking(move |store| store.abort(&key, &upload_id)).await?;
    Ok(AbortMultipartUploadOutput::default())
}

fn listed_part(part: CompletedPart) -> S3Result<ListedPart> {
    match (part.part_number, part.e_tag) {
        (Some(number), Some(etag)) => {
            Ok(ListedPart { number: part_number(number)?, etag: etag.into_value() })
        }
        _ => Err(s3_error!(MalformedXML, "Every part needs a PartNumber and an ETag")),
    }
}

fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number).ok().filter(|number| (1..=MAX_PART_NUMBER).contains(number)).ok_or_else(|| {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    })
}
