//! `[kafka]`: where events come from, read only by processes whose domains consume some.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::http::HttpSettings;
use super::{Config, Fault, Faults, Section};

/// Where Kafka is, and how we read from it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `HOST:PORT`, several with commas between. Empty: there is no Kafka.
    pub brokers: String,
    /// The topic that is read.
    pub topic: String,
    /// The group in which all instances share its partitions.
    pub group_id: String,
    /// How brokers are spoken to.
    pub security: Security,
    /// How we prove who we are, where `security` asks for it.
    pub sasl_mechanism: SaslMechanism,
    /// Who we are.
    pub sasl_username: String,
    /// Proof of that.
    pub sasl_password: SecretString,
    /// PEM file with the CA that signed the brokers' certificates; left out: the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Messages that are handled together at most.
    pub batch_messages: usize,
    /// How long the first of them waits for more.
    pub batch_linger_ms: u64,
    /// A member that is silent for so long is out, and others take its partitions.
    pub session_timeout_ms: u64,
    /// A member that takes nothing for so long is out.
    pub max_poll_interval_ms: u64,
    /// A consumer that stands still for so long, though there is something to read, is made anew.
    pub stall_ms: u64,
    /// On SIGTERM: how long what is being handled may take.
    pub stop_ms: u64,
}

/// How brokers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// In the clear, by nobody in particular.
    Plaintext,
    /// TLS.
    Ssl,
    /// In the clear, with a name and its proof.
    SaslPlaintext,
    /// TLS, with a name and its proof.
    SaslSsl,
}

impl Security {
    /// librdkafka's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether a name and its proof are sent.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether what is sent is encrypted.
    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// How a name is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Kafka's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaSettings {
    /// Reads the section, and compares it with what else bounds the end of the process.
    ///
    /// # Errors
    /// Every fault of the section; `stop_ms` is not shorter than `http.finish_ms`.
    pub fn read(config: &Config) -> Result<Self, Vec<Fault>> {
        let settings: Self = config.section("kafka")?;
        // Faults of `http` are told by whoever reads it.
        if let Ok(http) = config.section::<HttpSettings>("http")
            && settings.is_on()
        {
            let mut faults = Faults::below("kafka");
            // The process ends after it, whether the batch's offsets are committed or not.
            let message = format!(
                "must be less than http.finish_ms ({}), which is all the time that the batch under way has",
                http.finish_ms
            );
            faults.require(settings.stop_ms < http.finish_ms, "stop_ms", &message);
            let found = faults.into_vec();
            if !found.is_empty() {
                return Err(found);
            }
        }
        Ok(settings)
    }

    /// Whether there is a Kafka to read from.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// How long the first message of a batch waits for more.
    #[must_use]
    pub fn batch_linger(&self) -> Duration {
        Duration::from_millis(self.batch_linger_ms)
    }

