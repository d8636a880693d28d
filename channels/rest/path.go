package rest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// keyPath is the path of a record's key where a listing is an object whose
// members are the records.
const keyPath = "$key"

// maxPath bounds how deep a path may go.
const maxPath = 32

// segment is one step of a path: a key or an index.
type segment struct {
	key   string
	index int // -1: a key
	start int // where it begins in the path's text
}

// parsePath reads "address.city", "tags[0]" and `["odata.next"].x`.
func parsePath(path string) ([]segment, error) {
	var segs []segment
	for i := 0; i < len(path); {
		seg, next, err := parseSegment(path, i)
		if err != nil {
			return nil, err
		}
		segs = append(segs, seg)
		i = next
		if i < len(path) && path[i] == '.' {
			i++
			if i == len(path) {
				return nil, fmt.Errorf("path %q ends with a dot", path)
			}
		}
	}
	if len(segs) == 0 || len(segs) > maxPath {
		return nil, fmt.Errorf("path %q has %d steps; 1 to %d are possible", path, len(segs), maxPath)
	}
	return segs, nil
}

func parseSegment(path string, i int) (segment, int, error) {
	rest := path[i:]
	if strings.HasPrefix(rest, `["`) {
		end := strings.Index(rest[2:], `"]`)
		if end < 0 {
			return segment{}, 0, fmt.Errorf(`path %q: [" is not closed by "]`, path)
		}
		return segment{key: rest[2 : 2+end], index: -1, start: i}, i + 2 + end + 2, nil
	}
	if rest[0] == '[' {
		end := strings.IndexByte(rest, ']')
		n, err := strconv.Atoi(rest[1:max(end, 1)])
		if end < 0 || err != nil || n < 0 || n > 100_000 {
			return segment{}, 0, fmt.Errorf("path %q: want a position such as [0]", path)
		}
		return segment{index: n, start: i}, i + end + 1, nil
	}
	end := strings.IndexAny(rest, ".[")
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return segment{}, 0, fmt.Errorf("path %q has an empty step", path)
	}
	return segment{key: rest[:end], index: -1, start: i}, i + end, nil
}

// node is one place in the JSON that a plan is interested in. Immutable once
// built.
type node struct {
	id    int
	slots []int // where its own value goes
	kids  []kid
	elems []elem
	below []int // all slots under it
	// records marks the place where the records are.
	records bool
}

type kid struct {
	key string
	*node
}

type elem struct {
	index int
	*node
}

func (n *node) inner() bool { return len(n.kids) > 0 || len(n.elems) > 0 }

// trie builds nodes with running numbers.
type trie struct {
	root  *node
	count int
}

func newTrie() *trie { return &trie{root: &node{}, count: 1} }

// add makes path lead to slot. Besides the nested reading, a member whose name
// is the whole rest of the path is found too: {"address.city": "Rome"}.
func (t *trie) add(path string, slot int) error {
	segs, err := parsePath(path)
	if err != nil {
		return err
	}
	at := t.root
	for i, seg := range segs {
		if i < len(segs)-1 && seg.index < 0 {
			if literal := path[seg.start:]; literal != seg.key && !strings.HasPrefix(literal, `["`) {
				leaf := t.kid(at, literal)
				leaf.slots = addInt(leaf.slots, slot)
			}
		}
		at.below = addInt(at.below, slot)
		if seg.index < 0 {
			at = t.kid(at, seg.key)
		} else {
			at = t.elem(at, seg.index)
		}
	}
	at.slots = addInt(at.slots, slot)
	return nil
}

// markRecords makes path the place of the records; "" is the whole answer.
func (t *trie) markRecords(path string) error {
	if path == "" {
		t.root.records = true
		return nil
	}
	segs, err := parsePath(path)
	if err != nil {
		return err
	}
	at := t.root
	for _, seg := range segs {
		if seg.index < 0 {
			at = t.kid(at, seg.key)
		} else {
			at = t.elem(at, seg.index)
		}
	}
	at.records = true
	return nil
}

func (t *trie) kid(at *node, key string) *node {
	for _, k := range at.kids {
		if k.key == key {
			return k.node
		}
	}
	n := &node{id: t.count}
	t.count++
	at.kids = append(at.kids, kid{key, n})
	return n
}

func (t *trie) elem(at *node, index int) *node {
	for _, e := range at.elems {
		if e.index == index {
			return e.node
		}
	}
	n := &node{id: t.count}
	t.count++
	at.elems = append(at.elems, elem{index, n})
	return n
}

func addInt(list []int, v int) []int {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
