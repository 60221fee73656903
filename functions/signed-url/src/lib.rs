//! `POST /api/storage/signed-url`: a short-lived URL for one file (storage guide, "POST /api/storage/signed-url").

use std::time::Duration;

use lambda_http::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::Related;
use shared::auth::Sign;
use shared::config::Needs;
use shared::files::{Files, Purpose, Visible};
use shared::http::{Answer, Call, Endpoint, Route, present};
use shared::path::FilePath;
use shared::problem::Problem;
use shared::spaces::SignedUrl;

/// Shortest and longest life of a signed URL in seconds (DESIGN section 8).
const LIFE_SECONDS: std::ops::RangeInclusive<u32> = 60..=900;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "signed-url",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[Route { method: Method::POST, path: "", handler: |app, call| Box::pin(handle(app, call)) }],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    file_path: Option<String>,
    expires_in: Option<Value>,
    purpose: Option<Purpose>,
    related_object_type: Option<String>,
    related_object_id: Option<String>,
}

async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let input: Input = call.json()?;
    let path = FilePath::parse(&present("file_path", input.file_path)?)?;
    let life = life(input.expires_in.as_ref(), &path)?;
    let related = Related::parse(input.related_object_type, input.related_object_id)?;

    let key = call.key(|request| {
        let purpose = input.purpose.map(Purpose::name);
        let request = request.field(Some(path.as_str())).field(Some(&life.to_string())).field(purpose);
        related.fingerprint(request)
    })?;

    let mut attempt = call.attempt(app, Purpose::action(input.purpose), related).under(key);
    attempt.path = Some(path.clone());
    attempt.details.expires_in = Some(life);
    attempt.details.purpose = input.purpose.map(|purpose| purpose.name().to_owned());
    let signed = sign(app, &call, path, life, input.purpose, &mut attempt).await;
    let replayed = attempt.is_replayed();
    let signed = attempt.settle(signed).await?;
    Ok(Answer::new(&json!({ "url": signed.url, "expires_at": signed.expires_at }))?.replayed(replayed))
}

async fn sign(
    app: &App,
    call: &Call,
    path: FilePath,
    life: u32,
    purpose: Option<Purpose>,
    attempt: &mut Attempt<'_>,
) -> Result<SignedUrl, Problem> {
    let files = Files::new(app, call.deadline);
    let considered = files.consider::<Sign>(&call.principal, path)?;
    let found = files.find(considered, Visible::Live, attempt).await?;
    files.sign(found, Duration::from_secs(life.into()), purpose, attempt).await
}

fn life(asked: Option<&Value>, path: &FilePath) -> Result<u32, Problem> {
    let Some(asked) = asked else { return Ok(path.place().object_type.url_lifetime_seconds) };
    // JSON has one kind of number: 600.0 is 600.
    let life = asked.as_f64().filter(|life| life.fract() == 0.0).map(|life| life as u32);
    life.filter(|life| LIFE_SECONDS.contains(life)).ok_or_else(|| {
        let (from, to) = (LIFE_SECONDS.start(), LIFE_SECONDS.end());
        Problem::invalid("invalid_expires_in", format!("Invalid expires_in: {from} to {to} seconds"))
    })
}
