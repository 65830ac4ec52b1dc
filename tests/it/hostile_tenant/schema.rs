//! What belongs to a park carries it in its key, by the database's own word.

use std::collections::BTreeSet;

use super::*;
use crate::support::database::TestDatabase;

/// Tables of what belongs to no park, and why.
const OF_NO_PARK: &[(&str, &str)] = &[
    ("deptrans.dead_letters", "messages that are no events: whose they are cannot be read"),
    ("deptrans.feeds", "numbers of the feeds"),
    ("deptrans.krt_outages", "the regulator's"),
    ("deptrans.krt_pace", "the regulator's"),
    ("deptrans.krt_token", "the regulator's"),
    ("deptrans.profiles", "a licence is a person's, who may drive for many parks"),
    ("deptrans.session_status_history", "the same"),
    ("deptrans.session_statuses", "the same"),
    ("fleet_customers.erasure_names", "a person is erased from all parks"),
    ("fleet_customers.erasure_subjects", "the same"),
    ("fleet_customers.erasures", "the same"),
    ("fleet_customers.tombstones", "the same"),
    ("scooter_accumulator.accumulator_moves", "cabinets and accumulators belong to no park"),
    ("scooter_accumulator.accumulators", "the same"),
    ("scooter_accumulator.applied_events", "the same"),
    ("scooter_accumulator.booking_cells", "the same"),
    ("scooter_accumulator.bookings", "the same"),
    ("scooter_accumulator.cabinets", "the same"),
    ("scooter_accumulator.cells", "the same"),
    ("scooter_accumulator.commands", "the same"),
    ("task_queue.schedules", "what is due for all"),
];
/// Tables of what belongs to parks whose key is another, and why that is well.
const OTHERWISE_KEYED: &[(&str, &str)] = &[
    (
        "fleet_customers.favourite_locations",
        "an id of the server's; park and customer are asked too",
    ),
    ("fleet_customers.recurring_routes", "the same"),
    ("fleet_platform.idempotency_keys", "a digest of caller, park, route and key"),
    ("task_queue.tasks", "a number that leaves no process"),
];

const TABLES: &str = "SELECT format('%s.%s', n.nspname, c.relname), \
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
         AND a.attname IN ('park_id', 'park_no')), \
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid \
         AND a.attnum = ANY(i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary \
         AND a.attname IN ('park_id', 'park_no')) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND c.relname <> '__diesel_schema_migrations' \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'public') \
       AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1";
/// Foreign keys between tables of parks that do not carry the park along.
const LOOSE: &str = "SELECT f.conrelid::regclass::text || '.' || f.conname FROM pg_constraint f \
     WHERE f.contype = 'f' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = f.confrelid \
         AND a.attnum > 0 AND a.attname IN ('park_id', 'park_no')) \
       AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = f.conrelid \
         AND a.attnum = ANY(f.conkey) AND a.attname IN ('park_id', 'park_no'))";

#[actix_web::test]
async fn every_table_has_the_park_in_its_key_or_a_reason() {
    let database = TestDatabase::create();
    let mut without = BTreeSet::new();
    let mut otherwise = BTreeSet::new();
    for row in database.query(TABLES, &[]).await {
        let (table, has_park, in_key): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        if !has_park {
            without.insert(table);
        } else if !in_key {
            otherwise.insert(table);
        }
    }
    let names = |list: &[(&str, &str)]| -> BTreeSet<String> {
        list.iter().map(|(table, _)| (*table).to_owned()).collect()
    };
    assert_eq!(without, names(OF_NO_PARK), "tables without a park");
    assert_eq!(otherwise, names(OTHERWISE_KEYED), "tables whose key is without the park");
}

#[actix_web::test]
async fn what_points_to_a_parks_rows_carries_the_park() {
    let loose = TestDatabase::create().query(LOOSE, &[]).await;
    let loose: Vec<&str> = loose.iter().map(|row| row.get(0)).collect();
    assert_eq!(loose, Vec::<&str>::new());
}

/// The rows of a park that the walk compares are found.
#[actix_web::test]
async fn the_rows_of_a_park_are_seen() {
    use crate::support::app::TestApp;
    let app = TestApp::start().await;
    let driver = app.sandbox.driver_ids("park-9")[0].clone();
    Ids::make(&app.anonymous(), "park-9", &driver).await;
    let rows = rows_of(app.database(), "park-9").await;
    for table in [
        "fleet_customers.customers",
        "fleet_customers.favourite_locations",
        "fleet_customers.recurring_routes",
        "fleet_communications.mailings",
        "fleet_communications.mailing_templates",
        "fleet_communications.messages",
        "fleet_communications.conversations",
        "fleet_communications.events",
        "task_queue.tasks",
    ] {
        assert!(
            rows.iter().any(|row| row.starts_with(&format!("{table}: "))),
            "{table}: {rows:#?}"
        );
    }
    assert!(rows_of(app.database(), "park-10").await.is_empty());
}
