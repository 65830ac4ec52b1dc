//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, delete, get, patch, post, put};
use serde::Serialize;
use uuid::Uuid;

use super::items::{ItemKind, Versioned};
use super::model::{
    CustomerEdit, CustomerPatch, CustomerView, FavouriteLocation, FindByPhone, Item, Location,
    RecurringRoute, Retrieve, Route, Upsert,
};
use super::service::{Answer, Customers};
use super::takeout;
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::etag::{IfMatch, IfMatchHeader, created, versioned};
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::{Dispatcher, DispatcherHeaders, Internal};
use crate::platform::http::pagination::{Page, Paging};
use crate::platform::http::params::{Path, Query};
use crate::platform::http::problem::{
    BodyProblems, CreateProblems, DeleteProblems, EditProblems, ReadProblems,
};
use crate::platform::http::routes::Routes;
use crate::platform::ids::PersonalId;

/// Mounts all routes of the domain. Requests are matched in this order: fixed paths, and the most
/// frequent, come before those whose match takes a regular expression.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes
        .service(retrieve)
        .service(upsert)
        .service(find_by_phone)
        .service(list)
        .service(profile)
        .service(replace)
        .service(change)
        .service(remove)
        .service(add_location)
        .service(list_locations)
        .service(location)
        .service(replace_location)
        .service(remove_location)
        .service(add_route)
        .service(list_routes)
        .service(route)
        .service(replace_route)
        .service(remove_route);
    takeout::routes::mount(routes);
}

type Service = Live<Customers>;

/// The path parameter of a customer.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct CustomerPath {
    /// The passenger's id within the park.
    #[param(value_type = PersonalId)]
    personal_phone_id: PersonalId,
}

/// The path parameters of something that hangs on a customer.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct ItemPath {
    /// The passenger's id within the park.
    #[param(value_type = PersonalId)]
    personal_phone_id: PersonalId,
    /// The item's id.
    item_id: Uuid,
}

/// A list that fits into one answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Items<T> {
    items: Vec<T>,
}

fn customer(answer: &Answer) -> HttpResponse {
    versioned(answer.version, &answer.view)
}

fn item<T: ItemKind>(answer: &Versioned<T>) -> HttpResponse {
    versioned(answer.version, &answer.item)
}

fn item_created<T: ItemKind>(answer: &Versioned<T>, collection: &str) -> HttpResponse {
    let path = format!("{}/{}", collection.trim_end_matches('/'), answer.item.id);
    created(path, answer.version, &answer.item)
}

fn items<T: ItemKind>(answer: Vec<Versioned<T>>) -> HttpResponse {
    let items = answer.into_iter().map(|versioned| versioned.item).collect();
    HttpResponse::Ok().json(Items::<Item<T>> { items })
}

/// Finds the park's passenger with a phone number, to fill in an order.
#[utoipa::path(operation_id = "customers_find_by_phone", tag = "fleet-customers",
    params(DispatcherHeaders), request_body = FindByPhone,
    responses((status = 200, body = CustomerView, description = "The passenger",
        headers(("ETag" = String, description = "The version"))), BodyProblems))]
#[post("/dispatcher/v1/customers/find-by-phone")]
async fn find_by_phone(
    dispatcher: Dispatcher,
    service: Service,
    body: Json<FindByPhone>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    Ok(customer(&service.0.find_by_phone(&context, &park, &body.value.phone).await?))
}

/// The park's passengers, newest activity first.
#[utoipa::path(operation_id = "customers_list", tag = "fleet-customers",
    params(DispatcherHeaders, Paging),
    responses((status = 200, body = Page<CustomerView>, description = "A page"), ReadProblems))]
#[get("/dispatcher/v1/customers")]
async fn list(
    dispatcher: Dispatcher,
    service: Service,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    let (limit, after) = (paging.0.limit()?, paging.0.position()?);
    let (items, next) = service.0.list(&context, &park, after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// A passenger's profile. When `personal` does not answer, `name` and `phone` are absent and
/// `degraded` says so.
#[utoipa::path(operation_id = "customers_get", tag = "fleet-customers",
    params(DispatcherHeaders, CustomerPath),
    responses((status = 200, body = CustomerView, description = "The passenger",
        headers(("ETag" = String, description = "The version"))), ReadProblems))]
#[get("/dispatcher/v1/customers/{personal_phone_id}")]
async fn profile(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<PersonalId>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    Ok(customer(&service.0.profile(&context, &park, &id.0).await?))
}

