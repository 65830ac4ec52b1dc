//! What the binary does beside serving: check, migrate, document, diagnose, probe.

#[cfg(feature = "deptrans-driver-status-integration")]
mod dead_letters;
mod doctor;
mod output;
mod probe;
#[cfg(feature = "tasks")]
mod tasks;

#[cfg(feature = "deptrans-driver-status-integration")]
pub use dead_letters::{DeadLetterCommand, dead_letters};
pub use doctor::{Finding, doctor};
pub use output::print;
pub use probe::probe;
#[cfg(feature = "tasks")]
pub use tasks::{TaskCommand, tasks};

use crate::app;
use crate::domains::COMPILED;
use crate::platform::config::database::DatabaseSettings;
use crate::platform::config::kafka::KafkaSettings;
use crate::platform::config::mqtt::MqttSettings;
use crate::platform::config::secrets::SecretSettings;
use crate::platform::config::tasks::TaskSettings;
use crate::platform::config::{Config, ConfigSource, CoreSettings, Fault, Section};
use crate::platform::domain::Domain;
use crate::platform::http;
use crate::platform::telemetry::metrics::Metrics;
use crate::wiring;

/// Everything that is wrong with a configuration, for the domains it enables.
///
/// # Errors
/// A file cannot be read.
pub fn check_config(source: &ConfigSource) -> anyhow::Result<Vec<Fault>> {
    let config = source.load()?;
    let mut faults = CoreSettings::read(&config, &app::KNOWN).err().unwrap_or_default();
    let mut add = |found: Vec<Fault>| {
        for fault in found {
            // Domains that share a section find its faults each.
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    };
    for domain in enabled(&config) {
        add(domain.check(&config));
        add(shared_faults(domain.as_ref(), &config));
    }
    Ok(faults)
}

/// Faults in the sections of what a domain uses together with others.
fn shared_faults(domain: &dyn Domain, config: &Config) -> Vec<Fault> {
    [
        section_faults::<DatabaseSettings>(uses_database(domain), config, "database"),
        section_faults::<TaskSettings>(domain.uses_tasks(), config, "tasks"),
        secret_faults(domain, config),
        kafka_faults(domain, config),
        section_faults::<MqttSettings>(domain.uses_mqtt(), config, "mqtt"),
        upstream_faults(domain, config),
    ]
    .concat()
}

fn section_faults<T: Section>(used: bool, config: &Config, name: &str) -> Vec<Fault> {
    if used { config.section::<T>(name).err().unwrap_or_default() } else { Vec::new() }
}

/// Few domains seal anything: the message says who.
fn secret_faults(domain: &dyn Domain, config: &Config) -> Vec<Fault> {
    let mut faults = section_faults::<SecretSettings>(domain.uses_secrets(), config, "secrets");
    for fault in &mut faults {
        fault.message = format!("{}; {} needs it", fault.message, domain.name());
    }
    faults
}

fn kafka_faults(domain: &dyn Domain, config: &Config) -> Vec<Fault> {
    let read = domain.uses_kafka().then(|| KafkaSettings::read(config));
    read.and_then(Result::err).unwrap_or_default()
}

#[cfg(feature = "database")]
fn uses_database(domain: &dyn Domain) -> bool {
    domain.migrations().is_some()
}

#[cfg(not(feature = "database"))]
fn uses_database(_: &dyn Domain) -> bool {
    false
}

#[cfg(feature = "upstream")]
fn upstream_faults(domain: &dyn Domain, config: &Config) -> Vec<Fault> {
    use crate::platform::upstream::UpstreamSettings;
    let faults =
        |name: &str| config.section::<UpstreamSettings>(&format!("upstreams.{name}")).err();
    domain.upstreams(config).into_iter().filter_map(faults).flatten().collect()
}

#[cfg(not(feature = "upstream"))]
fn upstream_faults(_: &dyn Domain, _: &Config) -> Vec<Fault> {
    Vec::new()
}

fn enabled(config: &Config) -> Vec<Box<dyn Domain>> {
    let names = config.enabled_domains(COMPILED).unwrap_or_else(|_| COMPILED.to_vec());
    wiring::make(&names, &Metrics::default())
}

/// The OpenAPI document of the compiled domains, as JSON.
///
/// # Errors
/// It cannot be written.
pub fn openapi() -> serde_json::Result<String> {
    let domains = wiring::make(COMPILED, &Metrics::default());
    http::document(&app::mount(domains.into())).to_pretty_json()
}

/// Migrates the schemas of the enabled domains and says what was done.
///
/// # Errors
/// The configuration is not valid, or the database refuses.
#[cfg(feature = "database")]
pub async fn migrate(source: &ConfigSource) -> anyhow::Result<()> {
    let config = source.load()?;
    let database = open(&config)?;
    for migrations in app::schemas(&enabled(&config)) {
        let applied = database.migrate(migrations).await.map_err(|error| told(&error))?;
        print(format_args!("{}: {applied} applied", migrations.schema))?;
    }
    Ok(())
}

/// The database of a configuration; connects to nothing yet. Must run on a multi-thread runtime.
#[cfg(feature = "database")]
fn open(config: &Config) -> anyhow::Result<crate::platform::database::Database> {
    let settings = config.section("database").map_err(|faults| anyhow::anyhow!(list(&faults)))?;
    let runtime = tokio::runtime::Handle::current();
    crate::platform::database::Database::new(settings, &Metrics::default(), runtime)
        .map_err(|error| told(&error))
}

#[cfg(feature = "database")]
fn told(error: &crate::platform::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{} ({})", error.detail(), error.chain())
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
