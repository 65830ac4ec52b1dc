//! Takes events from the broker and applies them: a cabinet's in the order in which they came, several
//! cabinets' at once. Every instance hears all; who is second finds an event applied.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::applying::{self, UNKNOWN_CABINET};
use super::wire::{self, Event};
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::domains::scooter_accumulator::line::{Line, UNREAD};
use crate::domains::scooter_accumulator::settling::Effects;
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

/// Least time between two lines about events that are of no use.
const BETWEEN_COMPLAINTS: Duration = Duration::from_mins(1);

/// An event and whose it is.
struct Heard {
    cabinet: CabinetId,
    event: Event,
}

/// Tells whose events are of no use: a line now and then, however many come.
#[derive(Default)]
struct Complaints(Option<Instant>);

impl Complaints {
    fn tell(&mut self, cabinet: &CabinetId, reason: &str) {
        if self.0.is_some_and(|at| at.elapsed() < BETWEEN_COMPLAINTS) {
            return;
        }
        self.0 = Some(Instant::now());
        let cabinet = cabinet.as_str();
        tracing::warn!(cabinet, reason, "an event of a cabinet is of no use");
    }
}

/// Reads until the process stops.
pub async fn run(line: Arc<Line>, mut messages: Messages) {
    let workers: Vec<mpsc::Sender<Heard>> = (0..line.settings.event_workers)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            line.runtime.spawn(work(Arc::clone(&line), receiver));
            sender
        })
        .collect();
    let mut complaints = Complaints::default();
    loop {
        let message = tokio::select! {
            () = line.stop.wait() => return,
            message = messages.next() => message,
        };
        let Some(message) = message else { return };
        let cabinet = line.topics.events.id_of(message.topic()).map(CabinetId::parse);
        let Some(Ok(cabinet)) = cabinet else {
            line.metrics.event(UNREAD, UNKNOWN_CABINET);
            continue;
        };
        let event = match wire::read(message.payload()) {
            Ok(event) => event,
            Err(why) => {
                line.metrics.event(UNREAD, why.name());
                complaints.tell(&cabinet, why.name());
                continue;
            }
        };
        let Some(worker) = workers.get(shard(&cabinet, workers.len())) else { return };
        tokio::select! {
            () = line.stop.wait() => return,
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

async fn work(line: Arc<Line>, mut events: mpsc::Receiver<Heard>) {
    let mut complaints = Complaints::default();
    loop {
        let heard = tokio::select! {
            () = line.stop.wait() => return,
            heard = events.recv() => heard,
        };
        let Some(heard) = heard else { return };
        let kind = heard.event.body.name();
        let started = Instant::now();
        match patiently(&line, &heard).await {
            Some(outcome) => {
                line.metrics.event(kind, outcome);
                if outcome == UNKNOWN_CABINET {
                    complaints.tell(&heard.cabinet, outcome);
                }
            }
            None => return,
        }
        line.metrics.applied.observe(started.elapsed().as_secs_f64());
    }
}

/// Applies an event, again and again while the database is away, of which it tells once; `None` when the
/// process stops.
async fn patiently(line: &Line, heard: &Heard) -> Option<&'static str> {
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    let mut told = false;
    loop {
        match once(line, heard).await {
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
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        code,
                        cause,
                        "an event of a cabinet is tried until it is applied"
                    );
                }
            }
        }
        if line.stop.wait_or(pause).await {
            return None;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Whether waiting helps.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
}

async fn once(line: &Line, heard: &Heard) -> Result<&'static str> {
    let context = Context::background("scooter events", PATIENCE);
    let (applied, effects) = line
        .database
        .transaction(&context, async |connection| {
            let mut effects = Effects::default();
            let Heard { cabinet, event } = heard;
            let applied = applying::apply(line, connection, cabinet, event, &mut effects).await?;
            Ok((applied, effects))
        })
        .await?;
    effects.show(line);
    Ok(applied.name())
}
