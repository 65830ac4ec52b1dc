//! What the binary does beside serving: check, migrate, document, diagnose.

use std::time::Duration;

use crate::app::{self, compiled};
use crate::platform::config::{Config, ConfigSource, CoreSettings, Fault};
use crate::platform::domain::Domain;
use crate::platform::http;
use crate::platform::telemetry::metrics::Metrics;

/// How long `doctor` waits for one dependency.
const PATIENCE: Duration = Duration::from_secs(3);

/// Everything that is wrong with a configuration, for the domains it enables.
///
/// # Errors
/// A file cannot be read.
pub fn check_config(source: &ConfigSource) -> anyhow::Result<Vec<Fault>> {
    let config = source.load()?;
    let mut faults = CoreSettings::read(&config, &compiled()).err().unwrap_or_default();
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
    let mut faults: Vec<Fault> = Vec::new();
    #[cfg(feature = "database")]
    if domain.migrations().is_some() {
        use crate::platform::config::database::DatabaseSettings;
        faults.extend(config.section::<DatabaseSettings>("database").err().unwrap_or_default());
    }
    #[cfg(feature = "upstream")]
    for name in domain.upstreams() {
        use crate::platform::upstream::UpstreamSettings;
        let section = format!("upstreams.{name}");
        faults.extend(config.section::<UpstreamSettings>(&section).err().unwrap_or_default());
    }
    let _ = (&mut faults, domain, config);
    faults
}

fn enabled(config: &Config) -> Vec<Box<dyn Domain>> {
    let names = config.enabled_domains(&compiled()).unwrap_or_else(|_| compiled());
    app::make(&names, &Metrics::default())
}

/// The OpenAPI document of the compiled domains, as JSON.
///
/// # Errors
/// It cannot be written.
pub fn openapi() -> serde_json::Result<String> {
    let domains = app::make(&compiled(), &Metrics::default());
    http::document(&app::mount(domains.into())).to_pretty_json()
}

/// Migrates the schemas of the enabled domains and says what was done.
///
/// # Errors
/// The configuration is not valid, or the database refuses.
#[cfg(feature = "database")]
pub async fn migrate(source: &ConfigSource) -> anyhow::Result<()> {
    use crate::platform::database::{Database, idempotency::PLATFORM};
    let config = source.load()?;
    let settings = config.section("database").map_err(|faults| anyhow::anyhow!(list(&faults)))?;
    let database = Database::new(settings, &Metrics::default(), tokio::runtime::Handle::current())
        .map_err(|error| told(&error))?;
    let owned = enabled(&config).into_iter().filter_map(|domain| domain.migrations());
    for migrations in std::iter::once(PLATFORM).chain(owned) {
        let applied = database.migrate(migrations).await.map_err(|error| told(&error))?;
        println!("{}: {applied} applied", migrations.schema);
    }
    Ok(())
}

/// One finding of [`doctor`].
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// `None` when it is well, else what is wrong and what to do.
    pub trouble: Option<String>,
}

/// Tries the configuration and every dependency of the enabled domains.
///
/// # Errors
/// A configuration file cannot be read.
pub async fn doctor(source: &ConfigSource) -> anyhow::Result<Vec<Finding>> {
    let config = source.load()?;
    let faults = check_config(source)?;
    let trouble = (!faults.is_empty()).then(|| {
        format!("{}; mend these keys (fleet check-config shows them alone)", list(&faults))
    });
    let mut findings = vec![Finding { subject: "configuration".to_owned(), trouble }];
    let domains = enabled(&config);
    #[cfg(feature = "database")]
    if domains.iter().any(|domain| domain.migrations().is_some()) {
        findings.push(database_finding(&config, &domains).await);
    }
    #[cfg(feature = "upstream")]
    {
        let mut names: Vec<&str> =
            domains.iter().flat_map(|domain| domain.upstreams()).copied().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            findings.push(upstream_finding(&config, name).await);
        }
    }
    let _ = (domains, PATIENCE);
    Ok(findings)
}

#[cfg(feature = "database")]
async fn database_finding(config: &Config, domains: &[Box<dyn Domain>]) -> Finding {
    use crate::platform::database::{Database, idempotency::PLATFORM};
    let subject = "postgresql".to_owned();
    let Ok(settings) = config.section("database") else {
        let trouble = Some("not tried: its section is not valid".to_owned());
        return Finding { subject, trouble };
    };
    let handle = tokio::runtime::Handle::current();
    let try_it = async {
        let database = Database::new(settings, &Metrics::default(), handle)?;
        let mut pending = 0;
        for migrations in domains.iter().filter_map(|domain| domain.migrations()).chain([PLATFORM])
        {
            pending += database.pending(migrations).await?;
        }
        Ok::<usize, crate::platform::error::Error>(pending)
    };
    let trouble = match tokio::time::timeout(PATIENCE, try_it).await {
        Ok(Ok(0)) => None,
        Ok(Ok(pending)) => Some(format!("{pending} migrations are pending; run: fleet migrate")),
        Ok(Err(error)) => Some(format!(
            "{}; is it running, and are host, user and password in database.url right?",
            error.chain()
        )),
        Err(_) => Some("no answer in 3 s; is database.url's host reachable from here?".to_owned()),
    };
    Finding { subject, trouble }
}

#[cfg(feature = "upstream")]
async fn upstream_finding(config: &Config, name: &str) -> Finding {
    use crate::platform::upstream::{UpstreamSettings, probe};
    let subject = format!("upstreams.{name}");
    let trouble = match config.section::<UpstreamSettings>(&subject) {
        Err(_) => Some("not tried: its section is not valid".to_owned()),
        Ok(settings) => probe(&settings, PATIENCE)
            .await
            .err()
            .map(|error| format!("{error}; is base_url right, and does it run?")),
    };
    Finding { subject, trouble }
}

#[cfg(feature = "database")]
fn told(error: &crate::platform::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{} ({})", error.detail(), error.chain())
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
