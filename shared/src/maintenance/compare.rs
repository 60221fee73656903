//! Bucket and table, held against each other in slices: page by page, with a position that is kept.
//!
//! Two walks make a pass. The first goes through the bucket and asks the table for every key; the second goes through the
//! index `by_context`, whose partitions have the bucket's byte order, and merges each page with a listing of the same
//! stretch. Neither holds more than a page, and a difference is only one after a strong read and a HEAD.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Done, GRACE, Kind, Maintenance, org_of_key, path_of};
use crate::audit::{Action, Details, Outcome, Related};
use crate::clock;
use crate::ids::UserId;
use crate::metrics::{self, Metric};
use crate::problem::Problem;
use crate::record::{Integrity, Record, State};
use crate::spaces::Object;
use crate::tables::{Change, FileMark, RecordedFile, Saved};
use crate::unique;

/// So many lost files of one page, if they are most of it, are not believed.
const MANY: usize = 50;

/// How far the comparison came.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Where the pass goes on; none: the next one has not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Step>,
    /// When the last pass ended, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
    /// What the pass under way has found in the bucket so far; none if it began without counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<Stored>,
}

/// What is in the bucket.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    objects: u64,
    bytes: u64,
}

/// A page of a pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Step {
    /// Objects behind this key.
    Objects(Option<String>),
    /// Records behind this one.
    Records(Option<FileMark>),
}

impl Maintenance<'_> {
    /// Goes on with the pass under way, or begins one if it is time, until it ends.
    pub(super) async fn compare(&mut self) -> Result<(), Problem> {
        self.go_on()?;
        let mut saved: Saved<Progress> = match self.options.dry_run {
            true => Saved::default(),
            false => self.app.tables.position(self.deadline).await?,
        };
        let every = self.options.compare_every.as_millis();
        let is_early =
            |ended: i64| i128::from(self.now.as_millisecond()) < i128::from(ended) + every && every > 0;
        if let Some(ended) = saved.value.ended.filter(|_| !self.options.dry_run) {
            let age_ms = self.now.as_millisecond() - ended;
            metrics::record(Metric::ComparisonAge, u64::try_from(age_ms / 1_000).unwrap_or_default());
        }
        if saved.value.at.is_none() && saved.value.ended.is_some_and(is_early) {
            return Ok(());
        }
        let mut step = saved.value.at.take().unwrap_or_else(|| {
            saved.value.stored = Some(Stored::default());
            Step::Objects(None)
        });
        loop {
            self.go_on()?;
            let next = match step {
                Step::Objects(after) => self.compare_objects(after, saved.value.stored.as_mut()).await?,
                Step::Records(after) => self.compare_records(after).await?.map(Some).map(Step::Records),
            };
            if !self.options.dry_run {
                saved.value.at.clone_from(&next);
                if next.is_none() {
                    saved.value.ended = Some(self.now.as_millisecond());
                }
                let all_seen = !matches!(next, Some(Step::Objects(_)));
                let stored = saved.value.stored.take_if(|_| all_seen);
                if !self.app.tables.keep_position(&saved, self.deadline).await? {
                    return Err(Problem::Unavailable("another run goes on with the comparison".into()));
                }
                saved.version += 1;
                if let Some(Stored { objects, bytes }) = stored {
                    metrics::record(Metric::StorageObjects, objects);
                    metrics::record(Metric::StorageBytes, bytes);
                }
            }
            match next {
                Some(next) => step = next,
                None => return Ok(()),
            }
        }
    }

    /// A page of objects: has each its record?
    async fn compare_objects(
        &mut self,
        after: Option<String>,
        stored: Option<&mut Stored>,
    ) -> Result<Option<Step>, Problem> {
        self.pace().await;
        let page = self.app.spaces.list("", after.as_deref(), self.deadline).await?;
        if let Some(stored) = stored {
            stored.objects += page.objects.len() as u64;
            stored.bytes += page.objects.iter().map(|object| object.size).sum::<u64>();
        }
        let old = page.objects.iter().filter(|object| object.modified < self.now - GRACE);
        let keys: Vec<&str> = old.map(|object| object.key.as_str()).collect();
        let states = self.app.tables.states(&keys, self.deadline).await?;
        for key in keys {
            if states.get(key).is_none_or(|state| *state == State::Purged) {
                self.go_on()?;
                let found = self.quarantine(key).await;
                self.note(key, found);
            }
        }
        let last = page.objects.into_iter().next_back().filter(|_| page.more);
        Ok(Some(match last {
            Some(last) => Step::Objects(Some(last.key)),
            None => Step::Records(None),
        }))
    }

    /// An object that nobody recorded, unless a closer look shows otherwise, gets a record.
    async fn quarantine(&mut self, key: &str) -> Result<Option<Kind>, Problem> {
        let row = self.app.tables.record_at(key, self.deadline).await?;
        if row.as_ref().is_some_and(|row| row.state != State::Purged) {
            return Ok(None);
        }
        self.pace().await;
        let object = self.app.spaces.head(key, self.deadline).await?;
        let Some(object) = object.filter(|object| object.modified < self.now - GRACE) else {
            return Ok(None);
        };
        if self.options.dry_run {
            return Ok(Some(Kind::Unrecorded));
        }
        let over = row.as_ref().map(|row| row.upload_id.clone());
        let record = found(key, row, object);
        let done = Done {
            action: Action::Quarantine,
            org: super::org_of(&record.org_id),
            key,
            related: Related::default(),
            details: Details {
                file_size: Some(record.file_size),
                mime_type: Some(record.mime_type.clone()),
                ..Details::default()
            },
            outcome: Outcome::Success,
        };
        self.commit(Change::Quarantine { record: &record, over: over.as_deref() }, done).await?;
        Ok(Some(Kind::Unrecorded))
    }

    /// A page of records: has each its object?
    async fn compare_records(&mut self, after: Option<FileMark>) -> Result<Option<FileMark>, Problem> {
        let page = self.app.tables.files(after, self.deadline).await?;
        let with_object = page.files.into_iter().filter(|file| {
            matches!(file.state, State::Active | State::Deleted)
                && file.integrity != Integrity::Failed
                && file.updated_at < self.now - GRACE
        });
        let mut files: Vec<RecordedFile> = with_object.collect();
        files.sort_unstable_by(|a, b| a.file_path.cmp(&b.file_path));
        let differing = self.differing(&files).await?;
        if differing.len() >= MANY && differing.len() * 2 > files.len() {
            // Such a loss is more likely a wrong bucket: a person must look before anything is marked.
            let (lost, of) = (differing.len(), files.len());
            let found = Err(Problem::Unavailable(format!(
                "{lost} of {of} objects are gone or others; nothing was marked: is this the right bucket?"
            )));
            self.note(differing.first().copied().unwrap_or_default(), found);
            return Ok(page.next);
        }
        for key in differing {
            self.go_on()?;
            let found = self.damaged(key).await;
            self.note(key, found);
        }
        Ok(page.next)
    }

    /// Which of these files, in the byte order of their keys, a listing does not show, or shows with another entity tag. It
    /// jumps from each stretch to the next.
    async fn differing<'f>(&mut self, mut files: &'f [RecordedFile]) -> Result<Vec<&'f str>, Problem> {
        let (mut differing, mut seen) = (Vec::new(), String::new());
        while let Some(RecordedFile { file_path: first, .. }) = files.first() {
            self.go_on()?;
            self.pace().await;
            // A listing begins behind a key: behind one that is just before the first.
            let before = first.char_indices().next_back().map_or("", |(last, _)| &first[..last]);
            let after = Some(before.max(&seen)).filter(|after| !after.is_empty());
            let page = self.app.spaces.list("", after, self.deadline).await?;
            let listed: HashMap<&str, &str> =
                page.objects.iter().map(|object| (object.key.as_str(), object.etag.as_str())).collect();
            let last = page.objects.last().filter(|_| page.more);
            let stretch =
                last.map_or(files.len(), |last| files.partition_point(|file| file.file_path <= last.key));
            let (compared, rest) = files.split_at(stretch);
            let agrees = |file: &&RecordedFile| {
                listed.get(file.file_path.as_str()).is_some_and(|etag| same_tag(file.etag.as_deref(), etag))
            };
            differing
                .extend(compared.iter().filter(|file| !agrees(file)).map(|file| file.file_path.as_str()));
            seen = last.map(|last| last.key.clone()).unwrap_or_default();
            files = rest;
        }
        Ok(differing)
    }

    /// A record without its object, or with another one, unless a closer look shows otherwise, is marked.
    async fn damaged(&mut self, key: &str) -> Result<Option<Kind>, Problem> {
        let record = self.app.tables.record_at(key, self.deadline).await?;
        let Some(record) = record.filter(|record| {
            matches!(record.state, State::Active | State::Deleted) && record.integrity != Integrity::Failed
        }) else {
            return Ok(None);
        };
        self.pace().await;
        let object = self.app.spaces.head(key, self.deadline).await?;
        let kind = match &object {
            None => Kind::ObjectMissing,
            Some(object) if same_tag(record.etag.as_deref(), &object.etag) => return Ok(None),
            Some(_) => Kind::Damaged,
        };
        if !self.options.dry_run {
            self.mark_damaged(&record, object.is_some()).await?;
        }
        Ok(Some(kind))
    }
}

