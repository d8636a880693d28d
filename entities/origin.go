package entities

import (
	"context"

	"github.com/tandem-sync/tandem/store"
)

// sayOrigin says on PostgreSQL whose changes these are. A trigger's own statements
// are told apart by their depth, but the actions of foreign keys look like ours:
// where they may come back to the table, nothing is said. What they do to other
// tables bears our name and is passed on all the same, because the connector
// writes to this one only.
func (a *apply) sayOrigin(ctx context.Context) error {
	const acts = "contype = 'f' AND (confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r'))"
	const q = `WITH RECURSIVE own(oid) AS (SELECT $1::oid UNION SELECT inhrelid FROM pg_inherits JOIN own ON inhparent = own.oid),
		acts AS MATERIALIZED (SELECT conrelid, confrelid FROM pg_constraint WHERE ` + acts + `),
		reached(oid) AS (SELECT conrelid FROM acts WHERE confrelid IN (SELECT oid FROM own) UNION SELECT conrelid FROM acts JOIN reached ON confrelid = reached.oid)
		SELECT EXISTS (SELECT 1 FROM reached WHERE oid IN (SELECT oid FROM own))`
	var circle bool
	if err := a.tx.GetContext(ctx, &circle, q, a.b.t.oid); err != nil || circle {
		return err
	}
	return a.tx.SetOrigin(ctx, a.connector)
}

// setOrigin says on SQLite whose changes these are, where the table is captured.
// SQLite does not tell a trigger's statement from ours, so where ours may set off others
// (a trigger, a foreign key with an action) nothing is said: our own change then
// comes back as anybody's and is found to be none.
func (a *apply) setOrigin(ctx context.Context) error {
	const q = `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND substr(name, 1, length(?)) = ?)
		AND NOT EXISTS (SELECT 1 FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND f."table" = ? COLLATE NOCASE
			AND (f.on_update NOT IN ('NO ACTION', 'RESTRICT') OR f.on_delete NOT IN ('NO ACTION', 'RESTRICT')))`
	name := a.b.t.Name
	if err := a.tx.GetContext(ctx, &a.origin, q, name, capturePrefix, capturePrefix, name); err != nil || !a.origin {
		return err
	}
	return a.tx.SetOrigin(ctx, a.connector)
}

// clearOrigin takes setOrigin back. After an error the whole transaction is.
func (a *apply) clearOrigin(ctx context.Context) error {
	if !a.origin || a.b.t.dialect != store.SQLite {
		return nil
	}
	return a.tx.ClearOrigin(ctx)
}
