//! `GET /api/storage/metadata/{file_path}`: what is recorded about a file (storage guide, "GET
//! /api/storage/metadata/{file_path}").

use lambda_http::http::Method;
use serde_json::json;
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::auth::{Purge, ReadMetadata};
use shared::config::Needs;
use shared::files::{Files, Visible};
use shared::http::{Answer, Call, Endpoint, Route};
use shared::path::FilePath;
use shared::problem::Problem;
use shared::record::Record;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "metadata",
    needs: Needs::ENDPOINT,
    routes: &[Route {
        method: Method::GET,
        path: "{file_path+}",
        handler: |app, call| Box::pin(handle(app, call)),
    }],
};

async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let include_deleted = call.query(&["include_deleted"])?.flag("include_deleted")?;
    let path = FilePath::parse_url(&call.rest)?;

    let mut attempt = call.attempt(app, Action::MetadataRead, Related::default());
    attempt.path = Some(path.clone());
    attempt.details.include_deleted = include_deleted.then_some(true);
    let shown = show(app, &call, path, include_deleted, &mut attempt).await;
    let record = attempt.settle(shown).await?;
    answer(&record)
}

async fn show(
    app: &App,
    call: &Call,
    path: FilePath,
    include_deleted: bool,
    attempt: &mut Attempt<'_>,
) -> Result<Record, Problem> {
    let files = Files::new(app, call.deadline);
    let considered = files.consider::<ReadMetadata>(&call.principal, path.clone())?;
    let visible = if include_deleted {
        // Whoever may purge sees what there is to purge.
        let _ = files.consider::<Purge>(&call.principal, path)?;
        Visible::AndDeleted
    } else {
        Visible::Live
    };
    let found = files.find(considered, visible, attempt).await?;
    files.show(found, attempt).await
}

fn answer(record: &Record) -> Result<Answer, Problem> {
    Answer::new(&json!({
        "file_path": record.file_path,
        "size": record.file_size,
        "mime_type": record.mime_type,
        "uploaded_at": record.created_at,
        "original_filename": record.original_filename,
        "system": record.system,
        "object_type": record.object_type,
        "object_id": record.object_id,
        "deleted": record.is_deleted(),
        "state": record.state,
        "version": record.version,
        "sha256": record.sha256,
        "integrity": record.integrity,
        "uploaded_by": record.uploaded_by,
        "updated_at": record.updated_at,
        "deleted_at": record.deleted_at,
        "deleted_by": record.deleted_by,
    }))
}
