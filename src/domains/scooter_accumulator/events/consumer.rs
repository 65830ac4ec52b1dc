//! Takes events from the broker and applies them: a cabinet's in the order in which they came, several
//! cabinets' at once. Every instance hears all; who is second finds an event applied.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::applying;
use super::wire::{self, Event};
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::domains::scooter_accumulator::settling::Effects;
use crate::domains::scooter_accumulator::tools::Tools;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::mqtt::Messages;

/// Events that wait for one worker; behind them the broker's client has bounds of its own.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses before an event is tried again: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// So often an event is tried that fails by itself, not for want of the database.
const TRIES: u32 = 3;
/// The label of events that are none, or whose type does not matter.
const ANY: &str = "unread";

/// An event and whose it is.
struct Heard {
    cabinet: CabinetId,
    event: Event,
}

/// Reads until the process stops.
pub async fn run(tools: Arc<Tools>, mut messages: Messages) {
    let workers: Vec<mpsc::Sender<Heard>> = (0..tools.settings.event_workers)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tools.runtime.spawn(work(Arc::clone(&tools), receiver));
            sender
        })
        .collect();
    loop {
        let message = tokio::select! {
            () = tools.stop.wait() => return,
            message = messages.next() => message,
        };
        let Some(message) = message else { return };
        let cabinet = tools.topics.events.id_of(message.topic()).map(CabinetId::parse);
        let Some(Ok(cabinet)) = cabinet else {
            tools.metrics.event(ANY, "unknown_cabinet");
            continue;
        };
        let event = match wire::read(message.payload()) {
            Ok(event) => event,
            Err(why) => {
                tools.metrics.event(ANY, why.name());
                continue;
            }
        };
        let Some(worker) = workers.get(shard(&cabinet, workers.len())) else { return };
        tokio::select! {
            () = tools.stop.wait() => return,
            sent = worker.send(Heard { cabinet, event }) => if sent.is_err() { return },
        }
    }
}

fn shard(cabinet: &CabinetId, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    cabinet.hash(&mut hasher);
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    usize::try_from(hasher.finish() % shards).unwrap_or(0)
}

async fn work(tools: Arc<Tools>, mut events: mpsc::Receiver<Heard>) {
    loop {
        let heard = tokio::select! {
            () = tools.stop.wait() => return,
            heard = events.recv() => heard,
        };
        let Some(heard) = heard else { return };
        let kind = heard.event.body.name();
        let started = Instant::now();
        match patiently(&tools, &heard).await {
            Some(outcome) => tools.metrics.event(kind, outcome),
            None => return,
        }
        tools.metrics.applied.observe(started.elapsed().as_secs_f64());
    }
}

/// Applies an event, again and again while the database is away; `None` when the process stops.
async fn patiently(tools: &Tools, heard: &Heard) -> Option<&'static str> {
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    loop {
        match once(tools, heard).await {
            Ok(outcome) => return Some(outcome),
            Err(error) => {
                let (code, cause) = (error.code(), error.chain());
                if !is_passing(&error) {
                    failures += 1;
                }
                if failures >= TRIES {
                    tracing::error!(code, cause, "an event of a cabinet could not be applied");
                    return Some("failed");
                }
                tracing::warn!(code, cause, "an event of a cabinet is tried again");
            }
        }
        if tools.stop.wait_or(pause).await {
            return None;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Whether waiting helps.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
}

async fn once(tools: &Tools, heard: &Heard) -> Result<&'static str> {
    let context = Context::background("scooter events", PATIENCE);
    let (applied, effects) = tools
        .database
        .transaction(&context, async |connection| {
            let mut effects = Effects::default();
            let Heard { cabinet, event } = heard;
            let applied =
                applying::apply(tools, connection, cabinet, event, &mut effects).await?;
            Ok((applied, effects))
        })
        .await?;
    effects.show(tools);
    Ok(applied.name())
}
