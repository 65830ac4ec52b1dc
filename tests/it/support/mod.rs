//! What the tests stand on: a server, a database and a client of their own for each.

pub mod api;
pub mod app;
pub mod client;
pub mod database;
pub mod kafka;
pub mod kafka_broker;
pub mod mosquitto;
pub mod mqtt;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod sse;

use std::future::Future;
use std::time::{Duration, Instant};

/// How long an answer, a message or the end of a process may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long anything that must come true may take, on a machine that has much else to do.
pub const LIMIT: Duration = Duration::from_mins(1);

/// What a busy machine may add to anything that is bounded.
pub const STALL: Duration = Duration::from_secs(4);

/// Waits until `holds`; panics when it does not within [`LIMIT`].
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    eventually_within(LIMIT, what, holds).await;
}

/// The same with another limit.
pub async fn eventually_within(limit: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "did not come true in {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What names the series of `metrics`, a line each. Secrets are looked for in it: a value has any digits.
pub fn names_of_series(metrics: &str) -> String {
    let names = metrics.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name);
    names.collect::<Vec<_>>().join("\n")
}

/// Runs `work` to its end on a thread and a runtime of its own: also where blocking is all that can
/// be done, as in `Drop`.
pub fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(work)
    };
    let joined = std::thread::spawn(run).join();
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
