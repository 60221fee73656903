//! What an auditor needs besides the entries: the signed checkpoint, proofs against it, the keys that sign. None of it shows an
//! entry.

use data_encoding::BASE64;
use serde_json::{Value, json};
use shared::app::{App, SealedLog};
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::http::{Answer, Call};
use shared::problem::Problem;
use shared::sealed::{Checkpoint, PublicKey};
use shared::tables::SigningKey;
use ulid::Ulid;

use crate::covered::{authorise, one};
use crate::cursor::Cursor;
use crate::single::id;

/// Notes and proofs are texts (C2SP `signed-note`, `tlog-proof`).
const TEXT: &str = "text/plain; charset=utf-8";

/// `GET /audit-logs/checkpoint`
pub(crate) async fn checkpoint(app: &App, call: Call) -> Result<Answer, Problem> {
    call.query(&[])?;
    let attempt = call.attempt(app, Action::AuditRead, Related::default());
    let latest = attempt.settle(Latest::of(app, &call).await).await?;
    Ok(Answer::text(TEXT, latest.checkpoint.note))
}

/// `GET /audit-logs/{id}/proof`: a `tlog-proof` file, <https://c2sp.org/tlog-proof>.
pub(crate) async fn inclusion(app: &App, call: Call) -> Result<Answer, Problem> {
    let query = call.query(&["cursor"])?;
    let cursor = query.given("cursor").map(|text| Cursor::open(app, &call.principal, text)).transpose()?;
    let id = id(&call.rest)?;
    let mut attempt = call.attempt(app, Action::AuditRead, Related::default());
    let proved = included(app, &call, &mut attempt, id, cursor.as_ref()).await;
    Ok(Answer::text(TEXT, attempt.settle(proved).await?))
}

async fn included(
    app: &App,
    call: &Call,
    attempt: &mut Attempt<'_>,
    id: Ulid,
    cursor: Option<&Cursor>,
) -> Result<String, Problem> {
    let row = one(app, call, attempt, id, cursor).await?;
    let position = app.tables.leaf_position(call.principal.org(), &row.body.id, call.deadline).await?;
    let Latest { log, org, checkpoint } = Latest::of(app, call).await?;
    let index = position.filter(|index| *index < checkpoint.size).ok_or(Problem::NotSealedYet)?;
    let proof = log.inclusion(org, &checkpoint, index, call.deadline).await?;
    let hashes: String = proof.iter().map(|hash| BASE64.encode(hash) + "\n").collect();
    Ok(format!("c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{}", checkpoint.note))
}

/// `GET /audit-logs/consistency?from=SIZE`
pub(crate) async fn consistency(app: &App, call: Call) -> Result<Answer, Problem> {
    let query = call.query(&["from"])?;
    let from = query.get("from").and_then(|from| from.parse().ok()).filter(|from| *from > 0);
    let from = from.ok_or_else(|| invalid_from("a tree's size, 1 or more"))?;
    let attempt = call.attempt(app, Action::AuditRead, Related::default());
    let proved = attempt.settle(consistent(app, &call, from).await).await?;
    Answer::new(&proved)
}

async fn consistent(app: &App, call: &Call, from: u64) -> Result<Value, Problem> {
    let Latest { log, org, checkpoint } = Latest::of(app, call).await?;
    if from > checkpoint.size {
        return Err(invalid_from(&format!("at most {}, the size under the checkpoint", checkpoint.size)));
    }
    let proof = log.consistency(org, &checkpoint, from, call.deadline).await?;
    Ok(json!({
        "from": from,
        "to": checkpoint.size,
        "proof": proof.iter().map(|hash| BASE64.encode(hash)).collect::<Vec<_>>(),
        "checkpoint": checkpoint.note,
    }))
}

fn invalid_from(what: &str) -> Problem {
    Problem::invalid("invalid_from", format!("Invalid from: {what}"))
}

/// `GET /audit-logs/keys`
pub(crate) async fn keys(app: &App, call: Call) -> Result<Answer, Problem> {
    call.query(&[])?;
    let attempt = call.attempt(app, Action::AuditRead, Related::default());
    let listed = attempt.settle(list(app, &call).await).await?;
    Answer::new(&listed)
}

/// Each with the time of its first signature, and that of its successor's.
async fn list(app: &App, call: &Call) -> Result<Value, Problem> {
    let (log, org) = sealed(app, call)?;
    let origin = log.origin_of(org);
    let keys = app.tables.signing_keys(call.deadline).await?;
    let ends = keys.iter().skip(1).map(|next| Some(next.since)).chain([None]);
    let key = |(key, end): (&SigningKey, Option<_>)| {
        let mut shown = json!({ "vkey": key.key.vkey(&origin), "valid_from": key.since });
        if let Some(end) = end {
            shown["valid_to"] = json!(end);
        }
        shown
    };
    Ok(json!({ "origin": origin, "keys": keys.iter().zip(ends).map(key).collect::<Vec<_>>() }))
}

/// The caller's log as far as it is under a checkpoint.
struct Latest<'a> {
    log: &'a SealedLog,
    org: &'a str,
    checkpoint: Checkpoint,
}

impl<'a> Latest<'a> {
    async fn of(app: &'a App, call: &'a Call) -> Result<Self, Problem> {
        let (log, org) = sealed(app, call)?;
        let keys = app.tables.signing_keys(call.deadline).await?;
        let keys: Vec<PublicKey> = keys.iter().map(|key| key.key).collect();
        let checkpoint = log.checkpoint(org, &keys, call.deadline).await?;
        Ok(Self { log, org, checkpoint: checkpoint.ok_or(Problem::NotSealedYet)? })
    }
}

/// The sealed log, and the organisation whose tree is meant: the caller's.
fn sealed<'a>(app: &'a App, call: &'a Call) -> Result<(&'a SealedLog, &'a str), Problem> {
    authorise(app, call)?;
    Ok((app.log.as_ref().ok_or(Problem::LogNotSealed)?, call.principal.org().as_str()))
}
