//! A cabinet's connection: it comes back when it breaks, and keeps events until the broker has them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::unit::{Power, Unit};
use super::wire::{self, Hello, Packet};

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the broker may take for anything that has to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect: they double, and half of each is left to chance.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Events that are kept; a cabinet's memory is small, and the newest are worth most.
const MOST_KEPT: usize = 1_000;

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

/// Runs until the cabinet is given up.
pub(super) async fn run(unit: Arc<Unit>, login: Login, outbox: mpsc::UnboundedReceiver<Outgoing>) {
    let mut power = unit.power();
    let mut session = Session { unit, login, outbox, kept: VecDeque::new(), number: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        if power.wait_for(|power| *power == Power::On).await.is_err() {
            return;
        }
        let began = Instant::now();
        let ended = session.connected().await;
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
    async fn connected(&mut self) -> io::Result<()> {
        let mut read = BytesMut::with_capacity(4096);
        let mut stream = timeout(PATIENCE, self.connect(&mut read)).await.map_err(late)??;
        self.unit.set_connected(true);
        self.unit.came_online();
        for kept in &self.kept {
            let Outgoing { topic, payload } = &kept.event;
            write(&mut stream, &wire::publish(kept.number, topic, payload, kept.was_sent)).await?;
        }
        for kept in &mut self.kept {
            kept.was_sent = true;
        }
        let mut power = self.unit.power();
        let mut ping = tokio::time::interval(KEEP_ALIVE / 2);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                came = stream.read_buf(&mut read) => {
                    if came? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    heard = Instant::now();
                    while let Some(packet) = wire::take(&mut read)? {
                        self.handle(&mut stream, packet).await?;
                    }
                }
                Some(event) = self.outbox.recv() => self.send(&mut stream, event).await?,
                _ = ping.tick() => {
                    if heard.elapsed() > KEEP_ALIVE + PATIENCE {
                        return Err(late(()));
                    }
                    write(&mut stream, &wire::ping()).await?;
                }
                changed = power.changed() => {
                    let now = *power.borrow();
                    match now {
                        Power::On if changed.is_ok() => {}
                        Power::Leaves => return self.leave(&mut stream).await,
                        // Without a word: the broker tells of it.
                        _ => return Ok(()),
                    }
                }
            }
        }
    }

    /// Connects, and listens to its commands.
    async fn connect(&mut self, read: &mut BytesMut) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.login.address).await?;
        stream.set_nodelay(true)?;
        let will = self.unit.event("offline");
        let hello = Hello {
            client_id: self.unit.id(),
            username: self.unit.id(),
            password: &self.login.password,
            keep_alive_s: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or_default(),
            will_topic: self.unit.events_topic(),
            will: &will,
        };
        write(&mut stream, &hello.packet()).await?;
        match next(&mut stream, read).await? {
            Packet::Connected(0) => {}
            other => return Err(refused(&other)),
        }
        write(&mut stream, &wire::subscribe(1, self.unit.commands_topic())).await?;
        match next(&mut stream, read).await? {
            Packet::Subscribed(true) => Ok(stream),
            other => Err(refused(&other)),
        }
    }

    async fn handle(&mut self, stream: &mut TcpStream, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Message { payload, number, .. } => {
                if let Some(number) = number {
                    write(stream, &wire::acknowledge(number)).await?;
                }
                self.unit.take(&payload);
            }
            Packet::Acknowledged(number) => self.kept.retain(|kept| kept.number != number),
            Packet::Pong | Packet::Connected(_) | Packet::Subscribed(_) => {}
        }
        Ok(())
    }

    async fn send(&mut self, stream: &mut TcpStream, event: Outgoing) -> io::Result<()> {
        self.number = self.number.checked_add(1).unwrap_or(1);
        let packet = wire::publish(self.number, &event.topic, &event.payload, false);
        if self.kept.len() >= MOST_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { number: self.number, event, was_sent: true });
        write(stream, &packet).await
    }

    /// Says that it goes, and goes; then the broker has nothing to tell.
    async fn leave(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let event = Outgoing {
            topic: self.unit.events_topic().into(),
            payload: self.unit.event("offline"),
        };
        self.send(stream, event).await?;
        write(stream, &wire::disconnect()).await?;
        stream.shutdown().await
    }
}

async fn next(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<Packet> {
    loop {
        if let Some(packet) = wire::take(read)? {
            return Ok(packet);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn write(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(packet)).await.map_err(late)?
}

fn refused(answer: &Packet) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("the broker refused: {answer:?}"))
}

fn late<T>(_: T) -> io::Error {
    io::ErrorKind::TimedOut.into()
}
