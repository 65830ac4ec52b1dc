//! Scenario 13 at random: technicians book, open, take, bring back, swap and give up, one thing after
//! another, while the process is killed, the broker restarts, and cabinets are mute, late, deaf, cut off
//! or tell everything several times; beside it, where everything really is. After each step both are the
//! same.

mod faults;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use fleet::sandbox::cabinets::{Cabinet, Cell, Habit};
use futures_util::FutureExt;
use futures_util::future::join_all;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use uuid::Uuid;

use self::faults::Fault;
use self::truth::{Booked, Kind, Truth, held, judge};
use super::cabinets::Site;
use super::rig::{Counts, Run, limit, seeds, stride, until};
use crate::scooter_accumulator::INVARIANTS;
use crate::support::client::Reply;
use crate::support::proxy::Mode;

/// Steps of a walk by which everything is tried.
const STEPS: u64 = 650;
const TECHNICIANS: [&str; 2] = ["t-0", "t-1"];
const SCOOTERS: [&str; 2] = ["s-0", "s-1"];
/// No timer ends a booking but where the walk wants it.
const SETTINGS: &str = "[scooter_accumulator]\nsweep_ms = 100\n[scooter_accumulator.commands]\n\
     answer_ms = 700\nttl_ms = 700\nsettle_ms = 3600000\npace_ms = 0\npoll_ms = 2000\n\
     ask_again_ms = 200\noffline_after_ms = 600000\n";
const TICK: Duration = Duration::from_millis(3);

/// What was done; told when it came out wrong.
#[derive(Default)]
struct Journal(Vec<String>);

impl Journal {
    fn note(&mut self, line: String) {
        self.0.push(line);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0.join("\n"));
        }
    }
}

struct Walk {
    site: Site,
    journal: Journal,
    run: Run,
    truth: Truth,
    faults: usize,
    /// Executions, those by which a door opened, and those that were answered 200.
    executions: u64,
    executed: u64,
    answered: u64,
}

