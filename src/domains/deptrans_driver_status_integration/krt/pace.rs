//! The pace of all instances together: one row says when the next call may leave.
//!
//! A claim of slots moves that time on; slots that lie in the past, at most `burst` of them, leave at
//! once. So in any time `t` no more than `rate × t + burst` calls are begun, however many processes
//! there are. A slot that was not used in its time is given up, never saved: a process that was stopped
//! does not come back with all of its calls at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::sql_types::{Double, Integer, Nullable};
use diesel::{OptionalExtension as _, QueryResult};
use diesel_async::RunQueryDsl;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::platform::context::{Context, Deadline};
use crate::platform::database::{BatchedStatement, Connection, Database, prepared_statement};
use crate::platform::error::{Error, Result};

/// One claim takes slots for this part of a second at most.
const CLAIM: u32 = 20;
/// A slot may be used this much later than it is meant.
const LATE: Duration = Duration::from_millis(500);
/// One claim takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that KRT may make us wait.
const LONGEST: Duration = Duration::from_mins(10);

prepared_statement! {
    /// Slots, if the first comes within the caller's patience: how long until then, in seconds. It also
    /// tells the other instances how long ago KRT answered this one.
    struct ClaimStatement<'a> returns Double;
    "WITH wanted AS (SELECT make_interval(secs => ",
    interval: &'a f64 => Double,
    "::float8) AS every, ",
    count: i32 => Integer,
    "::integer AS slots, ",
    saved: i32 => Integer,
    "::integer AS saved) \
     UPDATE deptrans.krt_pace SET \
       next_at = GREATEST(next_at, clock_timestamp() - every * saved) + every * slots, \
       answered_at = GREATEST(answered_at, clock_timestamp() - make_interval(secs => ",
    answered_ago: Option<f64> => Nullable<Double>,
    "::float8)) \
     FROM wanted WHERE next_at <= clock_timestamp() + make_interval(secs => ",
    patience: f64 => Double,
    "::float8) RETURNING extract(epoch FROM next_at - every * slots - clock_timestamp())::float8",
}

/// A claim, as it goes down a lane of its own: it is asked for often, and callers wait for it. What a
/// crash of the database forgets of it costs no more than a small burst.
struct ClaimSlots;

struct Claim {
    interval: f64,
    count: i32,
    saved: i32,
    answered_ago: Option<f64>,
    patience: f64,
}

impl BatchedStatement for ClaimSlots {
    type Input = Claim;
    type Output = Option<f64>;
    type Key = ();

    const NAME: &'static str = "krt_pace";
    const LANE: &'static str = "krt_pace";
    const LANE_OPTIONS: &'static str = " -c synchronous_commit=off";
    const MAX: usize = 1;
    const REPEATABLE: bool = false;

    fn key(_: &Claim) -> Option<()> {
        None
    }

    async fn run(mut connection: &Connection, inputs: &[Claim]) -> QueryResult<Vec<Option<f64>>> {
        let mut waits = Vec::with_capacity(inputs.len());
        for claim in inputs {
            let statement = ClaimStatement {
                interval: &claim.interval,
                count: claim.count,
                saved: claim.saved,
                answered_ago: claim.answered_ago,
                patience: claim.patience,
            };
            waits.push(statement.get_result(&mut connection).await.optional()?);
        }
        Ok(waits)
    }
}

prepared_statement! {
    /// KRT wants no call before that.
    struct PutOff<'a> returns Double;
    "UPDATE deptrans.krt_pace SET next_at = GREATEST(next_at, clock_timestamp() + make_interval(secs => ",
    pause: &'a f64 => Double,
    "::float8)) RETURNING 0::float8",
}

/// Why there is no slot.
#[derive(Debug)]
pub(super) enum NoSlot {
    /// None comes before the deadline.
    TooLate,
    /// Slots are claimed in the database.
    Database(Error),
}

/// This process's share of the pace.
pub(super) struct Pace {
    database: Database,
    every: Duration,
    saved: i32,
    most: u32,
    slots: Mutex<Slots>,
    waiting: AtomicU32,
}

/// Claimed slots.
#[derive(Debug)]
struct Slots {
    claimed_at: Instant,
    next: Instant,
    count: u32,
    left: u32,
}

impl Slots {
    fn none() -> Self {
        Self { claimed_at: Instant::now(), next: Instant::now(), count: 0, left: 0 }
    }

    /// How many to claim next: as many as wait, and twice as many as these when they were used up
    /// quickly.
    fn wanted(&self, waiting: u32, now: Instant) -> u32 {
        let quickly = Duration::from_secs(1) / CLAIM;
        let was_quick = self.left == 0 && now.duration_since(self.claimed_at) < quickly;
        if was_quick { waiting.max(self.count.saturating_mul(2)) } else { waiting }
    }

