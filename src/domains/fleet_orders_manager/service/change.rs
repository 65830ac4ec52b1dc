//! Editing and cancelling an order, each based on a revision.

use actix_web::web::Bytes;
use serde_json::json;

use super::{Asker, Orders, Phone, failure, not_found};
use crate::domains::fleet_orders_manager::members::{Members, OF_ORDERS};
use crate::domains::fleet_orders_manager::metrics::Step;
use crate::domains::fleet_orders_manager::model::{Cancel, Edit};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::OrderId;
use crate::upstreams::int_api::IntApiError;

/// How often a cancellation without a revision is tried when the order keeps changing.
const CANCEL_ATTEMPTS: usize = 3;

impl Orders {
    /// Changes what the body names.
    pub(in super::super) async fn edit(
        &self,
        asker: &Asker,
        edit: &Edit,
        body: &[u8],
    ) -> Result<Bytes> {
        let work = async {
            let members = Members::read(body, OF_ORDERS)?;
            let mut added = self.ours(asker);
            if let Some(phone) = Phone::kept(edit.phone.as_deref()) {
                let id = self.phone_id(&asker.context, phone).await?;
                added.insert("personal_phone_id".to_owned(), json!(id));
            }
            let body = members.body(&["phone"], &added)?;
            match self.int_api.edit(&asker.context, body).await {
                Err(error) => Err(self.with_current(asker, &edit.order_id, error).await),
                Ok(body) => Ok(body),
            }
        };
        let result = work.await;
        self.metrics.step(Step::Edited, &result);
        result
    }

    /// Cancels an order as the caller saw it, or, without a revision, as it is.
    pub(in super::super) async fn cancel(
        &self,
        asker: &Asker,
        cancel: &Cancel,
        body: &[u8],
    ) -> Result<Bytes> {
        let result = match cancel.revision {
            Some(_) => self.cancel_as_seen(asker, cancel, body).await,
            None => self.cancel_as_it_is(asker, cancel, body).await,
        };
        self.metrics.step(Step::Cancelled, &result);
        result
    }

    async fn cancel_as_seen(&self, asker: &Asker, cancel: &Cancel, body: &[u8]) -> Result<Bytes> {
        let body = Members::read(body, OF_ORDERS)?.body(&[], &self.ours(asker))?;
        match self.int_api.cancel(&asker.context, body).await {
            Err(error) => Err(self.with_current(asker, &cancel.order_id, error).await),
            Ok(body) => Ok(body),
        }
    }

    async fn cancel_as_it_is(&self, asker: &Asker, cancel: &Cancel, body: &[u8]) -> Result<Bytes> {
        let mut last = None;
        for _ in 0..CANCEL_ATTEMPTS {
            let id = cancel.order_id.as_str();
            let shown = self.int_api.info(&asker.context, &asker.park, id).await;
            let order = shown.map_err(failure)?.ok_or_else(not_found)?.order;
            let mut added = self.ours(asker);
            let revision = serde_json::from_str(order.revision.get()).map_err(Error::internal)?;
            added.insert("revision".to_owned(), revision);
            let body = Members::read(body, OF_ORDERS)?.body(&["revision"], &added)?;
            match self.int_api.cancel(&asker.context, body).await {
                Ok(body) => return Ok(body),
                Err(error) if is_stale(&error) => last = Some(error),
                Err(error) => return Err(failure(error)),
            }
        }
        match last {
            Some(error) => Err(self.with_current(asker, &cancel.order_id, error).await),
            None => Err(not_found()),
        }
    }

    /// A stale revision is answered with the order as it is now, if `int-api` can show it.
    async fn with_current(&self, asker: &Asker, id: &OrderId, error: IntApiError) -> Error {
        if !is_stale(&error) {
            return failure(error);
        }
        let detail = "The order was changed since this revision; see `current`.";
        let conflict = Error::new(Kind::Conflict, "revision_conflict", detail);
        match self.int_api.info(&asker.context, &asker.park, id.as_str()).await {
            Ok(Some(shown)) => {
                match serde_json::from_slice::<Box<serde_json::value::RawValue>>(&shown.body) {
                    Ok(current) => conflict.with_extension("current", &current),
                    Err(_) => conflict,
                }
            }
            Ok(None) => not_found(),
            Err(_) => conflict,
        }
    }
}

fn is_stale(error: &IntApiError) -> bool {
    matches!(error, IntApiError::Refused(refusal) if refusal.is("revision_conflict"))
}