/// Edits the whole record: what is absent is removed.
#[utoipa::path(operation_id = "customers_replace", tag = "fleet-customers",
    params(DispatcherHeaders, CustomerPath, IfMatchHeader), request_body = CustomerEdit,
    responses((status = 200, body = CustomerView, description = "The passenger as it is now",
        headers(("ETag" = String, description = "The version"))), EditProblems))]
#[put("/dispatcher/v1/customers/{personal_phone_id}")]
async fn replace(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<PersonalId>,
    if_match: IfMatch,
    body: Json<CustomerEdit>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    Ok(customer(&service.0.replace(&context, &park, &id.0, body.value, &if_match.0).await?))
}

/// Edits a part, as a JSON merge patch (RFC 7396).
#[utoipa::path(operation_id = "customers_patch", tag = "fleet-customers",
    params(DispatcherHeaders, CustomerPath, IfMatchHeader),
    request_body(content((CustomerPatch = "application/merge-patch+json"), (CustomerPatch = "application/json"))),
    responses((status = 200, body = CustomerView, description = "The passenger as it is now",
        headers(("ETag" = String, description = "The version"))), EditProblems))]
#[patch("/dispatcher/v1/customers/{personal_phone_id}")]
async fn change(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<PersonalId>,
    if_match: IfMatch,
    body: Json<CustomerPatch>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    Ok(customer(&service.0.patch(&context, &park, &id.0, body.value, &if_match.0).await?))
}

/// Deletes a passenger's record with all that hangs on it. Repeating it does no harm.
#[utoipa::path(operation_id = "customers_delete", tag = "fleet-customers",
    params(DispatcherHeaders, CustomerPath, IfMatchHeader),
    responses((status = 204, description = "There is no such record now"), DeleteProblems))]
#[delete("/dispatcher/v1/customers/{personal_phone_id}")]
async fn remove(
    dispatcher: Dispatcher,
    service: Service,
    id: Path<PersonalId>,
    if_match: IfMatch,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    service.0.delete(&context, &park, &id.0, &if_match.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The five routes of one kind of item.
macro_rules! item_routes {
    (
        $kind:ident $schema:ident, $what:literal, $path:literal, $item_path:literal,
        $add:ident $add_id:literal, $list:ident $list_id:literal, $get:ident $get_id:literal,
        $replace:ident $replace_id:literal, $remove:ident $remove_id:literal
    ) => {
        #[doc = concat!("Adds a ", $what, ".")]
        #[utoipa::path(operation_id = $add_id, tag = "fleet-customers",
            params(DispatcherHeaders, CustomerPath, IdempotencyHeader), request_body = $kind,
            responses((status = 201, body = $schema, description = "It was added",
                headers(("ETag" = String, description = "The version"),
                    ("Location" = String, description = "Where it is"))), CreateProblems))]
        #[post($path)]
        async fn $add(
            dispatcher: Dispatcher,
            service: Service,
            id: Path<PersonalId>,
            key: IdempotencyKey,
            body: Json<$kind>,
            request: actix_web::HttpRequest,
        ) -> Result<HttpResponse> {
            let Dispatcher { context, park, .. } = dispatcher;
            let call = key.guard(&context, Some(&park), &body.bytes);
            let added = service.0.add_item(&context, &park, &id.0, &body.value, call).await?;
            Ok(item_created(&added, request.path()))
        }

        #[doc = concat!("Every ", $what, " of a passenger, oldest first.")]
        #[utoipa::path(operation_id = $list_id, tag = "fleet-customers",
            params(DispatcherHeaders, CustomerPath),
            responses((status = 200, body = Items<$schema>, description = "All of them"), ReadProblems))]
        #[get($path)]
        async fn $list(
            dispatcher: Dispatcher,
            service: Service,
            id: Path<PersonalId>,
        ) -> Result<HttpResponse> {
            let Dispatcher { context, park, .. } = dispatcher;
            Ok(items::<$kind>(service.0.list_items(&context, &park, &id.0).await?))
        }

        #[doc = concat!("One ", $what, ".")]
        #[utoipa::path(operation_id = $get_id, tag = "fleet-customers",
            params(DispatcherHeaders, ItemPath),
            responses((status = 200, body = $schema, description = "It",
                headers(("ETag" = String, description = "The version"))), ReadProblems))]
        #[get($item_path)]
        async fn $get(
            dispatcher: Dispatcher,
            service: Service,
            path: Path<(PersonalId, Uuid)>,
        ) -> Result<HttpResponse> {
            let Dispatcher { context, park, .. } = dispatcher;
            let (id, item_id) = path.0;
            Ok(item::<$kind>(&service.0.item(&context, &park, &id, item_id).await?))
        }

        #[doc = concat!("Replaces a ", $what, ".")]
        #[utoipa::path(operation_id = $replace_id, tag = "fleet-customers",
            params(DispatcherHeaders, ItemPath, IfMatchHeader), request_body = $kind,
            responses((status = 200, body = $schema, description = "As it is now",
                headers(("ETag" = String, description = "The version"))), EditProblems))]
        #[put($item_path)]
        async fn $replace(
            dispatcher: Dispatcher,
            service: Service,
            path: Path<(PersonalId, Uuid)>,
            if_match: IfMatch,
            body: Json<$kind>,
        ) -> Result<HttpResponse> {
            let Dispatcher { context, park, .. } = dispatcher;
            let (id, item_id) = path.0;
            let service = service.0;
            let replaced = service.replace_item(&context, &park, &id, item_id, &body.value, &if_match.0);
            Ok(item(&replaced.await?))
        }

        #[doc = concat!("Removes a ", $what, ". Repeating it does no harm.")]
        #[utoipa::path(operation_id = $remove_id, tag = "fleet-customers",
            params(DispatcherHeaders, ItemPath, IfMatchHeader),
            responses((status = 204, description = "It is gone"), DeleteProblems))]
        #[delete($item_path)]
        async fn $remove(
            dispatcher: Dispatcher,
            service: Service,
            path: Path<(PersonalId, Uuid)>,
            if_match: IfMatch,
        ) -> Result<HttpResponse> {
            let Dispatcher { context, park, .. } = dispatcher;
            let (id, item_id) = path.0;
            service.0.delete_item::<$kind>(&context, &park, &id, item_id, &if_match.0).await?;
            Ok(HttpResponse::NoContent().finish())
        }
    };
}

