//! What one call does of an export: reads the log for a few seconds, puts what it has written, and remembers how far it
//! came. Nothing else is lost when it is cut: what was put and not remembered is put again, and counts once.
//!
//! A part that is not full yet is kept as the tail (see [`crate::export`]). The tail stands under the file's own key, which is
//! reserved; it names no upload, so nobody takes it for the file, and the completed upload takes its place.

use std::time::Duration;

use jiff::SignedDuration;
use ulid::Ulid;

use super::Files;
use super::complete::Stop;
use crate::attempt::Attempt;
use crate::audit::{Action, Details, Filter};
use crate::auth::{Authorised, ExportLog, Log};
use crate::clock::{self, Deadline};
use crate::export::{Export, Mark, PART_BYTES};
use crate::path::FilePath;
use crate::problem::{Mismatch, Problem};
use crate::record::{Integrity, Record, State};
use crate::session::{Session, SessionState};
use crate::spaces::{Part, ReadError};
use crate::tables::{Change, CommitError, Order, Scan};

/// How long a call reads. With what it then puts and remembers it takes at most 8 s.
const READING: Duration = Duration::from_secs(4);
/// What a call has left when it stops reading: 3 s to put a part or the tail, 3 s for settling.
const PUTTING: Duration = Duration::from_secs(6);
/// Entries of one read: what a store that is busy reads within one attempt.
const STEP: usize = 500;
/// Rows that one read looks at, at most, where few of them are wanted.
const MAX_SCANNED: usize = 4_000;
/// How long an export lives.
const EXPORT_LIFE: SignedDuration = SignedDuration::from_hours(24);

