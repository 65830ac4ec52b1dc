//! Scenario 15: somebody of another park calls with this park's ids while it works, its customers are
//! erased while it writes to its drivers, and processes are killed.

use std::cell::{Cell, RefCell};

use actix_web::http::Method;
use fleet::sandbox::Sandbox;
use futures_util::future::{join, join_all, join3};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::processes::Processes;
use super::rig::{Counts, Run, drivers, seeds, until};
use crate::support::app::{configuration, start_sandbox};
use crate::support::client::{Caller, Reply};
use crate::support::database::TestDatabase;
use crate::support::names_of_series;

const ORDERS: &str = "fleet-orders-manager";
const CUSTOMERS: &str = "fleet-customers";
const MAILS: &str = "fleet-communications";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";
/// Every phone number of the park has these digits, and every text of it this word.
const DIGITS: &str = "9991234";
const WORD: &str = "marker-of-the-park";
const WORKERS: usize = 3;
const STRANGERS: usize = 4;
/// It goes on until strangers have called so often.
const CALLS: u64 = 100;
/// Those who look after the log at their worst see what is in it at this level.
const ENV: [(&str, &str); 5] = [
    ("FLEET__TELEMETRY__LOG", "debug,tokio_postgres=info,h2=info,hyper=info"),
    ("FLEET__TASKS__LEASE_MS", "1500"),
    ("FLEET__TASKS__POLL_MS", "50"),
    ("FLEET__TASKS__BACKOFF_BASE_MS", "20"),
    ("FLEET__TASKS__BACKOFF_MAX_MS", "500"),
];

/// What the park has, by its ids.
#[derive(Default)]
struct Belongings {
    customers: RefCell<Vec<String>>,
    locations: RefCell<Vec<String>>,
    orders: RefCell<Vec<String>>,
    mailings: RefCell<Vec<String>>,
    templates: RefCell<Vec<String>>,
    erased: RefCell<Vec<(String, String)>>,
}

struct Site {
    processes: Processes,
    sandbox: Sandbox,
    database: TestDatabase,
    has: Belongings,
    over: Cell<bool>,
    refused: Cell<u64>,
    foreign: Cell<u64>,
}

#[track_caller]
fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
}

/// All of them, as they are now.
fn all<T: Clone>(of: &RefCell<Vec<T>>) -> Vec<T> {
    of.borrow().clone()
}

fn location(label: &str) -> Value {
    json!({"label": label, "address": label, "lat": 55.75, "lon": 37.5})
}

