//! Batching changes how fast calls are answered, and nothing else.

use std::cell::RefCell;
use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{Array, BigInt};
use diesel_async::RunQueryDsl;
use fleet::platform::config::ConfigSource;
use fleet::platform::context::Context;
use fleet::platform::database::{BatchedStatement, Connection, Database};
use fleet::platform::telemetry::metrics::Metrics;
use futures_util::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::support::app::PATIENT;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

thread_local! {
    /// The batches that went out on this thread.
    static BATCHES: RefCell<Vec<Vec<i64>>> = const { RefCell::new(Vec::new()) };
}

#[derive(diesel::QueryableByName)]
struct Quotient {
    #[diesel(sql_type = BigInt)]
    quotient: i64,
}

/// With this among its inputs, a statement takes 3 s.
const SLOW: i64 = 999;

/// Divides 1000 by each input, after 50 ms; 0 makes the whole statement fail.
struct Divide;

impl BatchedStatement for Divide {
    type Input = i64;
    type Output = i64;
    type Key = i64;

    const NAME: &'static str = "divide";
    const LANE: &'static str = "trial";
    const MAX: usize = 8;
    const REPEATABLE: bool = true;

    fn key(input: &i64) -> Option<i64> {
        // Multiples of 10 need not differ.
        (input % 10 != 0).then_some(*input)
    }

    async fn run(mut connection: &Connection, inputs: &[i64]) -> QueryResult<Vec<i64>> {
        BATCHES.with_borrow_mut(|batches| batches.push(inputs.to_vec()));
        let sql = format!(
            "SELECT 1000 / input AS quotient \
             FROM pg_sleep(CASE WHEN {SLOW} = ANY($1) THEN 3 ELSE 0.05 END), \
             UNNEST($1) WITH ORDINALITY AS i(input, place) ORDER BY place"
        );
        let query = diesel::sql_query(sql).bind::<Array<BigInt>, _>(inputs);
        let rows: Vec<Quotient> = query.load(&mut connection).await?;
        Ok(rows.into_iter().map(|row| row.quotient).collect())
    }
}

struct Trial {
    database: Database,
    _test: TestDatabase,
    runtime: Option<Runtime>,
}

impl Trial {
    fn start() -> Self {
        let test = TestDatabase::create();
        Self::at(&test.url(), test)
    }

    fn at(url: &str, test: TestDatabase) -> Self {
        let text = format!("[database]\nurl = '{url}'\n{PATIENT}");
        let source = ConfigSource::texts(vec![text]);
        let settings = ConfigSource::load(&source).unwrap().section("database").unwrap();
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let database = Database::new(settings, &Metrics::default(), handle).unwrap();
        Self { database, _test: test, runtime: Some(runtime) }
    }

    async fn divide(&self, input: i64, patience: Duration) -> Result<i64, String> {
        let context = Context::background("test", patience);
        let divided = self.database.batched::<Divide>(&context, input).await;
        divided.map_err(|error| error.code().to_owned())
    }

    async fn divide_all(&self, inputs: &[i64]) -> Vec<Result<i64, String>> {
        let patience = Duration::from_secs(20);
        join_all(inputs.iter().map(|input| self.divide(*input, patience))).await
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a call gets that is alone.
fn alone(input: i64) -> Result<i64, String> {
    1000_i64.checked_div(input).ok_or_else(|| "internal".to_owned())
}

fn batches() -> Vec<Vec<i64>> {
    BATCHES.take()
}

#[actix_web::test]
async fn every_call_is_answered_as_if_it_were_alone() {
    let trial = Trial::start();
    let mut runner = TestRunner::deterministic();
    let inputs = proptest::collection::vec(-12_i64..30, 0..40);
    for _ in 0..8 {
        let inputs = inputs.new_tree(&mut runner).unwrap().current();
        let expected: Vec<_> = inputs.iter().map(|input| alone(*input)).collect();
        assert_eq!(trial.divide_all(&inputs).await, expected, "{inputs:?}");
        for batch in batches() {
            assert!(batch.len() <= Divide::MAX, "{batch:?}");
            let mut keys: Vec<_> = batch.iter().filter_map(Divide::key).collect();
            keys.sort_unstable();
            let all = keys.len();
            keys.dedup();
            assert_eq!(keys.len(), all, "equal keys in {batch:?}");
        }
    }
}

#[actix_web::test]
async fn calls_gather_while_a_statement_is_under_way_and_go_out_in_their_order() {
    let trial = Trial::start();
    trial.divide_all(&[1]).await;
    batches();
    let inputs: Vec<i64> = (1..=17).collect();
    trial.divide_all(&inputs).await;
    let batches = batches();
    assert!(batches.len() <= 4, "{batches:?}");
    assert_eq!(batches.concat(), inputs);
}

#[actix_web::test]
async fn equal_keys_go_out_one_after_the_other_and_what_has_none_together() {
    let trial = Trial::start();
    trial.divide_all(&[7, 7, 7]).await;
    assert_eq!(batches(), [vec![7], vec![7], vec![7]]);
    trial.divide_all(&[10, 10, 10]).await;
    assert_eq!(batches().concat(), [10, 10, 10]);
}

#[actix_web::test]
async fn a_bad_call_fails_alone() {
    let trial = Trial::start();
    let answers = trial.divide_all(&[1, 2, 0, 4, 5]).await;
    let internal = Err("internal".to_owned());
    assert_eq!(answers, [Ok(1000), Ok(500), internal, Ok(250), Ok(200)]);
}

#[actix_web::test]
async fn a_caller_that_has_left_is_not_run() {
    let trial = Trial::start();
    trial.divide_all(&[1]).await;
    batches();
    let patience = Duration::from_secs(20);
    let others = async {
        // The second leaves before the first is over.
        eventually("the first is under way", async || BATCHES.with_borrow(|all| all.len() == 1))
            .await;
        tokio::join!(trial.divide(2, Duration::from_millis(1)), trial.divide(3, patience))
    };
    let (first, (second, third)) = tokio::join!(trial.divide(SLOW, patience), others);
    assert_eq!((first, third), (Ok(1), Ok(333)));
    assert_eq!(second, Err("deadline_exceeded".to_owned()));
    assert_eq!(batches(), [[SLOW], [3]]);
}

#[actix_web::test]
async fn calls_go_on_after_the_connection_was_cut() {
    let test = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&test.url()).1);
    let trial = Trial::at(&proxy.in_front_of(&test.url()), test);
    let inputs = [1, 2, 4, 5];
    let expected: Vec<_> = inputs.iter().map(|input| alone(*input)).collect();
    assert_eq!(trial.divide_all(&inputs).await, expected);
    assert_eq!(proxy.open(), 1, "one lane");

    proxy.set(Mode::Close);
    let unavailable = Err("database_unavailable".to_owned());
    assert_eq!(trial.divide_all(&inputs).await, vec![unavailable; 4]);
    proxy.set(Mode::Pass);
    assert_eq!(trial.divide_all(&inputs).await, expected);

    // Cut with a statement under way: a read is sent again, and nobody notices.
    proxy.set(Mode::CutOpenAfter(0));
    assert_eq!(trial.divide_all(&inputs).await, expected);
    assert_eq!(proxy.open(), 1);
}
