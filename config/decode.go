package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tandem-sync/tandem/sync/record"
)

// object checks that n is a mapping of a level's keys.
func (d *decoder) object(n *node, level string) bool {
	if n == nil || n.kind == null {
		return false
	}
	if n.kind != object {
		d.fault(n, "must be a mapping", "write "+strings.Join(keysOf(level), ": …, ")+": …")
		return false
	}
	known := keysOf(level)
	for _, m := range n.members {
		if !contains(known, m.name) {
			d.report(m.line, m.column, join(n.path, m.name), fmt.Sprintf("unknown key %q", m.name), keyFix(level, m.name))
		}
	}
	return true
}

func contains(words []string, w string) bool {
	for _, k := range words {
		if k == w {
			return true
		}
	}
	return false
}

// quoted shows a scalar's text in a message, unless it must not be shown.
func quoted(n *node) string {
	if n.secret {
		return "the value"
	}
	s := n.text
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return strconv.Quote(s)
}

// text reads a scalar; null and a missing key leave *to alone.
func (d *decoder) text(n *node, to *string) bool {
	if n == nil || n.kind == null {
		return false
	}
	if n.kind != scalar {
		d.fault(n, "must be one value", "write a text")
		return false
	}
	*to = n.text
	return true
}

// choice reads one of a few words.
func (d *decoder) choice(n *node, to *string, known ...string) {
	var s string
	if !d.text(n, &s) {
		return
	}
	if !contains(known, s) {
		fix := choiceFix(s, known)
		if n.secret {
			fix = "one of " + strings.Join(known, ", ")
		}
		d.fault(n, quoted(n)+" is unknown", fix)
		return
	}
	*to = s
}

// number reads a whole number between low and high.
func (d *decoder) number(n *node, to *int, low, high int) {
	var s string
	if !d.text(n, &s) {
		return
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < low || v > high {
		d.fault(n, fmt.Sprintf("must be a whole number from %d to %d, not %s", low, high, quoted(n)), fmt.Sprintf("for example %d", max(low, *to)))
		return
	}
	*to = v
}

// flag reads true or false.
func (d *decoder) flag(n *node, to *bool) {
	var s string
	if !d.text(n, &s) {
		return
	}
	switch strings.ToLower(s) {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		d.fault(n, "must be true or false, not "+quoted(n), "write true or false")
	}
}

// duration reads a length of time between low and high.
func (d *decoder) duration(n *node, to *time.Duration, low, high time.Duration) {
	var s string
	if !d.text(n, &s) {
		return
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.fault(n, quoted(n)+" is no duration", "write a number with its unit: 30s, 5m, 2h")
	case v < low || v > high:
		d.fault(n, fmt.Sprintf("must be from %s to %s, not %s", short(low), short(high), quoted(n)), "for example "+short(max(low, *to)))
	default:
		*to = v
	}
}

// short writes a duration without its zero units.
func short(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// texts reads a list of texts; single allows one text in its place.
func (d *decoder) texts(n *node, single bool, fix string) []string {
	if n == nil || n.kind == null {
		return nil
	}
	if single && n.kind == scalar {
		return []string{n.text}
	}
	if n.kind != list {
		d.fault(n, "must be a list", fix)
		return nil
	}
	out := make([]string, 0, len(n.items))
	for _, item := range n.items {
		var s string
		if d.text(item, &s) {
			out = append(out, s)
		} else if item.kind == null {
			d.fault(item, "is empty", fix)
		}
	}
	return out
}

// prefix reads an address prefix; a bare address is a prefix of one.
func (d *decoder) prefix(n *node) (netip.Prefix, bool) {
	var s string
	if !d.text(n, &s) {
		if n.kind == null {
			d.fault(n, "is empty", "write a prefix such as 127.0.0.0/8")
		}
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	d.fault(n, quoted(n)+" is no address prefix", "write a prefix such as 127.0.0.0/8 or ::1/128")
	return netip.Prefix{}, false
}

// value reads a constant with its kind: text, number, boolean, null, list or
// mapping.
func (d *decoder) value(n *node) record.Value {
	switch n.kind {
	case null:
		return record.NullValue
	case object, list:
		return record.J(string(n.json()))
	case scalar:
	}
	switch {
	case n.quoted || n.variable:
	case n.tag == "!!bool":
		return record.B(strings.EqualFold(n.text, "true"))
	case (n.tag == "!!int" || n.tag == "!!float") && json.Valid([]byte(n.text)):
		return record.N(n.text)
	}
	return record.T(n.text)
}

// json gives the node as JSON: what a channel's type reads. Values of the
// environment are texts, whatever they look like, and so are secrets.
func (n *node) json() json.RawMessage {
	var b strings.Builder
	n.appendJSON(&b)
	return json.RawMessage(b.String())
}

func (n *node) appendJSON(b *strings.Builder) {
	switch n.kind {
	case null:
		b.WriteString("null")
	case scalar:
		switch {
		case n.quoted || n.secret:
			b.Write(quoteJSON(n.text))
		case n.tag == "!!bool":
			b.WriteString(strings.ToLower(n.text))
		case (n.tag == "!!int" || n.tag == "!!float") && json.Valid([]byte(n.text)):
			b.WriteString(n.text)
		default:
			b.Write(quoteJSON(n.text))
		}
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.appendJSON(b)
		}
		b.WriteByte(']')
	case object:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quoteJSON(m.name))
			b.WriteByte(':')
			m.value.appendJSON(b)
		}
		b.WriteByte('}')
	}
}

// quoteJSON writes a JSON string; bytes that are no UTF-8, which only the
// environment can bring, become replacement characters.
func quoteJSON(s string) []byte {
	b, err := encode(s) // without the escapes of HTML: one spelling for what a file says and what is stored
	if err != nil {
		return []byte(`""`)
	}
	return b
}
