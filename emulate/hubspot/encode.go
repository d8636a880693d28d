package hubspot

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const stampLayout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// shown are the properties of an answer whose request names none.
var shown = []string{propCreated, "email", "firstname", propID, propModified, "lastname"}

func quote(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil { // bad UTF-8 is replaced in b
		return b
	}
	return b
}

// view is a contact's state at one moment: the present one, or the index's.
type view struct {
	id         int64
	props      map[string]string
	history    map[string][]entry
	created    time.Time
	modified   time.Time
	archived   bool
	archivedAt time.Time
}

func (c *contact) view() view {
	return view{c.id, c.props, c.history, c.created, c.modified, c.archived, c.archivedAt}
}

// value gives a property as an answer shows it.
func (v *view) value(name string) (string, bool) {
	switch name {
	case propID:
		return strconv.FormatInt(v.id, 10), true
	case propCreated:
		return stamp(v.created), true
	case propModified:
		return stamp(v.modified), true
	}
	s, ok := v.props[name]
	return s, ok
}

// append writes the contact as JSON with the properties and histories that are
// asked for. Unset properties are null; unknown ones are left out.
func (v *view) append(b []byte, names, histories []string, known map[string]bool) []byte {
	b = append(b, `{"id":"`...)
	b = strconv.AppendInt(b, v.id, 10)
	b = append(b, `","properties":{`...)
	if len(names) == 0 {
		names = shown
	}
	first := true
	for _, name := range names {
		value, ok := v.value(name)
		if !ok && !known[name] {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(quote(b, name), ':')
		if ok {
			b = quote(b, value)
		} else {
			b = append(b, "null"...)
		}
	}
	b = append(b, '}')
	if len(histories) > 0 {
		b = v.appendHistory(b, histories)
	}
	b = append(b, `,"createdAt":"`...)
	b = v.created.UTC().AppendFormat(b, stampLayout)
	b = append(b, `","updatedAt":"`...)
	b = v.modified.UTC().AppendFormat(b, stampLayout)
	if v.archived {
		b = append(b, `","archived":true,"archivedAt":"`...)
		b = v.archivedAt.UTC().AppendFormat(b, stampLayout)
		return append(b, `"}`...)
	}
	return append(b, `","archived":false}`...)
}

func (v *view) appendHistory(b []byte, names []string) []byte {
	b = append(b, `,"propertiesWithHistory":{`...)
	first := true
	for _, name := range names {
		past := v.past(name)
		if len(past) == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(quote(b, name), ":["...)
		for i, e := range past {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(quote(append(b, `{"value":`...), e.value), `,"timestamp":"`...)
			b = e.at.UTC().AppendFormat(b, stampLayout)
			b = append(quote(append(b, `","sourceType":`...), e.source), '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (v *view) past(name string) []entry {
	switch name {
	case propID, propCreated:
		value, _ := v.value(name)
		return []entry{{value, v.created, SourceUser}}
	case propModified:
		return []entry{{stamp(v.modified), v.modified, SourceUser}}
	}
	return v.history[name]
}

// results writes views as a results member.
func results(views []view, names, histories []string, known map[string]bool) []byte {
	b := append(make([]byte, 0, 64+300*len(views)), `"results":[`...)
	for i := range views {
		if i > 0 {
			b = append(b, ',')
		}
		b = views[i].append(b, names, histories, known)
	}
	return append(b, ']')
}
