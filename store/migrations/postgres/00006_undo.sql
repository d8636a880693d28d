-- +goose Up

-- What the judge had before it when it left a field to a person, as a base pair of
-- one field: what the winner is told by later. NULL in conflicts from before.
ALTER TABLE tandem_conflict ADD COLUMN seen text;

-- The links of the rows that a batch of a run made, for undoing it: rows of
-- consecutive numbers, each as its distance and its length.
CREATE TABLE tandem_made (
    run_id       bigint NOT NULL REFERENCES tandem_run (id) ON DELETE CASCADE,
    connector_id bigint NOT NULL,
    batch_no     bigint NOT NULL,
    ids          bytea NOT NULL,
    PRIMARY KEY (run_id, connector_id, batch_no)
);

-- Skips of the way out are found by the local row.
CREATE INDEX tandem_parked_kept ON tandem_parked (connector_id, local_id) WHERE resolved = 'skipped' AND print <> '' AND outward;

-- +goose Down
DROP INDEX tandem_parked_kept;
DROP TABLE tandem_made;
ALTER TABLE tandem_conflict DROP COLUMN seen;
