//! The awc clients, and one exchange over them.
//!
//! awc's clients belong to a thread. Each upstream has one of its own on each thread that calls
//! it, so that a slow upstream cannot hold up the connections of a quick one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Once, Weak};
use std::time::Duration;

use actix_http::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use awc::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use awc::http::{StatusCode, Version};
use awc::{Client, ClientResponse, Connector};
use futures_util::StreamExt as _;

use super::Inner;
use super::call::{Call, Reply};
use super::error::UpstreamError;
use crate::platform::telemetry::trace::TraceContext;

/// Shorter than the idle limit of common servers (actix and Node.js: 5 s), so that it is usually
/// we who close an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// A connection is replaced after this, so that changed DNS records are noticed.
const LIFETIME: Duration = Duration::from_mins(1);

thread_local! {
    static CLIENTS: RefCell<HashMap<u64, (Weak<Inner>, Client)>> = RefCell::default();
}

/// This thread's client of an upstream. When one is made, those of upstreams that no longer
/// exist are dropped.
pub(super) fn of(upstream: &Inner, handle: impl FnOnce() -> Weak<Inner>) -> Client {
    CLIENTS.with_borrow_mut(|clients| {
        if let Some((_, client)) = clients.get(&upstream.id) {
            return client.clone();
        }
        clients.retain(|_, (upstream, _)| upstream.strong_count() > 0);
        let client = build(upstream);
        clients.insert(upstream.id, (handle(), client.clone()));
        client
    })
}

fn build(upstream: &Inner) -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen its provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let connect_timeout = upstream.settings.connect_timeout();
    let connector = Connector::new()
        .timeout(connect_timeout)
        .handshake_timeout(connect_timeout)
        .conn_keep_alive(KEEP_ALIVE)
        .conn_lifetime(LIFETIME)
        .limit(upstream.settings.concurrency)
        .max_http_version(Version::HTTP_11);
    // The time limit over head and body is ours: awc's covers the head only.
    let mut builder = Client::builder()
        .connector(connector)
        .max_http_version(Version::HTTP_11)
        .disable_redirects()
        .disable_timeout()
        .add_default_header(("User-Agent", concat!("fleet/", env!("CARGO_PKG_VERSION"))));
    if let Some(authorization) = &upstream.authorization {
        builder = builder.add_default_header((AUTHORIZATION, authorization.clone()));
    }
    builder.finish()
}

/// Sends one request and reads the whole answer. Has no time limit of its own.
pub(super) async fn exchange(
    client: Client,
    upstream: &Inner,
    call: &Call,
    trace: TraceContext,
) -> Result<Reply, UpstreamError> {
    let url = format!("{}{}", upstream.base_url, call.path);
    let mut request = client
        .request(call.http.clone(), url)
        .insert_header(("traceparent", trace.child().to_string()));
    for header in &call.headers {
        request = request.insert_header(header.clone());
    }
    let mut response = match &call.body {
        Some(body) => {
            request.insert_header((CONTENT_TYPE, "application/json")).send_body(body.clone())
        }
        None => request.send(),
    }
    .await?;

    let status = response.status();
    let retry_after = retry_after(response.headers());
    if !is_for_the_typed_client(status) {
        return Err(UpstreamError::Status { status, retry_after });
    }
    let length = announced_length(response.headers());
    let body = read_body(&mut response, length, upstream.settings.body_limit_bytes).await?;
    // awc ends the body quietly when the connection closes in the middle of it.
    if length.is_some_and(|length| length != body.len()) {
        return Err(UpstreamError::Closed);
    }
    Ok(Reply { status, body, retry_after, known_complete: length.is_some() })
}

/// Not those that say "not now", nor those that refuse our token, whatever was asked.
fn is_for_the_typed_client(status: StatusCode) -> bool {
    let refused = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
    );
    status.is_success() || (status.is_client_error() && !refused)
}

/// No upstream is left alone for longer, whatever it says.
const MOST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// `Retry-After` in seconds. The form with a date is ignored: it would make our waiting depend on
/// two clocks.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)).min(MOST_RETRY_AFTER))
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

async fn read_body(
    response: &mut ClientResponse,
    length: Option<usize>,
    limit: usize,
) -> Result<Bytes, UpstreamError> {
    if length.is_some_and(|length| length > limit) {
        return Err(UpstreamError::BodyTooLarge);
    }
    let mut body = BytesMut::with_capacity(length.unwrap_or_default());
    while let Some(chunk) = response.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::EncodingCorrupted => UpstreamError::Protocol("the body is not HTTP"),
            PayloadError::Overflow => UpstreamError::BodyTooLarge,
            _ => UpstreamError::Closed,
        })?;
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError::BodyTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::telemetry::metrics::Metrics;
    use crate::platform::upstream::{Upstream, UpstreamMetrics, UpstreamSettings};

    #[actix_web::test]
    async fn clients_of_upstreams_that_are_gone_do_not_pile_up() {
        let metrics = UpstreamMetrics::register(&Metrics::default());
        let settings = UpstreamSettings::default();
        let kept = Upstream::new("test", &settings, &metrics).expect("an upstream");
        let client = |upstream: &Upstream| {
            let inner = &upstream.inner;
            of(inner, || std::sync::Arc::downgrade(inner))
        };
        client(&kept);
        for _ in 0..10 {
            client(&Upstream::new("test", &settings, &metrics).expect("an upstream"));
        }
        client(&kept);
        assert_eq!(CLIENTS.with_borrow(HashMap::len), 2, "the kept one and the last");
    }
}
