//! The one place that reads the clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Longest time from receipt to answer (DESIGN section 8).
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// What must be left of a request for it to begin a new effect: the rest settles an outcome in doubt and writes the
/// failure entry (DESIGN section 8).
pub const SETTLING_RESERVE: Duration = Duration::from_secs(3);

/// What every call leaves for the answer itself (DESIGN section 8).
const ANSWER_RESERVE: Duration = Duration::from_millis(300);

/// What is kept between our answer and the moment at which Lambda ends the process.
const LAMBDA_RESERVE: SignedDuration = SignedDuration::from_secs(1);

/// The same for work that nobody waits for.
const TASK_RESERVE: SignedDuration = SignedDuration::from_secs(10);

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A time as records and answers show it: in whole seconds, as the guides do.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn elapsed_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Lets at most so many calls begin in any second.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: usize,
    begun: VecDeque<Instant>,
}

impl Pace {
    /// So many.
    pub(crate) fn new(per_second: usize) -> Self {
        Self { per_second, begun: VecDeque::new() }
    }

    /// How long the next call has to wait; it counts as begun then.
    pub(crate) fn next(&mut self) -> Duration {
        let now = Instant::now();
        let free = if self.begun.len() < self.per_second { None } else { self.begun.pop_front() };
        let at = free.map_or(now, |before| now.max(before + Duration::from_secs(1)));
        self.begun.push_back(at);
        at - now
    }
}

/// When a request must have been answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

/// There is not enough time left for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTime;

impl Deadline {
    /// For a request that arrives now in an invocation that ends at `invocation_end`.
    #[must_use]
    pub fn for_invocation(invocation_end: Timestamp) -> Self {
        let lambda = left_until(invocation_end).saturating_sub(LAMBDA_RESERVE);
        let lambda = Duration::try_from(lambda).unwrap_or(Duration::ZERO);
        Self::after(lambda.min(REQUEST_LIMIT))
    }

    /// For work that nobody waits for, in an invocation that ends at `invocation_end`.
    #[must_use]
    pub fn for_task(invocation_end: Timestamp) -> Self {
        let left = left_until(invocation_end).saturating_sub(TASK_RESERVE);
        Self::after(Duration::try_from(left).unwrap_or(Duration::ZERO))
    }

    /// The moment `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// How long one call may take: `limit`, or less if less is left.
    #[must_use]
    pub fn cap(self, limit: Duration) -> Duration {
        self.left().saturating_sub(ANSWER_RESERVE).min(limit)
    }

    /// The same for a call that others must follow: what it leaves is enough to settle its outcome.
    #[must_use]
    pub fn cap_before_settling(self, limit: Duration) -> Duration {
        self.left().saturating_sub(SETTLING_RESERVE).min(limit)
    }

    /// The moment from which on what is left is for settling.
    #[must_use]
    pub fn before_settling(self) -> Self {
        Self(self.0.checked_sub(SETTLING_RESERVE).unwrap_or(self.0))
    }

    /// The gate in front of every new effect.
    ///
    /// # Errors
    /// [`OutOfTime`] if less than [`SETTLING_RESERVE`] is left.
    pub fn begin_effect(self) -> Result<(), OutOfTime> {
        if self.left() < SETTLING_RESERVE { Err(OutOfTime) } else { Ok(()) }
    }

    /// What is left until this moment.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// What is left of an invocation. Lambda says when it ends; emulators say how long it may take (`cargo lambda watch`: 600,000 ms),
/// which read as a moment is one of the first day of 1970.
fn left_until(invocation_end: Timestamp) -> SignedDuration {
    let since_1970 = invocation_end.duration_since(Timestamp::UNIX_EPOCH);
    if since_1970 < SignedDuration::from_hours(24) {
        return since_1970;
    }
    invocation_end.duration_since(now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_calls_than_it_may() {
        let mut pace = Pace::new(2);
        let waits: Vec<_> = (0..6).map(|_| pace.next().as_millis().div_ceil(100)).collect();
        assert_eq!(waits, [0, 0, 10, 10, 20, 20]);
    }

    #[test]
    fn a_length_that_an_emulator_says_is_no_moment_of_1970() {
        let ten_minutes = Timestamp::from_millisecond(600_000).unwrap();
        assert_eq!(Deadline::for_invocation(ten_minutes).begin_effect(), Ok(()));
        assert!(Deadline::for_task(ten_minutes).left() > REQUEST_LIMIT);
        let over = now() - SignedDuration::from_secs(1);
        assert_eq!(Deadline::for_invocation(over).left(), Duration::ZERO);
        assert_eq!(Deadline::for_task(Timestamp::UNIX_EPOCH).left(), Duration::ZERO);
    }
}