/// Whether an object has the recorded entity tag, which stores write with quotes or without. A record of none does not say.
fn same_tag(recorded: Option<&str>, found: &str) -> bool {
    recorded.is_none_or(|recorded| recorded.trim_matches('"') == found.trim_matches('"'))
}

/// The record of an object that nobody told of: what the object and its key tell, whatever stood there before.
fn found(key: &str, row: Option<Record>, object: Object) -> Record {
    let now = clock::whole_seconds(clock::now());
    Record {
        state: State::Deleted,
        version: row.map_or(0, |row| row.version) + 1,
        upload_id: unique::ulid(now).to_string(),
        lease: None,
        file_size: object.size,
        mime_type: object.content_type.unwrap_or_else(|| "application/octet-stream".into()),
        sha256: None,
        // Nobody vouches for it.
        integrity: Integrity::Failed,
        multipart_id: None,
        etag: Some(object.etag),
        updated_at: now,
        deleted_at: Some(now),
        deleted_by: Some(UserId::system()),
        quarantined_at: Some(now),
        expires_at: None,
        ..unknown(key)
    }
}

/// What a key alone tells.
fn unknown(key: &str) -> Record {
    let now = clock::whole_seconds(clock::now());
    let place = path_of(key).map(|path| path.place().clone());
    let of_place = |part: fn(&crate::path::Place) -> &str| place.as_ref().map_or("", part).to_owned();
    Record {
        file_path: key.to_owned(),
        state: State::Deleted,
        version: 0,
        upload_id: String::new(),
        lease: None,
        org_id: org_of_key(key).as_str().to_owned(),
        system: of_place(|place| place.object_type.system),
        object_type: of_place(|place| place.object_type.name),
        object_id: of_place(|place| place.object_id.as_str()),
        original_filename: String::new(),
        file_size: 0,
        mime_type: String::new(),
        sha256: None,
        integrity: Integrity::Failed,
        multipart_id: None,
        etag: None,
        uploaded_by: UserId::system(),
        owner: "system".into(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        deleted_by: None,
        quarantined_at: None,
        expires_at: None,
    }
}
