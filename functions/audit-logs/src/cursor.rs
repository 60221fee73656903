//! What a client carries from one request to the next: the query it goes on with, and the entry that says it was made.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::app::App;
use shared::audit::Filter;
use shared::auth::Principal;
use shared::problem::Problem;
use shared::tables::Order;
use ulid::Ulid;

/// How long one entry covers what is read with its cursors.
pub const COVERED: SignedDuration = SignedDuration::from_mins(15);

/// A query and a place in its answer. Closed, it is good for the caller to whom it was given alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Which entries, relative times resolved.
    pub filter: Filter,
    /// In which order they are shown.
    pub order: Order,
    /// Entries below this id: the `AUDIT_READ` with which the query began.
    pub bound: Ulid,
    /// Nothing of the organisation is below this id.
    pub since: Ulid,
    /// The newest `AUDIT_READ` of this query. It tells its time.
    pub entry: Ulid,
    /// Where to go on.
    pub place: Place,
}

/// Where a query goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Below the bound, behind this id.
    #[serde(rename = "p")]
    Page(#[serde(with = "id::optional")] Option<Ulid>),
    /// Above the bound, upward.
    #[serde(rename = "n")]
    Newer {
        /// From this id on.
        #[serde(rename = "f", with = "id")]
        from: Ulid,
        /// And behind this one, where the last answer was full.
        #[serde(rename = "a", with = "id::optional")]
        after: Option<Ulid>,
        /// Where to begin again once the end was reached, if that is settled already.
        #[serde(rename = "g", with = "id::optional")]
        again: Option<Ulid>,
    },
}

/// A cursor as it is closed.
#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(rename = "f")]
    filter: String,
    #[serde(rename = "a")]
    ascending: bool,
    #[serde(rename = "b", with = "id")]
    bound: Ulid,
    #[serde(rename = "s", with = "id")]
    since: Ulid,
    #[serde(rename = "e", with = "id")]
    entry: Ulid,
    #[serde(rename = "p")]
    place: Place,
}

impl Cursor {
    /// Closes it for a caller.
    ///
    /// # Errors
    /// [`Problem::Internal`]
    pub fn close(&self, app: &App, caller: &Principal) -> Result<String, Problem> {
        let form = Form {
            filter: self.filter.text(),
            ascending: self.order == Order::Ascending,
            bound: self.bound,
            since: self.since,
            entry: self.entry,
            place: self.place,
        };
        let bytes = serde_json::to_vec(&form).map_err(|error| Problem::Internal(error.to_string()))?;
        app.tokens()?.cursors.close(&owner(caller), &bytes)
    }

    /// Opens what this caller brings back.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if it was not given to this caller.
    pub fn open(app: &App, caller: &Principal, text: &str) -> Result<Self, Problem> {
        let bytes = app.tokens()?.cursors.open(&owner(caller), text);
        let form = bytes.and_then(|bytes| serde_json::from_slice::<Form>(&bytes).ok());
        let read = form.and_then(|form| {
            let Form { filter, ascending, bound, since, entry, place } = form;
            let order = if ascending { Order::Ascending } else { Order::Descending };
            Some(Self { filter: Filter::from_text(&filter).ok()?, order, bound, since, entry, place })
        });
        read.ok_or_else(invalid)
    }

    /// Whether its entry still stands for what is read now.
    #[must_use]
    pub fn covers(&self, now: Timestamp) -> bool {
        now.duration_since(time_of(self.entry)) < COVERED
    }
}

/// The refusal of a cursor.
pub(crate) fn invalid() -> Problem {
    Problem::invalid("invalid_cursor", "Invalid cursor")
}

/// The time that an id tells.
pub(crate) fn time_of(id: Ulid) -> Timestamp {
    let at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(Timestamp::MAX)
}

/// Neither an organisation nor a subject has control characters.
fn owner(caller: &Principal) -> String {
    // The entry that covers what is read names the role.
    format!("{}\0{}\0{}", caller.org().as_str(), caller.sub(), caller.role())
}

/// An id as its text.
mod id {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(id: &Ulid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ulid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ulid::from_string(&text).map_err(de::Error::custom)
    }

    pub(super) mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
        use ulid::Ulid;

        pub(crate) fn serialize<S: Serializer>(id: &Option<Ulid>, serializer: S) -> Result<S::Ok, S::Error> {
            id.map(|id| id.to_string()).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Ulid>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| Ulid::from_string(&text).map_err(de::Error::custom)).transpose()
        }
    }
}
