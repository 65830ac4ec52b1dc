//! `fleet doctor`: tries everything once and says what to do.

use crate::platform::config::{Config, ConfigSource};
use crate::platform::domain::Domain;

/// One thing that was looked at.
pub struct Finding {
    /// What it is.
    pub subject: String,
    /// `None` when it is well, else what is wrong and what to do.
    pub trouble: Option<String>,
}

/// Tries the configuration and every dependency of the enabled domains. Must run where local tasks
/// can be spawned.
///
/// # Errors
/// A configuration file cannot be read.
pub async fn doctor(source: &ConfigSource) -> anyhow::Result<Vec<Finding>> {
    let config = source.load()?;
    let faults = super::check_config(source)?;
    let trouble = (!faults.is_empty()).then(|| {
        format!("{}; mend these keys (fleet check-config shows them alone)", super::list(&faults))
    });
    let mut findings = vec![Finding { subject: "configuration".to_owned(), trouble }];
    let domains = super::enabled(&config);
    findings.extend(database(&config, &domains).await);
    findings.extend(kafka(&config, &domains).await);
    findings.extend(mqtt(&config, &domains).await);
    findings.extend(upstreams(&config, &domains).await);
    Ok(findings)
}

#[cfg(any(feature = "database", feature = "kafka", feature = "mqtt", feature = "upstream"))]
const SECTION_INVALID: &str = "not tried: its section is not valid";

/// How long one dependency has to answer.
#[cfg(any(feature = "database", feature = "kafka", feature = "mqtt", feature = "upstream"))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

#[cfg(feature = "database")]
async fn database(config: &Config, domains: &[Box<dyn Domain>]) -> Option<Finding> {
    use crate::platform::database::Database;
    use crate::platform::error::Error;
    use crate::platform::telemetry::metrics::Metrics;
    let schemas = crate::app::schemas(domains);
    if schemas.is_empty() {
        return None;
    }
    let subject = "postgresql".to_owned();
    let Ok(settings) = config.section("database") else {
        return Some(Finding { subject, trouble: Some(SECTION_INVALID.to_owned()) });
    };
    let count_pending = async {
        let runtime = tokio::runtime::Handle::current();
        let database = Database::new(settings, &Metrics::default(), runtime)?;
        let mut pending = 0;
        for migrations in schemas {
            pending += database.pending(migrations).await?;
        }
        Ok::<usize, Error>(pending)
    };
    let trouble = match tokio::time::timeout(PATIENCE, count_pending).await {
        Ok(Ok(0)) => None,
        Ok(Ok(pending)) => Some(format!("{pending} migrations are pending; run: fleet migrate")),
        Ok(Err(error)) => Some(format!(
            "{}; does it run, and are host, user and password in database.url right?",
            error.chain()
        )),
        Err(_) => Some("no answer in 3 s; is the host in database.url reachable?".to_owned()),
    };
    Some(Finding { subject, trouble })
}

#[cfg(not(feature = "database"))]
async fn database(_: &Config, _: &[Box<dyn Domain>]) -> Option<Finding> {
    None
}

#[cfg(feature = "kafka")]
async fn kafka(config: &Config, domains: &[Box<dyn Domain>]) -> Option<Finding> {
    use crate::platform::config::kafka::KafkaSettings;
    use crate::platform::kafka::look;
    domains.iter().find(|domain| domain.uses_kafka())?;
    let subject = "kafka".to_owned();
    let Ok(settings) = config.section::<KafkaSettings>("kafka") else {
        return Some(Finding { subject, trouble: Some(SECTION_INVALID.to_owned()) });
    };
    if !settings.is_on() {
        return None;
    }
    let looked = tokio::task::spawn_blocking(move || look(&settings, PATIENCE)).await;
    let trouble = match looked {
        Ok(Ok(())) => None,
        Ok(Err(trouble)) => Some(format!(
            "{trouble}; are brokers, topic and security in kafka right, and does it run? (Without \
             Kafka: kafka.brokers = \"\")"
        )),
        Err(error) => Some(error.to_string()),
    };
    Some(Finding { subject, trouble })
}

#[cfg(not(feature = "kafka"))]
async fn kafka(_: &Config, _: &[Box<dyn Domain>]) -> Option<Finding> {
    None
}

#[cfg(feature = "mqtt")]
async fn mqtt(config: &Config, domains: &[Box<dyn Domain>]) -> Option<Finding> {
    use crate::platform::mqtt::probe;
    domains.iter().find(|domain| domain.uses_mqtt())?;
    let subject = "mqtt".to_owned();
    let Ok(settings) = config.section("mqtt") else {
        return Some(Finding { subject, trouble: Some(SECTION_INVALID.to_owned()) });
    };
    let what_to_do = |trouble: &str| match trouble {
        "refused" => "are username and password right?",
        "tls" | "tls_files" => {
            "is the broker's certificate signed by mqtt.ca_file, for the host in \
             mqtt.url, and does the broker know ours, if it wants one?"
        }
        _ => "does it run, and is mqtt.url right?",
    };
    let trouble = probe(settings, PATIENCE).await.err();
    let trouble = trouble.map(|trouble| format!("{trouble}; {}", what_to_do(trouble)));
    Some(Finding { subject, trouble })
}

#[cfg(not(feature = "mqtt"))]
async fn mqtt(_: &Config, _: &[Box<dyn Domain>]) -> Option<Finding> {
    None
}

#[cfg(feature = "upstream")]
async fn upstreams(config: &Config, domains: &[Box<dyn Domain>]) -> Vec<Finding> {
    use crate::platform::upstream::{UpstreamSettings, probe};
    let names: std::collections::BTreeSet<&str> =
        domains.iter().flat_map(|domain| domain.upstreams(config)).collect();
    let mut findings = Vec::new();
    for name in names {
        let mut subject = format!("upstreams.{name}");
        let trouble = match config.section::<UpstreamSettings>(&subject) {
            Err(_) => Some(SECTION_INVALID.to_owned()),
            Ok(settings) => match probe(&settings, PATIENCE).await {
                Ok(()) => None,
                Err(error) => Some(format!("{error}; does it run, and is its base_url right?")),
            },
        };
        // What a token is good for would be known only by a call that does something.
        if trouble.is_none() {
            subject.push_str(": it answers (the token is not tried; /readyz tells)");
        }
        findings.push(Finding { subject, trouble });
    }
    findings
}

#[cfg(not(feature = "upstream"))]
async fn upstreams(_: &Config, _: &[Box<dyn Domain>]) -> Vec<Finding> {
    Vec::new()
}
