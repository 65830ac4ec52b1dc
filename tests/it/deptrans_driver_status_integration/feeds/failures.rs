//! The database is away.

use super::*;
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

#[actix_web::test]
async fn without_a_database_nobody_is_told_for_long_that_nothing_changed() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let config = format!(
        "[database]\nurl = '{}'\n[deptrans_driver_status_integration.feeds]\nlook_ms = 100\nfresh_ms = 500\n",
        proxy.in_front_of(&database.url())
    );
    let builder = TestApp::builder().domains(&[DOMAIN]).config(config).database(database);
    let world = World::of(builder.start().await);
    world.fill(5).await;
    let cursor = world.read(BINDINGS, None).await.cursor.unwrap();
    for mode in [Mode::Close, Mode::BlackHole] {
        let poll = async || world.caller.get(&path(BINDINGS, Some(&cursor), 10)).await;
        eventually("a poll is empty", async || poll().await.status == 200).await;
        proxy.set(mode);
        eventually("it is not known any more", async || {
            let reply = poll().await;
            if reply.status == 200 {
                assert!(reply.json()["lag_ms"].as_i64().unwrap() <= 500, "{}", reply.text());
                return false;
            }
            reply.problem(503, "database_unavailable");
            true
        })
        .await;
        let full = world.caller.get(&path(BINDINGS, None, 10)).await;
        full.problem(503, "database_unavailable");
        proxy.set(Mode::Pass);
        eventually("polls are answered again", async || poll().await.status == 200).await;
    }
    assert_eq!(world.read(BINDINGS, Some(&cursor)).await.items.len(), 0);
}

#[actix_web::test]
async fn a_long_page_ends_early_when_the_database_goes_away_and_nothing_is_lost() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let url = proxy.in_front_of(&database.url());
    let config = format!("[database]\nurl = '{url}'\n");
    let builder = TestApp::builder().domains(&[DOMAIN]).config(config).database(database);
    let world = World::of(builder.start().await);
    world.fill(9_000).await;
    let whole = world.page(BINDINGS, None, 10_000).await;
    assert_eq!(whole.items.len(), 9_000);
    // Every connection ends after so much: in the middle of the page.
    proxy.set(Mode::CutAfter(120_000));
    let mut cache = Cache::default();
    let mut cut = 0;
    for _ in 0..100 {
        let reply = world.caller.get(&path(BINDINGS, cache.cursor.as_deref(), 10_000)).await;
        if reply.status != 200 {
            reply.problem(503, "database_unavailable");
            continue;
        }
        let page = Page::parse(&reply.json());
        cut += usize::from(page.has_more);
        for item in page.items {
            let license = item["driver_license_pd_id"].as_str().unwrap().to_owned();
            cache.items.insert(license, item);
        }
        cache.cursor = Some(page.cursor);
        if !page.has_more {
            break;
        }
    }
    assert!(cut > 0, "no page ended early");
    assert_eq!(cache.items.len(), 9_000);
}