impl Files<'_> {
    /// Works on an export that is ours: reads a slice, and if that was the last one makes it a file.
    pub(super) async fn work(
        &self,
        allowed: &Authorised<ExportLog, Log>,
        session: &mut Session,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Stop> {
        let Some(mut export) = session.export.take() else {
            return Err(Stop::Again(Problem::Internal("a session without its export".into())));
        };
        let read = match export.complete {
            true => Ok(()),
            false => self.read_slice(allowed, session, &mut export).await,
        };
        // What is in the bucket is remembered with whatever comes next.
        session.export = Some(export.clone());
        read?;
        if export.complete && self.deadline.begin_effect().is_ok() {
            return self.make_file(session, &export, attempt).await;
        }
        self.save(session, SessionState::Open).await
    }

    /// Reads and puts until the time for it is over, or the end is reached. At least one read is made.
    async fn read_slice(
        &self,
        allowed: &Authorised<ExportLog, Log>,
        session: &mut Session,
        export: &mut Export,
    ) -> Result<(), Stop> {
        let until = Deadline::after(self.deadline.left().saturating_sub(PUTTING).min(READING));
        let filter = Filter::from_text(&export.filter);
        let filter = filter.map_err(|error| again(Problem::Internal(error.to_string())))?;
        let (mut bytes, mut mark) = self.resume(&session.record, export).await.map_err(again)?;
        let from = self.since(allowed, mark).await.map_err(again)?;
        loop {
            let scan = Scan {
                filter: &filter,
                from,
                below: export.bound,
                after: mark.after,
                order: Order::Ascending,
                limit: STEP,
                max_scanned: MAX_SCANNED,
            };
            let found = self.app.tables.search(allowed, &scan, self.deadline).await;
            let found = found.map_err(|error| again(error.into()))?;
            for row in &found.rows {
                export.format.write(row, &mut bytes);
                (mark.after, mark.written) = (Some(row.id), mark.written + 1);
                if bytes.len() >= PART_BYTES {
                    self.put_part(session, export, &mut bytes, mark, false).await?;
                }
            }
            mark.after = found.next.or(mark.after);
            mark.scanned += found.scanned as u64;
            if found.complete {
                // Of nothing there is one empty part.
                if !bytes.is_empty() || export.parts.is_empty() {
                    return self.put_part(session, export, &mut bytes, mark, true).await;
                }
                (export.begun, export.complete) = (mark, true);
                return self.remember(session, export).await;
            }
            if until.left().is_zero() {
                return self.keep(&session.record, export, &bytes, mark).await.map_err(again);
            }
        }
    }

    /// What is written of the part to be, and the place behind it.
    async fn resume(&self, record: &Record, export: &mut Export) -> Result<(Vec<u8>, Mark), Problem> {
        if let Some(tail) = &export.tail {
            let object = self.app.spaces.head(&record.file_path, self.deadline).await?;
            if let Some(object) = object.filter(|object| object.size == tail.bytes) {
                let mut bytes = Vec::new();
                let until = self.deadline.before_settling();
                let take = |chunk: &[u8]| bytes.extend_from_slice(chunk);
                match self.app.spaces.read_all(&record.file_path, &object.etag, until, take).await {
                    Ok(()) if tail.is(&bytes) => return Ok((bytes, tail.reached)),
                    Ok(()) | Err(ReadError::Changed) => {}
                    Err(error @ ReadError::OutOfTime) => return Err(Problem::Unavailable(error.to_string())),
                    Err(ReadError::Spaces(error)) => return Err(error.into()),
                }
            }
            // Somebody put another one and died before it was remembered.
            export.tail = None;
        }
        let begin = if export.parts.is_empty() { export.format.head() } else { Vec::new() };
        Ok((begin, export.begun))
    }

    /// Before this id there is nothing of the organisation, as far as the sealer knows, where it has seen every row.
    async fn since(&self, allowed: &Authorised<ExportLog, Log>, mark: Mark) -> Result<Ulid, Problem> {
        if mark.after.is_some() || self.app.log.is_none() {
            return Ok(Ulid::nil());
        }
        let head = self.app.tables.head(allowed.principal().org(), self.deadline).await?;
        Ok(head.map_or(Ulid::nil(), |head| head.first()))
    }

    /// Puts what is written as the next part, and remembers it.
    async fn put_part(
        &self,
        session: &mut Session,
        export: &mut Export,
        bytes: &mut Vec<u8>,
        reached: Mark,
        is_last: bool,
    ) -> Result<(), Stop> {
        if !export.has_room() {
            return Err(again(Problem::ExportTooLarge));
        }
        let number = u32::try_from(export.parts.len() + 1).unwrap_or(u32::MAX);
        let put = self.app.spaces.put_part(&session.record, number, bytes.clone(), self.deadline).await;
        export.add_part(bytes, put.map_err(|error| again(error.into()))?, reached);
        export.complete = is_last;
        bytes.clear();
        self.remember(session, export).await
    }

    /// Remembers how far it came, and goes on.
    async fn remember(&self, session: &mut Session, export: &Export) -> Result<(), Stop> {
        session.export = Some(export.clone());
        self.save(session, SessionState::Completing).await
    }

    /// Keeps what is written of a part that is not full.
    async fn keep(
        &self,
        record: &Record,
        export: &mut Export,
        bytes: &[u8],
        reached: Mark,
    ) -> Result<(), Problem> {
        if bytes.is_empty() {
            export.begun = reached;
            return Ok(());
        }
        if let Some(tail) = export.tail.as_mut().filter(|tail| tail.bytes == bytes.len() as u64) {
            // Nothing was written since.
            tail.reached = reached;
            return Ok(());
        }
        let over = self.app.spaces.head(&record.file_path, self.deadline).await?;
        self.app.spaces.put_tail(record, over.as_ref(), bytes.to_vec(), self.deadline).await?;
        export.keep_tail(bytes, reached);
        Ok(())
    }

    /// Puts the parts together and makes the object a file.
    async fn make_file(
        &self,
        session: &mut Session,
        export: &Export,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Stop> {
        let part = |(number, part): (u32, &crate::export::Part)| Part {
            number,
            size: part.bytes,
            etag: part.etag.clone(),
        };
        let parts: Vec<_> = (1..).zip(&export.parts).map(part).collect();
        attempt.go_on(Action::Upload);
        attempt.path = FilePath::parse(&session.record.file_path).ok();
        let object = self.assemble(&session.record, Some(&parts)).await?;
        if object.size != export.bytes() {
            return Err(Stop::Refuse(Problem::Mismatch(Mismatch::Size)));
        }
        let record = Record {
            file_size: object.size,
            sha256: Some(export.sha256()),
            integrity: Integrity::Verified,
            expires_at: Some(clock::whole_seconds(clock::now()) + EXPORT_LIFE),
            ..session.record.clone()
        };
        attempt.details = Details {
            file_size: Some(record.file_size),
            mime_type: Some(record.mime_type.clone()),
            sha256: record.sha256.clone(),
            ..Details::default()
        };
        self.deadline.begin_effect().map_err(|late| Stop::Again(late.into()))?;
        match attempt.succeed(Change::Store { record: &record, etag: &object.etag }).await {
            Ok(_) => {
                session.state = SessionState::Stored;
                session.record = Record { state: State::Active, version: 1, ..record };
                Ok(())
            }
            Err(error @ CommitError::InDoubt(_)) => Err(Stop::Doubt(error.into())),
            Err(CommitError::Conflict) => Err(Stop::Ended),
            Err(error) => Err(Stop::Again(error.into())),
        }
    }

    /// Remembers how far it came.
    async fn save(&self, session: &mut Session, to: SessionState) -> Result<(), Stop> {
        let saved = self.app.tables.save_export(session, to, self.deadline).await;
        if saved.map_err(|error| again(error.into()))? {
            session.state = to;
            return Ok(());
        }
        Err(Stop::Ended)
    }
}

fn again(problem: Problem) -> Stop {
    Stop::Again(problem)
}
