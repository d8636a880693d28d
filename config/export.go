package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// Variable is an environment variable that an exported file needs.
type Variable struct {
	Name string `json:"name"`
	For  string `json:"for"` // what it holds: "channels.crm.transport.token"
}

// NewKeyVariable holds the key that `tandem keys rotate` seals anew with.
const NewKeyVariable = "TANDEM_SECRET_KEY_NEW" //nolint:gosec // the name of a variable, not a key

// Export writes f as YAML that reads back as the same entities and channels.
// Secrets never come out: each is a reference to an environment variable of its
// own, TANDEM_<CHANNEL>_<FIELD>, and those are listed. Addresses of services with
// a password in them are left to their own variables in the same way. Keys that
// say what a missing key says are left out. What could not be read back the same
// is an error; nothing half right is ever written.
func Export(f *File) (text []byte, vars []Variable, err error) {
	e := exporter{taken: map[string]bool{apiTokenVariable: true, NewKeyVariable: true}, env: map[string]string{}}
	for _, name := range Variables() {
		e.taken[name] = true
	}
	root := &yamlNode{kind: object}
	e.service(root, f)
	if len(f.Entities) > 0 {
		n := &yamlNode{kind: object, block: true}
		for i := range f.Entities {
			n.put(f.Entities[i].Name, exportEntity(&f.Entities[i], DefaultCapture(f.Entities[i].Name, f.Channels)))
		}
		root.put("entities", n)
	}
	if len(f.Channels) > 0 {
		n := &yamlNode{kind: list, block: true}
		for i := range f.Channels {
			c, err := e.channel(&f.Channels[i])
			if err != nil {
				return nil, nil, fmt.Errorf("channel %s: %w", f.Channels[i].Name, err)
			}
			n.values = append(n.values, c)
		}
		root.put("channels", n)
	}
	text = e.text(root)
	return text, e.vars, e.prove(text, f)
}

type exporter struct {
	vars  []Variable
	taken map[string]bool   // names of variables
	env   map[string]string // what they hold
}

// text writes the whole file, the variables it needs first.
func (e *exporter) text(root *yamlNode) []byte {
	var b strings.Builder
	b.WriteString("# Written by `tandem export`. Keys that are left out have their defaults.\n")
	if len(e.vars) > 0 {
		b.WriteString("# Secrets are never written. These environment variables must hold them:\n")
	}
	for _, v := range e.vars {
		b.WriteString("#   " + v.Name + "  " + strings.Map(onePrintableLine, v.For) + "\n")
	}
	root.write(&b, 0)
	return []byte(b.String())
}

func onePrintableLine(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == openMark || r == closeMark {
		return '?'
	}
	return r
}

// service writes the keys of the process itself that have no default.
func (e *exporter) service(root *yamlNode, f *File) {
	for _, a := range []struct{ key, text, missing string }{
		{"database", f.Database, DefaultDatabase}, {"broker", f.Broker, DefaultBroker},
	} {
		if holdsPassword(a.text) {
			e.own(root, a.key, a.text)
			continue
		}
		root.putText(a.key, a.text, a.missing)
	}
	root.putText("listen", f.Listen, DefaultListen)
	if f.SecretKey != "" {
		e.own(root, "secret_key", f.SecretKey)
	}
	if len(f.Network.Allow) > 0 || f.Network.AllowPlaintext {
		n := &yamlNode{kind: object}
		if len(f.Network.Allow) > 0 {
			var allow []string
			for _, p := range f.Network.Allow {
				allow = append(allow, p.String())
			}
			n.put("allow", yamlTexts(allow))
		}
		if f.Network.AllowPlaintext {
			n.put("allow_plaintext", yamlRaw("true"))
		}
		root.put("network", n)
	}
	if w := f.Workers; w != Default().Workers {
		n := &yamlNode{kind: object}
		n.put("sync", yamlRaw(fmt.Sprint(w.Sync)))
		n.put("reverse_sync", yamlRaw(fmt.Sprint(w.ReverseSync)))
		n.put("lease", yamlText(short(w.Lease)))
		root.put("workers", n)
	}
}