impl Walk {
    async fn of(run: Run) -> Self {
        let site = Site::with(1, SETTINGS, Habit::default()).await;
        // Nobody entered them: that is known.
        let entered = "UPDATE scooter_accumulator.accumulators SET flagged = false";
        site.database.execute(entered).await;
        Self {
            site,
            journal: Journal::default(),
            run,
            truth: Truth::default(),
            faults: 0,
            executions: 0,
            executed: 0,
            answered: 0,
        }
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.run.random).expect("one of several")
    }

    fn chance(&mut self, of_ten: u32) -> bool {
        self.run.random.random_range(0..10) < of_ten
    }

    fn any_cabinet(&mut self) -> Cabinet {
        let number = self.run.random.random_range(0..self.site.cabinets().len());
        self.site.cabinets()[number].clone()
    }

    /// One thing that can be done now.
    async fn step(&mut self) {
        match self.run.random.random_range(0..20) {
            0..6 => self.book().await,
            6..14 => self.execute().await,
            14 => self.cancel().await,
            15 => self.let_expire().await,
            16 | 17 => self.swap().await,
            18 => self.steal().await,
            _ => self.find_again().await,
        }
        self.compare().await;
    }

    async fn book(&mut self) {
        let technician = self.any(&TECHNICIANS);
        let kind = match self.truth.has(technician).len() {
            0 => Kind::Pickup,
            1 => self.any(&[Kind::Pickup, Kind::Return]),
            _ => Kind::Return,
        };
        let cabinet = self.any_cabinet();
        let free = self.truth.free(&cabinet, kind);
        // Mostly what there is.
        let most = if free.is_empty() || self.chance(2) { 3 } else { free.len().min(3) };
        let count = self.run.random.random_range(1..=most);
        let body = json!({"cabinet_id": cabinet.id(), "contractor_id": technician,
            "kind": kind.name(), "count": count});
        self.journal.note(format!("{technician} books: {body}"));
        let reply = self.insist(Method::POST, "bookings", Some(&body)).await;
        // That it is back is told after that it went.
        if code_of(&reply) == "cabinet_offline" {
            return;
        }
        if free.len() < count {
            let code = match kind {
                Kind::Pickup => "not_enough_accumulators",
                Kind::Return => "not_enough_cells",
            };
            reply.problem(409, code);
            return;
        }
        let made = reply.expect(201);
        let of = |cell: &Value| {
            let n = usize::try_from(cell["n"].as_u64().unwrap()).unwrap();
            (n, cell["accumulator_id"].as_str().map(str::to_owned))
        };
        let cells: BTreeMap<_, _> = made["cells"].as_array().unwrap().iter().map(of).collect();
        assert_eq!(cells.len(), count, "{made}");
        for (n, named) in &cells {
            assert!(free.contains(n), "{n} is another's: {made}");
            assert_eq!(*named, held(&cabinet, *n), "{made}");
        }
        let id = made["id"].as_str().unwrap().to_owned();
        self.truth.bookings.push(Booked { id, cabinet, technician, kind, cells, fate: None });
    }

    /// A live booking, by its number.
    fn any_live(&mut self) -> Option<usize> {
        let live: Vec<usize> = self.truth.live().map(|(number, _)| number).collect();
        live.choose(&mut self.run.random).copied()
    }

    /// A live booking at which a door can open: its technician has what he is to bring.
    fn any_to_execute(&mut self) -> Option<usize> {
        let truth = &self.truth;
        let can = |it: &Booked| it.kind == Kind::Pickup || !truth.has(it.technician).is_empty();
        let live: Vec<usize> =
            truth.live().filter(|(_, it)| can(it)).map(|(number, _)| number).collect();
        live.choose(&mut self.run.random).copied()
    }

    async fn cancel(&mut self) {
        let Some(number) = self.any_live() else { return };
        let path = format!("bookings/{}", self.truth.bookings[number].id);
        self.journal.note(format!("cancels {path}"));
        assert_eq!(self.insist(Method::DELETE, &path, None).await.status, 204);
        self.has_ended(number, "cancelled").await;
    }

    async fn let_expire(&mut self) {
        let Some(number) = self.any_live() else { return };
        let id = self.truth.bookings[number].id.clone();
        self.journal.note(format!("lets {id} expire"));
        let sql = format!(
            "UPDATE scooter_accumulator.bookings SET expires_at = now() - interval '1 second' \
             WHERE id = '{id}'"
        );
        self.site.database.execute(&sql).await;
        let site = &self.site;
        until("it is written down", async || site.fates().await[&id].starts_with("expired")).await;
        self.has_ended(number, "expired").await;
    }

    async fn has_ended(&mut self, number: usize, status: &str) {
        let fate = self.site.fates().await[&self.truth.bookings[number].id].clone();
        assert!(fate.starts_with(status), "{fate}");
        self.truth.bookings[number].fate = Some(fate);
    }

    async fn swap(&mut self) {
        let (technician, scooter) = (self.any(&TECHNICIANS), self.any(&SCOOTERS));
        let Some(charged) = self.truth.has(technician).pop() else { return };
        let out = self.truth.scooters.get(scooter).cloned();
        let mut body = json!({"contractor_id": technician, "charged_accumulator_id": charged});
        if let Some(out) = &out {
            body["discharged_accumulator_id"] = json!(out);
        }
        self.journal.note(format!("swaps at {scooter}: {body}"));
        self.insist(Method::POST, &format!("scooters/{scooter}/swap"), Some(&body))
            .await
            .expect(200);
        let has = self.truth.hands.get_mut(technician).unwrap();
        has.remove(&charged);
        has.extend(out);
        self.truth.scooters.insert(scooter.to_owned(), charged);
    }

    /// Somebody breaks a cell open. The database says who is thought to have it.
    async fn steal(&mut self) {
        let cabinet = self.any_cabinet();
        let free = self.truth.free(&cabinet, Kind::Pickup);
        let Some(n) = free.choose(&mut self.run.random).copied() else { return };
        self.journal.note(format!("cell {n} of {} is broken open", cabinet.id()));
        let taken = cabinet.take_by_force(n).unwrap().id;
        cabinet.shut(n).unwrap();
        let (site, there) = (&self.site, format!("{} {n}", cabinet.id()));
        until("it is gone", async || site.places().await[&taken] != there).await;
        let suspect = site.places().await.remove(&taken).expect("it is known");
        let has = match suspect.as_str() {
            "nowhere" => &mut self.truth.lost,
            _ => self.truth.hands.entry(suspect).or_default(),
        };
        has.insert(taken.clone());
        self.truth.stolen.insert(taken);
    }

    /// What was lost turns up in a cabinet.
    async fn find_again(&mut self) {
        let cabinet = self.any_cabinet();
        let free = self.truth.free(&cabinet, Kind::Return);
        let Some(n) = free.choose(&mut self.run.random).copied() else { return };
        let Some(id) = self.truth.lost.pop_first() else { return };
        self.journal.note(format!("{id} turns up in cell {n} of {}", cabinet.id()));
        cabinet.set_cell(n, Cell::holding(id, 100.0)).unwrap();
        cabinet.report();
        let site = &self.site;
        until("it is there", async || site.differences().await == 0).await;
    }

    /// Calls until there is an answer, with one key; sometimes the process dies over it.
    async fn insist(&mut self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let mut is_to_die = self.chance(2);
        let key = Uuid::now_v7().to_string();
        if is_to_die {
            let piece = self.run.random.random_range(0..12);
            self.site.proxy.set(Mode::HaltAfter(piece));
        }
        let started = Instant::now();
        let reply = loop {
            assert!(started.elapsed() < limit(), "no answer to {method} {path}");
            let caller = self.site.caller(0).header("Idempotency-Key", &key);
            let call = caller.try_send(method.clone(), path, body.map(Value::to_string));
            let mut call = Box::pin(call.fuse());
            let reply = loop {
                futures_util::select_biased! {
                    reply = call => break reply.ok(),
                    () = Box::pin(tokio::time::sleep(TICK).fuse()) => {}
                }
                if self.site.proxy.has_halted() {
                    break None;
                }
            };
            if self.site.proxy.has_halted() {
                self.faults += 1;
                is_to_die = false;
                self.restart().await;
            }
            // Who died may still hold the key for a moment.
            let again = |reply: &Reply| {
                [503, 504].contains(&reply.status)
                    || code_of(reply) == "idempotency_key_in_progress"
            };
            if let Some(reply) = reply.filter(|reply| !again(reply)) {
                break reply;
            }
        };
        if is_to_die {
            self.restart().await;
        }
        reply
    }

    /// The process dies, whatever it is at; another goes on in its place.
    async fn restart(&self) {
        self.site.kill(0);
        self.site.proxy.set(Mode::Close);
        until("nothing of it is left", async || self.site.proxy.open() == 0).await;
        self.site.proxy.set(Mode::Pass);
        self.site.start().await;
    }

    async fn execute(&mut self) {
        if self.any_to_execute().is_none() {
            self.book().await;
        }
        let Some(number) = self.any_to_execute() else { return };
        let booked = self.truth.bookings[number].clone();
        let order = match booked.kind {
            Kind::Pickup => json!({}),
            Kind::Return => {
                let mut has = self.truth.has(booked.technician);
                has.truncate(booked.cells.len());
                json!({ "accumulator_ids": has })
            }
        };
        self.executions += 1;
        let mut fault = Fault::any(&mut self.run);
        self.journal.note(format!(
            "{} executes {} with {order} under {fault:?}",
            booked.technician, booked.id
        ));
        let before = booked.cabinet.openings().len();
        fault.begin(&self.site, &booked.cabinet);
        let path = format!("bookings/{}/execute", booked.id);
        let caller = self.site.caller(0).header("X-Request-Timeout-Ms", fault.patience_ms());
        let call = || caller.try_send(Method::POST, &path, Some(order.to_string()));
        let mut calls = Box::pin(join_all((0..fault.callers()).map(|_| call())).fuse());
        let replies = loop {
            futures_util::select_biased! {
                replies = calls => break replies,
                () = Box::pin(tokio::time::sleep(TICK).fuse()) => {}
            }
            if booked.cabinet.openings().len() > before {
                self.strike(&mut fault, &booked.cabinet).await;
            }
            if self.site.proxy.has_halted() {
                self.restart().await;
            }
            self.act(&booked, &order);
        };
        for reply in replies.into_iter().flatten() {
            self.journal.note(format!("  {}", reply.text()));
            let opened = booked.cabinet.openings().len() > before;
            assert!(reply.status != 200 || opened, "no door was opened: {}", reply.text());
            self.answered += u64::from(reply.status == 200);
            assert!([200, 409, 503, 504].contains(&reply.status), "{}", reply.text());
        }
        self.faults += usize::from(fault.has_struck());
        faults::end(&self.site, &mut self.run);
        if matches!(fault, Fault::Dies(_)) {
            self.restart().await;
        }
        self.settle(&booked, &order).await;
        let doors = booked.cabinet.openings();
        let opened: BTreeSet<usize> = doors[before..].iter().map(|door| door.cell).collect();
        self.executed += u64::from(!opened.is_empty());
        let shown = self.insist(Method::GET, &format!("bookings/{}", booked.id), None).await;
        let shown = shown.expect(200);
        self.journal.note(format!("  {shown}"));
        if judge(&booked, &opened, &shown) {
            self.has_ended(number, shown["status"].as_str().unwrap()).await;
        }
    }

    /// What happens once a door is open.
    async fn strike(&mut self, fault: &mut Fault, cabinet: &Cabinet) {
        match std::mem::replace(fault, Fault::Struck) {
            Fault::Killed => self.restart().await,
            Fault::Broker => {
                let away = self.run.random.random_range(0..300);
                self.site.restart_broker(Duration::from_millis(away)).await;
            }
            Fault::Cut => cabinet.cut(),
            Fault::Forgets => cabinet.restart(true),
            other => *fault = other,
        }
    }

    /// The technician stands before doors that are open: he does what he came for, or something else.
    fn act(&mut self, booked: &Booked, order: &Value) {
        let cabinet = &booked.cabinet;
        let named: Vec<&str> = order["accumulator_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let open = (1..).zip(cabinet.cells()).filter(|(_, cell)| cell.open).map(|(n, _)| n);
        for n in open.collect::<Vec<usize>>() {
            let (as_meant, another) = (self.chance(7), self.chance(5));
            let has = self.truth.hands.entry(booked.technician.to_owned()).or_default();
            let others = || has.iter().find(|id| !named.contains(&id.as_str())).cloned();
            let put = match booked.kind {
                Kind::Pickup if as_meant || another => {
                    let put = others().filter(|_| !as_meant);
                    has.extend(cabinet.take(n).map(|taken| taken.id));
                    put
                }
                Kind::Return if as_meant => {
                    has.iter().find(|id| named.contains(&id.as_str())).cloned()
                }
                Kind::Return if another => others(),
                _ => None,
            };
            if let Some(id) = put {
                has.remove(&id);
                cabinet.put(n, &id, 100.0).unwrap();
            }
            cabinet.shut(n).unwrap();
        }
    }

    /// Waits until the database knows, with all doors shut, and has ended what can end.
    async fn settle(&mut self, booked: &Booked, order: &Value) {
        const IN_WORK: &str = "SELECT (SELECT count(*) FROM scooter_accumulator.bookings WHERE status IN ('executing', 'unknown')) \
             + (SELECT count(*) FROM scooter_accumulator.commands WHERE status IN ('created', 'sent'))";
        const UNTOLD: &str = "SELECT (SELECT count(*) FROM scooter_accumulator.cells WHERE state = 'open') \
             + (SELECT count(*) FROM scooter_accumulator.cabinets WHERE NOT online)";
        /// Whatever is not there by now does not come any more.
        const SETTLE: &str = "UPDATE scooter_accumulator.bookings SET settle_at = now() \
             WHERE status = 'executing' AND settle_at > now()";
        let started = Instant::now();
        for round in 0_u32.. {
            self.act(booked, order);
            let (database, site) = (&self.site.database, &self.site);
            let in_work = database.count(IN_WORK).await;
            let is_known = database.count(UNTOLD).await == 0
                && site.places().await == self.truth.places(site.cabinets());
            if in_work == 0 && is_known {
                return;
            }
            if is_known {
                database.execute(SETTLE).await;
            }
            // What the broker took with it is not told again.
            for cabinet in site.cabinets().iter().filter(|_| round % 20 == 10) {
                cabinet.come_back();
                cabinet.report();
            }
            if started.elapsed() > limit() {
                let (there, truth) = (site.places().await, self.truth.places(site.cabinets()));
                panic!("{in_work} in work; the database has\n{there:?}\nof\n{truth:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One accumulator in one place, nothing lost, nothing doubled, what has ended as it ended.
    async fn compare(&self) {
        let site = &self.site;
        assert_eq!(site.places().await, self.truth.places(site.cabinets()), "where everything is");
        assert_eq!(site.flagged().await, self.truth.stolen, "what is flagged");
        assert_eq!(site.wrong_openings(), 0, "doors that opened twice, or late");
        let fates = site.fates().await;
        assert_eq!(fates.len(), self.truth.bookings.len(), "bookings that were made");
        for booked in &self.truth.bookings {
            let now = &fates[&booked.id];
            match &booked.fate {
                Some(fate) => assert_eq!(now, fate, "it had ended"),
                None => assert!(now.starts_with("active"), "{now}"),
            }
        }
        site.assert_sound().await;
        for (what, wrong) in INVARIANTS {
            assert_eq!(site.database.count(wrong).await, 0, "{what}");
        }
    }
}

/// The code of a refusal.
fn code_of(reply: &Reply) -> String {
    let code = (reply.status >= 400).then(|| reply.json()["code"].as_str().map(str::to_owned));
    code.flatten().unwrap_or_default()
}

#[actix_web::test]
async fn a_random_walk_of_technicians_comes_out_as_it_really_is() {
    for seed in seeds() {
        let mut walk = Walk::of(Run::of("13 walk", seed)).await;
        for step in 0..STEPS.div_ceil(stride()) {
            walk.journal.note(format!("step {step}"));
            walk.step().await;
        }
        let Walk { site, run, faults, executions, executed, answered, .. } = walk;
        // Otherwise the walk shows little: it would be refused, or nothing would be there to execute.
        let (steps, told) = (STEPS.div_ceil(stride()), (executions, executed, answered));
        assert!(executed * 7 >= steps && answered > 0, "few doors in {steps} steps: {told:?}");
        let (delivered, doubled) = (site.opened(), site.wrong_openings());
        run.assert(faults, Counts { selected: executed, delivered, lost: 0, doubled });
    }
}
