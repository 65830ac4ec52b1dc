//! A Mosquitto of a test's own, which it may kill and freeze. The broker must be installed (`make
//! test` sees to it); a test that finds none fails.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::LIMIT;
use super::ports::free_port;
use super::postgres::kill;
use super::process::Folder;

const POLL: Duration = Duration::from_millis(10);

/// The server's name at the broker: it may command all cabinets and hear them.
pub const SERVER: &str = "fleet";
/// Its password; a cabinet's is [`password_of`] its id.
pub const SERVER_PASSWORD: &str = "fleet-secret";

/// The password of a cabinet, whose name at the broker is its id.
pub fn password_of(cabinet: &str) -> String {
    format!("{cabinet}-secret")
}

/// A running (or killed) broker; dropping it stops it and removes its files.
pub struct Mosquitto {
    folder: Folder,
    port: u16,
    broker: Option<Child>,
    door: Door,
}

/// How the broker is entered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Plain,
    Tls,
    /// Over TLS, by who has a certificate; its name is that of the user.
    Certificate,
}

impl Mosquitto {
    /// A broker at which the server and these cabinets have names. Each cabinet may use only its own
    /// topics.
    pub async fn start(cabinets: &[&str]) -> Self {
        Self::make(cabinets, Door::Plain).await
    }

    /// The same over TLS, with a certificate for 127.0.0.1 that [`Mosquitto::ca_file`] signed.
    pub async fn start_with_tls(cabinets: &[&str]) -> Self {
        Self::make(cabinets, Door::Tls).await
    }

    /// The same, but users have no passwords: who they are is said by a certificate that the same CA
    /// signed ([`Mosquitto::certificate`]).
    pub async fn start_with_certificates() -> Self {
        Self::make(&[], Door::Certificate).await
    }

    async fn make(cabinets: &[&str], door: Door) -> Self {
        let (folder, port) = (Folder::make(), free_port());
        let mut users = format!("{SERVER}:{SERVER_PASSWORD}\n");
        for cabinet in cabinets {
            writeln!(users, "{cabinet}:{}", password_of(cabinet)).unwrap();
        }
        let users = folder.file("users", &users);
        let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&users).output();
        let hashed = hashed.expect("mosquitto_passwd runs (`make test` installs it)");
        assert!(hashed.status.success(), "{}", String::from_utf8_lossy(&hashed.stderr));
        let access = folder.file(
            "access",
            &format!(
                "user {SERVER}\ntopic write cabinets/+/commands\ntopic read cabinets/+/events\n\
                 pattern read cabinets/%u/commands\npattern write cabinets/%u/events\n"
            ),
        );
        let mut text = format!(
            "listener {port} 127.0.0.1\nset_tcp_nodelay true\nallow_anonymous false\n\
             password_file {}\nacl_file {}\npersistence false\nlog_dest stderr\nlog_type all\n\
             max_queued_messages 100000\n",
            users.display(),
            access.display()
        );
        if door != Door::Plain {
            make_certificates(&folder);
            let file = |name: &str| folder.path().join(name).display().to_string();
            let (certificate, key) = (file("server.pem"), file("server.key"));
            writeln!(text, "certfile {certificate}\nkeyfile {key}").unwrap();
        }
        if door == Door::Certificate {
            let ca = folder.path().join("ca.pem").display().to_string();
            writeln!(text, "cafile {ca}\nrequire_certificate true\nuse_identity_as_username true")
                .unwrap();
        }
        folder.file("mosquitto.conf", &text);
        open_to_everybody(folder.path());
        let mut broker = Self { folder, port, broker: None, door };
        broker.start_again().await;
        broker
    }

    /// Where it is, for `mqtt.url`.
    pub fn url(&self) -> String {
        let scheme = if self.door == Door::Plain { "mqtt" } else { "mqtts" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The certificate of who signed its own.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The lines of `[mqtt]` for a client's certificate of this name, which the CA signed.
    pub fn certificate(&self, name: &str) -> String {
        make_client_certificate(&self.folder, name);
        let file =
            |end: &str| self.folder.path().join(format!("{name}.{end}")).display().to_string();
        let (certificate, key) = (file("pem"), file("key"));
        format!("client_certificate_file = '{certificate}'\nclient_key_file = '{key}'\n")
    }

    /// The section `[mqtt]` of a server that uses it. Keep-alive and pauses are short.
    pub fn section(&self) -> String {
        section(&self.url())
    }

    /// Kills it: what it had in memory is lost.
    pub fn kill(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            let _ = broker.kill();
            let _ = broker.wait();
        }
    }

    /// Starts it after it was killed, on the same port, and waits until it takes connections.
    pub async fn start_again(&mut self) {
        assert!(self.broker.is_none(), "it runs");
        let log = File::options().append(true).create(true).open(self.log_file()).unwrap();
        // Stopped when the test that started it ends in whatever way.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program());
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.broker = Some(command.spawn().expect("setpriv runs"));
        let started = Instant::now();
        while TcpStream::connect(self.addr()).is_err() {
            let ended = self.broker.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "Mosquitto ended at once ({ended:?}):\n{}", self.log());
            assert!(started.elapsed() < LIMIT, "Mosquitto does not start:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn signal(&self, name: &str) {
        kill(name, &[self.broker.as_ref().expect("it runs").id()]);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The section `[mqtt]` of a server at a broker with such users, by URL: there may be a proxy in
/// between.
pub fn section(url: &str) -> String {
    format!(
        "[mqtt]\nurl = '{url}'\nusername = '{SERVER}'\npassword = '{SERVER_PASSWORD}'\n\
         keep_alive_ms = 5000\nconnect_timeout_ms = 5000\nreconnect_base_ms = 20\n\
         reconnect_max_ms = 200\n"
    )
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file());
    found.expect("no Mosquitto: run `make test`, which installs it, or `apt-get install mosquitto`")
}

/// As root, Mosquitto becomes a user of its own before it reads its files.
fn open_to_everybody(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(folder, 0o755);
    for file in fs::read_dir(folder).unwrap().flatten() {
        set(&file.path(), 0o644);
    }
}

/// Makes a CA and a certificate for 127.0.0.1 in `folder`: `ca.pem`, `server.pem`, `server.key`.
pub fn make_certificates(folder: &Folder) {
    folder.file("leaf.ext", "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
    let steps = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca \
         && openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server \
         && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile leaf.ext -out server.pem";
    let made = Command::new("sh").args(["-c", steps]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a certificate of a client, which the CA of `folder` signs: `NAME.pem`, `NAME.key`.
fn make_client_certificate(folder: &Folder, name: &str) {
    let steps = format!(
        "openssl req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} \
         && openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile leaf.ext -out {name}.pem"
    );
    let made = Command::new("sh").args(["-c", &steps]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
