//! `[http]`: the server.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Faults, Section};

/// How the server listens, and what it bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Worker threads; 0 is one for each core.
    pub workers: usize,
    /// A request's time without `X-Request-Timeout-Ms`.
    pub default_timeout_ms: u64,
    /// A request's time at most.
    pub max_timeout_ms: u64,
    /// How long a request's head may take to arrive.
    pub head_timeout_ms: u64,
    /// How long a request's body may take to arrive.
    pub body_timeout_ms: u64,
    /// How long bytes of an answer may wait for their client to take them.
    pub write_timeout_ms: u64,
    /// Largest request body.
    pub body_limit_bytes: usize,
    /// Requests in flight before the process sheds.
    pub max_in_flight: usize,
    /// The same of one domain, where the process serves several.
    pub max_in_flight_per_domain: usize,
    /// How long an idle connection is kept.
    pub keep_alive_ms: u64,
    /// How long `/readyz` says 503 before the listener closes.
    pub drain_ms: u64,
    /// How long running requests may take after that.
    pub grace_ms: u64,
    /// How long background work may take after the last request.
    pub finish_ms: u64,
}

/// serde's own message says only that the syntax is wrong, also of `localhost:8080`.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom("must be an IP address and a port, such as 127.0.0.1:8080 or 0.0.0.0:8080")
    })
}

impl HttpSettings {
    /// A request's time at most.
    #[must_use]
    pub fn max_timeout(&self) -> Duration {
        Duration::from_millis(self.max_timeout_ms)
    }

    /// A request's time when its caller names none.
    #[must_use]
    pub fn default_timeout(&self) -> Duration {
        Duration::from_millis(self.default_timeout_ms)
    }

    /// How long background work may take after the last request.
    #[must_use]
    pub fn finish(&self) -> Duration {
        Duration::from_millis(self.finish_ms)
    }

    /// How long a request's body may take to arrive.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// How long bytes of an answer may wait for their client to take them.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Number of worker threads, resolved.
    #[must_use]
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            workers => workers,
        }
    }
}

impl Section for HttpSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require(self.workers <= 1024, "workers", "must be at most 1024");
        for (key, value) in [
            ("default_timeout_ms", self.default_timeout_ms),
            ("max_timeout_ms", self.max_timeout_ms),
            ("head_timeout_ms", self.head_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
        ] {
            faults.require(
                (1..=600_000).contains(&value),
                key,
                "must be between 1 and 600000 (ten minutes)",
            );
        }
        faults.require(
            self.default_timeout_ms <= self.max_timeout_ms,
            "default_timeout_ms",
            "must not be longer than max_timeout_ms",
        );
        faults.require(
            (1024..=64 << 20).contains(&self.body_limit_bytes),
            "body_limit_bytes",
            "must be between 1024 (1 KiB) and 67108864 (64 MiB)",
        );
        for (key, value) in [
            ("max_in_flight", self.max_in_flight),
            ("max_in_flight_per_domain", self.max_in_flight_per_domain),
        ] {
            faults.require(value > 0, key, "must be at least 1");
        }
        faults.require(self.drain_ms <= 60_000, "drain_ms", "must be at most 60000 (a minute)");
        faults.require(
            (1000..=300_000).contains(&self.grace_ms),
            "grace_ms",
            "must be between 1000 and 300000 (five minutes)",
        );
        faults.require(
            self.finish_ms <= 300_000,
            "finish_ms",
            "must be at most 300000 (five minutes)",
        );
    }
}
