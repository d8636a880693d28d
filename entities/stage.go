package entities

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// The stage holds a batch as text, one line per change: its position n, the
// row's key, the link, and per field the new value (c), the value judged (o)
// and per constant its value (s). m has one bit per field: set when the change
// gives the field. COPY fills it, the statements cast from it.
//
// A line is sent as one parameter: the fields are joined by a character that
// driver and server pass on untouched, which spares the driver's work per value.
const (
	stageMark = '\x01' // between fields
	stageNull = '\x02' // stands for NULL
	markSQL   = ` WITH (DELIMITER E'\x01', NULL E'\x02')`
)

// marked reports a text that holds one of the stage's marks.
func marked(s string) bool {
	return strings.IndexByte(s, stageMark) >= 0 || strings.IndexByte(s, stageNull) >= 0
}

// makeStage makes the temporary table anew. Statements prepared by an earlier
// writer of the connector speak of the old one and are dropped with it.
func (w *Writer) makeStage(ctx context.Context, tx *store.Tx) error {
	var old []string
	prefix := w.stage + "_"
	if err := tx.SelectContext(ctx, &old, "SELECT name FROM pg_prepared_statements WHERE left(name, "+strconv.Itoa(len(prefix))+") = "+literal(prefix)); err != nil {
		return err
	}
	for _, n := range old {
		if _, err := tx.ExecContext(ctx, "DEALLOCATE "+quote(n)); err != nil {
			return err
		}
	}
	w.stmts = map[string]string{}
	var b strings.Builder
	b.WriteString("DROP TABLE IF EXISTS pg_temp." + w.stage + "; CREATE TEMP TABLE " + w.stage +
		" (n int NOT NULL, key text, remote_id text, link_id bigint, hash bigint, base text, link_state smallint, read_at bigint, m varbit")
	for k := range w.b.keys {
		if len(w.b.keys) > 1 {
			fmt.Fprintf(&b, ", k%d text", k)
		}
	}
	for i := range w.b.fields {
		fmt.Fprintf(&b, ", c%d text, o%d text", i, i)
	}
	for i := range w.b.set {
		fmt.Fprintf(&b, ", s%d text", i)
	}
	b.WriteString(") ON COMMIT DELETE ROWS")
	_, err := tx.ExecContext(ctx, b.String())
	return err
}

// parts says which columns a COPY fills.
type parts struct {
	values, old, set, mask bool
}

func (w *Writer) copySQL(p parts) string {
	var b strings.Builder
	b.WriteString("COPY pg_temp." + w.stage + " (n, key")
	if len(w.b.keys) > 1 {
		for k := range w.b.keys {
			fmt.Fprintf(&b, ", k%d", k)
		}
	}
	b.WriteString(", remote_id, link_id, hash, base, link_state, read_at")
	if p.mask {
		b.WriteString(", m")
	}
	for i := range w.b.fields {
		if p.values {
			fmt.Fprintf(&b, ", c%d", i)
		}
		if p.old {
			fmt.Fprintf(&b, ", o%d", i)
		}
	}
	for i := range w.b.set {
		if p.set {
			fmt.Fprintf(&b, ", s%d", i)
		}
	}
	b.WriteString(") FROM STDIN")
	return b.String()
}

// copyAll fills the stage: existing rows with what was judged, new rows without.
func (a *apply) copyAll(ctx context.Context) error {
	updates := a.bounds[classUpdateNew+1] > a.bounds[classUpdateOld]
	judged := updates || a.bounds[classDelete+1] > 0
	if err := a.copy(ctx, 0, a.bounds[classUpdateNew+1], parts{values: updates, old: judged, mask: updates && slices.Contains(a.leave, true)}); err != nil {
		return err
	}
	inserts := a.bounds[classes] > a.bounds[classInsertNew]
	return a.copy(ctx, a.bounds[classLinkNew], len(a.order), parts{values: inserts, set: inserts, mask: inserts && slices.Contains(a.absent, true)})
}

func (a *apply) copy(ctx context.Context, lo, hi int, p parts) (err error) {
	if lo >= hi {
		return nil
	}
	q := a.copySQL(p)
	if !a.odd {
		q += markSQL
	}
	stmt, err := a.tx.PrepareContext(ctx, q)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := stmt.Close(); err == nil {
			err = cerr
		}
	}()
	for i := lo; i < hi; i++ {
		a.line = a.encode(a.line[:0], i, p)
		if a.odd {
			_, err = stmt.ExecContext(ctx, split(a.line)...)
		} else {
			_, err = stmt.ExecContext(ctx, string(a.line))
		}
		if err != nil {
			return err
		}
	}
	_, err = stmt.ExecContext(ctx)
	return err
}

// encode appends the line of a position. With odd texts the fields are length
// prefixed, for then no character is free to join them.
func (a *apply) encode(b []byte, pos int, p parts) []byte {
	c, _ := a.at(pos)
	key := a.keys[pos]
	if a.odd {
		return a.encodeOdd(b, pos, p)
	}
	b = strconv.AppendInt(b, int64(pos+a.off), 10)
	b = append(append(b, stageMark), key...)
	if len(a.b.keys) > 1 {
		kp, err := DecodeKey(key, len(a.b.keys))
		for k := range a.b.keys {
			b = append(b, stageMark)
			if err == nil {
				b = append(b, kp[k]...)
			} else {
				b = append(b, stageNull)
			}
		}
	}
	b = append(append(b, stageMark), c.Link.RemoteID...)
	b = strconv.AppendInt(append(b, stageMark), c.Link.ID, 10)
	b = strconv.AppendInt(append(b, stageMark), c.Link.Hash, 10)
	b = append(append(b, stageMark), c.Link.Base...)
	b = strconv.AppendInt(append(b, stageMark), int64(c.Link.State), 10)
	b = strconv.AppendInt(append(b, stageMark), c.Link.ReadAt, 10)
	if p.mask {
		b = append(b, stageMark)
		b = mask(b, c.New, len(a.b.fields))
	}
	for i := range a.b.fields {
		if p.values {
			b = append(b, stageMark)
			if i < len(c.New) {
				b = a.value(b, a.b.col(i), c.New[i])
			} else {
				b = append(b, stageNull)
			}
		}
		if p.old {
			b = append(b, stageMark)
			if i < len(c.Old) && c.Old[i].Kind > record.Null {
				b = append(b, c.Old[i].Text...)
			} else {
				b = append(b, stageNull)
			}
		}
	}
	for i := range a.b.set {
		if !p.set {
			break
		}
		b = append(b, stageMark)
		if i < len(c.Set) {
			b = a.value(b, &a.b.t.cols[a.b.set[i]], c.Set[i])
		} else {
			b = append(b, stageNull)
		}
	}
	return b
}

// mask has one bit per field: 1 when the change gives it.
func mask(b []byte, vals []record.Value, n int) []byte {
	for i := range n {
		bit := byte('0')
		if i < len(vals) && vals[i].Kind != record.Absent {
			bit = '1'
		}
		b = append(b, bit)
	}
	return b
}

// value appends a value as the text that the column's type reads.
func (a *apply) value(b []byte, c *column, v record.Value) []byte {
	if v.Kind <= record.Null {
		return append(b, stageNull)
	}
	if c.array {
		if lit, ok := arrayLiteral(v.Text); ok {
			return append(b, lit...)
		}
	}
	return append(b, v.Text...)
}
