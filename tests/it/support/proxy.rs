//! A TCP proxy with faults, between whoever connects and one server. It runs on a thread of its
//! own, so that a test that blocks does not stop it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the proxy does to connections, those that are open and those to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass,
    /// Resets every connection.
    Close,
    /// Accepts and forwards nothing; what was sent meanwhile arrives once it passes again.
    BlackHole,
    /// Holds each piece back for that long, in both directions.
    Delay(Duration),
    /// Resets a connection after so many more bytes of the server's have reached the client.
    CutAfter(usize),
    /// The same for the connections that are open now; later ones pass.
    CutOpenAfter(usize),
    /// Passes so many more pieces of the clients' on, of all connections together; then nothing passes
    /// any more, and what was held back is lost with the next mode.
    HaltAfter(u64),
}

/// A running proxy; dropping it stops it and resets what is open.
pub struct Proxy {
    addr: SocketAddr,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
    _stop: watch::Sender<()>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    open: AtomicUsize,
    /// Pieces of clients since the mode was set.
    pieces: AtomicU64,
}

impl Proxy {
    /// A proxy on a free port of loopback, that passes.
    pub fn start(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (stop, mut stopped) = watch::channel(());
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::select! {
                        () = accept(listener, target, modes, counted) => {}
                        _ = stopped.changed() => {}
                    }
                });
            })
            .unwrap();
        Self { addr, mode, counts, _stop: stop }
    }

    /// `url` with the proxy's address in the place of the server's.
    pub fn in_front_of(&self, url: &str) -> String {
        let (host, _) = host_and_port(url);
        url.replacen(host, &self.addr.to_string(), 1)
    }

    /// From now on does that, to open connections too.
    pub fn set(&self, mode: Mode) {
        self.counts.pieces.store(0, Ordering::SeqCst);
        self.mode.send_replace(mode);
    }

    /// Whether nothing passes any more.
    pub fn has_halted(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::HaltAfter(limit)
            if self.counts.pieces.load(Ordering::SeqCst) > limit)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

/// The `HOST:PORT` of a URL, as text and as an address.
pub fn host_and_port(url: &str) -> (&str, SocketAddr) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let found = std::net::ToSocketAddrs::to_socket_addrs(host).ok().and_then(|mut all| all.next());
    (host, found.unwrap_or_else(|| panic!("no address in the URL's host {host}")))
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    modes: watch::Receiver<Mode>,
    counts: Arc<Counts>,
) {
    // Dropped with this future, which drops every connection.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        counts.accepted.fetch_add(1, Ordering::SeqCst);
        counts.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&counts));
        let modes = modes.clone();
        connections.spawn(async move {
            let open = open;
            connection(client, target, modes, &open.0).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    mut modes: watch::Receiver<Mode>,
    counts: &Counts,
) {
    let _ = client.set_nodelay(true);
    // Closing then sends a reset, whatever is still unread.
    let _ = client.set_zero_linger();
    // A black hole does not even connect: the server sees nothing of it.
    let mode = modes.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode);
    if !mode.is_ok_and(|mode| mode != Mode::Close) {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = server.set_nodelay(true);
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = both(
            forward(client_reads, server_writes, modes.clone(), false, counts),
            forward(server_reads, client_writes, modes.clone(), true, counts),
        ) => {}
        _ = modes.wait_for(|mode| *mode == Mode::Close) => {}
    }
}

/// Ends when one direction was cut, or both have ended.
async fn both(up: impl Future<Output = End>, down: impl Future<Output = End>) {
    tokio::pin!(up, down);
    tokio::select! {
        end = &mut up => if end == End::OfStream { down.await; },
        end = &mut down => if end == End::OfStream { up.await; },
    }
}

#[derive(PartialEq, Eq)]
enum End {
    OfStream,
    Cut,
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    to_client: bool,
    counts: &Counts,
) -> End {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    // Whether this connection is younger than the mode.
    let mut is_new = true;
    loop {
        let read = tokio::select! {
            biased;
            changed = modes.changed() => {
                if changed.is_err() {
                    return End::Cut;
                }
                (passed, is_new) = (0, false);
                continue;
            }
            read = from.read(&mut buffer), if *modes.borrow() != Mode::BlackHole => read,
        };
        let Ok(read) = read else { return End::Cut };
        if read == 0 {
            return if to.shutdown().await.is_ok() { End::OfStream } else { End::Cut };
        }
        let mode = *modes.borrow();
        let limit = match mode {
            Mode::CutAfter(limit) if to_client => limit.saturating_sub(passed),
            Mode::CutOpenAfter(limit) if to_client && !is_new => limit.saturating_sub(passed),
            _ => usize::MAX,
        };
        match mode {
            Mode::Close => return End::Cut,
            Mode::Delay(pause) => sleep(pause).await,
            Mode::BlackHole => {
                let passes = modes.wait_for(|mode| *mode != Mode::BlackHole).await;
                if passes.is_err() {
                    return End::Cut;
                }
            }
            Mode::HaltAfter(limit) => {
                let piece = u64::from(!to_client);
                if counts.pieces.fetch_add(piece, Ordering::SeqCst) + piece > limit {
                    let _ = modes.wait_for(|now| *now != mode).await;
                    return End::Cut;
                }
            }
            _ => {}
        }
        let piece = &buffer[..read.min(limit)];
        passed += piece.len();
        if to.write_all(piece).await.is_err() {
            return End::Cut;
        }
        if read >= limit {
            return End::Cut;
        }
    }
}
