//! The sandbox's cabinets keep their contract over a real broker.

mod commands;
mod connection;
mod control;
mod technicians;

use std::sync::Arc;

use fleet::platform::mqtt::Messages;
use fleet::sandbox::Sandbox;
use fleet::sandbox::cabinets::{Broker, Cabinet, Cabinets, Cell};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::app::start_sandbox;
use crate::support::eventually;
use crate::support::mosquitto::Mosquitto;
use crate::support::mqtt::{Client, next_event};

const CABINET: &str = "cab-1";
const COMMANDS: &str = "cabinets/cab-1/commands";

/// A broker, a cabinet with five cells, and a server that hears it.
struct Rig {
    broker: Mosquitto,
    sandbox: Sandbox,
    cabinet: Cabinet,
    server: Client,
    events: Messages,
}

/// Charged, charging, charged, empty, empty.
fn cells() -> Vec<Cell> {
    let full = |id| Cell::holding(id, 100.0);
    let half = Cell::holding("acc-2", 50.0);
    vec![full("acc-1"), half, full("acc-3"), Cell::empty(), Cell::empty()]
}

impl Rig {
    async fn start() -> Self {
        let broker = Mosquitto::start(&[CABINET, "cab-2"]).await;
        let server = Client::of(&broker.section());
        let mut events = server.mqtt.subscribe("cabinets/+/events").unwrap();
        server.up().await;
        let sandbox = start_sandbox();
        sandbox.cabinets().use_broker(broker_of(&broker));
        let cabinet = sandbox.cabinets().add(CABINET, cells()).unwrap();
        next_event(&mut events, "online").await;
        let state = next_event(&mut events, "state").await;
        assert_eq!(state["cells"].as_array().unwrap().len(), 5);
        Self { broker, sandbox, cabinet, server, events }
    }

    fn cabinets(&self) -> &Arc<Cabinets> {
        self.sandbox.cabinets()
    }

    async fn command(&self, id: &str, kind: &str, cells: &[usize]) {
        self.server.publish(COMMANDS, command(id, kind, cells).to_string()).await;
    }

    async fn event(&mut self, kind: &str) -> Value {
        next_event(&mut self.events, kind).await
    }

    async fn result(&mut self, id: &str) -> Value {
        let result = self.event("command_result").await;
        assert_eq!(result["command_id"], id);
        result
    }
}

fn broker_of(broker: &Mosquitto) -> Broker {
    Broker { url: broker.url(), password: "{cabinet_id}-secret".to_owned() }
}

/// A command for a pick-up that has ten seconds.
fn command(id: &str, kind: &str, cells: &[usize]) -> Value {
    let now = Timestamp::now();
    json!({
        "v": 1, "command_id": id, "type": kind, "cells": cells, "purpose": "pickup",
        "issued_at": now, "expires_at": now + SignedDuration::from_secs(10),
    })
}
