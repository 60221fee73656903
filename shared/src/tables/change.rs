//! Every change there is to a file's record, as items of a transaction. Its last item is the entry.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::records::{number, sweep_shard, text, write};
use super::{Names, state};
use crate::clock;
use crate::ids::UserId;
use crate::record::{Integrity, Record, State};
use crate::session::{Session, SessionState};

/// How long a request may take to finish what it began before maintenance looks at it.
const FINISHING_TIME: SignedDuration = SignedDuration::from_secs(60);

/// What happens to a record, together with its entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Nothing: something was refused, or failed, or the log itself was read.
    Nothing,
    /// Nothing either, but the record must still be what was read: it is shown, or a URL is signed for it.
    StillThere {
        /// As it was read.
        record: &'a Record,
    },
    /// An export begins: its reservation, its session, which remembers this entry as its bound, and the counters.
    Export {
        /// As it begins.
        session: &'a Session,
    },
    /// PENDING to ACTIVE, if the reservation is still mine and still holds. Its upload session, if there is one, is stored.
    Store {
        /// As it was reserved, with the hash that was found and what is known of its integrity.
        record: &'a Record,
        /// The stored object's entity tag.
        etag: &'a str,
    },
    /// PENDING to PURGING, if the reservation is mine: the object, if there is one, may be removed. Its upload session, if
    /// there is one, ends.
    Undo {
        /// As it was reserved.
        record: &'a Record,
        /// As what the session ends. [`SessionState::Aborted`] is only for one that is open.
        ended: SessionState,
    },
    /// ACTIVE to DELETED.
    SoftDelete {
        /// As it was read.
        record: &'a Record,
        /// Who deletes it.
        by: &'a UserId,
    },
    /// ACTIVE or DELETED to PURGING: the object may be removed.
    HardDelete {
        /// As it was read.
        record: &'a Record,
        /// Who deletes it.
        by: &'a UserId,
    },
    /// PURGING to PURGED: the object is gone.
    Purged {
        /// As it was read.
        record: &'a Record,
    },
    /// The object of an ACTIVE or DELETED record was held against what is recorded.
    Checked {
        /// As it was read.
        record: &'a Record,
        /// What came of it.
        integrity: Integrity,
        /// The hash that was found.
        sha256: Option<&'a str>,
    },
    /// An object of which nobody had told gets a record, DELETED from the beginning.
    Quarantine {
        /// The record to be.
        record: &'a Record,
        /// The upload of the row there, if there is one: a PURGED one.
        over: Option<&'a str>,
    },
}

