//! Routes: unpack, call the service, wrap.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, delete, get, post, put};

use super::model::{
    Cancelled, HistoryQuery, MailingOrder, MailingView, Ordered, Preview, PreviewRequest,
    TemplateEdit, TemplateView,
};
use super::service::{Asker, Mailings};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::etag::{IfMatch, IfMatchHeader, created, versioned};
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::{Dispatcher, DispatcherHeaders};
use crate::platform::http::pagination::{Page, Paging};
use crate::platform::http::params::{Path, Query};
use crate::platform::http::problem::{
    BodyProblems, CreateProblems, DeleteProblems, EditProblems, ReadProblems, StateProblems,
};
use crate::platform::http::routes::Routes;
use crate::platform::ids::OpaqueId;

/// Mounts the routes of mailings and templates; fixed paths come before patterns.
pub(in super::super) fn mount(routes: &mut Routes<'_>) {
    routes
        .service(order)
        .service(preview)
        .service(history)
        .service(mailing)
        .service(cancel)
        .service(retry)
        .service(save_template)
        .service(templates)
        .service(template)
        .service(edit_template)
        .service(delete_template);
}

type Service = Live<Mailings>;

const MAILINGS: &str = "/fleet-communications/dispatcher/v1/mailings";
const TEMPLATES: &str = "/fleet-communications/dispatcher/v1/mailing-templates";

impl From<Dispatcher> for Asker {
    fn from(dispatcher: Dispatcher) -> Self {
        let Dispatcher { context, park, dispatcher_id } = dispatcher;
        Self { context, park, dispatcher_id }
    }
}

/// The path parameter of a mailing.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct MailingPath {
    /// The mailing's id.
    mailing_id: String,
}

/// The path parameter of a template.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct TemplatePath {
    /// The template's id.
    template_id: String,
}

/// Orders a mailing of a saved template, or of a message and filter, which are saved as one. Who is
/// meant is decided when it goes out.
#[utoipa::path(operation_id = "mailings_order", tag = "fleet-communications",
    params(DispatcherHeaders, IdempotencyHeader), request_body = MailingOrder,
    responses((status = 202, body = Ordered, description = "It is ordered; `Location` shows its state",
        headers(("Location" = String, description = "The mailing"))), CreateProblems))]
#[post("/dispatcher/v1/mailings")]
async fn order(
    dispatcher: Dispatcher,
    service: Service,
    key: IdempotencyKey,
    body: Json<MailingOrder>,
) -> Result<HttpResponse> {
    let asker: Asker = dispatcher.into();
    let call = key.guard(&asker.context, Some(&asker.park), &body.bytes);
    let ordered = service.0.order(&asker, body.value, call).await?;
    let location = format!("{MAILINGS}/{}", ordered.mailing_id);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(ordered))
}

/// How many drivers a filter selects now, the first 20, and how many each part leaves out.
#[utoipa::path(operation_id = "mailings_preview", tag = "fleet-communications",
    params(DispatcherHeaders), request_body = PreviewRequest,
    responses((status = 200, body = Preview, description = "Whom it would reach"), BodyProblems))]
#[post("/dispatcher/v1/mailings/preview")]
async fn preview(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<PreviewRequest>,
) -> Result<HttpResponse> {
    let preview = service.0.preview(&dispatcher.into(), &body.value.filter).await?;
    Ok(HttpResponse::Ok().json(preview))
}

/// The park's mailings, newest first. One that ended longer ago than mailings are kept
/// (`fleet_communications.mailing_days`) is not among them any more.
#[utoipa::path(operation_id = "mailings_list", tag = "fleet-communications",
    params(DispatcherHeaders, HistoryQuery),
    responses((status = 200, body = Page<MailingView>, description = "A page"), ReadProblems))]
#[get("/dispatcher/v1/mailings")]
async fn history(
    dispatcher: Dispatcher,
    service: Service,
    query: Query<HistoryQuery>,
) -> Result<HttpResponse> {
    let paging = Paging::new(query.0.limit, query.0.cursor.clone());
    query.0.check()?;
    let (limit, after) = (paging.limit()?, paging.position()?);
    let (items, next) = service.0.history(&dispatcher.into(), &query.0, after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// A mailing: how far it is, and whom it reached. One that ended longer ago than mailings are kept is 404
/// `mailing_not_found`.
#[utoipa::path(operation_id = "mailings_get", tag = "fleet-communications",
    params(DispatcherHeaders, MailingPath),
    responses((status = 200, body = MailingView, description = "The mailing"), ReadProblems))]
#[get("/dispatcher/v1/mailings/{mailing_id}")]
async fn mailing(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(service.0.mailing(&dispatcher.into(), id.0.as_str()).await?))
}

