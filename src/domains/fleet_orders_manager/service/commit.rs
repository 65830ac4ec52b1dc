//! Committing a draft. The caller commits until it is answered 200 or 4xx, so a 4xx must be final
//! and a 200 true, whatever happens on the way to `int-api` and back.

use std::time::Duration;

use actix_web::web::Bytes;
use serde_json::json;
use tokio::time::sleep;

use super::{Asker, Orders, failure, named, out_of_time};
use crate::domains::fleet_orders_manager::members::{Members, OF_ORDERS};
use crate::domains::fleet_orders_manager::metrics::Step;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::OrderId;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::int_api::{IntApiError, OrderState};

/// Pauses between attempts within one request; after the last the caller is to come back.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];
/// What of the time is kept back in an attempt, for asking what became of it.
const FOR_ASKING: f64 = 0.3;

/// How an attempt ended without a commit.
enum Ended {
    /// It will never succeed.
    Finally(Error),
    /// It may succeed later, or has; `int-api` may have said when it wants to be asked again.
    ForNow(Error, Option<Duration>),
}

impl Orders {
    /// Commits a draft; again, for one that was committed, changes nothing.
    pub(in super::super) async fn commit(
        &self,
        asker: &Asker,
        id: &OrderId,
        body: &[u8],
    ) -> Result<Bytes> {
        let work = async {
            let added = named([("park_id", json!(asker.park))]);
            let body = Members::read(body, OF_ORDERS)?.body(&[], &added)?;
            self.commit_within_deadline(asker, id, body).await
        };
        let result = work.await;
        self.metrics.step(Step::Committed, &result);
        if let (Ok(_), Some(recorder)) = (&result, &self.recorder) {
            recorder.committed(&asker.context, &asker.park, id);
        }
        result
    }

    async fn commit_within_deadline(
        &self,
        asker: &Asker,
        id: &OrderId,
        body: Bytes,
    ) -> Result<Bytes> {
        let mut pauses = PAUSES.iter();
        loop {
            let (error, after) = match self.attempt(asker, id, body.clone()).await {
                Ok(body) => return Ok(body),
                Err(Ended::Finally(error)) => return Err(error),
                Err(Ended::ForNow(error, after)) => (error, after),
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let pause = (*pause).max(after.unwrap_or_default());
            if pause >= asker.context.deadline.remaining() {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// One attempt; when it breaks after it was sent, the order says what became of it.
    async fn attempt(&self, asker: &Asker, id: &OrderId, body: Bytes) -> Result<Bytes, Ended> {
        let context = asker.context.keeping_back(FOR_ASKING);
        match self.int_api.commit(&context, body).await {
            Ok(body) => Ok(body),
            Err(IntApiError::Unavailable(error)) if error.may_have_taken_effect() => {
                self.what_became_of_it(asker, id, error).await
            }
            Err(IntApiError::Refused(refusal)) if !refusal.is_transient() => {
                Err(Ended::Finally(failure(IntApiError::Refused(refusal))))
            }
            Err(error) => {
                let after = error.retry_after();
                Err(Ended::ForNow(failure(error), after))
            }
        }
    }

    async fn what_became_of_it(
        &self,
        asker: &Asker,
        id: &OrderId,
        broke: UpstreamError,
    ) -> Result<Bytes, Ended> {
        match self.int_api.info(&asker.context, &asker.park, id.as_str()).await {
            Ok(Some(shown)) if shown.order.is_committed() => Ok(committed(id, &shown.order)),
            Ok(Some(shown)) if shown.order.is_cancelled() => Err(Ended::Finally(cancelled())),
            _ => {
                let after = broke.retry_after();
                let error = out_of_time(super::INT_API)
                    .with_retry_after(after.unwrap_or_default().max(super::RETRY_AFTER));
                Err(Ended::ForNow(error.with_source(broke), after))
            }
        }
    }
}

/// The answer that the broken call would have given.
fn committed(id: &OrderId, order: &OrderState) -> Bytes {
    json!({ "order_id": id, "status": order.status }).to_string().into()
}

fn cancelled() -> Error {
    Error::new(Kind::Conflict, "order_cancelled", "The order was cancelled.")
}
