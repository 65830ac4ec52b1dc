-- The answers to calls that carried an Idempotency-Key. A row is written in the transaction of the
-- work it guards. `scope` and `request` are digests; `answer` is what the first call returned.
-- `subject` (in the domain's own terms) and `park_id`, both packed, name whom the answer is about, so
-- that a deletion or an erasure finds it.
CREATE TABLE idempotency_keys (
    scope      bytea       NOT NULL PRIMARY KEY,
    request    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    domain     text        NOT NULL,
    park_id    bytea,
    subject    bytea,
    answer     jsonb       NOT NULL
);

-- For cleaning what is older than a day.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
-- For erasing what is about somebody.
CREATE INDEX idempotency_keys_subject ON idempotency_keys (subject) WHERE subject IS NOT NULL;

-- Shows an id as text (src/platform/database/packed_id.rs packs it): for people at a psql prompt.
CREATE FUNCTION readable_id(packed bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE
        WHEN length(packed) = 17 AND get_byte(packed, 0) = 1 THEN encode(substring(packed FROM 2), 'hex')
        WHEN length(packed) = 17 AND get_byte(packed, 0) = 2 THEN encode(substring(packed FROM 2), 'hex')::uuid::text
        ELSE convert_from(packed, 'UTF8')
    END;
