ALTER TABLE mailings DROP COLUMN recipients_removed_at;
