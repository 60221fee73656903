//! That the log was read is in the log: once for a query and whatever is read with its cursors within 15 minutes.

use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::LogRow;
use shared::auth::{Authorised, Log, ReadLog};
use shared::clock;
use shared::http::Call;
use shared::problem::Problem;
use ulid::Ulid;

use crate::cursor::Cursor;

/// Whether the caller may read the log.
pub(crate) fn authorise(app: &App, call: &Call) -> Result<Authorised<ReadLog, Log>, Problem> {
    let allowed = app.policies.authorise_log(&call.principal);
    allowed.map_err(|denial| Problem::Forbidden(denial.to_string()))
}

/// Sees to it that an entry stands for what is about to be answered: the cursor's while it is young, or else a new one. To be
/// called before anything is shown. Answers the entry's id.
pub(crate) async fn covered(
    call: &Call,
    attempt: &mut Attempt<'_>,
    cursor: Option<&Cursor>,
) -> Result<Ulid, Problem> {
    match cursor.filter(|cursor| cursor.covers(clock::now())) {
        Some(cursor) => Ok(cursor.entry),
        None => {
            call.deadline.begin_effect()?;
            Ok(attempt.record().await?.entry())
        }
    }
}

/// One entry of the log, for whoever may read it. A cursor covers what its own query asks for.
pub(crate) async fn one(
    app: &App,
    call: &Call,
    attempt: &mut Attempt<'_>,
    id: Ulid,
    cursor: Option<&Cursor>,
) -> Result<LogRow, Problem> {
    attempt.details.filter = Some(format!("id={id}"));
    let allowed = authorise(app, call)?;
    let row = app.tables.log_entry(&allowed, id, call.deadline).await?;
    let asked_for = |cursor: &&Cursor| row.as_ref().is_some_and(|row| cursor.filter.matches(row));
    covered(call, attempt, cursor.filter(asked_for)).await?;
    row.ok_or(Problem::EntryNotFound)
}
