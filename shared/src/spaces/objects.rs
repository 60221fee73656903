//! Whole objects: put, look at, remove, sign a URL.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::ObjectCannedAcl;
use jiff::Timestamp;
use thiserror::Error;

use super::{
    Call, DELETE_LIMIT, PUT_LIMIT, READ_LIMIT, Spaces, SpacesError, failure, missing, or_answer, repeated,
    size, time, tries,
};
use crate::clock::{self, Deadline, Stopwatch};
use crate::metrics::{self, Metric, Operation};
use crate::record::Record;
use crate::tables::Committed;

/// An object that was stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its entity tag.
    pub(crate) etag: String,
    /// Whether an attempt before had no answer: it may still arrive, also after the object was removed again.
    pub(crate) stray: bool,
}

/// An object that was not stored, as far as anybody knows.
#[derive(Debug, Clone, Error)]
#[error("{error}")]
pub(crate) struct NotStored {
    /// Why.
    pub error: SpacesError,
    /// Whether an attempt had no answer: it may still arrive.
    pub stray: bool,
}

/// What the store says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// In bytes.
    pub size: u64,
    /// Its entity tag, as the store wrote it.
    pub etag: String,
    /// The attempt it was stored for: `upload-id` of its metadata, which only we write.
    pub upload_id: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// When it was stored.
    pub modified: Timestamp,
}

/// How a signed URL makes the store answer.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// `response-content-type`
    pub content_type: String,
    /// `response-content-disposition`
    pub disposition: String,
}

/// A signed URL. It is the grant itself: never logged, never stored.
pub struct SignedUrl {
    /// The URL.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Spaces {
    /// Stores the bytes of a reservation, privately.
    ///
    /// # Errors
    /// [`NotStored`]
    pub(crate) async fn put(
        &self,
        record: &Record,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<Stored, NotStored> {
        let body = SdkBody::from(bytes);
        let put = || async {
            let put = self.client.put_object().bucket(&self.bucket).key(&record.file_path);
            put.acl(ObjectCannedAcl::Private)
                .content_type(&record.mime_type)
                .metadata("sha256", record.sha256.as_deref().unwrap_or_default())
                .metadata("upload-id", &record.upload_id)
                // Bytes in memory can be sent any number of times; a body that was taken cannot be sent at all.
                .body(ByteStream::new(body.try_clone().unwrap_or_else(SdkBody::taken)))
                .send()
                .await
                .map_err(failure)
        };
        let (put, stray) =
            repeated(Call::Spaces(Operation::PutObject), tries(deadline.cap_before_settling(PUT_LIMIT)), put)
                .await;
        match put.and_then(|put| put.e_tag.ok_or_else(|| missing("entity tag"))) {
            Ok(etag) => Ok(Stored { etag, stray }),
            Err(error) => Err(NotStored { error, stray }),
        }
    }

    /// Keeps bytes under the key of a reservation whose file is still to come. Not the file: its metadata name no upload.
    ///
    /// Only in the place of `over`, or of nothing: what arrives late does no harm to what is there by then. A store that does
    /// not know the condition takes it in any case; then the comparison would find the harm.
    ///
    /// # Errors
    /// [`SpacesError`]; if something else is there, [`SpacesError::Unavailable`].
    pub(crate) async fn put_tail(
        &self,
        record: &Record,
        over: Option<&Object>,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), SpacesError> {
        let body = SdkBody::from(bytes);
        let put = || async {
            let put = self.client.put_object().bucket(&self.bucket).key(&record.file_path);
            let put = match over {
                Some(object) => put.if_match(&object.etag),
                None => put.if_none_match("*"),
            };
            let put = put.acl(ObjectCannedAcl::Private).content_type(&record.mime_type);
            let body = ByteStream::new(body.try_clone().unwrap_or_else(SdkBody::taken));
            let put = put.body(body).send().await.map(|_| true);
            or_answer(put, |_, status| matches!(status, 404 | 412).then_some(false))
        };
        let limit = deadline.cap_before_settling(PUT_LIMIT);
        match repeated(Call::Spaces(Operation::PutObject), tries(limit), put).await.0? {
            true => Ok(()),
            false => Err(SpacesError::Unavailable("another object is there by now".into())),
        }
    }

    /// What is stored under a key; none if nothing is.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn head(&self, key: &str, deadline: Deadline) -> Result<Option<Object>, SpacesError> {
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        // The answer to a HEAD has no body that could hold a code.
        let call = || async {
            or_answer(head.clone().send().await.map(Some), |_, status| (status == 404).then_some(None))
        };
        let Some(head) =
            repeated(Call::Spaces(Operation::HeadObject), tries(deadline.cap(READ_LIMIT)), call).await.0?
        else {
            return Ok(None);
        };
        Ok(Some(Object {
            size: size(head.content_length)?,
            etag: head.e_tag.ok_or_else(|| missing("entity tag"))?,
            upload_id: head.metadata.and_then(|mut metadata| metadata.remove("upload-id")),
            content_type: head.content_type,
            modified: time(head.last_modified)?,
        }))
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// Only to be called for a record in state PURGING: the fence.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn delete(&self, record: &Record, deadline: Deadline) -> Result<(), SpacesError> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(&record.file_path);
        repeated(Call::Spaces(Operation::DeleteObject), tries(deadline.cap(DELETE_LIMIT)), || async {
            delete.clone().send().await.map_err(failure)
        })
        .await
        .0
        .map(drop)
    }

    /// Signs a URL for an object. It takes the proof that the URL's entry is in the log, since without one there must
    /// be no URL. No call is made.
    ///
    /// # Errors
    /// [`SpacesError::Refused`] if the request cannot be signed.
    pub(crate) async fn sign(
        &self,
        record: &Record,
        presentation: Presentation,
        life: Duration,
        recorded: Committed,
    ) -> Result<SignedUrl, SpacesError> {
        let refused = |what: &str| SpacesError::Refused(format!("a URL cannot be signed: {what}"));
        let begun = Stopwatch::start();
        // A signature's time has whole seconds, and so has the end of its life.
        let from = clock::whole_seconds(recorded.at());
        let signing = PresigningConfig::builder().start_time(from.into()).expires_in(life).build();
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&record.file_path)
            .response_content_type(presentation.content_type)
            .response_content_disposition(presentation.disposition)
            .presigned(signing.map_err(|_| refused("life"))?)
            .await
            .map_err(|_| refused("request"))?;
        metrics::record(Metric::SigningLatency, begun.elapsed_us());
        let expires_at = from.checked_add(life).map_err(|_| refused("time"))?;
        Ok(SignedUrl { url: get.uri().to_owned(), expires_at })
    }
}
