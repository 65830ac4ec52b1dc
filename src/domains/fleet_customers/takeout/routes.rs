//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, get, post};

use super::Takeout;
use super::model::{ErasureAccepted, ErasureRequest, Receipt, StatusRequest, TakeoutStatus};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::identity::Takeout as Caller;
use crate::platform::http::params::Path;
use crate::platform::http::problem::{BodyProblems, CreateProblems, ReadProblems};
use crate::platform::http::routes::Routes;
use crate::platform::ids::RequestId;

/// Mounts the routes of the data-subject service.
pub(in super::super) fn mount(routes: &mut Routes<'_>) {
    routes.service(status).service(delete).service(receipt);
}

type Service = Live<Takeout>;

/// The path parameter of a receipt.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct ReceiptPath {
    /// The id that the request was made under.
    #[param(value_type = RequestId)]
    request_id: RequestId,
}

/// What is kept of persons in all parks, by category, and whether an erasure is under way.
#[utoipa::path(operation_id = "takeout_status", tag = "fleet-customers",
    request_body = StatusRequest,
    responses((status = 200, body = TakeoutStatus, description = "What is kept"), BodyProblems))]
#[post("/takeout/v1/status")]
async fn status(
    caller: Caller,
    service: Service,
    body: Json<StatusRequest>,
) -> Result<HttpResponse> {
    let status = service.0.status(&caller.context, &body.value.personal_phone_ids).await?;
    Ok(HttpResponse::Ok().json(status))
}

/// Erases persons in all parks. It is done in the background: ask for the status or the receipt. The
/// same request again gets the state it is in; other persons under the same id are 422
/// `request_id_reused`.
#[utoipa::path(operation_id = "takeout_delete", tag = "fleet-customers",
    request_body = ErasureRequest,
    responses((status = 202, body = ErasureAccepted, description = "It was taken on, now or before"),
        CreateProblems))]
#[post("/takeout/v1/delete")]
async fn delete(
    caller: Caller,
    service: Service,
    body: Json<ErasureRequest>,
) -> Result<HttpResponse> {
    let accepted = service.0.erase(&caller.context, body.value).await?;
    Ok(HttpResponse::Accepted().json(accepted))
}

/// The receipt of an erasure: when, for which caller, each table and outside system with the rows it
/// touched.
#[utoipa::path(operation_id = "takeout_receipt", tag = "fleet-customers", params(ReceiptPath),
    responses((status = 200, body = Receipt, description = "The receipt"), ReadProblems))]
#[get("/takeout/v1/receipts/{request_id}")]
async fn receipt(
    caller: Caller,
    service: Service,
    request_id: Path<RequestId>,
) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(service.0.receipt(&caller.context, request_id.0).await?))
}
