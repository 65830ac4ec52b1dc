DROP FUNCTION readable_id(bytea);
DROP TABLE idempotency_keys;
