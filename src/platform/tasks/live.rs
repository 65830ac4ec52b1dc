//! Whether a task is there.

use std::collections::HashSet;

use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;

use super::{Task, Tasks};
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::Result;

const LIVE: &str = "SELECT unique_key FROM task_queue.tasks \
     WHERE kind = $1 AND unique_key = ANY($2) AND unique_key IS NOT NULL AND state <> 'dead'";

#[derive(diesel::QueryableByName)]
struct Key {
    #[diesel(sql_type = Text)]
    unique_key: String,
}

impl Tasks {
    /// Which of these unique keys have a task of this kind that waits or runs.
    ///
    /// # Errors
    /// The database fails.
    pub async fn live<T: Task>(
        &self,
        mut connection: &Connection,
        keys: &[&str],
    ) -> Result<HashSet<String>> {
        let query = diesel::sql_query(LIVE).bind::<Text, _>(T::KIND).bind::<Array<Text>, _>(keys);
        let live: Vec<Key> = query.prepared().load(&mut connection).await?;
        Ok(live.into_iter().map(|key| key.unique_key).collect())
    }
}
