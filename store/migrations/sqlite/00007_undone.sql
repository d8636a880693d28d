-- +goose Up

-- How far a run has been undone; a run that nobody undid has no row.
CREATE TABLE tandem_undo (
    run_id       integer PRIMARY KEY REFERENCES tandem_run (id) ON DELETE CASCADE,
    state        text NOT NULL, -- 'partly' or 'done'
    fields       bigint NOT NULL, -- values put back
    rows_changed bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    started_at   integer NOT NULL,
    ended_at     integer
);

-- +goose Down
DROP TABLE tandem_undo;
