//! The list of what the erasure covers is that of the migrated schema.

use fleet::domains::fleet_customers::coverage::{COLUMNS, Fate, SCHEMAS, erased_tables};

use super::*;
use crate::support::database::TestDatabase;

/// Columns that may hold something of a person: by what they are called, and by types that hold
/// anything. The domain's own texts are looked at, too.
const SUSPECTS: &str = "SELECT c.table_schema || '.' || c.table_name, c.column_name::text \
     FROM information_schema.columns c WHERE c.table_schema = ANY($1) \
       AND c.table_name NOT LIKE '\\_\\_diesel%' \
       AND (c.column_name ~ '(personal|person|subject|phone|name_id|licen[cs]e|passenger|customer_id)' \
         OR c.data_type IN ('bytea', 'jsonb', 'json', 'ARRAY', 'USER-DEFINED') \
         OR c.table_schema = 'fleet_customers' AND c.data_type IN ('text', 'character varying', 'character')) \
     ORDER BY 1, 2";

async fn suspects(database: &TestDatabase) -> Vec<(String, String)> {
    let rows = database.query(SUSPECTS, &[&SCHEMAS.as_slice()]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn covered() -> Vec<(String, String)> {
    let key = |&(table, column, _): &(&str, &str, Fate)| (table.to_owned(), column.to_owned());
    COLUMNS.iter().map(key).collect()
}

#[actix_web::test]
async fn every_column_that_may_hold_something_of_a_person_is_covered() {
    let database = TestDatabase::create();
    let (found, covered) = (suspects(&database).await, covered());
    let missing: Vec<_> = found.iter().filter(|column| !covered.contains(column)).collect();
    assert!(
        missing.is_empty(),
        "decide in takeout/coverage.rs what an erasure does to {missing:?}"
    );
    let gone: Vec<_> = covered.iter().filter(|column| !found.contains(column)).collect();
    assert!(gone.is_empty(), "takeout/coverage.rs names what is not there: {gone:?}");
    assert_eq!(found, covered, "in alphabetical order");
}

#[actix_web::test]
async fn a_new_column_would_be_noticed_in_each_schema() {
    let database = TestDatabase::create();
    for table in ["fleet_customers.parks", "fleet_platform.idempotency_keys", "task_queue.tasks"] {
        for column in ["personal_email_id text", "subject_2 bigint", "anything bytea"] {
            database.execute(&format!("ALTER TABLE {table} ADD COLUMN {column}")).await;
            let name = column.split(' ').next().unwrap().to_owned();
            assert!(suspects(&database).await.contains(&(table.to_owned(), name)), "{column}");
        }
    }
}

#[actix_web::test]
async fn receipts_name_the_tables_that_are_erased() {
    let customers = Customers::start().await;
    customers.erase("request-1", &[&phone_id(1)]).await;
    let receipt = customers.completed("request-1").await;
    let tables = receipt["tables"].as_array().unwrap();
    let named: Vec<&str> = tables.iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(named, erased_tables());
}

/// Every covered column is filled before, or the erasure of it would be tried by nothing.
#[actix_web::test]
async fn what_is_covered_as_erased_is_really_written_and_erased() {
    let customers = Customers::start().await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK]).await;
    let erased = COLUMNS.iter().filter(|(_, _, fate)| *fate == Fate::Erased);
    let columns: Vec<_> = erased.map(|(table, column, _)| (table, column)).collect();
    let filled = async |(table, column)| {
        let sql = format!("SELECT count({column}) FROM {table}");
        customers.app.database().count(&sql).await
    };
    for column in &columns {
        assert!(filled(*column).await > 0, "{column:?}");
    }
    customers.erase("request-1", &[&id]).await;
    customers.completed("request-1").await;
    for column in &columns {
        assert_eq!(filled(*column).await, 0, "{column:?}");
    }
    for (table, column, fate) in COLUMNS {
        if *fate == Fate::Passing {
            assert_eq!(filled((table, column)).await, 0, "{table}.{column}");
        }
    }
}
