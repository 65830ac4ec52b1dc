//! One connection of the client library, from connecting to its end.
//!
//! A client of the library is used for one connection and thrown away: it keeps what it could not
//! send and would send it after it has reconnected, and what a publisher gave up on must not leave
//! later. Everything here may block, for the library's one lock is held while it resolves names: it
//! is called on the connection's own thread.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use paho_mqtt as paho;
use paho_mqtt::{AsyncClient, ConnectReturnCode, QoS};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use super::inbox::Inbox;
use crate::platform::config::mqtt::MqttSettings;

/// Of the bounds in the library, ours (`max_in_flight`) and some subscriptions come first.
const LIBRARY_BOUND: i32 = 2_000;

/// The library gives up an attempt to connect within seconds of its time-out; after this it never will.
const ABANDONED: Duration = Duration::from_secs(700);

/// Why there is no connection, in a stable word for `/readyz`, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble(pub &'static str);

impl Trouble {
    pub const NOT_CONNECTED: Self = Self("not_connected");
    /// Nobody listens, the host is unknown, the connection broke.
    pub const UNREACHABLE: Self = Self("unreachable");
    pub const TIMEOUT: Self = Self("timeout");
    /// Name or password is wrong, or the broker wants none of us.
    pub const REFUSED: Self = Self("refused");
    pub const SUBSCRIPTION_REFUSED: Self = Self("subscription_refused");
    pub const LOST: Self = Self("connection_lost");
    /// It acknowledged nothing in time.
    pub const SILENT: Self = Self("broker_silent");
}

/// An open connection, or one that is being opened; dropping it cuts it.
pub(super) struct Connection {
    client: AsyncClient,
    lost: watch::Receiver<bool>,
    connecting: Option<paho::ConnectToken>,
}

impl Connection {
    /// Connects, within the configured time.
    pub async fn open(settings: &MqttSettings, inbox: &Arc<Inbox>) -> Result<Self, Trouble> {
        let (client, options) = (client(settings)?, options(settings)?);
        let lost = watch::Sender::new(false);
        let mut connection = Self { client, lost: lost.subscribe(), connecting: None };
        connection.client.set_connection_lost_callback(move |_| {
            lost.send_replace(true);
        });
        // Set before connecting: the first message may come before we hear that we are connected.
        let inbox = Arc::clone(inbox);
        connection.client.set_message_callback(move |_, message| {
            if let Some(message) = message {
                inbox.take(message);
            }
        });
        let token = connection.connecting.insert(connection.client.connect(options));
        let connected = tokio::time::timeout(settings.connect_timeout(), token).await;
        if connected.is_ok() {
            connection.connecting = None;
        }
        match connected {
            Ok(Ok(_)) => Ok(connection),
            Ok(Err(error)) => Err(why_not(&error)),
            Err(_) => Err(Trouble::TIMEOUT),
        }
    }

    /// Subscribes, and waits until the broker has granted it.
    pub async fn subscribe(&self, filter: &str, patience: Duration) -> Result<(), Trouble> {
        let granted = self.client.subscribe(filter, QoS::AtLeastOnce);
        let granted = tokio::select! {
            granted = tokio::time::timeout(patience, granted) => granted,
            () = self.lost() => return Err(Trouble::LOST),
        };
        match granted {
            // At a lower quality than asked for an event may be lost without a trace.
            Ok(Ok(answer)) if answer.subscribe_response().is_none_or(|qos| qos >= 1) => Ok(()),
            Ok(Err(paho::Error::Disconnected | paho::Error::OperationIncomplete)) => {
                Err(Trouble::LOST)
            }
            Ok(_) => Err(Trouble::SUBSCRIPTION_REFUSED),
            Err(_) => Err(Trouble::SILENT),
        }
    }

    /// Asks for no more of a filter; what is still on its way finds no reader.
    pub fn unsubscribe(&self, filter: &str) {
        drop(self.client.unsubscribe(filter));
    }

