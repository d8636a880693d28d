package entities

import (
	"context"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lib/pq"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// MaxMatches is how many rows Match gives for one identity: one is the answer,
// two or more are ambiguous.
const MaxMatches = 3

// Match finds, for each identity, the rows whose columns hold it. alt lists the
// ordinals of the mapped fields that make the identity; each identity has one
// canonical local value per ordinal. Texts are compared without regard to
// letter case, to spaces around them and to how accents are composed, other
// types by value. An identity with an empty part matches nothing. Rows marked
// as deleted are no candidates.
//
// One statement serves all identities. Without an index on lower(btrim(column))
// (lower(trim(column)) on SQLite) of a text column it reads the whole table.
func (b *Binding) Match(ctx context.Context, tx *store.Tx, alt []int, identities [][]record.Value) ([][]Row, error) {
	out := make([][]Row, len(identities))
	wanted := make(map[string][]int, len(identities))
	lists := make([][]string, len(alt))
	for i, id := range identities {
		k, ok := b.identity(alt, id)
		if !ok {
			continue
		}
		if wanted[k] == nil {
			for a := range alt {
				lists[a] = b.spellings(lists[a], alt[a], id[a])
			}
		}
		wanted[k] = append(wanted[k], i)
	}
	if len(wanted) == 0 || len(alt) == 0 {
		return out, nil
	}
	q, args := b.matchSQL(alt, lists)
	canon, id := make([]record.Value, len(b.fields)), make([]record.Value, len(alt))
	var canonErr error
	err := b.each(ctx, tx, q, args, func(r Row) {
		if err := b.m.CanonLocal(r.Values, canon); err != nil {
			canonErr = err
			return
		}
		for a := range alt {
			id[a] = canon[alt[a]]
		}
		k, _ := b.identity(alt, id)
		for _, i := range wanted[k] {
			if len(out[i]) < MaxMatches {
				out[i] = append(out[i], r)
			}
		}
	})
	if err == nil {
		err = canonErr
	}
	return out, wrap(b.t.Spec, err)
}

// identity is the comparable form of an identity, false when a part is empty.
func (b *Binding) identity(alt []int, vals []record.Value) (string, bool) {
	var s strings.Builder
	for a, i := range alt {
		v := vals[a]
		if b.folds(i) {
			v.Text = fold(v.Text)
		}
		if v.Kind <= record.Null || v.Text == "" {
			return "", false
		}
		s.WriteString(v.Text)
		s.WriteByte(0)
	}
	return s.String(), true
}

// folds reports whether field i is compared as free text.
func (b *Binding) folds(i int) bool {
	t := b.m.Type(i)
	return t == mapping.TypeText || t == mapping.TypeEnum
}

// fold is canonical caseless matching of Unicode (definition D145), in NFC.
func fold(s string) string {
	s = strings.TrimSpace(s)
	if ascii(s) {
		return strings.ToLower(s)
	}
	return strings.TrimSpace(norm.NFC.String(cases.Fold().String(norm.NFD.String(s))))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// spellings adds what the database's own lower(trim()) may make of stored texts
// that mean v. lower() may know ASCII letters only (SQLite, the C locale), so a
// text with other letters is looked for in the usual ways to write it.
func (b *Binding) spellings(list []string, i int, v record.Value) []string {
	if !b.folds(i) {
		return append(list, v.Text)
	}
	s := strings.TrimSpace(v.Text)
	if ascii(s) {
		return append(list, strings.ToLower(s))
	}
	seen := map[string]bool{}
	for _, form := range []string{s, strings.ToLower(s), strings.ToUpper(s), title(s), fold(s)} {
		for _, f := range []string{norm.NFC.String(form), norm.NFD.String(form)} {
			for _, l := range []string{asciiLower(f), strings.ToLower(f)} {
				if !seen[l] {
					seen[l] = true
					list = append(list, l)
				}
			}
		}
	}
	return list
}

// title begins every word with a capital.
func title(s string) string {
	prev := ' '
	return strings.Map(func(r rune) rune {
		p := prev
		prev = r
		if unicode.IsLetter(p) || unicode.IsMark(p) {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// matchSQL filters by each column's list (the tuples are put together in Go)
// and gives at most MaxMatches rows of the same stored identity.
func (b *Binding) matchSQL(alt []int, lists [][]string) (string, []any) {
	var where, group []string
	args := make([]any, len(alt))
	for a, i := range alt {
		c := b.col(i)
		q := "t." + quote(c.Name)
		pg := b.t.dialect == store.Postgres
		switch {
		case pg && b.folds(i):
			q = "lower(btrim(" + q + "::text))"
			if c.base == "text" || c.base == "varchar" {
				q = "lower(btrim(t." + quote(c.Name) + "))"
			}
			where = append(where, q+" = ANY($"+strconv.Itoa(a+1)+"::text[])")
		case pg:
			where = append(where, q+" = ANY($"+strconv.Itoa(a+1)+"::text[]"+c.castList()+")")
		case b.folds(i):
			q = "lower(trim(" + q + "))"
			fallthrough
		default:
			where = append(where, q+" IN (SELECT value FROM json_each(?))")
		}
		group = append(group, q)
		if pg {
			args[a] = pq.StringArray(lists[a])
		} else {
			args[a] = jsonTexts(lists[a])
		}
	}
	n := len(b.keys) + len(b.fields) + 2
	cols := make([]string, n)
	for i := range cols {
		cols[i] = "c" + strconv.Itoa(i+1)
	}
	inner := "SELECT " + b.list + ", row_number() OVER (PARTITION BY " + strings.Join(group, ", ") + ") FROM " + b.t.sql() + " t WHERE " +
		strings.Join(where, " AND ") + " AND NOT " + b.gone()
	names := strings.Join(cols, ", ")
	return "WITH q(" + names + ", rn) AS (" + inner + ") SELECT " + names + " FROM q WHERE rn <= " + strconv.Itoa(MaxMatches), args
}
