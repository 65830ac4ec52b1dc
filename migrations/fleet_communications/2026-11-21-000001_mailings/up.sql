-- Mailings of a park to its drivers, after the seed's schema, which is mended where it does not parse
-- and carries the park in every key. (docs/decisions/mailings.md)

CREATE TYPE driver_status AS ENUM ('working', 'online');

CREATE TYPE mailing_status AS ENUM
    ('created', 'scheduled', 'sending', 'sent', 'failed', 'cancelled');

CREATE TABLE mailing_templates (
    park_id             text          NOT NULL,
    id                  text          NOT NULL,
    work_rule           text,
    status              driver_status,
    excl_contractor_ids text[],
    incl_contractor_ids text[],
    message             text          NOT NULL,
    created_at          timestamptz   NOT NULL DEFAULT now(),
    created_by          bigint        NOT NULL,
    -- Null: never sent yet.
    last_sent_at        timestamptz,
    version             integer       NOT NULL DEFAULT 1,
    -- A deleted template is kept for the history of its mailings.
    deleted_at          timestamptz,
    PRIMARY KEY (park_id, id)
);
CREATE INDEX mailing_templates_created ON mailing_templates (park_id, created_at, id);
CREATE INDEX mailing_templates_last_sent ON mailing_templates (park_id, last_sent_at);

-- A mailing keeps what was ordered: its template may be edited later.
CREATE TABLE mailings (
    park_id             text           NOT NULL,
    id                  text           NOT NULL,
    template_id         text           NOT NULL,
    created_at          timestamptz    NOT NULL DEFAULT now(),
    created_by          bigint         NOT NULL,
    status              mailing_status NOT NULL,
    updated_at          timestamptz    NOT NULL DEFAULT now(),
    send_at             timestamptz,
    finished_at         timestamptz,
    message             text           NOT NULL,
    work_rule           text,
    driver_status       driver_status,
    excl_contractor_ids text[],
    incl_contractor_ids text[],
    -- How far the recipients are selected: the number of the next chunk and where its page begins.
    next_chunk          integer        NOT NULL DEFAULT 0,
    next_page           text,
    selected_at         timestamptz,
    -- Counts of recipients. Those still to be sent are `selected` less the others.
    selected            bigint         NOT NULL DEFAULT 0,
    sent                bigint         NOT NULL DEFAULT 0,
    failed              bigint         NOT NULL DEFAULT 0,
    skipped             bigint         NOT NULL DEFAULT 0,
    -- Of a cancelled one: messages that feeds took back.
    recalled            bigint         NOT NULL DEFAULT 0,
    -- Why it failed: a code, never a text from outside.
    error               text,
    PRIMARY KEY (park_id, id),
    FOREIGN KEY (park_id, template_id) REFERENCES mailing_templates (park_id, id),
    CONSTRAINT mailings_counts CHECK (sent + failed + skipped <= selected AND recalled <= sent)
) WITH (fillfactor = 80);
CREATE INDEX mailings_created ON mailings (park_id, created_at, id);
CREATE INDEX mailings_template ON mailings (park_id, template_id, created_at);
-- Those under way, for the watch over lost ones.
CREATE INDEX mailings_open ON mailings (updated_at) WHERE status IN ('created', 'scheduled', 'sending');

-- Recipients go out chunk by chunk. A chunk's members never change once it is there: its request to
-- feeds may be repeated, and must then be the same.
CREATE TABLE mailing_chunks (
    park_id    text    NOT NULL,
    mailing_id text    NOT NULL,
    chunk      integer NOT NULL,
    -- waiting: not sent. sending: handed to feeds, the outcome unknown. sent: the outcome is written.
    -- dropped: cancelled before it was handed over.
    state      text    NOT NULL DEFAULT 'waiting',
    size       integer NOT NULL,
    sent       integer NOT NULL DEFAULT 0,
    recalled   integer NOT NULL DEFAULT 0,
    -- How often feeds was asked to take it back after its outcome was written, and whether it said how
    -- many that were.
    recalls     integer NOT NULL DEFAULT 0,
    recall_done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (park_id, mailing_id, chunk),
    FOREIGN KEY (park_id, mailing_id) REFERENCES mailings (park_id, id),
    CONSTRAINT mailing_chunks_state CHECK (state IN ('waiting', 'sending', 'sent', 'dropped')),
    CONSTRAINT mailing_chunks_recalled CHECK (recalled <= sent AND sent <= size)
) WITH (fillfactor = 80);

-- A driver stands once in a mailing, whatever happens.
CREATE TABLE mailing_recipients (
    park_id       text    NOT NULL,
    mailing_id    text    NOT NULL,
    contractor_id text    NOT NULL,
    chunk         integer NOT NULL,
    -- selected: his chunk was not sent, or its outcome is not known yet.
    status        text    NOT NULL DEFAULT 'selected',
    -- Why feeds rejected it.
    error         text,
    PRIMARY KEY (park_id, mailing_id, contractor_id),
    FOREIGN KEY (park_id, mailing_id, chunk) REFERENCES mailing_chunks (park_id, mailing_id, chunk),
    CONSTRAINT mailing_recipients_status CHECK (status IN ('selected', 'sent', 'failed'))
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.05
);
CREATE INDEX mailing_recipients_chunk ON mailing_recipients (park_id, mailing_id, chunk);
