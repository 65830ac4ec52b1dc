//! `[deptrans_driver_status_integration.sending]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;
use crate::upstreams::driver_trackstory;

/// Beyond a batch's own time, what settling it may take.
const SETTLING_MS: u64 = 10_000;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendingSettings {
    /// Batches under way at once in this process; 0: it sends nothing.
    pub workers: usize,
    /// Statuses in a batch.
    pub batch: usize,
    /// How long a batch may take; what is not sent by then waits again.
    pub batch_ms: u64,
    /// Whoever stops without a word loses its batch after this.
    pub lease_ms: u64,
    /// How often an idle process looks at the queue.
    pub poll_ms: u64,
    /// The pause before a status of which the outcome is not known is sent again; it doubles with each
    /// further time...
    pub backoff_base_ms: u64,
    /// ...up to this.
    pub backoff_max_ms: u64,
}

impl SendingSettings {
    pub(super) fn batch_time(&self) -> Duration {
        Duration::from_millis(self.batch_ms)
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    pub(super) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// The pause after the attempt of that number, from 0; a part of it is left to chance.
    pub(super) fn backoff(&self, attempt: i16) -> Duration {
        let doublings = u32::try_from(attempt.clamp(0, 30)).unwrap_or(0);
        let longest = Duration::from_millis(self.backoff_max_ms);
        let pause = Duration::from_millis(self.backoff_base_ms)
            .saturating_mul(1_u32 << doublings.min(30))
            .min(longest);
        pause.mul_f64(0.75 + 0.25 * rand::random::<f64>())
    }

    pub(in super::super) fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, &format!("sending.{key}"), &format!("must be in {range}"));
        };
        within(self.workers <= 64, "workers", "0..=64");
        within((1..=driver_trackstory::BATCH).contains(&self.batch), "batch", "1..=500");
        within((100..=600_000).contains(&self.batch_ms), "batch_ms", "100..=600000");
        within((10..=60_000).contains(&self.poll_ms), "poll_ms", "10..=60000");
        within((1..=600_000).contains(&self.backoff_base_ms), "backoff_base_ms", "1..=600000");
        within(
            (self.backoff_base_ms..=86_400_000).contains(&self.backoff_max_ms),
            "backoff_max_ms",
            "backoff_base_ms..=86400000",
        );
        let longest = self.batch_ms.saturating_add(SETTLING_MS);
        within(
            (longest..=3_600_000).contains(&self.lease_ms),
            "lease_ms",
            "batch_ms + 10000..=3600000: nobody else may take a batch that is still under way",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: SendingSettings = SendingSettings {
        workers: 4,
        batch: 100,
        batch_ms: 30_000,
        lease_ms: 60_000,
        poll_ms: 250,
        backoff_base_ms: 1_000,
        backoff_max_ms: 60_000,
    };

    fn faults(settings: &SendingSettings) -> Vec<String> {
        let mut faults = Faults::below("section");
        settings.check(&mut faults);
        faults.into_vec().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn a_lease_is_longer_than_the_longest_batch() {
        assert_eq!(faults(&GOOD), Vec::<String>::new());
        let short = SendingSettings { lease_ms: 39_999, ..GOOD };
        assert_eq!(faults(&short), ["section.sending.lease_ms"]);
        let large = SendingSettings { batch: 501, workers: 65, poll_ms: 0, ..GOOD };
        assert_eq!(faults(&large).len(), 3);
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        for (attempt, most) in
            [(0, 1_000), (1, 2_000), (5, 32_000), (6, 60_000), (i16::MAX, 60_000)]
        {
            let pause = GOOD.backoff(attempt);
            let most = Duration::from_millis(most);
            assert!(pause <= most && pause >= most.mul_f64(0.75), "{attempt}: {pause:?}");
        }
    }
}