impl Site {
    async fn start() -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        sandbox.set_park(PARK, json!({"drivers": 300})).unwrap();
        sandbox.set_park(OTHER_PARK, json!({"drivers": 3})).unwrap();
        let config = configuration(&database.url(), &sandbox);
        let config = format!("domains = ['{CUSTOMERS}', '{ORDERS}', '{MAILS}']\n{config}");
        let processes = Processes::start(2, config, &ENV).await;
        let (has, over) = (Belongings::default(), Cell::new(false));
        let (refused, foreign) = (Cell::new(0), Cell::new(0));
        Self { processes, sandbox, database, has, over, refused, foreign }
    }

    async fn own(
        &self,
        number: usize,
        domain: &str,
        call: (Method, &str, Option<&Value>),
    ) -> Reply {
        self.processes.call(number, |root| root.dispatcher(domain, PARK), call).await
    }

    /// One more customer with an order, a location and a mailing; then some are erased.
    async fn work_once(&self, number: usize, round: usize) {
        let phone = format!("+7{DIGITS}{:03}", (number * 100 + round) % 1_000);
        let post = Method::POST;
        let upsert = json!({"park_id": PARK, "phone": phone, "ordered_at": "2026-05-01T12:00:00Z"});
        let internal = |root: Caller| root.internal(CUSTOMERS);
        let call = (post.clone(), "customers/upsert", Some(&upsert));
        let customer = self.processes.call(number, internal, call).await.expect(200);
        let customer = text(&customer, "personal_phone_id");
        let path = format!("customers/{customer}/favourite-locations");
        let body = location(WORD);
        let added = self.own(number, CUSTOMERS, (post.clone(), &path, Some(&body))).await;
        self.has.locations.borrow_mut().push(text(&added.expect(201), "id"));

        let draft = json!({"phone": phone, "route": [{"lat": 55.75, "lon": 37.61}], "classes": ["econom"], "comment": WORD});
        let path = "orders/draft";
        let order = self.own(number, ORDERS, (post.clone(), path, Some(&draft))).await.expect(200);
        let order = text(&order, "order_id");
        let body = json!({"order_id": order});
        self.own(number, ORDERS, (post.clone(), "orders/commit", Some(&body))).await.expect(200);
        self.has.orders.borrow_mut().push(order);

        let body = json!({"message": WORD, "filter": {}});
        let mailing = self.own(number, MAILS, (post.clone(), "mailings", Some(&body))).await;
        let mailing = mailing.expect(202);
        self.has.templates.borrow_mut().push(text(&mailing, "template_id"));
        self.has.mailings.borrow_mut().push(text(&mailing, "mailing_id"));

        if round % 2 == 1 {
            let request = format!("erasure-{number}-{round}");
            let takeout = |root: Caller| root.takeout(CUSTOMERS);
            let body = json!({"request_id": request, "personal_phone_ids": [customer]});
            let call = (post, "delete", Some(&body));
            self.processes.call(number, takeout, call).await.expect(202);
            self.has.erased.borrow_mut().push((request, customer));
        } else {
            self.has.customers.borrow_mut().push(customer);
        }
    }

    async fn work(&self, number: usize) {
        for round in 0.. {
            if self.over.get() {
                return;
            }
            self.work_once(number, round).await;
        }
    }

    /// A call of the other park with an id of this one, or with nobody's.
    fn foreign_call(&self, random: &mut StdRng) -> (&'static str, Method, String, Option<Value>) {
        let mut one = |of: &RefCell<Vec<String>>| of.borrow().choose(random).cloned();
        let has = &self.has;
        let mut id = |of| one(of).unwrap_or_else(|| NOBODYS.to_owned());
        let customer = format!("customers/{}", id(&has.customers));
        let item = format!("{customer}/favourite-locations/{}", id(&has.locations));
        let order = json!({"order_id": id(&has.orders)});
        let mut change = order.clone();
        change["revision"] = json!(2);
        let mut cancel = change.clone();
        cancel["reason"] = json!("theirs");
        change["comment"] = json!("theirs");
        let mailing = format!("mailings/{}", id(&has.mailings));
        let template = format!("mailing-templates/{}", id(&has.templates));
        let from_template = json!({"template_id": id(&has.templates)});
        let drivers = self.sandbox.driver_ids(PARK);
        let driver = drivers.choose(random).unwrap();
        let messages = format!("conversations/{driver}/messages");
        let template_body = json!({"message": "theirs", "filter": {}});
        let options = json!({"sms_enabled": true, "order_options": null});
        let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
        let calls = [
            (CUSTOMERS, get.clone(), customer.clone(), None),
            (CUSTOMERS, put.clone(), customer.clone(), Some(options)),
            (CUSTOMERS, Method::PATCH, customer.clone(), Some(json!({"sms_enabled": true}))),
            (CUSTOMERS, Method::DELETE, customer.clone(), None),
            (CUSTOMERS, get.clone(), format!("{customer}/favourite-locations"), None),
            (CUSTOMERS, get.clone(), item.clone(), None),
            (CUSTOMERS, put.clone(), item.clone(), Some(location("theirs"))),
            (CUSTOMERS, Method::DELETE, item, None),
            (ORDERS, post.clone(), "orders/commit".into(), Some(order)),
            (ORDERS, post.clone(), "orders/edit".into(), Some(change)),
            (ORDERS, post.clone(), "orders/cancel".into(), Some(cancel)),
            (MAILS, get.clone(), mailing.clone(), None),
            (MAILS, post.clone(), format!("{mailing}/cancel"), Some(json!({}))),
            (MAILS, post.clone(), format!("{mailing}/retry"), Some(json!({}))),
            (MAILS, get.clone(), template.clone(), None),
            (MAILS, put, template.clone(), Some(template_body)),
            (MAILS, Method::DELETE, template, None),
            (MAILS, post.clone(), "mailings".into(), Some(from_template)),
            (MAILS, get.clone(), messages.clone(), None),
            (MAILS, post, messages, Some(json!({"text": "theirs"}))),
            (CUSTOMERS, get.clone(), "customers".into(), None),
            (MAILS, get, "mailings".into(), None),
        ];
        calls.choose(random).unwrap().clone()
    }

    async fn intrude(&self, number: usize, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.over.get() {
            let (domain, method, path, body) = self.foreign_call(&mut random);
            let dress = |root: Caller| root.dispatcher(domain, OTHER_PARK);
            let call = (method.clone(), path.as_str(), body.as_ref());
            let reply = self.processes.call(number, dress, call).await;
            let is_list = !path.contains('/') && method == Method::GET;
            let is_refused = match reply.status {
                404 => true,
                // What is not there is as good as deleted.
                204 => method == Method::DELETE,
                200 => is_list && reply.json()["items"] == json!([]),
                _ => false,
            };
            let tells = reply.text().contains(WORD) || reply.text().contains(DIGITS);
            if is_refused && !tells {
                self.refused.set(self.refused.get() + 1);
            } else {
                println!("foreign: {method} {path}: {} {}", reply.status, reply.text());
                self.foreign.set(self.foreign.get() + 1);
            }
        }
    }

    /// What the park has no more, or otherwise than it left it.
    async fn missing(&self) -> u64 {
        let mut missing = 0;
        // A draft whose answer was lost is nobody's; those that the park knows are as it left them.
        let (kept, known) = (self.sandbox.orders(PARK), all(&self.has.orders));
        for id in &known {
            let order = kept.iter().find(|order| order.order_id == *id);
            let state = order.map(|order| (&*order.status, order.revision));
            missing += u64::from(state != Some(("committed", 2)));
        }
        let others = kept.iter().filter(|order| !known.contains(&order.order_id));
        missing += others.filter(|order| order.status == "cancelled").count() as u64;
        for mailing in all(&self.has.mailings) {
            let path = format!("mailings/{mailing}");
            let shown = self.own(0, MAILS, (Method::GET, &path, None)).await.expect(200);
            missing += u64::from(shown["status"] != "sent" || shown["message"] != WORD);
        }
        for template in all(&self.has.templates) {
            let path = format!("mailing-templates/{template}");
            let shown = self.own(0, MAILS, (Method::GET, &path, None)).await;
            missing += u64::from(shown.status != 200 || shown.json()["message"] != WORD);
        }
        for customer in all(&self.has.customers) {
            let path = format!("customers/{customer}/favourite-locations");
            let list = self.own(0, CUSTOMERS, (Method::GET, &path, None)).await.expect(200);
            let labels = list["items"].as_array().unwrap().iter().map(|item| &item["label"]);
            missing += u64::from(labels.filter(|label| **label == WORD).count() == 0);
        }
        missing
    }

    /// Waits until everything that was begun is done.
    async fn settled(&self) {
        let open = "SELECT count(*) FROM fleet_communications.mailings WHERE status <> 'sent'";
        until("every mailing is sent", async || self.database.count(open).await == 0).await;
        for (request, _) in all(&self.has.erased) {
            let takeout = |root: Caller| root.takeout(CUSTOMERS);
            let path = format!("receipts/{request}");
            until("the erasure is completed", async || {
                let receipt = self.processes.call(0, takeout, (Method::GET, &path, None)).await;
                receipt.expect(200)["status"] == "completed"
            })
            .await;
        }
    }

    /// Lines with a phone number in what the processes wrote, count, keep and put aside.
    async fn leaks(&self) -> u64 {
        let mut texts = vec![("the log", self.processes.said())];
        for number in 0..self.processes.count() {
            let metrics = self.processes.call(number, |root| root, (Method::GET, "metrics", None));
            texts.push(("metrics", names_of_series(&metrics.await.text())));
        }
        texts.push(("the database", self.database.dump().await));
        assert!(texts.iter().all(|(_, text)| text.len() > 1_000), "there is little to look at");
        let mut leaks = 0;
        for (what, text) in texts {
            for line in text.lines().filter(|line| shows_a_number(line)) {
                println!("a phone number in {what}: {line}");
                leaks += 1;
            }
        }
        leaks
    }
}

