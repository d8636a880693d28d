package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a configuration's tree, far above any real one. They make aliases
// that multiply harmless.
const (
	maxNodes = 200_000 // a scalar counts twice: when it is met and when it is filled in
	maxDepth = 30
	maxBytes = 16 << 20 // of values and paths together, aliases written out
	maxKey   = 200      // of one key, in bytes
)

// maxProblems bounds how many problems are listed.
const maxProblems = 1000

type kind uint8

const (
	scalar kind = iota
	null
	object
	list
)

// node is a YAML value with aliases, merges and variables resolved.
type node struct {
	kind         kind
	path         string // as problems name it
	line, column int
	tag          string // of a scalar: !!str, !!int, !!float, !!bool
	text         string // of a scalar
	quoted       bool   // written in quotes, or a block
	secret       bool   // must not be shown: from the environment, or a secret key
	variable     bool   // from the environment
	members      []member
	items        []*node
}

type member struct {
	name         string
	line, column int
	value        *node
}

// get gives the member of that name, or nil.
func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// decoder turns a text into a File and collects problems.
type decoder struct {
	file     *File
	name     string
	env      func(string) (string, bool)
	problems Problems
	nodes    int
	bytes    int
	full     bool // the bounds were passed; said once
}

// report adds a problem at a place.
func (d *decoder) report(line, column int, field, message, fix string) {
	d.file.faulty[field] = true
	if len(d.problems) >= maxProblems {
		return
	}
	if len(d.problems) == maxProblems-1 {
		message, fix = "and more problems than are listed", "mend these first"
	}
	d.problems = append(d.problems, Problem{File: d.name, Line: line, Column: column, Field: field, Message: message, Fix: fix})
}

// fault adds a problem at a node.
func (d *decoder) fault(n *node, message, fix string) {
	d.report(n.line, n.column, n.path, message, fix)
}

// tree parses data; nil when it is empty or cannot be read.
func (d *decoder) tree(data []byte) *node {
	if len(data) > MaxSize {
		d.report(0, 0, "", fmt.Sprintf("is larger than %d bytes", MaxSize), "split the channels over several deployments")
		return nil
	}
	text, ok := d.characters(data)
	if !ok {
		return nil
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		d.syntax(text, err)
		return nil
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(text, err)
			return nil
		}
		d.report(second.Line, second.Column, "", "a second document begins here", "keep one document in the file")
	}
	if len(doc.Content) != 1 {
		return nil
	}
	root := d.convert(doc.Content[0], "", 0, nil)
	if root == nil || root.kind == null {
		return nil
	}
	return root
}

// characters refuses what is no text and hides the braces of variables, which
// YAML would take for mappings inside { }.
func (d *decoder) characters(data []byte) (string, bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if bad := badCharacter(r, size, data[i+size:]); bad != "" {
			d.report(line, column, "", bad, "save the file as UTF-8 text")
			return "", false
		}
		i += size
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return hideBraces(string(data)), true
}

// badCharacter says what is wrong with a character, or "". Line ends other than
// those of Unix and Windows are refused too: editors do not count them as lines.
func badCharacter(r rune, size int, rest []byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return "is not valid UTF-8 text"
	case r == '\r' && bytes.HasPrefix(rest, []byte("\n")), r == '\n', r == '\t':
		return ""
	case r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == openMark, r == closeMark:
		return fmt.Sprintf("holds the character U+%04X, which no configuration has", r)
	}
	return ""
}

// convert makes a node of y. open holds the aliases that are being resolved.
func (d *decoder) convert(y *yaml.Node, path string, depth int, open []*yaml.Node) *node {
	n := &node{path: path, line: y.Line, column: y.Column}
	if d.beyond(n, depth) {
		return nil
	}
	if y.Kind == yaml.AliasNode {
		return d.alias(y, n, depth, open)
	}
	if y.Anchor != "" {
		open = append(open[:len(open):len(open)], y)
	}
	if !d.knownTag(y, n) {
		return nil
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = object
		d.convertObject(y, n, depth, open)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			if c := d.convert(item, fmt.Sprintf("%s[%d]", path, i), depth+1, open); c != nil {
				n.items = append(n.items, c)
			}
		}
	default:
		if !d.convertScalar(y, n) {
			return nil
		}
	}
	d.file.at[path] = place{line: n.line, column: n.column}
	return n
}

// beyond counts a step and reports, once, that the tree passes its bounds.
func (d *decoder) beyond(n *node, depth int) bool {
	d.nodes++
	d.bytes += len(n.path) + len(n.text)
	if d.nodes <= maxNodes && d.bytes <= maxBytes && depth <= maxDepth {
		return false
	}
	if !d.full {
		d.full = true
		d.fault(n, "nests or repeats more than a configuration can need", "write it without aliases of aliases")
	}
	return true
}

