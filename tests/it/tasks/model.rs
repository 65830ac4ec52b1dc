//! Random tasks with random fates, run by two instances, against a model of what must become of
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::platform::database::Connection;
use fleet::platform::error::Error;
use fleet::platform::tasks::{
    Failure, NewTask, Outcome, Priority, Running, Selection, Task, TaskResult,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

use super::rig::{Instance, World, park};
use crate::support::eventually;

const MAX_ATTEMPTS: i16 = 3;

/// What a handler does in one run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Step {
    Done,
    CompleteIn,
    /// Says that it is done, but the transaction that completed it was rolled back.
    CompleteInVain,
    Retry,
    Panic,
    Die,
    Snooze,
    Continue,
}

/// A task that carries its own fate; behind the last step it is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fate {
    number: usize,
    steps: Vec<Step>,
}

impl Task for Fate {
    const KIND: &'static str = "fate";
    const QUEUE: &'static str = "fates";
    const MAX_ATTEMPTS: i16 = MAX_ATTEMPTS;
}

/// How it was enqueued.
#[derive(Debug, Clone)]
struct Plan {
    fate: Vec<Step>,
    park: usize,
    priority: Priority,
    key: Option<u8>,
    roll_back: bool,
}

/// The attempt number of each run, and the attempts of a dead one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Course {
    runs: Vec<i16>,
    dead: Option<i16>,
}

/// What must become of a task.
fn course(steps: &[Step]) -> Course {
    let mut course = Course::default();
    let mut attempt = 0;
    for step in steps.iter().copied().chain([Step::Done]) {
        attempt += 1;
        course.runs.push(attempt);
        match step {
            Step::Done | Step::CompleteIn | Step::CompleteInVain => return course,
            Step::Die => {
                course.dead = Some(attempt);
                return course;
            }
            Step::Retry | Step::Panic if attempt == MAX_ATTEMPTS => {
                course.dead = Some(attempt);
                return course;
            }
            Step::Retry | Step::Panic => {}
            Step::Snooze => attempt -= 1,
            Step::Continue => attempt = 0,
        }
    }
    course
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    use Step::{CompleteIn, CompleteInVain, Continue, Die, Done, Panic, Retry, Snooze};
    let step = proptest::sample::select(vec![
        Retry,
        Retry,
        Retry,
        Panic,
        Snooze,
        Continue,
        Done,
        CompleteIn,
        CompleteInVain,
        Die,
    ]);
    let priority = proptest::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let plan = (
        proptest::collection::vec(step, 0..8),
        0..4_usize,
        priority,
        proptest::option::weighted(0.2, 0..3_u8),
        proptest::bool::weighted(0.1),
    );
    let plan = plan.prop_map(|(fate, park, priority, key, roll_back)| Plan {
        fate,
        park,
        priority,
        key,
        roll_back,
    });
    proptest::collection::vec(plan, 20..60)
}

type Seen = Arc<Mutex<BTreeMap<usize, Vec<i16>>>>;

fn handle(instance: &Instance, seen: &Seen) {
    let (seen, database) = (Arc::clone(seen), instance.database.clone());
    instance.tasks.handle(move |running: Running<Fate>| {
        let (seen, database) = (Arc::clone(&seen), database.clone());
        async move {
            let step = {
                let mut seen = seen.lock().unwrap();
                let runs = seen.entry(running.task.number).or_default();
                runs.push(running.attempt);
                running.task.steps.get(runs.len() - 1).copied().unwrap_or(Step::Done)
            };
            perform(step, &running, &database).await
        }
    });
}

