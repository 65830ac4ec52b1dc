-- Passengers of parks. No phone number and no name stands here: only ids that `personal` gave, in
-- the packed form of src/platform/database/packed_id.rs (fleet_platform.readable_id shows them).
--
-- Five million rows with all indices must stay under a gigabyte
-- (docs/decisions/five-million-customers.md). So ids are packed, a park is a number of four bytes
-- in rows and keys, columns go from wide to narrow (no padding), and the key begins with the phone:
-- one index serves the look-up by both columns and the erasure of a person across parks.

CREATE TABLE parks (
    park_no integer NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    park_id bytea   NOT NULL UNIQUE
);

CREATE TABLE customers (
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    first_order_at    timestamptz NOT NULL,
    last_order_at     timestamptz NOT NULL,
    park_no           integer     NOT NULL REFERENCES parks,
    orders_count      integer     NOT NULL,
    version           integer     NOT NULL DEFAULT 1,
    -- Null: nobody said; read as false.
    sms_enabled       boolean,
    personal_phone_id bytea       NOT NULL,
    personal_name_id  bytea,
    order_options     jsonb,
    PRIMARY KEY (personal_phone_id, park_no)
);

-- The park's list, newest activity first. By day, not by instant: equal keys share one index entry
-- (tens of bytes a row less), and the rows of one day are sorted as they are read.
CREATE INDEX customers_park_activity
    ON customers (park_no, ((last_order_at AT TIME ZONE 'UTC')::date));

CREATE TABLE favourite_locations (
    id                uuid        NOT NULL PRIMARY KEY,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    park_no           integer     NOT NULL,
    version           integer     NOT NULL DEFAULT 1,
    personal_phone_id bytea       NOT NULL,
    -- label, address, lat, lon, entrance, comment: a typed structure in code, read as a whole.
    body              jsonb       NOT NULL,
    FOREIGN KEY (personal_phone_id, park_no)
        REFERENCES customers (personal_phone_id, park_no) ON DELETE CASCADE
);
CREATE INDEX favourite_locations_customer ON favourite_locations (personal_phone_id, park_no);

CREATE TABLE recurring_routes (
    id                uuid        NOT NULL PRIMARY KEY,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    park_no           integer     NOT NULL,
    version           integer     NOT NULL DEFAULT 1,
    personal_phone_id bytea       NOT NULL,
    -- label, points, schedule: a typed structure in code, read as a whole.
    body              jsonb       NOT NULL,
    FOREIGN KEY (personal_phone_id, park_no)
        REFERENCES customers (personal_phone_id, park_no) ON DELETE CASCADE
);
CREATE INDEX recurring_routes_customer ON recurring_routes (personal_phone_id, park_no);
