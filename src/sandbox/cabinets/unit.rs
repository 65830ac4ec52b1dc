//! A cabinet as a whole: its insides, what is wrong with it, and what is done at it by hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::cabinet::{Accumulator, Cabinet, Carried, Cell, Command};
use super::session::Outgoing;
use super::technician::Technicians;

/// Commands and openings that are remembered for whoever asks.
const MOST_REMEMBERED: usize = 10_000;

/// What is wrong with a cabinet. Nothing, by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each goes with each")]
pub struct CabinetFaults {
    /// Takes no notice of commands.
    pub ignores: bool,
    /// Carries commands out and does not answer.
    pub mute: bool,
    /// Looks at a command only after this; it may have expired by then.
    pub slow_ms: u64,
    /// Carries a command out at once and answers after this.
    pub late_ms: u64,
    /// Tells everything so many more times.
    pub copies: u32,
    /// Answers `busy`.
    pub busy: bool,
    /// Keeps what it would tell until it is released.
    pub holds: bool,
    /// So many seconds its clock is ahead.
    pub skew_s: i64,
}

/// A door that opened by a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// Which.
    pub cell: usize,
    /// By which command.
    pub command_id: String,
    /// When, by a right clock.
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    /// Goes without a word.
    Off,
    /// Says that it goes.
    Leaves,
    /// Tells what it has to tell, goes without a word, and comes back.
    Restarts,
}

/// A cabinet.
pub(super) struct Unit {
    id: String,
    topics: Topics,
    inside: Mutex<Inside>,
    outbox: mpsc::UnboundedSender<Outgoing>,
    power: watch::Sender<Power>,
    connected: watch::Sender<bool>,
    runtime: Handle,
    technicians: Arc<Technicians>,
}

struct Topics {
    commands: String,
    events: String,
}

struct Inside {
    cabinet: Cabinet,
    faults: CabinetFaults,
    held: Vec<Outgoing>,
    commands: VecDeque<Value>,
    openings: VecDeque<Opening>,
}

