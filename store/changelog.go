package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// ChangeLogTable is the table that capture triggers insert into. Its columns are
// entity, local_key, op (a LogOp), fields (a JSON array of columns; NULL unknown
// or all), origin (the connector that writes; 0 nobody of ours), undo and, each
// with a default, seq and at.
const ChangeLogTable = "tandem_change_log"

// Where a capture trigger reads who writes: on PostgreSQL a setting of the
// transaction (NULL or empty when nobody of ours), on SQLite the one row of a table
// with the columns connector and undo.
const (
	OriginSetting = "tandem.origin"
	OriginTable   = "tandem_origin"
)

// LogOp says what happened to a local row.
type LogOp string

// The operations. LogReconcile asks to look at the whole entity: what happened
// to single rows is not known.
const (
	LogUpsert    LogOp = "u"
	LogDelete    LogOp = "d"
	LogReconcile LogOp = "r"
)

// LocalChange is one row of the change log.
type LocalChange struct {
	Seq      int64 // ignored when it is written
	Entity   string
	LocalKey string // "" for LogReconcile
	Op       LogOp
	Fields   []string  // the columns that changed; nil unknown or all
	Origin   int64     // the connector that wrote it; 0 nobody of ours
	Undo     int64     // the run that it takes back; 0 none
	At       time.Time // zero: now
}

// SetOrigin says that what this transaction writes to users' tables from here on
// comes from a connector, so that it is not sent back there. On SQLite it must
// be taken back by ClearOrigin in the same transaction.
func (tx *Tx) SetOrigin(ctx context.Context, connectorID int64) error {
	var err error
	if tx.db.dialect == Postgres {
		_, err = tx.exec(ctx, "SELECT set_config('"+OriginSetting+"', ?, true)", fmt.Sprint(connectorID))
	} else {
		_, err = tx.exec(ctx, "UPDATE "+OriginTable+" SET connector = ?", connectorID)
	}
	if err != nil {
		return fmt.Errorf("set the origin: %w", err)
	}
	return nil
}

// ClearOrigin takes SetOrigin back. PostgreSQL forgets the origin with the
// transaction, so there it does nothing.
func (tx *Tx) ClearOrigin(ctx context.Context) error {
	if tx.db.dialect == Postgres {
		return nil
	}
	if _, err := tx.exec(ctx, "UPDATE "+OriginTable+" SET connector = 0, undo = 0"); err != nil {
		return fmt.Errorf("clear the origin: %w", err)
	}
	return nil
}

// LogChanges writes changes into the log, as a trigger would: for programs that
// say themselves what they changed.
func (tx *Tx) LogChanges(ctx context.Context, list []LocalChange) error {
	if len(list) == 0 {
		return nil
	}
	type line struct {
		Entity string `json:"e"`
		Key    string `json:"k"`
		Op     LogOp  `json:"p"`
		Fields any    `json:"f"`
		Origin int64  `json:"o"`
		Undo   int64  `json:"u"`
		At     any    `json:"a"`
	}
	lines := make([]line, len(list))
	for i, c := range list {
		lines[i] = line{Entity: c.Entity, Key: c.LocalKey, Op: c.Op, Origin: c.Origin, Undo: c.Undo}
		if c.Fields != nil {
			lines[i].Fields = jsonList(c.Fields)
		}
		if !c.At.IsZero() {
			lines[i].At = tx.jsonTime(&c.At)
		}
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_change_log (entity, local_key, op, fields, origin, undo, at)
		SELECT j.value->>'e', j.value->>'k', j.value->>'p', j.value->>'f', CAST(j.value->>'o' AS bigint), CAST(j.value->>'u' AS bigint),
			coalesce(CAST(j.value->>'a' AS @time), @now) FROM @rows(?)`, jsonList(lines))
	if err != nil {
		return fmt.Errorf("log changes: %w", err)
	}
	return nil
}

// ChangeLogDepth counts the changes that no relay has taken yet and says when
// the first of them happened; zero when there is none.
func (tx *Tx) ChangeLogDepth(ctx context.Context) (n int64, oldest time.Time, err error) {
	var at nullTime
	err = tx.row(ctx, `SELECT (SELECT count(*) FROM tandem_change_log), (SELECT at FROM tandem_change_log ORDER BY seq LIMIT 1)`).Scan(&n, &at)
	return n, at.value(), err
}

// takeChanges takes up to limit changes out of the log, in order and passing
// over those that another relay has, and tells the time.
func (tx *Tx) takeChanges(ctx context.Context, limit int) (list []LocalChange, now time.Time, err error) {
	var taken taking
	list, err = collect(ctx, tx, taken.scan, `DELETE FROM tandem_change_log WHERE @ctid @one(SELECT @ctid FROM tandem_change_log ORDER BY seq LIMIT ? @skip@end
		RETURNING seq, entity, local_key, op, fields, origin, at, @now, false`, limit)
	return list, taken.now, err
}

// takeOwn takes up to limit changes of single rows of an entity out of the log,
// if no other connector has to know of them: of those that are its oldest limit
// rows, so that it never searches for long. others says, where it took any,
// whether there are others among these.
func (tx *Tx) takeOwn(ctx context.Context, entity string, connectorID int64, limit int) (list []LocalChange, now time.Time, others bool, err error) {
	var taken taking
	list, err = collect(ctx, tx, taken.scan, `DELETE FROM tandem_change_log WHERE @ctid @one(SELECT @ctid FROM tandem_change_log
			WHERE entity = ? AND op <> 'r' AND seq <= (SELECT max(seq) FROM (SELECT seq FROM tandem_change_log ORDER BY seq LIMIT ?) w)
				AND NOT EXISTS (SELECT 1 FROM tandem_connector k WHERE k.outward AND NOT k.retired AND k.entity = ? AND k.id <> ?)
			ORDER BY seq LIMIT ? @skip@end
		RETURNING seq, entity, local_key, op, fields, origin, at, @now,
			EXISTS (SELECT 1 FROM (SELECT entity, op FROM tandem_change_log ORDER BY seq LIMIT ?) w WHERE w.entity <> ? OR w.op = 'r')`,
		entity, limit, entity, connectorID, limit, limit, entity)
	return list, taken.now, taken.others, err
}

// taking reads changes that are taken out of the log.
type taking struct {
	now    time.Time
	others bool
}

func (t *taking) scan(row scanner) (LocalChange, error) {
	var c LocalChange
	var fields sql.NullString
	var at, clock nullTime
	var others bool
	if err := row.Scan(&c.Seq, &c.Entity, &c.LocalKey, &c.Op, &fields, &c.Origin, &at, &clock, &others); err != nil {
		return c, err
	}
	t.others = t.others || others
	if clock.t.After(t.now) {
		t.now = *clock.t
	}
	c.At = at.value()
	if fields.Valid && json.Unmarshal([]byte(fields.String), &c.Fields) != nil {
		c.Fields = nil // whatever a foreign program wrote there, the row did change
	}
	return c, nil
}

// jsonTime is timePtr for a time within a JSON text.
func (tx *Tx) jsonTime(t *time.Time) any {
	switch {
	case t == nil:
		return nil
	case tx.db.dialect == Postgres:
		return t.UTC().Format(time.RFC3339Nano)
	}
	return t.UnixMicro()
}
