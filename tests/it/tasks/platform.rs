//! The queue as domains get it, and as the composition root stops it.

use std::sync::Arc;

use fleet::platform::config::ConfigSource;
use fleet::platform::database::Connection;
use fleet::platform::domain::{Platform, Shared};
use fleet::platform::shutdown;
use fleet::platform::tasks::{Outcome, Running};
use fleet::platform::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;

use super::rig::{Note, Numbers, World, context, note};
use crate::support::app::PATIENT;

fn platform(
    text: String,
    runtime: &Runtime,
    shared: &Arc<Shared>,
) -> (Platform, shutdown::ShutdownTrigger) {
    let config = ConfigSource::texts(vec![text]).load().unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let handle = runtime.handle().clone();
    (
        Platform::new(config, Metrics::default(), shutdown, handle, "test", Arc::clone(shared)),
        trigger,
    )
}

#[actix_web::test]
async fn the_domains_of_a_process_share_one_queue() {
    let world = World::make().await;
    let (runtime, shared) = (Runtime::new().unwrap(), Arc::new(Shared::default()));
    let text = format!("[database]\nurl = '{}'\npool_size = 4\n{PATIENT}", world.test.url());
    let (platform, trigger) = platform(text, &runtime, &shared);
    let numbers = Numbers::default();
    let noted = numbers.clone();
    platform.tasks().unwrap().handle(move |running: Running<Note>| {
        noted.push(running.task.number);
        async { Ok(Outcome::Done) }
    });
    let (tasks, database) = (platform.tasks().unwrap(), platform.database().unwrap());
    assert!(tasks.is_of(&database));
    let enqueue =
        async |connection: &mut Connection| tasks.enqueue(connection, &context(), note(1)).await;
    database.transaction(&context(), enqueue).await.unwrap();
    numbers.reach(1).await;
    trigger.fire();
    shared.tasks_stopped().await;
    let enqueue =
        async |connection: &mut Connection| tasks.enqueue(connection, &context(), note(2)).await;
    database.transaction(&context(), enqueue).await.unwrap();
    // Nobody works any more.
    assert_eq!(world.stored("ready").await, 1);
    database.close();
    runtime.shutdown_background();
}

#[actix_web::test]
async fn a_section_that_is_not_valid_is_told() {
    let (runtime, shared) = (Runtime::new().unwrap(), Arc::new(Shared::default()));
    let (platform, _trigger) = platform("[tasks]\nthreads = 0\n".to_owned(), &runtime, &shared);
    let error = platform.tasks().err().expect("an error");
    assert_eq!(error.code(), "invalid_configuration");
    assert!(error.chain().contains("tasks.threads"), "{}", error.chain());
    shared.tasks_stopped().await;
    runtime.shutdown_background();
}
