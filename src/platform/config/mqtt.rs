//! `[mqtt]`: the broker, read only by processes whose domains need it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Faults, Section};

/// Where the broker is, who we are there, and what bounds our use of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` for TLS.
    pub url: String,
    /// Empty: none is given.
    pub username: String,
    /// Empty: none is given.
    pub password: SecretString,
    /// PEM file with the CA that signed the broker's certificate. Left out: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate, where the broker wants one.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub client_key_file: Option<PathBuf>,
    /// What our name at the broker begins with; the rest is random, for each connection.
    pub client_id_prefix: String,
    /// How long the connection may be silent before the broker is asked whether it lives.
    pub keep_alive_ms: u64,
    /// How long connecting may take, TLS and log-in included.
    pub connect_timeout_ms: u64,
    /// Pause before the second attempt to connect; it doubles with each further one.
    pub reconnect_base_ms: u64,
    /// The longest pause between attempts.
    pub reconnect_max_ms: u64,
    /// Messages on their way to the broker, not acknowledged yet.
    pub max_in_flight: usize,
    /// Largest message, in bytes, that is taken or given.
    pub max_payload_bytes: usize,
    /// Messages that may wait for one subscriber; later ones are dropped.
    pub max_waiting: usize,
    /// The same of those that came on one topic: of one device.
    pub max_waiting_per_topic: usize,
    /// Bytes of messages that may wait for one subscriber.
    pub max_waiting_bytes: usize,
}

/// The ports that are meant when none is named.
const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// Longest prefix of our name. MQTT 3.1.1 promises only 23 characters in all; brokers take more.
const MAX_PREFIX: usize = 32;

impl MqttSettings {
    /// How long connecting may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long the connection may be silent.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("mqtts://")
    }

    /// `HOST:PORT`; nothing when the URL is not of that form.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let (rest, usual_port) = match self.url.strip_prefix("mqtts://") {
            Some(rest) => (rest, TLS_PORT),
            None => (self.url.strip_prefix("mqtt://")?, PLAIN_PORT),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, port.parse().ok()?),
            _ => (rest, usual_port),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match v6 {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(is_plain),
        };
        (is_host && port != 0).then(|| format!("{host}:{port}"))
    }
}

impl PartialEq for MqttSettings {
    fn eq(&self, other: &Self) -> bool {
        let plain = |settings: &Self| {
            let Self { url, username, password, ca_file, client_id_prefix, .. } = settings.clone();
            let files =
                (settings.client_certificate_file.clone(), settings.client_key_file.clone());
            (
                (url, username, password.expose_secret().to_owned(), client_id_prefix),
                (ca_file, files),
                [
                    settings.keep_alive_ms,
                    settings.connect_timeout_ms,
                    settings.reconnect_base_ms,
                    settings.reconnect_max_ms,
                ],
                [
                    settings.max_in_flight,
                    settings.max_payload_bytes,
                    settings.max_waiting,
                    settings.max_waiting_per_topic,
                    settings.max_waiting_bytes,
                ],
            )
        };
        plain(self) == plain(other)
    }
}

impl Section for MqttSettings {
    fn check(&self, faults: &mut Faults) {
        let schemes = self.url.starts_with("mqtt://") || self.url.starts_with("mqtts://");
        faults.require(schemes, "url", "must begin with mqtt:// or mqtts://");
        faults.require(
            !schemes || self.address().is_some(),
            "url",
            "must be of the form mqtts://HOST:PORT; user and password have keys of their own",
        );
        self.check_identity(faults);
        for (key, value, least) in [
            ("keep_alive_ms", self.keep_alive_ms, 1000),
            ("connect_timeout_ms", self.connect_timeout_ms, 1),
            ("reconnect_base_ms", self.reconnect_base_ms, 1),
            ("reconnect_max_ms", self.reconnect_max_ms, 1),
        ] {
            let message = format!("must be between {least} and 600000");
            faults.require((least..=600_000).contains(&value), key, &message);
        }
        faults.require(
            self.reconnect_base_ms <= self.reconnect_max_ms,
            "reconnect_base_ms",
            "must not be longer than reconnect_max_ms",
        );
        self.check_bounds(faults);
    }
}

