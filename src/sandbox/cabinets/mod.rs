//! Cabinets: they stand for the hardware, and speak MQTT with a real broker.
//!
//! Each has a connection of its own, named after it, as the broker's access list wants. A cabinet
//! answers each command once it is carried out or refused (by its own clock), tells of doors that
//! shut and of charges that move, of its whole state now and then, and by its Last Will that it is
//! gone. What it could not tell it tells when it is back.
//!
//! | control route (below `/__sandbox/cabinets`) | does |
//! | --- | --- |
//! | `GET /` | `[{"id", "connected", "cells", "open"}]` |
//! | `POST /` `{"id", "cells"?: 20}` | adds a cabinet; the broker must know it |
//! | `GET /{id}` | its cells, faults, the commands it got and the doors that they opened |
//! | `PUT /{id}/faults` | sets what is wrong with it, in place of what was: `ignores`, `mute`, `slow_ms`, `late_ms`, `copies`, `busy`, `holds`, `skew_s` |
//! | `POST /{id}/release` `{"reversed"?}` | tells what it held back |
//! | `PUT /{id}/cells/{n}` `{"holds"?: {"id", "charge"}, "open"?, "broken"?, "jammed"?}` | makes a cell so, without a word |
//! | `POST /{id}/cells/{n}/take` `{"by_force"?}` | somebody takes the accumulator: 200 tells which |
//! | `POST /{id}/cells/{n}/put` `{"id", "charge"}` | somebody puts one in |
//! | `POST /{id}/cells/{n}/shut` | somebody shuts the door |
//! | `POST /{id}/report` | it tells its state |
//! | `POST /{id}/restart` `{"forgets"?}` | it restarts; it may forget which commands it had |
//! | `POST /{id}/power` `{"on", "says_so"?}` | off: as if cut, or with a word |
//! | `POST /{id}/publish` `{"topic"?, "text"? or "bytes"?}` | publishes anything, by default on its own topic |
//! | `PUT /technicians` | what technicians do by themselves when doors open: `acts`, `after_ms`, `forgets_one`, `takes_one_unbooked`, `never_shuts` |
//! | `GET /carried` · `PUT /carried` `[{"id", "charge"}]` | what they carry, and put in when they return |

mod cabinet;
mod control;
mod example;
mod session;
mod technician;
mod unit;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use self::cabinet::{Accumulator, Cell};
pub use self::technician::Habit;
pub use self::unit::{CabinetFaults, Opening};

pub(super) use self::control::control;
pub(super) use self::example::{add as add_examples, place_of};

use self::session::Login;
use self::technician::Technicians;
use self::unit::{Power, Unit};

/// How many cabinets there may be.
const MOST_CABINETS: usize = 10_000;
const MOST_CELLS: usize = 1_000;
/// Where time passes, it does in such steps.
const TICK: Duration = Duration::from_secs(1);
/// How often a cabinet tells its state unasked.
const REPORT_EVERY: u32 = 60;
/// An empty accumulator is full after this, at the usual pace.
const FULL_AFTER: Duration = Duration::from_hours(2);

/// Which cabinets `fleet sandbox` has.
#[derive(Debug, Clone, clap::Args)]
pub struct CabinetOptions {
    /// Broker of the cabinets, mqtt://HOST:PORT. Without it there are none.
    #[arg(long, value_name = "URL")]
    pub mqtt_url: Option<String>,
    /// Base URL of a fleet server that is given the cabinets once it is ready.
    #[arg(long, value_name = "URL")]
    pub seed_cabinets: Option<String>,
    /// How many cabinets there are: cab-1, cab-2, ...
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub cabinets: usize,
    /// Each one's password at the broker, where its name is its id.
    #[arg(long, default_value = "{cabinet_id}-secret", value_name = "TEXT")]
    pub cabinet_password: String,
    /// How many times as fast as usual the accumulators in cabinets charge.
    #[arg(long, default_value_t = 20.0, value_name = "FACTOR")]
    pub pace: f64,
}

