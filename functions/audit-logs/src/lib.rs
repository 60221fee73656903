//! `GET /api/storage/audit-logs`: who did what, newest first (storage guide, "GET /api/storage/audit-logs").

mod entry;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Related};
use shared::auth::ReadLog;
use shared::http::{Answer, Call, Endpoint, Query, Route};
use shared::path::FilePath;
use shared::problem::Problem;
use shared::tables::{LogPage, LogQuery};
use ulid::Ulid;

/// Entries on a page, unless the caller says otherwise (storage guide).
const DEFAULT_LIMIT: usize = 100;
/// Most entries on a page (DESIGN section 8).
const MAX_LIMIT: usize = 500;
/// Most bytes of entries on a page (DESIGN section 8), so that the answer fits into Lambda's 6 MB.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "audit-logs",
    routes: &[Route { method: Method::GET, path: "", handler: |app, call| Box::pin(handle(app, call)) }],
};

struct Filter {
    file_path: Option<FilePath>,
    action: Option<Action>,
    limit: usize,
    below: Option<Ulid>,
}

async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let filter = Filter::read(&call.query(&["file_path", "action_type", "limit", "cursor"])?)?;

    let mut attempt = call.attempt(app, Action::AuditRead, Related::default());
    attempt.path = filter.file_path.clone();
    attempt.details.filter = filter.action.map(|action| format!("action_type={action}"));
    let page = read(app, &call, filter, &mut attempt).await;
    let page = attempt.settle(page).await?;
    answer(&page)
}

/// The reading itself goes into the log first; the page starts below that entry.
async fn read(app: &App, call: &Call, filter: Filter, attempt: &mut Attempt<'_>) -> Result<LogPage, Problem> {
    let allowed = app.policies.authorise_log::<ReadLog>(&call.principal);
    let allowed = allowed.map_err(|denial| Problem::Forbidden(denial.to_string()))?;
    call.deadline.begin_effect()?;
    let recorded = attempt.record().await?;
    let query = LogQuery {
        file_path: filter.file_path,
        action: filter.action,
        below: filter.below.map_or(recorded.entry(), |cursor| cursor.min(recorded.entry())),
        limit: filter.limit,
    };
    Ok(app.tables.log(&allowed, &query, call.deadline).await?)
}

impl Filter {
    fn read(query: &Query) -> Result<Self, Problem> {
        let action = query.given("action_type").map(action).transpose()?;
        let limit = query.get("limit").map(limit).transpose()?.unwrap_or(DEFAULT_LIMIT);
        let below = query.get("cursor").map(cursor).transpose()?;
        let file_path = query.given("file_path").map(FilePath::parse).transpose()?;
        Ok(Self { file_path, action, limit, below })
    }
}

fn action(name: &str) -> Result<Action, Problem> {
    let action = Action::ALL.iter().find(|action| action.name() == name);
    action.copied().ok_or_else(|| {
        let known: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        Problem::invalid(
            "invalid_action_type",
            format!("Invalid action_type: {name} (known: {})", known.join(", ")),
        )
    })
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::invalid("invalid_limit", format!("Invalid limit: 1 to {MAX_LIMIT}")))
}

/// Only what we gave out: the reader of ULIDs also takes texts that stand for no or for another id.
fn cursor(text: &str) -> Result<Ulid, Problem> {
    let id = Ulid::from_string(text).ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| Problem::invalid("invalid_cursor", "Invalid cursor"))
}

fn answer(page: &LogPage) -> Result<Answer, Problem> {
    let (mut logs, mut bytes, mut next) = (Vec::<Value>::new(), 0, page.next.map(|id| id.to_string()));
    for body in &page.entries {
        let log = entry::log(body);
        bytes += log.to_string().len();
        if bytes > MAX_PAGE_BYTES {
            // The cursor is the last entry that is on this page.
            next = logs.last().and_then(|log| log["id"].as_str()).map(str::to_owned);
            break;
        }
        logs.push(log);
    }
    let mut answer = json!({ "count": logs.len(), "logs": logs });
    if let Some(next) = next {
        answer["next_cursor"] = next.into();
    }
    Answer::new(&answer)
}
