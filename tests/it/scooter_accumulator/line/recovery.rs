//! What goes on when a process, the broker or the database goes away in the middle.

use std::time::Duration;

use fleet::sandbox::Sandbox;
use fleet::sandbox::cabinets::{Broker, Cabinet, CabinetFaults};
use serde_json::json;

use super::{CABINETS, QUICK, Rig, cells, execute, good, technician};
use crate::scooter_accumulator::DOMAIN;
use crate::support::PATIENCE;
use crate::support::app::{configuration_at, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy, host_and_port};

/// Real processes on one database and one broker.
struct Crowd {
    broker: Mosquitto,
    sandbox: Sandbox,
    database: TestDatabase,
    cabinet: Cabinet,
    servers: Vec<Server>,
}

impl Crowd {
    async fn of(count: usize) -> Self {
        let broker = Mosquitto::start(&CABINETS).await;
        let sandbox = start_sandbox();
        let password = "{cabinet_id}-secret".to_owned();
        sandbox.cabinets().use_broker(Broker { url: broker.url(), password });
        let database = TestDatabase::create();
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(spawn(&database, &sandbox, &broker).await);
        }
        let backend = caller(&servers[0]);
        let body = json!({"id": "cab-1", "lat": 55.75, "lon": 37.61, "cell_count": 5});
        backend.post("cabinets", body).await.expect(201);
        let cabinet = sandbox.cabinets().add("cab-1", cells()).unwrap();
        eventually("the cabinet has told its state", async || {
            backend.get("cabinets/cab-1").await.json()["counts"]["available"] == 3
        })
        .await;
        Self { broker, sandbox, database, cabinet, servers }
    }

    async fn spawn(&mut self) {
        self.servers.push(spawn(&self.database, &self.sandbox, &self.broker).await);
    }

    async fn book(&self) -> String {
        let body =
            json!({"cabinet_id": "cab-1", "contractor_id": "t", "kind": "pickup", "count": 1});
        let booking = self.last().post("bookings", body).await.expect(201);
        booking["id"].as_str().unwrap().to_owned()
    }

    /// The scooter back end, at the last server.
    fn last(&self) -> Caller {
        caller(self.servers.last().unwrap())
    }

    async fn is_the_technicians(&self, accumulator: &str) {
        let path = format!("accumulators/{accumulator}");
        eventually("it is the technician's", async || {
            self.last().get(&path).await.json()["place"] == technician()
        })
        .await;
    }

    async fn becomes(&self, booking: &str, status: &str) {
        let path = format!("bookings/{booking}");
        eventually(status, async || self.last().get(&path).await.json()["status"] == status).await;
    }
}

async fn spawn(database: &TestDatabase, sandbox: &Sandbox, broker: &Mosquitto) -> Server {
    let config = configuration_at(&database.url(), sandbox, &broker.section()) + QUICK;
    // A stop waits for longer than a cabinet is waited for.
    Server::start(&config, &[("FLEET__DOMAINS", DOMAIN), ("FLEET__HTTP__GRACE_MS", "15000")]).await
}

fn caller(server: &Server) -> Caller {
    server.anonymous().internal(DOMAIN)
}

#[actix_web::test]
async fn an_answer_that_finds_its_process_gone_is_heard_by_the_next() {
    let mut crowd = Crowd::of(1).await;
    let booking = crowd.book().await;
    crowd.cabinet.set_faults(CabinetFaults { holds: true, ..CabinetFaults::default() });
    let (backend, waited) = (crowd.last(), booking.clone());
    let call = actix_web::rt::spawn(async move {
        backend
            .try_send(
                actix_web::http::Method::POST,
                &format!("bookings/{waited}/execute"),
                Some("{}".into()),
            )
            .await
            .is_ok()
    });
    eventually("the door opens", async || crowd.cabinet.openings().len() == 1).await;
    drop(crowd.servers.remove(0));
    assert!(!call.await.unwrap(), "the process was killed while its caller waited");
    crowd.spawn().await;
    crowd.cabinet.release(false);
    // In time or late: both times the accumulator is the technician's.
    crowd.is_the_technicians("acc-1").await;
    crowd.becomes(&booking, "executing").await;
    let done = execute(&crowd.last(), &booking, json!({})).await.expect(200);
    assert_eq!(done["cells"][0]["outcome"], "opened");
    assert_eq!(crowd.cabinet.openings().len(), 1);
}