impl CabinetOptions {
    pub(super) fn pace_unless(&self, frozen: bool) -> f64 {
        if frozen { 0.0 } else { self.pace }
    }
}

impl Default for CabinetOptions {
    fn default() -> Self {
        Self {
            mqtt_url: None,
            seed_cabinets: None,
            cabinets: 0,
            cabinet_password: "{cabinet_id}-secret".to_owned(),
            pace: 20.0,
        }
    }
}

/// The broker that cabinets speak through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `mqtt://HOST:PORT`.
    pub url: String,
    /// A cabinet's password, in which `{cabinet_id}` stands for its id; its name is its id.
    pub password: String,
}

/// All cabinets of a sandbox.
pub struct Cabinets {
    state: Mutex<State>,
    technicians: Arc<Technicians>,
    /// How many times as fast as usual accumulators charge; 0: they do not, nor does a cabinet tell
    /// anything unasked.
    pace: f64,
}

#[derive(Default)]
struct State {
    broker: Option<Broker>,
    units: BTreeMap<String, Arc<Unit>>,
    /// The thread they live on; its end, when dropped.
    runtime: Option<(Handle, oneshot::Sender<()>)>,
}

impl Cabinets {
    pub(super) fn new(pace: f64) -> Self {
        Self { state: Mutex::default(), technicians: Arc::default(), pace }
    }

    /// Names the broker of the cabinets that are added from now on.
    pub fn use_broker(&self, broker: Broker) {
        self.lock().broker = Some(broker);
    }

