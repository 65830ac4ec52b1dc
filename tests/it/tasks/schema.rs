//! The queue's migrations, and what its table promises to itself.

use fleet::platform::tasks::MIGRATIONS;

use super::rig::World;

#[actix_web::test]
async fn the_migrations_can_be_undone_and_done_again() {
    let world = World::make().await;
    let instance = world.instance();
    let objects = "SELECT count(*) FROM pg_class WHERE relnamespace = 'task_queue'::regnamespace \
         AND relname NOT LIKE '\\_\\_diesel%'";
    let before = world.test.count(objects).await;
    assert!(before > 5, "{before}");
    let reverted = instance.database.revert_all(MIGRATIONS).await.unwrap();
    assert_eq!(world.test.count(objects).await, 0);
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'task_queue'::regnamespace";
    assert_eq!(world.test.count(functions).await, 0);
    assert_eq!(instance.database.migrate(MIGRATIONS).await.unwrap(), reverted);
    assert_eq!(world.test.count(objects).await, before);
}

#[actix_web::test]
async fn a_heartbeat_touches_no_index() {
    let world = World::make().await;
    let indexed = "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
         AND a.attnum = ANY(i.indkey) WHERE a.attname = 'lease_until' \
         AND i.indrelid = 'task_queue.tasks'::regclass";
    assert_eq!(world.test.count(indexed).await, 0);
    let predicates = "SELECT count(*) FROM pg_index WHERE indrelid = 'task_queue.tasks'::regclass \
         AND pg_get_expr(indpred, indrelid) LIKE '%lease_until%'";
    assert_eq!(world.test.count(predicates).await, 0);
}
