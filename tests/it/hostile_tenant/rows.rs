//! What the database has of a park.

use std::collections::BTreeSet;

use crate::support::database::TestDatabase;

/// Tables with a column that names the park, and that column.
const TABLES: &str = "SELECT format('%I.%I', c.table_schema, c.table_name), c.column_name::text, \
       c.data_type::text \
     FROM information_schema.columns c JOIN information_schema.tables t \
       USING (table_schema, table_name) \
     WHERE c.column_name IN ('park_id', 'park_no') AND t.table_type = 'BASE TABLE' \
     ORDER BY 1, 2";

/// Every row of a park, in every table that has rows of parks, as text.
pub async fn rows_of(database: &TestDatabase, park: &str) -> BTreeSet<String> {
    let client = database.connect().await;
    let mut rows = BTreeSet::new();
    for table in client.query(TABLES, &[]).await.expect("the tables") {
        let (table, column, kind): (String, String, String) =
            (table.get(0), table.get(1), table.get(2));
        let its = match (column.as_str(), kind.as_str()) {
            ("park_no", _) => {
                "park_no = (SELECT park_no FROM fleet_customers.parks \
                 WHERE park_id = convert_to($1, 'UTF8'))"
            }
            (_, "bytea") => "park_id = convert_to($1, 'UTF8')",
            _ => "park_id = $1",
        };
        let sql = format!("SELECT t::text FROM {table} t WHERE {its} ORDER BY 1");
        for row in client.query(&sql, &[&park]).await.expect("the rows") {
            rows.insert(format!("{table}: {}", row.get::<_, &str>(0)));
        }
    }
    rows
}
