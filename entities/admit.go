package entities

import (
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// shape refuses a change that the caller put together wrongly.
func (a *apply) shape(c *Change) error {
	n := len(a.b.fields)
	bad := ""
	switch c.Op {
	case OpInsert:
		if len(c.New) != n || len(c.Set) != len(a.b.set) {
			bad = "an insert needs a value per field and per create-only column"
		}
	case OpUpdate:
		if len(c.New) != n || len(c.Old) != n {
			bad = "an update needs a new and an old value per field"
		}
	case OpDelete:
		if len(c.Old) != n {
			bad = "a delete needs an old value per field"
		}
	case OpLink:
	}
	if bad != "" {
		return fault.New(fault.Permanent, fault.CodeFailed, "", "change %d: %s", c.N, bad)
	}
	return nil
}

// arrange refuses what cannot be sent and sorts the rest by class, keeping the
// caller's order inside each.
func (a *apply) arrange() {
	n := len(a.b.fields)
	flags := make([]bool, 3*n)
	a.absent, a.leave, a.setting = flags[:n], flags[n:2*n], flags[2*n:]
	var count [classes]int
	class := make([]uint8, len(a.changes))
	keys := make([]string, len(a.changes))
	for i := range a.changes {
		c := &a.changes[i]
		k, err := a.admit(c)
		if err != nil {
			a.results[i].Outcome, a.results[i].Err = Refused, err
			class[i] = classes
			continue
		}
		keys[i] = k
		class[i] = uint8(c.class()) //nolint:gosec // seven classes
		count[class[i]]++
	}
	for c := range classes {
		a.bounds[c+1] = a.bounds[c] + count[c]
	}
	at := a.bounds
	total := a.bounds[classes]
	a.order, a.keys, a.check = make([]int32, total), make([]string, total), make([]bool, total)
	for i, c := range class {
		if c < classes {
			p := at[c]
			at[c]++
			a.order[p], a.keys[p] = int32(i), keys[i] //nolint:gosec // batches are small
			a.check[p] = a.inexact(&a.changes[i])
		}
	}
}

// admit checks the texts of a change and gives its key, "" for an insert whose
// key is made by the database.
func (a *apply) admit(c *Change) (string, error) {
	if err := a.texts(c); err != nil {
		return "", err
	}
	if c.Op == OpInsert {
		for i := range c.New {
			a.absent[i] = a.absent[i] || c.New[i].Kind == record.Absent
		}
		return a.givenKey(c)
	}
	key := c.Key
	if key == "" {
		key = c.Link.LocalKey
	}
	parts, err := DecodeKey(key, len(a.b.keys))
	if err != nil {
		return "", err
	}
	if c.Op == OpLink || !a.b.fits(parts) {
		return key, a.impossible(c, parts)
	}
	if c.Op == OpUpdate {
		for i := range c.New {
			a.leave[i] = a.leave[i] || c.New[i].Kind == record.Absent
			a.setting[i] = a.setting[i] || c.New[i].Kind != record.Absent
		}
		return key, a.keyStays(c, parts)
	}
	return key, nil
}

// impossible refuses keys that no row can have, which would fail in a cast.
func (a *apply) impossible(c *Change, parts []string) error {
	if c.Op == OpLink || a.b.fits(parts) {
		return nil
	}
	return badRecord("", "key %q cannot be a key of table %s", shorten(c.Key), a.b.t.full())
}

// keyStays refuses an update that would change the key: the link would lose
// its row.
func (a *apply) keyStays(c *Change, parts []string) error {
	for k, src := range a.b.from {
		if src.field < 0 || !c.New[src.field].Has() {
			continue
		}
		if keyText(&a.b.t.cols[a.b.keys[k]], c.New[src.field]) == parts[k] {
			continue
		}
		canon := make([]record.Value, len(c.Old)) // another spelling of the same key?
		if err := a.b.m.CanonLocal(c.Old, canon); err != nil || canon[src.field] != c.New[src.field] {
			return badRecord(a.b.t.Key[k], "column %s: the key of a linked row cannot change", a.b.t.Key[k])
		}
	}
	return nil
}

// givenKey is the key of a new row as far as the change itself gives it.
func (a *apply) givenKey(c *Change) (string, error) {
	if a.b.creates != nil {
		return "", badRecord("", "%w", a.b.creates)
	}
	parts := make([]string, len(a.b.keys))
	all := true
	for k, by := range a.b.makers {
		if by != Given {
			all = false
			continue
		}
		v := a.b.giver(k, c)
		if v.Kind <= record.Null || v.Text == "" {
			return "", badRecord(a.b.t.Key[k], "column %s: the key is empty", a.b.t.Key[k])
		}
		parts[k] = keyText(&a.b.t.cols[a.b.keys[k]], v)
		if a.b.t.dialect == store.Postgres && !exactKey(&a.b.t.cols[a.b.keys[k]]) {
			a.slow = true
		}
	}
	if !all {
		return "", nil
	}
	return EncodeKey(parts), nil
}

// giver is the value that gives key part k of a new row.
func (b *Binding) giver(k int, c *Change) record.Value {
	if f := b.from[k].field; f >= 0 {
		return c.New[f]
	}
	return c.Set[b.from[k].set]
}

// texts refuses texts that the database cannot keep.
func (a *apply) texts(c *Change) error {
	for i := range c.New {
		if why := badText(c.New[i].Text); why != "" {
			return badRecord(a.b.col(i).Name, "column %s: the value %s", a.b.col(i).Name, why)
		}
	}
	for i := range c.Set {
		if why := badText(c.Set[i].Text); why != "" {
			return badRecord(a.b.t.cols[a.b.set[i]].Name, "column %s: the value %s", a.b.t.cols[a.b.set[i]].Name, why)
		}
	}
	for _, s := range [...]string{c.Link.RemoteID, c.Key, c.Link.LocalKey, c.Link.Base} {
		if why := badText(s); why != "" {
			return badRecord("", "remote id, key or base %s", why)
		}
	}
	return nil
}
