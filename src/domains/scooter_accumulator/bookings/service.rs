//! The rules. Plain values in and out.

use uuid::Uuid;

use super::Bookings;
use super::model::{Alternative, Booking, BookingKind, NewBooking};
use super::status::{BookingEvent, BookingStatus};
use super::store::{self, Wanted};
use crate::domains::scooter_accumulator::NAME;
use crate::domains::scooter_accumulator::cabinets::near::Circle;
use crate::domains::scooter_accumulator::cabinets::search::{self, Needed};
use crate::domains::scooter_accumulator::cabinets::{no_cabinet, shown, store as cabinets};
use crate::domains::scooter_accumulator::places;
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Kind, Result};

/// Most cabinets that are named in place of one.
const ALTERNATIVES: i64 = 5;

impl Bookings {
    /// Books, all or nothing: the most charged accumulators, or the first empty cells. One that cannot
    /// be booked is told with the nearest cabinets that could.
    pub async fn book(
        &self,
        context: &Context,
        asked: &NewBooking,
        call: Option<IdempotentCall>,
    ) -> Result<Booking> {
        if asked.kind == BookingKind::Return && asked.min_charge.is_some() {
            return Err(Error::invalid("/min_charge", "is of a pick-up only"));
        }
        let metrics = &self.tools.metrics;
        let (mut made, mut expired) = (false, 0);
        let mut at = None;
        let guard = Guard { call, domain: NAME, subject: None };
        let booked = self
            .tools
            .database
            .once(context, guard, async |connection| {
                let cabinet = cabinets::lock(connection, &asked.cabinet_id).await?;
                let cabinet = cabinet.ok_or_else(no_cabinet)?;
                at = Some((cabinet.lat, cabinet.lon));
                if !cabinet.can_be_booked() {
                    return Err(refusal("cabinet_offline", "The cabinet does not answer now."));
                }
                expired = store::end_expired(connection, &[&asked.cabinet_id]).await?;
                // A cabinet that reports one of them elsewhere waits until this is done.
                places::lock_of_cabinet(connection, &asked.cabinet_id).await?;
                let wanted = Wanted {
                    cabinet_id: &asked.cabinet_id,
                    contractor_id: &asked.contractor_id,
                    kind: asked.kind,
                    count: asked.count,
                    min_charge: asked.min_charge,
                    ttl: self.tools.settings.booking_ttl(),
                };
                let booking = store::book(connection, &wanted)
                    .await?
                    .ok_or_else(|| not_enough(asked.kind))?;
                made = true;
                Ok(booking)
            })
            .await;
        match (booked, at) {
            (Ok(booking), _) => {
                if made {
                    metrics.booking("booked");
                    metrics.expired(expired);
                }
                Ok(booking)
            }
            (Err(error), Some(at))
                if error.kind() == Kind::Conflict && REFUSALS.contains(&error.code()) =>
            {
                metrics.booking("refused");
                Err(self.with_alternatives(context, asked, at, error).await)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// A booking.
    pub async fn get(&self, context: &Context, id: Uuid) -> Result<Booking> {
        let read = async |connection: &Connection| store::find(connection, id).await;
        self.tools.database.statement(context, read).await?.ok_or_else(no_booking)
    }

    /// Gives a booking up, unless the cabinet was told already. Repeating it does no harm.
    pub async fn cancel(&self, context: &Context, id: Uuid) -> Result<()> {
        let mut cancelled = false;
        let work = async |connection: &mut Connection| {
            let (mut locked, _) = store::lock(connection, id).await?.ok_or_else(no_booking)?;
            cancelled = locked.get().status != BookingStatus::Cancelled;
            store::advance(connection, &mut locked, BookingEvent::Cancel).await
        };
        self.tools.database.transaction(context, work).await?;
        if cancelled {
            self.tools.metrics.booking("cancelled");
        }
        Ok(())
    }

    /// The refusal with the nearest cabinets that could be booked; without them where they cannot be
    /// read.
    async fn with_alternatives(
        &self,
        context: &Context,
        asked: &NewBooking,
        (lat, lon): (f64, f64),
        refusal: Error,
    ) -> Error {
        let circle = Circle { lat, lon, radius_m: self.tools.settings.alternatives_radius_m };
        let mut needed = Needed {
            min_charge: asked.min_charge,
            but: Some(&asked.cabinet_id),
            ..Needed::default()
        };
        match asked.kind {
            BookingKind::Pickup => needed.available = Some(asked.count),
            BookingKind::Return => needed.empty = Some(asked.count),
        }
        let read = async |connection: &Connection| {
            search::nearest(connection, &circle, needed, None, ALTERNATIVES).await
        };
        let Ok(found) = self.tools.database.statement(context, read).await else {
            return refusal;
        };
        let alternatives: Vec<Alternative> = found
            .into_iter()
            .map(|found| Alternative {
                id: found.cabinet.id,
                distance_m: shown(found.cabinet.distance_m.unwrap_or_default()),
            })
            .collect();
        refusal.with_extension("alternatives", &alternatives)
    }
}

/// The codes of what another cabinet may do.
const REFUSALS: [&str; 3] = ["cabinet_offline", "not_enough_accumulators", "not_enough_cells"];

fn refusal(code: &'static str, detail: &'static str) -> Error {
    Error::new(Kind::Conflict, code, detail)
}

fn not_enough(kind: BookingKind) -> Error {
    match kind {
        BookingKind::Pickup => {
            refusal("not_enough_accumulators", "There are not so many accumulators to book in it.")
        }
        BookingKind::Return => {
            refusal("not_enough_cells", "There are not so many empty cells to book in it.")
        }
    }
}

/// The answer to an id that no booking has.
pub fn no_booking() -> Error {
    Error::not_found("booking_not_found", "There is no such booking.")
}
