//! The database is away.

use super::*;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

#[actix_web::test]
async fn without_a_database_nobody_is_let_through_or_held_up_by_mistake() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let url = proxy.in_front_of(&database.url());
    let config = format!(
        "{BLOCKS}[database]\nurl = '{url}'\nstatement_timeout_ms = 5000\nlane_statement_timeout_ms = 5000\n"
    );
    let builder =
        TestApp::builder().domains(&[DOMAIN]).config(PATIENT).config(config).database(database);
    let world = World::of(builder.start().await);
    assert_eq!(world.check(0).await, verdict(false, &["no_id"]));
    for mode in [Mode::Close, Mode::BlackHole] {
        proxy.set(mode);
        world.ask(&[world.key(0)]).await.problem(503, "database_unavailable");
        proxy.set(Mode::Pass);
        eventually("it is answered again", async || world.ask(&[world.key(0)]).await.status == 200)
            .await;
    }
}

#[actix_web::test]
async fn a_callers_patience_is_kept_also_while_trackstory_hangs() {
    let world = World::with(BLOCKS).await;
    world.last_status(0, "1").await;
    world.app.fault("driver-trackstory", json!({"kind": "hang"}));
    // Shorter than trackstory is waited for; half of it is for the database.
    let hasty = world.caller.header("X-Request-Timeout-Ms", "8000");
    let answer = hasty.post(CHECK, json!({"drivers": [world.key(0)]})).await.expect(200);
    assert_eq!(answer["items"][0]["allowed"], false, "by his last status");
}
