//! Whole objects: stored, read, under the longest key there can be.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::ByteStream;
use shared::catalog::Catalog;
use shared::file_name::MAX_FILE_NAME_BYTES;
use shared::ids::MAX_ID_BYTES;

use super::checks::{CHECKSUMS, KEY_LENGTH, READ, WRITE};
use super::probe::{BYTES, CONTENT_TYPE, Probe};
use crate::report::{Finding, Report};
use crate::stores::Refusal;

/// The key of an object that was stored; none: nothing can be.
pub(super) async fn examine(probe: &Probe<'_>, report: &mut Report) -> Option<String> {
    let key = probe.key("object.txt");
    if let Err(refusal) = probe.put(&key, BYTES).await {
        report.push(not_written(&refusal));
        return None;
    }
    report.push(Finding::ok(&WRITE, "stored"));
    report.push(match read(probe, &key).await {
        Ok(()) => Finding::ok(&READ, "the same bytes, type and metadata"),
        Err(text) => Finding::failed(
            &READ,
            text,
            "Give the key the right to read; if it has it, this store, or what stands before it, changes objects.",
        ),
    });
    // An organisation, a system with an object type, an object, a name, and slashes between them.
    let longest = MAX_ID_BYTES + Catalog::get().max_path_bytes() + MAX_ID_BYTES + MAX_FILE_NAME_BYTES + 3;
    report.push(match probe.put(&probe.long_key(longest), BYTES).await {
        Ok(_) => Finding::ok(&KEY_LENGTH, format!("{longest} bytes")),
        Err(refusal) => Finding::failed(
            &KEY_LENGTH,
            format!("a key of {longest} bytes: {}", refusal.text),
            "S3 takes 1,024 bytes; this store is not enough.",
        ),
    });
    report.push(checksums(probe).await);
    Some(key)
}

fn not_written(refusal: &Refusal) -> Finding {
    let remedy = match refusal.code.as_str() {
        "AccessControlListNotSupported" => {
            "Set the bucket's Object Ownership to \"Bucket owner preferred\": objects are stored with the ACL private."
        }
        _ => "Give the access key write permissions for this bucket (Spaces: a key with Read/Write/Delete).",
    };
    Finding::failed(&WRITE, &refusal.text, remedy)
}

async fn read(probe: &Probe<'_>, key: &str) -> Result<(), String> {
    let (s3, bucket) = (&probe.stores.s3, probe.stores.bucket());
    let head = s3.head_object().bucket(bucket).key(key).send().await;
    let head = head.map_err(|error| format!("HEAD: {}", Refusal::from(error).text))?;
    let metadata = head.metadata().and_then(|metadata| metadata.get("upload-id"));
    if metadata.map(String::as_str) != Some("doctor") || head.content_type() != Some(CONTENT_TYPE) {
        return Err("HEAD shows another type, or other metadata, than was stored".into());
    }
    if head.e_tag().is_none() || head.last_modified().is_none() {
        return Err("HEAD shows no ETag or no Last-Modified".into());
    }
    match bytes(s3, bucket, key).await?.as_slice() {
        BYTES => Ok(()),
        bytes => Err(format!("{} bytes come back where {} were stored", bytes.len(), BYTES.len())),
    }
}

async fn bytes(s3: &Client, bucket: &str, key: &str) -> Result<Vec<u8>, String> {
    let get = s3.get_object().bucket(bucket).key(key).send().await;
    let get = get.map_err(|error| format!("GET: {}", Refusal::from(error).text))?;
    Ok(get.body.collect().await.map_err(|_| "GET: the answer breaks off".to_owned())?.to_vec())
}

/// What a program with the SDK's defaults would see.
async fn checksums(probe: &Probe<'_>) -> Finding {
    let (s3, bucket, key) = (&probe.stores.s3, probe.stores.bucket(), probe.key("crc32.txt"));
    let usual = s3.config().to_builder();
    let usual = usual.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let put = Client::from_conf(usual.build()).put_object().bucket(bucket).key(&key);
    let put = put.body(ByteStream::from_static(BYTES)).send().await;
    let came_back = match put {
        Ok(_) => bytes(s3, bucket, &key).await.map(|bytes| bytes == BYTES),
        Err(error) => Err(Refusal::from(error).text),
    };
    let remedy =
        "Nothing for this service. In other programs set AWS_REQUEST_CHECKSUM_CALCULATION=when_required.";
    match came_back {
        Ok(true) => Finding::ok(&CHECKSUMS, "it does"),
        Ok(false) => {
            Finding::warning(&CHECKSUMS, "it stores the checksum's framing as part of the object", remedy)
        }
        Err(text) => Finding::warning(&CHECKSUMS, text, remedy),
    }
}