/// A longer run of letters and digits is an id, which may have these digits by chance.
fn shows_a_number(line: &str) -> bool {
    let runs = line.split(|c: char| !c.is_ascii_alphanumeric());
    runs.filter(|run| run.len() <= 12).any(|run| run.contains(DIGITS))
}

#[actix_web::test]
async fn a_stranger_sees_and_changes_nothing_whatever_else_happens() {
    for seed in seeds() {
        let mut run = Run::of("15 hostile tenant", seed);
        let site = Site::start().await;
        let kills = if drivers() < 50_000 { 3 } else { 12 };
        let breaking = async {
            for _ in 0..kills {
                run.pause(500, 1_000).await;
                site.processes.replace(run.random.random_range(0..2)).await;
            }
            until("calls enough", async || site.refused.get() + site.foreign.get() > CALLS).await;
            site.over.set(true);
        };
        let working = join_all((0..WORKERS).map(|number| site.work(number)));
        let seed_of = |number: usize| seed * 100 + number as u64;
        let intruding = join_all((0..STRANGERS).map(|n| site.intrude(n, seed_of(n))));
        join3(working, intruding, breaking).await;
        site.settled().await;
        for (_, customer) in all(&site.has.erased) {
            let path = format!("customers/{customer}");
            let reply = site.own(0, CUSTOMERS, (Method::GET, &path, None)).await;
            reply.problem(404, "customer_not_found");
        }
        let (lost, leaks) = join(site.missing(), site.leaks()).await;
        let (refused, foreign) = (site.refused.get(), site.foreign.get());
        assert!(!site.has.erased.borrow().is_empty(), "nobody was erased");
        let counts = Counts {
            selected: refused + foreign,
            delivered: refused,
            lost,
            doubled: foreign + leaks,
        };
        run.assert(kills, counts);
    }
}
