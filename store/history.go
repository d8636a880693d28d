package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lib/pq"
)

// record is what a line is found by: its local row or, where there is none yet,
// its remote record.
func (c Change) record() string {
	if c.LocalID != "" {
		return recordOf("l/", c.LocalID)
	}
	return recordOf("r/", c.RemoteID)
}

// maxRecord bounds what an index entry can hold.
const maxRecord = 1000

func recordOf(side, id string) string {
	return side + strings.ToValidUTF8(id[:min(len(id), maxRecord)], "")
}

// AddChanges keeps lines of what a run did or, dry, would do, in order.
func (tx *Tx) AddChanges(ctx context.Context, runID int64, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	bodies := make([]string, len(changes))
	var buf []byte
	for i := range changes {
		var err error
		if buf, err = appendChange(buf[:0], &changes[i]); err != nil {
			return fmt.Errorf("change of run %d: %w", runID, err)
		}
		bodies[i] = string(buf)
	}
	// What a dry run says did not happen to the record.
	const into = `INSERT INTO tandem_change (run_id, body, connector_id, record, at)
		SELECT CAST(? AS bigint), u.body, k.id, CASE WHEN k.id IS NULL THEN NULL ELSE u.record END, @now FROM `
	const connector = ` LEFT JOIN (SELECT k.id, k.name FROM tandem_run r JOIN tandem_connector k ON k.channel_id = r.channel_id
		WHERE r.id = ? AND r.lane <> 'dry') k ON k.name = u.name ORDER BY u.n`
	var q string
	var args []any
	if tx.db.dialect == Postgres {
		names, records := make([]string, len(changes)), make([]string, len(changes))
		for i := range changes {
			names[i], records[i] = changes[i].Connector, changes[i].record()
		}
		q = into + "unnest(?::text[], ?::text[], ?::text[]) WITH ORDINALITY AS u(body, name, record, n)" + connector
		args = []any{runID, pq.StringArray(bodies), pq.StringArray(names), pq.StringArray(records), runID}
	} else {
		type line struct {
			Body   string `json:"b"`
			Name   string `json:"n"`
			Record string `json:"r"`
		}
		lines := make([]line, len(changes))
		for i := range changes {
			lines[i] = line{bodies[i], changes[i].Connector, changes[i].record()}
		}
		q = into + "(SELECT j.key AS n, j.value->>'b' AS body, j.value->>'n' AS name, j.value->>'r' AS record FROM @rows(?)) u" + connector
		args = []any{runID, jsonList(lines), runID}
	}
	if _, err := tx.exec(ctx, q, args...); err != nil {
		return fmt.Errorf("changes of run %d: %w", runID, err)
	}
	return nil
}

// appendChange adds a line as JSON.
func appendChange(b []byte, c *Change) ([]byte, error) {
	quote := func(name, text string) {
		b, _ = jsontext.AppendQuote(append(b, name...), text) // bad UTF-8 is replaced
	}
	quote(`{"connector":`, c.Connector)
	quote(`,"side":`, c.Side)
	quote(`,"op":`, c.Op)
	quote(`,"local_id":`, c.LocalID)
	quote(`,"remote_id":`, c.RemoteID)
	if c.Fields == nil {
		return append(b, `,"fields":null}`...), nil
	}
	b = append(b, `,"fields":[`...)
	for i := range c.Fields {
		f := &c.Fields[i]
		if i > 0 {
			b = append(b, ',')
		}
		quote(`{"field":`, f.Field)
		for _, v := range []struct {
			name string
			raw  json.RawMessage
		}{{`,"old":`, f.Old}, {`,"new":`, f.New}} {
			b = append(b, v.name...)
			switch {
			case v.raw == nil:
				b = append(b, "null"...)
			case !json.Valid(v.raw):
				return b, fmt.Errorf("%s of %s is no JSON", v.name[2:5], f.Field)
			default:
				b = append(b, v.raw...)
			}
		}
		quote(`,"winner":`, f.Winner)
		quote(`,"reason":`, f.Reason)
		b = append(b, '}')
	}
	return append(b, "]}"...), nil
}

// Changes reads up to limit lines of a run after a sequence number (0: from
// the first) and gives the number to go on from.
func (tx *Tx) Changes(ctx context.Context, runID, afterSeq int64, limit int) (changes []Change, lastSeq int64, err error) {
	lastSeq = afterSeq
	changes, err = collect(ctx, tx, func(row scanner) (Change, error) {
		var c Change
		var body jsonText
		if err := row.Scan(&lastSeq, &body); err != nil {
			return c, err
		}
		return c, json.Unmarshal(body.raw, &c)
	}, "SELECT seq, body FROM tandem_change WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?", runID, afterSeq, limit)
	return changes, lastSeq, err
}

// RecordChange is a line of a record's history.
type RecordChange struct {
	RunID int64
	At    time.Time
	Change
}

