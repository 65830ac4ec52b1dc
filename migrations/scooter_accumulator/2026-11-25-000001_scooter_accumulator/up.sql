-- Cabinets, their cells, accumulators and who has them; bookings and commands
-- (docs/decisions/scooter-places.md, scooter-commands.md).

CREATE TYPE cell_state AS ENUM ('empty', 'charging', 'charged', 'open', 'broken');
CREATE TYPE booking_kind AS ENUM ('pickup', 'return');
CREATE TYPE booking_status AS ENUM
    ('active', 'executing', 'unknown', 'completed', 'incomplete', 'expired', 'cancelled');
CREATE TYPE command_status AS ENUM
    ('created', 'sent', 'timed_out', 'succeeded', 'failed', 'rejected', 'expired');
CREATE TYPE move_kind AS ENUM
    ('created', 'edited', 'unlocked', 'reported', 'taken', 'swapped', 'returned', 'settled', 'lost');

CREATE TABLE cabinets (
    id           text             NOT NULL PRIMARY KEY,
    lat          double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon          double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    cell_count   integer          NOT NULL CHECK (cell_count BETWEEN 1 AND 1000),
    online       boolean          NOT NULL DEFAULT false,
    last_seen_at timestamptz,
    -- When it is asked for its state next, and when the next command may leave (the cloud takes about
    -- one message a second for a cabinet).
    poll_at      timestamptz      NOT NULL DEFAULT '-infinity',
    free_at      timestamptz      NOT NULL DEFAULT '-infinity',
    -- The cabinet's own time of the newest complete state that was applied.
    reported_at  timestamptz,
    firmware     text,
    -- The newest time that it told, by its own clock, and how far that clock is ahead of ours: times that
    -- it is told are given by its clock.
    said_at      timestamptz,
    clock_ahead_ms bigint      NOT NULL DEFAULT 0,
    -- The last question for its state: its answer is younger than that.
    asked        uuid,
    asked_at     timestamptz,
    version      integer          NOT NULL DEFAULT 1,
    created_at   timestamptz      NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
-- Metres on a sphere (haversine).
CREATE FUNCTION distance_m(lat1 double precision, lon1 double precision,
    lat2 double precision, lon2 double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT 2 * 6371008.8 * asin(sqrt(least(1, power(sin(radians(lat2 - lat1) / 2), 2)
        + cos(radians(lat1)) * cos(radians(lat2)) * power(sin(radians(lon2 - lon1) / 2), 2))))
$$;
CREATE INDEX cabinets_place ON cabinets USING gist (point(lon, lat));
CREATE INDEX cabinets_poll ON cabinets (poll_at);

CREATE TABLE cells (
    cabinet_id  text        NOT NULL REFERENCES cabinets (id) ON DELETE CASCADE,
    n           integer     NOT NULL CHECK (n >= 1),
    state       cell_state  NOT NULL DEFAULT 'empty',
    -- Percent, of what is in it.
    charge      smallint    CHECK (charge BETWEEN 0 AND 100),
    -- The cabinet's own time of what is known of it.
    reported_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (cabinet_id, n)
) WITH (fillfactor = 80);

-- An accumulator is in exactly one place, or lost.
CREATE TABLE accumulators (
    id            text        NOT NULL PRIMARY KEY,
    charge        smallint    NOT NULL DEFAULT 0 CHECK (charge BETWEEN 0 AND 100),
    cabinet_id    text,
    cell          integer,
    contractor_id text,
    scooter_id    text,
    -- Taken without a booking, for a person to look at.
    flagged       boolean     NOT NULL DEFAULT false,
    version       integer     NOT NULL DEFAULT 1,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT accumulators_one_place CHECK (num_nonnulls(cabinet_id, contractor_id, scooter_id) <= 1),
    CONSTRAINT accumulators_cell CHECK ((cabinet_id IS NULL) = (cell IS NULL)),
    -- Two may change places in one statement.
    CONSTRAINT accumulators_in_cell UNIQUE (cabinet_id, cell) DEFERRABLE INITIALLY IMMEDIATE,
    FOREIGN KEY (cabinet_id, cell) REFERENCES cells (cabinet_id, n)
) WITH (fillfactor = 80);
CREATE INDEX accumulators_contractor ON accumulators (contractor_id) WHERE contractor_id IS NOT NULL;
CREATE INDEX accumulators_scooter ON accumulators (scooter_id) WHERE scooter_id IS NOT NULL;

CREATE TABLE bookings (
    id            uuid           NOT NULL PRIMARY KEY,
    cabinet_id    text           NOT NULL REFERENCES cabinets (id),
    contractor_id text           NOT NULL,
    kind          booking_kind   NOT NULL,
    status        booking_status NOT NULL DEFAULT 'active',
    count         integer        NOT NULL CHECK (count >= 1),
    min_charge    smallint       CHECK (min_charge BETWEEN 0 AND 100),
    created_at    timestamptz    NOT NULL DEFAULT now(),
    -- Of an active one: after this it counts for nothing.
    expires_at    timestamptz    NOT NULL,
    -- Of one whose doors were opened: when what was not reported is taken as it is.
    settle_at     timestamptz,
    ended_at      timestamptz,
    CONSTRAINT bookings_ended CHECK ((ended_at IS NULL) = (status IN ('active', 'executing', 'unknown')))
) WITH (fillfactor = 80);
CREATE INDEX bookings_expiring ON bookings (expires_at) WHERE status = 'active';
CREATE INDEX bookings_open ON bookings (settle_at) WHERE status IN ('executing', 'unknown');
CREATE INDEX bookings_cabinet ON bookings (cabinet_id) WHERE status IN ('active', 'executing', 'unknown');
CREATE INDEX bookings_ended_at ON bookings (ended_at) WHERE ended_at IS NOT NULL;

-- The cells of a booking, and the accumulators: to be taken out, or to be put in. While it is live, no
-- other live booking has the cell or the accumulator; a booking whose command's outcome is unknown is
-- live, however long that takes.
CREATE TABLE booking_cells (
    booking_id     uuid    NOT NULL REFERENCES bookings (id) ON DELETE CASCADE,
    cabinet_id     text    NOT NULL,
    cell           integer NOT NULL,
    -- Empty again when the accumulator is deleted after the booking's end.
    accumulator_id text    REFERENCES accumulators (id) ON DELETE SET NULL,
    live           boolean NOT NULL DEFAULT true,
    outcome        text    CHECK (outcome IN ('failed', 'opened', 'taken', 'left', 'returned', 'missing',
        'unreported', 'unused')),
    PRIMARY KEY (booking_id, cell),
    FOREIGN KEY (cabinet_id, cell) REFERENCES cells (cabinet_id, n)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX booking_cells_cell ON booking_cells (cabinet_id, cell) WHERE live;
CREATE UNIQUE INDEX booking_cells_accumulator ON booking_cells (accumulator_id) WHERE live;

CREATE TABLE commands (
    id         uuid           NOT NULL PRIMARY KEY,
    cabinet_id text           NOT NULL REFERENCES cabinets (id),
    booking_id uuid           REFERENCES bookings (id),
    kind       text           NOT NULL,
    -- Which goes first when several wait for one cabinet; the lower.
    rank       smallint       NOT NULL,
    cells      integer[],
    status     command_status NOT NULL DEFAULT 'created',
    issued_at  timestamptz    NOT NULL,
    -- The cabinet refuses it after this.
    expires_at timestamptz    NOT NULL,
    -- The same by the cabinet's clock, as it was told.
    told_expires_at timestamptz,
    -- Who sends it, fenced: a process that was stopped meanwhile does not send it later.
    lease      uuid,
    sent_at    timestamptz,
    ended_at   timestamptz,
    result     jsonb
) WITH (fillfactor = 80);
CREATE INDEX commands_open ON commands (cabinet_id, rank, issued_at) WHERE status IN ('created', 'sent');
-- Who opened something at a cabinet, the last first.
CREATE INDEX commands_opened ON commands (cabinet_id, sent_at) WHERE booking_id IS NOT NULL;
CREATE INDEX commands_booking ON commands (booking_id) WHERE booking_id IS NOT NULL;
CREATE INDEX commands_issued ON commands (issued_at);

-- Every move of every accumulator: which places it left and came to.
CREATE TABLE accumulator_moves (
    id             bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    accumulator_id text        NOT NULL REFERENCES accumulators (id) ON DELETE CASCADE,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind           move_kind   NOT NULL,
    "from"         jsonb,
    "to"           jsonb,
    booking_id     uuid,
    command_id     uuid
);
CREATE INDEX accumulator_moves_of ON accumulator_moves (accumulator_id, id);

-- Events that were applied, so that a repeated one changes nothing; removed after an hour.
CREATE TABLE applied_events (
    cabinet_id text        NOT NULL,
    event_id   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cabinet_id, event_id)
);
CREATE INDEX applied_events_at ON applied_events (applied_at);
