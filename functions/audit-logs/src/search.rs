//! `GET /api/storage/audit-logs`: which entries, a page at a time (storage guide, "GET /api/storage/audit-logs").

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Field, Filter, Related};
use shared::clock;
use shared::http::{Answer, Call};
use shared::path::FilePath;
use shared::problem::Problem;
use shared::tables::{Found, Order, Scan};
use ulid::Ulid;

use crate::covered::{authorise, covered};
use crate::cursor::{self, Cursor, Place};
use crate::entry;

/// Entries on a page, unless the caller says otherwise (storage guide).
const DEFAULT_LIMIT: usize = 100;
/// Most entries on a page (DESIGN section 8).
const MAX_LIMIT: usize = 500;
/// Most bytes of entries on a page (DESIGN section 8), so that the answer fits into Lambda's 6 MB.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Rows that one page looks at, at most, where the filter is not the index's own.
const MAX_SCANNED: usize = 2_000;
/// From the time in an entry's id to the moment at which everybody sees it, at most: a request's 10 s, as much for an index to
/// follow, and clocks within 10 s of each other.
const SETTLING: SignedDuration = SignedDuration::from_secs(30);

/// What is asked for.
enum Asked {
    /// A new query.
    For(Filter, Order),
    /// More of an old one.
    More(Cursor),
}

/// What is answered.
struct Page {
    found: Found,
    positions: BTreeMap<Ulid, u64>,
    /// The query, at this page's place.
    query: Cursor,
    now: Timestamp,
}

pub(crate) async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let (asked, limit) = read(app, &call)?;
    let mut attempt = call.attempt(app, Action::AuditRead, Related::default());
    let filter = match &asked {
        Asked::For(filter, _) => filter,
        Asked::More(cursor) => &cursor.filter,
    };
    attempt.path = filter.wanted(Field::FilePath).and_then(|path| FilePath::parse(path).ok());
    attempt.details.filter = filter.entry_text();
    let page = page(app, &call, &mut attempt, asked, limit).await;
    let page = attempt.settle(page).await?;
    page.answer(app, &call)
}

fn read(app: &App, call: &Call) -> Result<(Asked, usize), Problem> {
    let (mut own, mut filters) = (BTreeMap::new(), Vec::new());
    for (name, value) in call.pairs()? {
        if Filter::knows(&name) {
            filters.push((name, value));
        } else if !["order", "limit", "cursor"].contains(&name.as_str()) {
            return Err(Problem::invalid("invalid_query", format!("Unknown query parameter: {name}")));
        } else if own.insert(name.clone(), value).is_some() {
            return Err(Problem::invalid("invalid_query", format!("Query parameter given twice: {name}")));
        }
    }
    let limit = own.get("limit").filter(|text| !text.is_empty());
    let limit = limit.map(|text| self::limit(text)).transpose()?.unwrap_or(DEFAULT_LIMIT);
    match (own.get("cursor"), own.get("order")) {
        (None, order) => Ok((Asked::For(Filter::parse(filters, clock::now())?, self::order(order)?), limit)),
        // It has all that itself.
        (Some(_), order) if order.is_some() || !filters.is_empty() => Err(Problem::invalid(
            "invalid_cursor",
            "Invalid cursor: only limit may stand beside it, since it carries filter and order",
        )),
        (Some(text), _) => Ok((Asked::More(Cursor::open(app, &call.principal, text)?), limit)),
    }
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::invalid("invalid_limit", format!("Invalid limit: 1 to {MAX_LIMIT}")))
}

fn order(text: Option<&String>) -> Result<Order, Problem> {
    match text.map(String::as_str) {
        None | Some("desc") => Ok(Order::Descending),
        Some("asc") => Ok(Order::Ascending),
        Some(_) => Err(Problem::invalid("invalid_order", "Invalid order: asc or desc")),
    }
}

