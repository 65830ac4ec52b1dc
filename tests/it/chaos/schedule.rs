//! Scenario 8: the session of whoever takes a schedule's tick is terminated before it commits.

use rand::RngExt;

use super::rig::{Counts, Crowd, Run, seeds, until};

const COUNT: &str = "CREATE TABLE public.ticks (task bigint); \
     CREATE FUNCTION public.tick() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN INSERT INTO public.ticks VALUES (NEW.id); RETURN NULL; END $$; \
     CREATE TRIGGER tick AFTER INSERT ON task_queue.tasks FOR EACH ROW \
     WHEN (NEW.kind = 'communications.watch_mailings') EXECUTE FUNCTION public.tick()";
/// Whoever took the tick waits for the transaction that has its task's key.
const TAKERS: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
     AND wait_event_type = 'Lock' AND query LIKE 'WITH given%'";
const TICKS: &str = "SELECT count(*) FROM public.ticks";

#[actix_web::test]
async fn a_tick_whose_taker_is_cut_off_is_taken_once_by_another() {
    for seed in seeds() {
        let mut run = Run::of("8 schedule", seed);
        let mut crowd = Crowd::of(1, &[]).await;
        let scheduled = "SELECT count(*) FROM task_queue.schedules \
             WHERE name = 'communications.watch_mailings' AND next_at > now()";
        until("the first tick was taken", async || crowd.database.count(scheduled).await == 1)
            .await;
        let left = "SELECT count(*) FROM task_queue.tasks";
        until("and done", async || crowd.database.count(left).await == 0).await;
        crowd.kill(0);
        crowd.database.execute(COUNT).await;
        crowd.database.execute("UPDATE task_queue.schedules SET next_at = now() WHERE name = 'communications.watch_mailings'").await;

        let mut blocker = crowd.database.connect().await;
        let key = blocker.transaction().await.unwrap();
        let block = "INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, \
             park_id, unique_key, traceparent, payload) VALUES (0, now(), 1, 1, 'scheduled', \
             'communications_upkeep', 'communications.watch_mailings', '', \
             'schedule communications.watch_mailings', '', '{}')";
        key.execute(block, &[]).await.unwrap();
        for _ in 0..3 {
            crowd.spawn(&[]);
        }
        let wanted: usize = run.random.random_range(1..=3);
        let mut terminated = 0;
        for _ in 0..wanted {
            until("somebody took the tick", async || {
                !crowd.database.query(TAKERS, &[]).await.is_empty()
            })
            .await;
            let cut =
                format!("SELECT count(*) FROM ({TAKERS}) t WHERE pg_terminate_backend(t.pid)");
            terminated += usize::try_from(crowd.database.count(&cut).await).unwrap();
        }
        assert_eq!(crowd.database.count(TICKS).await, 0, "a tick without its transaction");
        key.rollback().await.unwrap();
        until("the tick is taken", async || crowd.database.count(TICKS).await > 0).await;
        for server in &mut crowd.servers {
            server.wait_for("readyz", 200).await;
        }
        until("its task is done", async || crowd.database.count(left).await == 0).await;
        let taken = u64::try_from(crowd.database.count(TICKS).await).unwrap();
        assert_eq!(crowd.database.count(scheduled).await, 1, "the next is ahead");
        let counts =
            Counts { selected: 1, delivered: taken, lost: 1 - taken.min(1), doubled: taken - 1 };
        run.assert(terminated, counts);
    }
}
