//! `GET /api/storage/audit-logs/{id}`: one entry, and its exact bytes.

use data_encoding::HEXLOWER;
use serde_json::json;
use shared::app::App;
use shared::audit::{Action, Related};
use shared::http::{Answer, Call};
use shared::problem::Problem;
use ulid::Ulid;

use crate::covered::one;
use crate::cursor::Cursor;
use crate::entry;

pub(crate) async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let cursor =
        call.query(&["cursor"])?.given("cursor").map(|text| Cursor::open(app, &call.principal, text));
    let cursor = cursor.transpose()?;
    let id = id(&call.rest)?;

    let mut attempt = call.attempt(app, Action::AuditRead, Related::default());
    let row = one(app, &call, &mut attempt, id, cursor.as_ref()).await;
    let row = attempt.settle(row).await?;

    let org = call.principal.org();
    let position = match app.log {
        Some(_) => app.tables.leaf_position(org, &row.body.id, call.deadline).await?,
        None => None,
    };
    let mut log = entry::log(&row, position);
    log["raw"] = json!(String::from_utf8_lossy(&row.bytes));
    log["leaf_hash"] = json!(HEXLOWER.encode(&row.hash));
    Answer::new(&json!({ "log": log }))
}

/// An entry's id as it stands in the path.
pub(crate) fn id(text: &str) -> Result<Ulid, Problem> {
    // The reader of ULIDs also takes texts that stand for another id.
    let id = Ulid::from_string(text).ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| Problem::invalid("invalid_entry_id", "Invalid id of an entry: a ULID in upper case"))
}