// alias converts what an alias stands for; its problems are placed there.
func (d *decoder) alias(y *yaml.Node, n *node, depth int, open []*yaml.Node) *node {
	if slices.Contains(open, y.Alias) {
		d.fault(n, fmt.Sprintf("the alias *%s stands inside of what it repeats", y.Value), "write the value out")
		return nil
	}
	return d.convert(y.Alias, n.path, depth+1, open)
}

// knownTag refuses tags, which would change a value's type unseen.
func (d *decoder) knownTag(y *yaml.Node, n *node) bool {
	switch y.Tag {
	case "", "!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge", "!":
		return true
	}
	d.fault(n, fmt.Sprintf("the tag %s is not supported", y.Tag), "take the tag away")
	return false
}

func (d *decoder) convertScalar(y *yaml.Node, n *node) bool {
	n.kind, n.tag = scalar, y.Tag
	n.quoted = y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0
	if y.Tag == "!!null" && !n.quoted {
		n.kind = null
		return true
	}
	text, from, ok := d.expand(y.Value, n)
	if !ok {
		return false
	}
	n.text, n.variable, n.secret = text, from, from || secretPath(n.path)
	if d.beyond(n, 0) {
		return false
	}
	if n.variable && !n.quoted {
		n.tag = "" // what it looks like is decided where it is used
	}
	if n.secret {
		d.hide(n.path, text)
	}
	return true
}

// hide keeps a text out of all messages; of the address of a service only its
// password, for the rest is ordinary words.
func (d *decoder) hide(path, text string) {
	if path == "database" || path == "broker" {
		_, authority, _ := strings.Cut(text, "://")
		user, _, found := strings.Cut(authority, "@")
		_, text, _ = strings.Cut(user, ":")
		if !found {
			text = ""
		}
	}
	if text != "" && !d.file.hidden[text] {
		d.file.hidden[text] = true
		d.file.secrets = append(d.file.secrets, text)
	}
}

// convertObject converts a mapping with its merges. A key of the mapping itself
// wins over a merged one; of several merged ones the first wins.
func (d *decoder) convertObject(y *yaml.Node, n *node, depth int, open []*yaml.Node) {
	first := map[string]*yaml.Node{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Tag == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			d.report(key.Line, key.Column, n.path, "a key is no plain text", "use a word as key")
			continue
		}
		name := showBraces(key.Value)
		if len(name) > maxKey {
			d.report(key.Line, key.Column, n.path, fmt.Sprintf("a key is longer than %d bytes", maxKey), "shorten it")
			continue
		}
		path := join(n.path, name)
		if before := first[name]; before != nil {
			d.report(key.Line, key.Column, path, fmt.Sprintf("is given twice, first in line %d", before.Line), "keep one of them")
			continue
		}
		first[name] = key
		if c := d.convert(value, path, depth+1, open); c != nil {
			n.members = append(n.members, member{name, key.Line, key.Column, c})
		}
	}
	for _, m := range merges {
		d.merge(m, n, first, depth+1, open)
	}
}

// merge adds the members of a merged mapping, or of each of a list of them.
func (d *decoder) merge(y *yaml.Node, n *node, taken map[string]*yaml.Node, depth int, open []*yaml.Node) {
	if d.beyond(n, depth) {
		return
	}
	src := y
	if src.Kind == yaml.AliasNode {
		src = src.Alias
	}
	switch {
	case slices.Contains(open, src):
		d.report(y.Line, y.Column, n.path, "merges itself", "write the values out")
	case src.Kind == yaml.SequenceNode:
		for _, item := range src.Content {
			d.merge(item, n, taken, depth+1, append(open[:len(open):len(open)], src))
		}
	case src.Kind == yaml.MappingNode:
		d.mergeObject(src, n, taken, depth, append(open[:len(open):len(open)], src))
	default:
		d.report(y.Line, y.Column, n.path, "<< merges mappings only", "name an anchor of a mapping")
	}
}

func (d *decoder) mergeObject(src *yaml.Node, n *node, taken map[string]*yaml.Node, depth int, open []*yaml.Node) {
	for i := 0; i+1 < len(src.Content); i += 2 {
		key, value := src.Content[i], src.Content[i+1]
		if key.Tag == "!!merge" {
			d.merge(value, n, taken, depth+1, open)
			continue
		}
		name := showBraces(key.Value)
		if key.Kind != yaml.ScalarNode || taken[name] != nil || len(name) > maxKey {
			continue
		}
		taken[name] = key
		if c := d.convert(value, join(n.path, name), depth+1, open); c != nil {
			n.members = append(n.members, member{name, key.Line, key.Column, c})
		}
	}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
