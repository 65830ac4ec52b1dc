//! One connection, from the first byte to the last. Nothing of it outlives it: a message that was
//! not acknowledged on it is not sent again on another.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::BytesMut;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::inbox::Message;
use super::link::{Outcome, Outgoing, State};
use super::metrics::DropReason;
use super::stream::{Route, Stream};
use super::wire::{self, Decoder, Hello, Packet, Why};

/// Room for what is read at once.
const READ_AT_ONCE: usize = 8 * 1024;

/// Why there is no connection, in a stable word for `/readyz`, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble(pub &'static str);

impl Trouble {
    pub const NOT_CONNECTED: Self = Self("not_connected");
    /// Nobody listens there, or the host is unknown.
    pub const UNREACHABLE: Self = Self("unreachable");
    pub const TIMEOUT: Self = Self("timeout");
    /// It is not who it should be, or does not take us for who we should be.
    pub const TLS: Self = Self("tls");
    /// Name or password is wrong, or the broker wants none of us.
    pub const REFUSED: Self = Self("refused");
    pub const SUBSCRIPTION_REFUSED: Self = Self("subscription_refused");
    pub const LOST: Self = Self("connection_lost");
    /// It answered nothing in time.
    pub const SILENT: Self = Self("broker_silent");
    /// What it says is no MQTT.
    pub const GARBLED: Self = Self("garbled");

    /// What it means that the stream failed.
    fn of(error: &std::io::Error) -> Self {
        let of_tls = matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>());
        if of_tls {
            tracing::debug!(%error, "the broker ended TLS");
        }
        if of_tls { Self::TLS } else { Self::LOST }
    }
}

/// A message that the broker has not acknowledged.
struct Flight {
    sent: Instant,
    answer: oneshot::Sender<Outcome>,
    _place: OwnedSemaphorePermit,
}

/// An open connection.
pub(super) struct Connection<'s> {
    state: &'s State,
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    decoder: Decoder,
    read: BytesMut,
    out: BytesMut,
    /// Something was written that TLS may not have let go of.
    unflushed: bool,
    last_number: u16,
    flights: HashMap<u16, Flight>,
    /// What was asked for and has not been answered: by number, with the time.
    asked: VecDeque<(u16, Instant)>,
    subscribing: HashMap<u16, Arc<str>>,
    granted: BTreeSet<Arc<str>>,
    heard: Instant,
    was_up: bool,
}

impl<'s> Connection<'s> {
    /// Connects and is let in, within the configured time.
    pub async fn open(state: &'s State, route: &Route) -> Result<Self, Trouble> {
        let patience = state.settings.connect_timeout();
        timeout(patience, Self::open_at_leisure(state, route))
            .await
            .unwrap_or(Err(Trouble::TIMEOUT))
    }

    async fn open_at_leisure(state: &'s State, route: &Route) -> Result<Self, Trouble> {
        let settings = &state.settings;
        let (mut reader, mut writer) = route.open().await?;
        let mut decoder = Decoder::new(settings.max_payload_bytes);
        let (mut read, mut out) = (BytesMut::new(), BytesMut::new());
        let some = |text: &'s str| (!text.is_empty()).then_some(text);
        let name = format!("{}-{:012x}", settings.client_id_prefix, rand::random::<u64>() >> 16);
        let hello = Hello {
            client_id: &name,
            username: some(&settings.username),
            password: some(settings.password.expose_secret()),
            keep_alive_s: u16::try_from(settings.keep_alive().as_secs()).unwrap_or(u16::MAX),
            will: None,
        };
        hello.write(&mut out);
        writer.write_all_buf(&mut out).await.map_err(|error| Trouble::of(&error))?;
        writer.flush().await.map_err(|error| Trouble::of(&error))?;
        let answer = loop {
            if let Some(packet) = decoder.next(&mut read).map_err(|_| Trouble::GARBLED)? {
                break packet;
            }
            // Over TLS, a refusal of our certificate comes only now.
            if reader.read_buf(&mut read).await.map_err(|error| Trouble::of(&error))? == 0 {
                return Err(Trouble::LOST);
            }
        };
        match answer {
            Packet::Connected(0) => {}
            Packet::Connected(3) => return Err(Trouble::UNREACHABLE),
            Packet::Connected(_) => return Err(Trouble::REFUSED),
            _ => return Err(Trouble::GARBLED),
        }
        Ok(Self {
            state,
            reader,
            writer,
            decoder,
            read,
            out,
            unflushed: false,
            last_number: 0,
            flights: HashMap::new(),
            asked: VecDeque::new(),
            subscribing: HashMap::new(),
            granted: BTreeSet::new(),
            heard: Instant::now(),
            was_up: false,
        })
    }

