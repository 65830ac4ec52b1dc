//! Commands that somebody gives a cabinet.

use std::time::Duration;

use fleet::sandbox::cabinets::CabinetFaults;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Rig;
use crate::support::client::Caller;
use crate::support::eventually;

const COMMANDS: &str = "cabinets/cab-1/commands";

impl Rig {
    async fn give_command(&self, body: Value) -> Value {
        self.backend.post(COMMANDS, body).await.expect(202)
    }

    async fn command(&self, id: &Value) -> Value {
        self.backend.get(&format!("{COMMANDS}/{}", id.as_str().unwrap())).await.expect(200)
    }

    /// Waits until a command has ended so.
    async fn ends(&self, command: &Value, status: &str) -> Value {
        let id = &command["id"];
        eventually(status, async || self.command(id).await["status"] == status).await;
        self.command(id).await
    }

    fn received(&self, kind: &str) -> usize {
        self.cabinet.commands().iter().filter(|command| command["type"] == kind).count()
    }
}

#[actix_web::test]
async fn every_command_of_the_set_is_carried_out_and_answered() {
    let rig = Rig::start().await;
    for body in [
        json!({"type": "get_state"}),
        json!({"type": "unlock_cells", "cells": [5, 4]}),
        json!({"type": "lock_cells", "cells": [4, 5]}),
        json!({"type": "reboot"}),
    ] {
        let reply = rig.backend.post(COMMANDS, body.clone()).await;
        let given = reply.expect(202);
        let path = format!(
            "/scooter-accumulator/internal/v1/{COMMANDS}/{}",
            given["id"].as_str().unwrap()
        );
        assert_eq!(reply.header("location"), path);
        assert_eq!(given["type"], body["type"]);
        assert!(["created", "sent"].contains(&given["status"].as_str().unwrap()), "{given}");
        assert_eq!(given.get("result"), None);
        let ended = rig.ends(&given, "succeeded").await;
        assert_eq!(
            (&ended["result"]["ok"], &ended["result"]["by"]),
            (&json!(true), &json!("cabinet"))
        );
        let life = |key: &str| ended[key].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(life("expires_at").duration_since(life("issued_at")).as_millis(), 5_000);
        if body["type"] == "unlock_cells" {
            assert_eq!(ended["cells"], json!([4, 5]));
            assert_eq!(ended["result"]["cells"][0], json!({"n": 4, "state": "open"}));
        }
    }
    assert_eq!(
        rig.app
            .count("scooter_accumulator_commands_total{outcome=\"succeeded\",type=\"reboot\"}")
            .await,
        1
    );
}

#[actix_web::test]
async fn what_is_no_command_is_refused() {
    let rig = Rig::start().await;
    for body in [
        json!({}),
        json!({"type": "explode"}),
        json!({"type": "unlock_cells"}),
        json!({"type": "unlock_cells", "cells": []}),
        json!({"type": "unlock_cells", "cells": [1, 1]}),
        json!({"type": "unlock_cells", "cells": [0]}),
        json!({"type": "unlock_cells", "cells": [6]}),
        json!({"type": "get_state", "cells": [1]}),
        json!({"type": "get_state", "expires_at": "2030-01-01T00:00:00Z"}),
    ] {
        rig.backend.post(COMMANDS, body.clone()).await.problem(400, "invalid_request");
    }
    let body = json!({"type": "get_state"});
    rig.backend.post("cabinets/nobody/commands", body).await.problem(404, "cabinet_not_found");
    assert_eq!(
        rig.app.database().count("SELECT count(*) FROM scooter_accumulator.commands").await,
        0
    );
}

