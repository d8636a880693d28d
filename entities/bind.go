package entities

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// Binding ties a table to a mapping: it knows which column holds which field.
// It is immutable and safe for concurrent use; its Writers are not.
type Binding struct {
	t       *Table
	m       *mapping.Manual
	fields  []int // column of each mapped field
	set     []int // column of each create-only constant
	deleted int   // soft deletion column, -1 none
	keys    []int // key columns
	makers  []KeyMaker
	from    []source // per key column: what gives it, when Given
	creates error
	list    string // what a row's select reads: key parts, fields, deleted flag
}

// source says which value of a change gives a key part.
type source struct {
	field, set int // index or -1
}

// Bind ties the table to a mapping. deleted names the column that marks a
// deletion ("" removes rows); createOnly lists the columns of the constants
// that are written on create only, in the order of Change.Set. It refuses
// views, generated columns, columns that do not exist and ones named twice.
func (t *Table) Bind(m *mapping.Manual, deleted string, createOnly []string) (*Binding, error) {
	b := &Binding{t: t, m: m, deleted: -1}
	if err := b.bind(deleted, createOnly); err != nil {
		return nil, wrap(t.Spec, err)
	}
	return b, nil
}

func (b *Binding) bind(deleted string, createOnly []string) error {
	if err := b.t.writable(); err != nil {
		return err
	}
	used := map[int]string{}
	for _, f := range b.m.LocalColumns() {
		i, err := b.column("mapped column", f, used)
		if err != nil {
			return err
		}
		b.fields = append(b.fields, i)
	}
	for _, c := range createOnly {
		i, err := b.column("column of set", c, used)
		if err != nil {
			return err
		}
		b.set = append(b.set, i)
	}
	if deleted != "" {
		i, err := b.t.need("deleted column", deleted)
		if err != nil {
			return err
		}
		if b.t.cols[i].Generated {
			return configError("column %q of table %s is generated: it cannot mark deletions", deleted, b.t.full())
		}
		b.deleted = i
	}
	b.bindKey()
	b.creates = b.canCreate()
	b.list = b.selectList()
	return nil
}

// column finds a column to write.
func (b *Binding) column(what, name string, used map[int]string) (int, error) {
	i, err := b.t.need(what, name)
	if err != nil {
		return 0, err
	}
	if b.t.cols[i].Generated {
		return 0, configError("column %q of table %s is generated: it cannot be written", name, b.t.full()).
			WithHint("map the columns it is computed from")
	}
	if other, twice := used[i]; twice {
		return 0, configError("column %q of table %s is written twice (also as %q)", name, b.t.full(), other)
	}
	used[i] = name
	return i, nil
}

// bindKey decides for each key column where a new row's value comes from.
func (b *Binding) bindKey() {
	for k, n := range b.t.Key {
		i := b.t.find(n)
		src := source{slices.Index(b.fields, i), slices.Index(b.set, i)}
		by := b.t.KeyBy[k]
		if src.field >= 0 || src.set >= 0 {
			by = Given
		}
		b.keys, b.makers, b.from = append(b.keys, i), append(b.makers, by), append(b.from, src)
	}
}

// Table is the table the binding writes to.
func (b *Binding) Table() *Table { return b.t }

// Deletes says how a deletion is done: true marks the row in the deleted
// column, false removes it.
func (b *Binding) Deletes() (marks bool) { return b.deleted >= 0 }

// Creates is nil when rows can be created; else an error with code config that
// says what is missing: a key that nothing makes, or a column that refuses NULL
// and is neither mapped nor set.
func (b *Binding) Creates() error { return wrap(b.t.Spec, b.creates) }

func (b *Binding) canCreate() error {
	for k, by := range b.makers {
		if by == NoKey {
			return configError("key column %q of table %s has no default and is not mapped: nothing gives new rows a key", b.t.Key[k], b.t.full()).
				WithHint("map the column, set it on create, give it a default, or use create: none")
		}
	}
	if b.t.triggers {
		return nil // a trigger may fill what is not mapped
	}
	var open []string
	for i := range b.t.cols {
		c := &b.t.cols[i]
		if c.NotNull && !c.HasDefault && !c.Generated && !c.Key && !slices.Contains(b.fields, i) && !slices.Contains(b.set, i) {
			open = append(open, c.Name)
		}
	}
	if len(open) > 0 {
		return configError("table %s refuses NULL in %s, which is neither mapped nor set on create", b.t.full(), strings.Join(open, ", ")).
			WithHint("map the column, set it on create, give it a default, or use create: none")
	}
	return nil
}

// col is the column of field i.
func (b *Binding) col(i int) *column { return &b.t.cols[b.fields[i]] }

// read is the expression with which a column's exact stored text is read and
// compared on PostgreSQL. On SQLite the value itself is read: the plus hides
// the declared type, which the driver would turn into times.
func (c *column) read(d store.Dialect) string {
	q := "t." + quote(c.Name)
	switch {
	case d == store.SQLite:
		return "+" + q
	case c.array:
		return "array_to_json(" + q + ")::text"
	}
	return q + "::text"
}

// selectList reads the key parts, the mapped columns and whether the row is
// marked as deleted.
func (b *Binding) selectList() string {
	var s []string
	for _, i := range b.keys {
		s = append(s, b.t.cols[i].read(b.t.dialect))
	}
	for _, i := range b.fields {
		s = append(s, b.t.cols[i].read(b.t.dialect))
	}
	return strings.Join(append(s, b.gone()), ", ")
}

// gone is the condition that a row is marked as deleted.
func (b *Binding) gone() string {
	if b.deleted < 0 {
		return "1 = 0"
	}
	c := &b.t.cols[b.deleted]
	q := "t." + quote(c.Name)
	switch {
	case c.Type == mapping.TypeBoolean && b.t.dialect == store.Postgres:
		return "COALESCE(" + q + ", false)"
	case c.Type == mapping.TypeBoolean, c.Type == mapping.TypeInteger:
		return "COALESCE(" + q + " <> 0, 1 = 0)"
	case c.Type == mapping.TypeText:
		return "COALESCE(" + q + " <> '', 1 = 0)"
	}
	return "(" + q + " IS NOT NULL)"
}

// mark is the value that marks a row as deleted now; a row that is marked
// keeps its mark.
func (b *Binding) mark() string {
	c := &b.t.cols[b.deleted]
	q := "t." + quote(c.Name)
	if b.t.dialect == store.SQLite {
		switch c.Type {
		case mapping.TypeBoolean, mapping.TypeInteger:
			return "1"
		case mapping.TypeDate:
			return "COALESCE(" + q + ", date('now'))"
		case mapping.TypeDatetime:
			return "COALESCE(" + q + ", strftime('%Y-%m-%d %H:%M:%f', 'now'))"
		}
		return "COALESCE(NULLIF(" + q + ", ''), strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
	}
	switch c.Type {
	case mapping.TypeBoolean:
		return "true"
	case mapping.TypeInteger, mapping.TypeDecimal:
		return "1"
	case mapping.TypeDatetime, mapping.TypeDate, mapping.TypeTime:
		return fmt.Sprintf("COALESCE(%s, clock_timestamp()::%s)", q, c.cast)
	}
	return "COALESCE(NULLIF(" + q + "::text, ''), to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))"
}
