//! `fleet-customers` in another process, through its `internal` routes.

use awc::http::StatusCode;
use awc::http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::upstream::{
    Answer, Call, Reply, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

const UPSERT: &str = "/fleet-customers/internal/v1/customers/upsert";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The code of an order that an erasure swallowed.
const ERASED: &str = "customer_erased";

/// The client of `fleet-customers`. Cheap to clone.
#[derive(Clone)]
pub struct FleetCustomers {
    upstream: Upstream,
}

#[derive(Deserialize)]
struct Whatever {}

impl FleetCustomers {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("fleet_customers", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// Records what an order tells of a customer, once for each `key`. A key that was used before
    /// with another body has done its work.
    ///
    /// # Errors
    /// `invalid_request` for a body that is not taken; `customer_erased` for an order from before its
    /// passenger's erasure; `fleet_customers_unavailable`.
    pub async fn upsert(&self, ctx: &Context, key: &str, body: &impl Serialize) -> Result<()> {
        let unavailable = |error: UpstreamError| error.into_error("fleet_customers_unavailable");
        let key = HeaderValue::from_str(key).map_err(Error::internal)?;
        let call = Call::post("customers_upsert", UPSERT, body).map_err(unavailable)?;
        let call = call.header(IDEMPOTENCY_KEY, key).idempotent();
        match self.upstream.call_json::<Whatever>(ctx, call).await.map_err(unavailable)? {
            Answer::Ok(_) => Ok(()),
            Answer::Refused(reply) if reply.status == StatusCode::UNPROCESSABLE_ENTITY => Ok(()),
            Answer::Refused(reply) if reply.code().as_deref() == Some(ERASED) => {
                let detail = "The passenger was erased after this order was placed.";
                Err(Error::new(Kind::Conflict, ERASED, detail))
            }
            Answer::Refused(reply) => Err(refusal(&reply)),
        }
    }
}

fn refusal(reply: &Reply) -> Error {
    let cause = reply.unexpected();
    match reply.status {
        StatusCode::BAD_REQUEST => {
            Error::new(Kind::InvalidInput, "invalid_request", "fleet-customers does not take it.")
                .with_source(cause)
        }
        _ => cause.into_error("fleet_customers_unavailable"),
    }
}
