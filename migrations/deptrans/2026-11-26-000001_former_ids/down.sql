ALTER TABLE status_queue
    DROP COLUMN former_id,
    DROP COLUMN former_at;