#[actix_web::test]
async fn an_answer_that_nobody_heard_is_found_out_by_the_next_process() {
    let mut crowd = Crowd::of(1).await;
    let booking = crowd.book().await;
    crowd.cabinet.set_faults(CabinetFaults { mute: true, ..CabinetFaults::default() });
    let quick = crowd.last().header("X-Request-Timeout-Ms", "2500");
    execute(&quick, &booking, json!({})).await.problem(504, "cabinet_no_answer");
    drop(crowd.servers.remove(0));
    crowd.cabinet.set_faults(CabinetFaults::default());
    // Whatever its time was: the next process asks the cabinet.
    crowd.spawn().await;
    crowd.is_the_technicians("acc-1").await;
    crowd.becomes(&booking, "executing").await;
}

#[actix_web::test]
async fn a_process_that_stops_answers_whoever_waits_for_a_cabinet_that_says_nothing() {
    let mut crowd = Crowd::of(1).await;
    let booking = crowd.book().await;
    crowd.cabinet.set_faults(CabinetFaults { mute: true, ..CabinetFaults::default() });
    let (backend, id) = (crowd.last(), booking.clone());
    let call = actix_web::rt::spawn(async move { execute(&backend, &id, json!({})).await });
    eventually("the door opens", async || crowd.cabinet.openings().len() == 1).await;
    crowd.servers[0].signal("TERM");
    call.await.unwrap().problem(504, "cabinet_no_answer");
    let ended = crowd.servers[0].wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", crowd.servers[0].output());
    // The door was opened: the next process asks the cabinet.
    crowd.cabinet.set_faults(CabinetFaults::default());
    crowd.spawn().await;
    crowd.is_the_technicians("acc-1").await;
    crowd.becomes(&booking, "executing").await;
}

#[actix_web::test]
async fn another_instance_goes_on_where_one_was_stopped() {
    let crowd = Crowd::of(2).await;
    let booking = crowd.book().await;
    crowd.cabinet.set_faults(CabinetFaults { late_ms: 200, ..CabinetFaults::default() });
    let stopped = caller(&crowd.servers[0]);
    let path = format!("bookings/{booking}/execute");
    let call = actix_web::rt::spawn(async move {
        let post = actix_web::http::Method::POST;
        stopped.try_send(post, &path, Some("{}".into())).await
    });
    eventually("the door opens", async || crowd.cabinet.openings().len() == 1).await;
    crowd.servers[0].signal("STOP");
    execute(&crowd.last(), &booking, json!({})).await.expect(200);
    crowd.servers[0].signal("CONT");
    // Who was stopped finds it done.
    assert_eq!(call.await.unwrap().unwrap().status, 200);
    assert_eq!(crowd.cabinet.openings().len(), 1);
}

#[actix_web::test]
async fn a_process_that_was_stopped_before_it_sent_does_not_send_late() {
    let crowd = Crowd::of(2).await;
    let booking = crowd.book().await;
    let stopped = caller(&crowd.servers[0]);
    let path = format!("bookings/{booking}/execute");
    // Stopped at some moment between the request and the publication, for longer than the command lives.
    let call = actix_web::rt::spawn(async move {
        let post = actix_web::http::Method::POST;
        stopped.try_send(post, &path, Some("{}".into())).await
    });
    crowd.servers[0].signal("STOP");
    tokio::time::sleep(Duration::from_secs(7)).await;
    crowd.servers[0].signal("CONT");
    let _ = call.await.unwrap();
    let expiries = "SELECT count(*) FROM scooter_accumulator.commands WHERE status = 'succeeded' \
         AND ended_at > expires_at + interval '2 seconds'";
    assert_eq!(crowd.database.count(expiries).await, 0);
    let now = crowd.cabinet.openings();
    let late = now.iter().filter(|opening| {
        crowd.cabinet.commands().iter().any(|command| {
            let expires: jiff::Timestamp = command["expires_at"].as_str().unwrap().parse().unwrap();
            command["command_id"] == opening.command_id.as_str() && opening.at > expires
        })
    });
    assert_eq!(late.count(), 0);
}

