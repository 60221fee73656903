//! A session: created, shown, completed, aborted.

use serde::Deserialize;
use serde_json::json;
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::auth::{Authorised, Upload};
use shared::clock;
use shared::files::{Files, MAX_SIGNED_PARTS, NewUpload, Opened, OwnSession, PartUrl};
use shared::http::{Answer, Call, present, stored_answer};
use shared::path::{OwnPlace, Place};
use shared::problem::Problem;
use shared::record::Record;

use crate::parts;

/// Longest file name: what a form takes.
const MAX_NAME_BYTES: usize = 1024;
/// Longest declared media type.
const MAX_TYPE_BYTES: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    org_id: Option<String>,
    system: Option<String>,
    object_type: Option<String>,
    object_id: Option<String>,
    filename: Option<String>,
    size_bytes: Option<u64>,
    mime_type: Option<String>,
    sha256: Option<String>,
    related_object_type: Option<String>,
    related_object_id: Option<String>,
    add_timestamp: Option<bool>,
}

/// A body that has nothing to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

pub(crate) async fn create(app: &App, call: Call) -> Result<Answer, Problem> {
    let input: Input = call.json()?;
    let org = present("org_id", input.org_id)?;
    let system = present("system", input.system)?;
    let object_type = present("object_type", input.object_type)?;
    let object_id = present("object_id", input.object_id)?;
    let place = Place::parse(&org, &system, &object_type, &object_id)?;
    let upload = NewUpload {
        name: text("filename", present("filename", input.filename)?, MAX_NAME_BYTES)?,
        media_type: text("mime_type", present("mime_type", input.mime_type)?, MAX_TYPE_BYTES)?,
        size: present("size_bytes", input.size_bytes)?,
        sha256: input.sha256.map(sha256).transpose()?,
        add_timestamp: input.add_timestamp.unwrap_or(true),
    };
    let related = Related::parse(input.related_object_type, input.related_object_id)?;
    let max_bytes = place.object_type.max_size_bytes;
    if upload.size > max_bytes {
        return Err(Problem::TooLarge { max_bytes });
    }
    let key = call.key(|request| related.fingerprint(upload.fingerprint(place.fingerprint(request))))?;

    let mut attempt = call.attempt(app, Action::Upload, related).under(key);
    let files = Files::new(app, call.deadline);
    let opened = match files.may_upload_to(&call.principal, &place, &mut attempt) {
        Ok(allowed) => open(&files, &allowed, &upload, &mut attempt).await,
        Err(refused) => Err(refused),
    };
    let replayed = attempt.is_replayed();
    let (own, urls) = attempt.settle(opened).await?;
    let (session, layout) = (own.session(), own.session().parts());
    Ok(Answer::new(&json!({
        "upload_id": session.record.upload_id,
        "file_path": session.record.file_path,
        "expires_at": session.expires_at(),
        "part_size_bytes": layout.part_bytes(),
        "part_count": layout.count(),
        "parts": urls.iter().map(parts::part).collect::<Vec<_>>(),
    }))?
    .replayed(replayed))
}

async fn open(
    files: &Files<'_>,
    allowed: &Authorised<Upload, OwnPlace>,
    upload: &NewUpload,
    attempt: &mut Attempt<'_>,
) -> Result<(OwnSession, Vec<PartUrl>), Problem> {
    let Opened { session, at } = files.open_session(allowed, upload, attempt).await?;
    let first = (1..=session.session().parts().count()).take(MAX_SIGNED_PARTS);
    let urls = files.sign_parts(&session, first, at).await?;
    Ok((session, urls))
}

pub(crate) async fn show(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = upload_id(&call)?;
    let mut attempt = call.attempt(app, Action::Upload, Related::default());
    let shown = look(app, &call, id, &mut attempt).await;
    let (own, arrived) = attempt.settle(shown).await?;
    let (session, layout) = (own.session(), own.session().parts());
    let part = |(number, size): &(u32, u64)| json!({ "part_number": number, "size_bytes": size });
    Answer::new(&json!({
        "upload_id": id,
        "file_path": session.record.file_path,
        "state": session.state_at(clock::now()),
        "expires_at": session.expires_at(),
        "size_bytes": session.record.file_size,
        "part_size_bytes": layout.part_bytes(),
        "part_count": layout.count(),
        "parts": arrived.iter().map(part).collect::<Vec<_>>(),
    }))
}

async fn look(
    app: &App,
    call: &Call,
    id: &str,
    attempt: &mut Attempt<'_>,
) -> Result<(OwnSession, Vec<(u32, u64)>), Problem> {
    let files = Files::new(app, call.deadline);
    let (own, _) = files.session(&call.principal, id, attempt).await?;
    let arrived = files.arrived(&own).await?;
    Ok((own, arrived))
}

pub(crate) async fn complete(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = upload_id(&call)?;
    if call.has_body() {
        let Empty {} = call.json()?;
    }
    let key = call.key(|request| request.field(Some(id)))?;
    let mut attempt = call.attempt(app, Action::Upload, Related::default()).under(key);
    let stored = finish(app, &call, id, &mut attempt).await;
    let replayed = attempt.is_replayed();
    let record = attempt.settle(stored).await?;
    Ok(stored_answer(&record)?.replayed(replayed))
}

async fn finish(app: &App, call: &Call, id: &str, attempt: &mut Attempt<'_>) -> Result<Record, Problem> {
    let files = Files::new(app, call.deadline);
    let (own, _) = files.session(&call.principal, id, attempt).await?;
    files.complete(own, attempt).await
}

pub(crate) async fn abort(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = upload_id(&call)?;
    let key = call.key(|request| request.field(Some(id)))?;
    let mut attempt = call.attempt(app, Action::UploadAborted, Related::default()).under(key);
    let aborted = give_up(app, &call, id, &mut attempt).await;
    let replayed = attempt.is_replayed();
    attempt.settle(aborted).await?;
    Ok(Answer::new(&json!({ "message": "Upload aborted" }))?.replayed(replayed))
}

async fn give_up(app: &App, call: &Call, id: &str, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
    let files = Files::new(app, call.deadline);
    let (own, before) = files.session(&call.principal, id, attempt).await?;
    if before.is_some() {
        return Ok(());
    }
    files.abort(own, attempt).await
}

/// The session that the path names.
pub(crate) fn upload_id(call: &Call) -> Result<&str, Problem> {
    const ULID_CHARACTERS: usize = 26;
    let id = call.rest.as_str();
    let fits =
        id.len() == ULID_CHARACTERS && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if fits { Ok(id) } else { Err(Problem::invalid("invalid_upload_id", "Invalid upload id")) }
}

fn text(name: &str, value: String, max_bytes: usize) -> Result<String, Problem> {
    if value.is_empty() {
        return present(name, None);
    }
    if value.len() > max_bytes {
        return Err(Problem::invalid("invalid_field", format!("Invalid {name}: at most {max_bytes} bytes")));
    }
    Ok(value)
}

fn sha256(text: String) -> Result<String, Problem> {
    let hex = text.to_ascii_lowercase();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex);
    }
    Err(Problem::invalid("invalid_field", "Invalid sha256: 64 hexadecimal digits"))
}
