//! A cabinet's connection: it comes back when it breaks, and keeps events until the broker has them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::unit::{Power, Unit};
use crate::platform::mqtt::wire::{self, Decoder, Hello, Incoming, Packet};

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the broker may take for anything that has to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect: they double, and half of each is left to chance.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Events that are kept; a cabinet's memory is small, and the newest are worth most.
const MOST_KEPT: usize = 1_000;

/// Largest command that is looked at.
const MOST_PAYLOAD: usize = 256 * 1024;

/// Where the broker is, and the cabinet's password there; its name is its id.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub address: String,
    pub password: String,
}

/// Something to publish.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
}

/// An event that the broker does not have yet, as far as is known.
struct Kept {
    number: u16,
    event: Outgoing,
    was_sent: bool,
}

struct Session {
    unit: Arc<Unit>,
    login: Login,
    outbox: mpsc::UnboundedReceiver<Outgoing>,
    kept: VecDeque<Kept>,
    number: u16,
}

/// An open connection, and what was read of a packet that has not come whole.
struct Line {
    stream: TcpStream,
    read: BytesMut,
    decoder: Decoder,
}

impl Line {
    async fn write(&mut self, packet: impl FnOnce(&mut BytesMut)) -> io::Result<()> {
        let mut out = BytesMut::new();
        packet(&mut out);
        timeout(PATIENCE, self.stream.write_all(&out)).await.map_err(late)?
    }

    /// Reads some; may be dropped while it waits.
    async fn read(&mut self) -> io::Result<()> {
        self.read.reserve(4096);
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn take(&mut self) -> io::Result<Option<Packet>> {
        self.decoder.next(&mut self.read)
    }

    async fn next(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            self.read().await?;
        }
    }
}

/// Runs until the cabinet is given up.
pub(super) async fn run(unit: Arc<Unit>, login: Login, outbox: mpsc::UnboundedReceiver<Outgoing>) {
    let mut power = unit.power();
    let mut session = Session { unit, login, outbox, kept: VecDeque::new(), number: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        if power.wait_for(|power| matches!(power, Power::On | Power::Restarts)).await.is_err() {
            return;
        }
        let began = Instant::now();
        // What it has seen of the power, this has seen: a change while it connects is not lost.
        let ended = session.connected(power.clone()).await;
        session.unit.set_connected(false);
        if let Err(error) = ended {
            tracing::debug!(cabinet = session.unit.id(), %error, "a cabinet's connection broke");
        }
        if began.elapsed() > LAST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())) => {
                pause = (pause * 2).min(LAST_PAUSE);
            }
            // Switched off and on: there is nothing to wait for.
            changed = power.changed() => match changed {
                Ok(()) => pause = FIRST_PAUSE,
                Err(_) => return,
            },
        }
    }
}

impl Session {
    /// One connection, until it ends or the power goes.
    async fn connected(&mut self, mut power: watch::Receiver<Power>) -> io::Result<()> {
        let mut line = timeout(PATIENCE, self.connect()).await.map_err(late)??;
        self.unit.set_connected(true);
        self.unit.came_online();
        for kept in &mut self.kept {
            let Kept { number, event: Outgoing { topic, payload }, was_sent } = kept;
            line.write(|out| wire::publish(out, *number, topic, payload, *was_sent)).await?;
            *was_sent = true;
        }
        let mut ping = tokio::time::interval(KEEP_ALIVE / 2);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                came = line.read() => {
                    came?;
                    heard = Instant::now();
                    while let Some(packet) = line.take()? {
                        self.handle(&mut line, packet).await?;
                    }
                }
                Some(event) = self.outbox.recv() => self.send(&mut line, event).await?,
                _ = ping.tick() => {
                    if heard.elapsed() > KEEP_ALIVE + PATIENCE {
                        return Err(late(()));
                    }
                    line.write(wire::ping).await?;
                }
                changed = power.changed() => {
                    let now = *power.borrow();
                    match now {
                        _ if changed.is_err() => return Ok(()),
                        Power::On => {}
                        Power::Leaves => return self.leave(&mut line).await,
                        Power::Restarts => return self.tell_the_rest(&mut line).await,
                        // Without a word: the broker tells of it.
                        Power::Off => return Ok(()),
                    }
                }
            }
        }
    }

    /// Connects, and listens to its commands.
    async fn connect(&mut self) -> io::Result<Line> {
        let stream = TcpStream::connect(&self.login.address).await?;
        stream.set_nodelay(true)?;
        let decoder = Decoder::new(MOST_PAYLOAD);
        let mut line = Line { stream, read: BytesMut::new(), decoder };
        let will = self.unit.event("offline");
        let hello = Hello {
            client_id: self.unit.id(),
            username: Some(self.unit.id()),
            password: Some(&self.login.password),
            keep_alive_s: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or_default(),
            will: Some((self.unit.events_topic(), &will)),
        };
        line.write(|out| hello.write(out)).await?;
        match line.next().await? {
            Packet::Connected(0) => {}
            other => return Err(refused(&other)),
        }
        line.write(|out| wire::subscribe(out, 1, self.unit.commands_topic())).await?;
        match line.next().await? {
            Packet::Granted(_, true) => Ok(line),
            other => Err(refused(&other)),
        }
    }

    async fn handle(&mut self, line: &mut Line, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Message(Incoming { payload, number, .. }) => {
                if let Some(number) = number {
                    line.write(|out| wire::acknowledge(out, number)).await?;
                }
                self.unit.take(&payload);
            }
            Packet::PassedOver(_, Some(number)) => {
                line.write(|out| wire::acknowledge(out, number)).await?;
            }
            Packet::Acknowledged(number) => self.kept.retain(|kept| kept.number != number),
            _ => {}
        }
        Ok(())
    }

    async fn send(&mut self, line: &mut Line, event: Outgoing) -> io::Result<()> {
        self.number = self.number.checked_add(1).unwrap_or(1);
        if self.kept.len() >= MOST_KEPT {
            self.kept.pop_front();
        }
        let number = self.number;
        self.kept.push_back(Kept { number, event: event.clone(), was_sent: true });
        let Outgoing { topic, payload } = event;
        line.write(|out| wire::publish(out, number, &topic, &payload, false)).await
    }

    /// Says that it goes, and goes; then the broker has nothing to tell.
    async fn leave(&mut self, line: &mut Line) -> io::Result<()> {
        self.tell_the_rest(line).await?;
        let topic = self.unit.events_topic().into();
        let event = Outgoing { topic, payload: self.unit.event("offline") };
        self.send(line, event).await?;
        self.tell_the_rest(line).await?;
        line.write(wire::disconnect).await?;
        line.stream.shutdown().await
    }

    /// Until the broker has everything.
    async fn tell_the_rest(&mut self, line: &mut Line) -> io::Result<()> {
        while let Ok(event) = self.outbox.try_recv() {
            self.send(line, event).await?;
        }
        while !self.kept.is_empty() {
            let packet = timeout(PATIENCE, line.next()).await.map_err(late)??;
            self.handle(line, packet).await?;
        }
        Ok(())
    }
}

fn refused(answer: &Packet) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("the broker refused: {answer:?}"))
}

fn late<T>(_: T) -> io::Error {
    io::ErrorKind::TimedOut.into()
}
