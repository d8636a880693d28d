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

// stagePiece is how much text is handed to the driver at once.
const stagePiece = 8 << 10

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
	return a.sess.CopyIn(ctx, a.copySQL(p), func(send func(lines string) error) error {
		a.line = a.line[:0]
		for i := lo; i < hi; i++ {
			if len(a.line) > 0 {
				a.line = append(a.line, '\n')
			}
			a.line = a.encode(a.line, i, p)
			if len(a.line) < stagePiece && i+1 < hi {
				continue
			}
			if err := send(string(a.line)); err != nil {
				return err
			}
			a.line = a.line[:0]
		}
		return nil
	})
}

// encode appends the line of a position.
func (a *apply) encode(b []byte, pos int, p parts) []byte {
	c, _ := a.at(pos)
	key := a.keys[pos]
	b = strconv.AppendInt(b, int64(pos+a.off), 10)
	b = appendCopied(append(b, '\t'), key)
	if len(a.b.keys) > 1 {
		kp, err := DecodeKey(key, len(a.b.keys))
		for k := range a.b.keys {
			if err == nil {
				b = appendCopied(append(b, '\t'), kp[k])
			} else {
				b = append(b, copiedNull...)
			}
		}
	}
	b = appendCopied(append(b, '\t'), c.Link.RemoteID)
	b = strconv.AppendInt(append(b, '\t'), c.Link.ID, 10)
	b = strconv.AppendInt(append(b, '\t'), c.Link.Hash, 10)
	b = appendCopied(append(b, '\t'), c.Link.Base)
	b = strconv.AppendInt(append(b, '\t'), int64(c.Link.State), 10)
	b = strconv.AppendInt(append(b, '\t'), c.Link.ReadAt, 10)
	if p.mask {
		b = mask(append(b, '\t'), c.New, len(a.b.fields))
	}
	for i := range a.b.fields {
		if p.values {
			b = appendValue(b, a.b.col(i), c.New, i)
		}
		if p.old {
			b = appendValue(b, nil, c.Old, i)
		}
	}
	for i := range a.b.set {
		if p.set {
			b = appendValue(b, &a.b.t.cols[a.b.set[i]], c.Set, i)
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

// copiedNull is a column that is NULL.
const copiedNull = "\t\\N"

// appendValue appends a column with the value at i as the text that the type of
// c reads; nil reads the text as it is.
func appendValue(b []byte, c *column, vals []record.Value, i int) []byte {
	if i >= len(vals) || vals[i].Kind <= record.Null {
		return append(b, copiedNull...)
	}
	text := vals[i].Text
	if c != nil {
		text = c.text(vals[i])
	}
	return appendCopied(append(b, '\t'), text)
}

// text is a value, not null, as the column's type reads it.
func (c *column) text(v record.Value) string {
	if c.array {
		if lit, ok := arrayLiteral(v.Text); ok {
			return lit
		}
	}
	return v.Text
}

// appendCopied appends a text as COPY reads it.
func appendCopied(b []byte, s string) []byte {
	start := 0
	for i := plainText(s, 0); i < len(s); i = plainText(s, i+1) {
		letter := s[i]
		switch letter {
		case '\n':
			letter = 'n'
		case '\r':
			letter = 'r'
		case '\t':
			letter = 't'
		}
		b = append(append(b, s[start:i]...), '\\', letter)
		start = i + 1
	}
	return append(b, s[start:]...)
}

// plainText gives the first place from i on where COPY wants a backslash. It
// looks at eight bytes at a time.
func plainText(s string, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for i < len(s) {
		if i+8 <= len(s) {
			w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
				uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
			slash := w ^ '\\'*ones
			// A high bit for every byte below 14 (tab, line feed and carriage
			// return among them) and every backslash; some false alarms.
			if ((w-14*ones)&^w|(slash-ones)&^slash)&highs == 0 {
				i += 8
				continue
			}
		}
		for end := min(i+8, len(s)); i < end; i++ {
			switch s[i] {
			case '\\', '\n', '\r', '\t':
				return i
			}
		}
	}
	return i
}
