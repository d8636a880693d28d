package mapping

import (
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/sync/record"
)

// Column is what the entity's table says about one column. The zero value is a
// nullable text column without limits.
type Column struct {
	Name       string
	Type       Type   // TypeAuto counts as text
	NotNull    bool   // refuses NULL
	HasDefault bool   // fills itself when left out of an INSERT
	Generated  bool   // computed by the database: cannot be written
	Key        bool   // part of the entity's key
	MaxLen     int    // longest text in characters; 0 is no limit
	Native     string // the database's own type name, for messages; may be empty
}

// Canon gives the canonical local value of a column that no field maps, for its
// raw value as the database's text or Null: what a scope is asked with.
func (c Column) Canon(raw record.Value) record.Value {
	kind, _ := settle(TypeAuto, c.Type)
	return convertRaw(kind, raw)
}

// array reports a PostgreSQL array type, whose literals are not JSON.
func (c Column) array() bool {
	return strings.HasSuffix(c.Native, "[]") || strings.HasPrefix(c.Native, "_") || c.Native == "ARRAY"
}

// describe names the column's type for a person.
func (c Column) describe() string {
	if c.Native != "" {
		return c.Native
	}
	if c.Type == TypeAuto {
		return string(TypeText)
	}
	return string(c.Type)
}

// Types lists the value types in the order in which documentation shows them.
func Types() []Type {
	return []Type{
		TypeText, TypeInteger, TypeDecimal, TypeBoolean, TypeDate, TypeTime,
		TypeDatetime, TypeEnum, TypeList, TypeJSON,
	}
}

// known reports whether t is a type of the configuration.
func (t Type) known() bool { return t == TypeAuto || slices.Contains(Types(), t) }

// textual reports whether values of the type are free text.
func (t Type) textual() bool { return t == TypeText || t == TypeEnum || t == TypeAuto }

// settle gives the type in which a field declared as t is kept in a column of
// the given type, and whether the two go together. A text column takes every
// type; other columns take their own and a few that lose nothing.
func settle(t, column Type) (Type, bool) {
	switch {
	case t == TypeAuto && column == TypeAuto:
		return TypeText, true
	case t == TypeAuto:
		return column, true
	case column.textual() || t == column:
		return t, true
	}
	switch {
	case t == TypeDecimal && column == TypeInteger:
		return TypeInteger, true
	case t == TypeBoolean && column == TypeInteger:
		return typeBit, true
	case t == TypeInteger && column == TypeDecimal,
		t == TypeDate && column == TypeDatetime,
		t == TypeList && column == TypeJSON:
		return t, true
	}
	return t, false
}

// typeBit is a boolean kept as 0 or 1 in an integer column.
const typeBit Type = "bit"