    /// Whether it was ever good for anything.
    pub fn was_up(&self) -> bool {
        self.was_up
    }

    /// Serves until it ends, and says why; nothing when it was closed.
    pub async fn serve(&mut self, outgoing: &mut mpsc::Receiver<Outgoing>) -> Option<Trouble> {
        let trouble = self.serve_until_trouble(outgoing).await.err();
        self.state.set_up(false, false);
        for (_, flight) in self.flights.drain() {
            let _ = flight.answer.send(Outcome::Unknown);
        }
        if trouble.is_none() {
            self.take_leave().await;
        }
        trouble
    }

    async fn serve_until_trouble(
        &mut self,
        outgoing: &mut mpsc::Receiver<Outgoing>,
    ) -> Result<(), Trouble> {
        let state = self.state;
        let mut filters_changed = state.inbox.changed();
        let settings = &state.settings;
        let period = settings.keep_alive().min(settings.connect_timeout()) / 4;
        let mut look = interval(period.clamp(Duration::from_millis(10), Duration::from_secs(1)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(settings.keep_alive() / 2);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.subscribe();
        loop {
            let has_output = !self.out.is_empty() || self.unflushed;
            self.read.reserve(READ_AT_ONCE);
            tokio::select! {
                () = state.is_closing() => return Ok(()),
                read = self.reader.read_buf(&mut self.read) => {
                    if read.map_err(|_| Trouble::LOST)? == 0 {
                        return Err(Trouble::LOST);
                    }
                    self.take_in()?;
                }
                written = write(&mut self.writer, &mut self.out, &mut self.unflushed), if has_output => {
                    written.map_err(|_| Trouble::LOST)?;
                }
                // What cannot leave at once is not taken: until then it can be taken back.
                message = outgoing.recv(), if self.out.is_empty() => match message {
                    Some(message) => self.send(message),
                    None => return Ok(()),
                },
                _ = filters_changed.changed() => self.subscribe(),
                _ = pings.tick() => wire::ping(&mut self.out),
                _ = look.tick() => self.look()?,
            }
        }
    }

    /// Lets a message leave, if there is still time and nobody took it back.
    fn send(&mut self, message: Outgoing) {
        let Outgoing { topic, payload, deadline, claim, place, answer } = message;
        if !self.state.is_up() || deadline.has_passed() || !claim.take() {
            let _ = answer.send(Outcome::NotSent);
            return;
        }
        let number = self.number();
        wire::publish(&mut self.out, number, topic.as_bytes(), &payload, false);
        let sent = self.ask(number);
        self.flights.insert(number, Flight { sent, answer, _place: place });
    }

    fn take_in(&mut self) -> Result<(), Trouble> {
        self.heard = Instant::now();
        while let Some(packet) = self.decoder.next(&mut self.read).map_err(|_| Trouble::GARBLED)? {
            let to_acknowledge = match packet {
                Packet::Message(incoming) => {
                    let number = incoming.number;
                    self.state.inbox.take(&Message::of(incoming));
                    number
                }
                Packet::PassedOver(why, number) => {
                    self.state.inbox.passed_over(match why {
                        Why::Oversized => DropReason::Oversized,
                        Why::Malformed => DropReason::Malformed,
                    });
                    number
                }
                Packet::Acknowledged(number) => {
                    if let Some(flight) = self.flights.remove(&number) {
                        let took = flight.sent.elapsed().as_secs_f64();
                        self.state.metrics.acknowledged.observe(took);
                        let _ = flight.answer.send(Outcome::Acknowledged);
                    }
                    None
                }
                Packet::Granted(number, granted) => {
                    self.note_grant(number, granted)?;
                    None
                }
                Packet::Pong | Packet::Ungranted => None,
                Packet::Connected(_) => return Err(Trouble::GARBLED),
            };
            if let Some(number) = to_acknowledge {
                wire::acknowledge(&mut self.out, number);
            }
        }
        Ok(())
    }

    /// Asks for what is read and was not asked for, and for no more of what is not read any longer.
    /// The link is up when all of it is granted: before that, an answer may not be heard.
    fn subscribe(&mut self) {
        let wanted: BTreeSet<Arc<str>> = self.state.inbox.filters().into_iter().collect();
        let gone: Vec<Arc<str>> = self.granted.difference(&wanted).cloned().collect();
        for filter in gone {
            self.granted.remove(&filter);
            let number = self.number();
            wire::unsubscribe(&mut self.out, number, &filter);
        }
        let asked: BTreeSet<Arc<str>> = self.subscribing.values().cloned().collect();
        let known: BTreeSet<Arc<str>> = self.granted.union(&asked).cloned().collect();
        for filter in wanted.difference(&known) {
            let number = self.number();
            wire::subscribe(&mut self.out, number, filter);
            self.ask(number);
            self.subscribing.insert(number, Arc::clone(filter));
        }
        let is_complete = wanted.iter().all(|filter| self.granted.contains(filter));
        self.state.set_up(is_complete, is_complete && !self.was_up);
        if is_complete && !std::mem::replace(&mut self.was_up, true) {
            self.state.came_up();
        }
    }

    fn note_grant(&mut self, number: u16, granted: bool) -> Result<(), Trouble> {
        let Some(filter) = self.subscribing.remove(&number) else { return Ok(()) };
        // At a lower quality than asked for, an event may be lost without a trace.
        if !granted {
            return Err(Trouble::SUBSCRIPTION_REFUSED);
        }
        self.granted.insert(filter);
        self.subscribe();
        Ok(())
    }

    /// Whether the broker owes an answer for too long.
    fn look(&mut self) -> Result<(), Trouble> {
        while let Some((number, since)) = self.asked.front() {
            if !self.flights.contains_key(number) && !self.subscribing.contains_key(number) {
                self.asked.pop_front();
            } else if since.elapsed() > self.state.settings.connect_timeout() {
                return Err(Trouble::SILENT);
            } else {
                break;
            }
        }
        if self.heard.elapsed() > self.state.settings.keep_alive() {
            return Err(Trouble::SILENT);
        }
        Ok(())
    }

    /// A number that nothing under way has.
    fn number(&mut self) -> u16 {
        loop {
            self.last_number = self.last_number.checked_add(1).unwrap_or(1);
            let number = self.last_number;
            if !self.flights.contains_key(&number) && !self.subscribing.contains_key(&number) {
                return number;
            }
        }
    }

    fn ask(&mut self, number: u16) -> Instant {
        let now = Instant::now();
        self.asked.push_back((number, now));
        now
    }

    /// Ends in order, so that the broker has nothing to find out.
    async fn take_leave(&mut self) {
        wire::disconnect(&mut self.out);
        let leave = async {
            while !self.out.is_empty() || self.unflushed {
                write(&mut self.writer, &mut self.out, &mut self.unflushed).await?;
            }
            self.writer.shutdown().await
        };
        let patience = self.state.patience_to_close();
        let _ = timeout(patience, leave).await;
    }
}

/// Writes some, or flushes what is written; may be dropped while it waits.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    out: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    if out.is_empty() {
        writer.flush().await?;
        *unflushed = false;
    } else {
        *unflushed = true;
        writer.write_buf(out).await?;
    }
    Ok(())
}
