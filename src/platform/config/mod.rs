//! Configuration: one self-checking section a file.
//!
//! `default.toml` (built in), then files, then the environment. A section is read on its own, so
//! that a fault in one domain's section concerns that domain alone, and every fault of a section is
//! found in one go.

pub mod auth;
pub mod database;
mod faults;
pub mod http;
pub mod kafka;
pub mod mqtt;
mod numbers;
pub mod secrets;
mod section;
mod source;
mod strict;
pub mod tasks;
pub mod telemetry;

pub use faults::{Fault, Faults};
pub use section::Section;
pub use source::{Config, ConfigSource, KnownNames, LoadError};

use auth::AuthSettings;
use http::HttpSettings;
use telemetry::TelemetrySettings;

/// What every process reads, whichever domains it serves.
#[derive(Debug)]
pub struct CoreSettings {
    /// Names of the enabled domains, in the order of the code's list.
    pub domains: Vec<&'static str>,
    /// The server.
    pub http: HttpSettings,
    /// The callers.
    pub auth: AuthSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

impl CoreSettings {
    /// The built-in defaults, for commands that read no configuration.
    ///
    /// # Errors
    /// Never with the committed defaults, which a test holds valid.
    pub fn defaults() -> Result<Self, LoadError> {
        let config = ConfigSource::default().load()?;
        let invalid = |faults: Vec<Fault>| {
            LoadError::from(::config::ConfigError::Message(format!("{faults:?}")))
        };
        let (http, auth, telemetry) =
            (config.section("http"), config.section("auth"), config.section("telemetry"));
        Ok(Self {
            domains: Vec::new(),
            http: http.map_err(invalid)?,
            auth: auth.map_err(invalid)?,
            telemetry: telemetry.map_err(invalid)?,
        })
    }

    /// Reads the common sections; `names` are those that may stand there.
    ///
    /// # Errors
    /// Every fault of these sections, and every unknown top-level key.
    pub fn read(config: &Config, names: &KnownNames) -> Result<Self, Vec<Fault>> {
        let mut faults = config.unknown_sections(names);
        let mut take = |found: Vec<Fault>| faults.extend(found);
        let domains = config.enabled_domains(names.compiled).map_err(&mut take);
        let http = config.section("http").map_err(&mut take);
        let auth: Result<AuthSettings, ()> = config.section("auth").map_err(&mut take);
        let telemetry = config.section("telemetry").map_err(&mut take);
        faults.extend(auth.iter().flat_map(|auth| auth.unknown_domains(names.sections)));
        match (domains, http, auth, telemetry) {
            (Ok(domains), Ok(http), Ok(auth), Ok(telemetry)) if faults.is_empty() => {
                Ok(Self { domains, http, auth, telemetry })
            }
            _ => Err(faults),
        }
    }
}
