//! The rules. Plain values in and out; no HTTP.

mod change;
mod commit;

use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::members::{Members, OF_ORDERS, OF_SEARCHES};
use super::metrics::{OrderMetrics, Step};
use super::model::OrderRequest;
use super::parks::ParkCache;
use super::recorder::Recorder;
use super::settings::OrdersSettings;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{OrderId, ParkId, PersonalId};
use crate::platform::readiness::ReadinessRow;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::fleet_customers::FleetCustomers;
use crate::upstreams::int_api::{IntApi, IntApiError, Refusal};
use crate::upstreams::personal::{Personal, PersonalError, PersonalKind};

/// What of a caller's time is kept back, so that the answer says which upstream took the rest.
const KEPT_BACK: f64 = 0.05;
/// When nothing better is known, callers are told to come back after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The code of an `int-api` that cannot serve.
const INT_API: &str = "int_api_unavailable";

/// Orders of parks.
pub struct Orders {
    pub(super) int_api: IntApi,
    pub(super) personal: Personal,
    pub(super) parks: ParkCache,
    /// Where it is another process.
    pub(super) fleet_customers: Option<FleetCustomers>,
    pub(super) recorder: Option<Recorder>,
    pub(super) settings: OrdersSettings,
    pub(super) metrics: OrderMetrics,
}

/// Who asks: a dispatcher of a park.
pub(super) struct Asker {
    pub context: Context,
    pub park: ParkId,
    pub dispatcher_id: i64,
}

impl Asker {
    /// With a little of the time kept back for the answer.
    pub fn new(context: &Context, park: ParkId, dispatcher_id: i64) -> Self {
        Self { context: context.keeping_back(KEPT_BACK), park, dispatcher_id }
    }
}

impl Orders {
    /// What it depends on, as far as calls have shown.
    pub(super) fn dependencies(&self) -> Vec<ReadinessRow> {
        let customers = self.fleet_customers.as_ref();
        let customers = customers.map(|it| ReadinessRow::of("fleet_customers", it.trouble()));
        let mut rows = vec![
            ReadinessRow::of("int_api", self.int_api.trouble()),
            ReadinessRow::of("fleet_parks", self.parks.trouble()),
            ReadinessRow::of("personal", self.personal.trouble()),
        ];
        rows.extend(customers);
        rows
    }

    /// Prices and arrival times. Stores nothing anywhere.
    pub(super) async fn estimate(
        &self,
        asker: &Asker,
        request: &OrderRequest,
        body: &[u8],
    ) -> Result<Bytes> {
        let work = async {
            let phone = Phone::known(request.phone.as_deref());
            let body = self.enriched(asker, phone, Members::read(body, OF_ORDERS)?).await?;
            self.int_api.estimate(&asker.context, body).await.map_err(failure)
        };
        let result = work.await;
        self.metrics.step(Step::Estimated, &result);
        result
    }

    /// A draft. The same `key` makes no second one; without a key each call makes its own, and is
    /// repeated to `int-api` under a key that nobody else has.
    pub(super) async fn draft(
        &self,
        asker: &Asker,
        key: Option<&str>,
        request: &OrderRequest,
        body: &[u8],
    ) -> Result<Bytes> {
        let work = async {
            let phone = Phone::kept(request.phone.as_deref());
            let body = self.enriched(asker, phone, Members::read(body, OF_ORDERS)?).await?;
            let made = Uuid::now_v7().to_string();
            let key = key.unwrap_or(&made);
            self.int_api.draft(&asker.context, key, body).await.map_err(failure)
        };
        let result = work.await;
        self.metrics.step(Step::Drafted, &result);
        result
    }

    /// The park's unfinished orders on a phone. Stores nothing anywhere.
    pub(super) async fn active_by_phone(
        &self,
        asker: &Asker,
        phone: &str,
        body: &[u8],
    ) -> Result<Bytes> {
        let members = Members::read(body, OF_SEARCHES)?;
        let search = |id: &str| {
            let added = [
                ("park_id", json!(asker.park)),
                ("personal_phone_id", json!(id)),
                ("states", json!(["active"])),
            ];
            members.body(&["phone"], &named(added))
        };
        let Some(id) = self.phone_id(&asker.context, Phone::Known(phone)).await? else {
            let nobody = Uuid::new_v4().simple().to_string();
            return self.nobodys_orders(asker, search(&nobody)?).await;
        };
        self.int_api.active(&asker.context, search(id.as_str())?).await.map_err(failure)
    }