// own writes a key as a reference to its own variable: without the variable the
// file must be refused, and not mean another database.
func (e *exporter) own(root *yamlNode, key, text string) {
	name := Variables()[key]
	e.env[name] = text
	e.vars = append(e.vars, Variable{name, key})
	root.put(key, yamlRaw(`"${`+name+`}"`))
}

// holdsPassword reports whether the address of a service may hold one.
func holdsPassword(address string) bool {
	if !strings.Contains(address, "://") {
		return false
	}
	u, err := url.Parse(address)
	if err != nil {
		return true
	}
	_, has := u.User.Password()
	return has || strings.Contains(strings.ToLower(u.RawQuery), "password")
}

// exportEntity writes an entity; capture is what a missing key says.
func exportEntity(e *Entity, capture string) *yamlNode {
	n := &yamlNode{kind: object}
	n.put("table", yamlText(e.Table))
	switch len(e.Key) {
	case 0:
	case 1:
		n.put("key", yamlText(e.Key[0]))
	default:
		n.put("key", yamlTexts(e.Key))
	}
	n.putText("modified", e.Modified, "")
	n.putText("deleted", e.Deleted, "")
	n.putText("capture", e.Capture, capture)
	if len(e.Create) > 0 {
		cols := &yamlNode{kind: object}
		for _, c := range e.Create {
			cols.put(c.Name, yamlText(c.Type))
		}
		n.put("create", cols)
	}
	return n
}

func (e *exporter) channel(c *Channel) (*yamlNode, error) {
	n := &yamlNode{kind: object, block: true}
	n.put("name", yamlText(c.Name))
	n.put("type", yamlText(c.Type))
	if len(c.Transport) > 0 {
		raw, err := sorted(c.Transport)
		if err != nil {
			return nil, err
		}
		t, err := yamlJSON(raw, "transport", func(path, text string) (string, bool) { return e.secret(c.Name, path, text) })
		if err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
		n.put("transport", t)
	}
	n.putText("schedule", c.Schedule, "")
	n.putText("conflict", c.Conflict, DefaultConflict)
	if len(c.Connectors) > 0 {
		cons := &yamlNode{kind: list, block: true}
		for i := range c.Connectors {
			k, err := exportConnector(&c.Connectors[i])
			if err != nil {
				return nil, fmt.Errorf("connector %s: %w", c.Connectors[i].Name, err)
			}
			cons.values = append(cons.values, k)
		}
		n.put("connectors", cons)
	}
	return n, putJSON(n, "operations", c.Operations)
}

// putJSON appends what belongs to the channel's type.
func putJSON(n *yamlNode, key string, raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	v, err := yamlJSON(raw, key, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	n.put(key, v)
	return nil
}

// secret gives a reference for the text of a secret field. An empty text is no
// secret.
func (e *exporter) secret(channel, path, text string) (string, bool) {
	if !secretPath("channels[0]." + path) {
		return "", false
	}
	if text == "" {
		return `""`, true
	}
	name := variableFor(channel, strings.TrimPrefix(path, "transport."))
	for n, base := 2, name; e.taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	e.taken[name], e.env[name] = true, text
	e.vars = append(e.vars, Variable{name, "channels." + channel + "." + path})
	return `"${` + name + `}"`, true
}

// variableFor makes the name of the variable of a channel's field.
func variableFor(channel, field string) string {
	letters := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}
	return "TANDEM_" + strings.Map(letters, channel) + "_" + strings.Trim(strings.Map(letters, field), "_")
}