// ChangesOf reads up to limit lines about a record of a connector, the newest
// first: those of its local row and those from before it had one. Either id may
// be "". Lines go with their runs; see Purge.
func (tx *Tx) ChangesOf(ctx context.Context, connectorID int64, localID, remoteID string, limit int) ([]RecordChange, error) {
	var records []string
	if localID != "" {
		records = append(records, recordOf("l/", localID))
	}
	if remoteID != "" {
		records = append(records, recordOf("r/", remoteID))
	}
	list, err := collect(ctx, tx, func(row scanner) (RecordChange, error) {
		var c RecordChange
		var at nullTime
		var body jsonText
		if err := row.Scan(&c.RunID, &at, &body); err != nil {
			return c, err
		}
		c.At = at.value()
		return c, json.Unmarshal(body.raw, &c.Change)
	}, "SELECT run_id, at, body FROM tandem_change WHERE connector_id = ? AND record IS NOT NULL AND record @any(?) ORDER BY seq DESC LIMIT ?",
		connectorID, tx.texts(records), limit)
	if err != nil {
		return nil, fmt.Errorf("history of a record of connector %d: %w", connectorID, err)
	}
	return list, nil
}

// TurnsOf counts, per local row, how often in a row updates of the two sides took
// turns since a time, each giving one field the value again that it had given it
// before: two programs that each insist on their own. People who edit a record
// on both sides do not do that. More than thirty turns count whatever the values.
// Rows that may have more turns than above are looked at, the others are not there:
// they have no more lines than that. columns has the local column of each remote
// path; a row counts with its worst field.
func (tx *Tx) TurnsOf(ctx context.Context, connectorID int64, keys []string, since time.Time, above int, columns map[string]string) (map[string]int, error) {
	turns := map[string]int{}
	if len(keys) == 0 {
		return turns, nil
	}
	records := make([]string, len(keys))
	byRecord := make(map[string]string, len(keys))
	for i, k := range keys {
		records[i] = recordOf("l/", k)
		byRecord[records[i]] = k
	}
	records, err := tx.changedOften(ctx, connectorID, sorted(records), since, above)
	if err != nil || len(records) == 0 {
		return turns, err
	}
	fields := map[[2]string]*insistence{}
	err = tx.each(ctx, func(row scanner) error {
		var rec string
		var body jsonText
		if err := row.Scan(&rec, &body); err != nil {
			return err
		}
		var c Change
		if err := json.Unmarshal(body.raw, &c); err != nil || c.Op != "update" {
			return err
		}
		for _, f := range c.Fields {
			column := f.Field
			if c.Side == "remote" {
				column = columns[column]
			}
			at := [2]string{rec, column}
			if fields[at] == nil {
				fields[at] = &insistence{}
			}
			if n := fields[at].add(c.Side, string(f.New)); n > turns[byRecord[rec]] {
				turns[byRecord[rec]] = n
			}
		}
		return nil
	}, "SELECT record, body FROM tandem_change WHERE connector_id = ? AND record IS NOT NULL AND record @any(?) AND at >= ? ORDER BY seq",
		connectorID, tx.texts(records), tx.time(since))
	if err != nil {
		return nil, fmt.Errorf("turns of connector %d: %w", connectorID, err)
	}
	return turns, nil
}

// changedOften gives those of records that have more than above lines since a time.
func (tx *Tx) changedOften(ctx context.Context, connectorID int64, records []string, since time.Time, above int) ([]string, error) {
	q := `SELECT record FROM tandem_change WHERE connector_id = ? AND record IS NOT NULL AND record @any(?) AND at >= ?
		GROUP BY record HAVING count(*) > ?`
	args := []any{connectorID, tx.texts(records), tx.time(since), above}
	if tx.db.dialect == Postgres {
		// Each record by the index, however long the history is believed to be.
		q = `SELECT u.r FROM unnest(?::text[]) AS u(r) CROSS JOIN LATERAL (SELECT count(*) AS n FROM
			(SELECT 1 FROM tandem_change WHERE connector_id = ? AND record = u.r AND at >= ? LIMIT ?) c) c WHERE c.n > ?`
		args = []any{tx.texts(records), connectorID, tx.time(since), above + 1, above}
	}
	often, err := collect(ctx, tx, scanText, q, args...)
	if err != nil {
		return nil, fmt.Errorf("turns of connector %d: %w", connectorID, err)
	}
	return often, nil
}

// insistence follows one field of a row through its updates.
type insistence struct {
	last  string            // the side that was written last
	value map[string]string // what each side was given last
	turns int
	all   int // turns with whatever values
}

// manyTurns is how often people may take turns with values that are new each
// time. Beyond, it is two programs, one of which adds something every time.
const manyTurns = 30

// add takes an update and gives the turns that there are in a row now.
func (i *insistence) add(side, value string) int {
	before, again := i.value[side]
	if i.last != "" && i.last != side {
		i.all++
	}
	switch {
	case again && before == value && i.last != side:
		i.turns++
	case again:
		i.turns = 0
	}
	if i.value == nil {
		i.value = map[string]string{}
	}
	i.value[side], i.last = value, side
	if i.all > manyTurns {
		return max(i.turns, i.all)
	}
	return i.turns
}