    /// The next slot whose time is not over.
    fn take(&mut self, every: Duration, now: Instant) -> Option<Instant> {
        while self.left > 0 {
            let at = self.next.max(self.claimed_at);
            self.next += every;
            self.left -= 1;
            if now <= at + LATE {
                return Some(at);
            }
        }
        None
    }
}

impl Pace {
    /// `rate` calls a second, of which `burst` may leave at once.
    pub fn new(database: Database, rate: u32, burst: u32) -> Self {
        Self {
            database,
            every: Duration::from_secs(1) / rate.max(1),
            // One of those that may leave at once leaves now.
            saved: i32::try_from(burst.saturating_sub(1)).unwrap_or(i32::MAX),
            most: (rate / CLAIM).max(1),
            slots: Mutex::new(Slots::none()),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits until one call may leave. `answered_at` is when KRT last answered this process. To be called
    /// on a thread that runs local tasks.
    pub async fn slot(
        &self,
        deadline: Deadline,
        answered_at: Option<Instant>,
    ) -> Result<(), NoSlot> {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let at = {
                let lock = deadline.run(self.slots.lock()).await;
                let mut slots = lock.map_err(|_| NoSlot::TooLate)?;
                let mut at = slots.take(self.every, Instant::now());
                if at.is_none() {
                    let waiting = AtomicU32::load(&self.waiting, Ordering::Relaxed);
                    let count = slots.wanted(waiting, Instant::now()).clamp(1, self.most);
                    *slots = self.claim(count, deadline, answered_at).await?;
                    at = slots.take(self.every, Instant::now());
                }
                at
            };
            let Some(at) = at else { continue };
            if at.saturating_duration_since(Instant::now()) >= deadline.remaining() {
                return Err(NoSlot::TooLate);
            }
            sleep_until(at).await;
            // Whoever was stopped meanwhile begins anew.
            if at.elapsed() <= LATE {
                return Ok(());
            }
        }
    }

    async fn claim(
        &self,
        count: u32,
        deadline: Deadline,
        answered_at: Option<Instant>,
    ) -> Result<Slots, NoSlot> {
        let claim = Claim {
            interval: self.every.as_secs_f64(),
            count: i32::try_from(count).unwrap_or(1),
            saved: self.saved,
            answered_ago: answered_at.map(|at| at.elapsed().as_secs_f64()),
            patience: deadline.remaining().as_secs_f64(),
        };
        let sent = Instant::now();
        let context = Context::background("krt pace", deadline.remaining().min(PATIENCE));
        let claimed = self.database.batched::<ClaimSlots>(&context, claim).await;
        let wait = claimed.map_err(NoSlot::Database)?;
        let wait = wait.ok_or(NoSlot::TooLate)?;
        let now = Instant::now();
        let next = if wait >= 0.0 {
            now + Duration::from_secs_f64(wait)
        } else {
            now.checked_sub(Duration::from_secs_f64(-wait)).unwrap_or(now)
        };
        // A claim that took long may have been answered long ago.
        let claimed_at = if sent.elapsed() > LATE { sent } else { now };
        Ok(Slots { claimed_at, next, count, left: count })
    }

    /// KRT wants no call of anybody before that has passed. Slots that were claimed before are given up
    /// here; of each other instance those that its waiting callers hold may still leave.
    pub async fn put_off(&self, pause: Duration) -> Result<()> {
        let pause = pause.min(LONGEST).as_secs_f64();
        let context = Context::background("krt pace", PATIENCE);
        self.database
            .statement(&context, async |mut connection: &_| {
                Ok(PutOff { pause: &pause }.get_result::<f64>(&mut connection).await?)
            })
            .await?;
        self.slots.lock().await.left = 0;
        Ok(())
    }
}

/// Counts a caller while it waits.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    #[test]
    fn slots_come_one_by_one_and_those_of_a_burst_at_once() {
        let now = Instant::now();
        let mut slots = Slots { claimed_at: now, next: now - EVERY * 2, count: 4, left: 4 };
        let taken: Vec<_> = std::iter::from_fn(|| slots.take(EVERY, now)).collect();
        assert_eq!(taken, [now, now, now, now + EVERY]);
    }

    #[test]
    fn a_slot_whose_time_is_over_is_given_up() {
        let now = Instant::now();
        let mut slots = Slots { claimed_at: now, next: now, count: 10, left: 10 };
        assert_eq!(slots.take(EVERY, now + Duration::from_millis(850)), Some(now + EVERY * 4));
        assert_eq!(slots.take(EVERY, now + Duration::from_mins(1)), None);
    }

    #[test]
    fn more_are_claimed_when_they_are_used_up_quickly() {
        let now = Instant::now();
        let used = Slots { claimed_at: now, next: now, count: 10, left: 0 };
        assert_eq!(used.wanted(3, now), 20);
        assert_eq!(used.wanted(30, now), 30);
        assert_eq!(used.wanted(3, now + Duration::from_millis(50)), 3);
        let given_up = Slots { left: 1, ..used };
        assert_eq!(given_up.wanted(3, now), 3);
    }
}
