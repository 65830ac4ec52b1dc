//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, get, post};

use super::Conversations;
use super::model::{Conversation, Message, NewMessage, ReadMark, Reader};
use super::service::contractor;
use super::store::Key;
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::{Dispatcher, DispatcherHeaders, Driver, DriverHeaders};
use crate::platform::http::pagination::{Page, Paging};
use crate::platform::http::params::{Path, Query};
use crate::platform::http::problem::{BodyProblems, CreateProblems, ReadProblems};
use crate::platform::http::routes::Routes;
use crate::platform::http::sse::{self, LastEventId, LastEventIdHeader};
use crate::platform::ids::ContractorId;

/// Mounts the routes of conversations.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes
        .service(driver_messages)
        .service(driver_write)
        .service(driver_read)
        .service(list)
        .service(events)
        .service(messages)
        .service(write)
        .service(read);
}

type Service = Live<Conversations>;

/// The path parameter of a conversation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct ConversationPath {
    /// The driver's id within the park.
    #[param(value_type = ContractorId)]
    contractor_id: ContractorId,
}

/// What the driver and his park wrote to each other, the newest first.
#[utoipa::path(operation_id = "conversation_messages", tag = "fleet-communications",
    params(DriverHeaders, Paging),
    responses((status = 200, body = Page<Message>, description = "A page"), ReadProblems))]
#[get("/driver/v1/conversation/messages")]
async fn driver_messages(
    driver: Driver,
    service: Service,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let contractor = &contractor(&driver.driver_profile_id)?;
    let key = Key { park: &driver.park, contractor };
    let (limit, before) = (paging.0.limit()?, paging.0.position()?);
    let service = service.0;
    let (items, next) =
        service.messages(&driver.context, key, Reader::Driver, before, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// The driver writes to his park.
#[utoipa::path(operation_id = "conversation_write", tag = "fleet-communications",
    params(DriverHeaders, IdempotencyHeader), request_body = NewMessage,
    responses((status = 201, body = Message, description = "It was sent"), CreateProblems))]
#[post("/driver/v1/conversation/messages")]
async fn driver_write(
    driver: Driver,
    service: Service,
    key: IdempotencyKey,
    body: Json<NewMessage>,
) -> Result<HttpResponse> {
    let call = key.guard_of_driver(&driver, &body.bytes);
    let contractor = &contractor(&driver.driver_profile_id)?;
    let key = Key { park: &driver.park, contractor };
    let text = &body.value.text;
    let message = service.0.write_to_park(&driver.context, key, text, call).await?;
    Ok(HttpResponse::Created().json(message))
}

/// The driver has read what the park wrote, up to a message. Repeating it, or naming an earlier
/// message, does no harm.
#[utoipa::path(operation_id = "conversation_read", tag = "fleet-communications",
    params(DriverHeaders), request_body = ReadMark,
    responses((status = 204, description = "It is marked"), BodyProblems))]
#[post("/driver/v1/conversation/read")]
async fn driver_read(
    driver: Driver,
    service: Service,
    body: Json<ReadMark>,
) -> Result<HttpResponse> {
    let contractor = &contractor(&driver.driver_profile_id)?;
    let key = Key { park: &driver.park, contractor };
    let up_to = body.value.up_to_message_id;
    service.0.mark_read(&driver.context, key, Reader::Driver, up_to).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The park's conversations: those with unread messages first, then the most recent. One that changes
/// its place while pages are read may be seen twice or not at all: watch the events.
#[utoipa::path(operation_id = "conversations_list", tag = "fleet-communications",
    params(DispatcherHeaders, Paging),
    responses((status = 200, body = Page<Conversation>, description = "A page"), ReadProblems))]
#[get("/dispatcher/v1/conversations")]
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

/// New messages and read marks of the park, as server-sent events. `message` carries
/// `{"contractor_id", "message": Message}`, `read` `{"contractor_id", "reader": "park"|"driver",
/// "up_to_message_id", "read_at"}`. After `reset` events were missed that are not kept any more: load
/// anew what is shown; the stream goes on from there. Open the stream first and then load the lists,
/// so that nothing falls in between. The server closes a stream now and then; a client that comes back
/// with `Last-Event-ID` misses nothing and sees nothing twice.
#[utoipa::path(operation_id = "conversations_events", tag = "fleet-communications",
    params(DispatcherHeaders, LastEventIdHeader),
    responses((status = 200, body = String, content_type = "text/event-stream",
        description = "A stream that does not end by itself"), ReadProblems))]
#[get("/dispatcher/v1/conversations/events")]
async fn events(
    dispatcher: Dispatcher,
    service: Service,
    last_seen: LastEventId,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    let stream = service.0.watch(&context, &park, last_seen.0).await?;
    Ok(sse::respond(stream.frames()))
}

/// A conversation's messages, the newest first.
#[utoipa::path(operation_id = "conversations_messages", tag = "fleet-communications",
    params(DispatcherHeaders, ConversationPath, Paging),
    responses((status = 200, body = Page<Message>, description = "A page"), ReadProblems))]
#[get("/dispatcher/v1/conversations/{contractor_id}/messages")]
async fn messages(
    dispatcher: Dispatcher,
    service: Service,
    contractor: Path<ContractorId>,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    let key = Key { park: &park, contractor: &contractor.0 };
    let (limit, before) = (paging.0.limit()?, paging.0.position()?);
    let (items, next) = service.0.messages(&context, key, Reader::Park, before, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// Writes to a driver of the park. It is shown in the app, too, unless it was read before.
#[utoipa::path(operation_id = "conversations_write", tag = "fleet-communications",
    params(DispatcherHeaders, ConversationPath, IdempotencyHeader), request_body = NewMessage,
    responses((status = 201, body = Message, description = "It was sent"), CreateProblems))]
#[post("/dispatcher/v1/conversations/{contractor_id}/messages")]
async fn write(
    dispatcher: Dispatcher,
    service: Service,
    contractor: Path<ContractorId>,
    key: IdempotencyKey,
    body: Json<NewMessage>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, dispatcher_id } = dispatcher;
    let call = key.guard(&context, Some(&park), &body.bytes);
    let key = Key { park: &park, contractor: &contractor.0 };
    let text = &body.value.text;
    let message = service.0.write_to_driver(&context, key, dispatcher_id, text, call).await?;
    Ok(HttpResponse::Created().json(message))
}

/// The park has read what a driver wrote, up to a message. Repeating it, or naming an earlier
/// message, does no harm.
#[utoipa::path(operation_id = "conversations_read", tag = "fleet-communications",
    params(DispatcherHeaders, ConversationPath), request_body = ReadMark,
    responses((status = 204, description = "It is marked"), BodyProblems))]
#[post("/dispatcher/v1/conversations/{contractor_id}/read")]
async fn read(
    dispatcher: Dispatcher,
    service: Service,
    contractor: Path<ContractorId>,
    body: Json<ReadMark>,
) -> Result<HttpResponse> {
    let Dispatcher { context, park, .. } = dispatcher;
    let key = Key { park: &park, contractor: &contractor.0 };
    let up_to = body.value.up_to_message_id;
    service.0.mark_read(&context, key, Reader::Park, up_to).await?;
    Ok(HttpResponse::NoContent().finish())
}
