//! Writers: each entry carries a writer's id, its place in that writer's chain, and the hash of the entry before it.
//! So an entry that goes missing, or that is slipped in, breaks a chain.
//!
//! A writer is a value that one transaction holds at a time: no lock is held while the table is written, and requests
//! that run side by side simply use different writers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use ulid::Ulid;

use super::{Actor, Body, Event, InDoubt, LeafHash, LogRow, Outcome, leaf_hash};
use crate::ids::OrgId;
use crate::unique;

/// Idle writers that a process keeps (DESIGN section 6). One that is pushed out simply ends: nothing is owed to it.
pub const MAX_IDLE_WRITERS: usize = 1_000;

/// The process's writers.
#[derive(Debug, Default)]
pub struct Writers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Least recently used first.
    idle: VecDeque<Writer>,
    /// Writers that ended in doubt and that no new writer has named yet.
    doubts: VecDeque<(OrgId, InDoubt)>,
}

#[derive(Debug)]
struct Writer {
    id: String,
    org: OrgId,
    sequence: u64,
    /// Hash of the last entry that is certain.
    last: Option<LeafHash>,
    /// The highest id that was given to an entry, stored or not: an id is used once.
    highest: Option<Ulid>,
    /// Named by this writer's first entry.
    replaces: Option<InDoubt>,
}

impl Writers {
    /// Takes a writer of this organisation: an idle one, or a new one.
    ///
    /// While one of the organisation's writers is in doubt the next one is new, since only a first entry names another.
    pub fn take(&self, org: &OrgId) -> Pen<'_> {
        let mut state = self.state();
        let doubt = state.doubts.iter().position(|(of, _)| of == org);
        let replaces = doubt.and_then(|at| state.doubts.remove(at)).map(|(_, doubt)| doubt);
        let idle = match replaces {
            Some(_) => None,
            None => state.idle.iter().rposition(|writer| writer.org == *org),
        };
        let writer = idle.and_then(|at| state.idle.remove(at)).unwrap_or_else(|| Writer::new(org, replaces));
        Pen { writers: self, writer: Some(writer), in_flight: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, writer: Writer) {
        let mut state = self.state();
        state.idle.push_back(writer);
        if state.idle.len() > MAX_IDLE_WRITERS
            && let Some(Writer { org, replaces: Some(doubt), .. }) = state.idle.pop_front()
        {
            // It was to name another and never wrote: the next one does.
            state.doubts.push_back((org, doubt));
        }
    }

    fn in_doubt(&self, writer: Writer, id: Ulid) {
        let Writer { id: name, org, sequence, replaces, .. } = writer;
        let mut state = self.state();
        // A first entry in doubt may not have told of the writer it replaces: that one is to be named again.
        state.doubts.extend(replaces.map(|older| (org.clone(), older)));
        let doubt = InDoubt { writer: name, sequence: sequence.checked_sub(1), id: id.to_string() };
        state.doubts.push_back((org, doubt));
        // A long outage must not grow this without end. What is forgotten shows as a doubt that nobody named, which a
        // verifier reports.
        while state.doubts.len() > MAX_IDLE_WRITERS {
            state.doubts.pop_front();
        }
    }
}

/// A writer in somebody's hand. Dropping it after [`Pen::sending`] without a definite outcome puts the writer in doubt:
/// doubt is what happens unless the code knows better.
#[derive(Debug)]
pub struct Pen<'a> {
    writers: &'a Writers,
    writer: Option<Writer>,
    in_flight: Option<Ulid>,
}

