//! Traces over OTLP/HTTP. Off unless an endpoint is configured.

use std::sync::OnceLock;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace::TraceContext;

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts exporting to `endpoint`; the tracer goes into a subscriber layer.
///
/// # Errors
/// The endpoint is no address.
pub fn start(
    endpoint: &str,
    ratio: f64,
) -> Result<SdkTracer, Box<dyn std::error::Error + Send + Sync>> {
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(Resource::builder().with_service_name("fleet").build())
        .build();
    let tracer = provider.tracer("fleet");
    let _ = PROVIDER.set(provider);
    Ok(tracer)
}

/// Whether traces leave this process.
#[must_use]
pub fn is_on() -> bool {
    PROVIDER.get().is_some()
}

/// Makes `span` a child of the caller's, if it named one, and returns the trace that the span is
/// part of; `None` without an exporter. Without a caller's decision the sampler's ratio decides.
#[must_use]
pub fn adopt(span: &Span, caller: Option<TraceContext>) -> Option<TraceContext> {
    if !is_on() {
        return None;
    }
    if let Some(caller) = caller {
        let remote = SpanContext::new(
            TraceId::from_bytes(caller.trace_id.to_be_bytes()),
            SpanId::from_bytes(caller.span_id.to_be_bytes()),
            if caller.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
            true,
            TraceState::default(),
        );
        let parent = opentelemetry::Context::new().with_remote_span_context(remote);
        span.set_parent(parent).ok()?;
    }
    let own = span.context().span().span_context().clone();
    own.is_valid().then(|| TraceContext {
        trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(own.span_id().to_bytes()),
        sampled: own.is_sampled(),
    })
}

/// Sends what is buffered; called once, late in the stop. Blocks for at most a few seconds.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown()
    {
        tracing::warn!(%error, "traces could not be flushed");
    }
}
