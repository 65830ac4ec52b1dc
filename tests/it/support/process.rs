//! The real binary, as an operator runs it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;

use super::LIMIT;
use super::client::Caller;
use super::ports::free_port;
use super::postgres::kill;

const POLL: Duration = Duration::from_millis(5);
/// Of what a server wrote, what a failed test shows.
const LAST_LINES: usize = 50;

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

    pub fn path(&self) -> &Path {
        &self.0
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
    run_into(Stdio::piped(), arguments, config, env)
}

/// The same when nobody reads what it prints.
pub fn run_unread(arguments: &[&str], config: &str, env: &[(&str, &str)]) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    run_into(writer.into(), arguments, config, env)
}

fn run_into(stdout: Stdio, arguments: &[&str], config: &str, env: &[(&str, &str)]) -> Ended {
    let folder = Folder::make();
    let mut command = command(&folder, arguments, config, env);
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
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
    pub async fn start(config: &str, env: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(config, env);
        server.wait_for("readyz", 200).await;
        server
    }

    /// Waits until it answers `path` with `status`; fails when it ends before.
    pub async fn wait_for(&mut self, path: &str, status: u16) {
        let (started, caller) = (Instant::now(), self.anonymous());
        loop {
            let answer = caller.try_send(Method::GET, path, None).await;
            if answer.as_ref().is_ok_and(|answer| answer.status == status) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let state = || format!("{ended:?}, {answer:?}\n{}", self.output());
            assert!(ended.is_none() && started.elapsed() < LIMIT, "{path}: {}", state());
            tokio::time::sleep(POLL).await;
        }
    }

    /// A caller without a token, with paths from the root.
    pub fn anonymous(&self) -> Caller {
        Caller::anonymous(format!("http://{}", self.addr))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
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
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > limit {
                return ended;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("the server at {} said last:\n{}", self.addr, last.join("\n"));
        }
    }
}
