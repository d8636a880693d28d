-- +goose Up

-- What changed in the users' tables: capture triggers and the API insert, the
-- relay takes out. Rows are consumed by deleting them, so one that commits late is
-- found late and never passed over.
CREATE TABLE tandem_change_log (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity     text NOT NULL,
    local_key  text NOT NULL, -- '' for r
    op         text NOT NULL, -- u written, d deleted, r look at the whole entity
    fields     text, -- JSON array of the columns that changed; NULL unknown or all
    origin     bigint NOT NULL DEFAULT 0, -- the connector that wrote it; 0 nobody of ours
    undo       bigint NOT NULL DEFAULT 0, -- the run that this change takes back; 0 none
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Per connector and local row: it has to be looked at on the way out. Claims and
-- merged changes move no indexed column, the free room keeps them in the page.
CREATE TABLE tandem_dirty (
    connector_id integer NOT NULL,
    local_key    text COLLATE "C" NOT NULL,
    shard        smallint NOT NULL,
    version      bigint NOT NULL, -- grows with every change
    first_at     timestamptz NOT NULL, -- since when it waits
    at           timestamptz NOT NULL, -- its latest change
    next_at      timestamptz NOT NULL, -- not before
    times        text, -- JSON {column: microseconds since 1970}; "*" columns unknown
    attempts     integer NOT NULL,
    claim_epoch  bigint NOT NULL DEFAULT 0, -- of the lease that works on it; 0 free
    claim_by     text NOT NULL DEFAULT '', -- direction/shard of that lease
    reason       text NOT NULL,
    PRIMARY KEY (connector_id, local_key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX tandem_dirty_next ON tandem_dirty (connector_id, next_at);

-- A create that is under way or whose outcome is not known; committed before the
-- call.
CREATE TABLE tandem_intent (
    connector_id integer NOT NULL,
    local_key    text COLLATE "C" NOT NULL,
    key          text NOT NULL, -- the idempotency key
    state        text NOT NULL, -- 'open' or 'unknown'
    body         text, -- JSON, what was sent
    attempts     integer NOT NULL,
    created_at   timestamptz NOT NULL,
    next_at      timestamptz NOT NULL,
    PRIMARY KEY (connector_id, local_key)
);

-- A field whose sides disagree and that a person decides.
CREATE TABLE tandem_conflict (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id   bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    connector_id bigint NOT NULL,
    connector    text NOT NULL,
    local_key    text COLLATE "C" NOT NULL,
    remote_id    text NOT NULL,
    field        text NOT NULL,
    local_value  text, -- JSON; NULL absent
    remote_value text,
    base_value   text,
    local_at     timestamptz,
    remote_at    timestamptz,
    run_id       bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    resolved     text NOT NULL, -- '' open, local, remote or gone
    resolved_at  timestamptz
);
CREATE UNIQUE INDEX tandem_conflict_open ON tandem_conflict (connector_id, local_key, field) WHERE resolved = '';
CREATE INDEX tandem_conflict_channel ON tandem_conflict (channel_id, id);

-- Remote records that go by another id since they were merged or converted.
CREATE TABLE tandem_alias (
    connector_id integer NOT NULL,
    old_id       text COLLATE "C" NOT NULL,
    remote_id    text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (connector_id, old_id)
);

-- One complete round over all linked records of a connector.
CREATE TABLE tandem_pass (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id   bigint NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    connector_id bigint NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    total        bigint, -- NULL unknown
    done         bigint NOT NULL,
    created      bigint NOT NULL,
    updated      bigint NOT NULL,
    skipped      bigint NOT NULL,
    failed       bigint NOT NULL,
    position     text -- JSON
) WITH (fillfactor = 50);
CREATE INDEX tandem_pass_channel ON tandem_pass (channel_id, id);

-- How many of our own writes came back and were known as such, and how many were
-- nearly taken for a change.
CREATE TABLE tandem_echo (
    connector_id bigint PRIMARY KEY REFERENCES tandem_connector (id) ON DELETE CASCADE,
    suppressed   bigint NOT NULL,
    near_miss    bigint NOT NULL
) WITH (fillfactor = 50);

-- Without defaults: links that were never exported stay as narrow as they were.
-- version is the remote's (ETag and the like), pass the round that last saw to the
-- link, written_at when our last export of it ended (milliseconds since 1970),
-- writes a count of writes that take turns (JSON).
ALTER TABLE tandem_link ADD COLUMN version text, ADD COLUMN pass bigint, ADD COLUMN written_at bigint, ADD COLUMN writes text;
ALTER TABLE tandem_link
    ALTER COLUMN version SET STATISTICS 0, ALTER COLUMN pass SET STATISTICS 0,
    ALTER COLUMN written_at SET STATISTICS 0, ALTER COLUMN writes SET STATISTICS 0;

-- The record a line is about: 'l/' and its local key or, where there is none yet,
-- 'r/' and its remote id; NULL in dry runs and in lines from before.
ALTER TABLE tandem_change ADD COLUMN connector_id bigint, ADD COLUMN record text COLLATE "C", ADD COLUMN at timestamptz;
CREATE INDEX tandem_change_record ON tandem_change (connector_id, record, seq) WHERE record IS NOT NULL;

-- What is parked before it has a remote id is found by its local one.
CREATE INDEX tandem_parked_local ON tandem_parked (connector_id, local_id) WHERE resolved = '' AND local_id <> '';

-- Which entity a connector maps, and whether its values travel to the remote: the
-- relay asks for every change. Empty until the configuration is applied again.
ALTER TABLE tandem_connector ADD COLUMN entity text NOT NULL DEFAULT '';
ALTER TABLE tandem_connector ADD COLUMN outward boolean NOT NULL DEFAULT false;

-- An item of the way out is about a local row, the others are about a remote record.
ALTER TABLE tandem_parked ADD COLUMN outward boolean NOT NULL DEFAULT false;

-- Rows whose pair was taken apart, found by their key; there are few.
CREATE INDEX tandem_link_apart ON tandem_link (connector_id, local_key) WHERE state <> 0;

-- +goose Down
ALTER TABLE tandem_connector DROP COLUMN outward;
ALTER TABLE tandem_connector DROP COLUMN entity;
DROP INDEX tandem_link_apart;
ALTER TABLE tandem_parked DROP COLUMN outward;
DROP INDEX tandem_parked_local;
DROP INDEX tandem_change_record;
ALTER TABLE tandem_change DROP COLUMN at, DROP COLUMN record, DROP COLUMN connector_id;
ALTER TABLE tandem_link DROP COLUMN writes, DROP COLUMN written_at, DROP COLUMN pass, DROP COLUMN version;
DROP TABLE tandem_echo;
DROP TABLE tandem_pass;
DROP TABLE tandem_alias;
DROP TABLE tandem_conflict;
DROP TABLE tandem_intent;
DROP TABLE tandem_dirty;
DROP TABLE tandem_change_log;