item_routes!(
    Location FavouriteLocation,
    "favourite location",
    "/dispatcher/v1/customers/{personal_phone_id}/favourite-locations",
    "/dispatcher/v1/customers/{personal_phone_id}/favourite-locations/{item_id}",
    add_location "favourite_locations_add",
    list_locations "favourite_locations_list",
    location "favourite_locations_get",
    replace_location "favourite_locations_replace",
    remove_location "favourite_locations_delete"
);

item_routes!(
    Route RecurringRoute,
    "recurring route",
    "/dispatcher/v1/customers/{personal_phone_id}/recurring-routes",
    "/dispatcher/v1/customers/{personal_phone_id}/recurring-routes/{item_id}",
    add_route "recurring_routes_add",
    list_routes "recurring_routes_list",
    route "recurring_routes_get",
    replace_route "recurring_routes_replace",
    remove_route "recurring_routes_delete"
);

/// Called after an order was created: creates or updates the passenger. Only fields that are
/// present change, and an order older than the latest known changes none. An order placed before the
/// passenger was erased stores nothing: 409 `customer_erased`.
#[utoipa::path(operation_id = "customers_upsert", tag = "fleet-customers",
    params(IdempotencyHeader), request_body = Upsert,
    responses((status = 200, body = CustomerView, description = "The passenger, without phone and name"), CreateProblems))]
#[post("/internal/v1/customers/upsert")]
async fn upsert(
    internal: Internal,
    service: Service,
    key: IdempotencyKey,
    body: Json<Upsert>,
) -> Result<HttpResponse> {
    let Internal { context } = internal;
    let call = key.guard(&context, Some(&body.value.park_id), &body.bytes);
    Ok(HttpResponse::Ok().json(service.0.upsert(&context, body.value, call).await?))
}

/// Reads up to 500 passengers of any parks; those that do not exist are left out.
#[utoipa::path(operation_id = "customers_retrieve", tag = "fleet-customers",
    request_body = Retrieve,
    responses((status = 200, body = Items<CustomerView>, description = "Those that exist, without phones and names"), BodyProblems))]
#[post("/internal/v1/customers/retrieve")]
async fn retrieve(
    internal: Internal,
    service: Service,
    body: Json<Retrieve>,
) -> Result<HttpResponse> {
    let items = service.0.retrieve(&internal.context, &body.value.customers).await?;
    Ok(HttpResponse::Ok().json(Items { items }))
}
