//! When a call that failed is sent again.
//!
//! Retries are ours and not the SDK's: it neither repeats a cancelled transaction nor tells a definite failure from a
//! doubt that an earlier attempt left, it pauses for seconds, and all clients of a process share one allowance.

use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Deadline;
use crate::unique;

/// Shortest and longest pause before a call is tried again (DESIGN section 6, "Outcomes").
const PAUSE_MS: std::ops::Range<u64> = 20..400;

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Tries {
    until: Deadline,
    attempt_limit: Duration,
    made: u32,
}

impl Tries {
    /// Attempts of at most `attempt_limit`, for `limit` in all.
    pub(crate) fn within(limit: Duration, attempt_limit: Duration) -> Self {
        Self { until: Deadline::after(limit), attempt_limit, made: 0 }
    }

    /// Waits until the next attempt is due and says how long it may take; none if it is not to be made. One that would
    /// have less than a quarter of its time is not: it would hardly succeed, and turn a definite failure into a doubt.
    pub(crate) async fn next(&mut self) -> Option<Duration> {
        let pause = if self.made == 0 { Duration::ZERO } else { pause(self.made - 1) };
        if self.until.left() < pause + self.attempt_limit / 4 {
            return None;
        }
        sleep(pause).await;
        self.made += 1;
        Some(self.until.left().min(self.attempt_limit))
    }
}

/// Full jitter: anything up to a bound that doubles with each attempt.
fn pause(attempt: u32) -> Duration {
    let bound = PAUSE_MS.start.saturating_mul(2 << attempt.min(8)).min(PAUSE_MS.end);
    let random = u64::try_from(unique::random_bits() & 0xffff_ffff).unwrap_or_default();
    Duration::from_millis(PAUSE_MS.start + random % (bound - PAUSE_MS.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_that_has_no_time_is_not_made() {
        let limit = |ms| Tries::within(Duration::from_millis(ms), Duration::from_secs(1));
        assert_eq!(limit(0).next().await, None);
        assert_eq!(limit(200).next().await, None);
        assert!(limit(2_500).next().await.is_some_and(|limit| limit == Duration::from_secs(1)));
    }

    #[test]
    fn pauses_grow_within_their_bounds() {
        for attempt in 0..40 {
            let ms = u64::try_from(pause(attempt).as_millis()).unwrap();
            assert!(PAUSE_MS.contains(&ms), "{ms}");
            assert!(attempt > 0 || ms < 40, "{ms}");
        }
    }
}
