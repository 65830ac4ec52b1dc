//! Stands for `int-api`: orders from the draft to the end.
//!
//! Beyond the contract: bodies with a plain `phone` are refused (400 `phone_not_allowed`), and so
//! is editing what is completed (409 `not_editable`) or cancelled (409 `order_cancelled`). An order
//! is another's 404. A transient 409 `commit_in_progress` is a fault of kind `answer`.
//!
//! `POST /__sandbox/int-api/orders/{order_id}/status` `{"status"}` moves an order on: `draft`,
//! `committed`, `driving`, `waiting`, `transporting`, `completed`, `cancelled`. From `committed` on
//! they also move by themselves within half an hour, unless the sandbox is frozen.

mod body;
mod orders;
mod prices;

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use self::body::{Body, Fields, Refusal};
use self::orders::{Order, Orders, Status};
use super::{State, bearer, refuse};

const TOKEN: &str = "X-Idempotency-Token";

pub(super) struct Store(Mutex<Orders>);

impl Store {
    /// Orders that move on only when they are told to, if `frozen`.
    pub(super) fn new(frozen: bool) -> Self {
        Self(Mutex::new(Orders::new(frozen)))
    }

    pub(super) fn of_park(&self, park_id: &str) -> Vec<KeptOrder> {
        self.lock().of_park(park_id).cloned().map(KeptOrder::from).collect()
    }

    /// # Errors
    /// There is no such order or no such status.
    pub(super) fn set_status(&self, order_id: &str, status: &str) -> Result<(), String> {
        let status = serde_json::from_value(status.into()).map_err(|error| error.to_string())?;
        if self.lock().set_status(order_id, status) {
            return Ok(());
        }
        Err("there is no such order".into())
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An order that int-api keeps, for tests.
#[derive(Debug, Clone)]
pub struct KeptOrder {
    /// Its id.
    pub order_id: String,
    /// `draft`, `committed`, ...
    pub status: String,
    /// 1 for a draft, and one more for each change.
    pub revision: u64,
    /// What draft and edits gave, each value in the bytes that came in.
    pub fields: Fields,
}

impl From<Order> for KeptOrder {
    fn from(order: Order) -> Self {
        let status = serde_json::to_value(order.status).unwrap_or_default();
        Self {
            order_id: order.id,
            status: status.as_str().unwrap_or_default().to_owned(),
            revision: order.revision,
            fields: order.fields,
        }
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/orders")
            .route("/estimate", post(estimate))
            .route("/draft", post(draft))
            .route("/commit", post(commit))
            .route("/search", post(search))
            .route("/info", post(info))
            .route("/edit", post(edit))
            .route("/cancel", post(cancel))
            .wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config.route("/int-api/orders/{order_id}/status", web::post().to(set_status));
}

struct Request {
    body: Body,
    token: Option<String>,
}

type Answer = Result<HttpResponse, Refusal>;

fn post(work: fn(&mut Orders, &Request) -> Answer) -> actix_web::Route {
    web::post().to(
        move |state: web::Data<State>, request: HttpRequest, bytes: web::Bytes| async move {
            let token = request.headers().get(TOKEN).and_then(|token| token.to_str().ok());
            let token = token.map(String::from);
            let answer = Body::parse(&bytes)
                .and_then(|body| work(&mut state.int_api.lock(), &Request { body, token }));
            answer.unwrap_or_else(HttpResponse::from)
        },
    )
}

fn estimate(_: &mut Orders, request: &Request) -> Answer {
    request.body.check_order()?;
    Ok(HttpResponse::Ok().json(prices::estimate(&request.body)?))
}

fn draft(orders: &mut Orders, request: &Request) -> Answer {
    let token = request.token.as_ref().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| {
        Refusal::bad_request("bad_request", format!("the header {TOKEN} is required"))
    })?;
    let order_id = orders.draft(&request.body, token.clone())?;
    Ok(HttpResponse::Ok().json(json!({ "order_id": order_id })))
}

fn commit(orders: &mut Orders, request: &Request) -> Answer {
    let (order_id, status) = orders.commit(&request.body)?;
    Ok(HttpResponse::Ok().json(json!({ "order_id": order_id, "status": status })))
}

fn search(orders: &mut Orders, request: &Request) -> Answer {
    let orders = orders.search(&request.body)?;
    let found: Vec<_> = orders.into_iter().map(Order::found).collect();
    Ok(HttpResponse::Ok().json(std::collections::BTreeMap::from([("orders", found)])))
}

fn info(orders: &mut Orders, request: &Request) -> Answer {
    match orders.named(&request.body)?.info() {
        Ok(info) => Ok(HttpResponse::Ok().json(info)),
        Err(error) => Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "info", &error.to_string())),
    }
}

fn edit(orders: &mut Orders, request: &Request) -> Answer {
    Ok(changed(orders.edit(&request.body)?))
}

fn cancel(orders: &mut Orders, request: &Request) -> Answer {
    Ok(changed(orders.cancel(&request.body)?))
}

fn changed(order: &Order) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "order_id": order.id, "status": order.status, "revision": order.revision,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    status: Status,
}

async fn set_status(
    state: web::Data<State>,
    order_id: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    match serde_json::from_slice::<NewStatus>(&body) {
        Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
        Ok(new) if state.int_api.lock().set_status(&order_id, new.status) => {
            HttpResponse::NoContent().finish()
        }
        Ok(_) => Refusal::not_found().into(),
    }
}
