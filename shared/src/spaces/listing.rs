//! What there is in the bucket, page by page, from any position.
//!
//! A position is the last key seen and not the store's own token, so that it can be saved and taken up by another
//! process at any time. It knows nothing of what should be there.

use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::{Call, READ_LIMIT, Spaces, SpacesError, failure, missing, repeated, size, time, tries};
use crate::clock::Deadline;
use crate::metrics::Operation;

/// A page of objects, in byte order of their keys.
#[derive(Debug, Clone)]
pub(crate) struct ListPage {
    /// At most 1,000.
    pub objects: Vec<ListedObject>,
    /// Whether others follow the last one.
    pub more: bool,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Its entity tag, as the store wrote it.
    pub etag: String,
    /// When it was stored.
    pub modified: Timestamp,
}

/// A page of the multipart uploads under way, by key.
#[derive(Debug, Clone)]
pub(crate) struct UploadsPage {
    /// At most 1,000.
    pub uploads: Vec<ListedUpload>,
    /// Where the next page begins, if there is one: the `after` to ask with.
    pub next: Option<(String, String)>,
}

/// A multipart upload under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedUpload {
    /// The key its object would have.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it began.
    pub initiated: Timestamp,
}

impl Spaces {
    /// The objects whose keys begin with `prefix` and come after `after`: one page.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        deadline: Deadline,
    ) -> Result<ListPage, SpacesError> {
        let list = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            // A key can hold what XML cannot.
            .encoding_type(EncodingType::Url);
        let page = || async { list.clone().send().await.map_err(failure) };
        let page =
            repeated(Call::Spaces(Operation::ListObjectsV2), tries(deadline.cap(READ_LIMIT)), page).await.0?;
        let is_encoded = page.encoding_type.is_some();
        let objects = page.contents.unwrap_or_default().into_iter().map(|object| {
            Ok(ListedObject {
                key: decoded(object.key.ok_or_else(|| missing("key"))?, is_encoded),
                size: size(object.size)?,
                etag: object.e_tag.ok_or_else(|| missing("entity tag"))?,
                modified: time(object.last_modified)?,
            })
        });
        Ok(ListPage { objects: objects.collect::<Result<_, _>>()?, more: page.is_truncated == Some(true) })
    }

    /// The multipart uploads that come after `after`, a key and an upload's id: one page.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn multipart_uploads(
        &self,
        after: Option<(String, String)>,
        deadline: Deadline,
    ) -> Result<UploadsPage, SpacesError> {
        let (key, id) = after.unzip();
        let list = self
            .client
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .set_key_marker(key)
            .set_upload_id_marker(id)
            .encoding_type(EncodingType::Url);
        let page = || async { list.clone().send().await.map_err(failure) };
        let page =
            repeated(Call::Spaces(Operation::ListMultipartUploads), tries(deadline.cap(READ_LIMIT)), page)
                .await
                .0?;
        let is_encoded = page.encoding_type.is_some();
        let uploads = page.uploads.unwrap_or_default().into_iter().map(|upload| {
            Ok(ListedUpload {
                key: decoded(upload.key.ok_or_else(|| missing("key"))?, is_encoded),
                id: upload.upload_id.ok_or_else(|| missing("upload id"))?,
                initiated: time(upload.initiated)?,
            })
        });
        let next = page.next_key_marker.map(|key| decoded(key, is_encoded)).zip(page.next_upload_id_marker);
        Ok(UploadsPage {
            uploads: uploads.collect::<Result<_, _>>()?,
            next: next.filter(|_| page.is_truncated == Some(true)),
        })
    }
}

/// A key out of a listing that was asked for in `encoding-type=url`, which some stores do not know and say so by not
/// repeating it. S3 writes a space as `+`, others as `%20`; a plus is `%2B` with all of them. A key that is not UTF-8
/// is none that S3 allows.
fn decoded(key: String, is_encoded: bool) -> String {
    if !is_encoded {
        return key;
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_every_store_encodes_them() {
        for encoded in ["a+b%2Bc/%C3%BC%01", "a%20b%2Bc/%c3%bc%01"] {
            assert_eq!(decoded(encoded.into(), true), "a b+c/ü\u{1}");
        }
        assert_eq!(decoded("a+b%2Bc".into(), false), "a+b%2Bc");
    }
}