async fn perform(
    step: Step,
    running: &Running<Fate>,
    database: &fleet::platform::database::Database,
) -> TaskResult {
    let failed = || Error::unavailable("test_failure", "as planned");
    match step {
        Step::Done => Ok(Outcome::Done),
        Step::CompleteIn | Step::CompleteInVain => {
            let completed = database
                .transaction(&running.context, async |connection| {
                    running.fence(connection).await?;
                    running.complete_in(connection).await?;
                    if matches!(step, Step::CompleteInVain) { Err(failed()) } else { Ok(()) }
                })
                .await;
            assert_eq!(completed.is_err(), matches!(step, Step::CompleteInVain));
            Ok(Outcome::Done)
        }
        Step::Retry => Err(failed().into()),
        Step::Panic => panic!("as planned"),
        Step::Die => Err(Failure::Dead(failed())),
        Step::Snooze => Ok(Outcome::Snooze(Duration::from_millis(1))),
        Step::Continue => Ok(Outcome::Continue),
    }
}

/// Enqueues before any instance works, and returns what is expected of what was kept.
async fn enqueue(instance: &Instance, plans: &[Plan]) -> BTreeMap<usize, Course> {
    let mut expected = BTreeMap::new();
    let mut keys = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        let mut task = NewTask::new(Fate { number, steps: plan.fate.clone() });
        task = task.priority(plan.priority);
        if plan.park > 0 {
            task = task.of_park(&park(&format!("park-{}", plan.park)));
        }
        if let Some(key) = plan.key {
            task = task.unique(format!("key {key}"));
        }
        let made = instance
            .transaction(async |connection: &mut Connection| {
                let made = instance.tasks.enqueue(connection, &super::rig::context(), task).await?;
                let kept = plan.key.is_none_or(|key| !keys.contains(&key));
                assert_eq!(made.is_some(), kept, "{plan:?}");
                if plan.roll_back { Err(Error::not_found("test", "rolled back")) } else { Ok(kept) }
            })
            .await;
        if made.unwrap_or(false) {
            expected.insert(number, course(&plan.fate));
            keys.extend(plan.key);
        }
    }
    expected
}

#[actix_web::test]
async fn every_task_takes_the_course_that_the_model_says() {
    let world = World::make().await;
    let mut runner = TestRunner::default();
    for _ in 0..12 {
        let plans = plans().new_tree(&mut runner).unwrap().current();
        let instances = [world.instance(), world.instance()];
        let expected = enqueue(&instances[0], &plans).await;
        let seen = Seen::default();
        for instance in &instances {
            handle(instance, &seen);
        }
        world.drained().await;
        let dead = instances[0].list(Selection::default()).await;
        let died = expected.values().filter(|course| course.dead.is_some()).count();
        assert_eq!(dead.len(), died, "{plans:#?}");
        let mut attempts: Vec<i16> = dead.iter().map(|task| task.attempt).collect();
        let mut foreseen: Vec<i16> = expected.values().filter_map(|course| course.dead).collect();
        attempts.sort_unstable();
        foreseen.sort_unstable();
        assert_eq!(attempts, foreseen, "{plans:#?}");
        let runs: BTreeMap<usize, Vec<i16>> =
            expected.iter().map(|(number, course)| (*number, course.runs.clone())).collect();
        assert_eq!(*seen.lock().unwrap(), runs, "{plans:#?}");
        let count = |outcome: &str| {
            let series = format!("task_attempts_total{{kind=\"fate\",outcome=\"{outcome}\"}}");
            instances.iter().map(|instance| instance.metric(&series)).sum::<u64>()
        };
        let all = u64::try_from(runs.values().map(Vec::len).sum::<usize>()).unwrap();
        eventually("every run is counted", async || {
            // Told as lost: committed just before its lease was to be renewed.
            let outcomes = ["done", "failed", "dead", "snoozed", "continued", "lost"];
            outcomes.into_iter().map(count).sum::<u64>() == all
        })
        .await;
        assert_eq!(count("dead"), u64::try_from(died).unwrap());
        let discard = Selection::default();
        let discarded = instances[0]
            .transaction(async |connection: &mut Connection| discard.discard(connection).await);
        assert_eq!(discarded.await.unwrap(), died);
        for instance in &instances {
            instance.stop().await;
        }
    }
}
