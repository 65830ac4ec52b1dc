//! Routes: unpack, call the service, wrap.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, delete, get, post};
use uuid::Uuid;

use super::Bookings;
use super::model::{Booking, NewBooking};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::Internal;
use crate::platform::http::params::Path;
use crate::platform::http::problem::{CreateProblems, ReadProblems, StateProblems};
use crate::platform::http::routes::Routes;

/// Mounts the routes of bookings.
pub fn mount(routes: &mut Routes<'_>) {
    routes.service(book).service(get_one).service(cancel);
}

type Service = Live<Bookings>;

const BOOKINGS: &str = "/scooter-accumulator/internal/v1/bookings";

/// The path parameter of a booking.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
pub struct BookingPath {
    /// The booking.
    booking_id: Uuid,
}

/// Books accumulators to take out (the most charged first), or empty cells to bring some back to: all
/// or nothing. 409 `not_enough_accumulators`, `not_enough_cells`, `cabinet_offline`, with
/// `alternatives: [{"id", "distance_m"}]`, the nearest cabinets that could, if there are any.
#[utoipa::path(operation_id = "bookings_create", tag = "scooter-accumulator",
    params(IdempotencyHeader), request_body = NewBooking,
    responses((status = 201, body = Booking, description = "They are kept until `expires_at`",
        headers(("Location" = String, description = "The booking"))), CreateProblems))]
#[post("/internal/v1/bookings")]
async fn book(
    internal: Internal,
    service: Service,
    key: IdempotencyKey,
    body: Json<NewBooking>,
) -> Result<HttpResponse> {
    let call = key.guard(&internal.context, None, &body.bytes);
    let booking = service.0.book(&internal.context, &body.value, call).await?;
    let location = format!("{BOOKINGS}/{}", booking.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(booking))
}

/// A booking: how it stands, and of which cells and accumulators it is.
#[utoipa::path(operation_id = "bookings_get", tag = "scooter-accumulator",
    params(BookingPath),
    responses((status = 200, body = Booking, description = "The booking"), ReadProblems))]
#[get("/internal/v1/bookings/{booking_id}")]
async fn get_one(internal: Internal, service: Service, id: Path<Uuid>) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(service.0.get(&internal.context, id.0).await?))
}

/// Gives a booking up. Repeating it does no harm. 409 `booking_not_active`, with `booking_status`, when
/// it was executed or has ended.
#[utoipa::path(operation_id = "bookings_cancel", tag = "scooter-accumulator",
    params(BookingPath),
    responses((status = 204, description = "It is given up"), StateProblems))]
#[delete("/internal/v1/bookings/{booking_id}")]
async fn cancel(internal: Internal, service: Service, id: Path<Uuid>) -> Result<HttpResponse> {
    service.0.cancel(&internal.context, id.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
