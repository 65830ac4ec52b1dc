//! A PostgreSQL server of a test's own, which it may stop, kill and freeze. The binaries must be
//! installed (`make test` sees to it); a test that finds none fails.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::LIMIT;
use super::ports::free_port;

const POLL: Duration = Duration::from_millis(10);

/// A running (or stopped) server with data of its own; dropping it stops it and removes the data.
pub struct Postgres {
    data: PathBuf,
    port: u16,
    server: Option<Child>,
    home: Arc<Home>,
}

impl Postgres {
    /// Makes a server and waits until it takes connections.
    pub async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let home = Home::shared();
        let data = home.path.join(format!("data-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        // A copy takes a tenth of the time of another initdb.
        run(home.installation.as_owner("cp").arg("-a").args([&home.template(), &data]));
        let mut postgres = Self { data, port: free_port(), server: None, home };
        postgres.start_again().await;
        postgres
    }

    /// Where it is, for `database.url`.
    pub fn url(&self) -> String {
        format!("postgres://fleet:fleet@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it as a crash would: sessions are cut off, and the next start has to recover.
    pub fn stop_at_once(&mut self) {
        self.stop();
    }

    /// Starts it after a stop, and waits until it takes connections.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let log = fs::File::create(self.data.with_extension("log")).unwrap();
        let mut command = self.home.installation.as_owner("postgres");
        command.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        let started = Instant::now();
        while !self.is_ready() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
            assert!(ended.is_none(), "PostgreSQL ended at once ({ended:?}):\n{}", log());
            assert!(started.elapsed() < LIMIT, "PostgreSQL does not start:\n{}", log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Freezes every process of the server: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    /// PostgreSQL writes its state into the eighth line of `postmaster.pid`.
    fn is_ready(&self) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        let ours = self.server.as_ref().map(|server| server.id().to_string());
        lines.next().map(str::to_owned) == ours && lines.nth(6).map(str::trim) == Some("ready")
    }

    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        kill("QUIT", &[server.id()]);
        // It kills its own children after five seconds, if they do not end.
        let _ = server.wait();
    }

    /// The server first: what is frozen starts no further process.
    fn signal_all(&self, signal: &str) {
        let server = self.server.as_ref().expect("the server runs").id();
        kill(signal, &[server]);
        let children = children_of(server);
        kill(signal, &children);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.thaw();
        }
        self.stop();
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_file(self.data.with_extension("log"));
    }
}

/// The folder of all servers of this process, with an empty cluster to copy; it goes with the last
/// of them.
struct Home {
    path: PathBuf,
    installation: &'static Installation,
}

impl Home {
    fn shared() -> Arc<Self> {
        static HOME: Mutex<Weak<Home>> = Mutex::new(Weak::new());
        let mut shared = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = shared.upgrade() {
            return home;
        }
        let home = Arc::new(Self::make());
        *shared = Arc::downgrade(&home);
        home
    }

    fn make() -> Self {
        let installation = installation();
        let path = std::env::temp_dir().join(format!("fleet-test-pg-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        if let Some((uid, gid)) = installation.owner {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
        let home = Self { path, installation };
        let template = home.template();
        run(installation
            .as_owner("initdb")
            .arg("-D")
            .arg(&template)
            .args(["--username=fleet", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--wal-segsize=1"]));
        // What a killed server wrote is safe with the system: fsync guards against its crash only.
        let settings = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             fsync = off\nmax_connections = 100\n";
        let file = template.join("postgresql.conf");
        let text = fs::read_to_string(&file).unwrap() + settings;
        fs::write(&file, text).unwrap();
        home
    }

    fn template(&self) -> PathBuf {
        self.path.join("template")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// PostgreSQL's programs, and who runs them.
struct Installation {
    programs: PathBuf,
    /// PostgreSQL refuses to run as root: then it runs as this user and group.
    owner: Option<(u32, u32)>,
}

fn installation() -> &'static Installation {
    static FOUND: OnceLock<Installation> = OnceLock::new();
    FOUND.get_or_init(|| {
        let programs = find_programs().expect(
            "this test runs a PostgreSQL server of its own, and initdb was found neither by \
             pg_config, nor in /usr/lib/postgresql/*/bin, nor in PATH (tools/local/install.sh \
             postgres installs it)",
        );
        let owner = (id("-u", None) == Some(0)).then(|| {
            let user =
                ["postgres", "nobody"].into_iter().find(|user| id("-u", Some(user)).is_some());
            let ids = (id("-u", user), id("-g", user));
            (ids.0.expect("a user that is not root"), ids.1.expect("its group"))
        });
        Installation { programs, owner }
    })
}

impl Installation {
    /// One of PostgreSQL's programs, or of the system's, as the owner of the data. It is stopped
    /// when the test that started it ends in whatever way.
    fn as_owner(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((uid, gid)) = self.owner {
            command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", "QUIT", "--"]).current_dir("/");
        let path = self.programs.join(program);
        command.arg(if path.is_file() { path } else { PathBuf::from(program) });
        command
    }
}

fn find_programs() -> Option<PathBuf> {
    let has_initdb = |folder: &PathBuf| folder.join("initdb").is_file();
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured =
        configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    let version = |folder: &PathBuf| -> u32 {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse().ok()).unwrap_or_default()
    };
    packaged.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    configured.into_iter().chain(packaged).chain(in_path).find(has_initdb)
}

/// What `id` says of a user, or of whoever runs this.
fn id(what: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(what).args(user).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
}

/// Sends a signal; processes that have ended meanwhile do not matter.
pub fn kill(signal: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{signal}")).args(pids).output();
}

fn children_of(parent: u32) -> Vec<u32> {
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(pid);
    processes.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The fourth field of `stat`; the second, the name in brackets, may hold spaces.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