impl MqttSettings {
    fn check_identity(&self, faults: &mut Faults) {
        let has_nul = |text: &str| text.contains('\0');
        faults.require(!has_nul(&self.username), "username", "must not hold NUL");
        faults.require(!has_nul(self.password.expose_secret()), "password", "must not hold NUL");
        faults.require(
            self.password.expose_secret().is_empty() || !self.username.is_empty(),
            "username",
            "must be given where there is a password",
        );
        for (key, file) in [
            ("ca_file", &self.ca_file),
            ("client_certificate_file", &self.client_certificate_file),
            ("client_key_file", &self.client_key_file),
        ] {
            let there = file.as_ref().is_none_or(|file| file.is_file());
            faults.require(there, key, "there is no such file");
            let used = file.is_none() || self.is_tls();
            faults.require(used, key, "is for TLS: url must begin with mqtts://");
        }
        faults.require(
            self.client_certificate_file.is_some() == self.client_key_file.is_some(),
            "client_key_file",
            "certificate and key go together",
        );
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        faults.require(
            !self.client_id_prefix.is_empty()
                && self.client_id_prefix.len() <= MAX_PREFIX
                && self.client_id_prefix.chars().all(allowed),
            "client_id_prefix",
            "must be 1 to 32 letters, digits, - or _",
        );
    }

    fn check_bounds(&self, faults: &mut Faults) {
        faults.require(
            (1..=1000).contains(&self.max_in_flight),
            "max_in_flight",
            "must be between 1 and 1000",
        );
        // A packet's length is a number of four times seven bits.
        faults.require(
            (1024..=64 << 20).contains(&self.max_payload_bytes),
            "max_payload_bytes",
            "must be between 1024 (1 KiB) and 67108864 (64 MiB)",
        );
        faults.require(
            (1..=1_000_000).contains(&self.max_waiting),
            "max_waiting",
            "must be between 1 and 1000000",
        );
        faults.require(
            (1..=1_000_000).contains(&self.max_waiting_per_topic),
            "max_waiting_per_topic",
            "must be between 1 and 1000000",
        );
        faults.require(
            self.max_waiting_bytes >= self.max_payload_bytes,
            "max_waiting_bytes",
            "must hold one message of max_payload_bytes at least",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::ConfigSource;

    fn read(text: &str) -> Result<MqttSettings, Vec<String>> {
        let config = ConfigSource::texts(vec![format!("[mqtt]\n{text}")]).load().unwrap();
        let keys = |faults: Vec<crate::platform::config::Fault>| {
            faults.into_iter().map(|fault| fault.key).collect()
        };
        config.section("mqtt").map_err(keys)
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (url, address) in [
            ("mqtt://broker", Some("broker:1883")),
            ("mqtts://mqtt.cloud.yandex.net", Some("mqtt.cloud.yandex.net:8883")),
            ("mqtt://127.0.0.1:2883/", Some("127.0.0.1:2883")),
            ("mqtts://[::1]", Some("[::1]:8883")),
            ("mqtts://[::1]:99", Some("[::1]:99")),
            ("mqtt://", None),
            ("mqtt://:1883", None),
            ("mqtt://broker:0", None),
            ("mqtt://broker:x", None),
            ("mqtt://user:pass@broker", None),
            ("mqtt://broker/path", None),
            ("mqtt://[::g]", None),
            ("tcp://broker", None),
        ] {
            let settings = MqttSettings { url: url.to_owned(), ..read("").unwrap() };
            assert_eq!(settings.address().as_deref(), address, "{url}");
        }
    }

    #[test]
    fn every_fault_is_told() {
        let faults = read(
            "url = 'http://x'\npassword = 'p'\nca_file = '/none'\nclient_key_file = '/none'\n\
             client_id_prefix = 'a/b'\nkeep_alive_ms = 10\nreconnect_base_ms = 6000\n\
             max_in_flight = 0\nmax_payload_bytes = 1\nmax_waiting = 0\n\
             max_waiting_per_topic = 0\nmax_waiting_bytes = 0\n",
        )
        .unwrap_err();
        for key in [
            "url",
            "username",
            "ca_file",
            "client_key_file",
            "client_id_prefix",
            "keep_alive_ms",
            "reconnect_base_ms",
            "max_in_flight",
            "max_payload_bytes",
            "max_waiting",
            "max_waiting_per_topic",
            "max_waiting_bytes",
        ] {
            assert!(faults.contains(&format!("mqtt.{key}")), "{key}: {faults:?}");
        }
    }
}
