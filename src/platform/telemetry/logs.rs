//! Logs: JSON lines on standard output, one span context a line.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::otlp;
use super::span_fields::SpanFields;
use crate::platform::config::telemetry::TelemetrySettings;

/// Installs the process's subscriber, and a panic hook that logs where a panic happened but not
/// its message, which may hold a caller's data. Called once, at start.
///
/// # Errors
/// A subscriber is installed already, or the trace endpoint is unusable.
pub fn install(
    settings: &TelemetrySettings,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&settings.log)?.and(filter_fn(tells_nothing_personal));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .fmt_fields(SpanFields);
    let traces = settings
        .otlp_endpoint
        .as_deref()
        .map(|endpoint| otlp::start(endpoint, settings.trace_ratio))
        .transpose()?
        .map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer))
        .map(|layer| layer.with_filter(LevelFilter::INFO));
    tracing_subscriber::registry().with(traces).with(lines.with_filter(filter)).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}

/// Below `info`, libraries print what they carry: tokio-postgres the parameters of statements. So
/// whatever the filter says, only our own lines go that far.
fn tells_nothing_personal(line: &Metadata<'_>) -> bool {
    let crate_name = line.target().split("::").next();
    *line.level() <= Level::INFO || crate_name == Some(env!("CARGO_CRATE_NAME"))
}
