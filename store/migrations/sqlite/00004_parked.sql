-- +goose Up

-- print is the fingerprint of what was parked (the record's data and the mapping
-- that judged it); '' unknown. On a skipped item it says for which data the skip
-- holds. answer is what the remote said, where it said something.
ALTER TABLE tandem_parked ADD COLUMN print text NOT NULL DEFAULT '';
ALTER TABLE tandem_parked ADD COLUMN answer text NOT NULL DEFAULT '';
CREATE INDEX tandem_parked_skipped ON tandem_parked (connector_id, remote_id) WHERE resolved = 'skipped' AND print <> '';
CREATE INDEX tandem_parked_open ON tandem_parked (id) WHERE resolved = '';

-- The latest tries of a parked item, one row each.
CREATE TABLE tandem_parked_attempt (
    parked_id   integer NOT NULL REFERENCES tandem_parked (id) ON DELETE CASCADE,
    n           integer NOT NULL,
    run_id      integer NOT NULL,
    at          integer NOT NULL,
    reason      text NOT NULL,
    message     text NOT NULL,
    PRIMARY KEY (parked_id, n)
);

-- +goose Down
DROP TABLE tandem_parked_attempt;
DROP INDEX tandem_parked_open;
DROP INDEX tandem_parked_skipped;
ALTER TABLE tandem_parked DROP COLUMN answer;
ALTER TABLE tandem_parked DROP COLUMN print;
