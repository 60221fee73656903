//! `GET /api/storage/audit-logs/summary`: how many entries of which action and outcome, interval by interval. Read from the sealer's
//! counters, so that it costs what its bars cost, however many entries there are; it shows none of them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::app::App;
use shared::audit::{Action, Filter, Related, duration};
use shared::clock;
use shared::http::{Answer, Call};
use shared::problem::Problem;
use shared::tables::{Counted, Head, Unit};
use ulid::Ulid;

use crate::covered::authorise;
use crate::cursor::time_of;
use crate::entry::shown;

/// The parameters that a summary shares with a search.
const FILTERS: [&str; 6] = ["action_type", "not_action_type", "success", "not_success", "from", "to"];
/// How far a summary looks back, unless the caller says otherwise.
const DEFAULT_RANGE: SignedDuration = SignedDuration::from_hours(24);
/// The same for its bars.
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// Longest range, in hours: so many rows are read, which are at most about 4 MB.
const MAX_HOURS: i64 = 366 * 24;
/// Most bars: an answer of at most about 2 MB; a day has 1,440 minutes.
const MAX_BARS: i64 = 1_500;
/// Minutes are counted for intervals that begin within this time.
const MINUTES_RANGE: SignedDuration = SignedDuration::from_hours(24);

/// What is asked for. Both times are whole units of the counters.
struct Asked {
    filter: Filter,
    unit: Unit,
    from: Timestamp,
    to: Timestamp,
    interval: SignedDuration,
}

/// How many succeeded and failed, by action.
type Bar = BTreeMap<&'static str, [u64; 2]>;

pub(crate) async fn handle(app: &App, call: Call) -> Result<Answer, Problem> {
    let asked = Asked::read(call.pairs()?, clock::now())?;
    let attempt = call.attempt(app, Action::AuditRead, Related::default());
    let (head, counted) = attempt.settle(count(app, &call, &asked).await).await?;
    Answer::new(&asked.answer(head, &counted))
}

async fn count(app: &App, call: &Call, asked: &Asked) -> Result<(Head, Vec<Counted>), Problem> {
    let allowed = authorise(app, call)?;
    if app.log.is_none() {
        return Err(Problem::LogNotSealed);
    }
    // The head first: then what is counted is at least what is under it.
    let head = app.tables.head(call.principal.org(), call.deadline).await?;
    let counted = app.tables.counters(&allowed, asked.unit, asked.from, asked.to, call.deadline).await?;
    Ok((head.unwrap_or_default(), counted))
}

impl Asked {
    fn read(pairs: Vec<(String, String)>, now: Timestamp) -> Result<Self, Problem> {
        let (filters, own): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| FILTERS.contains(&name.as_str()));
        if let Some((unknown, _)) = own.iter().find(|(name, _)| name != "interval") {
            let detail =
                format!("Unknown query parameter: {unknown} (known: interval, {})", FILTERS.join(", "));
            return Err(Problem::invalid("invalid_query", detail));
        }
        let interval = match own.as_slice() {
            [] => DEFAULT_INTERVAL,
            [(_, text)] => duration(text).filter(|interval| interval.is_positive()).ok_or_else(|| {
                invalid_interval("a whole number of minutes, hours or days, such as 15m, 1h or 7d")
            })?,
            _ => return Err(Problem::invalid("invalid_query", "Query parameter given twice: interval")),
        };
        let filter = Filter::parse(filters, now)?;
        let (first, end) = filter.ids();
        let to = if end == Ulid::max() { now } else { time_of(end) };
        let from = if first == Ulid::nil() { to - DEFAULT_RANGE } else { time_of(first) };

        let unit = if interval.as_secs() % Unit::Hour.seconds() == 0 { Unit::Hour } else { Unit::Minute };
        let floor = |at: Timestamp| at.as_second().div_euclid(unit.seconds()) * unit.seconds();
        let from = floor(from);
        let to = floor(to - SignedDuration::from_millis(1)) + unit.seconds();
        let invalid_range = |what: String| Err(Problem::invalid("invalid_range", what));
        if from >= to {
            return invalid_range("Invalid range: from is not before to".into());
        }
        if to - from > MAX_HOURS * Unit::Hour.seconds() {
            return invalid_range(format!("Invalid range: at most {} days", MAX_HOURS / 24));
        }
        let oldest = now - MINUTES_RANGE;
        if unit == Unit::Minute && from < floor(oldest) {
            return Err(invalid_interval("whole hours, except within the last 24 hours"));
        }
        if (to - from) / interval.as_secs() >= MAX_BARS {
            return Err(invalid_interval(&format!("too short for this range, at most {MAX_BARS} of them")));
        }
        let at = |second| Timestamp::from_second(second).unwrap_or(now);
        Ok(Self { filter, unit, from: at(from), to: at(to), interval })
    }

    fn answer(&self, head: Head, counted: &[Counted]) -> Value {
        let starts = std::iter::successors(Some(self.from), |at| at.checked_add(self.interval).ok());
        let starts: Vec<Timestamp> = starts.take_while(|at| *at < self.to).collect();
        let mut bars = vec![Bar::new(); starts.len()];
        for unit in counted {
            let place = unit.at.duration_since(self.from).as_secs() / self.interval.as_secs();
            let Some(bar) = usize::try_from(place).ok().and_then(|place| bars.get_mut(place)) else {
                continue;
            };
            for (action, success, count) in &unit.counts {
                if self.filter.allows(*action, *success) {
                    bar.entry(action.name()).or_default()[usize::from(!success)] += count;
                }
            }
        }
        let ends = starts.iter().skip(1).copied().chain([self.to]);
        let shown_bars = starts.iter().zip(ends).zip(&bars).map(|((from, to), bar)| {
            let actions: BTreeMap<_, _> = bar
                .iter()
                .map(|(action, [done, failed])| (*action, json!({ "succeeded": done, "failed": failed })))
                .collect();
            let count: u64 = bar.values().flatten().sum();
            json!({ "from": shown(*from), "to": shown(to), "count": count, "actions": actions })
        });
        let latest = head.latest.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        json!({
            "from": shown(self.from),
            "to": shown(self.to),
            "bars": shown_bars.collect::<Vec<_>>(),
            "as_of": { "tree_size": head.size, "time": latest.map(shown) },
        })
    }
}

fn invalid_interval(what: &str) -> Problem {
    Problem::invalid("invalid_interval", format!("Invalid interval: {what}"))
}