    /// Hands a message to the library, which sends it now or never. An error says that it did not
    /// take it.
    pub fn publish(
        &self,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<paho::DeliveryToken, paho::Error> {
        self.client.try_publish(paho::Message::new(topic, payload, QoS::AtLeastOnce))
    }

    /// Ends when the connection has.
    pub async fn lost(&self) {
        // Whoever could say so is part of the client, which we hold.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Takes leave of the broker.
    pub async fn close(self, patience: Duration) {
        let left = self.client.disconnect_after(patience.min(Duration::from_millis(200)));
        let _ = tokio::time::timeout(patience, left).await;
    }
}

/// The library's connect callback holds a handle of the client until it returns. Were that the last
/// one, the client would be destroyed inside the callback, whose caller goes on to use it.
impl Drop for Connection {
    fn drop(&mut self) {
        let Some(token) = self.connecting.take() else {
            // Takes the lock under which callbacks run: after it, none is running.
            let _ = self.client.is_connected();
            return;
        };
        let client = self.client.clone();
        client.remove_message_callback();
        let see_off = move || {
            if matches!(token.wait_for(ABANDONED), Err(paho::Error::Timeout)) {
                std::mem::forget(client);
            } else {
                let _ = client.is_connected();
            }
        };
        let _ = std::thread::Builder::new().name("mqtt-abandoned".into()).spawn(see_off);
    }
}

fn client(settings: &MqttSettings) -> Result<AsyncClient, Trouble> {
    // While one client exists, the library does not tear down what all share and builds it anew for
    // the next, which it does with pauses and not without races.
    static ANCHOR: OnceLock<Option<AsyncClient>> = OnceLock::new();
    ANCHOR.get_or_init(|| AsyncClient::new("tcp://127.0.0.1:9").ok());

    let scheme = if settings.is_tls() { "mqtts" } else { "mqtt" };
    let address = settings.address().ok_or(Trouble::UNREACHABLE)?;
    let name = format!("{}-{:012x}", settings.client_id_prefix, rand::random::<u64>() >> 16);
    paho::CreateOptionsBuilder::new_v3()
        .server_uri(format!("{scheme}://{address}"))
        .client_id(name)
        .mqtt_version(paho::MqttVersion::V3_1_1)
        .persistence(paho::PersistenceType::None)
        .send_while_disconnected(false)
        .max_buffered_messages(LIBRARY_BOUND)
        .create_client()
        .map_err(|error| why_not(&error))
}

fn options(settings: &MqttSettings) -> Result<paho::ConnectOptions, Trouble> {
    let mut options = paho::ConnectOptionsBuilder::with_mqtt_version(paho::MqttVersion::V3_1_1);
    options
        .clean_session(true)
        .keep_alive_interval(settings.keep_alive())
        .connect_timeout(settings.connect_timeout().max(Duration::from_secs(1)))
        .max_inflight(LIBRARY_BOUND);
    if !settings.username.is_empty() {
        options.user_name(settings.username.as_str());
    }
    if !settings.password.expose_secret().is_empty() {
        options.password(settings.password.expose_secret());
    }
    if settings.is_tls() {
        options.ssl_options(tls(settings).map_err(|error| why_not(&error))?);
    }
    Ok(options.finalize())
}

fn tls(settings: &MqttSettings) -> paho::Result<paho::SslOptions> {
    let mut tls = paho::SslOptionsBuilder::new();
    tls.enable_server_cert_auth(true).verify(true);
    if let Some(file) = &settings.ca_file {
        tls.trust_store(file)?.disable_default_trust_store(true);
    }
    if let (Some(certificate), Some(key)) =
        (&settings.client_certificate_file, &settings.client_key_file)
    {
        tls.key_store(certificate)?.private_key(key)?;
    }
    Ok(tls.finalize())
}

fn why_not(error: &paho::Error) -> Trouble {
    match error {
        paho::Error::ConnectReturn(ConnectReturnCode::ServerUnavailable) => Trouble::UNREACHABLE,
        paho::Error::ConnectReturn(_) => Trouble::REFUSED,
        paho::Error::TcpConnectTimeout => Trouble::TIMEOUT,
        _ => Trouble::UNREACHABLE,
    }
}