    /// No orders, in the time that looking for some takes: it must not tell whether any park knows
    /// the number.
    async fn nobodys_orders(&self, asker: &Asker, search: Bytes) -> Result<Bytes> {
        match self.int_api.active(&asker.context, search).await {
            Ok(_) | Err(IntApiError::Refused(_)) => Ok(Bytes::from_static(br#"{"orders":[]}"#)),
            Err(error) => Err(failure(error)),
        }
    }

    /// The park's order as it is.
    pub(super) async fn order(&self, asker: &Asker, id: &OrderId) -> Result<Bytes> {
        let shown = self.int_api.info(&asker.context, &asker.park, id.as_str()).await;
        shown.map_err(failure)?.map(|shown| shown.body).ok_or_else(not_found)
    }

    /// What `int-api` is sent for an estimate or a draft.
    async fn enriched(
        &self,
        asker: &Asker,
        phone: Option<Phone<'_>>,
        members: Members<'_>,
    ) -> Result<Bytes> {
        let park = self.parks.get(&asker.context, &asker.park).await?;
        let mut added = self.ours(asker);
        for (name, value) in [
            ("dispatch_mode", &park.dispatch_mode),
            ("locale", &park.locale),
            ("currency", &park.currency),
            ("time_zone", &park.time_zone),
        ] {
            added.insert(name.to_owned(), value.as_str().into());
        }
        if let Some(phone) = phone {
            let id = self.phone_id(&asker.context, phone).await?;
            added.extend(id.map(|id| ("personal_phone_id".to_owned(), json!(id))));
        }
        members.body(&["phone"], &added)
    }

    /// What every change tells `int-api` of where it comes from.
    fn ours(&self, asker: &Asker) -> serde_json::Map<String, Value> {
        named([
            ("park_id", json!(asker.park)),
            ("dispatcher_id", json!(asker.dispatcher_id)),
            ("source", json!(self.settings.source)),
        ])
    }

    /// The id of a phone, if it has one.
    async fn phone_id(&self, context: &Context, phone: Phone<'_>) -> Result<Option<PersonalId>> {
        let (Phone::Known(text) | Phone::Kept(text)) = phone;
        let number = self.settings.default_region.to_e164(text);
        let number = number.map_err(|error| Error::invalid("/phone", error.to_string()))?;
        let id = match phone {
            Phone::Known(_) => self.personal.find(context, PersonalKind::Phones, &number).await,
            Phone::Kept(_) => {
                self.personal.store(context, PersonalKind::Phones, &number).await.map(Some)
            }
        };
        let id = id.map_err(|error| match error {
            PersonalError::BadValue => Error::invalid("/phone", "is not a phone number"),
            PersonalError::Unavailable(error) => unavailable(error, "personal_unavailable"),
        })?;
        id.map(|id| PersonalId::parse(&id).map_err(Error::internal)).transpose()
    }
}

/// Members that this server says.
fn named<const N: usize>(members: [(&str, Value); N]) -> serde_json::Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What is to be done with a phone that was typed.
#[derive(Clone, Copy)]
pub(super) enum Phone<'a> {
    /// Look its id up.
    Known(&'a str),
    /// Look its id up and keep it if it is new: an order will hang on it.
    Kept(&'a str),
}

impl<'a> Phone<'a> {
    fn known(text: Option<&'a str>) -> Option<Self> {
        text.map(Self::Known)
    }

    fn kept(text: Option<&'a str>) -> Option<Self> {
        text.map(Self::Kept)
    }
}

/// The caller's time ran out while waiting for an upstream.
pub(super) fn out_of_time(code: &'static str) -> Error {
    let detail = "A service that this request depends on did not answer in the time given.";
    Error::new(Kind::DeadlineExceeded, code, detail).with_retry_after(RETRY_AFTER)
}

/// An upstream without a usable answer; the code names it, also when the caller's time ran out.
pub(super) fn unavailable(error: UpstreamError, code: &'static str) -> Error {
    match error {
        UpstreamError::Deadline => out_of_time(code).with_source(error),
        error => error.into_error(code),
    }
}

/// What the caller is told of a failed call to `int-api`.
pub(super) fn failure(error: IntApiError) -> Error {
    match error {
        IntApiError::Unavailable(error) => unavailable(error, INT_API),
        IntApiError::Refused(refusal) => refused(refusal),
    }
}

/// A refusal is passed on with its code: never as a 4xx when it may end by itself, and always as
/// one when it will not.
fn refused(refusal: Refusal) -> Error {
    if refusal.is_transient() {
        let after = refusal.retry_after.unwrap_or_default().max(RETRY_AFTER);
        let code = refusal.code.unwrap_or_else(|| INT_API.to_owned());
        let detail = "The order is being worked on; try again.";
        return Error::new(Kind::Unavailable, code, detail).with_retry_after(after);
    }
    let (kind, code, detail) = match refusal.status {
        // The plain word tells no more than the status: routes agree on one code.
        StatusCode::NOT_FOUND if refusal.code.as_deref().is_none_or(|code| code == "not_found") => {
            return not_found();
        }
        StatusCode::NOT_FOUND => {
            (Kind::NotFound, "order_not_found", "There is no such thing in the park; see `code`.")
        }
        StatusCode::BAD_REQUEST => {
            (Kind::InvalidInput, "invalid_order", "The order is not accepted; see `code`.")
        }
        StatusCode::CONFLICT => (
            Kind::Conflict,
            "order_conflict",
            "The state of the order stands against it; see `code`.",
        ),
        _ => (Kind::Unprocessable, "order_refused", "The order is refused; see `code`."),
    };
    Error::new(kind, refusal.code.unwrap_or_else(|| code.to_owned()), detail)
}

/// There is no such order in the caller's park.
pub(super) fn not_found() -> Error {
    Error::not_found("order_not_found", "The park has no such order.")
}
