//! Lanes: connections that belong to one worker thread and are driven on it.
//!
//! A connection shared between threads spends half its time handing work over; one that stays on
//! its thread takes many statements in flight without (`../shared` figures in
//! `docs/performance.md`). A lane carries no transactions and is opened when first used. It lives
//! in thread-local storage: what it needs of the process is only the [`Database`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use diesel_async::AsyncPgConnection;

use super::connector::Purpose;
use super::error::unavailable;
use super::pool::{Database, Inner};
use crate::platform::error::Result;

thread_local! {
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// One worker's connection to one database under one name.
struct Lane {
    database: Weak<Inner>,
    name: &'static str,
    connection: Rc<AsyncPgConnection>,
}

impl Database {
    /// This thread's connection of that name, opened if there is none.
    pub(super) async fn lane(&self, name: &'static str) -> Result<Rc<AsyncPgConnection>> {
        if let Some(connection) = self.open_lane(name) {
            return Ok(connection);
        }
        let connected = self.0.connector.connect(Purpose::Lane).await;
        let outcome = if connected.is_ok() { "ok" } else { "failed" };
        self.0.metrics.lane_connections.with_label_values(&[outcome]).inc();
        let connection = Rc::new(connected.map_err(unavailable)?);
        LANES.with_borrow_mut(|lanes| {
            lanes.retain(|lane| lane.database.strong_count() > 0);
            let database = Arc::downgrade(&self.0);
            lanes.push(Lane { database, name, connection: Rc::clone(&connection) });
        });
        Ok(connection)
    }

    fn open_lane(&self, name: &'static str) -> Option<Rc<AsyncPgConnection>> {
        LANES.with_borrow(|lanes| {
            lanes
                .iter()
                .find(|lane| lane.name == name && lane.database.as_ptr() == Arc::as_ptr(&self.0))
                .map(|lane| Rc::clone(&lane.connection))
        })
    }
}

/// Forgets a connection that failed or hangs; the next caller opens another.
pub(super) fn forget_lane(connection: &Rc<AsyncPgConnection>) {
    LANES.with_borrow_mut(|lanes| {
        lanes.retain(|lane| !Rc::ptr_eq(&lane.connection, connection));
    });
}
