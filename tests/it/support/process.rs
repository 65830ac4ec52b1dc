//! The real binary, as an operator runs it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::ports::free_port;
use super::postgres::kill;

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A folder for a process's files; it goes when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fleet-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Everything it printed.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The binary with these arguments, nothing but these variables, and one configuration file.
fn command(folder: &Folder, arguments: &[&str], config: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    command.args(arguments).arg("--config").arg(folder.file("fleet.toml", config));
    command.env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str], config: &str, env: &[(&str, &str)]) -> Ended {
    let folder = Folder::make();
    let output = command(&folder, arguments, config, env).output().unwrap();
    Ended {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A serving process; dropping it kills it.
pub struct Server {
    child: Child,
    addr: SocketAddr,
    folder: Folder,
}

impl Server {
    /// Starts `fleet serve` on a free port. Neither waits nor asks whether it comes up.
    pub fn spawn(config: &str, env: &[(&str, &str)]) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::spawn_at(addr, config, env)
    }

    /// The same on a given address.
    pub fn spawn_at(addr: SocketAddr, config: &str, env: &[(&str, &str)]) -> Self {
        let folder = Folder::make();
        let listen = addr.to_string();
        let env: Vec<_> = env.iter().copied().chain([("FLEET__HTTP__LISTEN", &*listen)]).collect();
        let output = |name: &str| File::create(folder.0.join(name)).unwrap();
        let child = command(&folder, &["serve"], config, &env)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        Self { child, addr, folder }
    }

    /// Starts it and waits until it is ready.
    pub fn start(config: &str, env: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(config, env);
        server.wait_for("/readyz", 200);
        server
    }

    /// Waits until it answers `path` with `status`; fails when it ends before.
    pub fn wait_for(&mut self, path: &str, status: u16) {
        let started = Instant::now();
        loop {
            let answer = get(self.addr, path);
            if answer.as_ref().is_some_and(|answer| answer.status == status) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let state = || format!("{ended:?}, {answer:?}\n{}", self.output());
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "{path}: {}", state());
            std::thread::sleep(POLL);
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        self.stdout() + &self.read("stderr")
    }

    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.0.join(name)).unwrap_or_default()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        kill(name, &[self.child.id()]);
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > limit {
                return ended;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// `GET` of a path; `None` when there is no whole answer.
pub fn get(addr: SocketAddr, path: &str) -> Option<Reply> {
    exchange(addr, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// A request with headers (`Name: value`) and a JSON body; `None` when there is no whole answer.
pub fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Option<Reply> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
    exchange(addr, &format!("{head}\r\n{body}"))
}

/// Sends bytes as they are and reads the answer until the other side closes.
pub fn exchange(addr: SocketAddr, request: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    read_reply(&mut stream)
}

/// Reads one answer, whose connection is to be closed by the other side or which has a length.
pub fn read_reply(stream: &mut TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(reply) = whole_reply(&bytes, false) {
            return Some(reply);
        }
        match stream.read(&mut piece) {
            Ok(0) => return whole_reply(&bytes, true),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(_) => return None,
        }
    }
}

fn whole_reply(bytes: &[u8], ended: bool) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: HashMap<String, String> = lines.filter_map(header).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let whole = length.map_or(ended || status == 204, |length: usize| body.len() >= length);
    whole.then(|| Reply { status, headers, body: body.to_owned() })
}

