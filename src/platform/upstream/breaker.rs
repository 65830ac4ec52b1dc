//! A circuit breaker: when an upstream fails again and again, stop asking for a while.
//!
//! Closed, it counts failures in a row. Open, it refuses everything until its time is over. Then
//! half open: one call at a time goes through, and its outcome decides. Outcomes that belong to
//! an earlier phase (a call sent before the breaker opened, answered afterwards) are ignored.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::platform::telemetry::metrics::IntGauge;

/// What one call says about the upstream's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered.
    Healthy,
    /// It did not answer, or answered that it is broken.
    Failing,
    /// The call says nothing: it was given up by our side.
    Unknown,
}

/// The breaker of one upstream.
pub(super) struct Breaker {
    name: &'static str,
    failures_to_open: u32,
    open_for: Duration,
    state: Mutex<State>,
    gauge: IntGauge,
}

struct State {
    /// Grows with each change of phase; a [`Pass`] of another epoch has no say.
    epoch: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probing: bool },
}

impl Breaker {
    /// A closed breaker. `gauge` shows its phase: 0 closed, 1 half open, 2 open.
    pub(super) fn new(
        name: &'static str,
        failures_to_open: u32,
        open_for: Duration,
        gauge: IntGauge,
    ) -> Self {
        gauge.set(0);
        let state = Mutex::new(State { epoch: 0, phase: Phase::Closed { failures: 0 } });
        Self { name, failures_to_open, open_for, state, gauge }
    }

    /// Lets a call through, or says when to come back.
    ///
    /// The returned [`Pass`] is to be settled with the call's verdict; dropping it says that
    /// nothing was learned.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if now < until => return Err(until - now),
            Phase::HalfOpen { probing: true } => return Err(Duration::ZERO),
            Phase::Open { .. } | Phase::HalfOpen { probing: false } => {
                self.enter(&mut state, Phase::HalfOpen { probing: true });
            }
        }
        Ok(Pass { breaker: self, epoch: state.epoch, settled: false })
    }

    fn settle(&self, epoch: u64, verdict: Verdict, now: Instant) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        let open = Phase::Open { until: now + self.open_for };
        match (state.phase, verdict) {
            (Phase::Closed { .. }, Verdict::Healthy) => {
                state.phase = Phase::Closed { failures: 0 };
            }
            (Phase::Closed { failures }, Verdict::Failing) => {
                if failures + 1 >= self.failures_to_open {
                    self.enter(&mut state, open);
                } else {
                    state.phase = Phase::Closed { failures: failures + 1 };
                }
            }
            (Phase::HalfOpen { .. }, Verdict::Healthy) => {
                self.enter(&mut state, Phase::Closed { failures: 0 });
            }
            (Phase::HalfOpen { .. }, Verdict::Failing) => self.enter(&mut state, open),
            (Phase::HalfOpen { .. }, Verdict::Unknown) => {
                self.enter(&mut state, Phase::HalfOpen { probing: false });
            }
            (Phase::Closed { .. }, Verdict::Unknown) | (Phase::Open { .. }, _) => {}
        }
    }

    /// Whether calls are let through.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed { .. })
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.epoch += 1;
        state.phase = phase;
        let upstream = self.name;
        match phase {
            Phase::Closed { .. } => {
                self.gauge.set(0);
                tracing::info!(upstream, "breaker closed");
            }
            Phase::HalfOpen { .. } => self.gauge.set(1),
            Phase::Open { .. } => {
                self.gauge.set(2);
                tracing::warn!(upstream, "breaker opened");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to make one call.
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    settled: bool,
}

impl Pass<'_> {
    /// Tells the breaker how the call went.
    pub(super) fn settle(mut self, verdict: Verdict, now: Instant) {
        self.settled = true;
        self.breaker.settle(self.epoch, verdict, now);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.settle(self.epoch, Verdict::Unknown, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::telemetry::metrics::Metrics;

    const OPEN_FOR: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        let gauge = Metrics::default().gauge("upstream_breaker_state", "phase");
        Breaker::new("test", 3, OPEN_FOR, gauge)
    }

    fn admitted(breaker: &Breaker, now: Instant) -> Pass<'_> {
        let Ok(pass) = breaker.admit(now) else { panic!("refused") };
        pass
    }

    fn call(breaker: &Breaker, verdict: Verdict, now: Instant) {
        admitted(breaker, now).settle(verdict, now);
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = breaker();
        for _ in 0..3 {
            call(&breaker, Verdict::Failing, now);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (breaker, now) = (breaker(), Instant::now());
        for verdict in [Verdict::Failing, Verdict::Failing, Verdict::Healthy, Verdict::Failing] {
            call(&breaker, verdict, now);
        }
        call(&breaker, Verdict::Failing, now);
        assert!(breaker.admit(now).is_ok());
        call(&breaker, Verdict::Failing, now);
        assert_eq!(breaker.admit(now).err(), Some(OPEN_FOR));
        assert_eq!(breaker.gauge.get(), 2);
    }

    #[test]
    fn a_call_that_was_given_up_says_nothing() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..10 {
            drop(breaker.admit(now).ok());
        }
        assert!(breaker.admit(now).is_ok());
    }

    #[test]
    fn after_its_time_one_probe_goes_through_and_a_healthy_one_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + OPEN_FOR;
        assert!(breaker.admit(later - Duration::from_millis(1)).is_err());
        let probe = admitted(&breaker, later);
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        assert_eq!(breaker.gauge.get(), 1);
        probe.settle(Verdict::Healthy, later);
        assert!(breaker.admit(later).is_ok());
        assert_eq!(breaker.gauge.get(), 0);
    }

    #[test]
    fn a_failing_probe_opens_it_again_and_a_dropped_one_lets_the_next_probe() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + OPEN_FOR;
        drop(admitted(&breaker, later));
        call(&breaker, Verdict::Failing, later);
        assert_eq!(breaker.admit(later).err(), Some(OPEN_FOR));
    }

    #[test]
    fn outcomes_of_an_earlier_phase_are_ignored() {
        let (breaker, now) = (breaker(), Instant::now());
        let slow = admitted(&breaker, now);
        for _ in 0..3 {
            call(&breaker, Verdict::Failing, now);
        }
        slow.settle(Verdict::Healthy, now);
        assert!(breaker.admit(now).is_err());
    }
}
