//! What an examination stores for a moment, and that it is removed again.

use std::cell::RefCell;

use aws_sdk_s3::presigning::PresignedRequest;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ObjectCannedAcl;
use jiff::{SignedDuration, Timestamp};
use shared::{clock, unique};

use crate::Stores;
use crate::stores::Refusal;
use crate::web::life;

/// Below this everything stands. No organisation's id begins with an underscore.
pub(super) const PREFIX: &str = "_doctor/";
/// What is older was left behind by a run that was killed.
const STALE: SignedDuration = SignedDuration::from_hours(1);
/// The bytes of the object that is tried out. Not a size that a part has.
pub(super) const BYTES: &[u8] =
    b"Stored by the doctor of the storage service for a moment; it may be removed.\n";
/// Its media type.
pub(super) const CONTENT_TYPE: &str = "text/plain";

/// What could not be removed.
pub(super) struct Left {
    /// For people.
    pub text: String,
    /// The bucket keeps versions: a removal only hides.
    pub is_versioned: bool,
}

/// Names for one examination, and what has to be removed at its end.
pub(super) struct Probe<'a> {
    pub stores: &'a Stores,
    folder: String,
    /// Keys that may have an object.
    keys: RefCell<Vec<String>>,
    /// Uploads that may live: key and id.
    uploads: RefCell<Vec<(String, String)>>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(stores: &'a Stores) -> Self {
        let folder = format!("{PREFIX}{}/", unique::ulid(clock::now()));
        Self { stores, folder, keys: RefCell::default(), uploads: RefCell::default() }
    }

    /// A key whose object will be removed.
    pub(super) fn key(&self, name: &str) -> String {
        let key = format!("{}{name}", self.folder);
        self.keys.borrow_mut().push(key.clone());
        key
    }

    /// A key of so many bytes.
    pub(super) fn long_key(&self, bytes: usize) -> String {
        self.key(&"x".repeat(bytes.saturating_sub(self.folder.len())))
    }

    /// Stores an object as the service does, and answers its entity tag.
    pub(super) async fn put(&self, key: &str, bytes: &[u8]) -> Result<String, Refusal> {
        let put = self.stores.s3.put_object().bucket(self.stores.bucket()).key(key);
        let put =
            put.acl(ObjectCannedAcl::Private).content_type(CONTENT_TYPE).metadata("upload-id", "doctor");
        let put = put.body(ByteStream::from(bytes.to_vec())).send().await?;
        Ok(put.e_tag.unwrap_or_default())
    }

    /// Begins an upload in parts, and answers its id.
    pub(super) async fn begin(&self, key: &str) -> Result<String, Refusal> {
        let create = self.stores.s3.create_multipart_upload().bucket(self.stores.bucket()).key(key);
        let create = create.acl(ObjectCannedAcl::Private).content_type(CONTENT_TYPE).send().await?;
        let id = create.upload_id.unwrap_or_default();
        self.uploads.borrow_mut().push((key.to_owned(), id.clone()));
        Ok(id)
    }

    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Refusal> {
        let abort = self.stores.s3.abort_multipart_upload().bucket(self.stores.bucket()).key(key);
        Ok(abort.upload_id(id).send().await.map(drop)?)
    }

    /// A URL for the first part of an upload, as the service makes it.
    pub(super) async fn part_url(
        &self,
        key: &str,
        id: &str,
        size: usize,
    ) -> Result<PresignedRequest, String> {
        let part = self.stores.s3.upload_part().bucket(self.stores.bucket()).key(key).upload_id(id);
        let part = part.part_number(1).content_length(i64::try_from(size).unwrap_or_default());
        part.presigned(life(clock::now(), 600)?).await.map_err(|_| "a part's URL cannot be signed".into())
    }

    /// A URL for an object, under the name and type that the service would give it.
    pub(super) async fn object_url(&self, key: &str, from: Timestamp) -> Result<PresignedRequest, String> {
        let get = self.stores.s3.get_object().bucket(self.stores.bucket()).key(key);
        let get = get.response_content_type(SIGNED_TYPE).response_content_disposition(SIGNED_DISPOSITION);
        get.presigned(life(from, 60)?).await.map_err(|_| "a URL cannot be signed".into())
    }

    /// Removes everything.
    pub(super) async fn remove(&self) -> Result<(), Left> {
        let (keys, uploads) = (self.keys.take(), self.uploads.take());
        let (mut left, mut is_versioned) = (Vec::new(), false);
        for (key, id) in uploads {
            // One that ended is not there.
            if let Err(refusal) = self.abort(&key, &id).await
                && !refusal.is_missing()
            {
                left.push(format!("the upload of {key} ({})", refusal.text));
            }
        }
        for key in keys {
            let bucket = self.stores.bucket();
            let removed = self.stores.s3.delete_object().bucket(bucket).key(&key).send().await;
            let gone = match removed.map_err(Refusal::from) {
                // Where versions are suspended, the mark takes the place of the object: both are called null.
                Ok(it) if it.delete_marker() == Some(true) && it.version_id() != Some("null") => {
                    is_versioned = true;
                    Err("only hidden: the bucket keeps versions".into())
                }
                Ok(_) => self.is_gone(&key).await,
                Err(refusal) => Err(refusal.text),
            };
            if let Err(text) = gone {
                left.push(format!("{key} ({text})"));
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(Left { text: format!("left behind: {}", left.join(", ")), is_versioned }),
        }
    }

    async fn is_gone(&self, key: &str) -> Result<(), String> {
        let head = self.stores.s3.head_object().bucket(self.stores.bucket()).key(key).send().await;
        match head.map_err(Refusal::from) {
            Ok(_) => Err("still there after its removal".into()),
            Err(refusal) if refusal.status == 404 => Ok(()),
            Err(refusal) => Err(refusal.text),
        }
    }

    /// Has what earlier runs left behind removed with everything else.
    pub(super) async fn find_leftovers(&self) -> Result<(), Refusal> {
        let (s3, bucket) = (&self.stores.s3, self.stores.bucket());
        let before = (clock::now() - STALE).as_second();
        let listed = s3.list_objects_v2().bucket(bucket).prefix(PREFIX).send().await?;
        let is_stale =
            |at: Option<&aws_sdk_s3::primitives::DateTime>| at.is_some_and(|at| at.secs() < before);
        for object in listed.contents().iter().filter(|object| is_stale(object.last_modified())) {
            self.keys.borrow_mut().extend(object.key.clone().filter(|key| key.starts_with(PREFIX)));
        }
        // Not every store lists uploads by prefix.
        let listed = s3.list_multipart_uploads().bucket(bucket).prefix(PREFIX).send().await;
        for upload in listed.iter().flat_map(|page| page.uploads()).filter(|it| is_stale(it.initiated())) {
            let upload = upload.key.clone().zip(upload.upload_id.clone());
            self.uploads.borrow_mut().extend(upload.filter(|(key, _)| key.starts_with(PREFIX)));
        }
        Ok(())
    }
}

/// What a URL makes of an object.
pub(super) const SIGNED_TYPE: &str = "application/pdf";
/// A name that needs both forms of RFC 6266.
pub(super) const SIGNED_DISPOSITION: &str =
    "attachment; filename=\"Bericht _.pdf\"; filename*=UTF-8''Bericht%20%C3%A4.pdf";