    /// How long a consumer may stand still.
    #[must_use]
    pub fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }

    /// How long what is being handled may take when the process stops.
    #[must_use]
    pub fn stop(&self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }

    fn check_access(&self, faults: &mut Faults) {
        let address = |text: &str| {
            let parts = text.trim().rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        faults.require(
            self.brokers.is_empty() || self.brokers.split(',').all(address),
            "brokers",
            "must be HOST:PORT, several with commas between, or empty where there is no Kafka",
        );
        let name = |text: &str| {
            (1..=249).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let named = "must be 1 to 249 letters, digits, dots, hyphens and underscores";
        faults.require(name(&self.topic), "topic", named);
        faults.require(name(&self.group_id), "group_id", named);
        if self.security.has_sasl() {
            let password = self.sasl_password.expose_secret();
            faults.require(!self.sasl_username.is_empty(), "sasl_username", "must be given");
            faults.require(!password.is_empty(), "sasl_password", "must be given");
        }
        faults.require(
            self.tls_ca_file.as_ref().is_none_or(|file| file.is_file()),
            "tls_ca_file",
            "there is no such file",
        );
        faults.require(
            self.tls_ca_file.is_none() || self.security.has_tls(),
            "tls_ca_file",
            "security must be ssl or sasl_ssl for it",
        );
    }
}

impl Section for KafkaSettings {
    fn check(&self, faults: &mut Faults) {
        self.check_access(faults);
        faults.require(
            (1..=10_000).contains(&self.batch_messages),
            "batch_messages",
            "must be between 1 and 10000",
        );
        for (key, value, range, message) in [
            ("batch_linger_ms", self.batch_linger_ms, 0..=10_000, "must be at most 10000"),
            (
                "session_timeout_ms",
                self.session_timeout_ms,
                1_000..=300_000,
                "must be between 1000 and 300000 (and within what the brokers allow)",
            ),
            (
                "max_poll_interval_ms",
                self.max_poll_interval_ms,
                self.session_timeout_ms..=3_600_000,
                "must be between session_timeout_ms and 3600000 (an hour)",
            ),
            ("stall_ms", self.stall_ms, 1_000..=3_600_000, "must be between 1000 and 3600000"),
            ("stop_ms", self.stop_ms, 0..=60_000, "must be at most 60000"),
        ] {
            faults.require(range.contains(&value), key, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigSource, Fault};
    use super::*;

    fn settings(text: &str) -> Result<KafkaSettings, Vec<Fault>> {
        ConfigSource::texts(vec![format!("[kafka]\n{text}")]).load().unwrap().section("kafka")
    }

    #[test]
    fn the_committed_defaults_are_complete_and_valid() {
        let settings = settings("").unwrap();
        assert!(settings.is_on());
        assert_eq!(settings.topic, "contractor-statuses-events");
    }

    #[test]
    fn there_may_be_no_kafka_or_several_brokers() {
        assert!(!settings("brokers = ''").unwrap().is_on());
        assert!(settings("brokers = 'a:9092, b:9093'").unwrap().is_on());
    }

    #[test]
    fn every_fault_is_told() {
        let text = "brokers = 'kafka'\ntopic = 'a b'\ngroup_id = ''\nsecurity = 'sasl_plaintext'\n\
             tls_ca_file = '/nowhere'\nbatch_messages = 0\nbatch_linger_ms = 10001\n\
             session_timeout_ms = 1\nmax_poll_interval_ms = 0\nstall_ms = 0\nstop_ms = 60001\n";
        let keys: Vec<String> = settings(text).unwrap_err().into_iter().map(|f| f.key).collect();
        let all = ["brokers", "topic", "group_id", "sasl_username", "sasl_password"];
        let all = all.into_iter().chain(["tls_ca_file", "tls_ca_file", "batch_messages"]);
        let all = all.chain(["batch_linger_ms", "session_timeout_ms", "max_poll_interval_ms"]);
        let all = all.chain(["stall_ms", "stop_ms"]).map(|key| format!("kafka.{key}"));
        assert_eq!(keys, all.collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_must_be_able_to_end_before_the_process_does() {
        let read = |text: &str| {
            let config = ConfigSource::texts(vec![text.to_owned()]).load().unwrap();
            KafkaSettings::read(&config)
        };
        assert!(read("").is_ok());
        assert!(read("[kafka]\nstop_ms = 2999").is_ok());
        assert!(read("[kafka]\nbrokers = ''\nstop_ms = 3000").is_ok(), "nothing is to be ended");
        for text in ["[kafka]\nstop_ms = 3000", "[http]\nfinish_ms = 2000"] {
            let faults = read(text).unwrap_err();
            let [fault] = &faults[..] else { panic!("{faults:?}") };
            assert_eq!(fault.key, "kafka.stop_ms");
            assert!(fault.message.contains("http.finish_ms ("), "{fault}");
        }
    }

    #[test]
    fn names_are_those_of_kafka() {
        let text = "security = 'sasl_ssl'\nsasl_mechanism = 'SCRAM-SHA-512'\n\
             sasl_username = 'fleet'\nsasl_password = 'secret'\n";
        let settings = settings(text).unwrap();
        assert!(settings.security.has_sasl() && settings.security.has_tls());
        assert_eq!(settings.sasl_mechanism.word(), "SCRAM-SHA-512");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