impl Pen<'_> {
    /// Gives an event its place in the chain.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the writer leaves only in methods that consume the pen")]
    pub fn seal(&mut self, actor: &Actor, event: Event, now: Timestamp) -> LogRow {
        self.writer.as_mut().expect("a pen holds its writer").seal(actor, event, now)
    }

    /// From here on the entry may have been stored.
    pub fn sending(&mut self, entry: &LogRow) {
        self.in_flight = Some(entry.id);
    }

    /// The entry is stored: the chain goes on behind it.
    pub fn committed(mut self, entry: &LogRow) {
        if let Some(mut writer) = self.writer.take() {
            writer.sequence += 1;
            writer.last = Some(entry.hash);
            writer.replaces = None;
            self.writers.give_back(writer);
        }
    }

    /// The entry is certainly not stored: the chain stands where it stood.
    pub fn unchanged(mut self) {
        if let Some(writer) = self.writer.take() {
            self.writers.give_back(writer);
        }
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        match (self.writer.take(), self.in_flight) {
            (Some(writer), Some(id)) => self.writers.in_doubt(writer, id),
            (Some(writer), None) => self.writers.give_back(writer),
            (None, _) => {}
        }
    }
}

impl Writer {
    fn new(org: &OrgId, replaces: Option<InDoubt>) -> Self {
        // 80 random bits, in 16 characters: short, since it stands in every entry.
        Self {
            id: unique::random_characters(16),
            org: org.clone(),
            sequence: 0,
            last: None,
            highest: None,
            replaces,
        }
    }

    fn seal(&mut self, actor: &Actor, event: Event, now: Timestamp) -> LogRow {
        let Event { action, path, related, details, outcome } = event;
        let id = self.next_id(now);
        // The id's time is the entry's: it is ahead of the clock if that went back.
        let at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.unwrap_or(now);
        let user = actor.user.clone();
        let body = Body {
            action,
            ip: actor.ip.clone(),
            device: actor.device.clone(),
            error: match outcome {
                Outcome::Success => None,
                Outcome::Failure(message) => Some(message),
            },
            path: path.map(|path| Body::path_within(self.org.as_str(), path.as_str())),
            replaces: self.replaces.clone(),
            id: id.to_string(),
            details,
            sequence: self.sequence,
            org: self.org.as_str().to_owned(),
            previous: self.last.as_ref().map(Body::encode_hash),
            request_id: actor.request_id.clone(),
            role: actor.role.clone(),
            sub: (user.to_string() != actor.sub).then(|| actor.sub.clone()),
            timestamp_ms: at.as_millisecond(),
            user,
            writer: self.id.clone(),
            related_type: related.object_type,
            related_id: related.object_id,
        };
        let bytes = body.to_bytes();
        let hash = leaf_hash(&bytes);
        LogRow { id, body, hash, bytes, at }
    }