impl Change<'_> {
    /// The change as items of a transaction; none for [`Change::Nothing`].
    pub(super) fn items(
        self,
        names: &Names,
        entry: Ulid,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        if let Self::Export { session } = self {
            return state::opened(names, &session.clone().bounded(entry)).map_err(BuildError::other);
        }
        let Some(record) = self.record() else { return Ok(Vec::new()) };
        let mut items = vec![self.of_record(record, &names.records, now)?];
        match self {
            Self::Store { record, .. } => {
                items.extend(state::end_session(&names.state, record, SessionState::Stored)?);
            }
            Self::Undo { record, ended } => items.extend(state::end_session(&names.state, record, ended)?),
            _ => {}
        }
        Ok(items)
    }

    fn of_record(
        self,
        record: &Record,
        table: &str,
        now: Timestamp,
    ) -> Result<TransactWriteItem, BuildError> {
        let key = text(&record.file_path);
        let on = |to: State| Update::builder().table_name(table).key("pk", key.clone()).now(to, now);
        let update = match self {
            Self::Nothing | Self::Export { .. } | Self::StillThere { .. } => {
                let check = ConditionCheck::builder()
                    .table_name(table)
                    .key("pk", key)
                    .condition_expression(AS_READ)
                    .expression_attribute_names("#state", "state")
                    .expression_attribute_values(":from", text(record.state.name()))
                    .expression_attribute_values(":org", text(&record.org_id))
                    .expression_attribute_values(":version", number(record.version));
                return Ok(TransactWriteItem::builder().condition_check(check.build()?).build());
            }
            Self::Store { etag, .. } => on(State::Active)
                .stored(record, now)
                .condition_expression("#state = :from AND upload_id = :mine AND lease > :ms")
                .expression_attribute_values(":from", text(State::Pending.name()))
                .expression_attribute_values(":mine", text(&record.upload_id))
                .expression_attribute_values(":first", number(1))
                .expression_attribute_values(":etag", text(etag))
                .expression_attribute_values(":size", number(record.file_size))
                .expression_attribute_values(":context", text(record.context()))
                .expression_attribute_values(":sort", text(record.context_sort())),
            Self::Undo { .. } => on(State::Purging)
                .update_expression("SET #state = :to, updated_at = :now, due = :due")
                .expression_attribute_values(":due", number((now + FINISHING_TIME).as_millisecond()))
                .condition_expression("#state = :from AND upload_id = :mine")
                .expression_attribute_values(":from", text(State::Pending.name()))
                .expression_attribute_values(":mine", text(&record.upload_id)),
            Self::SoftDelete { by, .. } => on(State::Deleted)
                .update_expression(
                    "SET #state = :to, updated_at = :now, deleted_at = :now, deleted_by = :by, context = :context",
                )
                .if_as_read(record)
                .deleted(record, by),
            Self::HardDelete { by, .. } => on(State::Purging)
                .update_expression(
                    "SET #state = :to, updated_at = :now, deleted_at = if_not_exists(deleted_at, :now), \
                     deleted_by = if_not_exists(deleted_by, :by), context = :context, sweep = :sweep, due = :due",
                )
                .if_as_read(record)
                .deleted(record, by)
                .expression_attribute_values(":sweep", text(sweep_shard(&record.file_path)))
                .expression_attribute_values(":due", number((now + FINISHING_TIME).as_millisecond())),
            Self::Purged { .. } => on(State::Purged)
                .update_expression("SET #state = :to, updated_at = :now REMOVE sweep, due")
                .condition_expression("#state = :from AND upload_id = :mine AND version > :never")
                .expression_attribute_values(":from", text(State::Purging.name()))
                .expression_attribute_values(":mine", text(&record.upload_id))
                .expression_attribute_values(":never", number(0)),
            Self::Checked { record, integrity, sha256 } => {
                let hash = if sha256.is_some() { ", sha256 = :sha256" } else { "" };
                let end = record.ends_at();
                let due = if end.is_some() { ", due = :end" } else { " REMOVE sweep, due" };
                let update = on(record.state)
                    .update_expression(format!(
                        "SET #state = :to, updated_at = :now, integrity = :integrity{hash}{due}"
                    ))
                    .if_as_read(record)
                    .condition_expression(format!("{AS_READ} AND integrity = :was"))
                    .expression_attribute_values(":was", text(record.integrity.name()))
                    .expression_attribute_values(":integrity", text(integrity.name()));
                let update = match end {
                    Some(end) => update.expression_attribute_values(":end", number(end.as_millisecond())),
                    None => update,
                };
                match sha256 {
                    Some(sha256) => update.expression_attribute_values(":sha256", text(sha256)),
                    None => update,
                }
            }
            Self::Quarantine { record, over } => {
                return Ok(TransactWriteItem::builder().put(quarantine(record, over, table, now)?).build());
            }
        };
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }

    fn record(&self) -> Option<&Record> {
        match self {
            Self::Nothing | Self::Export { .. } => None,
            Self::StillThere { record }
            | Self::Store { record, .. }
            | Self::Undo { record, .. }
            | Self::SoftDelete { record, .. }
            | Self::HardDelete { record, .. }
            | Self::Purged { record }
            | Self::Checked { record, .. }
            | Self::Quarantine { record, .. } => Some(record),
        }
    }
}

