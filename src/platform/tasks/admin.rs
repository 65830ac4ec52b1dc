//! What an operator does to tasks (`fleet tasks`).

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, SmallInt, Text};
use diesel_async::RunQueryDsl;

use super::WAKE_UPS;
use crate::platform::database::Connection;
use crate::platform::error::Result;

/// How many tasks of one kind are in each state.
#[derive(Debug, Clone, QueryableByName)]
pub struct StoredKind {
    /// Their queue.
    #[diesel(sql_type = Text)]
    pub queue: String,
    /// Their kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Those that may run.
    #[diesel(sql_type = BigInt)]
    pub ready: i64,
    /// Those that wait for their time; where nobody works on the queue, also beyond it.
    #[diesel(sql_type = BigInt)]
    pub scheduled: i64,
    /// Those that run.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
    /// Those that were given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// Seconds for which the first of those that may run has waited; `None`: none may.
    #[diesel(sql_type = Nullable<Double>)]
    pub waits: Option<f64>,
}

impl StoredKind {
    /// All kinds of which something is stored. Reads the whole table.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(connection: &mut Connection) -> Result<Vec<Self>> {
        let sql = "SELECT queue, kind, count(*) FILTER (WHERE state = 'ready') AS ready, \
               count(*) FILTER (WHERE state = 'scheduled') AS scheduled, \
               count(*) FILTER (WHERE state = 'running') AS running, \
               count(*) FILTER (WHERE state = 'dead') AS dead, \
               extract(epoch FROM clock_timestamp() - min(run_at) FILTER (WHERE state = 'ready' \
                 OR (state = 'scheduled' AND run_at < clock_timestamp())))::float8 AS waits \
             FROM task_queue.tasks GROUP BY queue, kind ORDER BY queue, kind";
        Ok(diesel::sql_query(sql).load(connection).await?)
    }
}

/// Which tasks are meant. What is left out does not narrow it down.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Their numbers.
    pub ids: Vec<i64>,
    /// `scheduled`, `ready`, `running` or `dead`.
    pub state: Option<String>,
    /// Their queue.
    pub queue: Option<String>,
    /// Their kind.
    pub kind: Option<String>,
}

/// A task as an operator sees it: without its payload.
#[derive(Debug, Clone, QueryableByName)]
pub struct StoredTask {
    /// Its number.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// `scheduled`, `ready`, `running` or `dead`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Its queue.
    #[diesel(sql_type = Text)]
    pub queue: String,
    /// Its kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Whose it is; empty: nobody's.
    #[diesel(sql_type = Text)]
    pub park_id: String,
    /// What it is about, where at most one of its kind may be.
    #[diesel(sql_type = Nullable<Text>)]
    pub unique_key: Option<String>,
    /// Attempts that count.
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    /// Attempts after which it is dead.
    #[diesel(sql_type = SmallInt)]
    pub max_attempts: i16,
    /// Seconds since it was enqueued.
    #[diesel(sql_type = Double)]
    pub age: f64,
    /// The code of the last failure.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_code: Option<String>,
    /// The text of the last failure.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
}

const SELECTED: &str = "(cardinality($1) = 0 OR t.id = ANY($1)) AND ($2 IS NULL OR t.state = $2) \
     AND ($3 IS NULL OR t.queue = $3) AND ($4 IS NULL OR t.kind = $4)";

#[derive(QueryableByName)]
struct Retried {
    #[diesel(sql_type = BigInt)]
    retried: i64,
    #[allow(dead_code, reason = "asked for its effect")]
    #[diesel(sql_type = Bool)]
    notified: bool,
}

impl Selection {
    /// Lists up to `limit` of them, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, connection: &mut Connection, limit: i64) -> Result<Vec<StoredTask>> {
        let sql = format!(
            "SELECT t.id, t.state, t.queue, t.kind, t.park_id, t.unique_key, t.attempt, t.max_attempts, \
             extract(epoch FROM clock_timestamp() - t.created_at)::float8 AS age, t.error_code, \
             t.error FROM task_queue.tasks t WHERE {SELECTED} ORDER BY t.id DESC LIMIT $5"
        );
        let query = self.bind(sql).bind::<BigInt, _>(limit);
        Ok(query.load(connection).await?)
    }

    /// Makes dead ones of them ready again, with all their attempts, at the end of their parks'
    /// lines. One whose unique key another task has taken meanwhile stays dead. Returns how many.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retry(&self, connection: &mut Connection) -> Result<usize> {
        let sql = format!(
            "WITH chosen AS (SELECT DISTINCT ON (t.kind, COALESCE(t.unique_key, t.id::text)) t.id \
               FROM task_queue.tasks t WHERE {SELECTED} AND t.state = 'dead' AND NOT EXISTS (\
                 SELECT FROM task_queue.tasks o WHERE o.kind = t.kind AND o.unique_key = t.unique_key \
                 AND o.unique_key IS NOT NULL AND o.state <> 'dead') \
               ORDER BY t.kind, COALESCE(t.unique_key, t.id::text), t.id DESC), \
             made AS (UPDATE task_queue.tasks t SET state = 'ready', attempt = 0, died_at = NULL, \
               run_at = clock_timestamp(), tag = (SELECT l.last + 1 FROM \
                 task_queue.line_end(t.queue, t.priority, t.park_id, 0) l) \
               WHERE t.id IN (SELECT id FROM chosen) AND t.state = 'dead' RETURNING t.queue) \
             SELECT count(*) AS retried, COALESCE(bool_and(notified), true) AS notified FROM made, \
             LATERAL (SELECT pg_notify($5, made.queue)::text IS NOT NULL AS notified) n"
        );
        let query = self.bind(sql).bind::<Text, _>(WAKE_UPS);
        let retried: Retried = query.get_result(connection).await?;
        Ok(usize::try_from(retried.retried).unwrap_or_default())
    }

    /// Removes those of them for good that no worker has: dead ones, unless another state is selected.
    /// Returns how many.
    ///
    /// # Errors
    /// The database fails.
    pub async fn discard(&self, connection: &mut Connection) -> Result<usize> {
        let sql = format!(
            "DELETE FROM task_queue.tasks t WHERE {SELECTED} AND t.state = COALESCE($2, 'dead') \
             AND t.state <> 'running'"
        );
        Ok(self.bind(sql).execute(connection).await?)
    }

    fn bind(&self, sql: String) -> BoundQuery<'_> {
        diesel::sql_query(sql)
            .into_boxed()
            .bind::<Array<BigInt>, _>(&self.ids)
            .bind::<Nullable<Text>, _>(self.state.as_deref())
            .bind::<Nullable<Text>, _>(self.queue.as_deref())
            .bind::<Nullable<Text>, _>(self.kind.as_deref())
    }
}

type BoundQuery<'a> =
    diesel::query_builder::BoxedSqlQuery<'a, diesel::pg::Pg, diesel::query_builder::SqlQuery>;
