package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/transport/settings"
)

// ways checks that nothing of a connector asks for a way that the connector does
// not go: it would silently be left undone.
func (c *checker) ways(at string, k *Connector) {
	if c.file.faultyAt(at + ".direction") {
		return // every field would be told again what is wrong with it
	}
	if k.Create != k.Direction && k.Create != "none" && k.Direction != "both" {
		c.fault(at+".create", fmt.Sprintf("%s goes beyond the connector's direction, which is %s", k.Create, k.Direction),
			"leave create out, or write "+k.Direction+" or none")
	} else if k.CreatesRemote() && !c.file.faultyAt(at+".create") {
		c.remoteMatch(at, k)
	}
	for i := range k.Mapping {
		f := &k.Mapping[i]
		if w := word(directions, f.Direction); k.Direction != "both" && w != "" && w != k.Direction {
			c.fault(fmt.Sprintf("%s.mapping[%d].direction", at, i), fmt.Sprintf("%s goes beyond the connector's direction, which is %s", w, k.Direction),
				"leave direction out, or write direction: both for the connector")
		}
	}
	const oneWay, fix = "the connector writes nothing %s (direction %s)", "leave %s out, or write direction: both for the connector"
	if !k.Writes() && k.DeleteRemote != "ignore" {
		c.fault(at+".delete.remote", fmt.Sprintf(oneWay, "to the remote", k.Direction), fmt.Sprintf(fix, "delete.remote"))
	}
	if !k.Writes() && len(k.SetRemote) > 0 {
		c.fault(at+".set.remote", fmt.Sprintf(oneWay, "to the remote", k.Direction), fmt.Sprintf(fix, "set.remote"))
	}
	if k.Direction == "to_remote" && k.DeleteLocal == "delete" {
		c.fault(at+".delete.local", fmt.Sprintf(oneWay, "here", k.Direction), fmt.Sprintf(fix, "delete.local"))
	}
}

// remoteMatch refuses creates on the remote without an identity that travels
// there: a create whose answer got lost could not be found again, and repeating
// it would make a second record.
func (c *checker) remoteMatch(at string, k *Connector) {
	if len(k.Match) == 0 {
		c.fault(at+".match", "is missing, and without it records that are created on the remote could be created twice",
			"name the columns that identify a record, such as match: [[email]], or write create: none")
		return
	}
	travels := func(column string) bool {
		return slices.ContainsFunc(k.Mapping, func(f mapping.Field) bool { return f.Local == column && f.ToRemote() })
	}
	for _, alt := range k.Match {
		if !slices.ContainsFunc(alt, func(column string) bool { return !travels(column) }) {
			return // an empty alternative has its own problem
		}
	}
	c.fault(at+".match", "every alternative has a column that does not travel to the remote, so a record created there could not be found again",
		"let the fields of one alternative travel to the remote, or write create: none")
}

// refs checks the references between the connectors of a channel.
func (c *checker) refs(at string, ch *Channel) {
	w := refWalk{c: c, at: at, ch: ch, byName: map[string]int{}, state: make([]int, len(ch.Connectors))}
	for i := range ch.Connectors {
		w.byName[ch.Connectors[i].Name] = i
		w.known = append(w.known, ch.Connectors[i].Name)
	}
	w.known = w.known[:min(len(w.known), maxKnown)]
	for i := range ch.Connectors {
		for n, f := range ch.Connectors[i].Mapping {
			if f.Ref != "" {
				w.target(w.field(i, n), f.Ref)
			}
		}
	}
	for i := range ch.Connectors {
		w.follow(i)
	}
}

// maxKnown is how many names a message offers at most.
const maxKnown = 20

// refWalk goes through the references of a channel.
type refWalk struct {
	c      *checker
	at     string
	ch     *Channel
	byName map[string]int
	known  []string
	path   []int // connectors on the way from the first one
	state  []int // by connector: 0 new, n the n-th of path, done
}

const done = -1

func (w *refWalk) field(connector, field int) string {
	return fmt.Sprintf("%s.connectors[%d].mapping[%d].ref", w.at, connector, field)
}

// target checks what one reference names.
func (w *refWalk) target(at, name string) {
	i, ok := w.byName[name]
	if !ok {
		fix := "name a connector of this channel: " + strings.Join(w.known, ", ")
		if near := settings.Nearest(name, w.known); near != "" {
			fix = "did you mean " + near + "?"
		}
		w.c.fault(at, fmt.Sprintf("the channel has no connector %q", name), fix)
		return
	}
	for _, e := range w.c.file.Entities {
		if e.Name == w.ch.Connectors[i].Entity && len(e.Key) > 1 {
			w.c.fault(at, fmt.Sprintf("entity %s has a key of %d columns, which one column cannot hold", e.Name, len(e.Key)), "refer to an entity whose key is one column")
		}
	}
}

// follow goes along the references of connector i and refuses each that closes a
// circle: in a circle no connector can go first. A connector may refer to itself,
// as a tree does.
func (w *refWalk) follow(i int) {
	if w.state[i] != 0 {
		return
	}
	w.path = append(w.path, i)
	w.state[i] = len(w.path)
	for n, f := range w.ch.Connectors[i].Mapping {
		to, ok := w.byName[f.Ref]
		switch {
		case f.Ref == "" || !ok || to == i:
		case w.state[to] > 0:
			names := make([]string, 0, maxKnown+1)
			for _, p := range append(slices.Clone(w.path[w.state[to]-1:]), to) {
				names = append(names, w.ch.Connectors[p].Name)
			}
			if len(names) > maxKnown {
				names = append(append(names[:maxKnown/2:maxKnown/2], "…"), names[len(names)-maxKnown/2:]...)
			}
			w.c.fault(w.field(i, n), "the references go in a circle: "+strings.Join(names, " → "),
				"leave one of the refs out and map that remote id as it is")
		default:
			w.follow(to)
		}
	}
	w.path = w.path[:len(w.path)-1]
	w.state[i] = done
}
