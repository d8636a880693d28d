package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The store's queries are written once, with ? for a parameter and a few
// marks for what the dialects say differently:
//
//	@now      the time now
//	@in(?)    the time a number of microseconds from now (may be negative)
//	@any(?)   a comparison with the elements of a list made by Tx.texts or Tx.ints
//	@nokey    FOR NO KEY UPDATE on PostgreSQL
//	@share    FOR SHARE on PostgreSQL
//	@skip     FOR UPDATE SKIP LOCKED on PostgreSQL
//	@one(…@end a comparison with the rows of a query that PostgreSQL must run once:
//	          inside IN it may run again and again, with other rows locked each time
//	@rows(?)  the elements of a JSON list as rows j(value); members by j.value->>'name'
//	@ctid     where a row is: the quickest way back to rows a query has found
//	@time     the type of a time in a CAST
//	@us(?)    a number of microseconds, to be added to a time
//	@greatest( and @least( pick one of several values that are not NULL
var (
	postgresMarks = strings.NewReplacer(
		"@now", "clock_timestamp()",
		"@in(?)", "(clock_timestamp() + ?::bigint * interval '1 microsecond')",
		"@any(?)", "= ANY(?)",
		"@one(", "= ANY(ARRAY(",
		"@end", "))",
		"@nokey", "FOR NO KEY UPDATE",
		"@share", "FOR SHARE",
		"@rows(?)", "json_array_elements(?::json) AS j(value)",
		"@ctid", "ctid",
		"@time", "timestamptz",
		"@us(?)", "?::bigint * interval '1 microsecond'",
		"@greatest(", "greatest(",
		"@least(", "least(",
		"@skipdue", "FOR NO KEY UPDATE OF s, c SKIP LOCKED",
		"@skipslice", "FOR UPDATE OF s SKIP LOCKED",
		"@skiprun", "FOR UPDATE OF r SKIP LOCKED",
		"@skip", "FOR UPDATE SKIP LOCKED",
	)
	sqliteMarks = strings.NewReplacer(
		"@any(?)", "IN (SELECT value FROM json_each(?))",
		"@one(", "IN (",
		"@end", ")",
		"@nokey", "",
		"@share", "",
		"@rows(?)", "json_each(?) AS j",
		"@ctid", "rowid",
		"@time", "integer",
		"@us(?)", "?",
		"@greatest(", "max(",
		"@least(", "min(",
		"@skipdue", "",
		"@skipslice", "",
		"@skiprun", "",
		"@skip", "",
	)
)

// sql gives the dialect's text of a query template and its arguments.
func (tx *Tx) sql(q string, args []any) (string, []any) {
	r, ok := tx.db.rewrites.Load(q)
	if !ok {
		r = rewrite(tx.db.dialect, q)
		tx.db.rewrites.Store(q, r)
	}
	text := r.(rewritten) //nolint:errcheck,forcetypeassert // nothing else is stored
	if text.now {
		// A parameter of its own, so that the text stays the same.
		args = append(args[:len(args):len(args)], tx.db.clock.Now().UnixMicro())
	}
	return text.sql, args
}

// rewritten is a template in a dialect. now says that its last parameter is the
// time.
type rewritten struct {
	sql string
	now bool
}

func rewrite(dialect Dialect, q string) rewritten {
	if dialect == Postgres {
		return rewritten{sql: sqlx.Rebind(sqlx.DOLLAR, postgresMarks.Replace(q))}
	}
	text := strings.ReplaceAll(sqliteMarks.Replace(q), "@in(?)", "(@now + ?)")
	if !strings.Contains(text, "@now") {
		return rewritten{sql: text}
	}
	var b strings.Builder
	n := 0
	for _, c := range text {
		b.WriteRune(c)
		if c == '?' {
			n++
			b.WriteString(strconv.Itoa(n))
		}
	}
	return rewritten{sql: strings.ReplaceAll(b.String(), "@now", "?"+strconv.Itoa(n+1)), now: true}
}

// exec runs a statement and gives the number of rows it touched.
func (tx *Tx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	q, args = tx.sql(q, args)
	res, err := tx.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// row runs a query for one row.
func (tx *Tx) row(ctx context.Context, q string, args ...any) *sql.Row {
	q, args = tx.sql(q, args)
	return tx.QueryRowContext(ctx, q, args...)
}

// each runs a query and calls scan for every row.
func (tx *Tx) each(ctx context.Context, scan func(row scanner) error, q string, args ...any) (err error) {
	q, args = tx.sql(q, args)
	rows, err := tx.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// collect runs a query and gathers what scan makes of each row.
func collect[T any](ctx context.Context, tx *Tx, scan func(row scanner) (T, error), q string, args ...any) ([]T, error) {
	var out []T
	err := tx.each(ctx, func(row scanner) error {
		v, err := scan(row)
		if err == nil {
			out = append(out, v)
		}
		return err
	}, q, args...)
	return out, err
}

// scanner is a row to scan from.
type scanner interface{ Scan(dest ...any) error }

// texts is the parameter of an @any(?) over strings.
func (tx *Tx) texts(list []string) any {
	if tx.db.dialect == Postgres {
		return pq.StringArray(list)
	}
	return jsonList(list)
}

// jsonList is a list as a JSON text for json_each; nil is the empty list.
func jsonList[T any](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil { // lists of strings, numbers and plain structs always encode
		panic(err)
	}
	return string(b)
}

// time is t as the dialect stores it.
func (tx *Tx) time(t time.Time) any {
	if tx.db.dialect == Postgres {
		return t.UTC()
	}
	return t.UnixMicro()
}

// timePtr is time for an optional t.
func (tx *Tx) timePtr(t *time.Time) any {
	if t == nil {
		return nil
	}
	return tx.time(*t)
}

// nullTime scans an optional time of either dialect.
type nullTime struct{ t *time.Time }

// Scan takes a timestamptz or a number of microseconds.
func (n *nullTime) Scan(src any) error {
	n.t = nil
	switch v := src.(type) {
	case nil:
	case time.Time:
		u := v.UTC()
		n.t = &u
	case int64:
		u := time.UnixMicro(v).UTC()
		n.t = &u
	default:
		return fmt.Errorf("a time was expected, not %T", src)
	}
	return nil
}

// value is the time, or the zero time for NULL.
func (n nullTime) value() time.Time {
	if n.t == nil {
		return time.Time{}
	}
	return *n.t
}

// jsonText scans a JSON text; NULL is nil.
type jsonText struct{ raw json.RawMessage }

// Scan takes a text.
func (j *jsonText) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		j.raw = nil
	case string:
		j.raw = json.RawMessage(v)
	case []byte:
		j.raw = append(json.RawMessage{}, v...)
	default:
		return fmt.Errorf("a text was expected, not %T", src)
	}
	return nil
}

// nullJSON is raw as a parameter: nil becomes NULL.
func nullJSON(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}
