-- The durable task queue (docs/decisions/task-queue.md). A row is a task that is not done yet: what
-- is done is deleted, in the worker's own transaction where it likes.
--
-- Claiming and completing rewrite a row each, so every index costs twice a task. Indices are partial
-- by state, and `lease_until`, which heartbeats move, stands in none of them: a heartbeat is a HOT
-- update.
CREATE TABLE tasks (
    id           bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- The place in the fair order of its queue and priority: see line_end.
    tag          bigint      NOT NULL,
    -- The fencing token: grows with each claim, and never goes back.
    token        bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When it may run; of a ready task, since when it waits.
    run_at       timestamptz NOT NULL,
    lease_until  timestamptz,
    died_at      timestamptz,
    priority     smallint    NOT NULL,
    -- Claims that count, the one under way included.
    attempt      smallint    NOT NULL DEFAULT 0,
    max_attempts smallint    NOT NULL,
    state        text        NOT NULL,
    queue        text        NOT NULL,
    kind         text        NOT NULL,
    -- Whose it is, for fairness; empty: nobody's.
    park_id      text        NOT NULL,
    unique_key   text,
    traceparent  text        NOT NULL,
    -- Why the last attempt failed: nothing personal.
    error_code   text,
    error        text,
    payload      jsonb       NOT NULL,
    CONSTRAINT tasks_state CHECK (state IN ('scheduled', 'ready', 'running', 'dead')),
    CONSTRAINT tasks_priority CHECK (priority BETWEEN 0 AND 2),
    CONSTRAINT tasks_lease CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT tasks_died CHECK ((state = 'dead') = (died_at IS NOT NULL))
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000
);

-- In the order in which they are claimed.
CREATE INDEX tasks_ready ON tasks (queue, priority, tag, id) WHERE state = 'ready';
-- The end of a park's line.
CREATE INDEX tasks_line ON tasks (queue, priority, park_id, tag) WHERE state = 'ready';
CREATE INDEX tasks_scheduled ON tasks (run_at) WHERE state = 'scheduled';
CREATE INDEX tasks_running ON tasks (id) WHERE state = 'running';
CREATE INDEX tasks_dead ON tasks (died_at) WHERE state = 'dead';
-- A key is free again when its task is done or dead.
CREATE UNIQUE INDEX tasks_unique ON tasks (kind, unique_key)
    WHERE unique_key IS NOT NULL AND state <> 'dead';

-- Work that is due again and again, once for all instances.
CREATE TABLE schedules (
    name    text        NOT NULL PRIMARY KEY,
    every   interval    NOT NULL CHECK (every > interval '0'),
    next_at timestamptz NOT NULL
);

-- Where a park's next task stands: behind `last`. Start-time fair queuing (Goyal et al., 1996): the
-- tag is one more than the greater of the queue's front and the park's own last tag, so a park that
-- comes with few tasks is served between those of a park that has many.
--
-- `hint` is a tag below which the caller has seen nothing ready. It keeps the look at the front short
-- when a long transaction keeps dead index entries there. An empty queue begins at the microseconds
-- of the clock, which is beyond all that was given out before.
--
-- In plpgsql for its settings: a plan that was made while the table was empty must not read a full
-- one from end to end.
CREATE FUNCTION line_end(
    of_queue text, of_priority smallint, of_park text, hint bigint,
    OUT front bigint, OUT last bigint, OUT idle boolean
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
AS $$
BEGIN
    SELECT t.tag INTO front FROM task_queue.tasks t
        WHERE t.state = 'ready' AND t.queue = of_queue AND t.priority = of_priority AND t.tag >= hint
        ORDER BY t.queue, t.priority, t.tag LIMIT 1;
    idle := front IS NULL;
    IF idle THEN
        front := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
        last := front;
    ELSE
        SELECT t.tag INTO last FROM task_queue.tasks t
            WHERE t.state = 'ready' AND t.queue = of_queue AND t.priority = of_priority
                AND t.park_id = of_park AND t.tag >= front
            ORDER BY t.queue DESC, t.priority DESC, t.park_id DESC, t.tag DESC LIMIT 1;
        last := COALESCE(last, front);
    END IF;
END
$$;
