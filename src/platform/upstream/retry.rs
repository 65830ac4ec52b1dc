//! When to try again, and how often all callers together may.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::error::UpstreamError;

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// A retry costs this many thousandths.
const RETRY_COST: u64 = 1_000;
/// Each call adds this much: retries are at most 20 % of the calls...
const PER_CALL: u64 = 200;
/// ...plus one every two seconds, so that a rarely used upstream gets its retries too...
const PER_SECOND: u64 = 500;
/// ...and what was saved up pays for ten at once.
const MOST: u64 = 10_000;

/// What all calls to one upstream together may spend on retries, so that an outage is not
/// multiplied by the number of attempts.
pub(super) struct RetryBudget(Mutex<Purse>);

struct Purse {
    thousandths: u64,
    filled_at: Instant,
}

impl RetryBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Purse { thousandths: MOST, filled_at: now }))
    }

    /// A call was made.
    pub(super) fn earn(&self, now: Instant) {
        self.update(now, |have| (have + PER_CALL, ()));
    }

    /// Pays for one retry, if there is enough.
    pub(super) fn spend(&self, now: Instant) -> bool {
        self.update(now, |have| match have.checked_sub(RETRY_COST) {
            Some(rest) => (rest, true),
            None => (have, false),
        })
    }

    fn update<T>(&self, now: Instant, change: impl FnOnce(u64) -> (u64, T)) -> T {
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = now.saturating_duration_since(purse.filled_at).as_millis();
        let earned = u64::try_from(waited).unwrap_or(u64::MAX).saturating_mul(PER_SECOND) / 1_000;
        if earned > 0 {
            purse.thousandths = purse.thousandths.saturating_add(earned).min(MOST);
            purse.filled_at = now;
        }
        let (left, result) = change(purse.thousandths);
        purse.thousandths = left.min(MOST);
        result
    }
}

/// The retries of one call.
pub(super) struct Retries {
    delays: ExponentialBackoff,
    /// A pooled connection may turn out closed only when it is used: that is tried again at once
    /// and is not one of the configured attempts.
    stale_connection: bool,
}

impl Retries {
    /// For a call that may be tried `attempts` times in all. One that is not idempotent is tried
    /// once: without an answer nobody knows whether the work was done.
    pub(super) fn new(idempotent: bool, attempts: u32) -> Self {
        let retries = if idempotent { attempts.saturating_sub(1) as usize } else { 0 };
        let delays = ExponentialBuilder::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_max_times(retries)
            .build();
        Self { delays, stale_connection: idempotent }
    }

    /// How long to wait before the next attempt; `None` when there is to be none. `remaining` is
    /// what is left of the caller's patience: a wait that would use it up is not begun.
    pub(super) fn next(
        &mut self,
        error: &UpstreamError,
        remaining: Duration,
        budget: &RetryBudget,
    ) -> Option<Duration> {
        let first_failure = std::mem::take(&mut self.stale_connection);
        if !error.is_transient() {
            return None;
        }
        let delay = if first_failure && *error == UpstreamError::Closed {
            Duration::ZERO
        } else {
            // Full jitter: callers that failed together do not come back together.
            self.delays.next()?.mul_f64(rand::random::<f64>())
        };
        let delay = delay.max(error.retry_after().unwrap_or_default());
        (delay < remaining && budget.spend(Instant::now())).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use awc::http::StatusCode;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn status(status: StatusCode, retry_after: Option<u64>) -> UpstreamError {
        UpstreamError::Status { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn an_outage_gets_a_fifth_more_calls_and_not_a_multiple() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.earn(now);
            retries += u32::from(budget.spend(now));
        }
        assert!((200..=210).contains(&retries), "{retries}");
    }

    #[test]
    fn time_pays_for_a_few_retries_but_does_not_pile_up() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        let spend_all = |now| (0..1_000).take_while(|_| budget.spend(now)).count();
        assert_eq!(spend_all(now), 10);
        assert_eq!(spend_all(now + Duration::from_secs(4)), 2);
        assert_eq!(spend_all(now + Duration::from_hours(1)), 10);
    }

    #[test]
    fn delays_grow_and_end_with_the_attempts() {
        let budget = RetryBudget::new(Instant::now());
        let mut retries = Retries::new(true, 3);
        let error = UpstreamError::Timeout;
        for most in [50, 100] {
            let delay = retries.next(&error, PATIENCE, &budget).expect("a retry");
            assert!(delay <= Duration::from_millis(most), "{delay:?}");
        }
        assert_eq!(retries.next(&error, PATIENCE, &budget), None);
    }

    #[test]
    fn what_is_not_idempotent_or_not_transient_is_not_retried() {
        let budget = RetryBudget::new(Instant::now());
        for error in [UpstreamError::Closed, UpstreamError::Timeout] {
            assert_eq!(Retries::new(false, 5).next(&error, PATIENCE, &budget), None);
        }
        for error in [
            UpstreamError::Busy,
            UpstreamError::Deadline,
            UpstreamError::BodyTooLarge,
            status(StatusCode::NOT_IMPLEMENTED, None),
        ] {
            assert_eq!(Retries::new(true, 5).next(&error, PATIENCE, &budget), None, "{error}");
        }
    }

    #[test]
    fn retry_after_is_honoured_where_it_fits_in_the_deadline() {
        let budget = RetryBudget::new(Instant::now());
        let error = status(StatusCode::TOO_MANY_REQUESTS, Some(3));
        let mut retries = Retries::new(true, 5);
        assert_eq!(retries.next(&error, PATIENCE, &budget), Some(Duration::from_secs(3)));
        assert_eq!(retries.next(&error, Duration::from_secs(3), &budget), None);
    }

    #[test]
    fn a_connection_that_went_stale_costs_no_attempt_once() {
        let budget = RetryBudget::new(Instant::now());
        let mut retries = Retries::new(true, 1);
        let next = |retries: &mut Retries| retries.next(&UpstreamError::Closed, PATIENCE, &budget);
        assert_eq!(next(&mut retries), Some(Duration::ZERO));
        assert_eq!(next(&mut retries), None);
    }
}
