package config

import (
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// constants reads a mapping of constants.
func (d *decoder) constants(n *node) map[string]record.Value {
	if n == nil || n.kind == null {
		return nil
	}
	if n.kind != object {
		d.fault(n, "must be a mapping", "write {column: value}")
		return nil
	}
	out := make(map[string]record.Value, len(n.members))
	for _, m := range n.members {
		out[m.name] = d.value(m.value)
	}
	return out
}

func (d *decoder) mapping(n *node, k *Connector) {
	if n == nil || n.kind == null {
		return
	}
	if n.kind != list {
		d.fault(n, "must be a list", "begin each field with: - {local: …, remote: …}")
		return
	}
	for _, item := range n.items {
		f := mapping.Field{Direction: directions[k.Direction]}
		if d.object(item, levelMapping) {
			d.field(item, k.Direction, &f)
		} else if item.kind == null {
			d.fault(item, "is empty", "write - {local: …, remote: …}")
		}
		k.Mapping = append(k.Mapping, f)
	}
}

// Words of the configuration for the mapping's choices.
var (
	directions = map[string]mapping.Direction{
		"to_local": mapping.ToLocal, "to_remote": mapping.ToRemote, "both": mapping.Both,
	}
	directionWords = []string{"to_local", "to_remote", "both"}
	times          = map[string]mapping.On{"always": mapping.Always, "create": mapping.OnCreate, "empty": mapping.OnEmpty}
)

func typeWords() []string {
	words := make([]string, 0, len(mapping.Types()))
	for _, t := range mapping.Types() {
		words = append(words, string(t))
	}
	return words
}

// field reads a mapped field; direction is the connector's.
func (d *decoder) field(n *node, direction string, f *mapping.Field) {
	d.text(n.get("local"), &f.Local)
	d.text(n.get("remote"), &f.Remote)
	on, typ := "always", ""
	d.choice(n.get("direction"), &direction, directionWords...)
	d.choice(n.get("on"), &on, "always", "create", "empty")
	d.choice(n.get("type"), &typ, typeWords()...)
	f.Direction, f.On, f.Type = directions[direction], times[on], mapping.Type(typ)
	d.flag(n.get("required"), &f.Required)
	if v := n.get("default"); v != nil {
		f.Default = d.value(v)
	}
	d.text(n.get("ref"), &f.Ref)
	d.transform(n.get("transform"), direction, f)
}

// transform reads the two expressions; one text is the one of the field's only
// direction.
func (d *decoder) transform(n *node, direction string, f *mapping.Field) {
	if n != nil && n.kind == scalar {
		switch direction {
		case "both":
			d.fault(n, "one expression cannot serve both directions", "write {to_local: …, to_remote: …}")
		case "to_remote":
			f.ToRemoteExpr = n.text
		default:
			f.ToLocalExpr = n.text
		}
		return
	}
	if d.object(n, levelTransform) {
		d.text(n.get("to_local"), &f.ToLocalExpr)
		d.text(n.get("to_remote"), &f.ToRemoteExpr)
	}
}
