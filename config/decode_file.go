package config

import (
	"math"
	"time"
)

// top reads the whole tree.
func (d *decoder) top(root *node) {
	if !d.object(root, levelTop) {
		return
	}
	f := d.file
	d.text(root.get("database"), &f.Database)
	d.text(root.get("broker"), &f.Broker)
	d.text(root.get("listen"), &f.Listen)
	d.text(root.get("secret_key"), &f.SecretKey)
	d.network(root.get("network"))
	d.workers(root.get("workers"))
	d.entities(root.get("entities"))
	if n := root.get("channels"); n != nil && n.kind == list {
		for _, item := range n.items {
			d.channel(item)
		}
	} else if n != nil && n.kind != null {
		d.fault(n, "must be a list", "begin each channel with: - name: …")
	}
	for i := range f.Entities {
		if e := &f.Entities[i]; e.Capture == "" {
			e.Capture = DefaultCapture(e.Name, f.Channels)
		}
	}
}

// variables lets TANDEM_ variables stand for scalar top keys; an empty one
// counts as not set.
func (d *decoder) variables() {
	f := d.file
	for key, to := range map[string]*string{
		"database": &f.Database, "broker": &f.Broker, "listen": &f.Listen, "secret_key": &f.SecretKey,
	} {
		name := Variables()[key]
		if v, ok := d.env(name); ok && v != "" {
			*to = v
			f.at[key] = place{variable: name}
			delete(f.faulty, key)
			if key != "listen" {
				d.hide(key, v)
			}
		}
	}
	f.APIToken, _ = d.env(apiTokenVariable)
	d.hide("", f.APIToken)
	f.Notifies, _ = d.env(notifyVariable)
	f.Notify = f.Notifies == "on"
	f.SecretKeyNew, _ = d.env(NewKeyVariable)
	d.hide("", f.SecretKeyNew)
}

func (d *decoder) network(n *node) {
	if !d.object(n, levelNetwork) {
		return
	}
	d.flag(n.get("allow_plaintext"), &d.file.Network.AllowPlaintext)
	allow := n.get("allow")
	if allow == nil || allow.kind == null {
		return
	}
	if allow.kind != list {
		d.fault(allow, "must be a list", "write it in brackets: [127.0.0.0/8]")
		return
	}
	for _, item := range allow.items {
		if p, ok := d.prefix(item); ok {
			d.file.Network.Allow = append(d.file.Network.Allow, p)
		}
	}
}

// Bounds of the workers' settings.
const (
	maxSlots = 256
	minLease = 3 * time.Second
	maxLease = time.Hour
)

func (d *decoder) workers(n *node) {
	if !d.object(n, levelWorkers) {
		return
	}
	w := &d.file.Workers
	d.number(n.get("sync"), &w.Sync, 1, maxSlots)
	d.number(n.get("reverse_sync"), &w.ReverseSync, 1, maxSlots)
	d.duration(n.get("lease"), &w.Lease, minLease, maxLease)
}

func (d *decoder) entities(n *node) {
	if n == nil || n.kind == null {
		return
	}
	if n.kind != object {
		d.fault(n, "must be a mapping of names", "write entities: {contacts: {table: contacts, key: id}}")
		return
	}
	for _, m := range n.members {
		e := Entity{Name: m.name}
		d.file.at[m.value.path] = place{line: m.line, column: m.column}
		if m.value.kind == null {
			m.value.kind = object // the missing keys are reported one by one
		}
		if d.object(m.value, levelEntity) {
			d.entity(m.value, &e)
		}
		d.file.Entities = append(d.file.Entities, e)
	}
}

func (d *decoder) entity(n *node, e *Entity) {
	d.text(n.get("table"), &e.Table)
	e.Key = d.texts(n.get("key"), true, "name a column, or several: [a, b]")
	d.text(n.get("modified"), &e.Modified)
	d.text(n.get("deleted"), &e.Deleted)
	d.choice(n.get("capture"), &e.Capture, captures...)
	create := n.get("create")
	if create == nil || create.kind == null {
		return
	}
	if create.kind != object {
		d.fault(create, "must be a mapping of columns", `write create: {id: integer primary key, name: text}`)
		return
	}
	for _, m := range create.members {
		col := ColumnDecl{Name: m.name}
		d.text(m.value, &col.Type)
		e.Create = append(e.Create, col)
	}
}

