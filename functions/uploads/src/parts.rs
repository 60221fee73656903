//! `POST /uploads/{id}/parts`: URLs for parts, again and again while the session lives.

use lambda_http::http::header::CONTENT_LENGTH;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::clock;
use shared::files::{Files, MAX_SIGNED_PARTS, OwnSession, PartUrl};
use shared::http::{Answer, Call, present};
use shared::problem::Problem;
use shared::session::SessionState;

use crate::session::upload_id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    part_numbers: Option<Vec<u32>>,
}

pub(crate) async fn sign(app: &App, call: Call) -> Result<Answer, Problem> {
    let id = upload_id(&call)?;
    let input: Input = call.json()?;
    let numbers = present("part_numbers", input.part_numbers)?;
    if !(1..=MAX_SIGNED_PARTS).contains(&numbers.len()) {
        return Err(invalid(format!("1 to {MAX_SIGNED_PARTS} numbers")));
    }
    if numbers.iter().enumerate().any(|(n, number)| numbers.iter().take(n).any(|other| other == number)) {
        return Err(invalid("a number is given twice".into()));
    }
    let key = call.key(|request| {
        numbers
            .iter()
            .fold(request.field(Some(id)), |request, number| request.field(Some(&number.to_string())))
    })?;
    let mut attempt = call.attempt(app, Action::Upload, Related::default()).under(key);
    let signed = signed(app, &call, id, &numbers, &mut attempt).await;
    let replayed = attempt.is_replayed();
    let (session, urls) = attempt.settle(signed).await?;
    Ok(Answer::new(&json!({
        "upload_id": id,
        "expires_at": session.session().expires_at(),
        "parts": urls.iter().map(part).collect::<Vec<_>>(),
    }))?
    .replayed(replayed))
}

async fn signed(
    app: &App,
    call: &Call,
    id: &str,
    numbers: &[u32],
    attempt: &mut Attempt<'_>,
) -> Result<(OwnSession, Vec<PartUrl>), Problem> {
    let files = Files::new(app, call.deadline);
    let (own, before) = files.session(&call.principal, id, attempt).await?;
    let count = own.session().parts().count();
    if let Some(number) = numbers.iter().find(|number| !(1..=count).contains(*number)) {
        return Err(invalid(format!("there is no part {number}; the upload has 1 to {count}")));
    }
    let at = match before {
        Some(at) => at,
        None => {
            let state = own.session().state_at(clock::now());
            if state != SessionState::Open {
                return Err(Problem::UploadOver(state));
            }
            files.remember_signing(clock::now(), attempt).await?
        }
    };
    let urls = files.sign_parts(&own, numbers.iter().copied(), at).await?;
    Ok((own, urls))
}

/// A part as answers show it.
pub(crate) fn part(part: &PartUrl) -> Value {
    let PartUrl { number, size, url, headers } = part;
    // Clients send the length by themselves, browsers let nobody set it; it is `size_bytes`.
    let headers = headers.iter().filter(|(name, _)| name != CONTENT_LENGTH.as_str());
    let headers: Map<_, _> = headers.map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "part_number": number, "size_bytes": size, "method": "PUT", "url": url, "headers": headers })
}

fn invalid(what: String) -> Problem {
    Problem::invalid("invalid_part_numbers", format!("Invalid part_numbers: {what}"))
}
