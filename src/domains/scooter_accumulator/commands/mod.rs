//! Commands to cabinets: written down, sent once, answered by the cabinet
//! (docs/decisions/scooter-commands.md).
//!
//! `kind` is the set of them, `status` how one goes on, `store` the SQL, `sending` the cabinet's turn
//! and the publication, `wakes` who waits for an answer.

mod kind;
mod model;
mod payload;
mod routes;
mod sending;
mod service;
mod settings;
mod status;
pub mod store;
mod wakes;

pub use self::kind::CommandKind;
pub use self::model::{Answer, Failure, Witness};
pub use self::payload::payload;
pub use self::routes::mount;
pub use self::sending::{Drains, Sending, drain, mark, send, send_and_drain};
pub use self::service::{Commands, broker_unavailable, cabinet_offline};
pub use self::settings::{CommandSettings, Topics};
pub use self::status::{CommandEvent, CommandStatus};
pub use self::store::{Command, Find};
pub use self::wakes::{Seat, Wakes};
