//! `fleet tasks`, as an operator runs it.

use fleet::platform::error::Error;
use fleet::platform::tasks::{Failure, NewTask, Running};

use super::rig::{Note, Numbers, World, note, task};
use crate::support::app::{configuration, start_sandbox};
use crate::support::eventually;
use crate::support::process::{Ended, run};

task!(Hopeless, "hopeless", "lost causes");

struct Cli {
    config: String,
}

impl Cli {
    fn of(world: &World) -> Self {
        let sandbox = start_sandbox();
        Self { config: configuration(&world.test.url(), &sandbox) }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        run(&[&["tasks"], arguments].concat(), &self.config, &[])
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended.stdout
    }
}

#[actix_web::test]
async fn dead_tasks_are_listed_run_again_and_discarded() {
    let world = World::make().await;
    let worker = world.instance();
    worker.tasks.handle(|_: Running<Hopeless>| async {
        let detail = "This never works.";
        Err(Failure::Dead(Error::not_found("hopeless_cause", detail)))
    });
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(worker.enqueue(NewTask::new(Hopeless { number })).await.unwrap().to_string());
    }
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    worker.enqueue(note(1).run_at(later)).await.unwrap();
    eventually("they are dead", async || world.stored("dead").await == 3).await;
    worker.stop().await;

    let cli = Cli::of(&world);
    let listed = cli.says(&["list", "--state", "dead"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let line = format!("{}\tdead\tlost causes\thopeless\t\t\t1/20\t", ids[0]);
    assert!(listed.lines().any(|said| said.starts_with(&line)), "{listed}");
    assert!(listed.contains("hopeless_cause This never works."), "{listed}");
    assert_eq!(cli.says(&["list", "--kind", "note"]).lines().count(), 2);
    assert_eq!(cli.says(&["list", "--limit", "1"]).lines().count(), 2);

    // What changes something must say what it means.
    for command in ["retry", "discard"] {
        let ended = cli.run(&[command]);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("--all"), "{ended:?}");
    }
    assert_eq!(cli.says(&["retry", "--queue", "notes"]).trim(), "0 ready again");
    assert_eq!(cli.says(&["retry", &ids[0]]).trim(), "1 ready again");
    assert_eq!(world.stored("ready").await, 1);
    assert_eq!(cli.says(&["discard", "--kind", "hopeless"]).trim(), "2 discarded");
    assert_eq!(world.stored("").await, 2, "what is ready or scheduled stays");

    let second = world.instance();
    let runs = Numbers::default();
    let noted = runs.clone();
    second.tasks.handle(move |running: Running<Hopeless>| {
        noted.push(i64::from(running.attempt));
        async { Ok(fleet::platform::tasks::Outcome::Done) }
    });
    runs.reach(1).await;
    assert_eq!(runs.all(), [1], "with all its attempts");
}

#[actix_web::test]
async fn a_dead_task_whose_key_was_taken_meanwhile_stays_dead() {
    let world = World::make().await;
    let worker = world.instance();
    let keyed = |number| note(number).unique("key");
    worker.enqueue(keyed(1)).await.unwrap();
    let kill = "UPDATE task_queue.tasks SET state = 'dead', died_at = now() WHERE state = 'ready'";
    world.test.execute(kill).await;
    worker.enqueue(keyed(2)).await.unwrap();
    world.test.execute(kill).await;
    worker.enqueue(keyed(3)).await.unwrap();
    let cli = Cli::of(&world);
    assert_eq!(cli.says(&["retry", "--all"]).trim(), "0 ready again");
    let numbers = worker.note_numbers::<Note>();
    numbers.reach(1).await;
    world.drained().await;
    // Of two with one key, one.
    assert_eq!(cli.says(&["retry", "--all"]).trim(), "1 ready again");
    numbers.reach(2).await;
    world.drained().await;
    assert_eq!(numbers.all(), [3, 2]);
    assert_eq!(world.stored("dead").await, 1);
}

#[actix_web::test]
async fn tasks_without_a_handler_are_counted_and_discarded_and_others_stay() {
    let world = World::make().await;
    let worker = world.instance();
    worker.enqueue(NewTask::new(Hopeless { number: 1 })).await.unwrap();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    worker.enqueue(NewTask::new(Hopeless { number: 2 }).run_at(later)).await.unwrap();
    worker.enqueue(note(1)).await.unwrap();
    let running = "UPDATE task_queue.tasks SET state = 'running', \
           lease_until = now() + interval '1 hour' WHERE kind = 'hopeless' AND state = 'ready'";
    let cli = Cli::of(&world);
    let kinds = cli.says(&["kinds"]);
    let line = "lost causes\thopeless\t1\t1\t0\t0\t";
    assert!(kinds.lines().any(|said| said.starts_with(line) && said.ends_with('s')), "{kinds}");
    assert!(kinds.lines().any(|said| said.starts_with("notes\tnote\t1\t0\t0\t0\t")), "{kinds}");

    // Not by the way, and nothing that a worker has.
    assert_eq!(cli.says(&["discard", "--kind", "hopeless"]).trim(), "0 discarded");
    let all = cli.run(&["discard", "--state", "ready", "--all"]);
    assert_eq!((all.code(), world.stored("").await), (Some(1), 3), "{all:?}");
    assert_eq!(cli.run(&["discard", "--state", "running", "--all"]).code(), Some(2));
    world.test.execute(running).await;
    let ready = ["discard", "--kind", "hopeless", "--state", "ready"];
    assert_eq!(cli.says(&ready).trim(), "0 discarded");
    world.test.execute("UPDATE task_queue.tasks SET state = 'ready', lease_until = NULL").await;
    assert_eq!(cli.says(&ready).trim(), "2 discarded");
    assert_eq!(world.stored("").await, 1, "of another kind");
}

#[actix_web::test]
async fn a_schedule_that_nobody_has_is_told_and_discarded() {
    let world = World::make().await;
    let worker = world.instance();
    let notes = worker.note_numbers::<Note>();
    worker.tasks.every("kept", std::time::Duration::from_hours(1), || Note { number: 1 });
    notes.reach(1).await;
    let former = "INSERT INTO task_queue.schedules (name, every, next_at) VALUES \
         ('former', '1 minute', now() - interval '1 day'), \
         ('fresh', '1 day', now() - interval '1 minute')";
    world.test.execute(former).await;

    let cli = Cli::of(&world);
    let listed = cli.says(&["schedules"]);
    let abandoned: Vec<_> = listed.lines().filter(|line| line.ends_with("abandoned")).collect();
    assert!(matches!(*abandoned, [one] if one.starts_with("former\t60s\t-864")), "{listed}");
    assert_eq!(listed.lines().count(), 4, "{listed}");

    let ended = cli.run(&["discard-schedules", "former", "fresh", "kept", "unheard of"]);
    assert_eq!((ended.code(), ended.stdout.trim()), (Some(1), "1 discarded"), "{ended:?}");
    assert_eq!(world.test.count("SELECT count(*) FROM task_queue.schedules").await, 2);
}

#[test]
fn a_database_that_cannot_be_reached_is_told() {
    let config = "[database]\nurl = 'postgres://fleet:hunter2@127.0.0.1:9/fleet'\n";
    let ended = run(&["tasks", "list"], config, &[]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("The database cannot be reached."), "{ended:?}");
    assert!(!ended.output().contains("hunter2"));
}
