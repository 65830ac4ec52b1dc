-- The id under which the regulator may have a driver on line, since it was taken from his licence, and when
-- that was: he is to be reported off line under it before anything else is (docs/decisions/deptrans-status-queue.md).
ALTER TABLE status_queue
    ADD COLUMN former_at timestamptz,
    -- A secret.
    ADD COLUMN former_id bytea;
