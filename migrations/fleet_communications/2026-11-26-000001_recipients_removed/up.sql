-- When the last of a mailing's recipients was removed because of their age (docs/decisions/cleaning.md).
ALTER TABLE mailings ADD COLUMN recipients_removed_at timestamptz;