func exportConnector(k *Connector) (*yamlNode, error) {
	n := &yamlNode{kind: object, block: true}
	n.put("name", yamlText(k.Name))
	n.put("entity", yamlText(k.Entity))
	n.putText("direction", k.Direction, "to_local")
	n.putText("create", k.Create, k.Direction)
	if len(k.Match) > 0 {
		m := &yamlNode{kind: list}
		for _, alt := range k.Match {
			m.values = append(m.values, yamlTexts(alt))
		}
		n.put("match", m)
	}
	putPair(n, "scope", k.Scope.Local, k.Scope.Remote, "", "")
	if err := exportSet(n, k); err != nil {
		return nil, err
	}
	putPair(n, "delete", k.DeleteLocal, k.DeleteRemote, "unlink", "ignore")
	if k.Overlap != DefaultOverlap {
		n.put("overlap", yamlText(exportDuration(k.Overlap)))
	}
	n.putText("full", k.Full, DefaultFull)
	if k.Limit != 0 {
		n.put("limit", yamlRaw(fmt.Sprint(k.Limit)))
	}
	if err := putJSON(n, "remote", k.Remote); err != nil {
		return nil, err
	}
	if len(k.Mapping) == 0 {
		return n, nil
	}
	fields := &yamlNode{kind: list, block: true}
	for _, f := range k.Mapping {
		m, err := exportField(f, k.Direction)
		if err != nil {
			return nil, fmt.Errorf("mapping of %s: %w", f.Local, err)
		}
		fields.values = append(fields.values, m)
	}
	n.put("mapping", fields)
	return n, nil
}

func exportDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	return short(d)
}

// putPair appends a mapping of local and remote without what is missing anyway.
func putPair(n *yamlNode, key, local, remote, missingLocal, missingRemote string) {
	pair := &yamlNode{kind: object}
	pair.putText("local", local, missingLocal)
	pair.putText("remote", remote, missingRemote)
	if len(pair.values) > 0 {
		n.put(key, pair)
	}
}

func exportSet(n *yamlNode, k *Connector) error {
	set := &yamlNode{kind: object}
	for _, side := range []struct {
		key    string
		values map[string]record.Value
	}{{"local", k.SetLocal}, {"remote", k.SetRemote}} {
		if len(side.values) == 0 {
			continue
		}
		m := &yamlNode{kind: object}
		for _, name := range slices.Sorted(maps.Keys(side.values)) {
			v, err := exportValue(side.values[name])
			if err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
			m.put(name, v)
		}
		set.put(side.key, m)
	}
	if len(set.values) > 0 {
		n.put("set", set)
	}
	return nil
}

// exportValue writes a constant as the value that it is.
func exportValue(v record.Value) (*yamlNode, error) {
	if v.Kind == record.Text {
		return yamlText(v.Text), nil
	}
	return yamlJSON(storeValue(v), "value", nil)
}

// exportField writes a mapped field of a connector with a direction.
func exportField(f mapping.Field, connector string) (*yamlNode, error) {
	n := &yamlNode{kind: object}
	n.put("local", yamlText(f.Local))
	n.put("remote", yamlText(f.Remote))
	n.putText("direction", word(directions, f.Direction), connector)
	n.putText("type", string(f.Type), "")
	n.putText("on", word(times, f.On), "always")
	if f.Required {
		n.put("required", yamlRaw("true"))
	}
	if f.Default.Has() {
		v, err := exportValue(f.Default)
		if err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
		n.put("default", v)
	}
	n.putText("ref", f.Ref, "")
	switch {
	case f.ToRemoteExpr == "" && f.Direction == mapping.ToLocal:
		n.putText("transform", f.ToLocalExpr, "")
	case f.ToLocalExpr == "" && f.Direction == mapping.ToRemote:
		n.putText("transform", f.ToRemoteExpr, "")
	case f.ToLocalExpr != "" || f.ToRemoteExpr != "":
		t := &yamlNode{kind: object}
		t.putText("to_local", f.ToLocalExpr, "")
		t.putText("to_remote", f.ToRemoteExpr, "")
		n.put("transform", t)
	}
	return n, nil
}
