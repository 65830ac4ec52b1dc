//! The way to the regulator's system KRT: a token that all instances share, a pace that they keep
//! together, a bound on the calls of this process, and what calls tell of KRT's health.

mod pace;
mod pulse;
mod token;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use self::pace::{NoSlot, Pace};
use self::pulse::Sign;
pub(super) use self::pulse::{Beat, Gate, Pulse};
use self::token::{Current, Login, NoToken, Tokens};
use super::settings::KrtSettings;
use crate::platform::context::{Context, Deadline};
use crate::platform::database::Database;
use crate::platform::error::{Error, Result};
use crate::platform::seal::Seal;
use crate::platform::shutdown::Shutdown;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::krt::{Krt, KrtError, Match, Outcome, Report};

/// What KRT says of no time when it wants the next call.
const SLOW_DOWN: Duration = Duration::from_secs(1);
/// KRT has no bulk method: it is not asked for it again for this long.
const NO_BULK: Duration = Duration::from_mins(10);
/// Without room before the deadline nothing is begun for this long.
const CROWDED: Duration = Duration::from_millis(500);
/// To so many reports in flight there may be a check.
const CHECKS: usize = 4;
/// Callers come back after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// KRT, as all threads of the process use it. Calls run on threads that can spawn local tasks.
pub(super) struct Gateway {
    krt: Krt,
    tokens: Tokens,
    pace: Pace,
    pulse: Pulse,
    reports: Semaphore,
    /// Checks have places of their own: whoever waits for one must not wait behind a batch.
    checks: Semaphore,
    calls_per_second: u32,
    bulk: bool,
    no_bulk_until: Mutex<Option<Instant>>,
}