/// Stops what has not gone out, has the drivers' app take back what has, and says what was too
/// late. Repeating it does no harm and tells what became of those who were `pending`.
#[utoipa::path(operation_id = "mailings_cancel", tag = "fleet-communications",
    params(DispatcherHeaders, MailingPath),
    responses((status = 200, body = Cancelled, description = "What was stopped, recalled, too late"), ReadProblems))]
#[post("/dispatcher/v1/mailings/{mailing_id}/cancel")]
async fn cancel(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(service.0.cancel(&dispatcher.into(), id.0.as_str()).await?))
}

/// Goes on with a mailing that failed, where it stopped: whoever has the message does not get it
/// again. Otherwise 409 `mailing_not_failed`; 409 `mailing_closed` when it ended so long ago that its
/// recipients are not kept any more.
#[utoipa::path(operation_id = "mailings_retry", tag = "fleet-communications",
    params(DispatcherHeaders, MailingPath),
    responses((status = 202, body = MailingView, description = "It goes on"), StateProblems))]
#[post("/dispatcher/v1/mailings/{mailing_id}/retry")]
async fn retry(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
) -> Result<HttpResponse> {
    Ok(HttpResponse::Accepted().json(service.0.retry(&dispatcher.into(), id.0.as_str()).await?))
}

/// Saves a template.
#[utoipa::path(operation_id = "mailing_templates_create", tag = "fleet-communications",
    params(DispatcherHeaders, IdempotencyHeader), request_body = TemplateEdit,
    responses((status = 201, body = TemplateView, description = "It is saved",
        headers(("ETag" = String, description = "The version"), ("Location" = String, description = "The template"))), CreateProblems))]
#[post("/dispatcher/v1/mailing-templates")]
async fn save_template(
    dispatcher: Dispatcher,
    service: Service,
    key: IdempotencyKey,
    body: Json<TemplateEdit>,
) -> Result<HttpResponse> {
    let asker: Asker = dispatcher.into();
    let call = key.guard(&asker.context, Some(&asker.park), &body.bytes);
    let saved = service.0.save_template(&asker, &body.value, call).await?;
    let location = format!("{TEMPLATES}/{}", saved.view.id);
    Ok(created(location, saved.version, &saved.view))
}

/// The park's templates, newest first.
#[utoipa::path(operation_id = "mailing_templates_list", tag = "fleet-communications",
    params(DispatcherHeaders, Paging),
    responses((status = 200, body = Page<TemplateView>, description = "A page"), ReadProblems))]
#[get("/dispatcher/v1/mailing-templates")]
async fn templates(
    dispatcher: Dispatcher,
    service: Service,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let (limit, after) = (paging.0.limit()?, paging.0.position()?);
    let (items, next) = service.0.templates(&dispatcher.into(), after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// A template.
#[utoipa::path(operation_id = "mailing_templates_get", tag = "fleet-communications",
    params(DispatcherHeaders, TemplatePath),
    responses((status = 200, body = TemplateView, description = "The template",
        headers(("ETag" = String, description = "The version"))), ReadProblems))]
#[get("/dispatcher/v1/mailing-templates/{template_id}")]
async fn template(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
) -> Result<HttpResponse> {
    let saved = service.0.template(&dispatcher.into(), id.0.as_str()).await?;
    Ok(versioned(saved.version, &saved.view))
}

/// Edits a template. Mailings that were ordered keep what they have.
#[utoipa::path(operation_id = "mailing_templates_replace", tag = "fleet-communications",
    params(DispatcherHeaders, TemplatePath, IfMatchHeader), request_body = TemplateEdit,
    responses((status = 200, body = TemplateView, description = "The template as it is now",
        headers(("ETag" = String, description = "The version"))), EditProblems))]
#[put("/dispatcher/v1/mailing-templates/{template_id}")]
async fn edit_template(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
    if_match: IfMatch,
    body: Json<TemplateEdit>,
) -> Result<HttpResponse> {
    let asker = dispatcher.into();
    let saved = service.0.edit_template(&asker, id.0.as_str(), &body.value, &if_match.0).await?;
    Ok(versioned(saved.version, &saved.view))
}

/// Deletes a template; the history of its mailings stays for as long as mailings are kept. Repeating it does no harm.
#[utoipa::path(operation_id = "mailing_templates_delete", tag = "fleet-communications",
    params(DispatcherHeaders, TemplatePath, IfMatchHeader),
    responses((status = 204, description = "There is no such template now"), DeleteProblems))]
#[delete("/dispatcher/v1/mailing-templates/{template_id}")]
async fn delete_template(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<OpaqueId>,
    if_match: IfMatch,
) -> Result<HttpResponse> {
    service.0.delete_template(&dispatcher.into(), id.0.as_str(), &if_match.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
