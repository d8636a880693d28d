package hubspot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type searchBody struct {
	Groups     []group           `json:"filterGroups"`
	Sorts      []json.RawMessage `json:"sorts"`
	Query      string            `json:"query"`
	Properties []string          `json:"properties"`
	Limit      *int              `json:"limit"`
	After      json.RawMessage   `json:"after"`
}

type group struct {
	Filters []filter `json:"filters"`
}

type filter struct {
	Property string   `json:"propertyName"`
	Operator string   `json:"operator"`
	Value    string   `json:"value"`
	Values   []string `json:"values"`
	High     string   `json:"highValue"`

	number  int64 // of Value
	numeric bool
}

// Bounds of one search.
const (
	maxGroups  = 5
	maxFilters = 6
	maxInAll   = 18
	maxQuery   = 3000
)

func (p *Portal) search(q *request) answer {
	var in searchBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if problem, ok := p.checkSearch(in); !ok {
		return problem
	}
	limit := 10
	if in.Limit != nil {
		limit = *in.Limit
	}
	after, problem, ok := p.searchOffset(in.After)
	if !ok {
		return problem
	}
	if limit < 1 || limit > maxSearch {
		return p.invalid("limit must be between 1 and %d, was %d", maxSearch, limit)
	}
	if after+limit > p.window {
		return p.invalid("the search reaches beyond its first %d results", p.window)
	}
	by, descending, problem, ok := p.sorting(in.Sorts)
	if !ok {
		return problem
	}
	found, total := p.match(in, by, descending, after, limit)
	body := append([]byte(`{"total":`+strconv.Itoa(total)+`,`), results(found, in.Properties, nil, p.known)...)
	if next := after + len(found); next < total {
		body = append(body, `,"paging":{"next":{"after":"`+strconv.Itoa(next)+`"}}`...)
	}
	return answer{status: http.StatusOK, body: append(body, '}')}
}

func (p *Portal) checkSearch(in searchBody) (answer, bool) {
	filters := 0
	for _, g := range in.Groups {
		if len(g.Filters) > maxFilters {
			return p.invalid("a filter group has %d filters at most", maxFilters), false
		}
		filters += len(g.Filters)
		for _, f := range g.Filters {
			if !slices.Contains(operators, f.Operator) {
				return p.invalid("unknown operator %q", f.Operator), false
			}
			if !p.known[f.Property] {
				return p.invalid("there is no property %q", f.Property), false
			}
		}
	}
	if len(in.Groups) > maxGroups || filters > maxInAll || len(in.Query) > maxQuery {
		return p.invalid("the search is too large: %d groups, %d filters in all and %d characters are possible", maxGroups, maxInAll, maxQuery), false
	}
	return answer{}, true
}

func (p *Portal) searchOffset(raw json.RawMessage) (int, answer, bool) {
	text := string(bytes.Trim(bytes.TrimSpace(raw), `"`))
	if text == "" || text == "null" {
		return 0, answer{}, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, p.invalid("after must be a whole number, was %q", text), false
	}
	return n, answer{}, true
}

// sorting reads the one sort rule: a property's name, with a minus for
// descending, or an object.
func (p *Portal) sorting(sorts []json.RawMessage) (by string, descending bool, problem answer, ok bool) {
	switch {
	case len(sorts) == 0:
		return propCreated, false, answer{}, true
	case len(sorts) > 1:
		return "", false, p.invalid("only one sort rule is possible"), false
	}
	if json.Unmarshal(sorts[0], &by) == nil {
		by, descending = strings.CutPrefix(by, "-")
	} else {
		var o struct {
			Property  string `json:"propertyName"`
			Direction string `json:"direction"`
		}
		if err := json.Unmarshal(sorts[0], &o); err != nil {
			return "", false, p.invalid("a sort rule is a text or an object"), false
		}
		by, descending = o.Property, o.Direction == "DESCENDING"
	}
	if !p.known[by] {
		return "", false, p.invalid("there is no property %q to sort by", by), false
	}
	return by, descending, answer{}, true
}

