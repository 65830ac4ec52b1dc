//! The update feeds.

mod cursors;
mod failures;
mod following;
mod pages;
mod polls;
mod profiles;
mod tombstones;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use tokio_postgres::Client;

use super::DOMAIN;
use crate::support::PATIENCE;
use crate::support::app::TestApp;
use crate::support::client::Caller;
use crate::support::database::TestDatabase;

const BINDINGS: &str = "id/updates";
const STATUSES: &str = "status/updates";

/// The server, and a back-end service that follows its feeds.
struct World {
    app: TestApp,
    caller: Caller,
}

impl World {
    async fn start() -> Self {
        Self::with("").await
    }

    /// A server that differs from the usual one in this TOML.
    async fn with(config: &str) -> Self {
        Self::of(TestApp::builder().domains(&[DOMAIN]).config(config).start().await)
    }

    /// Another instance on the same database.
    async fn beside(&self, config: &str) -> Self {
        let url = self.app.database().url();
        let shared = format!("[database]\nurl = '{url}'\n{config}");
        let builder = TestApp::builder().domains(&[DOMAIN]).without_database();
        Self::of(builder.config(shared).start().await)
    }

    fn of(app: TestApp) -> Self {
        let caller = app.internal(DOMAIN);
        Self { app, caller }
    }

    fn database(&self) -> &TestDatabase {
        self.app.database()
    }

    /// Writes `count` bindings, in one transaction.
    async fn fill(&self, count: usize) {
        let sql = format!(
            "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + {count} \
               WHERE name = 'bindings' RETURNING last_seq - {count} AS base) \
             INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
             SELECT base + n, clock_timestamp(), ('license-' || n)::bytea, ('id-' || n)::bytea \
             FROM feed, generate_series(1, {count}) n"
        );
        self.database().execute(&sql).await;
    }

    /// Changes one binding, and tells of it.
    async fn change(&self, license: &str, id: &str) {
        let sql = format!(
            "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + 1 \
               WHERE name = 'bindings' \
               RETURNING last_seq, pg_notify('fleet_deptrans_feeds', 'bindings ' || last_seq)) \
             UPDATE deptrans.profiles SET seq = last_seq, updated_at = clock_timestamp(), \
               deptrans_id = '{id}' FROM feed WHERE driver_license_pd_id = '{license}'"
        );
        self.database().execute(&sql).await;
    }

    /// A page of a feed.
    async fn page(&self, feed: &str, cursor: Option<&str>, limit: usize) -> Page {
        Page::of(&self.caller, feed, cursor, limit).await
    }

    /// Reads a feed to its end.
    async fn read(&self, feed: &str, cursor: Option<&str>) -> Cache {
        let mut cache = Cache { cursor: cursor.map(str::to_owned), ..Cache::default() };
        while cache.poll(&self.caller, feed, 10_000).await {}
        cache
    }
}

/// A page as it was answered.
struct Page {
    items: Vec<Value>,
    cursor: String,
    has_more: bool,
    lag_ms: i64,
}

impl Page {
    /// As a poller gets it: whoever is told that the database is too slow asks again.
    async fn of(caller: &Caller, feed: &str, cursor: Option<&str>, limit: usize) -> Self {
        let (path, started) = (path(feed, cursor, limit), Instant::now());
        let mut reply = caller.get(&path).await;
        while reply.status == 503 && started.elapsed() < PATIENCE {
            reply = caller.get(&path).await;
        }
        Self::parse(&reply.expect(200))
    }

    fn parse(body: &Value) -> Self {
        Self {
            items: body["items"].as_array().expect("items").clone(),
            cursor: body["cursor"].as_str().expect("a cursor").to_owned(),
            has_more: body["has_more"].as_bool().expect("has_more"),
            lag_ms: body["lag_ms"].as_i64().expect("lag_ms"),
        }
    }

    fn licenses(&self) -> Vec<&str> {
        self.items.iter().map(|item| item["driver_license_pd_id"].as_str().expect("one")).collect()
    }
}

fn path(feed: &str, cursor: Option<&str>, limit: usize) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    format!("{feed}?limit={limit}{cursor}")
}

/// What a consumer keeps: the newest item of each licence.
#[derive(Default)]
struct Cache {
    cursor: Option<String>,
    items: BTreeMap<String, Value>,
    polls: usize,
}

impl Cache {
    /// Polls once; whether there is more.
    async fn poll(&mut self, caller: &Caller, feed: &str, limit: usize) -> bool {
        let page = Page::of(caller, feed, self.cursor.as_deref(), limit).await;
        self.polls += 1;
        for item in page.items {
            let license = item["driver_license_pd_id"].as_str().expect("a licence").to_owned();
            if let Some(known) = self.items.get(&license) {
                let at =
                    |item: &Value| item["updated_at"].as_str().unwrap().parse::<jiff::Timestamp>();
                assert!(at(known).unwrap() <= at(&item).unwrap(), "{known} came before {item}");
            }
            self.items.insert(license, item);
        }
        self.cursor = Some(page.cursor);
        page.has_more
    }

    /// What is bound: licences and ids.
    fn bound(&self) -> BTreeMap<String, String> {
        let id = |item: &Value| {
            assert_eq!(item["is_deleted"], item["deptrans_id"].is_null(), "{item}");
            item["deptrans_id"].as_str().map(str::to_owned)
        };
        self.items.iter().filter_map(|(key, item)| Some((key.clone(), id(item)?))).collect()
    }
}

/// What the database says is bound.
async fn bound(client: &Client) -> BTreeMap<String, String> {
    let rows = client
        .query(
            "SELECT fleet_platform.readable_id(driver_license_pd_id), \
             fleet_platform.readable_id(deptrans_id) \
             FROM deptrans.profiles WHERE deptrans_id IS NOT NULL",
            &[],
        )
        .await
        .expect("the bindings");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
