-- +goose Up

-- When a channel's next run is due. One narrow row a channel, apart from its
-- settings, because it changes with every tick.
CREATE TABLE tandem_schedule (
    channel_id  integer PRIMARY KEY REFERENCES tandem_channel (id) ON DELETE CASCADE,
    next_at     integer, -- when the scheduler looks at it next; NULL never
    schedule    text NOT NULL, -- what next_at was worked out from
    revision    integer NOT NULL, -- of the channel then; 0: work it out anew
    start_now   integer NOT NULL, -- a run is wanted whatever the schedule says
    failures    integer NOT NULL, -- runs in a row that failed
    not_before  integer, -- after failures: nothing starts by itself before
    planned_at  integer NOT NULL -- when next_at was worked out; ahead of now: the clock went back
);
CREATE INDEX tandem_schedule_next ON tandem_schedule (next_at) WHERE next_at IS NOT NULL;

-- Every tick that was seen to, so that none is seen to twice.
CREATE TABLE tandem_tick (
    channel_id  integer NOT NULL REFERENCES tandem_channel (id) ON DELETE CASCADE,
    at          integer NOT NULL,
    run_id      integer, -- the run it started or joined
    PRIMARY KEY (channel_id, at)
);

INSERT INTO tandem_schedule (channel_id, next_at, schedule, revision, start_now, failures, planned_at)
    SELECT id, CAST(strftime('%s', 'now') AS integer) * 1000000, '', 0, 0, 0, CAST(strftime('%s', 'now') AS integer) * 1000000
    FROM tandem_channel WHERE enabled;

-- When the last run began that read everything, by our clock: full_at is the
-- remote's.
ALTER TABLE tandem_watermark ADD COLUMN full_run_at integer;

-- +goose Down
ALTER TABLE tandem_watermark DROP COLUMN full_run_at;
DROP TABLE tandem_tick;
DROP TABLE tandem_schedule;