#[actix_web::test]
async fn a_command_is_shown_at_its_own_cabinet_only() {
    let rig = Rig::start().await;
    let given = rig.give_command(json!({"type": "get_state"})).await;
    let id = given["id"].as_str().unwrap();
    rig.backend.get(&format!("{COMMANDS}/{id}")).await.expect(200);
    for path in [
        format!("cabinets/cab-2/commands/{id}"),
        format!("{COMMANDS}/{}", Uuid::now_v7()),
        format!("{COMMANDS}/no-id"),
    ] {
        assert_eq!(rig.backend.get(&path).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn the_same_key_gives_one_command() {
    let rig = Rig::start().await;
    let keyed = rig.backend.header("Idempotency-Key", "k-1");
    let body = json!({"type": "unlock_cells", "cells": [4]});
    let one = keyed.post(COMMANDS, body.clone()).await.expect(202);
    let two = keyed.post(COMMANDS, body).await.expect(202);
    assert_eq!(one, two);
    let other = keyed.post(COMMANDS, json!({"type": "reboot"})).await;
    other.problem(422, "idempotency_key_reused");
    rig.ends(&one, "succeeded").await;
    assert_eq!(rig.openings().values().copied().collect::<Vec<_>>(), [1]);
}

#[actix_web::test]
async fn a_cell_that_is_kept_for_a_booking_is_not_opened_by_hand() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 1).await;
    let unlock = |n: i32| json!({"type": "unlock_cells", "cells": [n]});
    rig.backend.post(COMMANDS, unlock(1)).await.problem(409, "cell_booked");
    rig.ends(&rig.give_command(unlock(2)).await, "succeeded").await;
    rig.backend.delete(&format!("bookings/{booking}")).await;
    rig.ends(&rig.give_command(unlock(1)).await, "succeeded").await;
}

#[actix_web::test]
async fn a_cabinet_that_is_not_there_is_given_nothing() {
    let rig = Rig::start().await;
    rig.cabinet.leave();
    eventually("the cabinet is offline", async || {
        rig.backend.get("cabinets/cab-1").await.json()["online"] == false
    })
    .await;
    rig.backend.post(COMMANDS, json!({"type": "reboot"})).await.problem(409, "cabinet_offline");
}

#[actix_web::test]
async fn a_cabinet_takes_one_command_at_a_time_and_an_unlock_before_the_rest() {
    let rig = Rig::with(
        "[scooter_accumulator.commands]\npace_ms = 5000\nttl_ms = 60000\nanswer_ms = 60000\n",
    )
    .await;
    // The first takes the turn; what comes behind it, and before the next, waits for that.
    let mut given = Vec::new();
    given.push(rig.give_command(json!({"type": "get_state"})).await);
    eventually("it has left", async || rig.received("get_state") == 1).await;
    for _ in 0..2 {
        given.push(rig.give_command(json!({"type": "get_state"})).await);
    }
    given.push(rig.give_command(json!({"type": "unlock_cells", "cells": [4]})).await);
    for command in &given {
        rig.ends(command, "succeeded").await;
    }
    let commands = rig.cabinet.commands();
    let kinds: Vec<&str> = commands.iter().filter_map(|command| command["type"].as_str()).collect();
    assert_eq!(kinds, ["get_state", "unlock_cells", "get_state", "get_state"]);
    let sent = "SELECT extract(epoch FROM sent_at)::float8 FROM scooter_accumulator.commands ORDER BY sent_at";
    let times: Vec<f64> =
        rig.app.database().query(sent, &[]).await.iter().map(|row| row.get(0)).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5.0), "{times:?}");
}

#[actix_web::test]
async fn what_does_not_leave_in_time_never_leaves() {
    let rig = Rig::with(
        "[scooter_accumulator.commands]\npace_ms = 9000\nttl_ms = 6000\nmax_waiting = 2\n",
    )
    .await;
    let first = rig.give_command(json!({"type": "get_state"})).await;
    eventually("it has left", async || rig.received("get_state") == 1).await;
    let unlock = json!({"type": "unlock_cells", "cells": [4]});
    let late = rig.give_command(unlock.clone()).await;
    assert_eq!(late["status"], "created");
    rig.give_command(unlock.clone()).await;
    rig.backend.post(COMMANDS, unlock).await.problem(409, "too_many_commands");
    rig.ends(&first, "succeeded").await;
    let expired = rig.ends(&late, "expired").await;
    let result = json!({"ok": false, "error": "expired", "by": "server"});
    assert_eq!(expired["result"], result);
    // Past the moment at which the pace would have let it leave.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!((rig.received("unlock_cells"), rig.cabinet.openings().len()), (0, 0));
}

