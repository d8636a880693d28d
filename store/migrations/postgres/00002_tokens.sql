-- +goose Up

-- The OAuth2 token of a channel, shared by all processes: whoever renews it holds
-- the lease. The version only grows; a token is replaced by comparing it.
CREATE TABLE tandem_token (
    channel_id    bigint PRIMARY KEY REFERENCES tandem_channel (id) ON DELETE CASCADE,
    version       bigint NOT NULL,
    sealed        text NOT NULL, -- '' none yet
    problem       text NOT NULL, -- why it cannot be renewed without a person; '' it can
    owner         text NOT NULL, -- who renews it now; '' nobody
    lease_until   timestamptz NOT NULL,
    pending_since timestamptz, -- a renewal was begun and its answer is not known
    updated_at    timestamptz NOT NULL
);

-- What the circuit breaker of a channel did last, told by the process it is in.
CREATE TABLE tandem_breaker (
    channel_id bigint PRIMARY KEY REFERENCES tandem_channel (id) ON DELETE CASCADE,
    state      text NOT NULL, -- 'open' or 'closed'
    since      timestamptz NOT NULL,
    until      timestamptz, -- when an open one lets a probe through
    reason     text NOT NULL
);

-- The epoch of the lease under which the slice is worked on: a lease of another
-- epoch is in other hands.
ALTER TABLE tandem_slice ADD COLUMN held_epoch bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE tandem_slice DROP COLUMN held_epoch;
DROP TABLE tandem_breaker;
DROP TABLE tandem_token;
