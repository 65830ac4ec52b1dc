//! Following what others change: notifications say it at once, and since they may be lost the database
//! is looked at now and then, and whenever some may have been missed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Database, Signal};
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// After a look that failed, the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Who follows a channel.
pub trait Follower {
    /// The channel, a plain SQL identifier in lower case.
    const CHANNEL: &'static str;
    /// What is followed, for logs.
    const WHAT: &'static str;

    /// Somebody notified the channel with this payload.
    fn notified(&self, payload: &str);

    /// Takes what there is from the database itself.
    fn look(&self, database: &Database) -> impl Future<Output = Result<()>> + Send;
}

impl Database {
    /// Hands on notifications and looks every `look_every`, the first time at once, until the process
    /// stops or the database is closed. Logs when looks begin to fail, and when they succeed again.
    pub async fn follow<F: Follower>(&self, follower: &F, look_every: Duration, stop: &Shutdown) {
        let what = F::WHAT;
        let mut notifications = self.subscribe(F::CHANNEL);
        let mut told = false;
        let mut looks_at = Instant::now();
        loop {
            let looks = tokio::select! {
                () = stop.wait() => return,
                signal = notifications.next() => match signal {
                    None => return,
                    Some(Signal::Notified(payload)) => {
                        follower.notified(&payload);
                        false
                    }
                    Some(Signal::MayHaveMissed) => true,
                },
                () = sleep_until(looks_at) => true,
            };
            if !looks {
                continue;
            }
            let pause = match follower.look(self).await {
                Ok(()) => {
                    if std::mem::take(&mut told) {
                        tracing::info!(what, "followed again");
                    }
                    look_every
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let (code, cause) = (error.code(), error.chain());
                        tracing::warn!(what, code, cause, "cannot be followed for now");
                    }
                    PAUSE.min(look_every)
                }
            };
            looks_at = Instant::now() + pause;
        }
    }
}
