//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, get};

use super::model::{Binding, Poll, ShiftState, Shown, Updates};
use super::store::{BindingRow, StatusRow};
use super::{Answer, Feeds};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::identity::Internal;
use crate::platform::http::params::Query;
use crate::platform::http::problem::FeedProblems;
use crate::platform::http::routes::Routes;

/// Mounts the routes of the feeds.
pub fn mount(routes: &mut Routes<'_>) {
    routes.service(id_updates).service(status_updates);
}

/// Licences and their drivers' ids at the regulator, as they change. Without a cursor everything is
/// read from the beginning; whoever asks on with the cursor of each page, and once a second at the
/// end, has seen every change at least once: first the state, then what changed. What was removed
/// comes with `is_deleted`. After 410 `cursor_expired` begin without a cursor.
#[utoipa::path(operation_id = "deptrans_id_updates", tag = "deptrans-driver-status-integration",
    params(Poll),
    responses((status = 200, body = Updates<Binding<'static>>, description = "A page"), FeedProblems))]
#[get("/internal/v1/id/updates")]
async fn id_updates(
    caller: Internal,
    feeds: Live<Feeds>,
    poll: Query<Poll>,
) -> Result<HttpResponse> {
    updates::<BindingRow>(caller, feeds, &poll.0).await
}

/// States of shifts as they change, read like `id/updates`.
#[utoipa::path(operation_id = "deptrans_status_updates", tag = "deptrans-driver-status-integration",
    params(Poll),
    responses((status = 200, body = Updates<ShiftState<'static>>, description = "A page"), FeedProblems))]
#[get("/internal/v1/status/updates")]
async fn status_updates(
    caller: Internal,
    feeds: Live<Feeds>,
    poll: Query<Poll>,
) -> Result<HttpResponse> {
    updates::<StatusRow>(caller, feeds, &poll.0).await
}

async fn updates<R: Shown>(
    caller: Internal,
    feeds: Live<Feeds>,
    poll: &Poll,
) -> Result<HttpResponse> {
    let (limit, cursor) = (poll.limit()?, poll.cursor.as_deref());
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json");
    Ok(match feeds.0.poll::<R>(caller.context, cursor, limit).await? {
        Answer::Whole(body) => answer.body(body),
        Answer::Begun(first, page) => {
            let first = futures_util::stream::once(std::future::ready(Ok(first)));
            answer.streaming(futures_util::StreamExt::chain(first, page.rest()))
        }
    })
}
