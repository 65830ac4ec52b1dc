DROP INDEX IF EXISTS mailings_to_clean;
