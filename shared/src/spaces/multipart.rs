//! Multipart uploads: what an upload session is made of.
//!
//! It knows nothing of sessions: who may upload, which parts there should be, and what a completed object is worth.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ObjectCannedAcl};
use jiff::Timestamp;

use super::{
    Call, DELETE_LIMIT, PUT_LIMIT, READ_LIMIT, Spaces, SpacesError, failure, missing, or_answer, repeated,
    size, tries,
};
use crate::clock::{self, Deadline};
use crate::metrics::Operation;
use crate::record::Record;
use crate::retry::Tries;

/// All attempts to complete an upload together. One may take all of it: a store that puts gigabytes together works for
/// seconds, and a second request beside the first would only make it work twice.
const COMPLETE_LIMIT: Duration = Duration::from_secs(5);

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1 on.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// Its entity tag, as the store wrote it.
    pub etag: String,
}

/// How a client sends one part. The URL is the grant itself: never logged, never stored.
pub(crate) struct SignedPart {
    /// The URL.
    pub url: String,
    /// The headers that are signed: a request without them, or with other values, is refused.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for SignedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPart").finish_non_exhaustive()
    }
}

/// What the store says to the completion of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The object is there.
    Done {
        /// Its entity tag.
        etag: String,
    },
    /// There is no such upload: somebody completed it (an attempt of ours that had no answer, maybe) or aborted it.
    NoSuchUpload,
    /// The parts cannot be put together, and nothing has changed.
    PartsRefused {
        /// `InvalidPart`, `InvalidPartOrder` or `EntityTooSmall`.
        code: String,
    },
}

