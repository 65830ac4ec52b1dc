//! Conversations of a park with its drivers.
//!
//! `routes` (thin) → `service` (rules) → `store` (SQL). Every message and read mark is an event of its
//! park, numbered without gaps: `events` reads them, `stream` sends them to a dispatcher's browser,
//! `hub` wakes the streams. `push` is a background task; `cleaning` removes what is old. Reasons stand in
//! `docs/decisions/conversations.md`.

mod cleaning;
mod events;
mod hub;
mod model;
mod push;
mod routes;
mod service;
mod settings;
mod store;
mod stream;

use std::sync::Arc;

pub(super) use self::cleaning::cleanings;
use self::hub::Hub;
use self::push::{Push, PushMessage};
pub(super) use self::settings::ConversationSettings;
use self::stream::Reader;
use super::Tools;
use crate::platform::domain::Platform;
use crate::platform::http::routes::Routes;
use crate::platform::shutdown::Shutdown;

/// Conversations.
pub(super) struct Conversations {
    tools: Arc<Tools>,
    hub: Arc<Hub>,
    reader: Reader,
    shutdown: Shutdown,
}

impl Conversations {
    /// Takes up the tasks and wakes streams, until the process stops.
    pub(super) fn start(tools: Arc<Tools>, platform: &Platform) -> Self {
        let settings = &tools.settings.conversations;
        let database = &tools.database;

        let push = Push {
            database: database.clone(),
            feeds: tools.feeds.clone(),
            metrics: tools.metrics.clone(),
        };
        tools.tasks.handle::<PushMessage, _>(move |running| push.clone().run(running));

        platform.metrics.limit("fleet_communications_event_streams", settings.max_streams);
        let hub = Hub::new(settings, tools.metrics.streams.clone());
        let (watched, look) = (Arc::clone(&hub), settings.look());
        let (pool, stop) = (database.clone(), platform.shutdown.clone());
        platform.runtime.spawn(async move { pool.follow(&*watched, look, &stop).await });
        let reader = Reader::new(database.clone());
        Self { hub, reader, shutdown: platform.shutdown.clone(), tools }
    }
}

pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}
