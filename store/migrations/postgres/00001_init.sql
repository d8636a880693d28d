-- +goose Up

-- One configured instance of a channel type. Its row is the first lock of every
-- transaction that decides which run may start.
CREATE TABLE tandem_channel (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    type        text NOT NULL,
    enabled     boolean NOT NULL,
    managed     text NOT NULL,
    revision    bigint NOT NULL,
    settings    text NOT NULL, -- JSON, secrets sealed
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE tandem_channel_revision (
    channel_id  bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    revision    bigint NOT NULL,
    settings    text NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (channel_id, revision)
);

CREATE TABLE tandem_connector (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id  bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    name        text NOT NULL,
    ord         integer NOT NULL,
    retired     boolean NOT NULL,
    UNIQUE (channel_id, name)
);

CREATE TABLE tandem_entity (
    name        text PRIMARY KEY,
    spec        text NOT NULL
);

CREATE TABLE tandem_run (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id       bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    kind             text NOT NULL,
    lane             text NOT NULL,
    trigger_by       text NOT NULL,
    status           text NOT NULL,
    spec             text NOT NULL,
    revision         bigint NOT NULL,
    cancel_requested boolean NOT NULL,
    wait_reason      text NOT NULL,
    wait_until       timestamptz,
    queued_at        timestamptz, -- when a message for it was last asked for
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    finished_at      timestamptz,
    error            text
);

-- One executing run per channel, kind and lane: the database says so itself.
CREATE UNIQUE INDEX tandem_run_executing ON tandem_run (channel_id, kind, lane)
    WHERE status IN ('preparing', 'execution');
CREATE INDEX tandem_run_planned ON tandem_run (channel_id, kind, lane, id) WHERE status = 'planned';
CREATE INDEX tandem_run_channel ON tandem_run (channel_id, id);

CREATE TABLE tandem_request (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text UNIQUE, -- forgotten (set to NULL) after 30 days
    channel_id  bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    trigger_by  text NOT NULL,
    spec        text NOT NULL,
    run_id      bigint NOT NULL REFERENCES tandem_run (id) ON DELETE CASCADE,
    created_at  timestamptz NOT NULL
);
CREATE INDEX tandem_request_run ON tandem_request (run_id);
CREATE INDEX tandem_request_created ON tandem_request (created_at);

-- Position, batch number and counters move with every batch; the free room in
-- each page keeps those updates off the indexes.
CREATE TABLE tandem_slice (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       bigint NOT NULL REFERENCES tandem_run (id) ON DELETE CASCADE,
    channel_id   bigint NOT NULL,
    connector_id bigint NOT NULL REFERENCES tandem_connector (id) ON DELETE CASCADE,
    shard        text NOT NULL,
    ord          integer NOT NULL,
    state        text NOT NULL,
    position     text, -- JSON
    batch_no     bigint NOT NULL,
    n_read       bigint NOT NULL,
    n_created    bigint NOT NULL,
    n_updated    bigint NOT NULL,
    n_deleted    bigint NOT NULL,
    n_unchanged  bigint NOT NULL,
    n_skipped    bigint NOT NULL,
    n_conflicts  bigint NOT NULL,
    n_parked     bigint NOT NULL,
    n_pushed     bigint NOT NULL,
    total        bigint,
    not_before   timestamptz,
    wait_reason  text NOT NULL,
    queued_at    timestamptz,
    attempts     integer NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (run_id, connector_id, shard)
) WITH (fillfactor = 50);
CREATE INDEX tandem_slice_active ON tandem_slice (id) WHERE state = 'active';

-- A released lease keeps its row, so that its epoch only ever grows.
CREATE TABLE tandem_lease (
    channel_id   bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    connector_id bigint NOT NULL,
    direction    text NOT NULL,
    shard        text NOT NULL,
    owner        text NOT NULL, -- '' free
    epoch        bigint NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (channel_id, connector_id, direction, shard)
) WITH (fillfactor = 50);

-- One remote record and one local row that belong together. Millions of rows:
-- no foreign key, no third index.
CREATE TABLE tandem_link (
    connector_id integer NOT NULL,
    remote_id    text COLLATE "C" NOT NULL,
    local_key    text COLLATE "C" NOT NULL,
    id           bigint NOT NULL,
    hash         bigint NOT NULL,
    base         text NOT NULL,
    customs      text,
    state        smallint NOT NULL DEFAULT 0,
    read_at      bigint NOT NULL,
    PRIMARY KEY (connector_id, remote_id)
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX tandem_link_local ON tandem_link (connector_id, local_key) WHERE state = 0;
-- A small sample is enough to prefer the indexes, and makes ANALYZE quick.
ALTER TABLE tandem_link
    ALTER COLUMN connector_id SET STATISTICS 10, ALTER COLUMN remote_id SET STATISTICS 10,
    ALTER COLUMN local_key SET STATISTICS 10, ALTER COLUMN id SET STATISTICS 0,
    ALTER COLUMN hash SET STATISTICS 0, ALTER COLUMN base SET STATISTICS 0,
    ALTER COLUMN customs SET STATISTICS 0, ALTER COLUMN state SET STATISTICS 10,
    ALTER COLUMN read_at SET STATISTICS 0;
-- Numbers are drawn in blocks, so that a batch needs one call.
CREATE SEQUENCE tandem_link_id INCREMENT BY 4096 START WITH 1;

CREATE TABLE tandem_watermark (
    connector_id bigint PRIMARY KEY REFERENCES tandem_connector (id) ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    full_at      timestamptz
);

CREATE TABLE tandem_seen (
    run_id       bigint NOT NULL REFERENCES tandem_run (id) ON DELETE CASCADE,
    connector_id bigint NOT NULL,
    batch_no     bigint NOT NULL,
    ids          bytea NOT NULL,
    PRIMARY KEY (run_id, connector_id, batch_no)
);

CREATE TABLE tandem_candidate (
    owner       text COLLATE "C" NOT NULL, -- "slice/7" or "parked/9"
    remote_id   text COLLATE "C" NOT NULL,
    local_key   text NOT NULL,
    PRIMARY KEY (owner, remote_id)
);

CREATE TABLE tandem_outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL,
    body        text NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE tandem_parked (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL,
    channel_id   bigint NOT NULL,
    channel      text NOT NULL,
    connector_id bigint NOT NULL,
    connector    text NOT NULL,
    run_id       bigint NOT NULL,
    local_id     text NOT NULL,
    remote_id    text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    message      text NOT NULL,
    attempts     integer NOT NULL,
    created_at   timestamptz NOT NULL,
    next_at      timestamptz,
    payload      text, -- JSON, redacted
    resolved     text NOT NULL, -- '' open
    resolved_at  timestamptz,
    dedupe       text -- what makes an open item the same as another; NULL: every one is its own
);
CREATE UNIQUE INDEX tandem_parked_dedupe ON tandem_parked (connector_id, dedupe) WHERE resolved = '';
CREATE INDEX tandem_parked_record ON tandem_parked (connector_id, remote_id) WHERE resolved = '';
CREATE INDEX tandem_parked_channel ON tandem_parked (channel_id, id);
CREATE INDEX tandem_parked_run ON tandem_parked (run_id);

CREATE TABLE tandem_change (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES tandem_run (id) ON DELETE CASCADE,
    body        text NOT NULL
);
CREATE INDEX tandem_change_run ON tandem_change (run_id, seq);

-- A sealed known text per key: a wrong key is found at the start.
CREATE TABLE tandem_key (
    key_id      text PRIMARY KEY,
    canary      text NOT NULL,
    created_at  timestamptz NOT NULL
);

-- +goose Down
DROP TABLE tandem_key;
DROP TABLE tandem_change;
DROP TABLE tandem_parked;
DROP TABLE tandem_outbox;
DROP TABLE tandem_candidate;
DROP TABLE tandem_seen;
DROP TABLE tandem_watermark;
DROP SEQUENCE tandem_link_id;
DROP TABLE tandem_link;
DROP TABLE tandem_lease;
DROP TABLE tandem_slice;
DROP TABLE tandem_request;
DROP TABLE tandem_run;
DROP TABLE tandem_entity;
DROP TABLE tandem_connector;
DROP TABLE tandem_channel_revision;
DROP TABLE tandem_channel;
