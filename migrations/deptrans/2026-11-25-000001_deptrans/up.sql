-- The regulator's ids of drivers, the states of their shifts, and the queue of what the regulator is
-- told (docs/decisions/deptrans-status-queue.md, deptrans-update-feeds.md). Ids from outside are packed
-- (fleet_platform.readable_id shows them).

CREATE TYPE driver_status AS ENUM ('offline', 'online', 'busy');
CREATE TYPE session_status AS ENUM ('active', 'resting', 'expired', 'not_started');

-- What pollers follow is numbered in the order in which it commits: whoever writes to a feed takes its
-- row here in its last statement and holds it to the commit. A sequence would do no such thing.
CREATE TABLE feeds (
    name          text   NOT NULL PRIMARY KEY,
    last_seq      bigint NOT NULL DEFAULT 0,
    -- Tombstones up to this number were removed: whoever has read less than this, but something, has
    -- to read the whole again.
    forgotten_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO feeds (name) VALUES ('bindings'), ('statuses');

-- A driving licence (an id of `personal`) and the driver's id at the regulator.
CREATE TABLE profiles (
    seq                  bigint      NOT NULL,
    -- When what a poller sees of it changed, its profiles in parks included.
    updated_at           timestamptz NOT NULL,
    driver_license_pd_id bytea       NOT NULL PRIMARY KEY,
    -- A secret. NULL: the binding was removed; the row stays for a while to tell pollers so.
    deptrans_id          bytea       UNIQUE
) WITH (fillfactor = 90);
-- In the order of changes: also that of updated_at.
CREATE UNIQUE INDEX profiles_seq ON profiles (seq);
-- For whoever removes old tombstones.
CREATE INDEX profiles_removed ON profiles (updated_at) WHERE deptrans_id IS NULL;

-- The state of a driver's shift, as the regulator last gave it.
CREATE TABLE session_statuses (
    seq                  bigint         NOT NULL,
    updated_at           timestamptz    NOT NULL,
    ended_at             timestamptz,
    -- Of the status for which the regulator answered with this: a later one's answer is the newer.
    occurred_at          timestamptz    NOT NULL,
    driver_license_pd_id bytea          NOT NULL PRIMARY KEY,
    -- NULL: it is too old to be kept, or the binding was removed.
    session_status       session_status
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX session_statuses_seq ON session_statuses (seq);
CREATE INDEX session_statuses_removed ON session_statuses (updated_at) WHERE session_status IS NULL;
CREATE INDEX session_statuses_ended ON session_statuses (ended_at) WHERE ended_at IS NOT NULL;

-- What it was before; written when state or end change.
CREATE TABLE session_status_history (
    recorded_at          timestamptz    NOT NULL,
    ended_at             timestamptz,
    driver_license_pd_id bytea          NOT NULL,
    session_status       session_status NOT NULL
);
CREATE INDEX session_status_history_recorded ON session_status_history (recorded_at);
CREATE INDEX session_status_history_license ON session_status_history (driver_license_pd_id, recorded_at);

-- The newest status of each driver profile. It waits to be sent while `due_at` is given; afterwards it
-- stays for some hours, so that an older event that comes later changes nothing.
CREATE TABLE status_queue (
    occurred_at          timestamptz   NOT NULL,
    -- Since when a status of this driver waits.
    queued_at            timestamptz,
    -- When it may be taken; of a taken one, when it may be taken from whoever took it.
    due_at               timestamptz,
    -- The fencing token of whoever took it.
    lease                uuid,
    status               driver_status NOT NULL,
    -- Those on line are sent first. A column of its own: an index on an expression of `status` would
    -- have an entry for each change of it, also from waiting for an order to carrying one out.
    off_line             boolean       NOT NULL GENERATED ALWAYS AS (status = 'offline') STORED,
    -- Whether the regulator was last told that the driver is on line; NULL: it was told nothing.
    reported_on_line     boolean,
    attempts             smallint      NOT NULL DEFAULT 0,
    -- The configured region in which he was when the status was last looked at.
    region               smallint,
    -- Statuses that newer ones replaced while they waited.
    replaced             integer       NOT NULL DEFAULT 0,
    park_id              bytea         NOT NULL,
    driver_id            bytea         NOT NULL,
    -- The licence as of the last look.
    driver_license_pd_id bytea,
    -- Decides between equal times: nanoseconds beyond `occurred_at`, then the event's id.
    tiebreak             text COLLATE "C" NOT NULL,
    PRIMARY KEY (park_id, driver_id),
    CONSTRAINT status_queue_waits CHECK ((queued_at IS NULL) = (due_at IS NULL))
) WITH (fillfactor = 80);
-- Those who came on line first. It is partial, so sent statuses are not in it; a newer status of a
-- driver who waits already changes none of its columns, unless he went on or off line.
CREATE INDEX status_queue_due ON status_queue (off_line, due_at) WHERE due_at IS NOT NULL;

-- Messages of Kafka that are no events. The body (its beginning, where it is long) is sealed with
-- `secrets.token_key`: it may hold anything.
CREATE TABLE dead_letters (
    id          uuid        NOT NULL PRIMARY KEY,
    received_at timestamptz NOT NULL,
    -- Its place in Kafka. (What came over HTTP is told to its sender, and not kept.)
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    -- A stable word and what it means; nothing of the body.
    reason      text        NOT NULL,
    body        bytea       NOT NULL,
    UNIQUE (topic, partition, "offset")
);
CREATE INDEX dead_letters_received ON dead_letters (received_at);

-- The regulator's token, shared by all instances: one row. Sealed with `secrets.token_key`.
CREATE TABLE krt_token (
    single      boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (single),
    -- Grows with each new token.
    version     bigint      NOT NULL DEFAULT 0,
    sealed      bytea,
    -- By the regulator's clock; when it gave it, by ours.
    expires_at  timestamptz,
    obtained_at timestamptz,
    -- Who is getting a new one, and until when nobody else does. A time without somebody: it failed,
    -- and nobody tries again before.
    lease       uuid,
    lease_until timestamptz
) WITH (fillfactor = 50);
INSERT INTO krt_token DEFAULT VALUES;

-- The pace of all instances together: when the next call to the regulator may leave, and when it last
-- answered any of them.
CREATE TABLE krt_pace (
    single      boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (single),
    next_at     timestamptz NOT NULL DEFAULT '-infinity',
    answered_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO krt_pace DEFAULT VALUES;

-- When the regulator could not be told: the company's evidence.
CREATE TABLE krt_outages (
    id            bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    from_at       timestamptz NOT NULL,
    to_at         timestamptz,
    caught_up_at  timestamptz,
    longest_queue bigint      NOT NULL DEFAULT 0,
    superseded    bigint      NOT NULL DEFAULT 0,
    -- When an instance last counted the queue for it.
    counted_at    timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT krt_outages_order CHECK (from_at <= to_at AND to_at <= caught_up_at)
);
CREATE UNIQUE INDEX krt_outages_open ON krt_outages ((true)) WHERE to_at IS NULL;
CREATE INDEX krt_outages_from ON krt_outages (from_at);
