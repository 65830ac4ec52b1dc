-- Mailings that are over and have no recipients any more, the oldest first (docs/decisions/cleaning.md).
CREATE INDEX CONCURRENTLY IF NOT EXISTS mailings_ended ON mailings (finished_at)
    WHERE finished_at IS NOT NULL AND (recipients_removed_at IS NOT NULL OR selected = 0);
