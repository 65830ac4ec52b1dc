-- Mailings that are over and still have their recipients, the oldest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mailings_to_clean ON mailings (finished_at)
    WHERE finished_at IS NOT NULL AND recipients_removed_at IS NULL AND selected > 0;