impl Unit {
    pub fn new(
        id: &str,
        cells: Vec<Cell>,
        outbox: mpsc::UnboundedSender<Outgoing>,
        runtime: Handle,
        technicians: Arc<Technicians>,
    ) -> Self {
        let inside = Inside {
            cabinet: Cabinet::new(cells),
            faults: CabinetFaults::default(),
            held: Vec::new(),
            commands: VecDeque::new(),
            openings: VecDeque::new(),
        };
        let topic = |end: &str| format!("cabinets/{id}/{end}");
        Self {
            id: id.to_owned(),
            topics: Topics { commands: topic("commands"), events: topic("events") },
            inside: Mutex::new(inside),
            outbox,
            power: watch::Sender::new(Power::On),
            connected: watch::Sender::new(false),
            runtime,
            technicians,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn commands_topic(&self) -> &str {
        &self.topics.commands
    }

    pub fn events_topic(&self) -> &str {
        &self.topics.events
    }

    pub fn power(&self) -> watch::Receiver<Power> {
        self.power.subscribe()
    }

    pub fn set_power(&self, power: Power) {
        self.power.send_replace(power);
    }

    pub fn set_connected(&self, connected: bool) {
        self.connected.send_replace(connected);
    }

    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// An event without a body, for the connection.
    pub fn event(&self, kind: &str) -> Vec<u8> {
        let event = self.lock().cabinet.event(kind, Value::Null);
        event.to_string().into_bytes()
    }

    /// Tells that it is there, and everything it knows.
    pub fn came_online(&self) {
        let mut inside = self.lock();
        let events = [inside.cabinet.event("online", Value::Null), inside.cabinet.state()];
        self.tell(&mut inside, &events);
    }

    /// A command came.
    pub fn take(self: &Arc<Self>, payload: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(payload) else { return };
        let mut inside = self.lock();
        if inside.commands.len() >= MOST_REMEMBERED {
            inside.commands.pop_front();
        }
        inside.commands.push_back(value.clone());
        let Ok(command) = serde_json::from_value::<Command>(value) else { return };
        if inside.faults.ignores {
            return;
        }
        let slow = Duration::from_millis(inside.faults.slow_ms);
        drop(inside);
        self.after(slow, move |unit| unit.carry_out(&command));
    }

    fn carry_out(self: &Arc<Self>, command: &Command) {
        let mut inside = self.lock();
        let Carried { events, opened, reboots } = inside.cabinet.carry_out(command);
        let at = Timestamp::now();
        for cell in &opened {
            if inside.openings.len() >= MOST_REMEMBERED {
                inside.openings.pop_front();
            }
            let command_id = command.id.clone();
            inside.openings.push_back(Opening { cell: *cell, command_id, at });
        }
        let (late, mute) = (Duration::from_millis(inside.faults.late_ms), inside.faults.mute);
        drop(inside);
        if !mute {
            self.after(late, move |unit| unit.tell(&mut unit.lock(), &events));
        }
        if reboots {
            self.restart(false);
        }
        if !opened.is_empty() {
            Technicians::come(&self.technicians, self, command.purpose.as_deref(), opened);
        }
    }

    /// Does it at once, or later.
    pub fn after(
        self: &Arc<Self>,
        pause: Duration,
        work: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) {
        if pause.is_zero() {
            return work(self);
        }
        let unit = Arc::clone(self);
        self.runtime.spawn(async move {
            sleep(pause).await;
            work(&unit);
        });
    }

    fn tell(&self, inside: &mut Inside, events: &[Value]) {
        for event in events {
            let topic = self.topics.events.clone().into_bytes();
            let outgoing = Outgoing { topic, payload: event.to_string().into_bytes() };
            for _ in 0..=inside.faults.copies {
                if inside.faults.holds {
                    inside.held.push(outgoing.clone());
                } else {
                    // An error says that the sandbox stops.
                    let _ = self.outbox.send(outgoing.clone());
                }
            }
        }
    }

    pub fn publish(&self, topic: Option<&[u8]>, payload: Vec<u8>) {
        let topic = topic.unwrap_or(self.topics.events.as_bytes()).to_vec();
        let _ = self.outbox.send(Outgoing { topic, payload });
    }

    pub fn set_faults(&self, faults: CabinetFaults) {
        let mut inside = self.lock();
        inside.cabinet.skew = SignedDuration::from_secs(faults.skew_s);
        inside.cabinet.busy = faults.busy;
        inside.faults = faults;
    }

    pub fn faults(&self) -> CabinetFaults {
        self.lock().faults.clone()
    }

    /// Tells what was held back, and holds nothing back any more.
    pub fn release(&self, reversed: bool) {
        let mut inside = self.lock();
        inside.faults.holds = false;
        let mut held = std::mem::take(&mut inside.held);
        if reversed {
            held.reverse();
        }
        for outgoing in held {
            let _ = self.outbox.send(outgoing);
        }
    }

    pub fn restart(&self, forgets: bool) {
        if forgets {
            self.lock().cabinet.forget();
        }
        self.set_power(Power::Restarts);
    }

    pub fn report(&self) {
        let mut inside = self.lock();
        let state = inside.cabinet.state();
        self.tell(&mut inside, &[state]);
    }

    /// Time passes: what is shut in charges by so many percent.
    pub fn charge(&self, percent: f64) {
        let mut inside = self.lock();
        let news = inside.cabinet.charge(percent);
        if !news.is_empty() {
            let changed = inside.cabinet.changed(&news);
            self.tell(&mut inside, &[changed]);
        }
    }

    pub fn cells(&self) -> Vec<Cell> {
        self.lock().cabinet.cells.clone()
    }

    pub fn set_cell(&self, n: usize, cell: Cell) -> Result<(), String> {
        let mut inside = self.lock();
        let place = inside.cabinet.cell_mut(n).ok_or("there is no such cell")?;
        *place = cell;
        Ok(())
    }

    pub fn take_out(&self, n: usize, by_force: bool) -> Result<Accumulator, String> {
        let mut inside = self.lock();
        let cell = inside.cabinet.cell_mut(n).ok_or("there is no such cell")?;
        if by_force {
            cell.open = true;
        }
        if !cell.open {
            return Err("its door is shut".to_owned());
        }
        cell.holds.take().ok_or_else(|| "it is empty".to_owned())
    }

    pub fn put_in(&self, n: usize, accumulator: Accumulator) -> Result<(), String> {
        let mut inside = self.lock();
        let cell = inside.cabinet.cell_mut(n).ok_or("there is no such cell")?;
        if !cell.open {
            return Err("its door is shut".to_owned());
        }
        if cell.holds.is_some() {
            return Err("it is full".to_owned());
        }
        cell.holds = Some(accumulator);
        Ok(())
    }

    pub fn shut(&self, n: usize) -> Result<(), String> {
        let mut inside = self.lock();
        let cell = inside.cabinet.cell_mut(n).ok_or("there is no such cell")?;
        if !std::mem::replace(&mut cell.open, false) {
            return Err("its door is shut".to_owned());
        }
        let changed = inside.cabinet.changed(&[n]);
        self.tell(&mut inside, &[changed]);
        Ok(())
    }

    pub fn commands(&self) -> Vec<Value> {
        self.lock().commands.iter().cloned().collect()
    }

    pub fn openings(&self) -> Vec<Opening> {
        self.lock().openings.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
