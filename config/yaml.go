package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// yamlNode is what the writer of configurations writes: a scalar that is
// written already, a list or a mapping.
type yamlNode struct {
	kind   kind
	scalar string // as YAML, quotes included
	keys   []string
	values []*yamlNode
	block  bool // never on one line
}

// flowWidth is the longest line that a list or mapping is put on.
const flowWidth = 118

func yamlRaw(s string) *yamlNode  { return &yamlNode{kind: scalar, scalar: s} }
func yamlText(s string) *yamlNode { return yamlRaw(yamlString(s)) }
func yamlTexts(texts []string) *yamlNode {
	n := &yamlNode{kind: list}
	for _, s := range texts {
		n.values = append(n.values, yamlText(s))
	}
	return n
}

// put appends a member to a mapping.
func (n *yamlNode) put(key string, v *yamlNode) {
	n.keys, n.values = append(n.keys, key), append(n.values, v)
}

// putText appends a text unless it is what a missing key means.
func (n *yamlNode) putText(key, text, missing string) {
	if text != missing {
		n.put(key, yamlText(text))
	}
}

// plainText are texts that need no quotes anywhere and that no reader takes for
// anything but a text.
var plainText = regexp.MustCompile(
	`^([A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./()-]+)*|https?://[A-Za-z0-9._-]+(:[0-9]+)?(/[A-Za-z0-9._/-]*)?|[0-9]+(ms|s|m|h)|[0-9]+/[0-9]+(ms|s|m|h))$`)

// yamlWords are plain words that some reader of YAML takes for other values.
var yamlWords = map[string]bool{
	"true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "null": true, "y": true, "n": true,
}

// yamlString writes a text so that the reader of configurations gives it back
// exactly: quoted where needed, and with ${ escaped.
func yamlString(s string) string {
	if plainText.MatchString(s) && !yamlWords[strings.ToLower(s)] {
		return s
	}
	return yamlQuote(strings.ReplaceAll(s, "${", "$${"))
}

// yamlKey writes the key of a mapping; keys know no variables.
func yamlKey(s string) string {
	if plainText.MatchString(s) && (s == "on" || !yamlWords[strings.ToLower(s)]) {
		return s // our own key `on` is a text to YAML 1.2, and the documentation writes it so
	}
	return yamlQuote(s)
}

// closed is a reference at the start of a text.
var closed = regexp.MustCompile(`^` + reference.String())

// yamlQuote writes a double-quoted scalar.
func yamlQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '{' && i > 0 && s[i-1] == '$' && !closed.MatchString(s[i-1:]):
			b.WriteString(`\x7B`) // unclosed, it would take the next brace of the file for its own
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError, r != ' ' && !unicode.IsPrint(r), r >= openMark && r <= closeMark:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// yamlJSON makes a node of JSON, members in their order. secret, unless nil,
// may give another scalar for a text at a path.
func yamlJSON(raw json.RawMessage, path string, secret func(path, text string) (string, bool)) (*yamlNode, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	n, err := yamlValue(dec, path, secret)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one value", path)
	}
	return n, nil
}

func yamlValue(dec *jsontext.Decoder, path string, secret func(path, text string) (string, bool)) (*yamlNode, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '{':
		n := &yamlNode{kind: object}
		for dec.PeekKind() != '}' {
			key, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			name := key.String()
			v, err := yamlValue(dec, path+"."+name, secret)
			if err != nil {
				return nil, err
			}
			n.put(name, v)
		}
		_, err = dec.ReadToken()
		return n, err
	case '[':
		n := &yamlNode{kind: list}
		for dec.PeekKind() != ']' {
			v, err := yamlValue(dec, fmt.Sprintf("%s[%d]", path, len(n.values)), secret)
			if err != nil {
				return nil, err
			}
			n.values = append(n.values, v)
		}
		_, err = dec.ReadToken()
		return n, err
	case '"':
		if secret != nil {
			if text, is := secret(path, tok.String()); is {
				return yamlRaw(text), nil
			}
		}
		return yamlText(tok.String()), nil
	default:
		return yamlRaw(tok.String()), nil // a number, true, false or null
	}
}

// flow writes the node on one line; false when it may not or does not fit.
func (n *yamlNode) flow(room int) (string, bool) {
	if n.kind == scalar {
		return n.scalar, len(n.scalar) <= room
	}
	if n.block && len(n.values) > 0 {
		return "", false
	}
	var b strings.Builder
	b.WriteByte("[{"[btoi(n.kind == object)])
	for i, v := range n.values {
		if i > 0 {
			b.WriteString(", ")
		}
		if n.kind == object {
			b.WriteString(yamlKey(n.keys[i]) + ": ")
		}
		s, ok := v.flow(room - b.Len())
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	b.WriteByte("]}"[btoi(n.kind == object)])
	return b.String(), b.Len() <= room
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// write writes the members of a list or mapping, each on lines of its own.
func (n *yamlNode) write(b *strings.Builder, indent int) {
	pad := strings.Repeat(" ", indent)
	for i, v := range n.values {
		if n.kind == list {
			n.writeItem(b, v, pad, indent)
			continue
		}
		head := pad + yamlKey(n.keys[i]) + ":"
		if s, ok := v.flow(flowWidth - len(head)); ok || v.kind == scalar {
			b.WriteString(head + " " + s + "\n")
			continue
		}
		b.WriteString(head + "\n")
		v.write(b, indent+2)
	}
}

// writeItem writes one item of a list in block style.
func (n *yamlNode) writeItem(b *strings.Builder, v *yamlNode, pad string, indent int) {
	if s, ok := v.flow(flowWidth - indent - 2); ok || v.kind == scalar {
		b.WriteString(pad + "- " + s + "\n")
		return
	}
	var item strings.Builder
	v.write(&item, indent+2)
	text := item.String()
	b.WriteString(pad + "- " + text[indent+2:])
}
