package rest

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// The codes of unusable records beside fault.CodeBadRecord.
const (
	codeTooLarge  = "record_too_large"
	codeTooDeep   = "record_too_deep"
	codeMissingID = "missing_id"
)

// finish makes the record out of what the scanner left in own.
func (d *decoder) finish(raw []byte, c byte, large bool, keyFlaw flaw) record.Record {
	n := len(d.fields)
	r := record.Record{Raw: raw}
	id := d.own[n+slotID]
	switch {
	case d.tombstones && (c == '"' || c >= '0' && c <= '9' || c == '-'):
		id = d.s.take(raw, d.s.idSlot)
	case d.tombstones && id.Empty():
		id = d.own[n+slotOtherID]
	}
	if keyFlaw != fine && d.keyOnly {
		d.s.fail(keyFlaw, d.s.idSlot)
	}
	if (id.Kind == record.Text || id.Kind == record.Number) && !d.s.idBad {
		r.ID = id.Text
	}
	if r.Err = d.check(&r, c, id, large); r.Err != nil {
		if large {
			r.Raw = nil // too large to keep
		}
		return r
	}
	if d.modified != "" {
		r.Modified = d.format.parse(d.own[n+slotModified])
	}
	if d.tombstones || d.deletedField != "" && truthy(d.own[n+slotDeleted]) {
		r.Deleted = true
		return r
	}
	r.Values = d.mem.Values(n)
	copy(r.Values, d.own)
	if d.formerIDs != "" {
		r.Renamed = formerIDs(d.own[n+slotFormer], r.ID)
	}
	return r
}

// formerIDs reads former ids of the record id: one, a list of them, or a text in
// which commas or semicolons part them. nil is none.
func formerIDs(v record.Value, id string) *record.Renamed {
	var from []string
	switch v.Kind {
	case record.Text:
		from = strings.FieldsFunc(v.Text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
	case record.Number:
		from = []string{v.Text}
	case record.JSON:
		from = idsIn(v.Text)
	case record.Absent, record.Null, record.Bool:
	}
	from = slices.DeleteFunc(from, func(f string) bool { return f == id || len(f) > maxID || checkID(f) != nil })
	if len(from) == 0 {
		return nil
	}
	return &record.Renamed{From: from}
}

// idsIn gives the texts and numbers of a JSON list.
func idsIn(list string) []string {
	var raws []json.RawMessage
	_ = json.Unmarshal([]byte(list), &raws) // something else has none
	var out []string
	for _, raw := range raws {
		var text string
		var n json.Number
		switch {
		case json.Unmarshal(raw, &text) == nil:
			out = append(out, text)
		case json.Unmarshal(raw, &n) == nil:
			out = append(out, n.String())
		}
	}
	return out
}

func bad(code, format string, args ...any) error {
	return fault.New(fault.Permanent, code, "", format, args...)
}

func (d *decoder) check(r *record.Record, c byte, id record.Value, large bool) error {
	switch {
	case large:
		return bad(codeTooLarge, "the record is larger than %d MiB", maxRecord>>20)
	case c != '{' && !d.tombstones:
		return bad(fault.CodeBadRecord, "the record is not an object but %s", short(r.Raw))
	case d.s.flaw == flawDepth:
		return bad(codeTooDeep, "the record %s", d.s.flaw)
	case d.s.flaw != fine:
		return bad(fault.CodeBadRecord, "%s %s", d.slotName(d.s.flawAt), d.s.flaw)
	case r.ID == "" && !d.single: // Get knows the id it asked for
		what := "is missing"
		if id.Has() {
			what = "is " + kindName(id)
		}
		return bad(codeMissingID, "the id (%s) %s", d.id, what)
	case len(r.ID) > maxID:
		return bad(fault.CodeBadRecord, "the id is longer than %d bytes", maxID)
	}
	return nil
}

// markErr makes the record unusable when it was repaired.
func (d *decoder) markErr(r *record.Record, from, to int) {
	k, _ := slices.BinarySearchFunc(d.marks, from, func(m mark, at int) int { return m.at - at })
	if k == len(d.marks) || d.marks[k].at >= to {
		return
	}
	if strings.IndexByte(r.ID, replaced) >= 0 {
		r.ID = ""
	}
	code := fault.CodeBadRecord
	if d.marks[k].flaw == flawDepth {
		code = codeTooDeep
	}
	r.Err, r.Values, r.Deleted = bad(code, "the record %s", d.marks[k].flaw), nil, false
}

func (d *decoder) slotName(slot int) string {
	n := len(d.fields)
	switch {
	case slot >= 0 && slot < n:
		return "field " + d.fields[slot]
	case slot == n+slotID || slot == n+slotOtherID:
		return "the id"
	case slot == n+slotModified:
		return "field " + d.modified
	case slot == n+slotDeleted:
		return "field " + d.deletedField
	case slot == n+slotFormer:
		return "field " + d.formerIDs
	}
	return "the record"
}

func kindName(v record.Value) string {
	switch v.Kind {
	case record.Null:
		return "null"
	case record.Bool:
		return "a boolean"
	case record.JSON:
		return "an object or array"
	case record.Text:
		return "empty"
	case record.Absent, record.Number:
	}
	return "not usable"
}

// truthy reads a field that marks deleted records: true, a number other than
// 0, a date or any text but "", "0", "false" and "no".
func truthy(v record.Value) bool {
	switch v.Kind {
	case record.Absent, record.Null:
		return false
	case record.JSON:
		return v.Text != "{}" && v.Text != "[]"
	case record.Number:
		return strings.Trim(v.Text, "-0.") != ""
	case record.Bool, record.Text:
	}
	return !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(strings.TrimSpace(v.Text)))
}

// short gives the beginning of b, which is JSON, for an error's text.
func short(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), 60)]), "?")
	if len(b) > 60 {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