#[actix_web::test]
async fn a_command_that_is_not_answered_times_out_and_a_late_answer_still_counts() {
    let rig = Rig::start().await;
    rig.cabinet.set_faults(CabinetFaults { holds: true, ..CabinetFaults::default() });
    let given = rig.give_command(json!({"type": "unlock_cells", "cells": [4]})).await;
    let timed_out = rig.ends(&given, "timed_out").await;
    assert_eq!(timed_out.get("result"), None);
    rig.cabinet.release(false);
    rig.ends(&given, "succeeded").await;
    for outcome in ["timed_out", "succeeded"] {
        let series = format!(
            "scooter_accumulator_commands_total{{outcome=\"{outcome}\",type=\"unlock_cells\"}}"
        );
        assert_eq!(rig.app.count(&series).await, 1, "{outcome}");
    }
}

#[actix_web::test]
async fn refusals_are_told_apart() {
    let rig = Rig::start().await;
    rig.cabinet.set_faults(CabinetFaults { busy: true, ..CabinetFaults::default() });
    let given = rig.give_command(json!({"type": "lock_cells", "cells": [1]})).await;
    let ended = rig.ends(&given, "rejected").await;
    assert_eq!(ended["result"], json!({"ok": false, "error": "busy", "by": "cabinet"}));
    rig.cabinet.set_faults(CabinetFaults { slow_ms: 5_300, ..CabinetFaults::default() });
    let given = rig.give_command(json!({"type": "reboot"})).await;
    let ended = rig.ends(&given, "expired").await;
    assert_eq!(ended["result"], json!({"ok": false, "error": "expired", "by": "cabinet"}));
}

#[actix_web::test]
async fn only_other_services_may_command() {
    let rig = Rig::start().await;
    let body = json!({"type": "reboot"});
    let driver: Caller = rig.app.caller("test-driver", super::DOMAIN, "internal");
    driver.post(COMMANDS, body.clone()).await.problem(403, "forbidden");
    let nobody = rig.backend.without("Authorization");
    nobody.post(COMMANDS, body).await.problem(401, "unauthenticated");
    assert_eq!(rig.cabinet.commands(), [] as [Value; 0]);
}

/// Whoever marked a command and did not send it takes the mark back only while it is still his own.
#[actix_web::test]
async fn a_mark_that_is_anothers_by_now_is_not_taken_back() {
    let rig = Rig::start().await;
    // What is marked is too late at that moment, and the mark is whose it is said to be.
    let late = async |lease: &str| {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               NEW.expires_at := clock_timestamp(); NEW.lease := {lease}; RETURN NEW; END $$; \
             CREATE OR REPLACE TRIGGER late BEFORE UPDATE ON scooter_accumulator.commands \
               FOR EACH ROW WHEN (OLD.status = 'created' AND NEW.status = 'sent') \
               EXECUTE FUNCTION public.late()"
        );
        rig.app.database().execute(&sql).await;
    };
    late("NEW.lease").await;
    let own = rig.give_command(json!({"type": "get_state"})).await;
    let ended = rig.ends(&own, "expired").await;
    assert_eq!(ended["result"], json!({"ok": false, "error": "not_sent", "by": "server"}));
    late("gen_random_uuid()").await;
    let anothers = rig.give_command(json!({"type": "get_state"})).await;
    rig.ends(&anothers, "timed_out").await;
    assert_eq!(rig.received("get_state"), 0);
}
