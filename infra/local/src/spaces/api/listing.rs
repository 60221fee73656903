//! Listings: objects, multipart uploads, the parts of one.

use std::cmp::Ordering;

use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload, Object,
    ObjectStorageClass, Part, StorageClass,
};
use s3s::{S3Result, s3_error};

use super::{Api, owner};
use crate::spaces::index::listing::{Entry, Query};
use crate::spaces::index::uploads::Upload;

/// The longest page of any listing. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const MAX_PAGE: i32 = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*').remove(b'/');

pub(super) async fn objects(api: &Api, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let max_keys = page_size(input.max_keys, "max-keys")?;
    let encoding = Encoding::parse(input.encoding_type)?;
    let mut query = Query {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        from: Vec::new(),
        limit: usize::try_from(max_keys).unwrap_or_default(),
    };
    // A token counts more than a start, which the client repeats with every page.
    match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => query.from = decode_token(token)?,
        (None, Some(key)) if !key.is_empty() => query.start_after(key),
        (None, _) => {}
    }
    let page = api.blocking(move |store| store.list(&query)).await?;

    let key_count = i32::try_from(page.entries.len()).unwrap_or(MAX_PAGE);
    let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            Entry::Object { key, size, etag, modified } => contents.push(Object {
                key: Some(encoding.apply(key)),
                size: i64::try_from(size).ok(),
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(modified.to_system_time().into()),
                owner: input.fetch_owner.unwrap_or_default().then(owner),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Object::default()
            }),
            Entry::Prefix(prefix) => {
                common_prefixes.push(CommonPrefix { prefix: Some(encoding.apply(prefix)) })
            }
        }
    }
    Ok(ListObjectsV2Output {
        name: Some(api.bucket.into()),
        prefix: Some(encoding.apply(input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(|delimiter| encoding.apply(delimiter)),
        start_after: input.start_after.map(|key| encoding.apply(key)),
        encoding_type: encoding.name(),
        max_keys: Some(max_keys),
        key_count: Some(key_count),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(|place| BASE64URL_NOPAD.encode(&place)),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        request_charged: None,
    })
}

pub(super) async fn uploads(
    api: &Api,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    let max_uploads = page_size(input.max_uploads, "max-uploads")?;
    let encoding = Encoding::parse(input.encoding_type)?;
    if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "A delimiter is not implemented for multipart uploads."));
    }
    let prefix = input.prefix.clone().unwrap_or_default();
    let mut uploads = api.blocking(move |store| store.uploads(&prefix)).await?;
    // An upload-id-marker without a key-marker is ignored.
    if let Some(key) = input.key_marker.as_deref() {
        uploads.retain(|upload| is_behind(upload, key, input.upload_id_marker.as_deref()));
    }
    let limit = usize::try_from(max_uploads).unwrap_or_default();
    let is_truncated = limit > 0 && uploads.len() > limit;
    uploads.truncate(limit);
    let last = uploads.last().filter(|_| is_truncated).cloned();
    Ok(ListMultipartUploadsOutput {
        bucket: Some(api.bucket.into()),
        prefix: input.prefix.map(|prefix| encoding.apply(prefix)),
        key_marker: input.key_marker.map(|key| encoding.apply(key)),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: last.as_ref().map(|upload| encoding.apply(upload.key.clone())),
        next_upload_id_marker: last.map(|upload| upload.id),
        encoding_type: encoding.name(),
        max_uploads: Some(max_uploads),
        is_truncated: Some(is_truncated),
        uploads: Some(uploads.into_iter().map(|upload| multipart_upload(upload, &encoding)).collect()),
        ..ListMultipartUploadsOutput::default()
    })
}

pub(super) async fn parts(api: &Api, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let max_parts = page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or_default();
    let (key, upload_id) = (input.key.clone(), input.upload_id.clone());
    let arrived = api.blocking(move |store| store.parts(&key, &upload_id)).await?;
    let behind = |part: &Part| part.part_number > Some(marker);
    let mut parts: Vec<_> = arrived.into_iter().map(listed_part).filter(behind).collect();
    let limit = usize::try_from(max_parts).unwrap_or_default();
    let is_truncated = limit > 0 && parts.len() > limit;
    parts.truncate(limit);
    Ok(ListPartsOutput {
        bucket: Some(api.bucket.into()),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(marker),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        max_parts: Some(max_parts),
        is_truncated: Some(is_truncated),
        parts: Some(parts),
        initiator: Some(Initiator { display_name: owner().display_name, id: owner().id }),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    })
}

fn multipart_upload(upload: Upload, encoding: &Encoding) -> MultipartUpload {
    MultipartUpload {
        key: Some(encoding.apply(upload.key)),
        upload_id: Some(upload.id),
        initiated: Some(upload.initiated.to_system_time().into()),
        initiator: Some(Initiator { display_name: owner().display_name, id: owner().id }),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..MultipartUpload::default()
    }
}

fn listed_part(part: crate::spaces::index::uploads::Part) -> Part {
    Part {
        part_number: i32::try_from(part.number).ok(),
        size: i64::try_from(part.size).ok(),
        e_tag: Some(ETag::Strong(part.md5)),
        last_modified: Some(part.modified.to_system_time().into()),
        ..Part::default()
    }
}

fn is_behind(upload: &Upload, key: &str, id: Option<&str>) -> bool {
    match upload.key.as_str().cmp(key) {
        Ordering::Less => false,
        Ordering::Equal => id.is_some_and(|id| upload.id.as_str() > id),
        Ordering::Greater => true,
    }
}

fn page_size(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked.unwrap_or(MAX_PAGE) {
        size @ 0.. => Ok(size.min(MAX_PAGE)),
        _ => Err(s3_error!(InvalidArgument, "{} must not be negative", name)),
    }
}

fn decode_token(token: &str) -> S3Result<Vec<u8>> {
    let decoded = BASE64URL_NOPAD.decode(token.as_bytes());
    decoded.map_err(|_| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// How keys are written in an answer: XML cannot hold every character that a key can.
struct Encoding {
    is_url: bool,
}

impl Encoding {
    fn parse(asked: Option<EncodingType>) -> S3Result<Self> {
        match asked.as_ref().map(EncodingType::as_str) {
            None => Ok(Self { is_url: false }),
            Some(EncodingType::URL) => Ok(Self { is_url: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    fn apply(&self, text: String) -> String {
        if self.is_url { utf8_percent_encode(&text, PLAIN).to_string() } else { text }
    }

    fn name(&self) -> Option<EncodingType> {
        self.is_url.then(|| EncodingType::from_static(EncodingType::URL))
    }
}
