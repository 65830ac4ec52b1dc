//! A look whether the broker lets us in, for people who look for trouble.

use std::time::Duration;

use super::Mqtt;
use crate::platform::config::mqtt::MqttSettings;
use crate::platform::telemetry::metrics::Metrics;

/// How often the first attempt is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Connects and takes leave again.
///
/// # Errors
/// What kept it from connecting within `patience`, in the words of `/readyz`.
pub async fn probe(settings: MqttSettings, patience: Duration) -> Result<(), &'static str> {
    let runtime = tokio::runtime::Handle::current();
    let mqtt = Mqtt::open(settings, &Metrics::default(), &runtime).map_err(|_| "tls_files")?;
    let first_attempt = async {
        loop {
            match mqtt.trouble() {
                Some("not_connected") => tokio::time::sleep(LOOK).await,
                other => return other,
            }
        }
    };
    let trouble = tokio::time::timeout(patience, first_attempt).await.unwrap_or(Some("timeout"));
    mqtt.close(Duration::from_millis(500)).await;
    trouble.map_or(Ok(()), Err)
}
