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
    let mut attempt = call.attempt(app, Action::Upload, form.related);
    let files = Files::new(app, call.deadline);
    let FileField { name, media_type, bytes } = form.file;
    let file = NewFile { name, media_type, bytes, add_timestamp: form.add_timestamp };
    let stored = match files.may_upload(&call.principal, place.clone()) {
        Ok(allowed) => files.upload(&allowed, file, &mut attempt).await,
        Err(refused) => {
            // No path was named, and none is derived for somebody who may not store anything there.
            attempt.details.name_place(&place);
            attempt.details.org_id =
                (refused == Problem::ForeignOrganisation).then(|| place.org.as_str().to_owned());
            Err(refused)
        }
    };
    let record = attempt.settle(stored).await?;
    let Record { file_path, file_size, mime_type, created_at, original_filename, sha256, .. } = record;
    Answer::new(&json!({
        "file_path": file_path,
        "metadata": {
            "size": file_size,
            "mime_type": mime_type,
            "uploaded_at": created_at,
            "original_filename": original_filename,
            "sha256": sha256,
        },
    }))
}
