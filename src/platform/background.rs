//! Work beside the requests that wants to finish before the process ends.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use actix_web::rt;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

use super::shutdown::{self, Shutdown, ShutdownTrigger};

/// How long dropping what was cut may take.
const CUT: Duration = Duration::from_secs(1);

/// What domains run beside their requests. It goes on while the last requests are answered, since
/// they may still hand it something; then it is told, and has a bounded time to finish.
pub struct Background {
    trigger: ShutdownTrigger,
    served: Shutdown,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Default for Background {
    fn default() -> Self {
        let (trigger, served) = shutdown::channel();
        Self { trigger, served, running: Mutex::default() }
    }
}

impl Background {
    /// Runs `work` on this thread, which must be able to spawn local tasks. `work` is given what
    /// ends when the last request was answered; from then on it should finish.
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Shutdown) -> F) {
        let handle = rt::spawn(work(self.served.clone()));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// Runs `work` on a thread of its own, which can spawn local tasks and call upstreams. It is told,
    /// waited for and cut like all the rest; a `work` that blocks is left behind.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn spawn_thread<F: Future<Output = ()> + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(Shutdown) -> F + Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, wait) = oneshot::channel::<()>();
        let (cut, mut is_cut) = oneshot::channel::<()>();
        let served = self.served.clone();
        let run = move || {
            let _ended = ended;
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    () = work(served) => {}
                    _ = &mut is_cut => {}
                }
            });
            // Connections that are closing are not waited for.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        self.spawn(|_| async move {
            // Dropped with this future when it is cut.
            let _cut = cut;
            let _ = wait.await;
        });
        Ok(())
    }

    /// Tells everything to finish, waits for it as long as `patience`, and drops what is left.
    pub async fn finish(&self, patience: Duration) {
        self.trigger.fire();
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let aborts: Vec<_> = running.iter().map(JoinHandle::abort_handle).collect();
        let mut finished = std::pin::pin!(join_all(running));
        if tokio::time::timeout(patience, &mut finished).await.is_err() {
            tracing::warn!("background work did not finish in time; it is cut");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
            let _ = tokio::time::timeout(CUT, finished).await;
        }
    }
}
