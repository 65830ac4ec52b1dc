//! Lanes: connections that belong to one worker thread and are driven on it.
//!
//! A connection shared between threads spends half its time handing work over; one that stays on
//! its thread takes many statements in flight without (figures in
//! `docs/performance.md`). A lane carries no transactions and is opened when first used. It lives
//! in thread-local storage: what it needs of the process is only the [`Database`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::connector::{Opened, Purpose};
use super::error::unavailable;
use super::pool::{Database, Inner};
use crate::platform::error::Result;

thread_local! {
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// One worker's connection to one database, for one user of it, under one name: behind a statement
/// that waits for a lock wait only those of the same domain.
struct Lane {
    database: Weak<Inner>,
    user: &'static str,
    name: &'static str,
    opened: Rc<Opened>,
}

impl Database {
    /// This thread's connection of that name, opened with these session settings if there is none.
    pub(super) async fn lane(
        &self,
        name: &'static str,
        options: &'static str,
    ) -> Result<Rc<Opened>> {
        if let Some(opened) = self.open_lane(name) {
            return Ok(opened);
        }
        let connected = self.0.connector.connect(Purpose::Lane { options }).await;
        let outcome = if connected.is_ok() { "ok" } else { "failed" };
        self.0.metrics.lane_connections.with_label_values(&[outcome]).inc();
        let opened = Rc::new(connected.map_err(unavailable)?);
        // Two statements may have found none: both take the first.
        if let Some(first) = self.open_lane(name) {
            return Ok(first);
        }
        LANES.with_borrow_mut(|lanes| {
            lanes.retain(|lane| lane.database.strong_count() > 0 && !lane.opened.is_closed());
            let database = Arc::downgrade(&self.0);
            lanes.push(Lane { database, user: self.user(), name, opened: Rc::clone(&opened) });
        });
        Ok(opened)
    }

    fn open_lane(&self, name: &'static str) -> Option<Rc<Opened>> {
        LANES.with_borrow(|lanes| {
            lanes
                .iter()
                .find(|lane| {
                    lane.name == name
                        && lane.user == self.user()
                        && lane.database.as_ptr() == Arc::as_ptr(&self.0)
                })
                .map(|lane| Rc::clone(&lane.opened))
                .filter(|opened| !opened.is_closed())
        })
    }
}

/// Forgets a connection that failed or hangs; the next caller opens another.
pub(super) fn forget_lane(opened: &Rc<Opened>) {
    LANES.with_borrow_mut(|lanes| {
        lanes.retain(|lane| !Rc::ptr_eq(&lane.opened, opened));
    });
}
