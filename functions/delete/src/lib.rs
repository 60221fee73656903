//! `DELETE /api/storage/delete`: hides a file, or removes it for good (storage guide, "DELETE /api/storage/delete").

use lambda_http::http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::auth::{Delete, Purge};
use shared::config::Needs;
use shared::files::{Files, Visible};
use shared::http::{Answer, Call, Endpoint, Route, present};
use shared::path::FilePath;
use shared::problem::Problem;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "delete",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[Route { method: Method::DELETE, path: "", handler: |app, call| Box::pin(handle(app, call)) }],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    file_path: Option<String>,
    #[serde(default)]
    hard_delete: bool,
    related_object_type: Option<String>,
    related_object_id: Option<String>,
}

impl Input {
    /// From the JSON body, or from the query for clients that cannot send a body with DELETE.
    fn read(call: &Call) -> Result<Self, Problem> {
        let query = call.query(&["file_path", "hard_delete", "related_object_type", "related_object_id"])?;
        if call.has_body() {
            return if query.is_empty() {
                call.json()
            } else {
                Err(Problem::invalid(
                    "invalid_query",
                    "Give the fields in the body or in the query, not in both",
                ))
            };
        }
        let text = |name| query.get(name).map(str::to_owned);
        Ok(Self {
            file_path: text("file_path"),
            hard_delete: query.flag("hard_delete")?,
            related_object_type: text("related_object_type"),
            related_object_id: text("related_object_id"),
        })
    }
}

async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&call)?;
    let path = FilePath::parse(&present("file_path", input.file_path)?)?;
    let related = Related::parse(input.related_object_type, input.related_object_id)?;

    let key = call.key(|request| {
        let kind = if input.hard_delete { "hard" } else { "soft" };
        related.fingerprint(request.field(Some(path.as_str())).field(Some(kind)))
    })?;

    let mut attempt = call.attempt(app, Action::Delete, related).under(key);
    attempt.path = Some(path.clone());
    attempt.details.hard_delete = Some(input.hard_delete);
    let deleted = if input.hard_delete {
        hard(app, &call, path, &mut attempt).await
    } else {
        soft(app, &call, path, &mut attempt).await
    };
    let replayed = attempt.is_replayed();
    attempt.settle(deleted).await?;
    let answer = Answer::new(&json!({
        "message": if input.hard_delete {
            "File permanently deleted from storage"
        } else {
            "File soft-deleted (marked as deleted in database)"
        },
    }))?;
    Ok(answer.replayed(replayed))
}

async fn soft(app: &App, call: &Call, path: FilePath, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
    let files = Files::new(app, call.deadline);
    let considered = files.consider::<Delete>(&call.principal, path)?;
    let found = files.find(considered, Visible::Live, attempt).await?;
    files.soft_delete(found, attempt).await
}

async fn hard(app: &App, call: &Call, path: FilePath, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
    let files = Files::new(app, call.deadline);
    let considered = files.consider::<Purge>(&call.principal, path)?;
    let found = files.find(considered, Visible::AndDeleted, attempt).await?;
    files.hard_delete(found, attempt).await
}
