-- Conversations of a park with its drivers, and the park's events for those who watch
-- (docs/decisions/conversations.md). The park is in every key.

-- The park's events are numbered without gaps, in the order in which they commit: whoever writes one
-- holds this row until its transaction ends. A sequence would do neither.
CREATE TABLE park_streams (
    park_id  text   NOT NULL PRIMARY KEY,
    last_seq bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE conversations (
    park_id       text    NOT NULL,
    contractor_id text    NOT NULL,
    -- The number of its last message.
    last_seq      bigint  NOT NULL,
    -- Messages to the park, and to the driver, that were not read yet.
    park_unread   integer NOT NULL,
    driver_unread integer NOT NULL,
    PRIMARY KEY (park_id, contractor_id),
    CONSTRAINT conversations_unread CHECK (park_unread >= 0 AND driver_unread >= 0)
) WITH (fillfactor = 80);
-- Unread first, then the most recent.
CREATE INDEX conversations_listed ON conversations (park_id, (park_unread > 0), last_seq);

CREATE TABLE messages (
    park_id       text        NOT NULL,
    contractor_id text        NOT NULL,
    -- The number of the event that told of it: the order of a conversation.
    seq           bigint      NOT NULL,
    id            uuid        NOT NULL,
    to_park       boolean     NOT NULL,
    text          text        NOT NULL,
    -- The dispatcher who wrote it.
    author_id     bigint,
    created_at    timestamptz NOT NULL,
    read_at       timestamptz,
    PRIMARY KEY (park_id, contractor_id, seq),
    FOREIGN KEY (park_id, contractor_id) REFERENCES conversations (park_id, contractor_id),
    CONSTRAINT messages_text CHECK (length(text) BETWEEN 1 AND 4096),
    CONSTRAINT messages_author CHECK (to_park = (author_id IS NULL))
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX messages_id ON messages (park_id, contractor_id, id);
CREATE INDEX messages_unread ON messages (park_id, contractor_id, to_park, seq) WHERE read_at IS NULL;

-- A message, which has the event's number, or a read mark. They are removed after some days; the
-- messages stay.
CREATE TABLE events (
    park_id       text        NOT NULL,
    seq           bigint      NOT NULL,
    contractor_id text        NOT NULL,
    kind          text        NOT NULL,
    created_at    timestamptz NOT NULL,
    -- Of a read mark: who read, and up to which message.
    by_park       boolean,
    up_to         uuid,
    PRIMARY KEY (park_id, seq),
    CONSTRAINT events_kind CHECK (kind IN ('message', 'read')),
    CONSTRAINT events_mark CHECK (num_nonnulls(by_park, up_to) = CASE kind WHEN 'read' THEN 2 ELSE 0 END)
);
CREATE INDEX events_created ON events (created_at);
