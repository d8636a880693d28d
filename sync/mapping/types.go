package mapping

import "github.com/tandem-sync/tandem/sync/record"

// Direction says which way a field's value travels.
type Direction uint8

// The directions.
const (
	ToLocal Direction = iota + 1
	ToRemote
	Both
)

// Type is a field's value type. "" takes the column's.
type Type string

// The types, as the configuration spells them.
const (
	TypeAuto     Type = ""
	TypeText     Type = "text"
	TypeInteger  Type = "integer"
	TypeDecimal  Type = "decimal"
	TypeBoolean  Type = "boolean"
	TypeDate     Type = "date"
	TypeTime     Type = "time"
	TypeDatetime Type = "datetime"
	TypeEnum     Type = "enum"
	TypeList     Type = "list"
	TypeJSON     Type = "json"
)

// On says when a field is written.
type On uint8

// The times of writing: always, only on create, only while the target is empty.
const (
	Always On = iota
	OnCreate
	OnEmpty
)

// Field declares one mapped field. Its JSON is not defined; config makes it.
type Field struct {
	Local     string // column
	Remote    string // path: "email", "address.city", "tags[0]"
	Direction Direction
	Type      Type
	On        On
	Required  bool
	// Default is a local value. On the way to local it stands in for an absent,
	// null or empty remote value, on the way to the remote for a null or empty
	// local one. Absent: none.
	Default record.Value
	// Ref names the connector whose links translate the value; "" none. Type is
	// then the one the remote writes its ids in: text or integer.
	Ref string
	// ToLocalExpr and ToRemoteExpr are expr-lang sources; "" none.
	ToLocalExpr, ToRemoteExpr string
}

// ToLocal reports whether the field's value travels from the remote to the
// local side. The zero Direction does.
func (f *Field) ToLocal() bool { return f.Direction != ToRemote }

// ToRemote reports whether the field's value travels from the local side to the
// remote.
func (f *Field) ToRemote() bool { return f.Direction == ToRemote || f.Direction == Both }

// Spec declares a connector's mapping manual.
type Spec struct {
	Fields []Field
	// Match lists identity alternatives in order; an inner list of local
	// columns must match together.
	Match [][]string
	// SetLocal and SetRemote are constants written on create only, by column
	// or remote path.
	SetLocal  map[string]record.Value
	SetRemote map[string]record.Value
	// ScopeLocal and ScopeRemote are the expressions that say which rows and
	// which remote records belong to the connector; "" is all of them.
	ScopeLocal, ScopeRemote string
}