/// The reading goes into the log first, unless an earlier entry stands for it; a new query's answer ends below that entry.
async fn page(
    app: &App,
    call: &Call,
    attempt: &mut Attempt<'_>,
    asked: Asked,
    limit: usize,
) -> Result<Page, Problem> {
    let allowed = authorise(app, call)?;
    let now = clock::now();
    // Where the answer ends: an entry that is written for it is not part of it.
    let (query, end) = match asked {
        Asked::For(filter, order) => {
            let (entry, since) = tokio::join!(covered(call, attempt, None), since(app, call));
            let (entry, since) = (entry?, since?);
            (Cursor { filter, order, bound: entry, since, entry, place: Place::Page(None) }, entry)
        }
        Asked::More(query) => {
            let entry = covered(call, attempt, Some(&query)).await?;
            let end = if entry == query.entry { Ulid::max() } else { entry };
            (Cursor { entry, ..query }, end)
        }
    };
    let scan = Scan { limit, max_scanned: MAX_SCANNED, ..query.scan(end) };
    let found = app.tables.search(&allowed, &scan, call.deadline).await?;
    let ids: Vec<_> = found.rows.iter().map(|row| row.id).collect();
    let positions = match app.log {
        Some(_) => {
            let dense = query.filter.is_open();
            app.tables.positions_of(call.principal.org(), &ids, dense, call.deadline).await?
        }
        None => BTreeMap::new(),
    };
    Ok(Page { found, positions, query, now })
}

/// Nothing of the organisation is below this id, as far as the sealer knows: it has seen every row of before `complete_to`,
/// and the earliest of all that it has seen is of `since`.
async fn since(app: &App, call: &Call) -> Result<Ulid, Problem> {
    let head = match app.log {
        Some(_) => app.tables.head(call.principal.org(), call.deadline).await?,
        None => None,
    };
    Ok(head.map_or(Ulid::nil(), |head| head.first()))
}

/// The lowest id of so long before a moment.
fn first_of(at: Timestamp, before: SignedDuration) -> Ulid {
    let ms = at.checked_sub(before).unwrap_or(at).as_millisecond();
    Ulid::from_parts(u64::try_from(ms).unwrap_or_default(), 0)
}

impl Cursor {
    fn scan(&self, end: Ulid) -> Scan<'_> {
        let scan = Scan {
            filter: &self.filter,
            from: self.since,
            below: self.bound.min(end),
            after: None,
            order: self.order,
            limit: 0,
            max_scanned: 0,
        };
        match self.place {
            Place::Page(after) => Scan { after, ..scan },
            Place::Newer { from, after, .. } => {
                Scan { from, after, below: end, order: Order::Ascending, ..scan }
            }
        }
    }

    /// Where the next look at what came since begins. What commits late has an id of a little before.
    fn newer(&self, next: Option<Ulid>, now: Timestamp) -> Place {
        match (self.place, next) {
            (Place::Page(_), _) => {
                let from = first_of(cursor::time_of(self.bound), SETTLING);
                Place::Newer { from, after: None, again: None }
            }
            (Place::Newer { from, again, .. }, Some(after)) => {
                let again = again.unwrap_or_else(|| first_of(now, SETTLING));
                Place::Newer { from, after: Some(after), again: Some(again) }
            }
            (Place::Newer { again, .. }, None) => {
                let from = again.unwrap_or_else(|| first_of(now, SETTLING));
                Place::Newer { from, after: None, again: None }
            }
        }
    }
}

impl Page {
    fn answer(self, app: &App, call: &Call) -> Result<Answer, Problem> {
        let close = |place| Cursor { place, ..self.query.clone() }.close(app, &call.principal);
        let (mut logs, next) = self.logs();
        let mut answer = json!({
            "complete": next.is_none(),
            "scanned": self.found.scanned,
            "newer_cursor": close(self.query.newer(next, self.now))?,
            "cursor": close(Place::Page(None))?,
        });
        let asked_at = match self.query.place {
            Place::Page(_) => {
                if let Some(next) = next {
                    answer["next_cursor"] = close(Place::Page(Some(next)))?.into();
                }
                cursor::time_of(self.query.bound)
            }
            Place::Newer { .. } => {
                // Read upward, shown as the rest of the query is.
                if self.query.order == Order::Descending {
                    logs.reverse();
                }
                self.now
            }
        };
        let settled = asked_at.checked_sub(SETTLING).unwrap_or(asked_at);
        answer["settled_before"] = entry::shown(settled).into();
        answer["count"] = logs.len().into();
        answer["logs"] = logs.into();
        Answer::new(&answer)
    }

    /// The entries that fit into an answer, and behind which one to go on.
    fn logs(&self) -> (Vec<Value>, Option<Ulid>) {
        let (mut logs, mut bytes, mut last) = (Vec::new(), 0, None);
        for row in &self.found.rows {
            let log = entry::log(row, self.positions.get(&row.id).copied());
            bytes += log.to_string().len();
            if bytes > MAX_PAGE_BYTES {
                return (logs, last);
            }
            logs.push(log);
            last = Some(row.id);
        }
        (logs, self.found.next)
    }
}