/// The row of an object that nobody had told of: due when its time is over.
fn quarantine(record: &Record, over: Option<&str>, table: &str, now: Timestamp) -> Result<Put, BuildError> {
    /// Longest sort key. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
    const MAX_SORT_BYTES: usize = 1024;
    let mut row = write(record).map_err(BuildError::other)?;
    let sort = record.context_sort();
    row.extend([
        ("context".to_owned(), text(record.deleted_context())),
        ("context_sort".to_owned(), text(&sort[..sort.floor_char_boundary(MAX_SORT_BYTES)])),
        ("sweep".to_owned(), text(sweep_shard(&record.file_path))),
        ("due".to_owned(), number(record.ends_at().unwrap_or(now).as_millisecond())),
    ]);
    let put = Put::builder().table_name(table).set_item(Some(row));
    match over {
        None => put.condition_expression("attribute_not_exists(pk)"),
        Some(upload_id) => put
            .condition_expression("#state = :from AND upload_id = :mine")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":from", text(State::Purged.name()))
            .expression_attribute_values(":mine", text(upload_id)),
    }
    .build()
}

/// The record is what was read: same state, same organisation, same version.
const AS_READ: &str = "#state = :from AND org_id = :org AND version = :version";

/// Pieces that several updates share.
trait UpdatePieces {
    fn now(self, to: State, now: Timestamp) -> Self;
    fn stored(self, record: &Record, now: Timestamp) -> Self;
    fn if_as_read(self, record: &Record) -> Self;
    fn deleted(self, record: &Record, by: &UserId) -> Self;
}

impl UpdatePieces for UpdateBuilder {
    fn now(self, to: State, now: Timestamp) -> Self {
        self.expression_attribute_names("#state", "state")
            .expression_attribute_values(":to", text(to.name()))
            .expression_attribute_values(":now", text(clock::whole_seconds(now).to_string()))
    }

    /// A file whose hash nobody has checked yet stays in `sweep`, due now.
    fn stored(self, record: &Record, now: Timestamp) -> Self {
        const SET: &str = "SET #state = :to, updated_at = :now, version = :first, etag = :etag, context = :context, \
                           context_sort = :sort, integrity = :integrity, file_size = :size";
        let hash = if record.sha256.is_some() { ", sha256 = :sha256" } else { "" };
        let end = if record.expires_at.is_some() { ", expires_at = :end" } else { "" };
        let due = match (record.integrity, record.expires_at) {
            (Integrity::Pending, _) => ", due = :ms REMOVE lease",
            (_, Some(_)) => ", due = :end_ms REMOVE lease",
            (_, None) => " REMOVE lease, sweep, due",
        };
        let update = self
            .update_expression(format!("{SET}{hash}{end}{due}"))
            .expression_attribute_values(":integrity", text(record.integrity.name()))
            .expression_attribute_values(":ms", number(now.as_millisecond()));
        let update = match record.expires_at {
            Some(end) => update.expression_attribute_values(":end", text(end.to_string())),
            None => update,
        };
        let update = match record.expires_at.filter(|_| record.integrity != Integrity::Pending) {
            Some(end) => update.expression_attribute_values(":end_ms", number(end.as_millisecond())),
            None => update,
        };
        match &record.sha256 {
            Some(sha256) => update.expression_attribute_values(":sha256", text(sha256)),
            None => update,
        }
    }

    fn if_as_read(self, record: &Record) -> Self {
        self.condition_expression(AS_READ)
            .expression_attribute_values(":from", text(record.state.name()))
            .expression_attribute_values(":org", text(&record.org_id))
            .expression_attribute_values(":version", number(record.version))
    }

    fn deleted(self, record: &Record, by: &UserId) -> Self {
        let by = match by {
            UserId::Number(value) => number(value),
            UserId::Text(value) => text(value),
        };
        self.expression_attribute_values(":by", by)
            .expression_attribute_values(":context", text(record.deleted_context()))
    }
}
