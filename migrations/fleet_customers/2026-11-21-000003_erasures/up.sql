-- Erasure of persons across parks (docs/decisions/erasure.md).

-- The audit: one row a request, kept. Nothing personal stands in it: `request` is a digest that tells a
-- repeated request from another one under the same id, and the rest are counts.
CREATE TABLE erasures (
    erasure_no          bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    requested_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The moment of the erasure: what was ordered until then is erased and does not come back.
    erased_at           timestamptz,
    -- When our own rows were gone; names may still stand in `personal`.
    rows_erased_at      timestamptz,
    completed_at        timestamptz,
    -- Rows erased, by table, and names that `personal` forgot.
    customers           bigint      NOT NULL DEFAULT 0,
    favourite_locations bigint      NOT NULL DEFAULT 0,
    recurring_routes    bigint      NOT NULL DEFAULT 0,
    idempotency_keys    bigint      NOT NULL DEFAULT 0,
    names               bigint      NOT NULL DEFAULT 0,
    request_id          text        NOT NULL UNIQUE,
    caller              text        NOT NULL,
    request             bytea       NOT NULL
);
-- How long the oldest has waited.
CREATE INDEX erasures_unfinished ON erasures (requested_at) WHERE completed_at IS NULL;

-- Whom a request is about; gone when it is completed.
CREATE TABLE erasure_subjects (
    erasure_no        bigint NOT NULL REFERENCES erasures,
    personal_phone_id bytea  NOT NULL,
    PRIMARY KEY (erasure_no, personal_phone_id)
);
CREATE INDEX erasure_subjects_phone ON erasure_subjects (personal_phone_id);

-- Names of erased records that `personal` has not forgotten yet.
CREATE TABLE erasure_names (
    erasure_no       bigint NOT NULL REFERENCES erasures,
    personal_name_id bytea  NOT NULL,
    PRIMARY KEY (erasure_no, personal_name_id)
);

-- What keeps late events from recreating an erased person's record, in any park. `person` is a digest:
-- whoever reads the table learns of nobody, and only who comes with an id can tell whether it was erased.
--
-- Whoever writes an upsert reads this table FOR KEY SHARE, which takes a ROW SHARE lock on the table
-- before the statement's snapshot. Setting tombstones takes an EXCLUSIVE lock, so each upsert is either
-- committed before, and found by the erasure, or sees the tombstone.
CREATE TABLE tombstones (
    person    bytea       NOT NULL PRIMARY KEY,
    erased_at timestamptz NOT NULL
);
CREATE INDEX tombstones_erased_at ON tombstones (erased_at);

-- The digest of a packed personal phone id.
CREATE FUNCTION tombstone_of(personal_phone_id bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN sha256('fleet-customers tombstone:'::bytea || personal_phone_id);