/// Why there is no outcome of a report.
#[derive(Debug, Clone, Copy)]
pub(super) enum NoOutcome {
    /// It did not leave, or was turned away for what has nothing to do with it.
    HeldBack(&'static str),
    /// It left, and what became of it is not known.
    Lost(&'static str),
    /// KRT takes one report at a time only.
    NoBulk,
}

/// Why a call has no answer.
#[derive(Debug)]
enum NoAnswer {
    Krt(KrtError),
    TooLate,
    Waiting,
    Stopping,
    Database(Error),
}

impl From<NoToken> for NoAnswer {
    fn from(no_token: NoToken) -> Self {
        match no_token {
            NoToken::Krt(error) => Self::Krt(error),
            NoToken::Waiting => Self::Waiting,
            NoToken::Database(error) => Self::Database(error),
        }
    }
}

impl Gateway {
    pub fn new(settings: &KrtSettings, krt: Krt, database: Database, seal: Seal) -> Self {
        let login = Login { login: settings.login.clone(), password: settings.password.clone() };
        let ahead = Duration::from_millis(settings.replace_token_before_ms);
        Self {
            tokens: Tokens::new(database.clone(), seal, krt.clone(), login, ahead),
            krt,
            pace: Pace::new(database, settings.calls_per_second, settings.burst),
            pulse: Pulse::new(Duration::from_millis(settings.probe_ms)),
            reports: Semaphore::new(settings.concurrency),
            checks: Semaphore::new(settings.concurrency.div_ceil(CHECKS)),
            calls_per_second: settings.calls_per_second,
            bulk: settings.bulk,
            no_bulk_until: Mutex::default(),
        }
    }

    /// What calls tell of KRT's health.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether many reports go in one call.
    pub fn has_bulk(&self) -> bool {
        let until = *self.no_bulk_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.bulk && until.is_none_or(|until| until <= Instant::now())
    }

    /// How many calls the pace allows in this time.
    pub fn calls_in(&self, time: Duration) -> usize {
        let calls = time.as_secs_f64() * f64::from(self.calls_per_second);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rough count")]
        let calls = calls as usize;
        calls
    }

    /// Whether the driver's id belongs to this licence number.
    ///
    /// # Errors
    /// `krt_unavailable` (503, with a time to come back) when there is no usable answer: it is down,
    /// refuses our token, or our pace leaves no room before the deadline; `deadline_exceeded`;
    /// `database_unavailable` (pace and token are shared through the database).
    pub async fn check(
        &self,
        ctx: &Context,
        id: &SecretString,
        license: &SecretString,
    ) -> Result<Match> {
        let send = async |token: &SecretString| self.krt.check(ctx, token, id, license).await;
        let answer = self.call(ctx, &self.checks, None, send).await;
        answer.map_err(|no_answer| match no_answer {
            NoAnswer::Database(error) => error,
            NoAnswer::Krt(KrtError::Unavailable(error)) => error.into_error(UNAVAILABLE),
            NoAnswer::Krt(error) => unavailable(error.retry_after()).with_source(error),
            NoAnswer::TooLate | NoAnswer::Waiting | NoAnswer::Stopping => unavailable(None),
        })
    }

    /// Tells KRT where one driver went, unless the process stops before it is its turn. Sent again, a
    /// report is the same one.
    pub async fn report(
        &self,
        ctx: &Context,
        stop: &Shutdown,
        report: &Report,
    ) -> Result<Outcome, NoOutcome> {
        let send = async |token: &SecretString| self.krt.report(ctx, token, report).await;
        self.call(ctx, &self.reports, Some(stop), send).await.map_err(no_outcome)
    }

    /// The same of many in one call; what became of each, in their order.
    pub async fn report_bulk(
        &self,
        ctx: &Context,
        stop: &Shutdown,
        reports: &[Report],
    ) -> Result<Vec<Result<Outcome, NoOutcome>>, NoOutcome> {
        let send = async |token: &SecretString| self.krt.report_bulk(ctx, token, reports).await;
        let answered = self.call(ctx, &self.reports, Some(stop), send).await;
        if matches!(answered, Err(NoAnswer::Krt(KrtError::NoBulk))) {
            tracing::error!("KRT has no bulk method; statuses go one by one");
            let until = Instant::now() + NO_BULK;
            *self.no_bulk_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
        let outcomes = answered.map_err(no_outcome)?;
        let each =
            |one: Result<Outcome, KrtError>| one.map_err(|error| no_outcome(NoAnswer::Krt(error)));
        Ok(outcomes.into_iter().map(each).collect())
    }

    /// One call: in its turn, at the common pace, with the token; with a new token once when that is
    /// refused, and once more when the connection turned out to be closed.
    async fn call<T>(
        &self,
        ctx: &Context,
        places: &Semaphore,
        stop: Option<&Shutdown>,
        send: impl AsyncFn(&SecretString) -> Result<T, KrtError>,
    ) -> Result<T, NoAnswer> {
        let _turn = unless(stop, turn(places, ctx.deadline)).await?;
        let mut token = self.token(self.tokens.current(ctx.deadline).await).await?;
        let (mut replaced, mut resent) = (false, false);
        loop {
            unless(stop, self.slot(ctx.deadline)).await?;
            let error = match send(&token.secret).await {
                Ok(answer) => {
                    self.pulse.note(Sign::Answered);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            match error {
                KrtError::Unauthorised if !replaced => {
                    replaced = true;
                    token = self.token(self.tokens.replace(&token, ctx.deadline).await).await?;
                }
                KrtError::Unavailable(UpstreamError::Closed) if !resent => resent = true,
                error => {
                    self.learn(&error).await?;
                    return Err(NoAnswer::Krt(error));
                }
            }
        }
    }

    /// Leave for one call at the common pace.
    async fn slot(&self, deadline: Deadline) -> Result<(), NoAnswer> {
        let answered_at = self.pulse.beat().answered_at;
        self.pace.slot(deadline, answered_at).await.map_err(|no_slot| match no_slot {
            NoSlot::TooLate => {
                self.pulse.hold(CROWDED.min(deadline.remaining()));
                NoAnswer::TooLate
            }
            NoSlot::Database(error) => NoAnswer::Database(error),
        })
    }

    /// Without a token KRT is as good as down.
    async fn token(&self, token: Result<Current, NoToken>) -> Result<Current, NoAnswer> {
        match &token {
            Err(NoToken::Krt(error)) => self.learn(error).await?,
            Err(NoToken::Waiting) => self.pulse.hold(CROWDED),
            Err(NoToken::Database(_)) | Ok(_) => {}
        }
        Ok(token?)
    }

    async fn learn(&self, error: &KrtError) -> Result<(), NoAnswer> {
        if let Some(sign) = sign_of(error) {
            self.pulse.note(sign);
        }
        match error {
            KrtError::TooMany { retry_after } => {
                let pause = retry_after.unwrap_or(SLOW_DOWN).max(SLOW_DOWN);
                self.pulse.hold(pause);
                self.pace.put_off(pause).await.map_err(NoAnswer::Database)
            }
            KrtError::Unavailable(UpstreamError::BreakerOpen { retry_after }) => {
                self.pulse.breaker_open(*retry_after);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A place among this process's calls.
async fn turn(places: &Semaphore, deadline: Deadline) -> Result<SemaphorePermit<'_>, NoAnswer> {
    let turn = deadline.run(places.acquire()).await.map_err(|_| NoAnswer::TooLate)?;
    turn.map_err(|closed| NoAnswer::Database(Error::internal(closed)))
}

/// Does it, unless the process stops first.
async fn unless<T>(
    stop: Option<&Shutdown>,
    work: impl Future<Output = Result<T, NoAnswer>>,
) -> Result<T, NoAnswer> {
    let Some(stop) = stop else { return work.await };
    tokio::select! {
        biased;
        () = stop.wait() => Err(NoAnswer::Stopping),
        done = work => done,
    }
}

/// The code of a KRT that cannot be asked.
const UNAVAILABLE: &str = "krt_unavailable";

fn unavailable(retry_after: Option<Duration>) -> Error {
    Error::unavailable(UNAVAILABLE, "The regulator's system cannot be asked now.")
        .with_retry_after(retry_after.unwrap_or(RETRY_AFTER))
}

/// What a failure tells of KRT's health; nothing when we held the call back, or gave it up early.
fn sign_of(error: &KrtError) -> Option<Sign> {
    match error {
        KrtError::Unauthorised => Some(Sign::Refused),
        KrtError::TooMany { .. } | KrtError::NoBulk => Some(Sign::Answered),
        KrtError::Unavailable(
            UpstreamError::Busy | UpstreamError::BreakerOpen { .. } | UpstreamError::Deadline,
        ) => None,
        KrtError::Unavailable(_) => Some(Sign::Failed),
    }
}

fn no_outcome(no_answer: NoAnswer) -> NoOutcome {
    match no_answer {
        NoAnswer::Krt(KrtError::NoBulk) => NoOutcome::NoBulk,
        NoAnswer::Krt(KrtError::Unauthorised) => NoOutcome::HeldBack("unauthorised"),
        NoAnswer::Krt(KrtError::TooMany { .. }) => NoOutcome::HeldBack("rate_limited"),
        NoAnswer::Krt(KrtError::Unavailable(error)) => match error {
            UpstreamError::Busy | UpstreamError::BreakerOpen { .. } | UpstreamError::Connect(_) => {
                NoOutcome::HeldBack("krt_unavailable")
            }
            UpstreamError::Deadline => NoOutcome::HeldBack("late"),
            UpstreamError::BadBody { .. }
            | UpstreamError::BodyTooLarge
            | UpstreamError::Protocol(_) => NoOutcome::Lost("krt_bad_answer"),
            _ => NoOutcome::Lost("krt_unavailable"),
        },
        NoAnswer::TooLate => NoOutcome::HeldBack("late"),
        NoAnswer::Stopping => NoOutcome::HeldBack("stopping"),
        NoAnswer::Waiting => NoOutcome::HeldBack("krt_unavailable"),
        NoAnswer::Database(_) => NoOutcome::HeldBack("database"),
    }
}
