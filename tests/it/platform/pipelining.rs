//! Statements that are sent together run in the order in which they are sent, whatever the connection has
//! prepared of them: a fence before what it guards, a lock before what is done under it.

use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::SimpleAsyncConnection as _;
use fleet::platform::context::Context;
use fleet::platform::database::{Connection, Prepare as _};
use fleet::platform::error::Result;
use futures_util::try_join;

use super::abandoned::World;
use crate::support::database::TestDatabase;

/// What a connection knows of a statement.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It has prepared it.
    Warm,
    /// It will keep it, and has not seen it yet.
    Cold,
    /// It prepares it anew each time.
    Unprepared,
}
use State::{Cold, Unprepared, Warm};

const STATES: [State; 3] = [Warm, Cold, Unprepared];
const PATIENCE: Duration = Duration::from_secs(20);

/// A database in which words are noted, and a pool of one connection to it.
async fn notebook() -> (TestDatabase, World, Context) {
    let database = TestDatabase::create();
    database.execute("CREATE TABLE notes (n serial PRIMARY KEY, word text NOT NULL)").await;
    let world = World::on(&database.url(), 1, "");
    (database, world, Context::background("test", PATIENCE))
}

/// Notes `word`; `number` makes it a statement that nobody has seen, if it is new.
async fn note(
    mut connection: &Connection,
    state: State,
    number: usize,
    word: &str,
) -> QueryResult<usize> {
    let number = if matches!(state, Warm) { 0 } else { number };
    let sql = format!("INSERT INTO notes (word) VALUES ($1) /* {number} */");
    let query = diesel::sql_query(sql).bind::<Text, _>(word);
    match state {
        Unprepared => diesel_async::RunQueryDsl::execute(query, &mut connection).await,
        Warm | Cold => diesel_async::RunQueryDsl::execute(query.prepared(), &mut connection).await,
    }
}

#[actix_web::test]
async fn what_is_sent_together_runs_in_its_order() {
    let (database, world, context) = notebook().await;
    let work = async |connection: &mut Connection| {
        note(connection, Warm, 0, "-").await?;
        let mut number = 0;
        for first in STATES {
            for second in STATES {
                for third in STATES {
                    number += 3;
                    try_join!(
                        note(connection, first, number, "a"),
                        note(connection, second, number + 1, "b"),
                        note(connection, third, number + 2, "c"),
                    )?;
                }
            }
        }
        Ok(())
    };
    world.database.transaction(&context, work).await.unwrap();
    let words = database.query("SELECT string_agg(word, '' ORDER BY n) FROM notes", &[]).await;
    assert_eq!(words[0].get::<_, String>(0), format!("-{}", "abc".repeat(27)));
}

/// As the task queue tells the planner what it is to do, right before the statement that is planned.
#[actix_web::test]
async fn a_batch_of_simple_queries_that_stands_first_runs_first() {
    let (database, world, context) = notebook().await;
    for (number, state) in STATES.into_iter().enumerate() {
        let work = async |connection: &mut Connection| {
            let mut first = &*connection;
            let batch = format!("INSERT INTO notes (word) VALUES ('first {number}')");
            try_join!(first.batch_execute(&batch), note(connection, state, number, "then"))?;
            Ok(())
        };
        world.database.transaction(&context, work).await.unwrap();
    }
    let rows = database.query("SELECT string_agg(word, ', ' ORDER BY n) FROM notes", &[]).await;
    let words = "first 0, then, first 1, then, first 2, then";
    assert_eq!(rows[0].get::<_, String>(0), words);
}

#[actix_web::test]
async fn one_that_fails_takes_back_what_was_sent_behind_it() {
    let (database, world, context) = notebook().await;
    for state in STATES {
        let work = async |connection: &mut Connection| {
            let refused = async |mut connection: &Connection| {
                diesel_async::RunQueryDsl::execute(
                    diesel::sql_query("SELECT 1 / 0"),
                    &mut connection,
                )
                .await
            };
            try_join!(refused(connection), note(connection, state, 1, "behind"))?;
            Ok(())
        };
        let outcome: Result<()> = world.database.transaction(&context, work).await;
        outcome.expect_err("it was refused");
        // The connection goes on, and what comes next is not taken for an answer to what came before.
        let next =
            async |connection: &mut Connection| Ok(note(connection, state, 1, "next").await?);
        assert_eq!(world.database.transaction(&context, next).await.unwrap(), 1);
    }
    assert_eq!(database.count("SELECT count(*) FROM notes WHERE word = 'behind'").await, 0);
    assert_eq!(database.count("SELECT count(*) FROM notes WHERE word = 'next'").await, 3);
}