    /// Adds a cabinet with these cells, numbered from 1. It connects by itself.
    ///
    /// # Errors
    /// There is no broker, or such a cabinet is there already.
    pub fn add(self: &Arc<Self>, id: &str, cells: Vec<Cell>) -> Result<Cabinet, String> {
        let runtime = self.runtime().map_err(|error| error.to_string())?;
        let mut state = self.lock();
        let Broker { url, password } = state.broker.clone().ok_or("no broker was named")?;
        let address = url.strip_prefix("mqtt://").ok_or("the broker's URL is not mqtt://")?;
        if state.units.contains_key(id) || state.units.len() >= MOST_CABINETS {
            return Err("it is there already, or there are too many".to_owned());
        }
        if id.is_empty() || id.contains(['/', '+', '#', '\0']) || cells.len() > MOST_CELLS {
            return Err("this is no id, or there are too many cells".to_owned());
        }
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let technicians = Arc::clone(&self.technicians);
        let unit = Arc::new(Unit::new(id, cells, outbox, runtime.clone(), technicians));
        state.units.insert(id.to_owned(), Arc::clone(&unit));
        let address = address.trim_end_matches('/').to_owned();
        let login = Login { address, password: password.replace("{cabinet_id}", id) };
        runtime.spawn(session::run(Arc::clone(&unit), login, outgoing));
        Ok(Cabinet(unit))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Cabinet> {
        self.lock().units.get(id).cloned().map(Cabinet)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Cabinet> {
        self.lock().units.values().cloned().map(Cabinet).collect()
    }

    /// What technicians do by themselves when doors open; by default nothing.
    pub fn set_habit(&self, habit: Habit) {
        self.technicians.set_habit(habit);
    }

    /// What technicians carry, in the order in which they put it in.
    #[must_use]
    pub fn carried(&self) -> Vec<Accumulator> {
        self.technicians.carried()
    }

    /// Gives technicians something to carry, in the place of what they have.
    ///
    /// # Errors
    /// It is too much.
    pub fn set_carried(&self, carried: Vec<Accumulator>) -> Result<(), String> {
        self.technicians.set_carried(carried)
    }

    /// Cuts every connection.
    pub(super) fn stop(&self) {
        self.lock().runtime = None;
    }

    /// The thread on which all of them live, begun for the first.
    fn runtime(self: &Arc<Self>) -> io::Result<Handle> {
        let mut state = self.lock();
        if let Some((handle, _)) = &state.runtime {
            return Ok(handle.clone());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        if self.pace > 0.0 {
            runtime.spawn(pass_time(Arc::downgrade(self)));
        }
        thread::Builder::new().name("cabinets".into()).spawn(move || {
            // The end of the runtime cuts what is open.
            let _ = runtime.block_on(stopped);
        })?;
        state.runtime = Some((handle.clone(), stop));
        Ok(handle)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accumulators charge, and cabinets tell their state, each at its own second.
async fn pass_time(cabinets: std::sync::Weak<Cabinets>) {
    let mut ticks = tokio::time::interval(TICK);
    for second in 0_u32.. {
        ticks.tick().await;
        let Some(cabinets) = cabinets.upgrade() else { return };
        let percent = 100.0 * TICK.as_secs_f64() / FULL_AFTER.as_secs_f64() * cabinets.pace;
        for (number, cabinet) in (0_u32..).zip(cabinets.all()) {
            cabinet.0.charge(percent);
            if (second + number).is_multiple_of(REPORT_EVERY) && second > 0 {
                cabinet.0.report();
            }
        }
    }
}

/// A cabinet, and what can be done to it.
#[derive(Clone)]
pub struct Cabinet(Arc<Unit>);

impl Cabinet {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// Whether it is connected and hears its commands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Its cells, the first of them number 1.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        self.0.cells()
    }

    /// Makes a cell so, without a word.
    ///
    /// # Errors
    /// There is no such cell.
    pub fn set_cell(&self, n: usize, cell: Cell) -> Result<(), String> {
        self.0.set_cell(n, cell)
    }

    /// Sets what is wrong with it, in place of what was.
    pub fn set_faults(&self, faults: CabinetFaults) {
        self.0.set_faults(faults);
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> CabinetFaults {
        self.0.faults()
    }

    /// Tells what it held back (`holds`), in the order in which it came or the reverse.
    pub fn release(&self, reversed: bool) {
        self.0.release(reversed);
    }

    /// Somebody takes what is in a cell whose door is open.
    ///
    /// # Errors
    /// It is shut or empty.
    pub fn take(&self, n: usize) -> Result<Accumulator, String> {
        self.0.take_out(n, false)
    }

    /// Somebody breaks a cell open and takes what is in it.
    ///
    /// # Errors
    /// It is empty.
    pub fn take_by_force(&self, n: usize) -> Result<Accumulator, String> {
        self.0.take_out(n, true)
    }

    /// Somebody puts an accumulator into a cell whose door is open.
    ///
    /// # Errors
    /// It is shut or full.
    pub fn put(&self, n: usize, id: &str, charge: f64) -> Result<(), String> {
        self.0.put_in(n, Accumulator { id: id.to_owned(), charge })
    }

    /// Somebody shuts a door, of which the cabinet tells.
    ///
    /// # Errors
    /// It is shut.
    pub fn shut(&self, n: usize) -> Result<(), String> {
        self.0.shut(n)
    }

    /// Tells its state unasked.
    pub fn report(&self) {
        self.0.report();
    }

    /// Goes and comes back. What is in its cells stays; if it `forgets`, it carries a command out
    /// again that it had before.
    pub fn restart(&self, forgets: bool) {
        self.0.restart(forgets);
    }

    /// Goes as if its cable were cut: the broker tells of it.
    pub fn cut(&self) {
        self.0.set_power(Power::Off);
    }

    /// Says that it goes, and goes.
    pub fn leave(&self) {
        self.0.set_power(Power::Leaves);
    }

    /// Comes back.
    pub fn come_back(&self) {
        self.0.set_power(Power::On);
    }

    /// Publishes anything, on its own topic or another.
    pub fn publish(&self, topic: Option<&str>, payload: impl Into<Vec<u8>>) {
        self.0.publish(topic.map(str::as_bytes), payload.into());
    }

    /// The commands that reached it, readable or not as such, the oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<Value> {
        self.0.commands()
    }

    /// The doors that commands opened, the oldest first.
    #[must_use]
    pub fn openings(&self) -> Vec<Opening> {
        self.0.openings()
    }
}
