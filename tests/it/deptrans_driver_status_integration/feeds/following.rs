//! Whoever follows a cursor misses nothing, in whatever order writers commit and whichever instance is
//! asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt as _, SeedableRng};

use super::*;
use crate::support::eventually;

const WRITERS: usize = 8;
const ROUNDS: usize = 40;
const LICENSES: u32 = 60;
/// Looks are frequent here: some writers tell nobody. So are changes of profiles.
const LOOKS: &str = "[deptrans_driver_status_integration.feeds]\nlook_ms = 100\n\
     [deptrans_driver_status_integration.directory]\nrefresh_ms = 30\n";

/// Sleeps up to so many milliseconds.
async fn dawdle(rng: &mut StdRng, most: u64) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..=most))).await;
}

/// A writer that keeps to the protocol and to nothing else: its transactions begin early, write one or
/// several bindings or removals at a random moment, are held for a while, and sometimes are rolled back.
async fn write(client: &mut Client, rng: &mut StdRng, writer: usize, round: usize) {
    let transaction = client.transaction().await.unwrap();
    // A snapshot, so that the transaction's number is taken now.
    transaction.execute("SELECT txid_current()", &[]).await.unwrap();
    dawdle(rng, 15).await;
    let count = rng.random_range(1..=3_i64);
    let take = "UPDATE deptrans.feeds SET last_seq = last_seq + $1 WHERE name = 'bindings' \
         RETURNING last_seq - $1";
    let base: i64 = transaction.query_one(take, &[&count]).await.unwrap().get(0);
    for n in 1..=count {
        let license = format!("license-{}", rng.random_range(0..LICENSES)).into_bytes();
        let id = format!("id-{writer}-{round}-{n}").into_bytes();
        let id = rng.random_bool(0.8).then_some(id);
        let upsert = "INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
             VALUES ($1, clock_timestamp(), $2, $3) ON CONFLICT (driver_license_pd_id) DO UPDATE \
             SET seq = excluded.seq, updated_at = excluded.updated_at, deptrans_id = excluded.deptrans_id";
        transaction.execute(upsert, &[&(base + n), &license, &id]).await.unwrap();
    }
    if rng.random_bool(0.7) {
        let told = format!("bindings {}", base + count);
        transaction
            .execute("SELECT pg_notify('fleet_deptrans_feeds', $1)", &[&told])
            .await
            .unwrap();
    }
    dawdle(rng, 10).await;
    if rng.random_bool(0.9) {
        transaction.commit().await.unwrap();
    } else {
        transaction.rollback().await.unwrap();
    }
}

#[actix_web::test]
async fn pollers_miss_nothing_while_writers_commit_out_of_order() {
    let first = World::with(LOOKS).await;
    let second = first.beside(LOOKS).await;
    first.fill(20).await;
    let left = Arc::new(AtomicUsize::new(WRITERS));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut client = first.database().connect().await;
        let left = Arc::clone(&left);
        writers.push(actix_web::rt::spawn(async move {
            let mut rng = StdRng::seed_from_u64(writer as u64);
            for round in 0..ROUNDS {
                write(&mut client, &mut rng, writer, round).await;
            }
            left.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    // Each begins at another time, with another page size, and asks now one instance, now the other.
    let follow = async |seed: u64, limit: usize| {
        let mut rng = StdRng::seed_from_u64(1_000 + seed);
        dawdle(&mut rng, 300).await;
        let mut cache = Cache::default();
        while left.load(Ordering::SeqCst) > 0 {
            let caller = if rng.next_u32() % 2 == 0 { &first.caller } else { &second.caller };
            if !cache.poll(caller, BINDINGS, limit).await {
                dawdle(&mut rng, 20).await;
            }
        }
        cache
    };
    let (a, b, c, d) = tokio::join!(follow(1, 1), follow(2, 3), follow(3, 10), follow(4, 10_000));
    for writer in writers {
        writer.await.unwrap();
    }
    let client = first.database().connect().await;
    let expected = bound(&client).await;
    assert!(!expected.is_empty());
    for mut cache in [a, b, c, d] {
        assert!(cache.polls > 5, "it polled while others wrote: {}", cache.polls);
        let started = std::time::Instant::now();
        // The last change may have been told to nobody: it comes with the next look.
        while cache.bound() != expected {
            assert!(started.elapsed() < PATIENCE, "{:?} is not {expected:?}", cache.bound());
            cache.poll(&second.caller, BINDINGS, 100).await;
        }
    }
    // And a full read now agrees.
    assert_eq!(second.read(BINDINGS, None).await.bound(), expected);
}

#[actix_web::test]
async fn a_smaller_number_that_commits_later_is_never_passed_over() {
    let world = World::start().await;
    world.fill(3).await;
    let cursor = world.read(BINDINGS, None).await.cursor.unwrap();
    let (mut one, mut two) = (world.database().connect().await, world.database().connect().await);
    let held = one.transaction().await.unwrap();
    held.batch_execute(
        "UPDATE deptrans.feeds SET last_seq = last_seq + 1 WHERE name = 'bindings'; \
         UPDATE deptrans.profiles SET seq = 4, deptrans_id = 'changed-first' WHERE seq = 1",
    )
    .await
    .unwrap();
    let later = actix_web::rt::spawn(async move {
        let later = two.transaction().await.unwrap();
        later
            .batch_execute(
                "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + 1 \
                   WHERE name = 'bindings' RETURNING last_seq, \
                   pg_notify('fleet_deptrans_feeds', 'bindings ' || last_seq)) \
                 UPDATE deptrans.profiles SET seq = last_seq, deptrans_id = 'changed-second' \
                 FROM feed WHERE seq = 2",
            )
            .await
            .unwrap();
        later.commit().await.unwrap();
    });
    eventually("the second writer waits for the first", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock'";
        world.database().count(waiting).await == 1
    })
    .await;
    let page = world.page(BINDINGS, Some(&cursor), 100).await;
    assert_eq!((page.items.len(), page.has_more), (0, false), "neither has committed");
    held.commit().await.unwrap();
    later.await.unwrap();
    let mut seen = Vec::new();
    let mut cursor = page.cursor;
    let started = std::time::Instant::now();
    while seen.len() < 2 {
        assert!(started.elapsed() < PATIENCE, "{seen:?}");
        let page = world.page(BINDINGS, Some(&cursor), 1).await;
        seen.extend(page.items.iter().map(|item| item["deptrans_id"].clone()));
        cursor = page.cursor;
    }
    assert_eq!(seen, ["changed-first", "changed-second"]);
}