// match gives the rows of one page and the number of all.
func (p *Portal) match(in searchBody, by string, descending bool, after, limit int) ([]view, int) {
	for _, g := range in.Groups {
		for i := range g.Filters {
			f := &g.Filters[i]
			n, err := strconv.ParseInt(f.Value, 10, 64)
			f.number, f.numeric = n, err == nil
		}
	}
	all := p.index.byModified()
	var hits []*view
	for i := range all {
		if in.matches(&all[i]) { // in order of time
			hits = append(hits, &all[i])
		}
	}
	if by != propModified {
		slices.SortStableFunc(hits, func(a, b *view) int {
			if x, ok := a.number(by); ok {
				y, _ := b.number(by)
				return cmp.Compare(x, y)
			}
			return compare(a.comparable(by), b.comparable(by))
		})
	}
	if descending {
		slices.Reverse(hits)
	}
	out := make([]view, 0, limit)
	for i := after; i < len(hits) && len(out) < limit; i++ {
		out = append(out, *hits[i])
	}
	return out, len(hits)
}

// number gives the properties that are numbers in every contact.
func (v *view) number(name string) (int64, bool) {
	switch name {
	case propID:
		return v.id, true
	case propCreated:
		return v.created.UnixMilli(), true
	case propModified:
		return v.modified.UnixMilli(), true
	}
	return 0, false
}

// comparable gives a property as filters and sorts see it: times in milliseconds.
func (v *view) comparable(name string) string {
	if n, ok := v.number(name); ok {
		return strconv.FormatInt(n, 10)
	}
	return v.props[name]
}

// compare compares as numbers where both are.
func compare(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

func (in *searchBody) matches(v *view) bool {
	if in.Query != "" && !v.mentions(strings.ToLower(in.Query)) {
		return false
	}
	return len(in.Groups) == 0 || slices.ContainsFunc(in.Groups, func(g group) bool {
		return !slices.ContainsFunc(g.Filters, func(f filter) bool { return !f.matches(v) })
	})
}

func (v *view) mentions(text string) bool {
	for _, name := range []string{"email", "firstname", "lastname", "phone", "company"} {
		if strings.Contains(strings.ToLower(v.props[name]), text) {
			return true
		}
	}
	return false
}

var operators = []string{
	"EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN",
}

func (f *filter) matches(v *view) bool {
	if n, ok := v.number(f.Property); ok && f.numeric {
		if hit, known := f.ordered(cmp.Compare(n, f.number)); known {
			return hit
		}
	}
	s := v.comparable(f.Property)
	has := s != ""
	switch f.Operator {
	case "HAS_PROPERTY":
		return has
	case "NOT_HAS_PROPERTY":
		return !has
	case "NEQ":
		return compare(s, f.Value) != 0
	case "NOT_IN":
		return !f.among(s)
	case "NOT_CONTAINS_TOKEN":
		return !f.token(s)
	}
	return has && f.has(s)
}

// ordered applies the operators that compare with one value; c is how the
// property compares to it. known is false for the other operators.
func (f *filter) ordered(c int) (hit, known bool) {
	switch f.Operator {
	case "EQ":
		return c == 0, true
	case "NEQ":
		return c != 0, true
	case "LT":
		return c < 0, true
	case "LTE":
		return c <= 0, true
	case "GT":
		return c > 0, true
	case "GTE":
		return c >= 0, true
	}
	return false, false
}

// has applies the operators that need a value.
func (f *filter) has(s string) bool {
	if hit, known := f.ordered(compare(s, f.Value)); known {
		return hit
	}
	switch f.Operator {
	case "BETWEEN":
		return compare(s, f.Value) >= 0 && compare(s, f.High) <= 0
	case "IN":
		return f.among(s)
	case "CONTAINS_TOKEN":
		return f.token(s)
	}
	return false
}

func (f *filter) among(s string) bool {
	return slices.ContainsFunc(f.Values, func(x string) bool { return compare(s, x) == 0 })
}

func (f *filter) token(s string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(strings.Trim(f.Value, "*")))
}
