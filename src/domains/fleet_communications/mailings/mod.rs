//! Mailings: a message to many of a park's drivers, ordered by a dispatcher, kept as a template, sent
//! by a background task.
//!
//! `service` orders, shows, cancels and resumes; `templates` keeps what can be sent again. `sending`
//! selects the recipients (`audience`), stores them in chunks and hands chunk after chunk to `feeds`;
//! `recall` takes back what went out of a cancelled mailing; `watch` finds mailings whose task is
//! gone; `cleaning` removes old ones. All of them take the mailing's row lock before they
//! change anything of it.

mod audience;
mod chunks;
mod cleaning;
mod model;
mod recall;
mod routes;
mod sending;
mod service;
mod store;
mod templates;
mod text;
mod watch;

use std::sync::Arc;

pub(super) use self::chunks::Rises;
pub(super) use self::cleaning::cleanings;
pub(super) use self::routes::mount;
pub(super) use self::service::Mailings;
use super::Tools;

impl Mailings {
    /// Registers the work in the background.
    pub(super) fn start(tools: Arc<Tools>) -> Self {
        sending::register(&tools);
        recall::register(&tools);
        watch::register(&tools);
        Self::new(tools)
    }
}

/// The id under which a chunk is handed to `feeds`, the same in every attempt.
fn request_id(mailing: &str, chunk: i32) -> String {
    format!("mailing-{mailing}-{chunk}")
}
