package entities

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lib/pq"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// maxProbes bounds the extra statements per batch that only make a message
// better.
const maxProbes = 32

const sqliteForeignKey = sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY

// errLinkGone: a link that the batch moves is not there any more, so somebody
// else worked on the connector.
var errLinkGone = fault.New(fault.Retryable, fault.CodeConflict, "", "a link of the batch is gone: another writer works on the connector")

func intArray(list []int64) any        { return pq.Int64Array(list) }
func textArrayParam(list []string) any { return pq.StringArray(list) }

// ofRecord reports whether an error is about the data of one record, so that
// the others can be written without it. Beyond what the database itself says
// about data, that is whatever the user's own triggers and policies raise,
// under codes of their own or of the language they are written in.
func ofRecord(err error) bool {
	if store.IsDataError(err) || errors.Is(err, errDeferred) {
		return true
	}
	s := store.SQLState(err)
	if len(s) != 5 {
		return false
	}
	switch class := s[:2]; {
	case s == "42501":
		return strings.Contains(err.Error(), "row-level security")
	case class == "P0" || class == "21" || class == "27" || class == "38" || class == "39":
		return true
	default:
		return !strings.Contains(serverClasses, class)
	}
}

// serverClasses are the other classes of SQLSTATE that PostgreSQL itself uses.
const serverClasses = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 20 24 25 26 28 2B 2D 2F 34 3B 3D 3F 40 42 53 54 55 57 58 72 F0 HV XX"

// alone settles a record that failed by itself.
func (a *apply) alone(ctx context.Context, p int, err error) error {
	_, r := a.at(p)
	if store.SQLState(err) == "23503" || sqliteExtended(err) == sqliteForeignKey || errors.Is(err, errDeferred) {
		a.foreign = append(a.foreign, p)
	}
	r.Outcome, r.Err = a.verdict(ctx, p, err)
	return nil
}

// verdict says what a data error about one record means. A new row or link
// that meets a unique constraint has collided; anything else is refused.
func (a *apply) verdict(ctx context.Context, p int, err error) (Outcome, error) {
	c, _ := a.at(p)
	out := Refused
	if unique(err) && (c.Op == OpInsert || c.Op == OpLink) {
		out = Collided
	}
	column := a.blame(ctx, p, err)
	reason, code, constraint := reasonOf(err)
	var b strings.Builder
	if column != "" {
		b.WriteString("column " + column + ": ")
	}
	b.WriteString(reason)
	if constraint != "" && !strings.Contains(reason, constraint) {
		b.WriteString(", constraint " + constraint)
	}
	f := badRecord(column, "%s (%s)", b.String(), code)
	f.Err = &refusal{text: f.Err.Error(), cause: err}
	return out, f
}

// refusal words a database's error without its detail, which may hold the row;
// the cause stays for errors.As.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

func unique(err error) bool {
	if s := store.SQLState(err); s != "" {
		return s == "23505" || s == "23P01"
	}
	switch sqliteExtended(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

func sqliteExtended(err error) int {
	var se *sqlite.Error
	if errors.As(err, &se) {
		return se.Code()
	}
	return 0
}

// reasonOf takes the words of a database's error.
func reasonOf(err error) (reason, code, constraint string) {
	var pe *pq.Error
	if errors.As(err, &pe) {
		return shorten(pe.Message), "SQLSTATE " + string(pe.Code), pe.Constraint
	}
	var se *sqlite.Error
	if errors.As(err, &se) {
		msg := se.Error()
		if i := strings.LastIndex(msg, " ("); i > 0 {
			msg = msg[:i]
		}
		return shorten(strings.TrimPrefix(msg, "constraint failed: ")), "SQLite " + strconv.Itoa(se.Code()), ""
	}
	return shorten(err.Error()), "no code", ""
}

// blame finds the column that a data error is about, "" when it cannot be told.
func (a *apply) blame(ctx context.Context, p int, err error) string {
	var pe *pq.Error
	if !errors.As(err, &pe) {
		return a.blameSQLite(err)
	}
	if pe.Column != "" {
		return pe.Column
	}
	c, _ := a.at(p)
	for i := range c.New {
		if m := a.b.col(i).MaxLen; m > 0 && pe.Code == "22001" && utf8.RuneCountInString(c.New[i].Text) > m {
			return a.b.col(i).Name
		}
	}
	if pe.Constraint != "" {
		if cols := a.constraintColumns(ctx, pe.Constraint); cols != "" {
			return cols
		}
	}
	if pe.Code[:2] != "22" && pe.Code[:2] != "23" {
		return ""
	}
	return a.castBlame(ctx, c)
}

// constraintColumns names the columns of a constraint or unique index.
func (a *apply) constraintColumns(ctx context.Context, constraint string) string {
	for _, u := range a.b.t.Unique {
		if u.Name == constraint {
			return strings.Join(u.Columns, ", ")
		}
	}
	if a.probes++; a.probes > maxProbes {
		return ""
	}
	var cols string
	err := a.tx.GetContext(ctx, &cols, `SELECT COALESCE(string_agg(attname, ', ' ORDER BY attnum), '') FROM pg_constraint c
		JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) WHERE conrelid = $1::oid AND conname = $2`, a.b.t.oid, constraint)
	if err != nil {
		return ""
	}
	return cols
}

// castBlame casts one value after the other until one fails.
func (a *apply) castBlame(ctx context.Context, c *Change) string {
	for i := range c.New {
		col := a.b.col(i)
		if c.New[i].Kind <= record.Null || col.cast == "" && !col.domain {
			continue
		}
		if a.probes++; a.probes > maxProbes*4 {
			return ""
		}
		if a.exec(ctx, "SAVEPOINT tandem_probe") != nil {
			return ""
		}
		text := col.text(c.New[i])
		_, err := a.tx.ExecContext(ctx, "SELECT $1::text::"+col.full, text)
		if a.exec(ctx, "ROLLBACK TO SAVEPOINT tandem_probe; RELEASE SAVEPOINT tandem_probe") != nil {
			return ""
		}
		if err != nil {
			return col.Name
		}
	}
	return ""
}

// blameSQLite reads the column off the message: "NOT NULL constraint failed:
// contacts.email".
func (a *apply) blameSQLite(err error) string {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return ""
	}
	msg := se.Error()
	for i := range a.b.t.cols {
		n := a.b.t.cols[i].Name
		for rest := msg; ; {
			at := strings.Index(rest, a.b.t.Name+"."+n)
			if at < 0 {
				break
			}
			rest = rest[at+len(a.b.t.Name)+1+len(n):]
			if rest == "" || strings.ContainsRune(" ,)", rune(rest[0])) {
				return n
			}
		}
	}
	return ""
}
