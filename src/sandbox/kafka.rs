//! Where drivers' events go: a Kafka that is there already, or librdkafka's own broker, embedded in
//! this process. It speaks the real protocol, listens on a free port, so that any number of stand-ins run on a
//! machine, and remembers nothing. It is for one process of fleet: librdkafka's own may abort (an assertion)
//! when a group's members come and go at once.

use std::io;
use std::sync::mpsc;
use std::thread;

use actix_web::{HttpResponse, web};
use rdkafka::mocking::MockCluster;

use super::State;

/// The topic of drivers' statuses, and its partitions.
pub(super) const TOPIC: &str = "contractor-statuses-events";
const PARTITIONS: i32 = 4;

/// In `--kafka`: a broker of our own, or none.
const EMBEDDED: &str = "embedded";
const NONE: &str = "none";

/// Brokers that the sandbox knows of.
pub(super) struct Kafka {
    brokers: String,
    embedded: Option<EmbeddedBroker>,
}

impl Kafka {
    /// Opens what `--kafka` says: `embedded`, `none`, or the addresses of brokers.
    pub fn open(choice: &str) -> io::Result<Option<Self>> {
        Ok(match choice {
            NONE => None,
            EMBEDDED => {
                let broker = EmbeddedBroker::start()?;
                broker.create_topic(TOPIC, PARTITIONS);
                Some(Self { brokers: broker.brokers().to_owned(), embedded: Some(broker) })
            }
            brokers => Some(Self { brokers: brokers.to_owned(), embedded: None }),
        })
    }

    /// Their addresses, for a client's `bootstrap.servers`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}

/// Tells where the brokers are: the embedded one's port is free to choose.
pub(super) fn control(routes: &mut web::ServiceConfig) {
    routes.route("/kafka/brokers", web::get().to(brokers));
}

async fn brokers(state: web::Data<State>) -> HttpResponse {
    match &state.kafka {
        None => HttpResponse::NotFound().finish(),
        Some(kafka) => HttpResponse::Ok().json(serde_json::json!({
            "brokers": kafka.brokers(), "embedded": kafka.embedded.is_some(), "topic": TOPIC,
        })),
    }
}

/// What an embedded broker is told.
enum Command {
    CreateTopic(String, i32),
    Reachable(bool),
}

/// A broker in this process; dropping it stops it, and what was sent to it is gone.
pub struct EmbeddedBroker {
    brokers: String,
    commands: Option<mpsc::Sender<(Command, mpsc::Sender<()>)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// librdkafka cannot.
    pub fn start() -> io::Result<Self> {
        let (commands, orders) = mpsc::channel::<(Command, mpsc::Sender<()>)>();
        let (started, wait) = mpsc::channel();
        // The handle is bound to the thread that made it.
        let serve = move || {
            let cluster = match MockCluster::new(1) {
                Ok(cluster) => cluster,
                Err(error) => {
                    let _ = started.send(Err(io::Error::other(error)));
                    return;
                }
            };
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            while let Ok((command, done)) = orders.recv() {
                let outcome = match command {
                    Command::CreateTopic(name, partitions) => {
                        cluster.create_topic(&name, partitions, 1)
                    }
                    Command::Reachable(true) => cluster.broker_up(-1),
                    Command::Reachable(false) => cluster.broker_down(-1),
                };
                if let Err(error) = outcome {
                    tracing::error!(%error, "the embedded broker refuses");
                }
                let _ = done.send(());
            }
        };
        let thread = thread::Builder::new().name("sandbox-kafka".into()).spawn(serve)?;
        let brokers = wait.recv().map_err(io::Error::other)??;
        Ok(Self { brokers, commands: Some(commands), thread: Some(thread) })
    }

    /// Its address.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Makes a topic; one that is not made is made at its first use, with four partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.tell(Command::CreateTopic(name.to_owned(), partitions));
    }

    /// Closes every connection and takes no new ones, or takes them again.
    pub fn set_reachable(&self, reachable: bool) {
        self.tell(Command::Reachable(reachable));
    }

    fn tell(&self, command: Command) {
        let (done, wait) = mpsc::channel();
        if let Some(commands) = &self.commands {
            let _ = commands.send((command, done));
            let _ = wait.recv();
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
