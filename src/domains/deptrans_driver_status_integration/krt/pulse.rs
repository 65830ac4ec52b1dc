//! What this process's calls tell of KRT's health, and whether it is asked at all.
//!
//! After some failures in a row it is down: then one call at a time tries whether it is back, and
//! nothing else leaves. The first answer lets everybody go on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// So many failures in a row, and it is down.
const DOWN_AFTER: u32 = 10;

/// What one call tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered, whatever it said.
    Answered,
    /// It did not answer, or with what cannot be used.
    Failed,
    /// It does not know us: nothing can be told it either, but that is no outage of its.
    Refused,
}

/// Whether work for KRT is begun.
pub(in super::super) enum Gate<'a> {
    /// It is.
    Open,
    /// One call, to see whether KRT is back; the next when this is dropped.
    Probe(Probe<'a>),
    /// Not before this has passed.
    Closed(Duration),
}

/// The health of KRT as it is seen from here.
pub(in super::super) struct Pulse {
    state: Mutex<State>,
    probe_every: Duration,
    back: Notify,
    /// Told when the first answer after a failure came: outages end then.
    recovered: Notify,
}

#[derive(Default)]
struct State {
    in_a_row: u32,
    /// The first of the failures since the last answer.
    failing_since: Option<Instant>,
    answered_at: Option<Instant>,
    /// The first answer behind the last failure.
    recovered_at: Option<Instant>,
    /// Nothing is begun before this.
    held_until: Option<Instant>,
    probing: bool,
}

/// When what happened last, on this process's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Beat {
    /// KRT is down since then, as far as this process knows.
    pub failing_since: Option<Instant>,
    /// The last answer.
    pub answered_at: Option<Instant>,
    /// The first answer since a failure, or since the start.
    pub recovered_at: Option<Instant>,
}

impl Pulse {
    pub fn new(probe_every: Duration) -> Self {
        Self { state: Mutex::default(), probe_every, back: Notify::new(), recovered: Notify::new() }
    }

