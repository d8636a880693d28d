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
	byName := map[string]int{}
	for i := range ch.Connectors {
		byName[ch.Connectors[i].Name] = i
	}
	for i := range ch.Connectors {
		for n, f := range ch.Connectors[i].Mapping {
			if f.Ref != "" {
				c.ref(fmt.Sprintf("%s.connectors[%d].mapping[%d].ref", at, i, n), f.Ref, ch, byName)
			}
		}
	}
	seen := make([]bool, len(ch.Connectors))
	for i := range ch.Connectors {
		c.refCycle(at, ch, byName, seen, []int{i})
	}
}

func (c *checker) ref(at, name string, ch *Channel, byName map[string]int) {
	i, ok := byName[name]
	if !ok {
		known := make([]string, 0, len(ch.Connectors))
		for _, k := range ch.Connectors {
			known = append(known, k.Name)
		}
		fix := "name a connector of this channel: " + strings.Join(known, ", ")
		if near := settings.Nearest(name, known); near != "" {
			fix = "did you mean " + near + "?"
		}
		c.fault(at, fmt.Sprintf("the channel has no connector %q", name), fix)
		return
	}
	for _, e := range c.file.Entities {
		if e.Name == ch.Connectors[i].Entity && len(e.Key) > 1 {
			c.fault(at, fmt.Sprintf("entity %s has a key of %d columns, which one column cannot hold", e.Name, len(e.Key)), "refer to an entity whose key is one column")
		}
	}
}

// refCycle follows the references of the last connector of path and refuses the
// one that closes a circle: in a circle no connector can go first. A connector
// may refer to itself, as a tree does. seen are connectors that are dealt with.
func (c *checker) refCycle(at string, ch *Channel, byName map[string]int, seen []bool, path []int) {
	i := path[len(path)-1]
	if seen[i] {
		return
	}
	for n, f := range ch.Connectors[i].Mapping {
		to, ok := byName[f.Ref]
		if f.Ref == "" || !ok || to == i {
			continue
		}
		if from := slices.Index(path, to); from >= 0 {
			var names []string
			for _, p := range append(path[from:len(path):len(path)], to) {
				names = append(names, ch.Connectors[p].Name)
			}
			c.fault(fmt.Sprintf("%s.connectors[%d].mapping[%d].ref", at, i, n), "the references go in a circle: "+strings.Join(names, " → "),
				"leave one of the refs out and map that remote id as it is")
			continue
		}
		c.refCycle(at, ch, byName, seen, append(path[:len(path):len(path)], to))
	}
	seen[i] = true
}
