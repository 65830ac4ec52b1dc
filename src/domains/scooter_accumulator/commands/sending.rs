//! Sending: the cabinet's turn, the mark, the publication. What is marked is sent now or never.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::model::{Answer, Failure};
use super::payload::payload;
use super::status::CommandEvent;
use super::store::{self, Marked};
use crate::domains::scooter_accumulator::cabinets::store as cabinets;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::domains::scooter_accumulator::line::Line;
use crate::domains::scooter_accumulator::settling::{self, Effects, Ending};
use crate::platform::context::{Context, Deadline};
use crate::platform::database::Connection;
use crate::platform::error::{Error, Result};
use crate::platform::mqtt::PublishError;

/// The database has so long for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// A marked command, and what it takes to send it or to say that it was not sent.
#[derive(Debug)]
pub struct Sending {
    cabinet: CabinetId,
    marked: Marked,
    lease: Uuid,
    /// On the monotonic clock, from before the mark was asked for: a process that was stopped
    /// meanwhile sees that it is late.
    deadline: Instant,
}

impl Sending {
    /// Whether it is this command.
    pub fn is_of(&self, command: Uuid) -> bool {
        self.marked.id == command
    }
}

/// Cabinets whose waiting commands are being sent by this process; true: there was another request
/// to do so meanwhile.
#[derive(Default)]
pub struct Drains(Mutex<HashMap<CabinetId, bool>>);

impl Drains {
    /// Whether the caller is the one who does it.
    fn begin(&self, cabinet: &CabinetId) -> bool {
        match self.lock().entry(cabinet.clone()) {
            Entry::Occupied(mut runs) => {
                runs.insert(true);
                false
            }
            Entry::Vacant(free) => {
                free.insert(false);
                true
            }
        }
    }

    /// Whether nothing more was requested; then it has ended.
    fn end(&self, cabinet: &CabinetId) -> bool {
        let mut drains = self.lock();
        if drains.get(cabinet) == Some(&true) {
            drains.insert(cabinet.clone(), false);
            return false;
        }
        drains.remove(cabinet);
        true
    }

