//! Routes: unpack, call the service, wrap. Answers are `int-api`'s own, byte for byte.

use actix_web::web::Bytes;
use actix_web::{HttpResponse, get, post};

use super::model::{
    ActiveByPhone, ActiveOrders, Cancel, Committed, Draft, Edit, Estimates, Order, OrderRequest,
    WhichOrder,
};
use super::service::{Asker, Orders};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::{Dispatcher, DispatcherHeaders};
use crate::platform::http::params::Path;
use crate::platform::http::problem::{BodyProblems, CreateProblems, ReadProblems};
use crate::platform::http::routes::Routes;
use crate::platform::ids::OrderId;

/// Mounts all routes of the domain.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes
        .service(estimate)
        .service(draft)
        .service(commit)
        .service(active_by_phone)
        .service(edit)
        .service(cancel)
        .service(order);
}

type Service = Live<Orders>;

impl From<Dispatcher> for Asker {
    fn from(dispatcher: Dispatcher) -> Self {
        let Dispatcher { context, park, dispatcher_id } = dispatcher;
        Self::new(&context, park, dispatcher_id)
    }
}

fn json(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// Prices and arrival times for the tariff classes asked for. Members that are not described are
/// passed on as they are, both ways. Nothing is stored.
#[utoipa::path(operation_id = "orders_estimate", tag = "fleet-orders-manager",
    params(DispatcherHeaders), request_body = OrderRequest,
    responses((status = 200, body = Estimates, description = "The estimates"), CreateProblems))]
#[post("/dispatcher/v1/orders/estimate")]
async fn estimate(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<OrderRequest>,
) -> Result<HttpResponse> {
    Ok(json(service.0.estimate(&dispatcher.into(), &body.value, &body.bytes).await?))
}

/// Makes a draft of an order. The `Idempotency-Key` is handed on.
#[utoipa::path(operation_id = "orders_draft", tag = "fleet-orders-manager",
    params(DispatcherHeaders, IdempotencyHeader), request_body = OrderRequest,
    responses((status = 200, body = Draft, description = "The draft"), CreateProblems))]
#[post("/dispatcher/v1/orders/draft")]
async fn draft(
    dispatcher: Dispatcher,
    service: Service,
    key: IdempotencyKey,
    body: Json<OrderRequest>,
) -> Result<HttpResponse> {
    let (asker, key) = (dispatcher.into(), key.as_str());
    Ok(json(service.0.draft(&asker, key, &body.value, &body.bytes).await?))
}

/// Commits a draft. Call it until the answer is 200, which says that the order is placed, or 4xx,
/// which says that it never will be; after a 503 or 504 call again, not before `Retry-After`.
#[utoipa::path(operation_id = "orders_commit", tag = "fleet-orders-manager",
    params(DispatcherHeaders), request_body = WhichOrder,
    responses((status = 200, body = Committed, description = "The order is placed"), CreateProblems))]
#[post("/dispatcher/v1/orders/commit")]
async fn commit(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<WhichOrder>,
) -> Result<HttpResponse> {
    Ok(json(service.0.commit(&dispatcher.into(), &body.value.order_id, &body.bytes).await?))
}

/// The park's unfinished orders on a phone.
#[utoipa::path(operation_id = "orders_active_by_phone", tag = "fleet-orders-manager",
    params(DispatcherHeaders), request_body = ActiveByPhone,
    responses((status = 200, body = ActiveOrders, description = "The orders; none for a number that is not known"), BodyProblems))]
#[post("/dispatcher/v1/orders/active-by-phone")]
async fn active_by_phone(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<ActiveByPhone>,
) -> Result<HttpResponse> {
    Ok(json(service.0.active_by_phone(&dispatcher.into(), &body.value.phone, &body.bytes).await?))
}

/// Changes an order: points, comment, requirements, tariff. A stale `revision` is 409
/// `revision_conflict` with the order as it is in `current`.
#[utoipa::path(operation_id = "orders_edit", tag = "fleet-orders-manager",
    params(DispatcherHeaders), request_body = Edit,
    responses((status = 200, body = Order, description = "The order as it is now"), CreateProblems))]
#[post("/dispatcher/v1/orders/edit")]
async fn edit(dispatcher: Dispatcher, service: Service, body: Json<Edit>) -> Result<HttpResponse> {
    Ok(json(service.0.edit(&dispatcher.into(), &body.value, &body.bytes).await?))
}

/// Cancels an order. A stale `revision` is 409 `revision_conflict` with the order as it is in
/// `current`; without one the order is cancelled as it is.
#[utoipa::path(operation_id = "orders_cancel", tag = "fleet-orders-manager",
    params(DispatcherHeaders), request_body = Cancel,
    responses((status = 200, body = Order, description = "The order as it is now"), CreateProblems))]
#[post("/dispatcher/v1/orders/cancel")]
async fn cancel(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<Cancel>,
) -> Result<HttpResponse> {
    Ok(json(service.0.cancel(&dispatcher.into(), &body.value, &body.bytes).await?))
}

/// The path parameter of an order.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct OrderPath {
    /// The order's id.
    #[param(value_type = OrderId)]
    order_id: OrderId,
}

/// An order as it is.
#[utoipa::path(operation_id = "orders_get", tag = "fleet-orders-manager",
    params(DispatcherHeaders, OrderPath),
    responses((status = 200, body = Order, description = "The order"), ReadProblems))]
#[get("/dispatcher/v1/orders/{order_id}")]
async fn order(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OrderId>,
) -> Result<HttpResponse> {
    Ok(json(service.0.order(&dispatcher.into(), &id.0).await?))
}
