//! What can be configured of one upstream.

use std::time::Duration;

use awc::http::Uri;
use awc::http::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::platform::config::{Faults, Section};

/// One upstream: where it is and how much of it we use. Every key but `base_url` has a default
/// that suits a service in the same data centre.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// Scheme, host and optional path prefix, for example `https://personal.internal`.
    pub base_url: String,
    /// Sent as `Authorization: Bearer`; empty: no such header.
    pub token: SecretString,
    /// Longest time of one attempt, answer body included. The caller's deadline may shorten it.
    pub timeout_ms: u64,
    /// Longest time for DNS and TCP, and again for TLS; `timeout_ms` ends an attempt in any case.
    pub connect_timeout_ms: u64,
    /// How often an idempotent call is tried in all, 1..=5.
    pub attempts: u32,
    /// Most calls in flight in this process.
    pub concurrency: usize,
    /// How long a call waits for its turn when that many are in flight.
    pub queue_wait_ms: u64,
    /// Largest answer that is read.
    pub body_limit_bytes: usize,
    /// This many failures in a row open the breaker.
    pub breaker_failures: u32,
    /// How long the open breaker refuses calls before it lets one through to probe.
    pub breaker_open_ms: u64,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            token: SecretString::default(),
            timeout_ms: 1_000,
            connect_timeout_ms: 500,
            attempts: 3,
            concurrency: 64,
            queue_wait_ms: 100,
            body_limit_bytes: 2 * 1024 * 1024,
            breaker_failures: 10,
            breaker_open_ms: 5_000,
        }
    }
}

impl Section for UpstreamSettings {
    fn check(&self, faults: &mut Faults) {
        if let Err(message) = check_base_url(&self.base_url) {
            faults.add("base_url", message);
        }
        faults.require(
            HeaderValue::from_str(self.token.expose_secret()).is_ok(),
            "token",
            "must fit into a header: visible ASCII only",
        );
        for (key, value) in [
            ("timeout_ms", self.timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("breaker_open_ms", self.breaker_open_ms),
        ] {
            faults.require((1..=600_000).contains(&value), key, "must be in 1..=600000");
        }
        faults.require(self.queue_wait_ms <= 600_000, "queue_wait_ms", "must be at most 600000");
        faults.require((1..=5).contains(&self.attempts), "attempts", "must be in 1..=5");
        faults.require(
            (1..=10_000).contains(&self.concurrency),
            "concurrency",
            "must be in 1..=10000",
        );
        faults.require(
            (1..=256 * 1024 * 1024).contains(&self.body_limit_bytes),
            "body_limit_bytes",
            "must be in 1..=268435456",
        );
        faults.require(self.breaker_failures >= 1, "breaker_failures", "must be at least 1");
    }
}

impl UpstreamSettings {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn queue_wait(&self) -> Duration {
        Duration::from_millis(self.queue_wait_ms)
    }

    pub(super) fn breaker_open(&self) -> Duration {
        Duration::from_millis(self.breaker_open_ms)
    }
}

/// The message never repeats the value: an address may hold a password by mistake.
fn check_base_url(base_url: &str) -> Result<(), &'static str> {
    if base_url.is_empty() {
        return Err("is missing: give the address of the service, for example http://host:8090");
    }
    let uri: Uri = base_url.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    match uri.authority() {
        None => Err("has no host"),
        Some(authority) if authority.as_str().contains('@') => {
            Err("must not hold a user or a password; use `token`")
        }
        Some(_) if uri.query().is_some() => Err("must not have a query"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(settings: &UpstreamSettings) -> Vec<String> {
        let mut faults = Faults::below("upstreams.personal");
        settings.check(&mut faults);
        faults.into_vec().into_iter().map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn address_and_token_are_enough() {
        let settings: UpstreamSettings =
            toml::from_str("base_url = 'http://127.0.0.1:8090/personal'\ntoken = 'secret-word'")
                .unwrap();
        assert_eq!(faults(&settings), Vec::<String>::new());
        assert!(!format!("{settings:?}").contains("secret-word"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<UpstreamSettings>("base_uri = 'http://a'").is_err());
    }

    #[test]
    fn every_wrong_value_is_named() {
        let settings = UpstreamSettings {
            base_url: "ftp://host".into(),
            token: SecretString::from("two\nlines"),
            timeout_ms: 0,
            attempts: 6,
            concurrency: 0,
            body_limit_bytes: 0,
            breaker_failures: 0,
            breaker_open_ms: 0,
            ..UpstreamSettings::default()
        };
        let found = faults(&settings).join("\n");
        for key in [
            "base_url",
            "token",
            "timeout_ms",
            "attempts",
            "concurrency",
            "body_limit_bytes",
            "breaker_failures",
            "breaker_open_ms",
        ] {
            assert!(found.contains(&format!("upstreams.personal.{key}: ")), "{key} in {found}");
        }
        assert!(!found.contains("two"));
    }

    #[test]
    fn addresses_with_passwords_or_without_a_host_are_refused() {
        for base_url in ["", "host:80", "http://u:p@host", "https://host?x=1", "/path", "http://"] {
            let settings =
                UpstreamSettings { base_url: base_url.into(), ..UpstreamSettings::default() };
            assert_eq!(faults(&settings).len(), 1, "{base_url}");
        }
    }
}
