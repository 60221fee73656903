//! `/api/storage/audit-logs/exports`: a copy of the log, to be taken away. The client drives: it asks to go on until the answer
//! has a URL. Small exports are done with the first call.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Field, Filter, Related};
use shared::clock;
use shared::export::Format;
use shared::files::{Files, OwnExport};
use shared::http::{Answer, Call, present};
use shared::json::unique_members;
use shared::path::FilePath;
use shared::problem::Problem;
use shared::session::SessionState;
use shared::spaces::SignedUrl;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    format: Option<Format>,
    #[serde(default, deserialize_with = "unique_members")]
    filter: Map<String, Value>,
}

/// A body that has nothing to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// An export, and where it is to be had if it is done.
type Had = (OwnExport, Option<SignedUrl>);

pub(crate) async fn create(app: &App, call: Call) -> Result<Answer, Problem> {
    let input: Input = call.json()?;
    let format = present("format", input.format)?;
    let pairs = pairs(&input.filter)?;
    let filter = Filter::parse(pairs.iter().map(|(name, value)| (name, value)), clock::now())?;
    // Of the filter as it was sent: sent again later, its relative times are others.
    let key = call.key(|request| {
        let request = request.field(Some(format.name()));
        pairs.iter().fold(request, |request, (name, value)| request.field(Some(name)).field(Some(value)))
    })?;
    let mut attempt = call.attempt(app, Action::AuditExport, Related::default()).under(key);
    // A refusal's entry says what was asked for, too.
    attempt.path = filter.wanted(Field::FilePath).and_then(|path| FilePath::parse(path).ok());
    attempt.details.filter = filter.entry_text();
    attempt.details.format = Some(format.name().to_owned());
    let begun = begin(app, &call, format, &filter, &mut attempt).await;
    let replayed = attempt.is_replayed();
    let had = attempt.settle(begun).await?;
    Ok(answer(&had)?.replayed(replayed))
}

async fn begin(
    app: &App,
    call: &Call,
    format: Format,
    filter: &Filter,
    attempt: &mut Attempt<'_>,
) -> Result<Had, Problem> {
    let files = Files::new(app, call.deadline);
    let allowed = files.may_export(&call.principal)?;
    let own = files.begin_export(&allowed, format, filter, attempt).await?;
    if attempt.is_replayed() {
        return Ok((own, None));
    }
    let id = own.session().record.upload_id.clone();
    match go_on(app, call, own, attempt).await {
        // It is begun, which the caller must hear: whoever goes on with it hears of the trouble, if it lasts.
        Err(Problem::Unavailable(cause)) => {
            tracing::warn!(upload_id = id, cause, "the first slice of an export was not written");
            let own = files.export(&call.principal, &id, attempt).await?;
            Ok((own, None))
        }
        had => had,
    }
}

pub(crate) async fn resume(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = export_id(&call)?;
    if call.has_body() {
        let Empty {} = call.json()?;
    }
    let key = call.key(|request| request.field(Some(id)))?;
    let mut attempt = call.attempt(app, Action::AuditExport, Related::default()).under(key);
    let had = find_and_go_on(app, &call, id, &mut attempt).await;
    let replayed = attempt.is_replayed();
    let had = attempt.settle(had).await?;
    Ok(answer(&had)?.replayed(replayed))
}

async fn find_and_go_on(app: &App, call: &Call, id: &str, attempt: &mut Attempt<'_>) -> Result<Had, Problem> {
    let own = find(app, call, id, attempt).await?;
    go_on(app, call, own, attempt).await
}

/// Works on an export, and signs a URL once it is stored, if there is time for that.
async fn go_on(app: &App, call: &Call, own: OwnExport, attempt: &mut Attempt<'_>) -> Result<Had, Problem> {
    let files = Files::new(app, call.deadline);
    let allowed = files.may_export(&call.principal)?;
    let own = files.continue_export(&allowed, own, attempt).await?;
    let is_stored = own.session().state == SessionState::Stored;
    let url = match is_stored && call.deadline.begin_effect().is_ok() {
        true => Some(files.take_away(&call.principal, &own, attempt).await?),
        false => None,
    };
    Ok((own, url))
}

pub(crate) async fn show(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = export_id(&call)?;
    let mut attempt = call.attempt(app, Action::AuditExport, Related::default());
    let found = find(app, &call, id, &mut attempt).await;
    let own = attempt.settle(found).await?;
    answer(&(own, None))
}

async fn find(app: &App, call: &Call, id: &str, attempt: &mut Attempt<'_>) -> Result<OwnExport, Problem> {
    let files = Files::new(app, call.deadline);
    attempt.details.upload_id = Some(id.to_owned());
    let _ = files.may_export(&call.principal)?;
    files.export(&call.principal, id, attempt).await
}

pub(crate) async fn cancel(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = export_id(&call)?;
    let key = call.key(|request| request.field(Some(id)))?;
    let mut attempt = call.attempt(app, Action::UploadAborted, Related::default()).under(key);
    let cancelled = give_up(app, &call, id, &mut attempt).await;
    let replayed = attempt.is_replayed();
    attempt.settle(cancelled).await?;
    Ok(Answer::new(&json!({ "message": "Export cancelled" }))?.replayed(replayed))
}

async fn give_up(app: &App, call: &Call, id: &str, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
    let own = find(app, call, id, attempt).await?;
    if attempt.is_replayed() {
        return Ok(());
    }
    Files::new(app, call.deadline).cancel_export(own, attempt).await
}

fn answer((own, url): &Had) -> Result<Answer, Problem> {
    let session = own.session();
    let Some(export) = &session.export else {
        return Err(Problem::Internal("a session without its export".into()));
    };
    let reached = export.reached();
    let is_stored = session.state == SessionState::Stored;
    let mut answer = json!({
        "export_id": session.record.upload_id,
        "state": session.state_at(clock::now()),
        // Of a stored one it is the file that ends.
        "expires_at": session.record.expires_at.unwrap_or(session.expires_at()),
        "scanned": reached.scanned,
        "written": reached.written,
        "bytes": export.bytes(),
    });
    if is_stored {
        answer["file_path"] = json!(session.record.file_path);
        answer["manifest"] = json!(export.manifest());
    }
    if let Some(SignedUrl { url, expires_at }) = url {
        answer["url"] = json!(url);
        answer["url_expires_at"] = json!(expires_at);
    }
    Answer::new(&answer)
}

/// The filter's conditions, as a query has them: each name with a value, or with several.
fn pairs(filter: &Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    for (name, value) in filter {
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        if values.is_empty() {
            // Nothing asked for is not everything.
            return Err(Problem::invalid(
                "invalid_filter",
                format!("Invalid filter: {name} is an empty list"),
            ));
        }
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    let detail = format!("Invalid filter: {name} is no text, nor a list of texts");
                    return Err(Problem::invalid("invalid_filter", detail));
                }
            };
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

/// The export that the path names.
fn export_id(call: &Call) -> Result<&str, Problem> {
    const ULID_CHARACTERS: usize = 26;
    let id = call.rest.as_str();
    let fits =
        id.len() == ULID_CHARACTERS && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if fits { Ok(id) } else { Err(Problem::invalid("invalid_export_id", "Invalid export id")) }
}