func (d *decoder) channel(n *node) {
	c := Channel{Conflict: DefaultConflict}
	if d.object(n, levelChannel) {
		d.text(n.get("name"), &c.Name)
		d.text(n.get("type"), &c.Type)
		c.Transport = d.raw(n.get("transport"))
		d.text(n.get("schedule"), &c.Schedule)
		d.choice(n.get("conflict"), &c.Conflict, conflicts...)
		c.Operations = d.rawList(n.get("operations"))
		d.connectors(n.get("connectors"), &c)
	} else if n.kind == null {
		d.fault(n, "is empty", "write - name: …")
	}
	d.file.Channels = append(d.file.Channels, c)
}

// captures are the ways in which local changes are noticed.
var captures = []string{CaptureNone, "triggers", "modified", "api"}

// conflicts are the policies of conflict.
var conflicts = []string{"newest", "local", "remote", "manual", "evidence-hard", "evidence-best", "evidence-fuzzy"}

// raw reads a mapping that belongs to the channel's type.
func (d *decoder) raw(n *node) []byte {
	switch {
	case n == nil || n.kind == null:
		return nil
	case n.kind != object:
		d.fault(n, "must be a mapping", "write its keys, indented, on the lines below")
		return nil
	}
	return n.json()
}

// rawList reads a list that belongs to the channel's type; an empty one is none.
func (d *decoder) rawList(n *node) []byte {
	switch {
	case n == nil || n.kind == null || n.kind == list && len(n.items) == 0:
		return nil
	case n.kind != list:
		d.fault(n, "must be a list", "begin each operation with: - name: …")
		return nil
	}
	return n.json()
}

func (d *decoder) connectors(n *node, c *Channel) {
	if n == nil || n.kind == null {
		return
	}
	if n.kind != list {
		d.fault(n, "must be a list", "begin each connector with: - name: …")
		return
	}
	for _, item := range n.items {
		k := defaultConnector()
		if d.object(item, levelConnector) {
			d.connector(item, &k)
		} else if item.kind == null {
			d.fault(item, "is empty", "write - name: …")
		}
		c.Connectors = append(c.Connectors, k)
	}
}

func defaultConnector() Connector {
	return Connector{
		Direction: "to_local", DeleteLocal: "unlink", DeleteRemote: "ignore",
		Overlap: DefaultOverlap, Full: DefaultFull,
	}
}

// maxOverlap is the longest overlap: what goes beyond is a full run's work.
const maxOverlap = 31 * 24 * time.Hour

func (d *decoder) connector(n *node, k *Connector) {
	d.text(n.get("name"), &k.Name)
	d.text(n.get("entity"), &k.Entity)
	d.choice(n.get("direction"), &k.Direction, directionWords...)
	k.Create = k.Direction
	d.choice(n.get("create"), &k.Create, "to_local", "to_remote", "both", "none")
	d.match(n.get("match"), k)
	if s := n.get("scope"); d.object(s, levelScope) {
		d.text(s.get("local"), &k.Scope.Local)
		d.text(s.get("remote"), &k.Scope.Remote)
	}
	if s := n.get("set"); d.object(s, levelSet) {
		k.SetLocal = d.constants(s.get("local"))
		k.SetRemote = d.constants(s.get("remote"))
	}
	if s := n.get("delete"); d.object(s, levelDelete) {
		d.choice(s.get("local"), &k.DeleteLocal, "ignore", "unlink", "delete")
		d.choice(s.get("remote"), &k.DeleteRemote, "ignore", "unlink", "delete")
	}
	d.duration(n.get("overlap"), &k.Overlap, 0, maxOverlap)
	d.text(n.get("full"), &k.Full)
	d.number(n.get("limit"), &k.Limit, 0, math.MaxInt32)
	d.mapping(n.get("mapping"), k)
	k.Remote = d.raw(n.get("remote"))
}

const matchFix = "write a list of alternatives: [[email], [last_name, birthday]]"

func (d *decoder) match(n *node, k *Connector) {
	if n == nil || n.kind == null {
		return
	}
	if n.kind != list {
		d.fault(n, "must be a list of lists", matchFix)
		return
	}
	for _, item := range n.items {
		if item.kind != list {
			d.fault(item, "must be a list", matchFix)
			continue
		}
		k.Match = append(k.Match, d.texts(item, false, matchFix))
	}
}
