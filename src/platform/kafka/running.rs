//! A batch under way: its handler runs on the process's own runtime, and again until it succeeds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::batch::Batch;
use super::health::Health;
use super::metrics::KafkaMetrics;
use crate::platform::error::Result;

/// Pauses between attempts: they double from the first to the last, and are shortened at random.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(3);
/// Pause after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Who handles messages. Any of them may come again: what it does must be the same when done twice.
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles all of a batch, or fails and changes nothing that matters; it is called again then. It
    /// may be dropped at any await.
    fn handle<'a>(
        &'a self,
        batch: &'a Batch,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
}

/// Runs batches.
pub(super) struct Runner {
    pub handler: Arc<dyn BatchHandler>,
    pub runtime: Handle,
    pub metrics: KafkaMetrics,
    pub health: Arc<Health>,
}

/// One that was handed over. Dropping it stops it.
pub(super) struct InFlight {
    pub batch: Arc<Batch>,
    pub since: Instant,
    outcome: mpsc::Receiver<()>,
    task: AbortHandle,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    UnderWay,
    Handled,
    Panicked,
}

impl Runner {
    /// Hands a batch over.
    pub fn start(&self, batch: Batch) -> InFlight {
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        self.metrics.batch_messages.observe(batch.len() as f64);
        self.run(Arc::new(batch), Instant::now(), Duration::ZERO)
    }

    /// Hands it over once more, after a pause.
    pub fn start_again(&self, panicked: &InFlight) -> InFlight {
        self.metrics.batch("panicked");
        self.health.state().failing = Some("panicked".to_owned());
        tracing::error!(messages = panicked.batch.len(), "the handler of a batch panicked");
        self.run(Arc::clone(&panicked.batch), panicked.since, AFTER_PANIC)
    }

    fn run(&self, batch: Arc<Batch>, since: Instant, pause: Duration) -> InFlight {
        let (done, outcome) = mpsc::channel();
        let (handler, given) = (Arc::clone(&self.handler), Arc::clone(&batch));
        let (metrics, health) = (self.metrics.clone(), Arc::clone(&self.health));
        let work = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            until_handled(handler.as_ref(), &given, &metrics, &health).await;
            metrics.batch_seconds.observe(since.elapsed().as_secs_f64());
            metrics.messages.inc_by(given.len() as u64);
            let _ = done.send(());
        };
        let task = self.runtime.spawn(work).abort_handle();
        InFlight { batch, since, outcome, task }
    }
}

async fn until_handled(
    handler: &dyn BatchHandler,
    batch: &Batch,
    metrics: &KafkaMetrics,
    health: &Health,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = handler.handle(batch).await else {
            metrics.batch("handled");
            health.state().failing = None;
            return;
        };
        metrics.batch("failed");
        let (code, cause) = (error.code(), error.chain());
        tracing::warn!(code, cause, messages = batch.len(), "a batch is handled again");
        health.state().failing = Some(code.to_owned());
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

impl InFlight {
    /// How far it is, after waiting for its end as long as `patience`.
    pub fn progress(&self, patience: Duration) -> Progress {
        match self.outcome.recv_timeout(patience) {
            Ok(()) => Progress::Handled,
            Err(RecvTimeoutError::Timeout) => Progress::UnderWay,
            Err(RecvTimeoutError::Disconnected) => Progress::Panicked,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.task.abort();
    }
}