    /// Whether work is begun now.
    pub fn gate(&self) -> Gate<'_> {
        self.gate_at(Instant::now())
    }

    fn gate_at(&self, now: Instant) -> Gate<'_> {
        let mut state = self.lock();
        if let Some(wait) = state.held_until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            return Gate::Closed(wait);
        }
        if state.in_a_row < DOWN_AFTER {
            return Gate::Open;
        }
        if std::mem::replace(&mut state.probing, true) {
            return Gate::Closed(self.probe_every);
        }
        Gate::Probe(Probe(self))
    }

    /// Whether only probes leave.
    pub fn is_down(&self) -> bool {
        self.lock().in_a_row >= DOWN_AFTER
    }

    /// Waits until KRT answered after it was down.
    pub async fn back(&self) {
        self.back.notified().await;
    }

    /// Waits for the first answer after a failure.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Begins nothing for this long.
    pub(super) fn hold(&self, pause: Duration) {
        self.hold_until(Instant::now() + pause);
    }

    fn hold_until(&self, until: Instant) {
        let mut state = self.lock();
        state.held_until = Some(state.held_until.map_or(until, |before| before.max(until)));
    }

    /// The client's own breaker lets nothing through for this long: KRT is down, after however few
    /// failures.
    pub(super) fn breaker_open(&self, pause: Duration) {
        self.hold(pause);
        let mut state = self.lock();
        state.in_a_row = state.in_a_row.max(DOWN_AFTER);
        state.failing_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn note(&self, sign: Sign) {
        self.note_at(sign, Instant::now());
    }

    fn note_at(&self, sign: Sign, now: Instant) {
        let mut state = self.lock();
        match sign {
            Sign::Answered => {
                let was_down = state.in_a_row >= DOWN_AFTER;
                let is_first = state.answered_at.is_none() || state.in_a_row > 0;
                state.in_a_row = 0;
                state.failing_since = None;
                state.answered_at = Some(now);
                if is_first {
                    state.recovered_at = Some(now);
                }
                if was_down {
                    state.held_until = None;
                }
                drop(state);
                if was_down {
                    tracing::info!("KRT answers again");
                    self.back.notify_waiters();
                }
                if is_first {
                    self.recovered.notify_one();
                }
            }
            Sign::Failed | Sign::Refused => {
                state.in_a_row = state.in_a_row.saturating_add(1);
                if sign == Sign::Failed {
                    state.failing_since.get_or_insert(now);
                }
                let is_down = state.in_a_row >= DOWN_AFTER;
                if is_down {
                    state.held_until = Some(now + self.probe_every);
                }
                let is_news = state.in_a_row == DOWN_AFTER;
                drop(state);
                if is_news {
                    tracing::warn!("KRT is down; statuses wait in the queue");
                }
            }
        }
    }

    /// When what happened last.
    pub fn beat(&self) -> Beat {
        let state = self.lock();
        Beat {
            failing_since: state.failing_since.filter(|_| state.in_a_row >= DOWN_AFTER),
            answered_at: state.answered_at,
            recovered_at: state.recovered_at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to try whether KRT is back.
pub(in super::super) struct Probe<'a>(&'a Pulse);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.lock().probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PROBE: Duration = Duration::from_secs(5);

    fn failing(times: u32, now: Instant) -> Pulse {
        let pulse = Pulse::new(PROBE);
        for _ in 0..times {
            pulse.note_at(Sign::Failed, now);
        }
        pulse
    }

    #[test]
    fn it_is_down_after_some_failures_and_then_one_tries() {
        let now = Instant::now();
        let pulse = failing(DOWN_AFTER - 1, now);
        assert!(matches!(pulse.gate_at(now), Gate::Open));
        assert_eq!(pulse.beat().failing_since, None, "not yet down");
        pulse.note_at(Sign::Failed, now);
        assert!(matches!(pulse.gate_at(now), Gate::Closed(_)), "the next probe is not due yet");
        let later = now + PROBE;
        let Gate::Probe(probe) = pulse.gate_at(later) else { panic!("no probe") };
        assert!(matches!(pulse.gate_at(later), Gate::Closed(_)), "one at a time");
        pulse.note_at(Sign::Failed, later);
        drop(probe);
        assert!(matches!(pulse.gate_at(later), Gate::Closed(_)), "it failed");
        let later = later + PROBE;
        let Gate::Probe(unused) = pulse.gate_at(later) else { panic!("no probe") };
        drop(unused);
        assert!(
            matches!(pulse.gate_at(later), Gate::Probe(_)),
            "nothing was tried: the next at once"
        );
    }

    #[test]
    fn an_answer_opens_it_and_tells_when_it_was_back() {
        let now = Instant::now();
        let pulse = failing(DOWN_AFTER, now);
        pulse.note_at(Sign::Failed, now + SECOND * 60);
        assert_eq!(pulse.beat().failing_since, Some(now), "the first failure counts");
        let back = now + SECOND * 120;
        pulse.note_at(Sign::Answered, back);
        pulse.note_at(Sign::Answered, back + SECOND);
        let expected = Beat {
            failing_since: None,
            answered_at: Some(back + SECOND),
            recovered_at: Some(back),
        };
        assert_eq!(pulse.beat(), expected);
        assert!(matches!(pulse.gate_at(back), Gate::Open));
    }

    #[test]
    fn a_refusal_stops_the_work_and_is_no_outage() {
        let pulse = Pulse::new(PROBE);
        for _ in 0..DOWN_AFTER {
            pulse.note(Sign::Refused);
        }
        assert!(pulse.is_down());
        assert_eq!(pulse.beat().failing_since, None);
    }

    #[test]
    fn an_open_breaker_is_an_outage_after_however_few_failures() {
        let now = Instant::now();
        let pulse = failing(1, now);
        pulse.breaker_open(PROBE);
        assert!(pulse.is_down());
        assert_eq!(pulse.beat().failing_since, Some(now));
    }

    #[test]
    fn a_hold_ends_by_itself() {
        let (now, pulse) = (Instant::now(), Pulse::new(PROBE));
        pulse.hold_until(now + SECOND * 2);
        pulse.hold_until(now + SECOND);
        assert!(matches!(pulse.gate_at(now), Gate::Closed(wait) if wait == SECOND * 2));
        assert!(matches!(pulse.gate_at(now + SECOND * 2), Gate::Open));
    }
}
