//! A real Kafka of the tests' own, which they may kill and freeze, with a second door: TLS, and a name
//! with a password (SCRAM). Starting one costs seconds, so there is one in a test process and one test
//! at a time uses it. It needs the classes that `make kafka` fetches; where `KAFKA_LIB` does not say where
//! they are, the tests are skipped, and say so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use super::kafka::Kafka;
use super::mosquitto::make_certificates;
use super::ports::free_port;
use super::postgres::kill;
use super::process::Folder;

/// Who may enter by the second door, and by which password.
const USER: &str = "fleet";
pub const PASSWORD: &str = "fleet-secret";

const POLL: Duration = Duration::from_millis(20);
/// How long it may take to start: two Java processes, one after the other, on a busy machine.
const START: Duration = Duration::from_secs(90);
const JAVA: &str = "java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
     -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp \"$LIB/*\"";

static SHARED: Mutex<Option<Broker>> = Mutex::const_new(None);

/// The broker, running or killed.
pub struct Broker {
    folder: PathBuf,
    lib: PathBuf,
    open: u16,
    secured: u16,
    /// Whoever watches over it, and its own process.
    running: Option<(Child, u32)>,
}

/// The broker, for one test at a time.
pub struct Turn(MutexGuard<'static, Option<Broker>>);

impl std::ops::Deref for Turn {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        self.0.as_ref().expect("a broker")
    }
}

impl std::ops::DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Broker {
        self.0.as_mut().expect("a broker")
    }
}

impl Turn {
    /// Waits for its turn with the broker, which runs then; nothing where there is none to be had.
    pub async fn of_the_broker() -> Option<Self> {
        let Some(lib) = std::env::var_os("KAFKA_LIB").filter(|path| !path.is_empty()) else {
            eprintln!("skipped against a Kafka of its own: KAFKA_LIB is not set (make kafka)");
            return None;
        };
        let mut shared = SHARED.lock().await;
        let mut broker = match shared.take() {
            Some(broker) => broker,
            None => Broker::make(lib.into()),
        };
        // As the last one left it, or as it failed.
        if let Some((_, java)) = broker.running {
            kill("CONT", &[java]);
        } else {
            broker.start_again().await;
        }
        *shared = Some(broker);
        Some(Self(shared))
    }
}

impl Broker {
    fn make(lib: PathBuf) -> Self {
        let folder = Folder::make();
        let (open, secured, controller) = (free_port(), free_port(), free_port());
        make_certificates(&folder);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        folder.file("keystore.pem", &(read("server.key") + &read("server.pem")));
        folder.file("server.properties", &properties(folder.path(), open, secured, controller));
        format_storage(folder.path(), &lib);
        // The folder outlives this value: whoever watches over the broker removes it.
        let path = folder.path().to_owned();
        std::mem::forget(folder);
        Self { folder: path, lib, open, secured, running: None }
    }

    /// Starts it, also after it was killed, with what it had; waits until it takes connections.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        // When this process ends, in whatever way, so does the input, and then the broker.
        let watch = format!(
            "{JAVA} kafka.Kafka \"$FOLDER/server.properties\" >>\"$FOLDER/log\" 2>&1 & echo $!; \
             read -r word; kill -KILL $!; wait; [ \"$word\" = keep ] || rm -rf \"$FOLDER\""
        );
        let mut command = shell(&watch, &self.folder, &self.lib);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watcher = command.spawn().expect("sh runs");
        let mut java = String::new();
        BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut java).unwrap();
        self.running = Some((watcher, java.trim().parse().expect("a process id")));
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.secured)).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(started.elapsed() < START, "Kafka does not start:\n{}", log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills it at once; what it acknowledged is on its disk.
    pub fn kill(&mut self) {
        let (mut watcher, _) = self.running.take().expect("it runs");
        watcher.stdin.take().unwrap().write_all(b"keep\n").unwrap();
        watcher.wait().unwrap();
    }

    /// What it kept is gone, once it was killed.
    pub fn lose_everything(&self) {
        assert!(self.running.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.join("data")).expect("its data");
        format_storage(&self.folder, &self.lib);
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// A topic of a test's own, by the open door.
    pub async fn kafka(&self) -> Kafka {
        Kafka::on(format!("127.0.0.1:{}", self.open)).await
    }

    /// The lines of `[kafka]` for somebody who enters by the second door.
    pub fn section(&self, password: &str, ca: &Path) -> String {
        format!(
            "[kafka]\nbrokers = '127.0.0.1:{}'\nsecurity = 'sasl_ssl'\n\
             sasl_mechanism = 'SCRAM-SHA-512'\nsasl_username = '{USER}'\n\
             sasl_password = '{password}'\ntls_ca_file = '{}'\n",
            self.secured,
            ca.display()
        )
    }

    /// The certificate of who signed its own.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn signal(&self, name: &str) {
        let (_, java) = self.running.as_ref().expect("it runs");
        kill(name, &[*java]);
    }
}

fn format_storage(folder: &Path, lib: &Path) {
    let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
    let format = format!(
        "{JAVA} kafka.tools.StorageTool format -t AAAAAAAAQACAAAAAAAAAAA \
           -c \"$FOLDER/server.properties\" --standalone --add-scram '{user}'"
    );
    let formatted = shell(&format, folder, lib).output().expect("sh runs");
    assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
}

fn shell(script: &str, folder: &Path, lib: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("FOLDER", folder).env("LIB", lib);
    command
}

fn properties(folder: &Path, open: u16, secured: u16, controller: u16) -> String {
    let folder = folder.display();
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{open},SASL_SSL://127.0.0.1:{secured},\
         CONTROLLER://127.0.0.1:{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
         sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         ssl.keystore.type=PEM\nssl.keystore.location={folder}/keystore.pem\n\
         log.dirs={folder}/data\nnum.network.threads=2\nnum.io.threads=4\n\
         log.segment.bytes=16777216\nlog.cleaner.dedupe.buffer.size=16777216\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n"
    )
}