/// Scenario 11.
#[actix_web::test]
async fn an_unlock_that_the_broker_lost_is_not_sent_when_it_is_back() {
    let mut rig = Rig::start().await;
    rig.habit(good());
    let booking = rig.book("pickup", 1).await;
    // The broker takes nothing and says nothing; then it is gone with all it had.
    rig.broker.freeze();
    let reply = rig.execute(&booking, json!({})).await;
    assert!([503, 504].contains(&reply.status), "{}", reply.text());
    rig.broker.kill();
    rig.broker.start_again().await;
    rig.app.connected("mqtt").await;
    eventually("the cabinet is back", async || rig.cabinet.is_connected()).await;
    rig.becomes(&booking, "active").await;
    let expired = rig.cabinet.openings();
    assert_eq!(expired, [], "nobody stands there any more");
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "completed").await;
    assert_eq!(rig.openings().values().copied().collect::<Vec<_>>(), [1]);
    rig.assert_sound().await;
}

/// Scenario 12.
#[actix_web::test]
async fn an_answer_that_the_broker_lost_never_frees_a_cell_by_a_timer() {
    let mut rig = Rig::start().await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { holds: true, ..CabinetFaults::default() });
    rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
    rig.becomes(&booking, "unknown").await;
    rig.broker.kill();
    let long_ago = "UPDATE scooter_accumulator.bookings SET expires_at = now() - interval '1 day'";
    rig.app.database().execute(long_ago).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(rig.booking(&booking).await["status"], "unknown");
    let other = json!({"cabinet_id": "cab-1", "contractor_id": "u", "kind": "pickup", "count": 3});
    rig.backend.post("bookings", other).await.problem(409, "not_enough_accumulators");
    rig.broker.start_again().await;
    rig.cabinet.set_faults(CabinetFaults::default());
    rig.becomes(&booking, "executing").await;
    assert_eq!(rig.place_of("acc-1").await, technician());
    assert_eq!(rig.openings().len(), 1);
}

#[actix_web::test]
async fn without_a_database_nothing_is_sent_to_any_cabinet() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let url = format!(
        "[database]\nurl = '{}'\nconnect_timeout_ms = 3000\nstatement_timeout_ms = 3000\n",
        proxy.in_front_of(&database.url())
    );
    let rig = Rig::on(Some(database), &url).await;
    rig.habit(good());
    let booking = rig.book("pickup", 1).await;
    let unlocks = || {
        let commands = rig.cabinet.commands();
        commands.iter().filter(|command| command["type"] == "unlock_cells").count()
    };
    proxy.set(Mode::Close);
    rig.execute(&booking, json!({})).await.problem(503, "database_unavailable");
    let command = json!({"type": "unlock_cells", "cells": [4]});
    let reply = rig.backend.post("cabinets/cab-1/commands", command).await;
    reply.problem(503, "database_unavailable");
    assert_eq!(unlocks(), 0);
    // One that hangs: it is not known what was committed, so nothing is sent.
    proxy.set(Mode::Pass);
    eventually("the database is back", async || {
        rig.backend.get(&format!("bookings/{booking}")).await.status == 200
    })
    .await;
    proxy.set(Mode::BlackHole);
    let quick = rig.backend.header("X-Request-Timeout-Ms", "500");
    let reply = execute(&quick, &booking, json!({})).await;
    assert!([503, 504].contains(&reply.status), "{}", reply.text());
    proxy.set(Mode::Pass);
    // Whatever had been written, it comes to an end in which the booking can be executed.
    eventually("it can be executed", async || rig.execute(&booking, json!({})).await.status == 200)
        .await;
    rig.becomes(&booking, "completed").await;
    assert_eq!(rig.openings().values().copied().collect::<Vec<_>>(), [1]);
    rig.assert_sound().await;
}
