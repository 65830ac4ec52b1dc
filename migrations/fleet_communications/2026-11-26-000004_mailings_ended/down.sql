DROP INDEX IF EXISTS mailings_ended;
