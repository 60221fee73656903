//! What the three upload endpoints have in common once the form is read.

use serde_json::json;

use super::{Answer, Call, FileField, Form};
use crate::app::App;
use crate::audit::Action;
use crate::files::{Files, NewFile};
use crate::path::Place;
use crate::problem::Problem;
use crate::record::Record;

/// Stores a form's file in a place and answers as D1 has it.
///
/// # Errors
/// [`Problem`]
pub async fn store(app: &App, call: &Call, form: Form, place: Place) -> Result<Answer, Problem> {
    let max_bytes = place.object_type.max_size_bytes;
    if form.file.bytes.len() as u64 > max_bytes {
        return Err(Problem::TooLarge { max_bytes });
    }
    let FileField { name, media_type, bytes } = form.file;
    let file = NewFile::new(name, media_type, bytes, form.add_timestamp);
    let key = call.key(|request| file.fingerprint(form.related.fingerprint(place.fingerprint(request))))?;
    let mut attempt = call.attempt(app, Action::Upload, form.related).under(key);
    let files = Files::new(app, call.deadline);
    let stored = match files.may_upload_to(&call.principal, &place, &mut attempt) {
        Ok(allowed) => files.upload(&allowed, file, &mut attempt).await,
        Err(refused) => Err(refused),
    };
    let replayed = attempt.is_replayed();
    let record = attempt.settle(stored).await?;
    Ok(stored_answer(&record)?.replayed(replayed))
}

/// What is answered when a file was stored, on whichever way.
///
/// # Errors
/// [`Problem::Internal`]
pub fn stored_answer(record: &Record) -> Result<Answer, Problem> {
    Answer::new(&json!({
        "file_path": record.file_path,
        "metadata": {
            "size": record.file_size,
            "mime_type": record.mime_type,
            "uploaded_at": record.created_at,
            "original_filename": record.original_filename,
            "sha256": record.sha256,
            "integrity": record.integrity,
        },
    }))
}
