//! Messages that are too old go, and what is said of conversations stays true.

use futures_util::future::join_all;

use super::*;
use crate::support::database::TestDatabase;
use crate::support::eventually;

const DAYS: &str = "[fleet_communications.conversations]\nmessage_days = 30\n";
const REMOVED: &str = "fleet_cleaning_rows_total{what=\"fleet_communications.messages\"}";

/// Conversations whose last number or unread counts are not those of their messages.
const WRONG: &str = "SELECT count(*) FROM fleet_communications.conversations c LEFT JOIN LATERAL (\
       SELECT max(seq) AS last_seq, count(*) FILTER (WHERE to_park AND read_at IS NULL) AS to_park, \
         count(*) FILTER (WHERE NOT to_park AND read_at IS NULL) AS to_driver \
       FROM fleet_communications.messages m \
       WHERE m.park_id = c.park_id AND m.contractor_id = c.contractor_id) m ON true \
     WHERE (c.last_seq, c.park_unread, c.driver_unread) IS DISTINCT FROM (m.last_seq, m.to_park, m.to_driver)";
const OLD: &str = "SELECT count(*) FROM fleet_communications.messages \
     WHERE created_at < now() - interval '30 days'";

/// Messages of a conversation, numbered in turn, every other one to the park, nobody has read any: SQL
/// with the age in days of message `n`.
async fn fill(database: &TestDatabase, park: &str, driver: &str, count: i32, days: &str) {
    let sql = format!(
        "WITH numbers AS (INSERT INTO fleet_communications.park_streams AS s \
           VALUES ('{park}', {count}) ON CONFLICT (park_id) DO UPDATE \
           SET last_seq = s.last_seq + {count} RETURNING last_seq - {count} AS base), \
         talk AS (INSERT INTO fleet_communications.conversations \
           SELECT '{park}', '{driver}', base + {count}, ({count} + 1) / 2, {count} / 2 FROM numbers) \
         INSERT INTO fleet_communications.messages \
           (park_id, contractor_id, seq, id, to_park, text, author_id, created_at) \
         SELECT '{park}', '{driver}', base + n, gen_random_uuid(), n % 2 = 1, n::text, \
           CASE WHEN n % 2 = 0 THEN 1 END, now() - make_interval(days => {days}) \
         FROM numbers, generate_series(1, {count}) n"
    );
    database.execute(&sql).await;
}

async fn serve(database: TestDatabase) -> World {
    let app = TestApp::builder().domains(&[DOMAIN]).database(database).config(DAYS);
    World::of(app.start().await)
}

#[actix_web::test]
async fn old_messages_go_and_conversations_tell_of_those_that_are_left() {
    let database = TestDatabase::create();
    fill(&database, PARK, "gone", 2, "31").await;
    fill(&database, PARK, "mixed", 2_503, "CASE WHEN n <= 2500 THEN 40 ELSE 29 END").await;
    fill(&database, PARK, "fresh", 4, "1").await;
    // A clock that went back: the last message seems older than the first.
    fill(&database, PARK, "skewed", 2, "30 * n - 5").await;
    fill(&database, OTHER_PARK, "mixed", 5, "29").await;
    assert_eq!(database.count(WRONG).await, 0);
    let world = serve(database).await;
    eventually("old messages are removed", async || world.app.count(REMOVED).await == 2_503).await;
    assert_eq!(world.app.database().count(OLD).await, 0);
    assert_eq!(world.app.database().count(WRONG).await, 0);

    let list = world.dispatcher.get("conversations").await.expect(200);
    assert_eq!(drivers(&list), ["skewed", "fresh", "mixed"]);
    let mixed = world.conversation("mixed").await;
    assert_eq!(
        (&mixed["unread_count"], &mixed["last_message"]["text"]),
        (&json!(2), &json!("2503"))
    );
    let left = world.dispatcher.get(&messages_of("mixed")).await.expect(200);
    assert_eq!(texts(&left), ["2503", "2502", "2501"]);
    assert!(left["next_cursor"].is_null(), "{left}");
    let fresh = world.dispatcher.get(&messages_of("fresh")).await.expect(200);
    assert_eq!(texts(&fresh).len(), 4);
    let others = world.stranger.get(&messages_of("mixed")).await.expect(200);
    assert_eq!(texts(&others).len(), 5);
    // One that ended may begin again.
    let gone = world.dispatcher.get(&messages_of("gone")).await;
    gone.problem(404, "conversation_not_found");
    world.to_park("gone", "Ещё здесь").await;
    assert_eq!(world.conversation("gone").await["unread_count"], 1);
    world.driver("mixed").post("conversation/read", up_to(&left["items"][1])).await.expect(204);
    assert_eq!(world.app.database().count(WRONG).await, 0);
}

#[actix_web::test]
async fn who_writes_and_reads_while_old_messages_go_leaves_counters_right() {
    let database = TestDatabase::create();
    for driver in ["a", "b", "c"] {
        fill(&database, PARK, driver, 2_000, "31").await;
    }
    let world = serve(database).await;
    join_all(["a", "b", "c"].map(|driver| {
        let world = &world;
        async move {
            let mut number = 0;
            while world.app.count(REMOVED).await < 6_000 {
                number += 1;
                let message = world.to_park(driver, &number.to_string()).await;
                let path = format!("conversations/{driver}/read");
                world.dispatcher.post(&path, up_to(&message)).await.expect(204);
                world.to_park(driver, "unread").await;
                assert!(number < 10_000, "nothing is removed");
            }
        }
    }))
    .await;
    assert_eq!(world.app.database().count(OLD).await, 0);
    assert_eq!(world.app.database().count(WRONG).await, 0);
}

#[actix_web::test]
async fn the_table_is_not_read_from_end_to_end() {
    let database = TestDatabase::create();
    fill(&database, PARK, "old", 1_500, "31").await;
    for driver in 1..=20 {
        fill(&database, PARK, &format!("d-{driver}"), 1_000, "1").await;
    }
    database.execute("ANALYZE").await;
    let world = serve(database).await;
    eventually("old messages are removed", async || world.app.count(REMOVED).await == 1_500).await;
    let scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'messages_created'";
    eventually("the index was used", async || world.app.database().count(scans).await > 0).await;
    let reads = "SELECT seq_scan FROM pg_stat_user_tables \
         WHERE schemaname = 'fleet_communications' AND relname = 'messages'";
    assert_eq!(world.app.database().count(reads).await, 0);
}