impl Spaces {
    /// Begins the multipart upload of a reservation, and settles what its object will be; answers its id.
    ///
    /// An attempt that had no answer may have begun another one, which nobody knows the id of. It holds no bytes and
    /// can become no object; maintenance aborts it.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn begin_multipart(
        &self,
        record: &Record,
        deadline: Deadline,
    ) -> Result<String, SpacesError> {
        let create = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&record.file_path)
            .acl(ObjectCannedAcl::Private)
            .content_type(&record.mime_type)
            .metadata("upload-id", &record.upload_id);
        let create = match &record.sha256 {
            Some(sha256) => create.metadata("sha256", sha256),
            None => create,
        };
        let limit = deadline.cap_before_settling(PUT_LIMIT);
        let begun = repeated(Call::Spaces(Operation::CreateMultipartUpload), tries(limit), || async {
            create.clone().send().await.map_err(failure)
        })
        .await
        .0?;
        begun.upload_id.ok_or_else(|| missing("upload id"))
    }

    /// Signs a URL for one part of exactly `size` bytes. The same for the same arguments. No call is made.
    ///
    /// # Errors
    /// [`SpacesError::Refused`] if the request cannot be signed.
    pub(crate) async fn sign_part(
        &self,
        key: &str,
        multipart_id: &str,
        number: u32,
        size: u64,
        from: Timestamp,
        life: Duration,
    ) -> Result<SignedPart, SpacesError> {
        let refused = |what: &str| SpacesError::Refused(format!("a part's URL cannot be signed: {what}"));
        // A signature's time has whole seconds.
        let from = clock::whole_seconds(from);
        let signing = PresigningConfig::builder().start_time(from.into()).expires_in(life).build();
        let part = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(multipart_id)
            .part_number(i32::try_from(number).map_err(|_| refused("number"))?)
            .content_length(i64::try_from(size).map_err(|_| refused("size"))?)
            .presigned(signing.map_err(|_| refused("life"))?)
            .await
            .map_err(|_| refused("request"))?;
        // Whoever sends a request names the host by the URL. The trace is Lambda's and ours: the SDK adds it, and does not sign it.
        let ours = ["host", "x-amzn-trace-id"];
        let headers = part.headers().filter(|(name, _)| !ours.iter().any(|it| name.eq_ignore_ascii_case(it)));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(SignedPart { url: part.uri().to_owned(), headers })
    }

    /// Puts a part of an upload whose bytes are ours; answers its entity tag. The last attempt to arrive counts, which is why
    /// the tag is needed to put the parts together.
    ///
    /// # Errors
    /// [`SpacesError`]; none of the upload, if it is gone, is [`SpacesError::Refused`].
    pub(crate) async fn put_part(
        &self,
        record: &Record,
        number: u32,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<String, SpacesError> {
        let body = SdkBody::from(bytes);
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let put = || async {
            let put = self.client.upload_part().bucket(&self.bucket).key(&record.file_path);
            let put = put.set_upload_id(record.multipart_id.clone()).part_number(number);
            let body = ByteStream::new(body.try_clone().unwrap_or_else(SdkBody::taken));
            put.body(body).send().await.map_err(failure)
        };
        let put = repeated(
            Call::Spaces(Operation::UploadPart),
            tries(deadline.cap_before_settling(PUT_LIMIT)),
            put,
        )
        .await
        .0?;
        put.e_tag.ok_or_else(|| missing("part's entity tag"))
    }

    /// The parts that have arrived, by number; none if there is no such upload (any more).
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn parts(
        &self,
        key: &str,
        multipart_id: &str,
        deadline: Deadline,
    ) -> Result<Option<Vec<Part>>, SpacesError> {
        let list = self.client.list_parts().bucket(&self.bucket).key(key).upload_id(multipart_id);
        let mut parts: Vec<Part> = Vec::new();
        loop {
            // Our own marker: not every store names the next one.
            let last = parts.last().map(|part| part.number.to_string());
            let page = || async {
                let page = list.clone().set_part_number_marker(last.clone()).send().await.map(Some);
                or_answer(page, |code, _| (code == "NoSuchUpload").then_some(None))
            };
            let Some(page) =
                repeated(Call::Spaces(Operation::ListParts), tries(deadline.cap(READ_LIMIT)), page).await.0?
            else {
                return Ok(None);
            };
            let listed = page.parts().iter().map(part).collect::<Result<Vec<_>, _>>()?;
            // A page that brings nothing new cannot be behind the one before.
            let advances = listed.last().map(|part| part.number) > parts.last().map(|part| part.number);
            parts.extend(listed);
            if !advances || page.is_truncated != Some(true) {
                return Ok(Some(parts));
            }
        }
    }

    /// Puts the parts together. From then on the upload's URLs are dead.
    ///
    /// Whether these are the right parts is for the caller to know: not every store refuses an empty list, a wrong
    /// order or a part that is too small. Nor is [`Completion::Done`] proof that the object is still there, since some
    /// stores repeat an answer they gave before. A HEAD is.
    ///
    /// # Errors
    /// [`SpacesError::Unanswered`] is doubt: the object may be there, or still come to be.
    pub(crate) async fn complete_multipart(
        &self,
        key: &str,
        multipart_id: &str,
        parts: &[Part],
        deadline: Deadline,
    ) -> Result<Completion, SpacesError> {
        let listed = parts.iter().map(|part| {
            let number = i32::try_from(part.number).unwrap_or(i32::MAX);
            CompletedPart::builder().part_number(number).e_tag(&part.etag).build()
        });
        let listed = CompletedMultipartUpload::builder().set_parts(Some(listed.collect())).build();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(multipart_id)
            .multipart_upload(listed);
        let call = || async {
            let done =
                complete.clone().send().await.map(|done| done.e_tag.map(|etag| Completion::Done { etag }));
            or_answer(done, |code, _| match code {
                "NoSuchUpload" => Some(Some(Completion::NoSuchUpload)),
                "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" => {
                    Some(Some(Completion::PartsRefused { code: code.to_owned() }))
                }
                _ => None,
            })
        };
        let limit = deadline.cap_before_settling(COMPLETE_LIMIT);
        let (completion, stray) = repeated(
            Call::Spaces(Operation::CompleteMultipartUpload),
            Tries::within(limit, COMPLETE_LIMIT),
            call,
        )
        .await;
        let unanswered = |what: String| SpacesError::Unanswered(format!("completing an upload: {what}"));
        match completion {
            // An answer that begins well and is cut short has no entity tag.
            Ok(None) => Err(unanswered("no entity tag in the answer".into())),
            // The attempt that had no answer may find other parts, or its time, later.
            Ok(Some(Completion::PartsRefused { code })) if stray => Err(unanswered(code)),
            Err(error) if stray => Err(unanswered(error.to_string())),
            Ok(Some(completion)) => Ok(completion),
            Err(error) => Err(error),
        }
    }

    /// Ends an upload and removes its parts; one that is not there has ended already, by its completion maybe.
    ///
    /// A part that arrives at this moment may outlive it on S3, invisibly: maintenance aborts again what it still lists.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub(crate) async fn abort_multipart(
        &self,
        key: &str,
        multipart_id: &str,
        deadline: Deadline,
    ) -> Result<(), SpacesError> {
        let abort =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(multipart_id);
        let call = || async {
            or_answer(abort.clone().send().await.map(drop), |code, _| (code == "NoSuchUpload").then_some(()))
        };
        repeated(Call::Spaces(Operation::AbortMultipartUpload), tries(deadline.cap(DELETE_LIMIT)), call)
            .await
            .0
    }
}

fn part(part: &aws_sdk_s3::types::Part) -> Result<Part, SpacesError> {
    Ok(Part {
        number: part
            .part_number
            .and_then(|it| u32::try_from(it).ok())
            .ok_or_else(|| missing("part number"))?,
        size: size(part.size)?,
        etag: part.e_tag.clone().ok_or_else(|| missing("part's entity tag"))?,
    })
}

#[cfg(test)]
mod tests;