    /// A ULID above the writer's last one, also when the clock has gone back.
    fn next_id(&mut self, now: Timestamp) -> Ulid {
        let fresh = unique::ulid(now);
        let id = match self.highest {
            Some(highest) if highest >= fresh => highest.increment().unwrap_or(fresh),
            _ => fresh,
        };
        self.highest = Some(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, Details, Related};
    use crate::ids::UserId;

    #[test]
    fn a_chain_links_each_entry_to_the_one_before() {
        let writers = Writers::default();
        let first = write(&writers, 1_000);
        let second = write(&writers, 1_000);
        assert_eq!((first.body.sequence, second.body.sequence), (0, 1));
        assert_eq!(first.body.writer, second.body.writer);
        assert_eq!(first.body.previous, None);
        assert_eq!(second.body.previous, Some(Body::encode_hash(&first.hash)));
    }

    #[test]
    fn ids_rise_within_a_writer_even_when_the_clock_goes_back() {
        let writers = Writers::default();
        let ids: Vec<_> = [5_000, 5_000, 4_000, 1, 5_001].map(|ms| write(&writers, ms).id).into();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }

    #[test]
    fn a_refused_transaction_leaves_the_chain_where_it_was() {
        let writers = Writers::default();
        write(&writers, 1);
        let mut pen = writers.take(&org("org-1"));
        let lost = pen.seal(&actor(), event(), at(2));
        pen.sending(&lost);
        pen.unchanged();
        let next = write(&writers, 1);
        assert!(next.id > lost.id, "an id is used once, also when the clock goes back");
        assert_eq!(next.body.sequence, lost.body.sequence);
        assert_eq!(next.body.previous, lost.body.previous);
    }

    #[test]
    fn a_writer_in_doubt_ends_and_the_next_new_one_names_it() {
        let writers = Writers::default();
        let first = write(&writers, 1);
        let mut pen = writers.take(&org("org-1"));
        let doubtful = pen.seal(&actor(), event(), at(2));
        pen.sending(&doubtful);
        drop(pen);

        let next = write(&writers, 3);
        assert_ne!(next.body.writer, first.body.writer);
        assert_eq!(next.body.sequence, 0);
        let named = InDoubt { writer: first.body.writer, sequence: Some(0), id: doubtful.id.to_string() };
        assert_eq!(next.body.replaces, Some(named));
        assert_eq!(write(&writers, 4).body.replaces, None, "it is named once");
    }

    #[test]
    fn a_doubt_is_named_again_when_the_entry_that_named_it_is_in_doubt_itself() {
        let writers = Writers::default();
        let lose = || {
            let mut pen = writers.take(&org("org-1"));
            let sealed = pen.seal(&actor(), event(), at(1));
            pen.sending(&sealed);
            sealed.id.to_string()
        };
        let lost = [lose(), lose()];
        let named: Vec<_> = lost
            .iter()
            .map(|_| {
                // Both are held, so that each is a new writer.
                write(&writers, 5).body.replaces.map(|doubt| doubt.id)
            })
            .collect();
        assert_eq!(named, lost.map(Some));
    }

    #[test]
    fn a_writer_that_sent_nothing_is_not_in_doubt() {
        let writers = Writers::default();
        let first = write(&writers, 1);
        drop(writers.take(&org("org-1")));
        assert_eq!(write(&writers, 2).body.writer, first.body.writer);
    }

    #[test]
    fn a_writer_serves_one_organisation() {
        let writers = Writers::default();
        let first = write(&writers, 1);
        let mut other = actor();
        other.org = org("org-2");
        let mut pen = writers.take(&other.org);
        let sealed = pen.seal(&other, event(), at(1));
        assert_ne!(sealed.body.writer, first.body.writer);
        assert_eq!(sealed.body.sequence, 0);
    }

    #[test]
    fn transactions_side_by_side_use_different_writers() {
        let writers = Writers::default();
        let mut pens = [writers.take(&org("org-1")), writers.take(&org("org-1"))];
        let [a, b] = pens.each_mut().map(|pen| pen.seal(&actor(), event(), at(1)).body.writer);
        assert_ne!(a, b);
    }

    #[test]
    fn idle_writers_are_bounded_and_the_oldest_ends() {
        let writers = Writers::default();
        let mut first = actor();
        for n in 0..=MAX_IDLE_WRITERS {
            first.org = org(&format!("org-{n}"));
            writers.take(&first.org).unchanged();
        }
        assert_eq!(writers.state().idle.len(), MAX_IDLE_WRITERS);
        assert!(!writers.state().idle.iter().any(|writer| writer.org == org("org-0")));
    }

    #[test]
    fn a_doubt_outlives_the_writer_that_was_to_name_it() {
        let writers = Writers::default();
        let mut pen = writers.take(&org("org-1"));
        let doubtful = pen.seal(&actor(), event(), at(1));
        pen.sending(&doubtful);
        drop(pen);
        writers.take(&org("org-1")).unchanged();
        for n in 0..MAX_IDLE_WRITERS {
            writers.take(&org(&format!("other-{n}"))).unchanged();
        }
        assert_eq!(write(&writers, 2).body.replaces.map(|doubt| doubt.id), Some(doubtful.id.to_string()));
    }

    fn write(writers: &Writers, ms: i64) -> LogRow {
        let mut pen = writers.take(&org("org-1"));
        let sealed = pen.seal(&actor(), event(), at(ms));
        pen.sending(&sealed);
        pen.committed(&sealed);
        sealed
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    fn actor() -> Actor {
        Actor {
            org: org("org-1"),
            user: UserId::Number(1),
            sub: "1".into(),
            role: "member".into(),
            ip: "127.0.0.1".into(),
            device: "test".into(),
            request_id: "r".into(),
        }
    }

    fn event() -> Event {
        Event {
            action: Action::AuditRead,
            path: None,
            related: Related::default(),
            details: Details::default(),
            outcome: Outcome::Success,
        }
    }
}