    fn give_up(&self, cabinet: &CabinetId) {
        self.lock().remove(cabinet);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CabinetId, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks what goes first at a cabinet, if the cabinet takes something now. The caller holds its row.
pub async fn mark(
    line: &Line,
    connection: &Connection,
    cabinet: &CabinetId,
) -> Result<Option<Sending>> {
    let (lease, asked) = (Uuid::now_v7(), Instant::now());
    let marked = store::mark(connection, cabinet, lease, line.settings.pace()).await?;
    Ok(marked.map(|marked| Sending {
        cabinet: cabinet.clone(),
        deadline: asked + marked.left(),
        marked,
        lease,
    }))
}

/// Publishes a marked command, whose mark was committed; if it surely did not leave, it is as if it
/// had never been marked. To be run where nobody drops it.
pub async fn send(line: &Line, sending: Sending) {
    let metrics = &line.metrics;
    let Ok(kind) = sending.marked.kind() else { return };
    match publish(line, &sending).await {
        Ok(()) => metrics.sent(kind, "sent"),
        Err(PublishError::Unknown(error)) => {
            metrics.sent(kind, "unknown");
            let command = sending.marked.id;
            tracing::warn!(%command, code = error.code(), cause = error.chain(), "a command may or may not have left");
        }
        Err(PublishError::NotSent(error)) => {
            metrics.sent(kind, "not_sent");
            let command = sending.marked.id;
            tracing::warn!(%command, code = error.code(), cause = error.chain(), "a command was not sent");
            take_back(line, &sending).await;
        }
    }
}

async fn publish(line: &Line, sending: &Sending) -> Result<(), PublishError> {
    let marked = &sending.marked;
    let late = || {
        let detail = "The command was not sent in time.";
        PublishError::NotSent(Error::unavailable("command_late", detail))
    };
    let left = sending.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(late());
    }
    let kind = marked.kind().map_err(PublishError::NotSent)?;
    let cells = marked.cells.as_deref();
    let payload = payload(marked.id, kind, cells, marked.purpose(), marked.times())
        .map_err(|error| PublishError::NotSent(Error::internal(error)))?;
    let Some(topic) = line.topics.commands.topic(sending.cabinet.as_str()) else {
        return Err(late());
    };
    line.mqtt.publish(&topic, payload, Deadline::after(left)).await
}

/// Ends a command that surely did not leave. If that cannot be written down either, its time for an
/// answer runs out, and the cabinet is asked.
async fn take_back(line: &Line, sending: &Sending) {
    let (id, lease) = (sending.marked.id, sending.lease);
    let work = async |connection: &mut Connection| {
        let mut effects = Effects::default();
        cabinets::lock(connection, &sending.cabinet).await?;
        if !store::is_leased(connection, id, lease).await? {
            return Ok(effects);
        }
        if let Some(mut command) = line.find().by_id(connection, id).await? {
            let answer = Answer::never_left(Failure::NotSent);
            let ending = Ending::unopened(CommandEvent::NeverLeft, answer);
            settling::end_command(line, connection, &mut command, ending, &mut effects).await?;
        }
        Ok(effects)
    };
    let context = Context::background("scooter commands", PATIENCE);
    match line.database.transaction(&context, work).await {
        Ok(effects) => effects.show(line),
        Err(error) => {
            let code = error.code();
            tracing::warn!(command = %id, code, "a command that was not sent stays marked");
        }
    }
}

/// Sends what waits for a cabinet, each in its turn, until nothing waits; to be run where nobody drops
/// it. What is not sent when it gives up is found by whoever looks after what is due.
pub async fn drain(line: Arc<Line>, cabinet: CabinetId) {
    if !line.drains.begin(&cabinet) {
        return;
    }
    loop {
        if line.stop.has_come() || !line.mqtt.is_up() {
            return line.drains.give_up(&cabinet);
        }
        let pause = match next(&line, &cabinet).await {
            Ok(Turn::Send(sending)) => {
                send(&line, sending).await;
                continue;
            }
            Ok(Turn::Wait(pause)) => pause,
            Ok(Turn::Nothing) if line.drains.end(&cabinet) => return,
            Ok(Turn::Nothing) => continue,
            Err(error) => {
                tracing::warn!(code = error.code(), "commands wait for whoever looks after them");
                return line.drains.give_up(&cabinet);
            }
        };
        // Whatever is requested now is seen by the next look.
        line.stop.wait_or(pause).await;
    }
}

/// Sends what is marked, and then what waits behind it.
pub async fn send_and_drain(line: Arc<Line>, sending: Sending, cabinet: CabinetId) {
    send(&line, sending).await;
    drain(line, cabinet).await;
}

/// What to do next at a cabinet.
enum Turn {
    Send(Sending),
    Wait(Duration),
    Nothing,
}

async fn next(line: &Line, cabinet: &CabinetId) -> Result<Turn> {
    let context = Context::background("scooter commands", PATIENCE);
    line.database
        .transaction(&context, async |connection| {
            if cabinets::lock(connection, cabinet).await?.is_none() {
                return Ok(Turn::Nothing);
            }
            if let Some(sending) = mark(line, connection, cabinet).await? {
                return Ok(Turn::Send(sending));
            }
            Ok(match store::free_in(connection, cabinet).await? {
                // The clock of the database moved on between the two.
                Some(pause) => Turn::Wait(pause.max(Duration::from_millis(1))),
                None => Turn::Nothing,
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_while_it_runs_is_not_lost() {
        let drains = Drains::default();
        let cabinet = CabinetId::parse("c").unwrap();
        assert!(drains.begin(&cabinet));
        assert!(!drains.begin(&cabinet));
        assert!(!drains.end(&cabinet), "it looks once more");
        assert!(drains.end(&cabinet));
        assert!(drains.begin(&cabinet));
    }
}
