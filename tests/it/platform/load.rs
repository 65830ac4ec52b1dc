//! Upserts without pause while something breaks, with account of what was acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use futures_util::future::join_all;

use super::{order_of, passenger};
use crate::support::client::{Caller, Reply};
use crate::support::eventually;

/// How many call at the same time, each for passengers of its own.
const CALLERS: usize = 12;
const PASSENGERS: usize = 4;
/// Passengers of this number and above are the load's: what a test does beside it is not counted.
const FIRST: usize = 100;

/// What became of the calls.
#[derive(Default)]
pub struct Load {
    stopping: Cell<bool>,
    /// By passenger: calls made, and calls answered 200.
    counts: RefCell<BTreeMap<String, (i32, i32)>>,
    statuses: RefCell<BTreeMap<u16, usize>>,
    codes: RefCell<BTreeMap<String, usize>>,
    longest: Cell<Duration>,
}

impl Load {
    /// Calls until [`Load::stop`].
    pub async fn run(&self, internal: &Caller) {
        let callers = (0..CALLERS).map(async |caller| {
            let mut number = 0;
            while !self.stopping.get() {
                let id = passenger(FIRST + caller * PASSENGERS + number % PASSENGERS);
                self.call(internal, id).await;
                number += 1;
                if self.statuses.borrow().len() > 1 {
                    // A refusal is no reason to call a thousand times a second.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        join_all(callers).await;
    }

    async fn call(&self, internal: &Caller, id: String) {
        self.counts.borrow_mut().entry(id.clone()).or_default().0 += 1;
        let started = Instant::now();
        let body = Some(order_of(&id).to_string());
        let reply = internal.try_send(Method::POST, "customers/upsert", body).await;
        let reply = reply.unwrap_or_else(|error| panic!("the server gave no answer: {error}"));
        self.longest.set(self.longest.get().max(started.elapsed()));
        self.note(&id, &reply);
    }

    fn note(&self, id: &str, reply: &Reply) {
        *self.statuses.borrow_mut().entry(reply.status).or_default() += 1;
        if reply.status == 200 {
            let mut counts = self.counts.borrow_mut();
            counts.get_mut(id).expect("it was counted").1 += 1;
        } else {
            let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
            *self.codes.borrow_mut().entry(code).or_default() += 1;
        }
    }

    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Calls that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.statuses.borrow().get(&200).copied().unwrap_or_default()
    }

    /// Calls that were refused so far.
    pub fn refused(&self) -> usize {
        self.statuses.borrow().iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum()
    }

    /// The longest that a call waited for its answer.
    pub fn longest(&self) -> Duration {
        self.longest.get()
    }

    /// Every answer was a success or one of these.
    #[track_caller]
    pub fn assert_refusals(&self, codes: &[&str]) {
        let seen = self.codes.borrow();
        let unexpected: Vec<_> =
            seen.iter().filter(|(code, _)| !codes.contains(&code.as_str())).collect();
        assert!(unexpected.is_empty(), "{unexpected:?} of {:?}", self.statuses.borrow());
    }

    /// What was acknowledged is stored, and nothing that was not asked for: `stored` says how many
    /// orders are counted for a passenger.
    #[track_caller]
    pub fn assert_kept(&self, stored: &BTreeMap<String, i32>) {
        assert!(self.acknowledged() > 0, "nothing was tried: {:?}", self.statuses.borrow());
        for (id, (called, acknowledged)) in self.counts.borrow().iter() {
            let stored = stored.get(id).copied().unwrap_or_default();
            assert!(stored >= *acknowledged, "{id}: {acknowledged} acknowledged, {stored} stored");
            assert!(stored <= *called, "{id}: {called} called, {stored} stored");
        }
    }
}

/// Orders counted by passenger, through the server itself.
pub async fn stored(internal: &Caller) -> BTreeMap<String, i32> {
    let keys: Vec<_> = (FIRST..FIRST + CALLERS * PASSENGERS)
        .map(|number| serde_json::json!({"park_id": super::PARK, "personal_phone_id": passenger(number)}))
        .collect();
    let body = serde_json::json!({"customers": keys});
    let read = RefCell::new(serde_json::Value::Null);
    // Those whose database was broken have little patience.
    eventually("all can be read", async || {
        let reply = internal.post("customers/retrieve", body.clone()).await;
        let is_read = reply.status == 200;
        read.replace(reply.json());
        is_read
    })
    .await;
    let items = read.into_inner()["items"].as_array().expect("items").clone();
    let count = |item: &serde_json::Value| {
        let id = item["personal_phone_id"].as_str().expect("an id").to_owned();
        let count = item["orders_count"].as_i64().expect("a count");
        (id, i32::try_from(count).expect("few"))
    };
    items.iter().map(count).collect()
}
